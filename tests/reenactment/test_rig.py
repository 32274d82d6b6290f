"""A rig's file and what it becomes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuraltex.errors import InputError
from neuraltex.reenactment import load_rig
from tests.reenactment.faces import NAMES, arrays, write_rig


def test_zero_coefficients_are_the_neutral_face(tmp_path):
    rig = load_rig(write_rig(tmp_path))
    still = rig.verts(torch.zeros(2), torch.zeros(4, 3))
    assert still.shape == (4, *rig.neutral.shape)
    assert torch.equal(still, rig.neutral.expand_as(still))


def test_vertices_are_linear_in_the_coefficients(tmp_path):
    rig = load_rig(write_rig(tmp_path))
    stored = arrays()
    verts = rig.verts(torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.0, 1.0]))
    expected = stored["v_neutral"] + 0.5 * stored["identity_deltas"][0]
    expected = expected + 0.25 * stored["expr_deltas"][0] + stored["expr_deltas"][2]
    # measured 1e-7: the order of the sum
    assert np.abs(verts.numpy() - expected).max() < 1e-6


def test_tiles_are_packed_and_transparent_layers_left_out(tmp_path):
    path = write_rig(tmp_path)
    rig = load_rig(path)
    part = rig.scene.parts[0]
    assert rig.expression_names == NAMES
    assert len(part.faces) == len(arrays()["faces"]) - 1
    assert part.verts_uv is not None
    assert 0 <= float(part.verts_uv.min()) <= float(part.verts_uv.max()) <= 1
    assert any("2 tiles were packed" in line for line in rig.scene.uv_changes)
    assert len(load_rig(path, leave_out=()).scene.parts[0].faces) == len(arrays()["faces"])
    assert len(rig.neutral) == len(arrays()["v_neutral"])  # vertices keep their numbers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v_neutral": None}, "lacks v_neutral"),
        ({"expr_deltas": np.zeros((3, 5, 3), np.float32)}, "expr_deltas: any x 363 x 3 numbers"),
        ({"expr_names": np.array(["one"])}, "expr_names: 3 were expected"),
        ({"faces": arrays()["faces"] + 1}, "faces: indices from 0 to 362"),
        ({"faces_uv": arrays()["faces_uv"][:-1]}, "faces_uv: 673 rows"),
        ({"face_material": arrays()["face_material"] + 1}, "face_material: 673 indices"),
        ({"uv": np.full((1344, 2), np.nan, np.float32)}, "uv: finite numbers"),
        ({"expr_names": np.array([{}], dtype=object)}, "not an npz file of plain arrays"),
    ],
)
def test_broken_files_are_told(tmp_path, change, said):
    stored = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    np.savez(tmp_path / "rig.npz", **stored)
    with pytest.raises(InputError, match=said):
        load_rig(tmp_path / "rig.npz")


def test_other_files_are_told(tmp_path):
    with pytest.raises(InputError, match="could not be read"):
        load_rig(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match="not an npz file"):
        load_rig(tmp_path / "text.npz")
    with pytest.raises(InputError, match="no face is left"):
        load_rig(write_rig(tmp_path), leave_out=("M_*",))


@pytest.mark.captures
def test_the_rig_of_the_captures(captures):
    rig = load_rig(captures / "face_rig" / "blendshapes.npz")
    assert len(rig.expression_names) == len(rig.expression_deltas) == 57
    part = rig.scene.parts[0]
    assert part.verts_uv is not None
    assert float(part.verts_uv.max()) <= 1
    assert any("cells of their own" in line for line in rig.scene.uv_changes)
