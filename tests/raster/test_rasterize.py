"""Fragments against a slow reference, and the laws of rasterization."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.raster import make_gbuffer, rasterize, torch_backend
from neuraltex.raster.rasterize import NEAR
from tests.scenes import join, make_mesh, ring_cameras, uv_sphere


def ref_fragments(verts: torch.Tensor, faces: torch.Tensor, camera: Camera, near: float = NEAR):
    """Each pixel's ray against every triangle's plane, in float64: nothing shared with the backend but the contract."""
    verts, camera = verts.double(), camera.to(torch.float64)
    rows, columns = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    pixels = torch.stack([columns + 0.5, rows + 0.5, torch.ones_like(rows) * 1.0], dim=-1).double().view(-1, 3)
    rays = pixels @ torch.linalg.inv(camera.K).T  # camera space, z = 1, so the distance along a ray is its depth
    space = verts @ camera.w2c[:3, :3].T + camera.w2c[:3, 3]
    a, b, c = space[faces].unbind(1)
    e1, e2 = b - a, c - a
    p = torch.linalg.cross(rays[:, None], e2[None])
    determinant = (e1 * p).sum(-1)
    t = -a
    u = (t * p).sum(-1) / determinant
    q = torch.linalg.cross(t, e1)
    v = (rays[:, None] * q[None]).sum(-1) / determinant
    depth = (e2 * q).sum(-1)[None] / determinant
    inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth >= near) & (determinant != 0)
    depth = torch.where(inside, depth, torch.inf)
    best, face = depth.min(dim=1)
    hit = best.isfinite()
    bary = torch.stack([1 - u - v, u, v], dim=-1)[torch.arange(len(face)), face]
    # How far the pixel is from any choice: a border or a rival surface within rounding is not decided by the contract.
    margin = torch.where(inside, torch.stack([u, v, 1 - u - v]).amin(0), -1).gather(1, face[:, None])[:, 0]
    outside = torch.stack([u, v, 1 - u - v]).amin(0).abs().amin(1)
    rival = (depth - best[:, None]).abs().scatter(1, face[:, None], torch.inf).amin(1)
    decided = torch.where(hit, (margin > 1e-4) & (rival > 1e-4), True) & (outside > 1e-5)
    shape = (camera.height, camera.width)
    return torch.where(hit, face, -1).view(shape), bary.view(*shape, 3), best.view(shape), decided.view(shape)


def floor_under_camera():
    """A floor of two triangles that reach far behind the camera, and a triangle wholly behind it."""
    verts = torch.tensor(
        [[-20, -1, -20], [20, -1, -20], [20, -1, 20], [-20, -1, 20], [0, 0, 9], [1, 0, 9], [0, 1, 9]],
        dtype=torch.float32,
    )
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6]])
    eye = torch.tensor([[0.0, 0.2, 3.0]])
    camera = Camera.from_fov(look_at(eye, torch.tensor([0.3, -0.2, 0.0]), torch.tensor([0.0, 1.0, 0.0])), 70.0, 64, 40)
    return make_mesh(verts, faces), camera


@pytest.mark.parametrize("num_views", [1, 3])
def test_fragments_equal_ray_casting(num_views):
    sphere = uv_sphere()
    small = make_mesh(sphere.verts * 0.3 + torch.tensor([0.9, 0.2, 0.4]), sphere.faces)
    mesh = join(sphere, small)
    cameras = ring_cameras(num_views, 53, 37)
    fragments = rasterize(mesh.verts, mesh.faces, cameras)
    for view in range(num_views):
        face, bary, depth, decided = ref_fragments(mesh.verts, mesh.faces, cameras[view])
        assert decided.float().mean() > 0.97
        assert (face >= 0).float().mean() > 0.15
        assert torch.equal(fragments.pix_to_face[view][decided], face[decided])
        both = decided & (face >= 0)
        # measured 4e-6 and 2e-6 in float32
        torch.testing.assert_close(fragments.bary[view][both].double(), bary[both], atol=2e-5, rtol=0)
        torch.testing.assert_close(fragments.zbuf[view][both].double(), depth[both], atol=1e-5, rtol=0)


def test_floor_that_passes_under_the_camera_is_kept():
    mesh, camera = floor_under_camera()
    fragments = rasterize(mesh.verts, mesh.faces, camera)
    face, bary, depth, decided = ref_fragments(mesh.verts, mesh.faces, camera[0])
    assert torch.equal(fragments.pix_to_face[0][decided], face[decided])
    bottom_row = fragments.pix_to_face[0, -1]
    assert (bottom_row >= 0).all()
    assert (fragments.pix_to_face != 2).all(), "a face behind the camera was drawn"
    both = decided & (face >= 0)
    # measured 3e-6 relative
    torch.testing.assert_close(fragments.zbuf[0][both].double(), depth[both], atol=0, rtol=3e-5)
    torch.testing.assert_close(fragments.bary[0][both].double(), bary[both], atol=1e-4, rtol=0)


def test_near_plane_cuts_what_is_closer():
    mesh, camera = floor_under_camera()
    # Rolled, so that the cut runs slantwise over the picture and no bounding box follows it.
    turn = torch.deg2rad(torch.tensor(35.0))
    roll = torch.eye(4)
    roll[:2, :2] = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()]).view(2, 2)
    camera = Camera(camera.K, roll @ camera.w2c, camera.width, camera.height)
    fragments = rasterize(mesh.verts, mesh.faces, camera, near=3.0)
    seen = fragments.zbuf[fragments.mask]
    assert len(seen) > 0
    assert seen.min() >= 3.0
    whole = rasterize(mesh.verts, mesh.faces, camera)
    far = whole.zbuf > 3.0
    assert torch.equal(fragments.pix_to_face[far], whole.pix_to_face[far])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 9))
def test_adjacent_triangles_leave_no_gap_and_no_overlap(seed, corners):
    """A fan of triangles with corners on pixel centres and on borders: every pixel inside belongs to exactly one."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.arange(corners) * (2 * torch.pi / corners)
    outline = torch.stack([angle.cos(), angle.sin()], dim=-1) * 9 + 12
    points = torch.cat([torch.tensor([[12.5, 11.5]]), (outline * 2).round() / 2])
    points[0] += torch.randint(-2, 3, (2,), generator=generator) * 0.5
    camera = Camera(torch.eye(3)[None], torch.eye(4)[None], 26, 24)
    verts = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    fan = torch.tensor([[0, 1 + i, 1 + (i + 1) % corners] for i in range(corners)])
    flipped = torch.rand(corners, generator=generator) < 0.5
    fan[flipped] = fan[flipped].flip(1)
    count = sum((rasterize(verts, fan[i : i + 1], camera).pix_to_face >= 0).int() for i in range(corners))
    assert count.max() == 1, "a pixel belongs to two triangles"
    whole = rasterize(verts, fan, camera).pix_to_face >= 0
    assert torch.equal(count > 0, whole)
    # Whatever the inner point, the union is the outline.
    moved = verts.clone()
    moved[0, :2] = torch.tensor([12.0, 12.0])
    assert torch.equal(rasterize(moved, fan, camera).pix_to_face >= 0, whole)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_barycentrics_sum_to_one_and_interpolate_position(seed):
    generator = torch.Generator().manual_seed(seed)
    verts = torch.randn(30, 3, generator=generator)
    faces = torch.randint(0, 30, (20, 3), generator=generator)
    cameras = ring_cameras(1, 31, 23)
    fragments = rasterize(verts, faces, cameras)
    mask = fragments.mask
    bary = fragments.bary[mask]
    # measured 1.2e-7
    torch.testing.assert_close(bary.sum(-1), torch.ones(len(bary)), atol=1e-6, rtol=0)
    assert (fragments.bary[~mask] == 0).all()
    points = (bary[..., None] * verts[faces[fragments.pix_to_face[mask]]]).sum(1)
    pixels, depth = cameras[0].project(points)
    rows, columns = mask[0].nonzero().unbind(1)
    # measured 3e-4 px: sharp grazing triangles amplify rounding
    torch.testing.assert_close(pixels, torch.stack([columns, rows], -1) + 0.5, atol=5e-3, rtol=0)
    torch.testing.assert_close(depth, fragments.zbuf[mask], atol=1e-4, rtol=1e-4)


