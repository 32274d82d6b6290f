"""PyTorch3D as a backend: the faces of plain PyTorch, gradients included, where its own rasterizer would lose some."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.pipeline import render
from neuraltex.raster import antialias, make_gbuffer, opposite_corners, rasterize
from neuraltex.shading import Shader, ShadingConfig
from tests.raster.test_rasterize import floor_under_camera
from tests.scenes import join, make_mesh, ring_cameras, uv_sphere

pytestmark = pytest.mark.pytorch3d
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def backend():
    """The backend's module, whose precautions a test may take away."""
    from neuraltex.raster import pytorch3d_backend

    return pytorch3d_backend


def with_skew(cameras: Camera, skew: float) -> Camera:
    K = cameras.K.clone()
    K[:, 0, 1] = skew
    return replace(cameras, K=K)


def two_spheres():
    sphere = uv_sphere(6, 9)
    return join(sphere, make_mesh(sphere.verts * 0.4 + torch.tensor([0.9, 0.3, 0.2]), sphere.faces))


def scene(name: str):
    """Vertices, faces and cameras where the tests run."""
    if name == "sphere":
        mesh, cameras = uv_sphere(), ring_cameras(1, 160, 112)
    elif name == "floor":
        mesh, cameras = floor_under_camera()
        cameras = cameras.resize(320, 200)
    else:
        mesh, cameras = two_spheres(), ring_cameras(3, 150, 170)
    if name == "skewed":
        cameras = with_skew(cameras, 20.0)
    verts = mesh.verts
    if name == "verts of each view":
        verts = torch.stack([verts, verts * 0.8, verts + 0.1])
    return verts.to(DEVICE), mesh.faces.to(DEVICE), cameras.to(DEVICE)


def accepted(found, verts, faces, cameras, near=1e-4):
    """`[B, H, W]` where plain torch, in float64, sees that face at the pixel's centre or 1/1000 pixel beside it."""
    verts, cameras = verts.double(), cameras.to(torch.float64)
    right = torch.zeros_like(found, dtype=torch.bool)
    for column in (0.0, -1e-3, 1e-3):
        for row in (0.0, -1e-3, 1e-3):
            moved = cameras.crop(column, row, cameras.width, cameras.height)
            right |= rasterize(verts, faces, moved, near=near, backend="torch").pix_to_face == found
    return right


@pytest.mark.parametrize("name", ["sphere", "two spheres", "floor", "verts of each view", "skewed"])
def test_faces_are_those_of_plain_torch(name):
    verts, faces, cameras = scene(name)
    expected, found = (rasterize(verts, faces, cameras, backend=chosen) for chosen in ("torch", "pytorch3d"))
    assert accepted(found.pix_to_face, verts, faces, cameras).all()
    same = expected.pix_to_face == found.pix_to_face
    # measured: no pixel differs on a CPU; a border that passes through a pixel's centre belongs to either face
    assert (~same).sum() <= 3
    torch.testing.assert_close(found.bary[same], expected.bary[same], atol=0, rtol=0)
    torch.testing.assert_close(found.zbuf[same], expected.zbuf[same], atol=0, rtol=0)
    assert found.pix_to_face.max() < len(faces), "faces are numbered within the mesh, not through the batch"
    assert (found.pix_to_face >= 0).flatten(1).any(1).all()


def test_buffers_pictures_and_silhouettes_are_those_of_plain_torch():
    mesh, cameras = two_spheres().to(DEVICE), ring_cameras(3, 45, 33).to(DEVICE)
    expected, found = (make_gbuffer(mesh, cameras, chosen) for chosen in ("torch", "pytorch3d"))
    for field in ("uv", "view_dirs", "ray_dirs", "normals", "depth", "part_ids", "mask"):
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), atol=0, rtol=0)
    torch.manual_seed(0)
    shader = Shader(ShadingConfig(decoder_width=4, decoder_levels=2, texture_size=16, texture_levels=3)).to(DEVICE)
    expected_rgb, found_rgb = (render(mesh, cameras, shader, backend=chosen).rgb for chosen in ("torch", "pytorch3d"))
    # On a CPU the stages are the very same; on a GPU kernels follow, and the network computes in bfloat16.
    torch.testing.assert_close(found_rgb, expected_rgb, atol=0.02 if DEVICE.type == "cuda" else 0, rtol=0)


