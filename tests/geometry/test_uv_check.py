"""Each thing that can be wrong with texture coordinates, alone, with the share of surface it affects."""

import numpy as np
import pytest
import torch

from neuraltex.geometry import check_uvs
from neuraltex.geometry.uv_overlap import find_overlap
from neuraltex.geometry.uv_report import UvReport
from tests.geometry.shapes import quad_part, scene_of, without_uv


def test_a_clean_scene_is_usable() -> None:
    report = check_uvs(scene_of(quad_part("a", (0, 0), (0.5, 1)), quad_part("b", (0.5, 0), (1, 1), material=1)))
    assert report.is_usable
    assert (report.overlapping, report.missing, report.outside, report.degenerate) == (0, 0, 0, 0)
    assert (report.tiles, report.area, report.num_faces) == (((0, 0),), 2.0, 4)
    assert report.lines() == ["texture coordinates: every face has texels of its own in the unit square"]


def test_missing_is_weighed_by_area() -> None:
    report = check_uvs(scene_of(quad_part("a", (0, 0), (1, 1), side=2.0), without_uv(quad_part("b", (0, 0), (1, 1)))))
    assert report.missing == pytest.approx(0.2)
    assert not report.is_usable
    assert report.lines() == [" 20.0% of the surface has no texture coordinates"]


def test_partial_overlap() -> None:
    # b covers the right half of a; a's other half and none of c is touched.
    a, b = quad_part("a", (0, 0), (0.5, 0.5)), quad_part("b", (0.25, 0), (0.5, 0.5))
    report = check_uvs(scene_of(a, b, quad_part("c", (0.5, 0.5), (1, 1))))
    # Measured 0.50008: the grid.
    assert report.overlapping == pytest.approx(0.5, abs=0.001)
    assert report.shared == 0.0
    assert " 50.0% of the surface shares texels with other surface" in report.lines()


def test_mirrored_halves_overlap_though_wound_the_other_way() -> None:
    a, b = quad_part("a", (0, 0), (0.5, 0.5)), quad_part("b", (0.5, 0), (0, 0.5))
    assert check_uvs(scene_of(a, b)).overlapping == 1.0
    b = quad_part("b", (1, 0), (0.5, 0.5))
    assert check_uvs(scene_of(a, b)).is_usable


def test_materials_that_meet() -> None:
    report = check_uvs(scene_of(quad_part("a", (0, 0), (1, 1)), quad_part("b", (0, 0), (1, 1), material=1)))
    assert (report.shared, report.overlapping) == (1.0, 1.0)


def test_tiles_are_apart_and_outside() -> None:
    report = check_uvs(scene_of(*(quad_part(str(k), (k, 0), (k + 1, 1)) for k in range(3))))
    assert report.tiles == ((0, 0), (1, 0), (2, 0))
    assert report.outside == pytest.approx(2 / 3)
    assert (report.overlapping, report.repeating) == (0, 0)
    assert report.lines()[-1] == "3 tiles are in use: 1001, 1002, 1003"
    assert "(-1, 0)" in check_uvs(scene_of(quad_part("a", (-1, 0), (0, 1)), quad_part("b", (0, 0), (1, 1)))).lines()[-1]


def test_repeating_coordinates_overlap_when_wrapped() -> None:
    report = check_uvs(scene_of(quad_part("wall", (0, 0), (3, 2))))
    assert (report.repeating, report.overlapping, report.outside) == (1.0, 1.0, 1.0)
    # 1.5 textures wide: half of the texels are used twice, by two thirds of the surface.
    assert check_uvs(scene_of(quad_part("wall", (0, 0), (1.5, 1)))).overlapping == pytest.approx(2 / 3, abs=0.001)
    huge = check_uvs(scene_of(quad_part("wall", (-1e14, 0), (1e14, 2e14)), quad_part("b", (0, 0), (1, 1), material=1)))
    assert huge.overlapping == 1.0


