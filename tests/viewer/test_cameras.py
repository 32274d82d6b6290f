"""The browser's cameras and ours: the same view both ways."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.rotations import matrix_from_quaternion
from neuraltex.viewer.cameras import BrowserCamera, camera_to_viser, forward_of, orbit_up, picture_size, viser_to_camera
from tests.scenes import ring_cameras

numbers = st.floats(-5, 5).map(lambda x: round(x, 3))
quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01)


@settings(max_examples=50, deadline=None)
@given(quaternions, st.tuples(numbers, numbers, numbers), st.floats(0.2, 2.8), st.floats(0.4, 2.5))
def test_a_browser_camera_comes_back(wxyz, position, fov, aspect):
    length = math.sqrt(sum(x * x for x in wxyz))
    before = BrowserCamera(tuple(x / length for x in wxyz), position, fov, aspect)
    after = camera_to_viser(viser_to_camera(before, 37, 23))
    # float32 in between: measured 1e-6
    assert after.position == pytest.approx(before.position, abs=2e-5)
    assert after.fov == pytest.approx(fov, abs=1e-5)
    assert after.aspect == pytest.approx(aspect, rel=1e-5)
    turns = [matrix_from_quaternion(torch.tensor(c.wxyz, dtype=torch.float64)) for c in (before, after)]
    torch.testing.assert_close(*turns, atol=1e-5, rtol=0)


def test_one_of_our_cameras_comes_back():
    w2c = look_at(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.0, 1.0, 0.0]))
    before = Camera.from_fov(w2c, 50.0, 64, 48)
    after = viser_to_camera(camera_to_viser(before), 64, 48)
    torch.testing.assert_close(after.K, before.K, atol=1e-4, rtol=0)
    torch.testing.assert_close(after.w2c, before.w2c, atol=1e-5, rtol=0)


def test_axes_are_those_of_viser():
    """viser's documentation: +x right, -y up, +z forward, and the vertical field of view over the whole height."""
    camera = viser_to_camera(BrowserCamera((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -4.0), math.pi / 2, 2.0), 200, 100)
    seen = torch.tensor([[0.0, 0.0, 0.0], [0.0, -4.0, 0.0], [8.0, 0.0, 0.0]])
    pixels, depth = camera.project(seen)
    torch.testing.assert_close(pixels, torch.tensor([[100.0, 50.0], [100.0, 0.0], [200.0, 50.0]]), atol=1e-4, rtol=0)
    assert depth.tolist() == pytest.approx([4.0, 4.0, 4.0])


def test_a_stretched_picture_shows_the_same():
    """Pixels that are not square once more on the canvas: the same point at the same share of width and height."""
    browser = camera_to_viser(ring_cameras(3, 64, 48)[1])
    point = torch.tensor([[0.2, 0.1, -0.3]])
    shares = [
        viser_to_camera(browser, width, height).project(point)[0] / torch.tensor([width, height])
        for width, height in ((64, 48), (31, 57))
    ]
    torch.testing.assert_close(*shares, atol=1e-5, rtol=0)


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.5])
def test_a_whole_photograph_is_seen(aspect):
    photo = ring_cameras(3, 64, 48)[1]  # its principal point is off the middle
    browser = camera_to_viser(photo, aspect=aspect)
    canvas = viser_to_camera(browser, round(1000 * aspect), 1000)
    corners = torch.tensor([[0.0, 0.0], [64.0, 0.0], [0.0, 48.0], [64.0, 48.0]])
    shares = canvas.project(photo.unproject(corners, torch.ones(4)))[0] / torch.tensor([canvas.width, canvas.height])
    assert float(shares.min()) > -1e-3
    assert float(shares.max()) < 1 + 1e-3
    reached = torch.minimum(shares.amin(0), 1 - shares.amax(0))
    assert float(reached.min()) == pytest.approx(0.0, abs=1e-3), "no wider than needed"


def test_orbiting_about_the_world_does_not_roll_the_camera():
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    w2c = look_at(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3), torch.tensor([0.2, 1.0, 0.1]))
    browser = camera_to_viser(Camera.from_fov(w2c, 50.0, 64, 48))
    axis = orbit_up(browser, up)
    again = look_at(torch.tensor(browser.position), torch.zeros(3), axis.float())
    torch.testing.assert_close(again, w2c, atol=1e-5, rtol=0)
    assert float(axis @ up) > 0.9
    assert forward_of(browser).tolist() == pytest.approx((-torch.tensor([1.0, 2.0, 3.0]) / 14**0.5).tolist(), abs=1e-5)
    # A camera on its head keeps its own.
    down = camera_to_viser(Camera.from_fov(look_at(torch.ones(3), torch.zeros(3), -up.float()), 50.0, 64, 48))
    assert float(orbit_up(down, up) @ up) < 0


def test_sizes_of_pictures():
    assert picture_size(512, 2.0) == (512, 256)
    assert picture_size(512, 0.5) == (256, 512)
    assert picture_size(1000, 1.72, multiple=8) == (1000, 584)
    assert picture_size(3, 100.0) == (3, 1)
