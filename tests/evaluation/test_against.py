"""A run beside others: the same for all of them, kept and used again, and one sentence for a name nobody has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuraltex.capture import read_video
from neuraltex.evaluation.contenders import CONTENDERS, named
from neuraltex.tables import metrics_table
from tests.ball import refused, run

WORDS = ("--baseline-steps", 5, "--steps", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def compared(trained, thing) -> Path:
    """A run that was scored beside others."""
    run("eval", trained, "--against", "paper,lumigraph", "--steady", thing / "photos", *WORDS)
    return trained


def test_every_contender_is_scored_on_the_same_views(compared):
    metrics = json.loads((compared / "metrics.json").read_text())
    methods = ["ours", "textured_mesh", "paper", "lumigraph"]
    assert list(metrics["held_out"]) == list(metrics["methods"]) == methods
    for view in metrics["per_view"]:
        assert list(view) == ["name", *methods]
    for name in methods:
        assert 3 < metrics["held_out"][name]["psnr"] < 60
        assert metrics["methods"][name]["fps"] > 0
        assert metrics["methods"][name]["model_bytes"] > 1000
    steps = {name: metrics["methods"][name]["train_steps"] for name in methods}
    assert steps == {"ours": 30, "textured_mesh": 5, "paper": 2, "lumigraph": None}
    assert "decoder of 2019" in [cell for column in metrics_table(metrics).columns[:1] for cell in column.cells]
    ours, blended = (metrics["held_out"][name]["psnr_covered"] for name in ("ours", "lumigraph"))
    assert blended > ours + 5  # measured 7 and 26 dB: photographs of a ball, blended, and a renderer of 30 steps


def test_a_slow_move_tells_how_much_each_method_flickers(compared):
    steady = json.loads((compared / "metrics.json").read_text())["steady"]
    methods = ["truth", "ours", "textured_mesh", "paper", "lumigraph"]
    assert steady["num_frames"] == 16
    assert list(steady["flicker"]) == methods
    assert steady["ratio"]["truth"] == 1
    # Measured 0.99 of the photographs themselves, 130 of a renderer of two steps.
    assert steady["ratio"]["lumigraph"] == pytest.approx(1, abs=0.2)
    assert steady["ratio"]["paper"] > 10
    for name in methods:
        assert read_video(compared / "steady" / f"{name}.mp4").num_frames == 16


def test_what_was_trained_is_used_again_until_a_setting_changes(compared, capsys):
    model = compared / "against" / "paper" / "model.safetensors"
    before = model.stat().st_mtime_ns
    capsys.readouterr()
    run("eval", compared, "--against", "paper", *WORDS)
    assert model.stat().st_mtime_ns == before
    assert "decoder of 2019: as it was trained before" in capsys.readouterr().err
    run("eval", compared, "--against", "paper", "--baseline-steps", 5, "--steps", 1, "--device", "cpu")
    assert model.stat().st_mtime_ns != before
    assert json.loads((compared / "metrics.json").read_text())["methods"]["paper"]["train_steps"] == 1
    assert sorted(path.name for path in (compared / "against" / "paper").iterdir()) == [
        "model.safetensors",
        "settings.json",
    ]


def test_a_training_that_fails_leaves_nothing(compared, monkeypatch, tmp_path):
    def broken(self, task, folder, report):
        (folder / "half").write_text("a model")
        raise KeyboardInterrupt

    kept = sorted(path.name for path in (compared / "against").iterdir())
    monkeypatch.setattr(type(CONTENDERS["paper"]), "fit", broken)
    with pytest.raises(SystemExit):
        run("eval", compared, "--against", "paper", "--baseline-steps", 5, "--steps", 7, "--device", "cpu")
    assert sorted(path.name for path in (compared / "against").iterdir()) == kept
    assert (compared / "against" / "paper" / "model.safetensors").is_file()


def test_names(compared, capsys):
    assert named("") == ["textured_mesh"]
    assert named("lumigraph, paper,lumigraph") == ["textured_mesh", "lumigraph", "paper"]
    assert named("all") == list(CONTENDERS)
    sentence = refused(capsys, "eval", compared, "--against", "paper,nerf", *WORDS)
    assert f"--against nerf: expected {', '.join(CONTENDERS)}, or all" in sentence
    assert "either --steps or --minutes" in refused(capsys, "eval", compared, "--steps", 3, "--minutes", 1)
