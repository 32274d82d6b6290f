"""The examples run as written."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from neuraltex.capture import read_video
from neuraltex.training import Run
from tests.test_cli import thing, trained  # noqa: F401 - fixtures

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name: str, *words: object) -> None:
    before = sys.argv
    sys.argv = [name, *map(str, words)]
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        sys.argv = before


def test_own_cameras(trained, tmp_path, capsys):  # noqa: F811
    run_example("02_own_cameras.py", trained, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"rgb.png", "normals.png", "uv.png"}
    assert "ball: " in capsys.readouterr().out


def test_correct_a_capture(thing, tmp_path, capsys):  # noqa: F811
    run_example("04_correct_a_capture.py", thing / "ball.obj", thing / "photos", tmp_path / "out", 3)
    assert len(list((tmp_path / "out" / "brighter").glob("*.png"))) == 2
    printed = capsys.readouterr().out
    assert "cameras turned by 0." in printed
    assert "of it in the mean" in printed


def test_find_a_camera(trained, capsys):  # noqa: F811
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
