"""A scene written and read is the same scene, and a damaged file says so."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.errors import InputError
from neuraltex.geometry import Material, Scene, check_uvs
from tests.geometry.shapes import quad_part, save, without_uv
from tests.geometry.test_obj_laws import mutate

BUFFERS = (
    "verts",
    "faces",
    "verts_uv",
    "faces_uv",
    "normals",
    "faces_normals",
    "face_materials",
    "source_verts",
    "transform",
)


def a_scene() -> Scene:
    a, b = quad_part("a é", (0, 0), (0.5, 1)), without_uv(quad_part("b", (0, 0), (1, 1), material=-1))
    b.visible = False
    b.transform = torch.diag(torch.tensor([2.0, -3.0, 4.0, 1.0]))
    scene = Scene([a, b], (Material("red", (1.0, 0.5, 0.0), Path("x/tex.png"), 0.5),), Path("dir/thing.obj"))
    scene.uv_report = check_uvs(scene)
    scene.uv_changes = ["one thing was done"]
    return scene


def test_round_trip(tmp_path: Path) -> None:
    scene = a_scene()
    scene.save(tmp_path / "run" / "scene.safetensors")
    back = Scene.load(tmp_path / "run" / "scene.safetensors")
    assert (back.part_names, back.materials, back.source) == (scene.part_names, scene.materials, scene.source)
    assert (back.uv_report, back.uv_changes) == (scene.uv_report, scene.uv_changes)
    for old, new in zip(scene, back, strict=True):
        assert old.visible == new.visible
        for name in BUFFERS:
            one, two = getattr(old, name), getattr(new, name)
            assert (one is None and two is None) or torch.equal(one, two), name


def test_not_a_scene_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Scene.load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        Scene.load(tmp_path)
    with pytest.raises(InputError, match="is not a readable scene file"):
        Scene.load(save(tmp_path / "text.safetensors", "v 0 0 0\n" * 20))
    from safetensors.torch import save_file

    save_file({"weights": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is not a scene file: its format is None"):
        Scene.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("faces", torch.tensor([[0, 1, 4], [0, 1, 2]])),
        ("faces", torch.tensor([[0, 1, -1], [0, 1, 2]])),
        ("faces_uv", torch.tensor([[0, 1, 9], [0, 1, 2]])),
        ("faces_normals", torch.tensor([[0, 1, 2]])),
        ("face_materials", torch.tensor([0, 1])),
        ("source_verts", torch.tensor([0, 1, 2])),
        ("verts", torch.full((4, 3), float("nan"), dtype=torch.float64)),
        ("verts", torch.zeros(4, 2, dtype=torch.float64)),
        ("normals", torch.zeros(4, 3, dtype=torch.float32)),
    ],
)
def test_buffers_that_do_not_fit_are_found(tmp_path: Path, name: str, value: torch.Tensor) -> None:
    scene = a_scene()
    setattr(scene.parts[0], name, value)
    scene.save(tmp_path / "scene.safetensors")
    with pytest.raises(InputError, match="is a damaged scene file"):
        Scene.load(tmp_path / "scene.safetensors")


with tempfile.TemporaryDirectory() as _folder:
    a_scene().save(Path(_folder) / "scene.safetensors")
    VALID = (Path(_folder) / "scene.safetensors").read_bytes()


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "insert", "delete", "copy"]), st.integers(0, 10**6), st.integers(0, 255)),
        max_size=4,
    )
)
@settings(max_examples=300, deadline=None)
def test_damaged_file_only_raises_input_error(changes: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.safetensors"
        path.write_bytes(mutate(VALID, changes))
        try:
            scene = Scene.load(path)
        except InputError:
            return
    assert all(torch.isfinite(part.verts).all() for part in scene)