def _gradients(verts, faces, cameras, backend):
    """Gradients of a number made of the fragments and of what silhouettes blend."""
    verts, K, w2c = (t.clone().requires_grad_() for t in (verts, cameras.K, cameras.w2c))
    cameras = replace(cameras, K=K, w2c=w2c)
    fragments = rasterize(verts, faces, cameras, backend=backend)
    weights = torch.randn(*fragments.bary.shape, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    blended = antialias(weights, fragments, verts, faces, opposite_corners(faces), cameras, backend=backend)
    ((fragments.bary * weights).sum() + fragments.zbuf.square().sum() + (blended * weights.flip(0)).sum()).backward()
    return {"verts": verts.grad, "K": K.grad, "w2c": w2c.grad}


@pytest.mark.parametrize("name", ["two spheres", "floor", "verts of each view", "skewed"])
def test_gradients_are_those_of_plain_torch(name):
    arguments = scene(name)
    expected, found = (_gradients(*arguments, chosen) for chosen in ("torch", "pytorch3d"))
    for key, grad in expected.items():
        assert grad.abs().sum() > 0
        # measured 0 on a CPU, where every step but visibility is the same
        torch.testing.assert_close(found[key], grad, atol=1e-4 * float(grad.abs().max()), rtol=0)


def wall(size: int):
    """A wall of squares cut in two, whose borders and diagonals run through pixel centres."""
    steps = torch.linspace(-1, 1, 5)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    verts = torch.stack([x, y, torch.full_like(x, 2.0)], dim=-1).reshape(-1, 3)
    i = torch.arange(20).view(4, 5)[:, :4].reshape(-1)
    faces = torch.cat([torch.stack([i, i + 1, i + 6], -1), torch.stack([i, i + 6, i + 5], -1)])
    cameras = Camera.from_fov(torch.eye(4)[None], 40.0, size, size)
    return verts.to(DEVICE), faces.to(DEVICE), cameras.to(DEVICE)


@pytest.mark.parametrize("size", [64, 65])
def test_pixel_centres_on_borders_are_covered(size, backend, monkeypatch):
    verts, faces, cameras = wall(size)
    found = rasterize(verts, faces, cameras, backend="pytorch3d").pix_to_face
    assert (found >= 0).all()
    assert accepted(found, verts, faces, cameras).all()
    if DEVICE.type == "cuda":
        return  # where PyTorch3D rounds otherwise, and its holes are others
    monkeypatch.setattr(backend, "WIDENED", 0.0)
    holes = rasterize(verts, faces, cameras, backend="pytorch3d").pix_to_face < 0
    assert holes.sum() > 50  # what PyTorch3D does by itself: measured 64 and 193


@pytest.mark.parametrize("height", [-1.0, 0.1, 0.19])
def test_floors_under_the_camera_have_no_holes(height):
    """The camera stands 0.2 up: nearly edge-on floors too, whose cuts at `near` lie far outside the picture."""
    _, cameras = floor_under_camera()
    cameras = cameras.resize(640, 400).to(DEVICE)
    steps = torch.linspace(-20, 20, 9) + 0.37
    z, x = torch.meshgrid(steps, steps, indexing="ij")
    verts = torch.stack([x, torch.full_like(x, height), z], dim=-1).reshape(-1, 3).to(DEVICE)
    i = torch.arange(81).view(9, 9)[:-1, :-1].reshape(-1)
    faces = torch.cat([torch.stack([i, i + 1, i + 10], -1), torch.stack([i, i + 10, i + 9], -1)]).to(DEVICE)
    expected, found = (rasterize(verts, faces, cameras, backend=chosen) for chosen in ("torch", "pytorch3d"))
    assert accepted(found.pix_to_face, verts, faces, cameras).all()
    # measured 1, 2 and 0, all of them on borders; cut by z_clip_value, 56, 49 and 9 pixels were holes
    assert (expected.pix_to_face != found.pix_to_face).sum() <= 5


@pytest.mark.parametrize("start", [2e-4, 1e-2])
def test_a_floor_that_starts_at_the_camera_has_no_hole(start, backend, monkeypatch):
    """All of it lies in front of the camera, its corners thousands of screens below the picture."""
    verts = torch.tensor([[-5.0, 1, start], [5, 1, start], [5, 1, 40], [-5, 1, 40]], device=DEVICE)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], device=DEVICE)
    cameras = Camera.from_fov(torch.eye(4)[None], 60.0, 640, 400).to(DEVICE)
    expected = rasterize(verts, faces, cameras, backend="torch").pix_to_face
    assert torch.equal(rasterize(verts, faces, cameras, backend="pytorch3d").pix_to_face, expected)
    monkeypatch.setattr(backend, "FARTHEST", torch.inf)
    holes = (rasterize(verts, faces, cameras, backend="pytorch3d").pix_to_face < 0) & (expected >= 0)
    assert holes.sum() > 10  # measured 152 and 24


def test_what_is_nearer_than_near_is_cut_away():
    mesh, cameras = floor_under_camera()
    verts, faces, cameras = mesh.verts.to(DEVICE), mesh.faces.to(DEVICE), cameras.to(DEVICE)
    expected, found = (rasterize(verts, faces, cameras, backend=b, near=3.0) for b in ("torch", "pytorch3d"))
    assert torch.equal(found.pix_to_face, expected.pix_to_face)
    assert found.zbuf[found.mask].min() >= 3.0


