"""The camera itself: values by hand and laws."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.rotations import so3_exp
from tests.cameras.builders import HEIGHT, WIDTH, ring

number = st.floats(-3.0, 3.0)
vector = st.tuples(number, number, number)


def tensor(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_look_at_by_hand():
    w2c = look_at(tensor((0.0, -4.0, 0.0)), tensor((0.0, 0.0, 0.0)), tensor((0.0, 0.0, 1.0)))
    camera = Camera(ring(1).K[0], w2c, WIDTH, HEIGHT)
    pixels, depth = camera.project(torch.eye(3, dtype=torch.float64))
    # From the front: x is to the right, y away, z up. 50 and 48 pixels of focal length, middle at (19, 16.5).
    assert depth.tolist() == [4.0, 5.0, 4.0]
    expected = torch.tensor([[31.5, 16.5], [19.0, 16.5], [19.0, 4.5]], dtype=torch.float64)
    torch.testing.assert_close(pixels, expected)
    assert camera.center.tolist() == [0.0, -4.0, 0.0]


@pytest.mark.parametrize("up", [(0.0, 1.0, 0.0), (0.0, 0.0, 0.0)])
def test_look_at_refuses_what_has_no_answer(up: tuple[float, ...]):
    with pytest.raises(ValueError, match="up must not be parallel"):
        look_at(tensor((0.0, -4.0, 0.0)), tensor((0.0, 0.0, 0.0)), tensor(up))
    with pytest.raises(ValueError, match="eye must differ"):
        look_at(tensor((0.0, 1.0, 0.0)), tensor((0.0, 1.0, 0.0)), tensor((0.0, 0.0, 1.0)))


def test_field_of_view():
    camera = Camera.from_fov(torch.eye(4), 90.0, WIDTH, HEIGHT)
    torch.testing.assert_close(camera.K, torch.tensor([[20.0, 0.0, 20.0], [0.0, 20.0, 15.0], [0.0, 0.0, 1.0]]))
    with pytest.raises(ValueError, match="^fov_x_deg"):
        Camera.from_fov(torch.eye(4), 180.0, WIDTH, HEIGHT)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), vector, st.floats(0.01, 100.0), st.floats(-10, 50), st.floats(-10, 50))
def test_project_undoes_unproject(batch: int, turn, depth: float, x: float, y: float):
    cameras = ring(batch)
    w2c = cameras.w2c.clone()
    w2c[:, :3, :3] = so3_exp(tensor(turn)) @ w2c[:, :3, :3]
    cameras = Camera(cameras.K, w2c, WIDTH, HEIGHT)
    pixels = tensor((x, y)).expand(batch, 1, 2)
    depths = torch.full((batch, 1), depth, dtype=torch.float64)
    back, z = cameras.project(cameras.unproject(pixels, depths))
    # Measured: 2e-10 pixels at depth 0.01, where coordinates of size 3 cancel.
    torch.testing.assert_close(back, pixels, atol=1e-8, rtol=0)
    torch.testing.assert_close(z, depths, atol=1e-10, rtol=1e-10)


@settings(deadline=None, max_examples=30)
@given(vector, vector)
def test_a_moved_world_seen_by_a_moved_camera_looks_the_same(turn, shift):
    cameras = ring(3)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = so3_exp(tensor(turn)), tensor(shift)
    points = torch.rand(3, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = Camera(cameras.K, cameras.w2c @ torch.linalg.inv(motion), WIDTH, HEIGHT)
    moved_points = points @ motion[:3, :3].T + motion[:3, 3]
    torch.testing.assert_close(moved.project(moved_points), cameras.project(points), atol=1e-9, rtol=0)


def test_rays_pass_through_pixel_centres():
    cameras = ring(2)
    rays = cameras.ray_dirs()
    assert rays.shape == (2, HEIGHT, WIDTH, 3)
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(2, HEIGHT, WIDTH, dtype=torch.float64))
    points = cameras.center[:, None] + 2.5 * rays[:, 7, 11:12]
    pixels, _ = cameras.project(points)
    torch.testing.assert_close(pixels, torch.tensor([[[11.5, 7.5]]]).double().expand(2, 1, 2))


def test_resize_and_crop_move_pixels_along():
    cameras = ring(3)
    points = torch.rand(3, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pixels, _ = cameras.project(points)
    resized = cameras.resize(80, 15)
    assert (resized.width, resized.height) == (80, 15)
    torch.testing.assert_close(resized.project(points)[0], pixels * tensor((2.0, 0.5)))
    cropped = cameras.crop(3.0, 5.0, 20, 10)
    assert (cropped.width, cropped.height) == (20, 10)
    torch.testing.assert_close(cropped.project(points)[0], pixels - tensor((3.0, 5.0)))


def test_project_is_differentiable():
    K, w2c = ring(1).K, ring(1).w2c
    points = torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = tuple(value.clone().requires_grad_() for value in (K, w2c, points))
    assert torch.autograd.gradcheck(lambda k, w, p: Camera(k, w, WIDTH, HEIGHT).project(p), inputs)


def test_batches():
    cameras = ring(3)
    again = Camera.stack([cameras[i] for i in range(3)])
    assert torch.equal(again.w2c, cameras.w2c)
    assert (again.batch_shape, cameras[1:].batch_shape, cameras[0].batch_shape) == ((3,), (2,), ())
    with pytest.raises(ValueError, match="^cameras: expected one image size"):
        Camera.stack([cameras[0], cameras[1].resize(8, 6)])
    assert math.isclose(float(cameras.to(torch.float32).K[0, 0, 0]), 50.0)
