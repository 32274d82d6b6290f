"""The examples run as written."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from neuraltex.capture import read_video
from neuraltex.demo import bundled_scene
from neuraltex.editing import load_edit
from neuraltex.geometry import load_scene
from neuraltex.training import Run
from tests.ball import SMALL, run

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name: str, *words: object) -> None:
    before = sys.argv
    sys.argv = [name, *map(str, words)]
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        sys.argv = before


def test_own_cameras(trained, tmp_path, capsys):
    run_example("02_own_cameras.py", trained, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"rgb.png", "normals.png", "uv.png"}
    assert "ball: " in capsys.readouterr().out


def test_correct_a_capture(thing, tmp_path, capsys):
    run_example("04_correct_a_capture.py", thing / "ball.obj", thing / "photos", tmp_path / "out", 3)
    assert len(list((tmp_path / "out" / "brighter").glob("*.png"))) == 2
    printed = capsys.readouterr().out
    assert "cameras turned by 0." in printed
    assert "of it in the mean" in printed


def test_find_a_camera(trained, capsys):
    run_example("03_find_a_camera.py", trained)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("step 120: off by ")
    turn_deg = float(last.split()[4])
    # measured 0.2 on this coarse ball of 24 x 18 pixels: on its way, from 2
    assert turn_deg == pytest.approx(0.0, abs=1.0)


def test_animated_mesh(tmp_path, capsys):
    run_example("06_animated_mesh.py", tmp_path, 2)
    assert "dB on poses it has not seen" in capsys.readouterr().out
    nod, frozen = (read_video(tmp_path / f"{name}.mp4").frames.astype(int) for name in ("nod", "frozen"))
    assert len(nod) == len(frozen) == 24
    # One camera, and the duck nods: 12 poses a second seen 24 times a second, and back to where it began.
    assert abs(nod[0] - nod[12]).max() > 40
    assert Run.open(tmp_path / "run").load_motion().motion.num_frames == 24


def test_edit_a_scene(thing, few_lamps, tmp_path, capsys):
    lines = (thing / "ball.obj").read_text().splitlines(keepends=True)
    (tmp_path / "ball.obj").write_text("".join([*lines[:-140], "o lid\n", *lines[-140:]]))
    run("train", tmp_path / "ball.obj", thing / "photos", "-o", tmp_path / "run", "--steps", 3, *SMALL)
    run_example("05_edit_a_scene.py", tmp_path / "run", tmp_path / "out", "lid", 2, 32)
    assert "parts that change: lid" in capsys.readouterr().out
    names = ("deform", "duplicate", "move", "remove")
    videos = {name: read_video(tmp_path / "out" / f"{name}.mp4").frames.astype(int) for name in names}
    untouched = videos["remove"][0]
    for name, frames in videos.items():
        assert frames.shape == (2, 24, 32, 3)
        # A second in, and more than compression's noise, which is 0 here.
        assert abs(frames[1] - untouched).max() > 10, name


def test_scripts_of_edits_fit_the_bundled_scene():
    scene = load_scene(bundled_scene() / "still_life.obj")
    changed = {}
    for path in sorted((EXAMPLES / "edits").iterdir()):
        if path.is_file():
            staged, moved = load_edit(path).at(scene, 60, 30.0)
            changed[path.name] = (moved, len(staged.mesh.part_names) - len(scene))
    assert changed == {
        "copy.py": (set(), 1),
        "deform.py": ({"vase"}, 0),
        "move.py": ({"duck"}, 0),
        "remove.py": ({"torus"}, -1),
        "timeline.json": ({"block", "pear", "torus"}, 0),
    }
