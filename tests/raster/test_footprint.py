"""How far a pixel reaches in texture coordinates, against differences of UV between cameras a hair apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.raster import make_gbuffer
from tests.scenes import make_mesh, ring_cameras, uv_sphere


def tilted_plane():
    """A square seen from a slant, its near side ten times as large as its far side."""
    verts = torch.tensor([[-1, 0, -9], [1, 0, -9], [1, 0, 1], [-1, 0, 1]], dtype=torch.float64)
    mesh = make_mesh(verts, torch.tensor([[0, 2, 1], [0, 3, 2]]), verts[:, [0, 2]] * 0.1 + 0.9, None)
    uv = torch.tensor([[0.0, 1.0], [0.2, 1.0], [0.2, 0.0], [0.0, 0.0]], dtype=torch.float64)
    mesh = replace(mesh, verts_uv=uv, faces_uv=mesh.faces)
    eye, target = torch.tensor([[0.3, 0.7, 2.0]]).double(), torch.tensor([0.0, 0.0, -2.0]).double()
    camera = Camera.from_fov(look_at(eye, target, torch.tensor([0.0, 1.0, 0.0]).double()), 60.0, 64, 40)
    return mesh, camera


@pytest.mark.parametrize("scene", ["plane", "sphere"])
def test_footprints_equal_differences_between_cameras(scene):
    if scene == "plane":
        mesh, cameras = tilted_plane()
    else:
        mesh, cameras = uv_sphere(20, 30, dtype=torch.float64), ring_cameras(3, 45, 33, dtype=torch.float64)
    here = make_gbuffer(mesh, cameras, "torch")
    step = 1e-5
    right, down = (
        make_gbuffer(mesh, cameras.crop(*shift, cameras.width, cameras.height), "torch")
        for shift in ((step, 0), (0, step))
    )
    same = here.mask
    for moved in (right, down):
        same = same & (moved.fragments.pix_to_face == here.fragments.pix_to_face)
    assert same.float().mean() > 0.1
    jacobian = torch.stack([(moved.uv - here.uv)[same] / step for moved in (right, down)], dim=-1)
    expected = torch.linalg.matrix_norm(jacobian, ord=2)
    assert expected.max() > 5 * expected.min()
    # measured 4e-5 relative, of the differences
    torch.testing.assert_close(here.footprint[same], expected, rtol=4e-4, atol=0)
    assert not here.footprint[~here.mask].any()


def test_twice_as_many_pixels_reach_half_as_far():
    mesh, camera = tilted_plane()
    large, small = make_gbuffer(mesh, camera.resize(192, 120), "torch"), make_gbuffer(mesh, camera, "torch")
    # The middle of three pixels lies where the one does. Measured 1e-15.
    torch.testing.assert_close(large.footprint[:, 1::3, 1::3] * 3, small.footprint, rtol=1e-9, atol=1e-12)
