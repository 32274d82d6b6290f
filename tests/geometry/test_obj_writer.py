"""Writing OBJ files: what is read back is what was written, part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neuraltex.errors import InputError
from neuraltex.geometry import load_scene, read_obj
from neuraltex.geometry.obj_writer import write_obj

TWO_PARTS = """o first thing
v 0 0 1000000.25
v 1 0 0
v 0 1 0
v 1 1 0.333333333
vt 0 0
vt 1 0
vt 0 1
vt 1 1
f 1/1 2/2 3/3
f 2/2 4/4 3/3
o second
v 0 0 1
v 1 0 1
v 0 1 1
vt 0.25 0.125
vt 0.5 0.125
vt 0.25 0.5
f 5/5 6/6 7/7
"""


def test_what_is_written_is_read_back(tmp_path: Path):
    (tmp_path / "in.obj").write_text(TWO_PARTS)
    scene = load_scene(tmp_path / "in.obj", unwrap="never")
    write_obj(scene, tmp_path / "out.obj")
    again = load_scene(tmp_path / "out.obj", unwrap="never")
    assert again.part_names == scene.part_names == ("first thing", "second")
    for part, back in zip(scene.parts, again.parts, strict=True):
        # Nine digits: the largest coordinate here loses half of 1e-3.
        torch.testing.assert_close(back.verts, part.verts, rtol=1e-9, atol=1e-12)
        assert torch.equal(back.faces, part.faces)
        assert back.verts_uv is not None
        assert part.verts_uv is not None
        assert torch.equal(back.verts_uv[back.faces_uv], part.verts_uv[part.faces_uv])


def test_transforms_are_applied_and_hidden_parts_left_out(tmp_path: Path):
    (tmp_path / "in.obj").write_text(TWO_PARTS)
    scene = load_scene(tmp_path / "in.obj", unwrap="never")
    scene["first thing"].visible = False
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    mirror[0, 3] = 5.0
    scene["second"].transform = mirror
    write_obj(scene, tmp_path / "out.obj")
    back = load_scene(tmp_path / "out.obj", unwrap="never").flatten(dtype=torch.float64)
    assert back.part_names == ("second",)
    corners = back.verts[back.faces[0]]
    # Mirrored, and wound the other way round, so that the normal still points along +z.
    assert sorted(corners.tolist()) == [[4.0, 0.0, 1.0], [5.0, 0.0, 1.0], [5.0, 1.0, 1.0]]
    assert float(torch.linalg.cross(corners[1] - corners[0], corners[2] - corners[0])[2]) > 0
    uv_at = {
        tuple(v): tuple(t) for v, t in zip(corners.tolist(), back.verts_uv[back.faces_uv[0]].tolist(), strict=True)
    }
    assert uv_at[(4.0, 0.0, 1.0)] == (0.5, 0.125)


def test_faces_without_coordinates(tmp_path: Path):
    (tmp_path / "in.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    scene = load_scene(tmp_path / "in.obj", unwrap="never")
    write_obj(scene, tmp_path / "out.obj")
    assert "/" not in (tmp_path / "out.obj").read_text()
    assert np.array_equal(read_obj(tmp_path / "out.obj").verts, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "in.obj").write_text(TWO_PARTS)
    scene = load_scene(tmp_path / "in.obj", unwrap="never")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"out.obj: could not be written"):
        write_obj(scene, tmp_path / "file" / "out.obj")
