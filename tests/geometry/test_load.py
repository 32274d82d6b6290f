"""Loading formats other than OBJ, and the errors of files that cannot be loaded."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from neuraltex.errors import InputError, InputWarning
from neuraltex.geometry import load_scene
from tests.geometry.shapes import CUBE, save


def textured(shift: float = 0.0) -> trimesh.Trimesh:
    """Two triangles of a square whose shared edge is a UV seam, as GLB stores it: six vertices."""
    verts = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], np.float64)
    uv = np.array([[0, 0], [0.4, 0], [0.4, 0.4], [0.6, 0.6], [1, 1], [0.6, 1]])
    material = trimesh.visual.material.PBRMaterial(name="paint", baseColorFactor=[255, 0, 51, 255])
    visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return trimesh.Trimesh(verts + np.array([shift, 0, 0]), np.arange(6).reshape(2, 3), visual=visual, process=False)


def test_glb_nodes_become_parts_in_the_files_world(tmp_path: Path) -> None:
    graph = trimesh.Scene()
    move = np.eye(4)
    move[:3, 3] = [10, 20, 30]
    mirror = np.diag([-1.0, 1, 1, 1])
    graph.add_geometry(textured(), node_name="seat", geom_name="square", transform=move)
    graph.add_geometry(textured(5.0), node_name="back", geom_name="other", transform=mirror)
    graph.export(tmp_path / "chair.glb")
    scene = load_scene(tmp_path / "chair.glb", unwrap="never")
    assert sorted(scene.part_names) == ["back", "seat"]
    seat, back = scene["seat"], scene["back"]
    assert seat.verts.tolist() == [[10, 20, 30], [11, 20, 30], [11, 21, 30], [10, 21, 30]]
    assert seat.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert torch.equal(seat.transform, torch.eye(4, dtype=torch.float64))
    # float32 in the file: measured 2e-8.
    expected = torch.tensor([[0, 0], [0.4, 0], [0.4, 0.4], [0.6, 0.6], [1, 1], [0.6, 1]], dtype=torch.float64)
    assert seat.verts_uv is not None
    torch.testing.assert_close(seat.verts_uv[seat.faces_uv].reshape(-1, 2), expected, atol=1e-6, rtol=0)
    assert back.verts[:, 0].min() == -6
    corners = back.verts[back.faces]
    wound = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (wound[:, 2] > 0).all()
    assert (back.normals[:, 2] == 1).all()
    assert [material.name for material in scene.materials] == ["paint"]
    assert scene.materials[0].diffuse == pytest.approx((1.0, 0.0, 0.2), abs=0.01)


def test_the_same_geometry_in_two_nodes_is_two_parts(tmp_path: Path) -> None:
    graph = trimesh.Scene()
    move = np.eye(4)
    move[0, 3] = 4
    graph.add_geometry(textured(), node_name="one", geom_name="square")
    graph.add_geometry(graph.geometry["square"], node_name="two", geom_name="square", transform=move)
    graph.export(tmp_path / "pair.glb")
    scene = load_scene(tmp_path / "pair.glb")
    assert len(scene) == 2
    assert scene.uv_report is not None
    assert scene.uv_report.overlapping == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("suffix", ["ply", "stl", "off", "PLY"])
def test_plain_formats_share_vertices(tmp_path: Path, suffix: str) -> None:
    box = trimesh.creation.box()
    path = tmp_path / f"box.{suffix}"
    path.write_bytes(_bytes(box.export(file_type=suffix.lower())))
    scene = load_scene(path)
    (part,) = scene.parts
    assert part.name == "box"
    assert part.verts.shape == (8, 3)
    assert part.faces.shape == (12, 3)
    assert len(part.normals) == 24
    mesh = scene.flatten()
    assert mesh.verts_uv.min() >= 0
    assert mesh.verts_uv.max() <= 1


def test_ply_with_two_pieces_has_two_parts(tmp_path: Path) -> None:
    two = trimesh.util.concatenate([trimesh.creation.box(), trimesh.creation.box().apply_translation([3, 0, 0])])
    (tmp_path / "pair.ply").write_bytes(_bytes(two.export(file_type="ply")))
    assert load_scene(tmp_path / "pair.ply").part_names == ("pair_1", "pair_2")


def test_obj_keeps_its_frame_unit_and_precision(tmp_path: Path) -> None:
    head = "v 431234.125 5812345.0625 12.5\nv 431235.125 5812345.0625 12.5\nv 431234.125 5812346.0625 12.5\n"
    scene = load_scene(save(tmp_path / "utm.obj", head + "f 1 2 3\n"))
    assert scene.parts[0].verts[0].tolist() == [431234.125, 5812345.0625, 12.5]
    assert scene.source == tmp_path / "utm.obj"


def test_materials_of_an_obj(tmp_path: Path) -> None:
    save(tmp_path / "my cube.mtl", "newmtl red\nKd 1 0 0\nmap_Kd gone.png\n")
    path = save(tmp_path / "cube.obj", "mtllib my cube.mtl\nusemtl red\n" + CUBE)
    with pytest.warns(InputWarning, match=r"gone\.png"):
        scene = load_scene(path)
    assert scene.materials[0].diffuse == (1, 0, 0)
    assert scene.part_names == ("red",)
    assert (scene.parts[0].face_materials == 0).all()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.fbx", b"", r"unknown format, suffix '\.fbx'; supported are \.obj, \.glb"),
        ("a", b"", "unknown format, suffix ''"),
        ("a.ply", b"ply\nnonsense", "is not a readable .ply file|holds no triangles"),
        ("a.glb", b"glTF\0\0\0\0", "is not a readable .glb file"),
        ("a.gltf", b"{", "is not a readable .gltf file"),
        ("a.stl", b"solid x\n", "is not a readable .stl file|holds no triangles"),
        ("a.off", b"OFF\n0 0 0\n", "is not a readable .off file|holds no triangles"),
        ("a.ply", b"", "is not a readable .ply file|holds no triangles"),
    ],
)
def test_files_that_cannot_be_loaded(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        load_scene(tmp_path / name)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_scene(tmp_path / "none.glb")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        load_scene(tmp_path / "folder.ply")


def test_points_are_no_mesh(tmp_path: Path) -> None:
    (tmp_path / "points.ply").write_bytes(_bytes(trimesh.PointCloud(np.eye(3)).export(file_type="ply")))
    with pytest.raises(InputError, match="holds no triangles"):
        load_scene(tmp_path / "points.ply")


def _bytes(exported: bytes | str) -> bytes:
    return exported.encode() if isinstance(exported, str) else exported
