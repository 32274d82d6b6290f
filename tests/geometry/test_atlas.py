"""After loading, every face has texels of its own; what needed no change is as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.errors import InputError
from neuraltex.geometry import Part, Scene, check_uvs, load_scene
from neuraltex.geometry.atlas import make_usable, pack_rectangles
from tests.geometry.shapes import CUBE, quad_part, save, scene_of, without_uv


def box(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Lower-left and upper-right corner of the part in the texture."""
    assert part.verts_uv is not None
    used = part.verts_uv[part.faces_uv].reshape(-1, 2).numpy()
    return used.min(0), used.max(0)


def assert_apart(scene: Scene, gap: float) -> None:
    boxes = [box(part) for part in scene]
    for k, (low, high) in enumerate(boxes):
        assert low.min() >= 0
        assert high.max() <= 1
        for other_low, other_high in boxes[:k]:
            assert max((low - other_high).max(), (other_low - high).max()) >= gap - 1e-9


def density(part: Part) -> float:
    """Texture side a scene unit."""
    low, high = box(part)
    return float(np.sqrt((high - low).prod()) / (part.verts.max() - part.verts[:, 1:].min()))


def test_usable_coordinates_are_not_touched() -> None:
    a, b = quad_part("a", (0, 0), (0.5, 1)), quad_part("b", (0.5, 0.25), (1, 1), material=1)
    before = [part.verts_uv for part in (a, b)]
    scene = scene_of(a, b)
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes == []
    assert scene.uv_report is not None
    assert scene.uv_report.is_usable
    for part, old in zip(scene, before, strict=True):
        assert part.verts_uv is not None
        assert old is not None
        assert torch.equal(part.verts_uv, old)


def test_overlap_is_reported_and_left_alone() -> None:
    scene = scene_of(quad_part("a", (0, 0), (1, 1)), quad_part("b", (0, 0), (1, 1)))
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes == []
    assert scene.uv_report is not None
    assert scene.uv_report.overlapping == 1.0


def test_overlap_is_unwrapped_on_request_and_the_rest_kept_in_shape() -> None:
    scene = scene_of(
        quad_part("a", (0, 0), (0.4, 0.4)),
        quad_part("b", (0, 0), (0.4, 0.4)),
        quad_part("c", (0.5, 0.5), (0.9, 0.7), at=3.0),
    )
    make_usable(scene, unwrap="overlapping")
    assert scene.uv_changes == ["4 faces, 66.7% of the surface, were unwrapped with xatlas", "the texture has 2 cells"]
    assert check_uvs(scene).is_usable
    low, high = box(scene["c"])
    assert (high - low)[0] / (high - low)[1] == pytest.approx(2.0)


def test_materials_that_meet_get_cells_of_one_density() -> None:
    parts = [quad_part(str(k), (0, 0), (1, 1), material=k, side=side) for k, side in enumerate((1.0, 2.0, 3.0))]
    scene = scene_of(*parts)
    make_usable(scene, unwrap="missing")
    assert "materials that meet in the texture were given cells of their own" in scene.uv_changes
    assert_apart(scene, 1 / 128)
    assert check_uvs(scene).is_usable
    sizes = [float((box(part)[1] - box(part)[0])[0]) for part in scene]
    assert sizes[1] / sizes[0] == pytest.approx(2.0)
    assert sizes[2] / sizes[0] == pytest.approx(3.0)
    assert sizes[2] > 0.55


def test_tiles_get_cells() -> None:
    scene = scene_of(*(quad_part(str(k), (k, 2), (k + 1, 3)) for k in range(-2, 5)))
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes == ["7 tiles were packed into the unit square", "the texture has 7 cells"]
    assert_apart(scene, 1 / 128)
    assert check_uvs(scene).is_usable


def test_one_tile_elsewhere_is_moved() -> None:
    scene = scene_of(quad_part("a", (3, 1), (4, 2)))
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes == ["the coordinates were moved and scaled into the unit square"]
    assert box(scene["a"])[0].tolist() == [0, 0]
    assert box(scene["a"])[1].tolist() == [1, 1]


