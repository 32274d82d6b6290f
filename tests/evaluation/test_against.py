"""A run beside others: the same for all of them, kept and used again, and one sentence for a name nobody has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuraltex.capture import read_video
from neuraltex.evaluation.contenders import CONTENDERS, named
from neuraltex.tables import metrics_table
from tests.ball import refused, run
from tests.evaluation.test_report import decoded, read
from tests.viewer.browser import Browser, wait_for

WORDS = ("--baseline-steps", 5, "--steps", 2, "--device", "cpu")


@pytest.fixture(scope="session")
def compared(trained, thing) -> Path:
    """A run that was scored beside others; it is only looked at."""
    moves = ("--steady", thing / "photos", "--steady-again", thing / "photos")
    run("eval", trained, "--against", "paper,lumigraph", *moves, *WORDS)
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
    assert steady["without_noise"] is True
    assert list(steady["flicker"]) == methods
    assert steady["ratio"]["truth"] == 1
    # Measured 0.99 of the photographs themselves, 130 of a renderer of two steps.
    assert steady["ratio"]["lumigraph"] == pytest.approx(1, abs=0.2)
    assert steady["ratio"]["paper"] > 10
    for name in methods:
        assert read_video(compared / "steady" / f"{name}.mp4").num_frames == 16


@pytest.fixture
def own(compared, tmp_path) -> Path:
    """The same, to be scored again."""
    return Path(shutil.copytree(compared, tmp_path / "ball"))


def test_a_move_taken_again_is_the_same_move(trained, thing, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(thing / "photos", other)
    told = json.loads((other / "transforms.json").read_text())
    told["frames"][0]["transform_matrix"][0][3] += 0.1
    (other / "transforms.json").write_text(json.dumps(told))
    moves = ("--steady", thing / "photos", "--steady-again", other)
    assert "is another move than" in refused(capsys, "eval", trained, *moves, "--device", "cpu")
    assert "as --steady" in refused(capsys, "eval", trained, "--steady-again", other, "--device", "cpu")


def test_what_was_trained_is_used_again_until_a_setting_changes(own, capsys):
    model = own / "against" / "paper" / "model.safetensors"
    before = model.stat().st_mtime_ns
    capsys.readouterr()
    run("eval", own, "--against", "paper", *WORDS)
    assert model.stat().st_mtime_ns == before
    assert "decoder of 2019: as it was trained before" in capsys.readouterr().err
    run("eval", own, "--against", "paper", "--baseline-steps", 5, "--steps", 1, "--device", "cpu")
    assert model.stat().st_mtime_ns != before
    assert json.loads((own / "metrics.json").read_text())["methods"]["paper"]["train_steps"] == 1
    assert sorted(path.name for path in (own / "against" / "paper").iterdir()) == [
        "model.safetensors",
        "settings.json",
    ]


def test_a_training_that_fails_leaves_nothing(own, monkeypatch):
    def broken(self, task, folder, report):
        (folder / "half").write_text("a model")
        raise KeyboardInterrupt

    kept = sorted(path.name for path in (own / "against").iterdir())
    monkeypatch.setattr(type(CONTENDERS["paper"]), "fit", broken)
    with pytest.raises(SystemExit):
        run("eval", own, "--against", "paper", "--baseline-steps", 5, "--steps", 7, "--device", "cpu")
    assert sorted(path.name for path in (own / "against").iterdir()) == kept
    assert (own / "against" / "paper" / "model.safetensors").is_file()


def test_an_evaluation_leaves_its_report(compared):
    html = (compared / "report.html").read_text()
    reader = read(html)
    assert not re.findall(r'(?:src|href)="(?!data:)', html), "nothing is fetched"
    assert "http" not in re.sub(r'"data:[^"]*"', "", html)
    metrics = json.loads((compared / "metrics.json").read_text())
    for told in metrics["methods"].values():
        assert told["title"] in html
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))
    assert [view["name"] for view in data["views"]] != []
    assert list(data["views"][0]["pictures"]) == ["photo", *metrics["methods"]]
    names = [view["name"] for view in metrics["per_view"]]
    index = names.index(data["views"][0]["name"])
    row = np.asarray(Image.open(compared / "held_out" / f"{index:03d}.png")).astype(int)
    panels = [row[:, i * 52 : i * 52 + 48] for i in range(len(data["titles"]))]
    for i, uri in enumerate(data["views"][0]["pictures"].values()):
        errors = [np.abs(decoded(uri) - panel).mean() for panel in panels]
        assert np.argmin(errors) == i
        assert errors[i] < 14  # measured 9 levels of the noise of a renderer of two steps, which JPEG loses; 2.6 else
    assert "Training of the run" in html
    videos = [attributes for tag, attributes in reader.seen if tag == "video"]
    assert all(video["src"].startswith("data:video/mp4;base64,") for video in videos)


@pytest.mark.browser
def test_the_report_in_a_browser(compared, tmp_path):
    browser = Browser((compared / "report.html").as_uri(), tmp_path, width=1000, height=900)
    try:
        wait_for(lambda: browser.run("document.querySelector('#above')?.naturalWidth > 0"), "the pictures")
        assert browser.run("document.querySelector('#above').alt").startswith("photograph, ")
        browser.run("document.querySelector('#cut').focus()")
        before = browser.run("document.querySelector('#stage').style.getPropertyValue('--cut')")
        for kind in ("keyDown", "keyUp"):
            key = {"key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39}
            browser.call("Input.dispatchKeyEvent", type=kind, **key)
        after = browser.run("document.querySelector('#stage').style.getPropertyValue('--cut')")
        assert (before, after) == ("50%", "50.5%")
        browser.run(
            "document.querySelector('#left').value = 'ours';"
            "document.querySelector('#left').dispatchEvent(new Event('change'))"
        )
        assert browser.run("document.querySelector('#above').alt").startswith("neuraltex, ")
    finally:
        browser.close()


def test_names(compared, capsys):
    assert named("") == ["textured_mesh"]
    assert named("lumigraph, paper,lumigraph") == ["textured_mesh", "lumigraph", "paper"]
    assert named("all") == list(CONTENDERS)
    sentence = refused(capsys, "eval", compared, "--against", "paper,nerf", *WORDS)
    assert f"--against nerf: expected {', '.join(CONTENDERS)}, or all" in sentence
    assert "either --steps or --minutes" in refused(capsys, "eval", compared, "--steps", 3, "--minutes", 1)
