"""PyTorch3D's meshes, cameras and fragments: there and back, and the same pixels on both sides."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import grid_sample

from neuraltex.cameras.camera import Camera
from neuraltex.errors import NeuraltexError
from neuraltex.pytorch3d import (
    cameras_from_pytorch3d,
    cameras_to_pytorch3d,
    fragments_from_pytorch3d,
    fragments_to_pytorch3d,
    mesh_from_pytorch3d,
    mesh_to_pytorch3d,
)
from neuraltex.raster import interpolate_gbuffer, make_gbuffer, rasterize
from tests.scenes import make_mesh, ring_cameras, uv_sphere

needs_pytorch3d = pytest.mark.pytorch3d
WIDTH, HEIGHT = 150, 110


def rasterized_there(mesh, cameras: Camera, *, faces_per_pixel: int = 1):
    """Fragments of PyTorch3D's own rasterizer, of its mesh and its cameras."""
    from pytorch3d.renderer import MeshRasterizer, RasterizationSettings

    settings = RasterizationSettings((cameras.height, cameras.width), faces_per_pixel=faces_per_pixel, bin_size=0)
    rasterizer = MeshRasterizer(cameras_to_pytorch3d(cameras), settings)
    return rasterizer(mesh_to_pytorch3d(mesh).extend(len(cameras.K)))


@needs_pytorch3d
def test_mesh_round_trip():
    mesh = uv_sphere()
    back = mesh_from_pytorch3d(mesh_to_pytorch3d(mesh))
    for name in ("verts", "faces", "verts_uv", "faces_uv", "faces_normals", "part_ids"):
        assert torch.equal(getattr(back, name), getattr(mesh, name)), name
    assert back.part_names == ("mesh",)
    # measured 1e-7: its own smooth normals are the area-weighted ones, too
    torch.testing.assert_close(back.normals, mesh.normals, atol=1e-6, rtol=0)
    theirs = mesh_to_pytorch3d(mesh)
    torch.testing.assert_close(theirs.verts_normals_packed(), mesh.normals, atol=1e-6, rtol=0)
    # a batch of one view is one mesh as well
    assert torch.equal(mesh_from_pytorch3d(theirs.extend(3)[1]).verts, mesh.verts)


@needs_pytorch3d
def test_normals_of_their_mesh_are_kept():
    from pytorch3d.structures import Meshes

    mesh = uv_sphere()
    textures = mesh_to_pytorch3d(mesh).textures
    flat = torch.zeros_like(mesh.verts)
    flat[:, 1] = 2.0
    back = mesh_from_pytorch3d(Meshes([mesh.verts], [mesh.faces], textures=textures, verts_normals=[flat]))
    assert torch.equal(back.normals, flat / 2)


