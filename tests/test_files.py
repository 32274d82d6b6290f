"""Outputs appear whole or not at all, and optional packages name their extra."""

from __future__ import annotations

import pytest

from neuraltex.errors import InputError, NeuraltexError
from neuraltex.files import read_json, whole_file, write_json
from neuraltex.optional import require


def _write_half(path, error):
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"good": 1})
    with pytest.raises(KeyError):
        _write_half(path, KeyError())
    assert read_json(path) == {"good": 1}
    with pytest.raises(InputError, match=r"a\.json: could not be written \(No space left on device\)"):
        _write_half(path, OSError(28, "No space left on device"))
    assert read_json(path) == {"good": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_files_get_the_permissions_that_others_expect(tmp_path):
    write_json(tmp_path / "a.json", 1)
    plain = tmp_path / "plain"
    plain.write_text("")
    assert (tmp_path / "a.json").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        write_json(tmp_path / "file" / "a.json", 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1,\n "b" 2}', "line 2: is not valid JSON"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_json_is_named(tmp_path, content, expected):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_json(path)
    with pytest.raises(InputError, match="could not be read"):
        read_json(tmp_path / "missing.json")


def test_a_missing_package_names_its_extra():
    with pytest.raises(NeuraltexError, match=r"no_such_package.*pip install 'neuraltex\[reconstruct\]'"):
        require("no_such_package", "reconstruct")
