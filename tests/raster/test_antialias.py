"""Antialiasing: coverage at straight edges, silence elsewhere, gradients that move an outline."""

from __future__ import annotations

import pytest
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.raster import antialias, opposite_corners, rasterize
from tests.scenes import make_mesh, ring_cameras, uv_sphere


def flat_camera(width: int, height: int, dtype: torch.dtype = torch.float64) -> Camera:
    """A camera whose pixel coordinates are world x and y at z = 1."""
    return Camera(torch.eye(3, dtype=dtype)[None], torch.eye(4, dtype=dtype)[None], width, height)


def rectangle(left, top, right, bottom):
    verts = torch.tensor([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=torch.float64)
    verts = torch.cat([verts, torch.ones(4, 1, dtype=torch.float64)], dim=1)
    return verts, torch.tensor([[0, 1, 2], [0, 2, 3]])


def smooth_coverage(verts, faces, camera):
    fragments = rasterize(verts, faces, camera)
    features = fragments.mask[..., None].to(verts.dtype)
    return antialias(features, fragments, verts, faces, opposite_corners(faces), camera)[..., 0]


def test_upright_edges_get_their_exact_coverage():
    camera = flat_camera(12, 9)
    for left, right in ((2.25, 8.6), (2.75, 8.1), (2.5001, 8.4999)):
        coverage = smooth_coverage(*rectangle(left, 1.5, right, 7.5), camera)
        columns = torch.arange(12, dtype=torch.float64)
        exact = ((right - columns).clamp(0, 1) - (left - columns).clamp(0, 1)).clamp(0, 1)
        # measured 1e-16: an upright edge is what the method is exact for
        torch.testing.assert_close(coverage[0, 4], exact, atol=1e-12, rtol=0)
    coverage = smooth_coverage(*rectangle(1.5, 2.3, 10.5, 6.8), camera)
    rows = torch.arange(9, dtype=torch.float64)
    exact = ((6.8 - rows).clamp(0, 1) - (2.3 - rows).clamp(0, 1)).clamp(0, 1)
    torch.testing.assert_close(coverage[0, :, 5], exact, atol=1e-12, rtol=0)


def test_inner_edges_and_smooth_surfaces_are_left_alone():
    mesh, cameras = uv_sphere(10, 16), ring_cameras(3, 60, 44)
    fragments = rasterize(mesh.verts, mesh.faces, cameras)
    features = torch.randn(3, 44, 60, 4, generator=torch.Generator().manual_seed(0))
    smoothed = antialias(features, fragments, mesh.verts, mesh.faces, opposite_corners(mesh.faces), cameras)
    mask = fragments.mask
    inner = mask.clone()
    for shift, axis in ((1, 1), (-1, 1), (1, 2), (-1, 2)):
        inner &= mask.roll(shift, axis)
    assert torch.equal(smoothed[inner], features[inner])
    changed = (smoothed != features).any(-1)
    assert changed.sum() > 100
    assert not (changed & ~mask).logical_and(~_near(mask)).any()


def _near(mask):
    near = mask.clone()
    for shift, axis in ((1, 1), (-1, 1), (1, 2), (-1, 2)):
        near |= mask.roll(shift, axis)
    return near


def test_a_nearer_part_is_blended_over_a_farther_one():
    near_verts, faces = rectangle(3.25, 2.0, 20.0, 20.0)
    far_verts = rectangle(-5.0, -5.0, 30.0, 30.0)[0] * 2.0
    verts = torch.cat([near_verts, far_verts])
    both = torch.cat([faces, faces + 4])
    camera = flat_camera(12, 9)
    fragments = rasterize(verts, both, camera)
    features = (fragments.pix_to_face < 2).to(torch.float64)[..., None]
    smoothed = antialias(features, fragments, verts, both, opposite_corners(both), camera)
    # Column 3 holds the edge at 3.25: three quarters near.
    torch.testing.assert_close(smoothed[0, 5, 2:5, 0], torch.tensor([0.0, 0.75, 1.0]).double(), atol=1e-12, rtol=0)


def test_coverage_gradients_equal_finite_differences():
    verts, faces = rectangle(2.3, 1.7, 8.6, 6.9)
    verts = verts + torch.tensor([[0.0, 0, 0], [0.3, 0.1, 0], [0.2, 0.3, 0.05], [-0.2, 0.1, 0.02]]).double()
    camera = flat_camera(12, 9)
    weights = torch.randn(1, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def total(values):
        return (smooth_coverage(values, faces, camera) * weights).sum()

    verts.requires_grad_()
    (gradient,) = torch.autograd.grad(total(verts), verts)
    assert gradient.abs().max() > 0.1
    step = 1e-6
    for index in range(verts.numel()):
        change = torch.zeros(verts.numel(), dtype=torch.float64)
        change[index] = step
        with torch.no_grad():
            slope = (total(verts + change.view_as(verts)) - total(verts - change.view_as(verts))) / (2 * step)
        # measured 2e-9
        assert gradient.flatten()[index] == pytest.approx(float(slope), abs=1e-6)


def test_opposite_corners_see_neighbours_over_the_uv_seam_and_open_borders():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    assert opposite_corners(faces).tolist() == [[3, -1, -1], [-1, -1, 0]]
    three_at_an_edge = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    assert opposite_corners(three_at_an_edge).tolist() == [[-1, -1, -2]] * 3
    sphere = uv_sphere(6, 9)
    assert (opposite_corners(sphere.faces) >= 0).all(), "a closed sphere has no open edge"
    square = make_mesh(*(t for t in rectangle(0, 0, 1, 1)))
    assert (opposite_corners(square.faces) == -1).sum() == 4