@needs_pytorch3d
def test_a_texture_map_is_looked_up_as_ours():
    """Row 0 of the map is its top, v points up, and texel centres lie at (k + 0.5) / size on both sides."""
    mesh, cameras = uv_sphere(), ring_cameras(3, WIDTH, HEIGHT)
    texture_map = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    gbuffer = make_gbuffer(mesh, cameras)
    fragments = fragments_to_pytorch3d(gbuffer.fragments, len(mesh.faces))
    theirs = mesh_to_pytorch3d(mesh, texture_map).extend(3).textures.sample_textures(fragments)[..., 0, :]
    grid = torch.stack([2 * gbuffer.uv[..., 0] - 1, 1 - 2 * gbuffer.uv[..., 1]], dim=-1)
    image = texture_map.permute(2, 0, 1).expand(3, -1, -1, -1)
    ours = grid_sample(image, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
    # measured 0
    torch.testing.assert_close(theirs[gbuffer.mask], ours[gbuffer.mask], atol=1e-5, rtol=0)
    # the upper edge of the texture is its first row
    uv = torch.tensor([[0.5 / 7, 1.0], [0.5 / 7, 1.0], [0.5 / 7, 1.0]])
    pole = make_mesh(mesh.verts, mesh.faces, uv, torch.zeros_like(mesh.faces))
    top = mesh_to_pytorch3d(pole, texture_map).extend(3).textures.sample_textures(fragments)[..., 0, :]
    torch.testing.assert_close(top[gbuffer.mask], texture_map[0, 0].expand(int(gbuffer.mask.sum()), 3))


@needs_pytorch3d
def test_meshes_that_cannot_be_taken_are_named():
    from pytorch3d.renderer import TexturesUV, TexturesVertex
    from pytorch3d.structures import Meshes

    mesh = uv_sphere()
    theirs = mesh_to_pytorch3d(mesh)
    with pytest.raises(ValueError, match=r"meshes: expected one mesh, got 2; convert them one at a time"):
        mesh_from_pytorch3d(theirs.extend(2))
    with pytest.raises(ValueError, match="expected textures of type TexturesUV, got NoneType"):
        mesh_from_pytorch3d(Meshes([mesh.verts], [mesh.faces]))
    coloured = Meshes([mesh.verts], [mesh.faces], textures=TexturesVertex([torch.ones_like(mesh.verts)]))
    with pytest.raises(ValueError, match="expected textures of type TexturesUV, got TexturesVertex"):
        mesh_from_pytorch3d(coloured)
    repeated = replace(mesh, verts_uv=mesh.verts_uv * 3)
    with pytest.raises(ValueError, match="expected UVs inside the unit square, got 0 to 3"):
        mesh_from_pytorch3d(mesh_to_pytorch3d(repeated))
    ids = torch.zeros(1, len(mesh.faces), dtype=torch.int64)
    two = TexturesUV(torch.ones(1, 2, 4, 4, 3), mesh.faces_uv[None], mesh.verts_uv[None], maps_ids=ids)
    with pytest.raises(ValueError, match="expected one texture map, got several"):
        mesh_from_pytorch3d(Meshes([mesh.verts], [mesh.faces], textures=two))
    with pytest.raises(ValueError, match=r"texture_map: expected \[H, W, C\], got \[4, 4\]"):
        mesh_to_pytorch3d(mesh, torch.ones(4, 4))


@needs_pytorch3d
@pytest.mark.parametrize("in_ndc", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (HEIGHT, WIDTH)])
def test_camera_round_trip(in_ndc, count, width, height):
    cameras = ring_cameras(count, width, height)
    theirs = cameras_to_pytorch3d(cameras, in_ndc=in_ndc)
    points = torch.rand(count, 20, 3, generator=torch.Generator().manual_seed(0))
    # measured 3e-5 pixels
    expected = cameras.project(points)[0]
    torch.testing.assert_close(theirs.transform_points_screen(points)[..., :2], expected, atol=2e-4, rtol=0)
    back = cameras_from_pytorch3d(theirs)
    assert (back.width, back.height) == (width, height)
    # measured 8e-6 in pixels, 0 in the poses
    torch.testing.assert_close(back.K, cameras.K, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.w2c, cameras.w2c, atol=1e-7, rtol=0)


@needs_pytorch3d
def test_cameras_by_field_of_view_or_by_matrix_are_taken():
    from pytorch3d.renderer import FoVPerspectiveCameras, PerspectiveCameras

    rigid = cameras_to_pytorch3d(ring_cameras(3, WIDTH, HEIGHT))
    points = torch.rand(3, 20, 3, generator=torch.Generator().manual_seed(0))
    by_angle = FoVPerspectiveCameras(fov=40.0, aspect_ratio=1.2, R=rigid.R, T=rigid.T)
    by_matrix = torch.zeros(3, 4, 4)
    by_matrix[:, :2, :3] = torch.tensor([[2.0, 0.1, 0.2], [0.0, 2.1, -0.1]])
    by_matrix[:, 2, 3] = by_matrix[:, 3, 2] = 1.0
    for theirs in (by_angle, PerspectiveCameras(K=by_matrix, R=rigid.R, T=rigid.T)):
        expected = theirs.transform_points_screen(points, image_size=(HEIGHT, WIDTH))[..., :2]
        camera = cameras_from_pytorch3d(theirs, height=HEIGHT, width=WIDTH)
        # measured 3e-5 pixels
        torch.testing.assert_close(camera.project(points)[0], expected, atol=2e-4, rtol=0)
    assert (camera.K[:, 0, 1] > 5).all(), "skew is taken over"


@needs_pytorch3d
def test_gradients_pass_through_cameras():
    cameras = ring_cameras(2, WIDTH, HEIGHT)
    K, w2c = cameras.K.clone().requires_grad_(), cameras.w2c.clone().requires_grad_()
    back = cameras_from_pytorch3d(cameras_to_pytorch3d(replace(cameras, K=K, w2c=w2c)))
    (back.K.sum() + back.w2c.sum()).backward()
    free = torch.zeros(2, 3, 3)
    free[:, [0, 1, 0, 1], [0, 1, 2, 2]] = 1.0
    torch.testing.assert_close(K.grad, free, atol=1e-5, rtol=0)
    torch.testing.assert_close(w2c.grad[:, :3], torch.ones(2, 3, 4))