def test_degenerate_coordinates() -> None:
    report = check_uvs(scene_of(quad_part("a", (0.5, 0.5), (0.5, 0.5)), quad_part("b", (0, 0), (1, 1))))
    assert report.degenerate == pytest.approx(0.5)
    assert report.overlapping == 0.0


def test_faces_smaller_than_a_sample_are_seen() -> None:
    grid = np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2) * 1e-5
    uv = 0.3 + grid[:, None] + np.array([[0, 0], [1e-5, 0], [0, 1e-5]])
    zero = np.zeros(2 * len(uv), np.int64)
    assert find_overlap(uv, zero[: len(uv)], zero[: len(uv)]).any.max() == 0.0
    cover = np.array([[[0.2, 0.2], [0.4, 0.2], [0.2, 0.6]]])
    doubled = find_overlap(
        np.concatenate([uv, cover, cover + np.array([0.001, 0])]), zero[: len(uv) + 2], zero[: len(uv) + 2]
    )
    assert doubled.any[:-2].min() == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_overlap_matches_counting_by_hand(seed: int) -> None:
    """Reference: every sample of a coarse grid tested against every triangle."""
    rng = np.random.default_rng(seed)
    # Triangles of about 0.1, or a coarse grid would say little about their shares.
    shape = np.array([[0.0, 0.0], [0.5, 0.1], [0.1, 0.4]])
    uv = rng.uniform(0, 1, (12, 1, 2)) + shape[rng.permutation(3)] + rng.uniform(-0.1, 0.1, (12, 3, 2))
    layers, materials = rng.integers(0, 2, 12), rng.integers(0, 3, 12)
    found = find_overlap(uv, layers, materials)
    fine = 256
    centers = np.stack(np.meshgrid(np.arange(fine), np.arange(fine)), -1).reshape(-1, 2) / fine + 0.37 / fine
    inside = np.zeros((12, fine * fine), np.int64)
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            inside += ref_inside(uv, centers + np.array([du, dv]))
    for name, same in (
        ("any", layers[:, None] == layers),
        ("across", (layers[:, None] == layers) & (materials[:, None] != materials)),
        ("within", (layers[:, None] == layers) & (materials[:, None] == materials)),
    ):
        others = same.astype(np.int64) @ inside - (inside > 0) * (name != "across")
        share = ((inside > 0) * (others > 0)).sum(1) / (inside > 0).sum(1)
        # Measured 0.0014, the difference between the two grids.
        np.testing.assert_allclose(getattr(found, name), share, atol=0.005, err_msg=name)


def ref_inside(uv: np.ndarray, points: np.ndarray) -> np.ndarray:
    sides = []
    for k in range(3):
        a, b = uv[:, k, None], uv[:, (k + 1) % 3, None]
        sides.append((b - a)[..., 0] * (points - a)[..., 1] - (b - a)[..., 1] * (points - a)[..., 0])
    stacked = np.stack(sides)
    return (stacked > 0).all(0) | (stacked < 0).all(0)


def test_a_fine_grid_of_faces_does_not_overlap_itself() -> None:
    """A regular grid puts its edges where regular samples would lie."""
    num = 128
    corner = np.stack(np.meshgrid(np.arange(num), np.arange(num)), -1).reshape(-1, 1, 2) / num
    uv = np.concatenate(
        [corner + np.array([[0, 0], [1, 0], [1, 1]]) / num, corner + np.array([[0, 0], [1, 1], [0, 1]]) / num]
    )
    zero = np.zeros(len(uv), np.int64)
    assert find_overlap(uv, zero, zero).any.max() == 0.0


def test_empty() -> None:
    report = check_uvs(scene_of())
    assert report == UvReport(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (), report.grid)
    assert report.lines() == ["no faces"]


def test_scene_without_surface() -> None:
    part = quad_part("a", (0, 0), (1, 1))
    part.verts = torch.zeros_like(part.verts)
    assert check_uvs(scene_of(part)).missing == 0.0
    assert check_uvs(scene_of(without_uv(part))).missing == 1.0
