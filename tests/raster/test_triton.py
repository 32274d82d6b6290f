"""The kernels against their twins in plain PyTorch: in Triton's interpreter on a CPU, compiled on a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.raster import antialias, make_gbuffer, opposite_corners, rasterize
from neuraltex.raster.rasterize import NEAR
from tests.raster.test_rasterize import floor_under_camera
from tests.scenes import join, make_mesh, ring_cameras, uv_sphere

pytest.importorskip("triton", reason="needs Triton")
from neuraltex.raster import triton_backend

# The interpreter computes with numpy, which warns where a GPU quietly yields what is not a number.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def scene(name: str):
    """A mesh and cameras on the device where kernels run."""
    if name == "floor":
        mesh, cameras = floor_under_camera()
    elif name == "two spheres":
        near = uv_sphere(6, 10)
        far = uv_sphere(20, 30)
        mesh, cameras = join(near.with_verts(near.verts * 0.6 + 0.5), far), ring_cameras(3, 45, 33)
    else:
        mesh, cameras = uv_sphere(), ring_cameras(1, 45, 33)
    return mesh.to(DEVICE), cameras.to(DEVICE)


# Largest boxes that are drawn by a lane and by a warp: all by tiles, all by warps, all by lanes, and by their sizes.
SIZE_CLASSES = [(0, 0), (0, 10_000), (10_000, 10_000), (16, 60)]


def set_size_classes(monkeypatch, small_box: int, middle_box: int) -> None:
    """Let kernels take triangles of other sizes than they were made for."""
    monkeypatch.setattr(triton_backend, "SMALL_BOX", small_box)
    monkeypatch.setattr(triton_backend, "MIDDLE_BOX", middle_box)


@pytest.mark.parametrize(
    ("name", "size_classes"),
    [*((name, classes) for name in ("floor", "sphere") for classes in SIZE_CLASSES), ("two spheres", (16, 60))],
)
def test_gbuffers_equal_those_of_plain_torch(name, size_classes, monkeypatch):
    set_size_classes(monkeypatch, *size_classes)
    mesh, cameras = scene(name)
    expected, found = make_gbuffer(mesh, cameras, "torch"), make_gbuffer(mesh, cameras, "triton")
    # measured: no pixel differs
    assert (expected.fragments.pix_to_face == found.fragments.pix_to_face).all()
    assert (expected.part_ids == found.part_ids).all()
    assert (expected.mask == found.mask).all()
    assert found.mask.any()
    for field in ("uv", "view_dirs", "ray_dirs", "normals", "depth"):
        # measured 4e-6 in depth, 2e-7 else
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), atol=2e-5, rtol=1e-5)
    # measured 6e-5 relative, at one pixel of a grazing face
    torch.testing.assert_close(found.footprint, expected.footprint, atol=2e-5, rtol=6e-4)
    # measured 8e-5 at pixels of grazing faces; there both are off from float64 by up to 6e-5
    torch.testing.assert_close(found.fragments.bary, expected.fragments.bary, atol=3e-4, rtol=0)


def test_one_rasterize_serves_both():
    mesh, cameras = scene("two spheres")
    expected, found = (rasterize(mesh.verts, mesh.faces, cameras, backend=name) for name in ("torch", "triton"))
    assert (expected.pix_to_face == found.pix_to_face).all()
    torch.testing.assert_close(found.zbuf, expected.zbuf, atol=2e-5, rtol=1e-5)


def test_each_view_can_have_its_own_vertices():
    mesh, cameras = scene("two spheres")
    verts = torch.stack([mesh.verts, mesh.verts * 0.8, mesh.verts + 0.1])
    expected, found = (rasterize(verts, mesh.faces, cameras, backend=name) for name in ("torch", "triton"))
    assert (expected.pix_to_face == found.pix_to_face).all()


def test_large_and_thin_triangles_lose_no_pixel(monkeypatch):
    """Triangles of many tiles at every angle, needles among them: passing over tiles must not cost a pixel."""
    generator = torch.Generator().manual_seed(2)
    verts = torch.rand(40, 3, 3, generator=generator) * 2 - 1
    verts[::2, 2] = verts[::2, 0] + 0.02 * torch.rand(20, 3, generator=generator)
    verts[..., 2] *= 0.3
    mesh, cameras = make_mesh(verts.reshape(-1, 3), torch.arange(120).view(-1, 3)).to(DEVICE), ring_cameras(1, 150, 130)
    cameras = cameras.to(DEVICE)
    expected = rasterize(mesh.verts, mesh.faces, cameras, backend="torch").pix_to_face
    set_size_classes(monkeypatch, 0, 0)
    # measured: no pixel differs
    assert (rasterize(mesh.verts, mesh.faces, cameras, backend="triton").pix_to_face == expected).all()
    assert len(expected.unique()) > 20


def test_views_are_drawn_in_parts_where_the_queue_cannot_hold_all(monkeypatch):
    mesh, cameras = scene("two spheres")
    expected = rasterize(mesh.verts, mesh.faces, cameras, backend="torch").pix_to_face
    monkeypatch.setattr(triton_backend, "MAX_RECORDS", len(mesh.faces) * 2)
    assert (rasterize(mesh.verts, mesh.faces, cameras, backend="triton").pix_to_face == expected).all()


def test_a_pixel_centre_on_a_shared_edge_has_one_owner(monkeypatch):
    """A fan of triangles around pixel centres: each covered centre once, whoever draws it."""
    columns, rows = torch.meshgrid(torch.arange(5.0), torch.arange(4.0), indexing="xy")
    grid = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).reshape(-1, 3)
    i = torch.arange(15).reshape(3, 5)[:, :4].reshape(-1)
    faces = torch.cat([torch.stack([i, i + 1, i + 6], -1), torch.stack([i, i + 6, i + 5], -1)])
    # Vertices lie at pixel centres, and so do points of the diagonals.
    K = torch.tensor([[[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]]])
    cameras = Camera(K, torch.eye(4)[None], 10, 8).to(DEVICE)
    mesh = make_mesh(grid, faces).to(DEVICE)
    expected = rasterize(mesh.verts, mesh.faces, cameras, backend="torch").pix_to_face
    assert (expected[0, :6, :8] >= 0).all()
    for size_classes in SIZE_CLASSES:
        set_size_classes(monkeypatch, *size_classes)
        assert (rasterize(mesh.verts, mesh.faces, cameras, backend="triton").pix_to_face == expected).all()


def test_nothing_in_view_and_nothing_to_draw():
    mesh, cameras = scene("sphere")
    away = replace(cameras, w2c=cameras.w2c.clone())
    away.w2c[:, 0, 3] += 50
    assert not make_gbuffer(mesh, away, "triton").mask.any()
    words = triton_backend.visible_words(torch.zeros(1, 3, 3, device=DEVICE), mesh.faces[:0], 4, 5, NEAR)
    assert not triton_backend.covered(words).any()


def test_vertices_that_are_not_numbers_draw_nothing():
    mesh, cameras = scene("sphere")
    verts = mesh.verts.clone()
    verts[mesh.faces[7, 0]] = torch.nan
    expected, found = (rasterize(verts, mesh.faces, cameras, backend=name).pix_to_face for name in ("torch", "triton"))
    assert (expected == found).all()
    broken = (mesh.faces == mesh.faces[7, 0]).any(1).nonzero().squeeze(1)
    assert not torch.isin(found, broken).any()


def _gradients(mesh, cameras, backend, function):
    """Gradients of a number made of buffers, to all that they depend on."""
    leaves = {name: getattr(mesh, name).clone().requires_grad_() for name in ("verts", "verts_uv", "normals")}
    K, w2c = cameras.K.clone().requires_grad_(), cameras.w2c.clone().requires_grad_()
    function(replace(mesh, **leaves), replace(cameras, K=K, w2c=w2c), backend).backward()
    return {**{name: leaf.grad for name, leaf in leaves.items()}, "K": K.grad, "w2c": w2c.grad}


def _weights(like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(3)).to(like)


def _of_buffers(mesh, cameras, backend):
    gbuffer = make_gbuffer(mesh, cameras, backend)
    buffers = (gbuffer.uv, gbuffer.view_dirs, gbuffer.ray_dirs, gbuffer.normals, gbuffer.depth, gbuffer.fragments.bary)
    return sum((buffer * _weights(buffer)).sum() for buffer in buffers)


def _of_silhouettes(mesh, cameras, backend):
    fragments = rasterize(mesh.verts, mesh.faces, cameras, backend=backend)
    opposite = opposite_corners(mesh.faces)
    features = _weights(fragments.bary.new_empty(*fragments.zbuf.shape, 5))
    blended = antialias(features, fragments, mesh.verts, mesh.faces, opposite, cameras, backend=backend)
    return (blended * _weights(blended).flip(0)).sum()


@pytest.mark.parametrize("function", [_of_buffers, _of_silhouettes])
@pytest.mark.parametrize("name", ["floor", "two spheres"])
def test_gradients_equal_those_of_plain_torch(name, function):
    mesh, cameras = scene(name)
    expected, found = (_gradients(mesh, cameras, backend, function) for backend in ("torch", "triton"))
    for key, grad in expected.items():
        if grad is None:
            continue
        # measured 7e-6 of the largest entry
        torch.testing.assert_close(found[key], grad, atol=1e-4 * float(grad.abs().max().clamp(min=1e-6)), rtol=0)
    assert found["w2c"].abs().sum() > 0


@pytest.mark.parametrize("channels", [3, 16, 43])
def test_silhouettes_are_blended_as_in_plain_torch(channels):
    mesh, cameras = scene("two spheres")
    fragments = rasterize(mesh.verts, mesh.faces, cameras, backend="torch")
    features = _weights(mesh.verts.new_empty(3, 33, 45, channels))
    opposite = opposite_corners(mesh.faces)
    results = []
    for backend in ("torch", "triton"):
        leaf = features.clone().requires_grad_()
        blended = antialias(leaf, fragments, mesh.verts, mesh.faces, opposite, cameras, backend=backend)
        (blended * _weights(blended).flip(0)).sum().backward()
        results.append((blended.detach(), leaf.grad))
    assert (results[0][0] != features).any()
    for expected, found in zip(*results, strict=True):
        # measured 3e-6
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_a_dtype_that_kernels_do_not_take_is_refused_by_name():
    mesh, cameras = scene("sphere")
    with pytest.raises(ValueError, match="'triton' takes float32 vertices, got torch.float64"):
        rasterize(mesh.verts.double(), mesh.faces, cameras.to(torch.float64), backend="triton")
