"""Two videos of small heads: tracked, learned, reenacted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuraltex.capture import load_capture, read_image
from neuraltex.cli import main
from neuraltex.errors import InputError, SettingError
from neuraltex.evaluation.metrics import psnr
from neuraltex.reenactment import FitConfig, Track, carry_over, load_rig, track_video
from neuraltex.reenactment.reenact import composite, reenact
from neuraltex.reenactment.rig import TRANSPARENT
from neuraltex.training import Run
from tests.reenactment.faces import FRAMES, HEIGHT, WIDTH, film, small_rig
from tests.test_examples import run_example

CPU = torch.device("cpu")
FIT = FitConfig(start_steps=20, follow_steps=8, joint_steps=80, size=48)
# Of the neutral head.
HEAD_WIDTH = 1.6


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Rig, and the truth and the frames of two people."""
    folder = tmp_path_factory.mktemp("actors")
    rig = small_rig(folder)
    return rig, {name: film(rig, seed, folder / name) for seed, name in ((1, "target"), (2, "driving"))}


@pytest.fixture(scope="module")
def tracks(filmed, tmp_path_factory):
    """Track folders: of one person by landmarks too, of the other by nothing but the video."""
    rig, people = filmed
    folder = tmp_path_factory.mktemp("tracks")
    truth = people["target"][0]
    verts = np.arange(0, len(rig.neutral) - 3, 7)
    pixels = truth.project(truth.verts(torch.arange(FRAMES)), HEIGHT, WIDTH)[:, verts].detach().numpy().copy()
    pixels[:, rig.neutral[verts, 2].numpy() < 0.2] = np.nan
    np.savez(folder / "landmarks.npz", landmarks=pixels, landmark_verts=verts)
    marks = {"target": folder / "landmarks.npz", "driving": None}
    return {
        name: track_video(
            rig,
            frames,
            folder / name,
            device=CPU,
            leave_out=TRANSPARENT,
            config=FIT,
            fov_deg=30.0,
            landmarks=marks[name],
        )
        for name, (_, frames) in people.items()
    }


@pytest.fixture(scope="module")
def run(tracks, tmp_path_factory):
    """The target's neural texture."""
    folder = tmp_path_factory.mktemp("run") / "run"
    target = tracks["target"].folder
    words = ["train", str(target / "mesh.obj"), str(target), "-o", str(folder), "--steps", "150", "--device", "cpu"]
    main([*words, "--shading.texture-size", "64", "--shading.detail", "--shading.detail-size", "16"])
    return Run.open(folder)


@torch.no_grad()
def measured(rig, truth, found):
    """Error of the front's vertices in pixels, and of its expressions relative to what they move."""
    verts = truth.verts(torch.arange(FRAMES)).detach()
    ours = found.verts(rig, found.expression, found.matrices)
    front = rig.neutral[:, 2] > 0.1
    pixels = (truth.project(ours, HEIGHT, WIDTH) - truth.project(verts, HEIGHT, WIDTH)).norm(dim=-1)[:, front].mean()
    expression = (truth.expression.weight - truth.expression.weight[0]).detach()
    deltas = rig.expression_deltas.flatten(1)
    off, moved = ((e @ deltas).norm() for e in (found.expression - found.neutral - expression, expression))
    return float(pixels), float(off / moved)


def test_tracking_finds_pose_and_expression(filmed, tracks):
    rig, people = filmed
    pixels, relative = measured(rig, people["target"][0], tracks["target"])
    assert pixels < 0.5, pixels  # measured 0.25
    assert relative < 0.25, relative  # measured 0.11
    # By the video alone. On an egg of any colours turning and moving its colours along look alike.
    pixels, relative = measured(rig, people["driving"][0], tracks["driving"])
    assert pixels < 2.5, pixels  # measured 1.2
    assert relative < 0.6, relative  # measured 0.35


def test_a_track_is_a_capture_of_a_mesh_in_motion(tracks):
    track = tracks["target"]
    opened = Track.open(track.folder)
    for name in ("identity", "expression", "matrices", "errors"):
        assert torch.equal(getattr(opened, name), getattr(track, name))
    assert opened.names == track.names
    capture = load_capture(track.folder)
    assert capture.images.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert capture.masks is not None
    assert bool(capture.masks.any())
    assert torch.equal(capture.cameras.w2c, track.camera.w2c.expand(FRAMES, 4, 4))
    assert read_image(track.folder / "report.png").rgb.shape == (FRAMES * HEIGHT, 3 * WIDTH, 3)


def test_zero_strength_is_the_calm_target(tracks):
    target, driving = tracks["target"], tracks["driving"]
    calm = carry_over(target, driving, strength=0.0)
    assert torch.equal(calm.expression, target.neutral.expand(FRAMES, -1))
    assert torch.equal(calm.matrices, target.matrices)


