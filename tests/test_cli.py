"""The command line as a user meets it: the main job from files to pictures, and one clear sentence on bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from neuraltex.capture import read_video
from neuraltex.raster import make_gbuffer
from neuraltex.tables import metrics_table
from neuraltex.training import Run
from neuraltex.training.checkpoint import load_tensors
from tests.ball import HEIGHT, SMALL, WIDTH, refused, run
from tests.scenes import ring_cameras, uv_sphere


def test_main_job_from_a_video(thing, tmp_path):
    folder = tmp_path / "ball"
    run("train", thing / "ball.obj", thing / "clip.mp4", "--cameras", thing / "clip.json", "-o", folder, "--steps", 3,
        "--size", 40, *SMALL)  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["source"]["size"] == 40
    assert config["shading"]["environment"] is True
    assert (folder / "model.safetensors").stat().st_size > 1000
    assert list((folder / "log").glob("events.*"))


def test_evaluation_writes_numbers_and_pictures(trained, tmp_path, capsys):
    trained = shutil.copytree(trained, tmp_path / "ball")
    run("eval", trained, "--baseline-steps", 40, "--device", "cpu")
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["num_train"] == 14
    assert metrics["num_test"] == 2
    for method in ("ours", "textured_mesh"):
        scores = metrics["held_out"][method]
        assert 5 < scores["psnr"] < 60  # 6.9 of ours: 30 steps are less than the warm-up
        assert 5 < scores["psnr_covered"] < 60
        assert -1 <= scores["ssim"] <= 1
    mesh, cameras = uv_sphere(10, 16), ring_cameras(16, WIDTH, HEIGHT)
    covered = make_gbuffer(mesh, cameras[:9:8]).mask
    assert metrics["covered_share"] == pytest.approx(float(covered.float().mean()), abs=1e-3)
    picture = iio.imread(trained / "held_out" / "000.png")
    photo, ours = (picture[:, left : left + WIDTH] / 255.0 for left in (0, WIDTH + 4))
    for name, mask in (("psnr", covered[0] | True), ("psnr_covered", covered[0])):
        error = np.square(photo - ours)[mask.numpy()].mean()
        # 8-bit pictures round: measured 0.01 dB
        assert metrics["per_view"][0]["ours"][name] == pytest.approx(-10 * np.log10(error), abs=0.1)
    assert picture.shape == (HEIGHT, 3 * WIDTH + 8, 3)
    photo = iio.imread(
        Path(json.loads((trained / "config.json").read_text())["source"]["photos"]) / "images" / "00.png"
    )
    assert np.array_equal(picture[:, :WIDTH], photo), "the left picture is the held-out photograph itself"
    assert "textured mesh" in capsys.readouterr().out


def test_a_capture_is_corrected_while_training_and_the_corrections_are_used(thing, tmp_path):
    folder = tmp_path / "ball"
    corrections = ("poses", "lens", "exposure", "shape", "normals")
    words = [word for name in corrections for word in (f"--training.refine-{name}", "True")]
    run("train", thing / "ball.obj", thing / "photos", "-o", folder, "--steps", 16, "--training.warmup-steps", 2,
        *SMALL, *words)  # fmt: skip
    opened = Run.open(folder)
    given, found = opened.load_capture().cameras, opened.load_cameras()
    mesh, moved = opened.load_scene().flatten(), opened.load_mesh(torch.device("cpu"))
    first = opened.load_capture().train_indices
    for before, after in (
        (given[first].w2c, found.w2c),
        (given[first].K, found.K),
        (mesh.verts, moved.verts),
        (mesh.normals, moved.normals),
    ):
        assert before.shape == after.shape
        assert 0 < (before - after).abs().max() < 0.1 * before.abs().max()
    run("eval", folder, "--baseline-steps", 2, "--device", "cpu")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["held_out_poses_refined"] is True
    assert metrics["exposure_refined"] is True
    ours = metrics["held_out"]["ours"]
    assert ours["psnr_covered_corrected"] >= ours["psnr_covered"] - 0.01
    table = metrics_table(metrics)
    assert "their poses refined before they were scored" in str(table.title)
    assert "the same, colour-corrected" in [column.header for column in table.columns]


def test_exposure_and_white_balance_of_new_views(trained, tmp_path, capsys):
    pictures = {}
    for name, words in {"as": (), "up": ("--exposure", 1), "red": ("--white-balance", 0.5, 1, 1)}.items():
        run("render", trained, "--frames", 1, "--device", "cpu", "-o", tmp_path / name, *words)
        pictures[name] = iio.imread(tmp_path / name / "000000.png").astype(float)
    inside = (pictures["as"] > 20) & (pictures["as"] < 150)
    assert inside.sum() > 100
    ratio = (pictures["up"] / pictures["as"].clip(1))[inside]
    assert ratio.mean() == pytest.approx(2 ** (1 / 2.2), rel=0.02)
    before, after = (pictures[name][..., 0] for name in ("as", "red"))
    assert (after / before.clip(1))[(before > 20) & (before < 255)].mean() == pytest.approx(0.5 ** (1 / 2.2), rel=0.02)
    assert (pictures["red"][..., 1:] == pictures["as"][..., 1:]).all()
    assert "above 0" in refused(capsys, "render", trained, "-o", tmp_path / "none", "--white-balance", 0, 1, 1)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("path", ["orbit", "spiral", "train"])
def test_paths_are_rendered_to_videos(trained, tmp_path, path):
    run("render", trained, "--path", path, "-o", tmp_path / "out.mp4", "--frames", 5, "--device", "cpu")
    frames = read_video(tmp_path / "out.mp4").frames
    assert len(frames) == 5
    assert tuple(frames[0].shape) == (HEIGHT, WIDTH, 3)
    assert np.asarray(frames[0]).std() > 5


def test_the_mesh_alone_is_rendered_with_alpha_and_before_a_background(trained, thing, tmp_path):
    words = ["render", trained, "--frames", 3, "--device", "cpu"]
    run(*words, "--alpha", "-o", tmp_path / "cut")
    alpha = np.asarray(Image.open(tmp_path / "cut" / "000001.png"))[..., 3]
    assert (alpha == 0).any()
    assert (alpha == 255).any()
    Image.new("RGB", (90, 50), (250, 0, 250)).save(tmp_path / "pink.png")
    run(*words, "--background", tmp_path / "pink.png", "-o", tmp_path / "over")
    over = np.asarray(Image.open(tmp_path / "over" / "000001.png"))
    assert (over[alpha == 0] == (250, 0, 250)).all()
    cut = np.asarray(Image.open(tmp_path / "cut" / "000001.png"))
    assert (over[alpha == 255] == cut[alpha == 255][:, :3]).all()


def test_a_path_file_is_rendered_to_pictures_of_another_size(trained, thing, tmp_path):
    words = ["render", trained, "--path", thing / "clip.json", "--size", 24, "--device", "cpu"]
    run(*words, "-o", tmp_path / "all")
    assert len(list((tmp_path / "all").glob("*.png"))) == 16
    run(*words, "--smooth", "--frames", 7, "-o", tmp_path / "smooth")
    pictures = sorted((tmp_path / "smooth").glob("*.png"))
    assert len(pictures) == 7
    assert iio.imread(pictures[0]).shape == (18, 24, 3)


def test_resuming_gives_the_same_model_and_refuses_other_settings(thing, trained, tmp_path, capsys, monkeypatch):
    words = ["train", thing / "ball.obj", thing / "photos", "-o", tmp_path / "ball", "--steps", 30, *SMALL]
    from neuraltex.training.trainer import Trainer

    whole_save = Trainer.save

    def killed(self):
        whole_save(self)
        if self.step >= 11:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "save", killed)
    with pytest.raises(SystemExit):
        run(*words, "--training.save-minutes", 0)
    monkeypatch.setattr(Trainer, "save", whole_save)
    assert not (tmp_path / "ball" / "model.safetensors").exists()
    assert "finish it with neuraltex train --resume" in refused(capsys, "eval", tmp_path / "ball")
    assert "was 48" not in refused(capsys, *words)
    assert "shading.texture_levels (was 4, now 3)" in refused(capsys, *words, "--resume", "--shading.texture-levels", 3)
    run(*words, "--resume")
    resumed, _ = load_tensors(tmp_path / "ball" / "model.safetensors")
    whole, _ = load_tensors(trained / "model.safetensors")
    for name, values in whole.items():
        assert torch.equal(values, resumed[name]), name


def test_held_out_views_may_come_from_another_capture(thing, tmp_path):
    folder = tmp_path / "ball"
    run("train", thing / "ball.obj", thing / "clip.mp4", "--cameras", thing / "clip.json", "--held-out",
        thing / "photos", "-o", folder, "--steps", 2, *SMALL)  # fmt: skip
    run("eval", folder, "--baseline-steps", 2, "--device", "cpu")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["num_train"], metrics["num_test"]) == (16, 16)
    photo = iio.imread(thing / "photos" / "images" / "05.png")
    assert np.array_equal(iio.imread(folder / "held_out" / "005.png")[:, :WIDTH], photo)


def test_info_lists_the_parts(thing, capsys):
    run("info", thing / "ball.obj")
    assert "ball" in capsys.readouterr().out


def test_info_draws_each_part(thing, tmp_path, capsys):
    lines = (thing / "ball.obj").read_text().splitlines(keepends=True)
    (tmp_path / "two.obj").write_text("".join([*lines[:-140], "o a/b lid\n", *lines[-140:]]))
    run("info", tmp_path / "two.obj", "--pictures", tmp_path / "parts")
    assert "2 pictures" in capsys.readouterr().out
    files = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert files == ["00_ball.png", "01_a_b_lid.png"]
    ball, lid = (iio.imread(tmp_path / "parts" / name).astype(int) for name in files)
    assert ball.shape == (480, 480, 3)
    orange = [picture[..., 0] - picture[..., 2] > 60 for picture in (ball, lid)]
    assert (ball[0] == 255).all()
    covered = (ball < 250).any(axis=-1)
    # Together they are the ball; along its outline colours are blended with white: measured 0.989
    assert (orange[0] | orange[1])[covered].mean() > 0.97
    assert 0.1 < (orange[0] & ~orange[1])[covered].mean() < 0.9
    (tmp_path / "bare.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    bare = ("info", tmp_path / "bare.obj", "--unwrap", "never", "--pictures", tmp_path / "none")
    assert "unwrap='missing'" in refused(capsys, *bare)
    assert not (tmp_path / "none").exists()
    assert "holds something already" in refused(capsys, "info", tmp_path / "two.obj", "--pictures", tmp_path / "parts")


def test_every_command_has_help(capsys):
    for command in ("doctor", "demo", "info", "reconstruct", "prepare", "align", "train", "eval", "render", "edit"):
        with pytest.raises(SystemExit) as caught:
            run(command, "--help")
        assert caught.value.code == 0
        assert len(capsys.readouterr().out) > 300


def test_bad_input_is_one_sentence_and_leaves_nothing_behind(thing, trained, tmp_path, capsys):
    obj, photos, out = thing / "ball.obj", thing / "photos", tmp_path / "run"
    broken = tmp_path / "broken.obj"
    broken.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    junk = tmp_path / "junk.json"
    junk.write_text('{"frames": [}')
    cases = [
        (["train", tmp_path / "no.obj", photos, "-o", out], "no.obj"),
        (["train", broken, photos, "-o", out], "broken.obj, line 4"),
        (["train", obj, tmp_path / "no.mp4", "-o", out], "no.mp4: does not exist"),
        (["train", obj, thing / "clip.mp4", "--cameras", junk, "-o", out], "junk.json, line 1: is not valid JSON"),
        (["train", obj, photos, "-o", out, "--steps", 3, "--minutes", 1], "either --steps or --minutes"),
        (["train", obj, photos, "-o", out, "--size", 4], "--size 4"),
        (["train", obj, photos, "-o", out, "--device", "tpu9"], "--device tpu9"),
        (["train", obj, photos, "-o", out, "--shading.texture-levels", 12], "texture_size: expected"),
        (["train", obj, photos, "-o", trained], "holds a run already"),
        (["train", obj, thing / "clip.mp4", "-o", trained], "holds a run already"),
        (["eval", tmp_path], "is not a run folder"),
        (["render", trained, "-o", tmp_path / "a.gif"], "a.gif"),
        (["render", trained, "--alpha", "-o", tmp_path / "a.mp4"], "with alpha"),
        (["render", trained, "--alpha", "--background", tmp_path / "b.png", "-o", tmp_path / "a"], "give one of them"),
        (["render", trained, "--background", tmp_path / "b.mp4", "-o", tmp_path / "a.mp4"], "b.mp4"),
        (["render", trained, "--path", "zigzag", "-o", tmp_path / "a.mp4"], "zigzag"),
        (["render", trained, "--path", tmp_path / "none.json", "-o", tmp_path / "a.mp4"], "none.json"),
        (["render", trained, "--frames", 0, "-o", tmp_path / "a.mp4"], "--frames 0"),
        (["render", trained, "--finer", 0, "-o", tmp_path / "a.mp4"], "--finer 0"),
    ]
    before = sorted(p.name for p in tmp_path.iterdir())
    for words, expected in cases:
        assert expected in refused(capsys, *words), words
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("config.json", "{", "config.json, line 1: is not valid JSON"),
        ("config.json", "[]", "does not hold the settings of a run"),
        ("model.safetensors", "garbage", "is not a checkpoint of neuraltex or was cut short"),
        ("scene.safetensors", "garbage", "scene.safetensors"),
        ("cameras.safetensors", "", "is not a checkpoint of neuraltex or was cut short"),
    ],
)
def test_a_damaged_run_folder_names_the_file(trained, tmp_path, capsys, file, content, expected):
    for path in trained.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).write_text(content)
    assert expected in refused(capsys, "render", tmp_path, "-o", tmp_path / "a.mp4", "--frames", 2)
    assert not (tmp_path / "a.mp4").exists()