def test_repeating_range_is_scaled_as_a_whole() -> None:
    scene = scene_of(quad_part("wall", (-1, 0), (3, 2)), quad_part("door", (0, 0), (1, 1), material=1))
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes[0].startswith("1 materials repeat their texture")
    assert_apart(scene, 1 / 128)
    assert check_uvs(scene).is_usable
    low, high = box(scene["wall"])
    assert (high - low)[0] / (high - low)[1] == pytest.approx(2.0)


def test_a_row_that_two_cells_use_is_split() -> None:
    part = quad_part("a", (0, 0), (1, 1))
    part.face_materials = torch.tensor([0, 1])
    other = quad_part("b", (0, 0), (1, 1), material=1)
    scene = scene_of(part, other)
    make_usable(scene, unwrap="missing")
    assert part.verts_uv is not None
    assert len(part.verts_uv) == 6
    assert scene.uv_changes[-1] == "the texture has 2 cells"


def test_missing_faces_are_unwrapped_beside_the_rest() -> None:
    kept = quad_part("kept", (0.2, 0.2), (0.8, 0.8))
    scene = scene_of(kept, without_uv(quad_part("new", (0, 0), (1, 1), at=2.0)))
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes == ["2 faces, 50.0% of the surface, were unwrapped with xatlas", "the texture has 2 cells"]
    assert_apart(scene, 1 / 128)
    assert check_uvs(scene).is_usable


def test_coordinates_without_area_count_as_missing() -> None:
    scene = scene_of(quad_part("a", (0, 0), (0, 0)))
    make_usable(scene, unwrap="missing")
    assert scene.uv_changes == ["2 faces, 100.0% of the surface, were unwrapped with xatlas"]
    assert check_uvs(scene).is_usable


def test_never_changes_nothing() -> None:
    scene = scene_of(without_uv(quad_part("a", (0, 0), (1, 1))), quad_part("b", (3, 3), (5, 5)))
    make_usable(scene, unwrap="never")
    assert scene.parts[0].verts_uv is None
    assert box(scene["b"])[1].tolist() == [5, 5]
    assert scene.uv_report is not None
    assert scene.uv_report.missing == 0.5


def test_always_unwraps_a_cube(tmp_path: Path) -> None:
    scene = load_scene(save(tmp_path / "cube.obj", CUBE), unwrap="always")
    report = check_uvs(scene)
    assert report.is_usable
    (part,) = scene.parts
    assert part.verts.shape == (8, 3)
    assert part.verts_uv is not None
    corners = part.verts_uv[part.faces_uv]
    edge, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = (edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]).abs()
    # Measured 1.0000.
    assert float(areas.max() / areas.min()) < 1.01
    assert float(corners.max()) == pytest.approx(1.0, abs=0.01)


def test_unwrapping_keeps_proportions(tmp_path: Path) -> None:
    scene = load_scene(save(tmp_path / "m.obj", "v 0 0 0\nv 8 0 0\nv 8 1 0\nv 0 1 0\nf 1 2 3 4\n"))
    low, high = box(scene.parts[0])
    # Measured 8.00, either way up.
    assert (high - low).max() / (high - low).min() == pytest.approx(8.0, rel=0.02)


def test_mixed_file_has_coordinates_everywhere(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\nf 1 3 4\n"
    scene = load_scene(save(tmp_path / "mixed.obj", text))
    assert (scene.parts[0].faces_uv >= 0).all()
    assert scene.uv_report is not None
    assert scene.uv_report.missing == pytest.approx(0.5)
    assert check_uvs(scene).is_usable
    assert scene.parts[0].faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_a_mesh_without_surface_cannot_be_unwrapped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line\.obj: cannot be unwrapped"):
        load_scene(save(tmp_path / "line.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"))


@given(st.lists(st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_packed_rectangles_lie_apart_in_the_unit_square(sizes: list[tuple[float, float]]) -> None:
    scaled, factor = pack_rectangles(np.array(sizes))
    low, high = scaled, scaled + np.array(sizes) * factor
    assert factor > 0
    assert low.min() >= 0
    assert high.max() <= 1 + 1e-9
    gutter = min(1 / 128, 0.1 / np.sqrt(len(sizes)))
    for k in range(len(sizes)):
        for other in range(k):
            assert max((low[k] - high[other]).max(), (low[other] - high[k]).max()) >= gutter - 1e-9
