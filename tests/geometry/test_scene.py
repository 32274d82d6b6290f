"""Parts, transforms and flattening."""

from pathlib import Path

import pytest
import torch

from neuraltex.geometry import Scene, load_scene, read_obj
from neuraltex.geometry.parts import parts_from_obj
from tests.geometry.shapes import CUBE, quad_part, save, scene_of, without_uv

TWO = (
    "o left\n"
    + CUBE
    + "o right\n"
    + CUBE.replace("v 1", "v 3").replace("v 0", "v 2").replace("f 1 3 4 2", "f -8 -6 -5 -7")
)


def rotation(angle: float) -> torch.Tensor:
    transform = torch.eye(4, dtype=torch.float64)
    c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    transform[:2, :2] = torch.tensor([[c, -s], [s, c]])
    return transform


def part_names(path: Path) -> list[str]:
    return [part.name for part in parts_from_obj(read_obj(path))]


def test_parts_by_object_merge_and_keep_their_own_buffers(tmp_path: Path) -> None:
    text = "f 1 2 3\no a\ng x\nf 1 2 4\no b\nf 2 3 4\no a\nf 1 3 4\n"
    parts = parts_from_obj(read_obj(save(tmp_path / "m.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nv 9 9 9\n" + text)))
    assert [(part.name, len(part.faces)) for part in parts] == [("unnamed", 1), ("a", 2), ("b", 1)]
    assert parts[2].source_verts.tolist() == [1, 2, 3]
    assert parts[2].verts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert parts[2].faces.tolist() == [[0, 1, 2]]
    assert all((part.faces_uv == -1).all() and part.verts_uv is None for part in parts)


def test_parts_by_group_then_material(tmp_path: Path) -> None:
    head = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    grouped = head + "usemtl m\ng a b\nf 1 2 3\ng c\nf 1 2 4\n"
    assert part_names(save(tmp_path / "g.obj", grouped)) == ["a b", "c"]
    assert part_names(save(tmp_path / "m.obj", grouped.replace("g a b\n", "").replace("g c", "usemtl n"))) == ["m", "n"]
    # What exporters write where nothing was named does not count as a name.
    assert part_names(save(tmp_path / "d.obj", head + "g default\nusemtl m\nf 1 2 3\nusemtl n\nf 1 2 4\n")) == [
        "m",
        "n",
    ]


def test_parts_by_pieces_that_hang_together(tmp_path: Path) -> None:
    moved = CUBE.replace("v 0", "v 5").replace("v 1", "v 6")
    negative = "".join(
        "f " + " ".join(str(int(k) - 9) for k in line.split()[1:]) + "\n"
        for line in CUBE.splitlines()
        if line[0] == "f"
    )
    two = CUBE + moved.split("f ")[0] + negative
    assert part_names(save(tmp_path / "two.obj", two)) == ["two_1", "two_2"]
    soup = "".join(f"v {k} 0 0\nv {k} 1 0\nv {k} 0 1\nf -3 -2 -1\n" for k in range(100))
    assert part_names(save(tmp_path / "soup.obj", soup)) == ["soup"]


def test_crumbs_stay_with_the_largest_piece(tmp_path: Path) -> None:
    def strip(num: int, z: int) -> str:
        verts = "".join(f"v {k} {k % 2} {z}\n" for k in range(num + 2))
        return verts + "".join(f"f {k - num - 2} {k - num - 1} {k - num}\n" for k in range(num))

    path = save(tmp_path / "m.obj", strip(1, 0) + strip(120, 1) + strip(1, 2) + strip(150, 3))
    parts = parts_from_obj(read_obj(path))
    assert [(part.name, len(part.faces)) for part in parts] == [("m_1", 152), ("m_2", 120)]


def test_too_many_names_are_no_parts(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\n" + "".join(f"g polygon{k}\nf 1 2 3\n" for k in range(1100))
    assert part_names(save(tmp_path / "m.obj", text)) == ["m"]


def test_split_vertices_are_joined_only_where_v_equals_vt(tmp_path: Path) -> None:
    head = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\n" + "".join(f"vt 0.{k} 0.{k * k}\n" for k in range(6))
    split = save(tmp_path / "split.obj", head + "f 1/1 2/2 3/3\nf 4/4 6/6 5/5\n")
    (part,) = parts_from_obj(read_obj(split))
    assert part.verts.shape == (4, 3)
    assert part.source_verts.tolist() == [0, 1, 2, 5]
    assert part.faces_uv.tolist() == [[0, 1, 2], [3, 5, 4]]
    apart = save(tmp_path / "apart.obj", head + "g a\nf 1/2 2/2 3/3\nf 4/4 6/6 5/5\n")
    assert sum(len(part.verts) for part in parts_from_obj(read_obj(apart))) == 6


def test_file_normals_are_used_where_complete(tmp_path: Path) -> None:
    head = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 3 4\nvn 0 0 0\n"
    for corner, expected in (
        ("f 1//1 2//1 3//1", [0, 0.6, 0.8]),
        ("f 1//1 2//1 3//2", [0, 0, 1]),
        ("f 1//1 2 3", [0, 0, 1]),
    ):
        (part,) = parts_from_obj(read_obj(save(tmp_path / "m.obj", head + corner + "\n")))
        torch.testing.assert_close(part.normals[part.faces_normals][0, 0], torch.tensor(expected, dtype=torch.float64))


def test_names_are_looked_up(tmp_path: Path) -> None:
    scene = load_scene(save(tmp_path / "two.obj", TWO))
    assert scene.part_names == ("left", "right")
    assert scene["right"] is scene.parts[1]
    assert [part.name for part in scene] == ["left", "right"]
    assert len(scene) == 2
    assert "left" in scene
    with pytest.raises(ValueError, match=r"expected one of left, right; got 'rigth'; did you mean 'right'\?"):
        scene["rigth"]
    with pytest.raises(ValueError, match=r"got 'xyz'$"):
        scene["xyz"]


def test_two_parts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="unique names, got several named a"):
        scene_of(quad_part("a", (0, 0), (1, 1)), quad_part("a", (0, 0), (1, 1)))


