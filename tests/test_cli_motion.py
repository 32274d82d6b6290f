"""A mesh that moves, on the command line: photographs of a twisting ball to pictures of new motions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from neuraltex.cameras.nerfstudio import w2c_to_opengl
from neuraltex.capture import write_image
from neuraltex.geometry import Motion, load_scene
from neuraltex.training import Run
from tests.ball import SMALL, refused, run, write_obj
from tests.geometry.test_motion import bent
from tests.scenes import ring_cameras
from tests.training.test_moving import moving_capture, swaying

COUNT = 12


@pytest.fixture(scope="module")
def twisting(tmp_path_factory) -> Path:
    """A folder with a ball, photographs of it in 12 poses, and its motion as OBJ files and as an archive."""
    folder = tmp_path_factory.mktemp("twisting")
    moving = swaying(COUNT)
    write_obj(folder / "ball.obj", moving.poser.rest)
    capture = moving_capture(moving, COUNT)
    cameras = ring_cameras(COUNT, 60, 44)
    K = cameras.K[0]
    head = {"w": 60, "h": 44, "fl_x": float(K[0, 0]), "fl_y": float(K[1, 1])}
    head |= {"cx": float(K[0, 2]), "cy": float(K[1, 2])}
    frames = []
    for i, image in enumerate(capture.images.numpy()):
        mask = capture.masks[i].numpy().astype(np.uint8) * 255
        write_image(folder / "photos" / f"{i:02d}.png", np.dstack([image, mask]))
        matrix = w2c_to_opengl(cameras.w2c[i].double()).tolist()
        frames.append({"file_path": f"{i:02d}.png", "transform_matrix": matrix})
    (folder / "photos" / "transforms.json").write_text(json.dumps({**head, "frames": frames}))
    np.savez(folder / "motion.npz", verts=moving.verts.numpy(), fps=10.0)
    (folder / "frames").mkdir()
    for i, mesh in enumerate(moving.meshes(torch.arange(COUNT))):
        write_obj(folder / "frames" / f"{i:03d}.obj", mesh)
    return folder


@pytest.fixture(scope="module")
def trained(twisting, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ball"
    run("train", twisting / "ball.obj", twisting / "photos", "--motion", twisting / "frames", "-o", folder, "--steps",
        12, *SMALL)  # fmt: skip
    return folder


def pictures(folder: Path) -> list[np.ndarray]:
    return [iio.imread(path).astype(int) for path in sorted(folder.glob("*.png"))]


def rendered(run_folder: Path, output: Path, *words: object) -> list[np.ndarray]:
    run("render", run_folder, "--path", "orbit", "--frames", 3, "--device", "cpu", "-o", output, *words)
    return pictures(output)


def test_a_run_holds_its_motion_and_is_scored_in_its_own_poses(twisting, trained, capsys):
    opened = Run.open(trained)
    captured = opened.load_motion()
    assert captured.frames.tolist() == list(range(COUNT))
    # written with 6 digits
    assert (captured.motion.verts - torch.from_numpy(np.load(twisting / "motion.npz")["verts"])).abs().max() < 1e-6
    run("eval", trained, "--against", "paper,lumigraph", "--steps", 1, "--baseline-steps", 10, "--device", "cpu")
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["methods"]["paper"]["train_steps"] == 1
    # Photographs are laid on the poses that they show: measured 29.5 dB, and 9 of the run itself.
    assert metrics["held_out"]["lumigraph"]["psnr_covered"] > 24
    masks = moving_capture(swaying(COUNT), COUNT).masks
    assert metrics["num_test"] == 2
    # The mesh covers what is seen in each view: its own pose was scored.
    covered = masks[[0, 8]].float().mean()
    assert metrics["covered_share"] == pytest.approx(float(covered), abs=2e-3)
    assert "mesh moves" in refused(capsys, "eval", trained, "--steady", twisting / "photos", "--device", "cpu")


def test_a_capture_folder_with_its_motion_needs_no_flag(twisting, trained, tmp_path):
    shutil.copytree(twisting / "photos", tmp_path / "photos")
    scene = load_scene(twisting / "ball.obj")
    Motion(torch.from_numpy(np.load(twisting / "motion.npz")["verts"]), 10.0).save(
        tmp_path / "photos/motion.safetensors"
    )
    run("train", twisting / "ball.obj", tmp_path / "photos", "-o", tmp_path / "run", "--steps", 2, *SMALL)
    found, flagged = Run.open(tmp_path / "run").load_motion(), Run.open(trained).load_motion()
    assert found.motion.fps == 10.0
    assert (found.motion.onto(scene).verts - flagged.motion.onto(scene).verts).abs().max() < 1e-6


def test_any_motion_is_rendered(twisting, trained, tmp_path):
    own = rendered(trained, tmp_path / "own")
    frozen = rendered(trained, tmp_path / "frozen", "--freeze", 1)
    verts = torch.from_numpy(np.load(twisting / "motion.npz")["verts"])
    np.savez(tmp_path / "held.npz", verts=verts[1:2].numpy())
    held = rendered(trained, tmp_path / "held", "--motion", tmp_path / "held.npz")
    assert len(own) == len(frozen) == len(held) == 3
    assert all((a == b).all() for a, b in zip(frozen, held, strict=True)), "a motion of one frame is held"
    # Frame 1 of 30 a second shows frame 1 of the training motion, whose files tell no rate of their own.
    assert (own[1] == frozen[1]).all()
    assert (own[2] != frozen[2]).any()
    np.savez(tmp_path / "two.npz", verts=torch.stack([verts[1], bent(verts[1], 2.0)]).numpy(), fps=30.0)
    looped = rendered(trained, tmp_path / "looped", "--motion", tmp_path / "two.npz", "--loop")
    assert (looped[2] == frozen[2]).all()
    assert (looped[1] != frozen[1]).any()


def test_a_run_on_a_resting_mesh_can_be_moved(twisting, tmp_path, capsys):
    folder = tmp_path / "rest"
    run("train", twisting / "ball.obj", twisting / "photos", "-o", folder, "--steps", 2, *SMALL)
    assert Run.open(folder).load_motion() is None
    still = rendered(folder, tmp_path / "still")
    moved = rendered(folder, tmp_path / "moved", "--motion", twisting / "motion.npz", "--fps", 10)
    # Frame 0 of the sway is the resting mesh.
    assert (abs(still[0] - moved[0]) <= 1).all()
    assert abs(still[1] - moved[1]).max() > 20
    words = ["render", folder, "--frames", 2, "--device", "cpu", "-o", tmp_path / "none"]
    assert "was trained on a mesh at rest; give a --motion" in refused(capsys, *words, "--freeze", 0)


def test_bad_motions_leave_one_sentence_and_no_run(twisting, trained, tmp_path, capsys):
    verts = np.load(twisting / "motion.npz")["verts"]
    np.savez(tmp_path / "short.npz", verts=verts[:-1])
    np.savez(tmp_path / "other.npz", verts=verts[:, :-1])
    train = ["train", twisting / "ball.obj", twisting / "photos", "-o", tmp_path / "run", "--steps", 2, *SMALL]
    assert "show frames up to 11" in refused(capsys, *train, "--motion", tmp_path / "short.npz")
    vertices = f"holds {verts.shape[1] - 1} vertices, the mesh ball.obj has {verts.shape[1]}"
    assert vertices in refused(capsys, *train, "--motion", tmp_path / "other.npz")
    assert "does not exist" in refused(capsys, *train, "--motion", tmp_path / "none")
    assert "--motion-fps 0.0: expected" in refused(capsys, *train, "--motion-fps", 0)
    assert not (tmp_path / "run").exists()
    render = ["render", trained, "--frames", 2, "--device", "cpu", "-o", tmp_path / "out"]
    assert vertices in refused(capsys, *render, "--motion", tmp_path / "other.npz")
    assert "--freeze 12: expected a frame of the motion, 0 to 11" in refused(capsys, *render, "--freeze", 12)
    assert not (tmp_path / "out").exists()


def test_resuming_goes_on_with_the_runs_own_motion(twisting, trained, tmp_path, capsys):
    folder = tmp_path / "ball"
    words = ["train", twisting / "ball.obj", twisting / "photos", "-o", folder, *SMALL, "--motion"]
    run(*words, twisting / "motion.npz", "--steps", 2)
    run(*words, twisting / "motion.npz", "--steps", 4, "--resume")
    assert Run.open(folder).load_model(torch.device("cpu"))[1]["step"] == 4
    assert "source.motion" in refused(capsys, *words, twisting / "frames", "--steps", 4, "--resume")
