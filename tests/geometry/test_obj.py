"""What the OBJ reader understands, one feature a test."""

from pathlib import Path

import numpy as np
import pytest

from neuraltex.geometry import read_obj
from neuraltex.geometry.obj import ObjData

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
SQUARE_UV = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def read(tmp_path: Path, text: str | bytes) -> ObjData:
    path = tmp_path / "thing.obj"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_obj(path)


def area(obj: ObjData) -> float:
    corners = obj.verts[obj.faces]
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )


def test_separate_indices_per_corner(tmp_path: Path) -> None:
    obj = read(tmp_path, SQUARE + SQUARE_UV + "vn 0 0 1\nvn 0 1 0\nf 1/2/1 2/3/2 3/4/1\n")
    assert obj.faces.tolist() == [[0, 1, 2]]
    assert obj.faces_uv.tolist() == [[1, 2, 3]]
    assert obj.faces_normals.tolist() == [[0, 1, 0]]
    assert obj.verts_uv.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert obj.normals.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_all_corner_forms_in_one_file(tmp_path: Path) -> None:
    obj = read(
        tmp_path,
        SQUARE + SQUARE_UV + "vn 0 0 1\nf 1 2 3\nf 1/1 2/2 3/3\nf 1//1 2//1 3//1\nf 1/4/1 2/3/1 3/2/1\nf 1/ 2/ 3\n",
    )
    assert obj.faces.tolist() == [[0, 1, 2]] * 5
    assert obj.faces_uv.tolist() == [[-1] * 3, [0, 1, 2], [-1] * 3, [3, 2, 1], [-1] * 3]
    assert obj.faces_normals.tolist() == [[-1] * 3, [-1] * 3, [0] * 3, [0] * 3, [-1] * 3]


def test_a_face_that_lacks_one_vt_has_none(tmp_path: Path) -> None:
    obj = read(tmp_path, SQUARE + SQUARE_UV + "f 1/1 2 3/3\nf 1/1 3/3 4/4\n")
    assert obj.faces_uv.tolist() == [[-1] * 3, [0, 2, 3]]


def test_relative_indices_count_back_from_where_they_stand(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf -3/-1 -2/-1 -1/-1\n"
    text += "v 5 0 0\nvt 1 1\nv 6 0 0\nv 5 1 0\nf -3/-1 -2/1 -1/-2\nf 1 -1 2\n"
    obj = read(tmp_path, text)
    assert obj.faces.tolist() == [[0, 1, 2], [3, 4, 5], [0, 5, 1]]
    assert obj.faces_uv.tolist() == [[0, 0, 0], [1, 0, 0], [-1] * 3]


def test_forward_references_are_allowed(tmp_path: Path) -> None:
    assert read(tmp_path, "f 1 2 3\nv 0 0 0\nv 1 0 0\nv 0 1 0\n").faces.tolist() == [[0, 1, 2]]


def test_polygons_keep_order_and_winding(tmp_path: Path) -> None:
    obj = read(tmp_path, SQUARE + "v 2 0 0\nf 1 2 3\nf 1 2 3 4\nf 2 5 3\n")
    assert obj.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [1, 4, 2]]


def test_concave_quad_takes_the_other_diagonal(tmp_path: Path) -> None:
    obj = read(tmp_path, "v 0 0 0\nv 4 0 0\nv 1 1 0\nv 0 4 0\nf 2 3 4 1\nf 1 2 3 4\n")
    # Each is the same dart of area 4: the wrong diagonal gives 12. Measured error 0.
    assert area(obj) == 8.0


def test_concave_polygon_keeps_its_area_and_normal(tmp_path: Path) -> None:
    angle = np.arange(10) * np.pi / 5
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.tile([2.0, 0.7], 5)[:, None]
    expected = 5 * 0.7 * 2.0 * np.sin(np.pi / 5)  # ten triangles around the centre
    lift = np.array([[0.3, 0.8, 0.2], [-0.5, 0.1, 0.9]])
    scale = np.linalg.norm(np.cross(*lift))
    text = "".join("v {} {} {}\n".format(*row) for row in (points @ lift).tolist())
    obj = read(tmp_path, text + "f " + " ".join(str(k + 1) for k in range(10)) + "\n")
    assert len(obj.faces) == 8
    # Measured error 1e-16; a fan gives 2.1 times the area.
    assert area(obj) == pytest.approx(expected * scale, rel=1e-12)
    corners = obj.verts[obj.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals @ np.cross(*lift) > 0).all()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, newline: str) -> None:
    obj = read(tmp_path, (SQUARE + "o thing\nf 1 2 3\n").replace("\n", newline))
    assert (len(obj.verts), obj.object_names, obj.faces.tolist()) == (4, ("thing",), [[0, 1, 2]])


def test_continued_lines(tmp_path: Path) -> None:
    obj = read(tmp_path, "v 0 0 \\\n0\nv 1 0 0\nv 1\\\n 1 0\nv 0 1 0\nf 1 2 \\\r\n 3 4\n")
    assert obj.verts[2].tolist() == [1, 1, 0]
    assert len(obj.faces) == 2


def test_a_backslash_that_ends_a_comment_does_not_continue_it(tmp_path: Path) -> None:
    assert len(read(tmp_path, "# from C:\\meshes\\\n" + SQUARE + "f 1 2 3\n").verts) == 4