@needs_pytorch3d
def test_cameras_that_cannot_be_converted_are_named():
    from pytorch3d.renderer import FoVOrthographicCameras, PerspectiveCameras

    cameras = ring_cameras(2, WIDTH, HEIGHT)
    K = cameras.K.clone()
    K[1, 0, 1] = 3.0
    with pytest.raises(ValueError, match=r"expected no skew, .* rasterize\(\.\.\., backend='pytorch3d'\) takes skewed"):
        cameras_to_pytorch3d(replace(cameras, K=K))
    with pytest.raises(ValueError, match="expected one batch dimension"):
        cameras_to_pytorch3d(cameras[0])
    with pytest.raises(ValueError, match="they hold no image size; expected height and width"):
        cameras_from_pytorch3d(PerspectiveCameras())
    two = PerspectiveCameras(R=torch.eye(3).expand(2, 3, 3), image_size=((4, 5), (6, 5)))
    with pytest.raises(ValueError, match=r"expected one image size for the whole batch, got \[\(4, 5\), \(6, 5\)\]"):
        cameras_from_pytorch3d(two)
    with pytest.raises(ValueError, match=f"height, width: expected those of the cameras, {HEIGHT} x {WIDTH}, got 7 x"):
        cameras_from_pytorch3d(cameras_to_pytorch3d(cameras), height=7, width=8)
    with pytest.raises(ValueError, match="expected a perspective projection, got FoVOrthographicCameras"):
        cameras_from_pytorch3d(FoVOrthographicCameras(), height=4, width=5)


@needs_pytorch3d
def test_fragments_round_trip_and_match_its_own():
    mesh, cameras = uv_sphere(), ring_cameras(3, WIDTH, HEIGHT)
    ours = rasterize(mesh.verts, mesh.faces, cameras)
    packed = fragments_to_pytorch3d(ours, len(mesh.faces))
    back = fragments_from_pytorch3d(packed, len(mesh.faces))
    for name in ("pix_to_face", "bary", "zbuf"):
        assert torch.equal(getattr(back, name), getattr(ours, name)), name
    theirs = rasterized_there(mesh, cameras)
    same = packed.pix_to_face == theirs.pix_to_face
    assert same.float().mean() > 0.9999  # measured 1: no pixel differs
    assert theirs.pix_to_face.max() >= 2 * len(mesh.faces), "faces are numbered through the batch"
    for name in ("zbuf", "bary_coords"):
        # measured 2e-5 and 7e-5; the background is -1 there
        expected, found = (getattr(fragments, name)[same] for fragments in (theirs, packed))
        torch.testing.assert_close(found, expected, atol=3e-4, rtol=0)
    assert packed.pix_to_face.shape == theirs.pix_to_face.shape
    # and from there to buffers
    expected, found = (
        interpolate_gbuffer(mesh, cameras, fragments)
        for fragments in (ours, fragments_from_pytorch3d(theirs, len(mesh.faces)))
    )
    assert (found.mask == expected.mask).float().mean() > 0.9999
    agree = same[..., 0]
    torch.testing.assert_close(found.uv[agree], expected.uv[agree], atol=1e-4, rtol=0)


@needs_pytorch3d
def test_fragments_that_cannot_be_taken_are_named():
    mesh, cameras = uv_sphere(), ring_cameras(2, 40, 30)
    with pytest.raises(ValueError, match="expected one face a pixel, got 2; set faces_per_pixel=1"):
        fragments_from_pytorch3d(rasterized_there(mesh, cameras, faces_per_pixel=2), len(mesh.faces))
    for wrong in (len(mesh.faces) // 2, len(mesh.faces) * 2):
        with pytest.raises(ValueError, match=f"expected the same {wrong} faces in every view"):
            fragments_from_pytorch3d(rasterized_there(mesh, cameras), wrong)


def test_without_pytorch3d_each_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pytorch3d"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    mesh, cameras = uv_sphere(), ring_cameras(1, 20, 14)
    fragments = rasterize(mesh.verts, mesh.faces, cameras)
    for convert in (
        lambda: mesh_to_pytorch3d(mesh),
        lambda: mesh_from_pytorch3d(None),
        lambda: cameras_to_pytorch3d(cameras),
        lambda: fragments_to_pytorch3d(fragments, len(mesh.faces)),
    ):
        with pytest.raises(NeuraltexError, match="needs the package pytorch3d .* conda install"):
            convert()