def test_ones_own_track_is_ones_own_performance(tracks):
    target = tracks["target"]
    for pose in ("target", "driving"):
        own = carry_over(target, target, pose=pose)
        # measured 0 and 5e-7: an inverse times itself
        assert torch.allclose(own.expression, target.expression, atol=1e-6)
        assert torch.allclose(own.matrices, target.matrices, atol=1e-4)


def test_only_what_differs_from_the_calm_face_is_carried_over(tracks):
    target, driving = tracks["target"], tracks["driving"]
    # Far from 0 and 1, where coefficients end.
    weak = replace(driving, expression=0.3 * driving.expression)
    other = replace(weak, expression=weak.expression + 0.2)
    # measured 6e-8: the order of the sum
    assert torch.allclose(carry_over(target, other).expression, carry_over(target, weak).expression, atol=1e-5)
    own = replace(target, expression=0.3 * target.expression + 0.2)
    difference = carry_over(own, weak).expression - (weak.expression - weak.neutral)
    assert torch.allclose(difference, own.neutral.expand(FRAMES, -1), atol=1e-5)


def test_expressions_are_matched_by_name(tracks):
    target, driving = tracks["target"], tracks["driving"]
    swapped = replace(driving, expression=driving.expression.flip(1), names=driving.names[::-1])
    assert torch.equal(carry_over(target, swapped).expression, carry_over(target, driving).expression)
    fewer = replace(driving, expression=driving.expression[:, :1], names=driving.names[:1])
    assert torch.equal(carry_over(target, fewer).expression[:, 1:], target.neutral[1:].expand(FRAMES, -1))
    with pytest.raises(InputError, match="no expression in common"):
        carry_over(target, replace(driving, names=("a", "b", "c")))


def test_reenactment_with_ones_own_track_reproduces_the_video(run, tracks, tmp_path):
    target = tracks["target"]
    assert run.config.shading.detail
    assert run.config.shading.num_conditions == 3
    assert reenact(run, target.folder, tmp_path / "own", CPU, behind="plate") == FRAMES
    ours, theirs = (
        torch.stack([torch.from_numpy(read_image(path).rgb).float() / 255 for path in sorted(folder.glob("*.png"))])
        for folder in (tmp_path / "own", target.folder / "images")
    )
    assert psnr(ours, theirs) > 22, psnr(ours, theirs)


def test_the_command_writes_a_video(run, tracks, tmp_path, capsys):
    words = [str(run.folder), str(tracks["driving"].folder), "-o", str(tmp_path / "out.mp4"), "--device", "cpu"]
    main(["reenact", *words, "--pose", "driving"])
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert f"{FRAMES} frames" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["reenact", *words, "--pose", "driving", "--behind", "frames"])
    assert "use --behind plate" in capsys.readouterr().err


def test_a_rim_is_taken_off_before_blending():
    rgba = torch.zeros(9, 9, 4, dtype=torch.uint8)
    rgba[2:7, 2:7] = 255
    background = torch.full((9, 9, 3), 50, dtype=torch.uint8)
    plain, eroded = composite(rgba, background, erode=0), composite(rgba, background)
    assert torch.equal(plain[2:7, 2:7], torch.full((5, 5, 3), 255, dtype=torch.uint8))
    assert bool((plain[:2] == 50).all())
    assert bool((eroded[:2] == 50).all())
    assert 50 < int(eroded[2, 4, 0]) < int(eroded[3, 4, 0]) < 255
    assert int(eroded[4, 4, 0]) == 255


def test_bad_input_is_told(filmed, tracks, tmp_path):
    rig, people = filmed
    frames = people["target"][1]
    options = {"device": CPU, "leave_out": TRANSPARENT, "config": FIT}
    with pytest.raises(InputError, match="exists already"):
        track_video(rig, frames, tracks["target"].folder, **options)
    with pytest.raises(SettingError, match="--calm 8: expected a frame of the video, 0 to 7"):
        track_video(rig, frames, tmp_path / "new", calm=8, **options)
    with pytest.raises(SettingError, match="expected left, top and right"):
        track_video(rig, frames, tmp_path / "new", box=(5, 3, 5), **options)
    np.savez(tmp_path / "marks.npz", landmarks=np.zeros((2, 3, 2)), landmark_verts=np.arange(3))
    with pytest.raises(InputError, match="8 x 3 x 2 numbers"):
        track_video(rig, frames, tmp_path / "new", landmarks=tmp_path / "marks.npz", **options)
    with pytest.raises(InputError, match="is no track folder"):
        Track.open(tmp_path)
    assert not (tmp_path / "new").exists()


def test_the_rig_travels_with_the_track(tracks):
    rig = load_rig(tracks["target"].folder / "rig.npz")
    assert rig.expression_names == tracks["target"].names


def test_the_example_runs(filmed, tmp_path, capsys):
    _, people = filmed
    rig_file = people["target"][1].parent / "rig.npz"
    run_example("07_reenact.py", rig_file, people["target"][1], people["driving"][1], tmp_path / "out", 6)
    assert (tmp_path / "out" / "reenacted.mp4").stat().st_size > 0
    assert "up to 0." in capsys.readouterr().out
