"""Camera paths: what orbits find out by themselves, and the laws of the spline."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.paths import default_path, orbit, spiral, training_path
from neuraltex.cameras.read import read_cameras
from neuraltex.cameras.rotations import so3_exp, so3_log
from neuraltex.cameras.spline import CameraSpline, spline_path, tangents
from neuraltex.cameras.survey import estimate_center, estimate_up, seen_arc, survey_cameras
from tests.cameras.builders import HEIGHT, WIDTH, angle_between_deg, assert_same, ring

CENTER = torch.tensor([0.5, -0.25, 0.125], dtype=torch.float64)
UP = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def azimuths_deg(cameras: Camera) -> torch.Tensor:
    offsets = cameras.center.double() - CENTER
    return torch.rad2deg(torch.atan2(offsets[:, 1], offsets[:, 0])) % 360


def random_keys(seed: int, count: int) -> Camera:
    generator = torch.Generator().manual_seed(seed)
    rotations = so3_exp(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    w2c = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    w2c[:, :3, :3] = rotations
    w2c[:, :3, 3] = 3 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    K = ring(1).K.repeat(count, 1, 1)
    K[:, 0, 0] += 30 * torch.rand(count, generator=generator, dtype=torch.float64)
    return Camera(K, w2c, WIDTH, HEIGHT)


def test_orbit_goes_round_where_the_cameras_do():
    path = orbit(ring(12), num_frames=24)
    offsets = path.center - CENTER
    # Twelve cameras at distance hypot(3, 1), 1 above the centre.
    torch.testing.assert_close(offsets.norm(dim=1), torch.full((24,), math.sqrt(10.0), dtype=torch.float64))
    torch.testing.assert_close(offsets[:, 2], torch.ones(24, dtype=torch.float64), atol=1e-6, rtol=0)
    assert torch.unique((azimuths_deg(path) / 15).round() % 24).tolist() == list(range(24))
    assert_same(Camera(path.K[0], path.w2c[0], WIDTH, HEIGHT), ring(12)[0])
    # Every frame looks at the centre and keeps the lens.
    pixels, _ = path.project(CENTER.expand(24, 1, 3))
    torch.testing.assert_close(pixels[:, 0], torch.tensor([[19.0, 16.5]]).double().expand(24, 2))


@pytest.mark.parametrize("arc", [20.0, 90.0, 200.0])
def test_orbit_swings_within_the_seen_arc_elsewhere(arc: float):
    cameras = ring(9, arc_deg=arc * 9 / 8)  # the last one stands at `arc`
    path = orbit(cameras, num_frames=40)
    shifted = (azimuths_deg(path) + 90) % 360 - 90
    assert shifted.min() > -1e-3
    assert shifted.max() < arc + 1e-3
    assert shifted.max() - shifted.min() > 0.98 * arc
    # A loop: the way from the last frame to the first is no longer than the others.
    steps = (path.center - path.center.roll(1, 0)).norm(dim=1)
    assert steps[0] <= steps.max() + 1e-9


def test_orbit_takes_orders():
    path = orbit(ring(9, arc_deg=90), num_frames=8, radius=5.0, elevation_deg=30.0, sweep_deg=360.0)
    offsets = path.center - CENTER
    torch.testing.assert_close(offsets.norm(dim=1), torch.full((8,), 5.0, dtype=torch.float64))
    torch.testing.assert_close(offsets[:, 2], torch.full((8,), 2.5, dtype=torch.float64), atol=1e-5, rtol=0)


def test_up_and_center_survive_wild_cameras():
    cameras = ring(20)
    w2c = cameras.w2c.clone()
    # Two cameras on their side that look elsewhere.
    w2c[3, :3] = so3_exp(torch.tensor([0.3, 0.8, 1.5], dtype=torch.float64)) @ w2c[3, :3]
    w2c[11, :3] = so3_exp(torch.tensor([-0.9, 0.2, 1.2], dtype=torch.float64)) @ w2c[11, :3]
    wild = Camera(cameras.K, w2c, WIDTH, HEIGHT)
    # Measured: 1.3 degrees, and 0.02 of a scene of radius 3.
    assert angle_between_deg(estimate_up(wild), UP) < 4
    assert float((estimate_center(wild) - CENTER).norm()) < 0.1


def test_up_of_steep_cameras_over_half_a_circle_is_not_tilted():
    # The mean of the up vectors leans by 58 degrees here; the cameras' horizontal axes know better.
    cameras = ring(12, arc_deg=180, radius=1.0, height=2.0)
    assert angle_between_deg(estimate_up(cameras), UP) < 0.1


def test_up_of_cameras_in_a_row_is_their_up():
    eyes = torch.tensor([[0.1 * i, 0.0, 0.0] for i in range(5)], dtype=torch.float64)
    forward = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    cameras = Camera(ring(5).K, look_at(eyes, eyes + forward, UP), WIDTH, HEIGHT)
    assert angle_between_deg(estimate_up(cameras), UP) < 1e-3
    # Parallel axes meet nowhere; the stand-in lies in front.
    assert float((estimate_center(cameras) - eyes.mean(0)) @ forward) > 0.1


def test_one_camera_has_paths_too():
    for path in (orbit, spiral, training_path, default_path):
        made = path(ring(1).to(torch.float32), num_frames=7)
        assert made.batch_shape == (7,)
        assert bool(torch.isfinite(made.w2c).all())
        assert made.w2c.dtype == torch.float32


def test_seen_arc_by_hand():
    # The widest gap is 350 -> 10 by way of 90: no, it is 80 -> 350.
    start, sweep = seen_arc(torch.tensor([10.0, 350.0, 80.0, 40.0], dtype=torch.float64))
    assert (start, sweep) == (350.0, 90.0)
    assert seen_arc(torch.arange(0.0, 360.0, 59.0, dtype=torch.float64)) == (0.0, 360.0)


def test_spiral_stays_near_and_looks_at_the_point():
    cameras = ring(9, arc_deg=30)
    path = spiral(cameras, num_frames=30)
    pixels, depth = path.project(CENTER.expand(30, 1, 3))
    torch.testing.assert_close(pixels[:, 0], torch.tensor([[19.0, 16.5]]).double().expand(30, 2), atol=0.05, rtol=0)
    assert depth.min() > 2
    spread = (cameras.center - cameras.center.mean(0)).norm(dim=1).max()
    assert (path.center - cameras.center.median(0).values).norm(dim=1).max() < spread


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 7), st.booleans())
def test_spline_passes_through_its_keys(seed: int, count: int, closed: bool):
    keys = random_keys(seed, count)
    spline = CameraSpline(keys, closed=closed)
    # Measured: 2e-14.
    assert_same(spline.at(spline.knots[:count]), keys, tolerance=1e-10)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(3, 7), st.booleans())
def test_spline_velocity_is_continuous(seed: int, count: int, closed: bool):
    spline = CameraSpline(random_keys(seed, count), closed=closed)
    h = 1e-5
    knots = spline.knots[1:-1]
    before, at, after = (spline.at(knots + shift) for shift in (-h, 0.0, h))
    shape = {"atol": 2e-2, "rtol": 2e-2}  # one-sided differences: h times a second derivative of up to 1e3
    torch.testing.assert_close((at.center - before.center) / h, (after.center - at.center) / h, **shape)
    spins = [so3_log(a.w2c[:, :3, :3] @ b.w2c[:, :3, :3].transpose(1, 2)) / h for a, b in ((before, at), (at, after))]
    torch.testing.assert_close(*spins, **shape)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 6), st.booleans())
def test_spline_path_has_constant_speed(seed: int, count: int, closed: bool):
    keys = random_keys(seed, count)
    keys = Camera(keys.K, torch.eye(4).double().repeat(count, 1, 1) + 0 * keys.w2c, WIDTH, HEIGHT)
    generator = torch.Generator().manual_seed(seed)
    keys.w2c[:, :3, 3] = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    path = spline_path(keys, num_frames=300, closed=closed)
    steps = path.center.diff(dim=0).norm(dim=1)
    # Measured: 0.4% between the fastest and the mean; chords across the tightest bends are shorter.
    assert float(steps.max() / steps.mean()) < 1.02
    assert float(steps.median() / steps.mean()) > 0.98


def test_tangents_of_a_parabola_are_its_slopes():
    times = torch.tensor([0.0, 1.0, 1.5, 4.0], dtype=torch.float64)
    values = (times.square() - 3 * times)[:, None]
    durations = times.diff()
    slopes = tangents(values.diff(dim=0) / durations[:, None], durations, False)
    torch.testing.assert_close(slopes[1:-1, 0], 2 * times[1:-1] - 3)


def test_a_loop_through_a_ring_is_the_same_everywhere():
    keys = ring(8)
    path = spline_path(keys, num_frames=32, closed=True)
    # Turned by an eighth about the centre, the loop is itself; its seam too.
    radii = (path.center - CENTER)[:, :2].norm(dim=1).reshape(8, 4)
    torch.testing.assert_close(radii, radii[:1].expand(8, 4), atol=1e-4, rtol=0)
    # Between the keys it stays near the circle. Measured: 1.5%.
    assert float((radii / 3 - 1).abs().max()) < 0.02


def test_a_turn_on_the_spot_takes_time():
    # Two keys at one place between two others: the camera stops there and turns evenly.
    w2c = torch.eye(4).double().repeat(4, 1, 1)
    quarter = so3_exp(torch.tensor([0.0, math.pi / 2, 0.0], dtype=torch.float64))
    places = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [2, 0, 0]], dtype=torch.float64)
    for i in range(4):
        w2c[i, :3, :3] = quarter if i >= 2 else torch.eye(3).double()
        w2c[i, :3, 3] = -w2c[i, :3, :3] @ places[i]
    path = spline_path(Camera(ring(4).K, w2c, WIDTH, HEIGHT), num_frames=60)
    rotations = path.w2c[:, :3, :3]
    turned = so3_log(rotations[:-1] @ rotations[1:].transpose(1, 2)).norm(dim=1)
    assert float(turned.max()) < math.radians(20)


def test_a_pure_turn_is_even():
    w2c = torch.eye(4).double().repeat(3, 1, 1)
    for i in range(3):
        w2c[i, :3, :3] = so3_exp(torch.tensor([0.0, 0.5 * i, 0.0], dtype=torch.float64))
    path = spline_path(Camera(ring(3).K, w2c, WIDTH, HEIGHT), num_frames=11)
    rotations = path.w2c[:, :3, :3]
    turned = so3_log(rotations[:-1] @ rotations[1:].transpose(1, 2)).norm(dim=1)
    torch.testing.assert_close(turned, torch.full((10,), 0.1, dtype=torch.float64), atol=1e-3, rtol=0)


def test_spline_interpolates_lenses_between_their_ends():
    keys = ring(2)
    keys.K[1, 0, 0] = 100.0
    focals = spline_path(keys, num_frames=9).K[:, 0, 0]
    torch.testing.assert_close(focals[[0, -1]], torch.tensor([50.0, 100.0]).double())
    assert bool((focals.diff() > 0).all())


def test_repeated_keys_are_dropped():
    keys = ring(4)
    doubled = keys[torch.tensor([0, 0, 1, 2, 2, 3, 3])]
    assert_same(spline_path(doubled, num_frames=10), spline_path(keys, num_frames=10))


def test_training_path_removes_shake():
    cameras = ring(60, arc_deg=120)
    noise = 0.05 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shaken = cameras.w2c.clone()
    shaken[:, :3, 3] += noise
    shaken = Camera(cameras.K, shaken, WIDTH, HEIGHT)
    path = training_path(shaken, num_frames=200)
    # Measured: 0.03 off the true ends, where the shake is 0.05 an axis.
    assert float((path.center[[0, -1]] - cameras.center[[0, -1]]).norm(dim=1).max()) < 0.1
    rough, smooth = (c.center.diff(dim=0).norm(dim=1).sum() for c in (shaken, path))
    true = cameras.center.diff(dim=0).norm(dim=1).sum()
    # Measured: 6.3 true, 8.3 shaken, 6.5 smoothed.
    assert rough > 1.2 * true
    assert smooth < 1.1 * true
    steps = path.center.diff(dim=0).norm(dim=1)
    assert float(steps.max() / steps.min()) < 1.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: orbit(ring(3), num_frames=0), "num_frames"),
        (lambda: orbit(ring(3), sweep_deg=400.0), "sweep_deg"),
        (lambda: orbit(ring(3), radius=-1.0), "radius"),
        (lambda: spiral(ring(3), reach=-1.0), "reach"),
        (lambda: training_path(ring(3), smoothing=-1.0), "smoothing"),
        (lambda: spline_path(ring(3), num_frames=0), "num_frames"),
        (lambda: CameraSpline(ring(1)), "keys"),
        (lambda: survey_cameras(ring(3)[0]), "cameras"),
    ],
)
def test_wrong_arguments_are_named(call, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.captures
@pytest.mark.parametrize(("name", "full"), [("bronze_head", True), ("castle_facade", False)])
def test_real_captures_are_surveyed_right(captures: Path, name: str, full: bool):
    cameras = Camera.stack([frame.camera for frame in read_cameras(captures / name).frames])
    survey = survey_cameras(cameras)
    assert (survey.sweep_deg == 360) == full
    with (captures / name / "mesh.obj").open() as lines:
        verts = torch.tensor([[float(x) for x in line.split()[1:4]] for line in lines if line.startswith("v ")])
    extent = float((verts.amax(0) - verts.amin(0)).norm())
    # Measured: 3% and 7% of the diagonal.
    assert float((survey.center - verts.double().mean(0)).norm()) < 0.1 * extent
    # Measured: all cameras are level to 2 degrees.
    assert float((cameras.w2c[:, 0, :3].double() @ survey.up).abs().max()) < math.sin(math.radians(3))