def test_flatten_joins_parts() -> None:
    a, b, c = (quad_part(name, (0, 0), (0.5, 1), at=k) for k, name in enumerate("abc"))
    b.visible = False
    mesh = scene_of(a, b, c).flatten()
    assert mesh.part_names == ("a", "b", "c")
    assert mesh.part_ids.tolist() == [0, 0, 2, 2]
    assert mesh.verts.dtype == torch.float32
    assert mesh.faces.dtype == torch.int64
    assert mesh.verts[mesh.faces[2:]][..., 0].unique().tolist() == [2.0]
    assert mesh.faces.max() == 7
    torch.testing.assert_close(mesh.verts_uv[mesh.faces_uv[2:]], mesh.verts_uv[mesh.faces_uv[:2]])


def test_flatten_without_visible_parts_is_empty() -> None:
    part = quad_part("a", (0, 0), (1, 1))
    part.visible = False
    mesh = scene_of(part).flatten()
    assert (mesh.verts.shape, mesh.faces.shape, mesh.part_ids.shape) == ((0, 3), (0, 3), (0,))


def test_flatten_without_texture_coordinates_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="'a' lacks some; load the scene with unwrap='missing'"):
        scene_of(without_uv(quad_part("a", (0, 0), (1, 1)))).flatten()


@pytest.mark.parametrize("mirrored", [False, True])
def test_normals_stay_normal_under_any_transform(tmp_path: Path, mirrored: bool) -> None:
    """Inverse transpose, and winding that agrees with it, on a flat shaded cube."""
    scene = load_scene(save(tmp_path / "cube.obj", CUBE))
    (part,) = scene.parts
    shear = torch.tensor([[1.0, 0.7, 0, 3], [0, 2, 0.1, 4], [0.3, 0, 0.5, 5], [0, 0, 0, 1]], dtype=torch.float64)
    part.transform = shear * torch.tensor([[-1.0 if mirrored else 1.0, 1, 1, 1]], dtype=torch.float64)
    mesh = scene.flatten(dtype=torch.float64)
    corners = mesh.verts[mesh.faces]
    wound = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    wound = torch.nn.functional.normalize(wound, dim=1)
    # Measured error 7e-16.
    for k in range(3):
        torch.testing.assert_close(mesh.normals[mesh.faces_normals[:, k]], wound, atol=1e-12, rtol=0)
    outward = corners.mean(1) - mesh.verts.mean(0)
    assert ((outward * wound).sum(1) > 0).all()


def test_flatten_is_differentiable_in_the_transform() -> None:
    part = quad_part("a", (0, 0), (1, 1))
    pose = rotation(0.3).requires_grad_()

    def moved(transform: torch.Tensor) -> torch.Tensor:
        affine = torch.cat([transform[:3], torch.eye(4, dtype=torch.float64)[3:]])
        part.transform = affine
        mesh = scene_of(part).flatten(dtype=torch.float64)
        return torch.cat([mesh.verts.reshape(-1), mesh.normals.reshape(-1)])

    assert torch.autograd.gradcheck(moved, (pose,))


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (torch.eye(3), "4 by 4"),
        (torch.full((4, 4), float("nan")), "finite"),
        (torch.diag(torch.tensor([1.0, 1.0, 0.0, 1.0])), "inverted"),
        (torch.eye(4).index_fill(0, torch.tensor(3), 1.0), "last row 0 0 0 1"),
    ],
)
def test_bad_transforms_are_refused(transform: torch.Tensor, words: str) -> None:
    part = quad_part("a", (0, 0), (1, 1))
    with pytest.raises(ValueError, match=words):
        part.transform = transform
    assert torch.equal(part.transform, torch.eye(4, dtype=torch.float64))


def test_rotation_moves_what_is_rendered_and_not_the_part() -> None:
    part = quad_part("a", (0, 0), (1, 1), at=2.0)
    part.transform = rotation(torch.pi / 2)
    mesh = Scene([part]).flatten(dtype=torch.float64)
    # (x, y) goes to (-y, x). Measured error 4e-8: the angle is float32.
    torch.testing.assert_close(mesh.verts[:, 1], torch.full((4,), 2.0, dtype=torch.float64), atol=1e-6, rtol=0)
    assert part.verts[:, 0].tolist() == [2.0] * 4
