"""Scripts as a user runs them: `neuraltex edit` on a small run."""

from __future__ import annotations

import shutil

import imageio.v3 as iio
import numpy as np
import pytest

from neuraltex.capture import read_video
from neuraltex.editing import load_edit
from neuraltex.errors import InputError
from tests.ball import HEIGHT, WIDTH, refused, run
from tests.editing.scenes import room


@pytest.fixture
def ball(trained, tmp_path):
    """A run of one's own: editing leaves a file in it."""
    return shutil.copytree(trained, tmp_path / "ball")


def test_a_script_becomes_a_video(ball, few_lamps, tmp_path, capsys):
    script = tmp_path / "lift.py"
    script.write_text(
        "def edit(scene, t):\n    scene['ball'].move([0, t, 0]).deform(lambda v: v * [1, 1 - t / 2, 1])\n"
    )
    words = ("edit", ball, script, "--path", "still", "--fps", 2, "--device", "cpu")
    run(*words, "-o", tmp_path / "lift.mp4", "--frames", 3)
    frames = np.asarray(read_video(tmp_path / "lift.mp4").frames).astype(float)
    assert frames.shape == (3, HEIGHT, WIDTH, 3)
    assert (ball / "surface.safetensors").is_file()
    told = capsys.readouterr().err
    assert "parts that change: ball" in told
    run(*words, "-o", tmp_path / "pictures", "--frames", 1, "--size", 24)
    assert iio.imread(tmp_path / "pictures" / "000000.png").shape == (18, 24, 3)
    assert "finding" not in capsys.readouterr().err, "what was found about the surface was kept"


def test_a_script_that_fails_leaves_nothing_behind(ball, tmp_path, capsys):
    script = tmp_path / "late.py"
    script.write_text("def edit(scene, t):\n    if t > 3.65:\n        scene['bal'].hide()\n")
    before = sorted(tmp_path.rglob("*"))
    words = ("edit", ball, script, "--fps", 10, "--frames", 60, "--device", "cpu")
    assert refused(capsys, *words, "-o", tmp_path / "out.mp4") == (
        f"neuraltex: {script}, line 3, frame 37: edit failed at t = 3.700 s: part: expected one of ball; got 'bal'; "
        "did you mean 'ball'?; nothing was written"
    )
    script.write_text("import sys\n\ndef edit(scene, t):\n    sys.exit(0)\n")
    assert "line 4, frame 0: edit failed at t = 0.000 s: SystemExit: 0" in refused(
        capsys, *words, "-o", tmp_path / "out"
    )
    script.write_text("def edit(scene, t):\n    pass\n")
    assert "a.gif: .gif is no video format" in refused(capsys, *words, "-o", tmp_path / "a.gif")
    assert "frames a second between 0 and 1000" in refused(capsys, *words, "-o", tmp_path / "out", "--fps", 0)
    (ball / "model.safetensors").rename(tmp_path / "away")
    assert "holds no trained model yet" in refused(capsys, *words, "-o", tmp_path / "out")
    (tmp_path / "away").rename(ball / "model.safetensors")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "x = 1\ndef edit(scene, t)\n    pass\n", "a.py, line 2: is not Python: "),
        ("a.py", "x = 1\n\ny = x / 0\n", "a.py, line 3: could not be loaded: ZeroDivisionError"),
        ("a.py", "raise SystemExit(3)\n", "a.py, line 1: could not be loaded: SystemExit: 3"),
        ("a.py", "def edt(scene, t):\n    pass\n", r"expected a function edit\(scene, t\)"),
        ("a.py", "def edit(scene):\n    pass\n", r"expected a function edit\(scene, t\)"),
        ("a.py", "edit = 3\n", r"expected a function edit\(scene, t\)"),
        ("a.txt", "", "expected a .py script or a .json timeline, got .txt"),
        ("none/a.py", None, "does not exist; name a script"),
    ],
)
def test_files_that_are_no_edits(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_edit(tmp_path / name)


def test_scripts_are_modules_like_others(tmp_path):
    (tmp_path / "copy.py").write_text(
        "from __future__ import annotations\n"
        "import copy\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Speed:\n"
        "    up: float\n"
        "def edit(scene, t, speed=Speed(2.0)):\n"
        "    scene['box'].move([0, 0, copy.copy(speed).up * t])\n"
    )
    staged, moved = load_edit(tmp_path / "copy.py").at(room(), 15, 30.0)
    assert moved == {"box"}
    assert float(staged.mesh.verts[:, 2].max()) == 2.0