def test_a_fine_mesh_far_away_does_not_vanish(backend, monkeypatch):
    mesh, cameras = uv_sphere(250, 260).to(DEVICE), ring_cameras(1, 300, 260, distance=430.0).to(DEVICE)
    expected, found = (rasterize(mesh.verts, mesh.faces, cameras, backend=b) for b in ("torch", "pytorch3d"))
    assert found.mask.sum() >= 1
    assert torch.equal(found.pix_to_face, expected.pix_to_face)
    tiny = backend._safe_faces(
        backend._to_screen(backend.project_homogeneous(mesh.verts, cameras)[0], 260, 300, 1e-4),
        torch.ones(len(mesh.verts), dtype=torch.bool, device=DEVICE), mesh.faces, 260, 300,
    )  # fmt: skip
    assert not tiny.any(), "PyTorch3D would draw nothing of it"


def test_corners_that_are_no_numbers_or_on_the_camera_plane_fill_nothing():
    verts, faces, cameras = scene("two spheres")
    broken = verts.clone()
    broken[faces[7, 0]] = torch.nan
    expected, found = (rasterize(broken, faces, cameras, backend=b).pix_to_face for b in ("torch", "pytorch3d"))
    assert torch.equal(found, expected)
    on_plane = torch.tensor([[-3.0, 1, 0], [3, 1, 0], [0, 1, 9]], device=DEVICE)
    K = torch.tensor([[[40.0, 0, 32], [0, 40, 20], [0, 0, 1]]])
    cameras, faces = Camera(K, torch.eye(4)[None], 64, 40).to(DEVICE), torch.tensor([[0, 1, 2]], device=DEVICE)
    expected, found = (rasterize(on_plane, faces, cameras, backend=b).pix_to_face for b in ("torch", "pytorch3d"))
    assert torch.equal(found, expected)
    assert 0 < (found >= 0).sum() < 1000


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_surfaces_cross_where_they_do_in_any_unit(unit):
    """Two planes through each other: which is in front changes within a face."""
    verts = torch.tensor([[-1.0, -1, 3], [1, -1, 3], [0, 1, 3], [-1.0, -1, 2], [1, -1, 4], [0, 1, 3]]) * unit
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    K = torch.tensor([[[90.0, 0, 40], [0, 90, 30], [0, 0, 1]]])
    arguments = (verts.to(DEVICE), faces.to(DEVICE), Camera(K, torch.eye(4)[None], 80, 60).to(DEVICE))
    found = rasterize(*arguments, near=1e-4 * unit, backend="pytorch3d").pix_to_face
    expected = rasterize(*arguments, near=1e-4 * unit, backend="torch").pix_to_face
    assert (found == 0).sum() > 100
    assert (found == 1).sum() > 100
    # measured 0
    assert (found != expected).sum() <= 2


def test_float64_keeps_its_precision():
    verts, faces, cameras = scene("two spheres")
    verts, cameras = verts.double(), cameras.to(torch.float64)
    expected, found = (rasterize(verts, faces, cameras, backend=b) for b in ("torch", "pytorch3d"))
    assert found.bary.dtype == torch.float64
    same = found.pix_to_face == expected.pix_to_face
    assert (~same).sum() <= 3  # measured 0
    assert torch.equal(found.zbuf[same], expected.zbuf[same])


def test_every_bin_has_room_for_every_face(backend, monkeypatch):
    from pytorch3d.renderer import mesh as module

    asked = []
    whole = module.rasterize_meshes

    def recorded(meshes, **settings):
        asked.append((int(meshes.num_faces_per_mesh().sum()), settings["max_faces_per_bin"], settings["bin_size"]))
        return whole(meshes, **settings)

    monkeypatch.setattr(module, "rasterize_meshes", recorded)
    verts, faces, cameras = scene("two spheres")
    rasterize(verts, faces, cameras, backend="pytorch3d")
    assert len(asked) == 3
    assert all(drawn == room and bin_size is None for drawn, room, bin_size in asked)
    monkeypatch.setattr(backend, "MOST_BINNED_FACES", 10)
    rasterize(verts, faces, cameras[:1], backend="pytorch3d")
    assert asked[-1][2] == 0


def test_nothing_to_draw():
    mesh, cameras = uv_sphere().to(DEVICE), ring_cameras(2, 20, 14).to(DEVICE)
    away = replace(cameras, w2c=cameras.w2c.clone())
    away.w2c[:, 0, 3] += 50
    for faces, view in ((mesh.faces, away), (mesh.faces[:0], cameras), (mesh.faces, cameras[:0])):
        found = rasterize(mesh.verts, faces, view, backend="pytorch3d")
        assert found.pix_to_face.shape == (len(view.K), 14, 20)
        assert not found.mask.any()
