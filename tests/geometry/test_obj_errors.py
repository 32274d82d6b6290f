"""Broken OBJ files: the error names the line and says what was expected there."""

from pathlib import Path

import pytest

from neuraltex.errors import InputError
from neuraltex.geometry import read_obj

HEAD = "# a comment\nv 0 0 0\nv 1 0 0\nv 1 1 0\n"  # four lines

BROKEN = {
    "index beyond the end": (HEAD + "f 1 2 4\n", 5, "vertex index 4 was found, the file has 3 vertices"),
    "index beyond int64": (HEAD + "f 1 2 99999999999999999999\n", 5, "the file has 3 vertices"),
    "index zero": (HEAD + "f 1 2 3\nf 0 1 2\n", 6, "counts from 1"),
    "relative index before the start": (HEAD + "f -1 -2 -4\n", 5, "reaches too far back: 3 vertices stand before"),
    "relative index to what comes later": (
        "v 0 0 0\nv 1 0 0\nf -1 -2 -3\nv 1 1 0\n",
        3,
        "reaches too far back: 2 vertices stand before",
    ),
    "texture index": (HEAD + "vt 0 0\nf 1/1 2/1 3/2\n", 6, "texture coordinate index 2"),
    "normal index": (HEAD + "vn 0 0 1\nf 1//1 2//1 3//7\n", 6, "normal index 7"),
    "no vt at all": (HEAD + "f 1/1 2/1 3/1\n", 5, "the file has 0 texture coordinates"),
    "two corners": (HEAD + "f 1 2 3\nf 1 2\n", 6, "at least 3 corners, found 2"),
    "a short face and a long one": (HEAD + "f 1 2\nf 1 2 3 1\n", 5, "at least 3 corners, found 2"),
    "a short vertex and a long one": (HEAD + "v 1 2\nv 1 2 3 4\nf 1 2 3\n", 5, "'v' needs 3 numbers, found 2"),
    "no corners": (HEAD + "f 1 2 3\nf\n", 6, "at least 3 corners, found 0"),
    "word in a vertex": (HEAD + "v 1 two 3\nf 1 2 3\n", 5, "'v' expected a number, found 'two'"),
    "decimal comma": (HEAD + "v 1,5 2 3\nf 1 2 3\n", 5, "'v' expected a number, found '1,5'"),
    "two numbers run together": (HEAD + "v 1 2-3 4\nf 1 2 3\n", 5, "found '2-3'"),
    "underscored number": (HEAD + "v 1_0 2 4\nf 1 2 3\n", 5, "found '1_0'"),
    "two coordinates": (HEAD + "v 1 2\nf 1 2 3\n", 5, "'v' needs 3 numbers, found 2"),
    "empty vt": (HEAD + "vt\nf 1 2 3\n", 5, "'vt' needs 1 numbers, found 0"),
    "two numbers in a normal": (HEAD + "vn 1 2\nf 1 2 3\n", 5, "'vn' needs 3 numbers, found 2"),
    "NaN coordinate": (HEAD + "v 1 nan 3\nf 1 2 3\n", 5, "finite"),
    "infinite coordinate": (HEAD + "v 1 2 -inf\nf 1 2 3\n", 5, "finite"),
    "overflowing coordinate": (HEAD + "v 1 2 1e999\nf 1 2 3\n", 5, "finite"),
    "NaN texture coordinate": (HEAD + "vt nan 0\nf 1 2 3\n", 5, "finite"),
    "float index": (HEAD + "f 1 2.0 3\n", 5, "whole numbers as v, v/vt, v//vn or v/vt/vn, found '2.0'"),
    "word as index": (HEAD + "f 1/1 2/x 3/1\n", 5, "whole numbers"),
    "three slashes": (HEAD + "f 1/1/1/1 2 3\n", 5, "more than two slashes"),
    "no vertex in a corner": (HEAD + "f /1 2 3\n", 5, "names no vertex"),
    "all faces degenerate": (HEAD + "f 1 1 2\n", 5, "names a vertex twice"),
    "line after a continued one": (HEAD + "f 1 2 \\\n 3\nf 1 2 9\n", 7, "vertex index 9"),
    "no faces": (HEAD, None, "has no faces"),
    "empty": ("", None, "has no faces"),
    "binary": ("\0\1\2glTF", None, "is binary"),
    "other text": ("solid cube\nfacet normal 0 0 1\n", None, "has no faces"),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("case", BROKEN)
def test_error_names_line_and_expectation(tmp_path: Path, case: str, newline: str) -> None:
    text, line, words = BROKEN[case]
    path = tmp_path / "broken.obj"
    path.write_bytes(text.replace("\n", newline).encode())
    with pytest.raises(InputError) as caught:
        read_obj(path)
    assert caught.value.line == line
    assert words in str(caught.value)
    assert "broken.obj" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_obj(tmp_path / "none.obj")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_obj(tmp_path)
