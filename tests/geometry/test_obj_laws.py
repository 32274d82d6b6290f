"""Laws of the OBJ reader: what is written is read, and no bytes make it fail in another way than by InputError."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.errors import InputError
from neuraltex.geometry import read_obj
from neuraltex.geometry.mtl import read_materials
from neuraltex.geometry.triangulate import triangulate

NUMBER_FORMATS = ("{!r}", "{:+.17e}", "{:.17g}")
SEPARATORS = (" ", "\t", "  ")


@st.composite
def written_meshes(draw: st.DrawFn) -> tuple[str, dict[str, np.ndarray]]:
    """An OBJ text of triangles with its expected buffers, written in one of the ways that people write them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    verts = rng.normal(size=(draw(st.integers(3, 12)), 3)) * 10.0 ** rng.integers(-6, 6)
    uv = rng.uniform(-2, 3, size=(draw(st.integers(1, 8)), 2))
    normals = rng.normal(size=(draw(st.integers(1, 5)), 3))
    num_faces = draw(st.integers(1, 10))
    faces = np.stack([rng.permutation(len(verts))[:3] for _ in range(num_faces)])
    faces_uv = rng.integers(0, len(uv), size=(num_faces, 3))
    faces_normals = rng.integers(0, len(normals), size=(num_faces, 3))
    forms = [draw(st.sampled_from(["v", "v/t", "v//n", "v/t/n"])) for _ in range(num_faces)]
    if draw(st.booleans()):
        forms = forms[:1] * num_faces
    faces_uv[["t" not in form for form in forms]] = -1
    faces_normals[["n" not in form for form in forms]] = -1
    separator, pattern = draw(st.sampled_from(SEPARATORS)), draw(st.sampled_from(NUMBER_FORMATS))
    relative = draw(st.booleans())

    def statement(keyword: str, row: np.ndarray) -> str:
        return separator.join([keyword, *(pattern.format(float(value)) for value in row)])

    def corner(form: str, v: int, t: int, n: int) -> str:
        v, t, n = (v - len(verts), t - len(uv), n - len(normals)) if relative else (v + 1, t + 1, n + 1)
        return {"v": f"{v}", "v/t": f"{v}/{t}", "v//n": f"{v}//{n}", "v/t/n": f"{v}/{t}/{n}"}[form]

    lines = [statement("v", row) for row in verts] + [statement("vt", row) for row in uv]
    lines += [statement("vn", row) for row in normals]
    for k, form in enumerate(forms):
        corners = [corner(form, *ids) for ids in zip(faces[k], faces_uv[k], faces_normals[k], strict=True)]
        lines.append(separator.join(["f", *corners]))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r", " # note\n"]))
    expected = {"verts": verts, "verts_uv": uv, "normals": normals}
    expected |= {"faces": faces, "faces_uv": faces_uv, "faces_normals": faces_normals}
    return newline.join([*lines, ""]), expected


@given(written_meshes())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(written: tuple[str, dict[str, np.ndarray]]) -> None:
    text, expected = written
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.obj"
        path.write_bytes(text.encode())
        obj = read_obj(path)
    for name, value in expected.items():
        # Seventeen digits hold a float64 exactly: measured error 0.
        np.testing.assert_array_equal(getattr(obj, name), value, err_msg=name)


VALID_OBJ = (
    b"# head\nmtllib a.mtl b c.mtl\no one\nv 0 0 0\nv 1 0 0.5\nv 1 1 .25 \\\n 1\nv 0 1 0\nvt 0 0\nvt 1 0\nvt .5 1\n"
    b"vn 0 0 1\ng x y\nusemtl red#1\ns 1\nf 1/1/1 2/2/1 3/3/1 4/1/1\nf -4//-1 -3//-1 -2//-1 # tail\nf 1 2 3 4 2\n"
)
VALID_MTL = (
    b"# head\nnewmtl red\nKd .5 0.25 1\nd 0.5\nTr 0.5\nmap_Kd -s 1 1 1 -o 0 0 my tex.png\nnewmtl b\nKd spectral x\n"
)

mutations = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "copy"]), st.integers(0, 10**6), st.integers(0, 255)),
    max_size=8,
)


def mutate(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    result = bytearray(data)
    for action, place, value in changes:
        at = place % (len(result) + 1)
        if action == "insert":
            result.insert(at, value)
        elif action == "copy":
            result[at:at] = result[value : value + 20]
        elif at < len(result) and action == "set":
            # Half of the time a byte that means something to the format.
            result[at] = b" \n/-#\\.0123456789efvtn\r\t"[value % 24] if value % 2 else value
        elif at < len(result):
            del result[at]
    return bytes(result)


@given(mutations)
@settings(max_examples=400, deadline=None)
def test_damaged_obj_only_raises_input_error(changes: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.obj"
        path.write_bytes(mutate(VALID_OBJ, changes))
        try:
            obj = read_obj(path)
        except InputError:
            return
    assert obj.faces.min() >= 0
    assert obj.faces.max() < len(obj.verts)
    assert obj.faces_uv.max() < len(obj.verts_uv)
    assert obj.faces_normals.max() < len(obj.normals)
    assert np.isfinite(obj.verts).all()


@given(mutations)
@settings(max_examples=200, deadline=None)
def test_damaged_mtl_only_warns(changes: list[tuple[str, int, int]]) -> None:
    import warnings

    from neuraltex.errors import InputWarning

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "damaged.mtl").write_bytes(mutate(VALID_MTL, changes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            materials = read_materials(Path(folder), ["damaged.mtl"], ["red", "b"])
    assert [material.name for material in materials] == ["red", "b"]


@given(st.integers(0, 2**32 - 1), st.integers(3, 14))
@settings(max_examples=150, deadline=None)
def test_triangles_of_a_polygon_have_its_area(seed: int, count: int) -> None:
    """Star-shaped polygons, most of them concave, in a random plane: no triangle folds over and none is missing."""
    rng = np.random.default_rng(seed)
    # A triangle with a gap of more than half a turn would not hold the centre.
    jitter = 0.4 if count > 3 else 0.2
    angles = (np.arange(count) + rng.uniform(0.5 - jitter, 0.5 + jitter, count)) * (2 * np.pi / count)
    flat = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.3, 2.0, (count, 1))
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = flat @ frame[:2] + rng.normal(size=3)
    triangles, polygon = triangulate(points, np.array([count]))
    a, b, c = (points[triangles[:, k]] for k in range(3))
    areas = 0.5 * np.cross(b - a, c - a) @ np.cross(frame[0], frame[1])
    x, y = flat.T
    expected = 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
    assert polygon.tolist() == [0] * (count - 2)
    # Measured: 1e-4 and 2e-15.
    assert areas.min() > 0
    np.testing.assert_allclose(areas.sum(), expected, rtol=1e-9)
