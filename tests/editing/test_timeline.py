"""Keyframes: where parts are between them, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuraltex.editing import Stage, load_edit
from neuraltex.errors import InputError
from tests.editing.scenes import room


def at(path: Path, timeline: dict, seconds: float) -> Stage:
    """The room as a timeline has it at a time."""
    path.write_text(json.dumps(timeline))
    stage = Stage(room())
    load_edit(path).change(stage, seconds)
    return stage


@pytest.mark.parametrize(
    ("ease", "expected"),
    [("linear", 0.25), ("in", 0.0625), ("out", 0.4375), ("in_out", 0.15625), ("hold", 0.0)],
)
def test_eases(tmp_path, ease, expected):
    timeline = {"parts": {"box": [{"t": 1}, {"t": 3, "move": [8, 0, 0], "ease": ease}]}}
    for seconds, share in ((0, 0), (1, 0), (1.5, expected), (3, 1), (9, 1)):
        center = at(tmp_path / "a.json", timeline, seconds)["box"].center
        assert center.tolist() == pytest.approx([8 * share, 0, 0.5]), seconds


def test_all_that_a_key_says(tmp_path):
    timeline = {
        "copies": {"twin": "box"},
        "attach": {"floor": "box"},
        "parts": {
            "box": [{"t": 0}, {"t": 2, "move": [1, 0, 0], "degrees": 90, "axis": [1, 0, 0], "scale": 3}],
            "twin": [{"t": 0, "visible": False}, {"t": 1, "visible": True}],
        },
    }
    stage = at(tmp_path / "a.json", timeline, 1)
    assert stage["floor"].total.tolist() == stage["box"].matrix.tolist()
    matrix = stage["box"].matrix
    assert matrix[:3, :3].det().item() == pytest.approx(2**3)
    assert matrix[1, 2].item() == pytest.approx(-2 * 0.5**0.5), "half of 90 degrees about x"
    assert stage["box"].center.tolist() == pytest.approx([0.5, 0, 0.5])
    assert [at(tmp_path / "a.json", timeline, t)["twin"].visible for t in (0, 0.9, 1)] == [False, False, True]
    assert not at(tmp_path / "a.json", timeline, 0)["box"].changed


def test_a_part_that_was_hidden_stays_so_unless_a_key_shows_it(tmp_path):
    path = tmp_path / "a.json"
    scene = room()
    scene["box"].visible = False
    for key, seen in (({"t": 0}, False), ({"t": 0, "visible": True}, True)):
        path.write_text(json.dumps({"parts": {"box": [key]}}))
        stage = Stage(scene)
        load_edit(path).change(stage, 0.0)
        assert stage["box"].visible is seen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n  'parts': 3}", "a.json, line 2: is not valid JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("[]", "expected a table with parts, copies, attach"),
        ('{"part": {}}', "expected a table with parts, copies, attach"),
        ('{"copies": ["box"]}', "copies: expected a table of names"),
        ('{"attach": {"box": 3}}', "attach: expected a table of names"),
        ('{"parts": []}', "parts: expected a table of part names"),
        ('{"parts": {"box": []}}', "parts, box: expected a list of keys"),
        ('{"parts": {"box": [{"t": 1}, {"t": 1}]}}', "parts, box: expected keys in the order of their times"),
        ('{"parts": {"box": [{"move": [0, 0, 1]}]}}', "parts, box, key 0: expected a table with a time t"),
        ('{"parts": {"box": [{"t": 0}, {"t": 1, "jump": 1}]}}', "parts, box, key 1: expected t, move, .*, got 'jump'"),
        ('{"parts": {"box": [{"t": "1"}]}}', "expected a number for t, got '1'"),
        ('{"parts": {"box": [{"t": NaN}]}}', "expected a number for t, got nan"),
        ('{"parts": {"box": [{"t": 0, "degrees": true}]}}', "expected a number for degrees, got True"),
        ('{"parts": {"box": [{"t": 0, "move": [0, 1]}]}}', r"expected three numbers for move, got \[0, 1\]"),
        ('{"parts": {"box": [{"t": 0, "move": [0, 1, Infinity]}]}}', "expected three numbers for move"),
        ('{"parts": {"box": [{"t": 0, "axis": "w"}]}}', "expected x, y, z or a direction for axis, got 'w'"),
        ('{"parts": {"box": [{"t": 0, "axis": [0, 0, 0]}]}}', "expected x, y, z or a direction for axis"),
        ('{"parts": {"box": [{"t": 0, "scale": 0}]}}', "expected a number above 0 for scale, got 0"),
        ('{"parts": {"box": [{"t": 0, "visible": 1}]}}', "expected true or false for visible, got 1"),
        ('{"parts": {"box": [{"t": 0, "ease": "slow"}]}}', "expected one of linear, .*, hold for ease, got 'slow'"),
    ],
)
def test_mistakes_name_the_line_or_the_key(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        load_edit(path)


def test_parts_that_are_not_there_are_found_at_the_first_frame(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"parts": {"bx": [{"t": 0}]}}')
    with pytest.raises(InputError, match=r"a.json, frame 0: edit failed at t = 0.000 s: .*did you mean 'box'"):
        load_edit(path).at(room(), 0, 30.0)