def test_comments_at_line_ends(tmp_path: Path) -> None:
    text = "# head\nv 0 0 0 # first 1 2 3\nv 1 0 0# second\n  # indented\nv 1 1 0\nf 1 2 3 # f 1 2\n#f 1 2 9\n"
    obj = read(tmp_path, text + "o a#1\nf 1 2 3 #x # y\nusemtl steel #2\nf 1 2 3\n")
    assert (len(obj.verts), len(obj.faces)) == (3, 3)
    assert obj.object_names == ("a#1",)
    assert obj.material_names == ("steel",)


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    obj = read(tmp_path, "v .5 -.5 +1.\nv 1e-3 2E+2 -0\nv 1 2 3\nvt .5 .5\nvt 0.25 0.75 0\nvt 0.125\nf 1/1 2/2 3/3\n")
    assert obj.verts.tolist() == [[0.5, -0.5, 1.0], [0.001, 200.0, 0.0], [1.0, 2.0, 3.0]]
    assert obj.verts_uv.tolist() == [[0.5, 0.5], [0.25, 0.75], [0.125, 0.0]]


def test_vertex_colours_and_weights(tmp_path: Path) -> None:
    face = "f 1 2 3\n"
    coloured = read(tmp_path, "v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 1 0 0 1\n" + face)
    assert coloured.colors is not None
    assert coloured.colors.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    weighted = read(tmp_path, "v 0 0 0 1\nv 1 0 0 1.0\nv 0 1 0\n" + face)
    assert weighted.colors is None
    assert weighted.verts.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert read(tmp_path, "v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0 0 0 1\n" + face).colors is None


def test_names_per_face(tmp_path: Path) -> None:
    text = (
        SQUARE
        + "f 1 2 3\no body\ng a b\nusemtl red\nf 1 2 3 4\no  two words \ng\nf 1 2 3\no body\nusemtl my blue\nf 2 3 4\n"
    )
    obj = read(tmp_path, text)
    assert obj.object_names == ("body", "two words")
    assert obj.face_objects.tolist() == [-1, 0, 0, 1, 0]
    assert obj.group_names == ("a b", "")
    assert obj.face_groups.tolist() == [-1, 0, 0, 1, 1]
    assert obj.material_names == ("red", "my blue")
    assert obj.face_materials.tolist() == [-1, 0, 0, 0, 1]


def test_statements_that_are_skipped(tmp_path: Path) -> None:
    text = "vp 0.1\ns 1\nl 1 2\np 1\ncurv 0 1\nvtx 9\nmg 1\nusemap x\nV 1\n"
    assert read(tmp_path, text + SQUARE + "s off\nf 1 2 3\nend\n").faces.tolist() == [[0, 1, 2]]


def test_white_space_and_byte_order_mark(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf\tv\t0 0\t0  \n  v 1   0 0\n\n \t \nv 1 1 0\x0c\n f\t1 2\t3 \t\n\n"
    assert read(tmp_path, text).faces.tolist() == [[0, 1, 2]]


def test_no_newline_at_the_end(tmp_path: Path) -> None:
    assert read(tmp_path, SQUARE + "f 1 2 3").faces.tolist() == [[0, 1, 2]]


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    obj = read(tmp_path, b"# caf\xe9\no K\xf6rper\n" + SQUARE.encode() + b"f 1 2 3\n")
    assert obj.object_names == ("Körper",)
    assert read(tmp_path, f"o Körper\n{SQUARE}f 1 2 3\n").object_names == ("Körper",)


def test_material_libraries_as_written(tmp_path: Path) -> None:
    obj = read(tmp_path, "mtllib a.mtl b.mtl\nmtllib my file.mtl\n" + SQUARE + "f 1 2 3\n")
    assert obj.mtllibs == ("a.mtl b.mtl", "my file.mtl")


def test_faces_that_name_a_vertex_twice_are_counted_out(tmp_path: Path) -> None:
    obj = read(tmp_path, SQUARE + "v 2 0 0\no a\nf 1 2 2\no b\nf 1 2 3 3\nf 1 2 5\n")
    assert obj.num_dropped == 2
    # Zero area between different vertices stays.
    assert obj.faces.tolist() == [[0, 1, 2], [0, 1, 4]]
    assert [obj.object_names[k] for k in obj.face_objects] == ["b", "b"]


def test_broken_normals_are_no_normals(tmp_path: Path) -> None:
    assert read(tmp_path, SQUARE + "vn nan nan nan\nf 1//1 2//1 3//1\n").normals.tolist() == [[0, 0, 0]]


def test_interleaved_statements(tmp_path: Path) -> None:
    text = "".join(
        f"v {k} 0 0\nvt {k} 1\nv {k} 1 0\nvn 0 0 1\nv {k} 2 {k}\nf -3/-1/-1 -2/-1/-1 -1/-1/-1\n" for k in range(50)
    )
    obj = read(tmp_path, text)
    assert obj.faces.tolist() == np.arange(150).reshape(-1, 3).tolist()
    assert obj.verts[::3, 0].tolist() == list(range(50))
    assert obj.faces_uv[:, 0].tolist() == list(range(50))
