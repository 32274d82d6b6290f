"""Real files: as an artist, a rig and a photogrammetry solve export them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neuraltex.errors import InputWarning
from neuraltex.geometry import Scene, check_uvs, load_scene, read_obj

pytestmark = pytest.mark.captures


@pytest.fixture(scope="module")
def face_rig(captures: Path) -> Scene:
    with pytest.warns(InputWarning, match=r"ICTFaceModelMaterial\.mtl: this material library is missing"):
        return load_scene(captures / "face_rig" / "neutral.obj")


def test_armchair(captures: Path) -> None:
    scene = load_scene(captures / "armchair" / "armchair.obj")
    assert scene.part_names == ("Back_LP", "Sides_LP", "Seat_LP")
    assert [len(part.faces) for part in scene] == [8288, 1824, 8288]
    assert [material.name for material in scene.materials] == ["M_Armchair_Cushions", "M_Armchair_Legs"]
    textures = [material.diffuse_texture for material in scene.materials]
    assert [texture.name for texture in textures if texture is not None] == [
        "armchair_cushions.jpg",
        "armchair_legs.jpg",
    ]
    assert scene["Sides_LP"].face_materials.unique().tolist() == [1]
    assert scene.uv_changes == []
    assert scene.uv_report is not None
    assert scene.uv_report.is_usable
    mesh = scene.flatten()
    assert mesh.part_ids.bincount().tolist() == [8288, 1824, 8288]
    torch.testing.assert_close(mesh.normals.norm(dim=1), torch.ones(len(mesh.normals)))


def test_castle_facade(captures: Path) -> None:
    scene = load_scene(captures / "castle_facade" / "mesh.obj")
    assert scene.part_names == ("mesh",)
    assert len(scene.parts[0].faces) == 14709
    assert scene.uv_report is not None
    # 42 faces no photo saw have all corners at one point of the texture.
    assert scene.uv_report.degenerate == pytest.approx(0.015, abs=0.001)
    assert scene.uv_changes == ["42 faces, 1.5% of the surface, were unwrapped with xatlas", "the texture has 2 cells"]
    assert check_uvs(scene).degenerate == 0.0


def test_face_rig_tiles_are_packed(face_rig: Scene) -> None:
    assert len(face_rig) == 12
    assert sum(len(part.faces) for part in face_rig) == 52220
    assert face_rig.uv_report is not None
    assert face_rig.uv_report.tiles == tuple((k, 0) for k in range(7))
    assert face_rig.uv_report.shared > 0.3
    assert "7 tiles were packed into the unit square" in face_rig.uv_changes
    after = check_uvs(face_rig)
    assert (after.missing, after.outside, after.shared, len(after.tiles)) == (0, 0, 0, 1)
    # What is left overlaps within one material of the file: measured 0.3%.
    assert after.overlapping < 0.01


def test_face_rig_vertices_follow_the_blendshapes(face_rig: Scene, captures: Path) -> None:
    rig = np.load(captures / "face_rig" / "blendshapes.npz")
    neutral = next(rig[name] for name in rig.files if rig[name].shape == (26719, 3))
    for part in face_rig:
        # Six decimals in the OBJ: measured 1e-6 of 19.
        np.testing.assert_allclose(part.verts, neutral[part.source_verts], atol=1e-5)


def test_bronze_head(captures: Path) -> None:
    obj = read_obj(captures / "bronze_head" / "mesh.obj")
    assert (len(obj.faces), obj.num_dropped, obj.object_names) == (20000, 0, ())
    assert obj.faces_uv.min() == 0
