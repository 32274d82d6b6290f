"""The MTL reader and how the files it names are found."""

from pathlib import Path

import pytest

from neuraltex.errors import InputWarning
from neuraltex.geometry.mtl import read_materials, read_mtl


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_values(tmp_path: Path) -> None:
    touch(tmp_path, "tex/a.png")
    (tmp_path / "m.mtl").write_text(
        "# head\nKd 9 9 9\nnewmtl red one # tail\n\tKd 1 .5 0\r\nd 0.25\nmap_Kd tex/a.png\nNs 3\n"
        "newmtl grey\nKd 0.5\nTr 0.25\nnewmtl spectral\nKd spectral file.rfl\nd -halo 0.5\n"
    )
    materials = read_mtl(tmp_path / "m.mtl")
    assert list(materials) == ["red one", "grey", "spectral"]
    red = materials["red one"]
    assert (red.diffuse, red.opacity, red.diffuse_texture) == ((1, 0.5, 0), 0.25, tmp_path / "tex/a.png")
    assert (materials["grey"].diffuse, materials["grey"].opacity) == ((0.5, 0.5, 0.5), 0.75)
    assert materials["spectral"].opacity == 0.5


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("map_Kd my  tex.png", "my  tex.png"),
        ("map_Kd -s 1 1 1 -o 0.5 0 -clamp on my tex.png", "my tex.png"),
        ("map_Kd -s 2 tex.png", "tex.png"),
        ("map_Kd -mm 0 1 -bm 2 -blendu off 2 tex.png", "2 tex.png"),
        ('map_Kd "quoted tex.png"', "quoted tex.png"),
        ("map_kd sub\\deep\\tex.png", "sub/deep/tex.png"),
        ("map_Kd C:\\work\\textures\\tex.png", "tex.png"),
        ("map_Kd tex#1.png", "tex#1.png"),
    ],
)
def test_texture_names(tmp_path: Path, statement: str, name: str) -> None:
    touch(tmp_path, name)
    (tmp_path / "m.mtl").write_text(f"newmtl a\n{statement}\n")
    assert read_mtl(tmp_path / "m.mtl")["a"].diffuse_texture == tmp_path / name


def test_missing_texture_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd none.png\n")
    with pytest.warns(InputWarning, match=r"m\.mtl, line 2: the texture 'none\.png' is missing"):
        assert read_mtl(tmp_path / "m.mtl")["a"].diffuse_texture is None


def test_bad_number_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\n\nKd red 0 0\n")
    with pytest.warns(InputWarning, match=r"line 3: 'kd' expected numbers, found 'red 0 0'"):
        assert read_mtl(tmp_path / "m.mtl")["a"].diffuse == (0.8, 0.8, 0.8)


def test_several_libraries(tmp_path: Path) -> None:
    for name in ("a", "b c", "d"):
        (tmp_path / f"{name}.mtl").write_text(f"newmtl {name}\nKd 1 0 0\n")
    names = ["d", "b c", "a", "unknown"]
    for mtllibs in (["a.mtl b c.mtl d.mtl"], ["b c.mtl", "a.mtl d.mtl"], ["./a.mtl", ".\\d.mtl", "x/b c.mtl"]):
        materials = read_materials(tmp_path, mtllibs, names)
        assert [material.name for material in materials] == names
        assert [material.diffuse[0] for material in materials] == [1, 1, 1, 0.8]


def test_missing_library_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match=r"none\.mtl: this material library is missing"):
        assert read_materials(tmp_path, ["none.mtl"], ["a"])[0].name == "a"


def test_unreadable_library_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_bytes(b"\0\0")
    with pytest.warns(InputWarning, match="is binary"):
        assert read_materials(tmp_path, ["m.mtl"], ["a"])[0].name == "a"