def test_a_rigidly_moved_scene_seen_by_a_rigidly_moved_camera_is_the_same():
    mesh, cameras = uv_sphere(dtype=torch.float64), ring_cameras(3, 40, 30, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    rotation = rotation * torch.linalg.det(rotation)
    shift = torch.tensor([3.0, -5.0, 2.0], dtype=torch.float64)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    moved_cameras = Camera(cameras.K, cameras.w2c @ torch.linalg.inv(motion), 40, 30)
    still = make_gbuffer(mesh, cameras)
    moved = make_gbuffer(mesh.with_verts(mesh.verts @ rotation.T + shift), moved_cameras)
    assert torch.equal(still.fragments.pix_to_face, moved.fragments.pix_to_face)
    # measured 1e-14
    torch.testing.assert_close(still.uv, moved.uv, atol=1e-11, rtol=0)
    torch.testing.assert_close(still.depth, moved.depth, atol=1e-11, rtol=0)
    torch.testing.assert_close(still.view_dirs @ rotation.T, moved.view_dirs, atol=1e-11, rtol=0)
    torch.testing.assert_close(still.normals @ rotation.T, moved.normals, atol=1e-11, rtol=0)


def test_gbuffer_follows_the_uv_seam_and_leaves_the_background_empty():
    mesh = uv_sphere(16, 24)
    cameras = ring_cameras(3, 61, 47)
    gbuffer = make_gbuffer(mesh, cameras)
    outside = ~gbuffer.mask
    for buffer in (gbuffer.uv, gbuffer.view_dirs, gbuffer.normals, gbuffer.depth):
        assert (buffer[outside] == 0).all()
    assert (gbuffer.part_ids[outside] == -1).all()
    assert (gbuffer.part_ids[gbuffer.mask] == 0).all()
    # On the sphere UV follows from the position, on either side of the seam; a face's chord is off by up to 1/24 / 2.
    points = (
        cameras.center[:, None, None]
        + gbuffer.view_dirs
        * (gbuffer.depth / (gbuffer.view_dirs * cameras.w2c[:, None, None, 2, :3]).sum(-1).clamp(min=1e-6))[..., None]
    )
    points = points[gbuffer.mask]
    u = torch.atan2(points[:, 2], points[:, 0]) / (2 * torch.pi)
    error = (gbuffer.uv[gbuffer.mask][:, 0] - u + 0.5) % 1.0 - 0.5
    away_from_poles = points[:, 1].abs() < 0.8
    assert error[away_from_poles].abs().max() < 0.01  # measured 0.0027
    assert gbuffer.uv[gbuffer.mask][:, 0].max() > 0.97
    assert gbuffer.uv[gbuffer.mask][:, 0].min() < 0.03


def test_chunks_change_nothing(monkeypatch):
    mesh, cameras = uv_sphere(12, 20), ring_cameras(1, 80, 60)
    whole = rasterize(mesh.verts, mesh.faces, cameras).pix_to_face
    monkeypatch.setattr(torch_backend, "CANDIDATES_A_CHUNK", 97)
    monkeypatch.setattr(torch_backend, "FACES_A_CHUNK", 53)
    assert torch.equal(rasterize(mesh.verts, mesh.faces, cameras).pix_to_face, whole)


def test_nothing_to_draw_and_vertices_that_are_not_numbers():
    cameras = ring_cameras(1, 20, 10)
    away = torch.tensor([[0.0, 0.0, 1e6], [1.0, 0.0, 1e6], [0.0, 1.0, 1e6]])
    nothing = torch.full((3, 3), torch.nan)
    for verts in (away, nothing, away * torch.inf):
        assert (rasterize(verts, torch.tensor([[0, 1, 2]]), cameras).pix_to_face == -1).all()
    no_faces = torch.zeros(0, 3, dtype=torch.int64)
    assert (rasterize(away, no_faces, cameras).pix_to_face == -1).all()


def test_equal_depth_falls_to_the_lower_face():
    verts = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    cameras = ring_cameras(1, 20, 16)
    faces = torch.tensor([[0, 1, 2], [0, 1, 2], [0, 1, 2]])
    assert set(rasterize(verts, faces, cameras).pix_to_face.unique().tolist()) == {-1, 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": torch.zeros(3, 3)}, "faces: expected int64"),
        ({"verts": torch.zeros(4, 2)}, "verts: expected"),
        ({"backend": "metal"}, "backend: expected one of"),
        ({"near": 0.0}, "near: expected"),
        ({"height": 0}, "height, width"),
        ({"verts": torch.zeros(2, 4, 3)}, "one a camera"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "verts": torch.zeros(4, 3),
        "faces": torch.zeros(1, 3, dtype=torch.int64),
        "cameras": ring_cameras(1, 8, 6),
        **change,
    }
    # Shape annotations are checked in tests only; the function itself must be clear without them.
    plain = getattr(rasterize, "__wrapped__", rasterize)
    with pytest.raises(Exception, match=message) as caught:
        plain(**arguments)
    assert isinstance(caught.value, ValueError)
