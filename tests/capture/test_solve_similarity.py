"""Similarities: fitted to pairs, and by trimmed ICP to a surface, background or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera import Camera
from neuraltex.capture.solve.similarity import Similarity, angle_deg, fit_similarity, refine_to_planes, trimmed_icp
from neuraltex.capture.solve.starts import spread_rotations, start_rotations
from neuraltex.capture.solve.surface import Surface, sample_mesh
from tests.capture.studio import around, studio

pytest.importorskip("scipy", reason="needs the extra poses")


def random_similarity(seed: int, *, angle: float | None = None) -> Similarity:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    angle = rng.uniform(0, np.pi) if angle is None else angle
    x, y, z = axis / np.linalg.norm(axis)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation = np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    return Similarity(float(np.exp(rng.uniform(-2, 2))), rotation, rng.normal(size=3))


def difference(a: Similarity, b: Similarity, points: np.ndarray) -> float:
    """Largest distance of what both make of the points, as a share of their extent under `b`."""
    there = b.apply(points)
    return float(np.abs(a.apply(points) - there).max() / np.linalg.norm(there.max(0) - there.min(0)))


@given(st.integers(0, 10_000))
def test_fit_recovers_any_similarity(seed: int):
    points = np.random.default_rng(seed).normal(size=(8, 3))
    true = random_similarity(seed)
    assert difference(fit_similarity(points, true.apply(points)), true, points) < 1e-12  # measured 4e-15


@given(st.integers(0, 10_000))
def test_group_laws(seed: int):
    points = np.random.default_rng(seed).normal(size=(5, 3))
    a, b = random_similarity(seed), random_similarity(seed + 1)
    np.testing.assert_allclose(a.after(b).apply(points), a.apply(b.apply(points)), atol=1e-10)
    np.testing.assert_allclose(a.inverse().apply(a.apply(points)), points, atol=1e-10)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_moved_cameras_take_the_same_pictures(seed: int):
    similarity = random_similarity(seed)
    cameras = around(3).to(torch.float64)
    moved = Camera(cameras.K, torch.from_numpy(similarity.move_cameras(cameras.w2c.numpy())), 1, 1)
    points = np.random.default_rng(seed).normal(size=(6, 3)) * 0.3
    before, _ = cameras.project(torch.from_numpy(points).expand(3, 6, 3))
    after, _ = moved.project(torch.from_numpy(similarity.apply(points)).expand(3, 6, 3))
    torch.testing.assert_close(after, before, atol=1e-7, rtol=0)
    torch.testing.assert_close(torch.linalg.det(moved.w2c[:, :3, :3]), torch.ones(3).double())


def test_points_on_a_line_are_refused():
    line = np.outer(np.arange(5.0), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not on one line"):
        fit_similarity(line, line)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_trimmed_icp_recovers_similarities_despite_background(seed: int):
    """A quarter of the cloud is not the mesh's, and the start is 8 degrees and 8% of the size off."""
    surface = sample_mesh(studio(), 20_000)
    rng = np.random.default_rng(seed)
    on_it = surface.points[rng.permutation(20_000)[:1500]]
    beside = rng.uniform([-3, -3, 1.2], [3, 3, 4], size=(500, 3))
    true = random_similarity(seed)
    cloud = true.inverse().apply(np.concatenate([on_it, beside]))
    off = random_similarity(seed + 1, angle=np.radians(8))
    off = Similarity(1.08, off.rotation, 0.05 * rng.normal(size=3))
    found = trimmed_icp(cloud, surface, off.after(true), iterations=40)
    found = refine_to_planes(cloud, surface, found)
    assert difference(found, true, cloud[:1500]) < 2e-3


def test_scale_does_not_collapse():
    surface = sample_mesh(studio(), 5000)
    rng = np.random.default_rng(0)
    cloud = np.concatenate([surface.points[::10], rng.normal(size=(300, 3)) * 2])
    found = trimmed_icp(cloud, surface, Similarity.identity(), iterations=300)
    assert 0.97 < found.scale < 1.03


def test_samples_spread_over_the_area():
    surface = sample_mesh(studio(), 4000)
    on_floor = (np.abs(surface.points[:, 2]) < 1e-9).mean()
    box, ball = 2 * (0.7 * 0.6 + 0.7 * 0.7 + 0.6 * 0.7), 4 * np.pi * 0.16
    assert on_floor == pytest.approx((7.2 + 0.7 * 0.6) / (7.2 + box + ball), abs=0.02)
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1.0, atol=1e-9)


def test_starts_reach_every_rotation():
    rotations = spread_rotations(300)
    for seed in range(20):
        wanted = random_similarity(seed).rotation
        assert min(angle_deg(wanted, rotation) for rotation in rotations) < 40  # measured 31
    cloud = Surface(np.random.default_rng(0).normal(size=(200, 3)) * [3, 2, 1], np.zeros((0, 3))).points
    for rotation in start_rotations(cloud, cloud):
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
