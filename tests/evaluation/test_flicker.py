"""Steady pictures have no flicker however the camera moves; noise that changes from frame to frame is all counted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.evaluation.flicker import flicker
from tests.evaluation.test_lumigraph import red_ball_on_a_table, table_and_ball
from tests.scenes import ring_cameras


def slow_move(count: int, width: int, height: int) -> Camera:
    """Steps of 0.4 degrees around the scene."""
    return ring_cameras(900, width, height)[:count]


@pytest.fixture(scope="module")
def lambertian() -> Tensor:
    return red_ball_on_a_table(table_and_ball(), slow_move(4, 160, 120))


def test_a_lambertian_scene_is_steady_although_its_pictures_change(lambertian):
    assert flicker(table_and_ball(), slow_move(4, 160, 120), lambertian) < 6e-4  # measured 3.9e-4
    standing = slow_move(1, 160, 120)
    standing = Camera(standing.K.expand(4, -1, -1), standing.w2c.expand(4, -1, -1), 160, 120)
    assert flicker(table_and_ball(), standing, lambertian) > 1e-3  # measured 1.8e-3


def test_noise_of_each_frame_counts_in_proportion(lambertian):
    noise = torch.randn(lambertian.shape, generator=torch.Generator().manual_seed(0))
    mesh, cameras = table_and_ball(), slow_move(4, 160, 120)
    found = [flicker(mesh, cameras, lambertian + amount * noise) for amount in (0.0, 0.01, 0.02, 0.04)]
    assert found == sorted(found)
    assert found[3] == pytest.approx(2 * found[2], rel=0.05)
    # The spread of the difference of two normal numbers; less where one of them is interpolated.
    independent = math.sqrt(2) * 0.04
    assert 0.8 * independent < found[3] < independent  # measured 0.90


def test_noise_does_not_count_where_the_pictures_were_taken_twice(lambertian):
    mesh, cameras = table_and_ball(), slow_move(4, 160, 120)
    light = torch.linspace(0, 0.06, 4)[:, None, None, None]  # a true change of 0.02 from frame to frame
    generator = torch.Generator().manual_seed(0)
    taken = [lambertian + light + 0.02 * torch.randn(lambertian.shape, generator=generator) for _ in range(2)]
    assert flicker(mesh, cameras, taken[0]) > 0.03  # measured 0.033
    assert flicker(mesh, cameras, *taken) == pytest.approx(0.02, rel=0.03)  # measured 0.0200


@pytest.mark.parametrize("kind", ["bfloat16", "8-bit"])
def test_frames_of_few_bits_add_no_more_than_their_rounding(lambertian, kind):
    coarse = lambertian.bfloat16() if kind == "bfloat16" else (lambertian * 255).round().to(torch.uint8).float() / 255
    assert flicker(table_and_ball(), slow_move(4, 160, 120), coarse) < 2e-3  # measured 9e-4 and 1.1e-3


def test_what_comes_into_sight_does_not_count(lambertian):
    # The frames are true, but for what is near or behind the ball's outline: its colour is nothing like the table's.
    mesh, cameras = table_and_ball(), slow_move(40, 160, 120)[::13]
    assert (
        flicker(mesh, cameras, red_ball_on_a_table(mesh, cameras)) < 1e-3
    )  # measured 3e-4; 0.016 where all pixels count


def test_frames_that_share_nothing_have_no_number():
    mesh, cameras = table_and_ball(), ring_cameras(2, 32, 24)
    away = cameras.w2c.clone()
    away[1, 2, 3] = -50.0
    assert math.isnan(flicker(mesh, Camera(cameras.K, away, 32, 24), torch.zeros(2, 24, 32, 3)))
    with pytest.raises(ValueError, match=r"frames: expected 2 or more of the cameras' size, \[2, 24, 32, 3\]"):
        flicker(mesh, cameras, torch.zeros(2, 24, 31, 3))
