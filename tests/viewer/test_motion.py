"""A run whose mesh moved: its first pose, any other by the slider, and photographs in their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from neuraltex.cameras import Camera, CameraPath
from neuraltex.geometry import Motion
from neuraltex.rendering import render_run
from neuraltex.shading import Shader
from neuraltex.training import Run
from neuraltex.training.checkpoint import load_tensors, save_tensors
from neuraltex.viewer.cameras import camera_to_viser, viser_to_camera
from neuraltex.viewer.painter import DIFFERENCE_GAIN, Painter, View
from neuraltex.viewer.parts import MovableScene
from neuraltex.viewer.server import make_painter
from tests.ball import SMALL
from tests.ball import run as run_command
from tests.test_cli_motion import COUNT, twisting  # noqa: F401 - a fixture
from tests.viewer.browser import wait_for
from tests.viewer.conftest import paint
from tests.viewer.test_server import CLEAR, Seen

CPU = torch.device("cpu")
WIDTH, HEIGHT = 60, 44


@pytest.fixture(scope="module")
def moving(twisting, tmp_path_factory) -> Path:  # noqa: F811
    """Trained with corrections, so that the surface is not the file's."""
    folder = tmp_path_factory.mktemp("runs") / "moving"
    run_command("train", twisting / "ball.obj", twisting / "photos", "--motion", twisting / "motion.npz", "-o", folder,
        "--steps", 12, *SMALL, "--training.refine-shape", "True", "--training.refine-normals", "True")  # fmt: skip
    paint(folder)
    # So few steps correct next to nothing.
    corrections, told = load_tensors(folder / "refinement.safetensors")
    save_tensors(folder / "refinement.safetensors", {**corrections, "verts": corrections["verts"] * 1.1}, told)
    return folder


def frozen(run: Run, camera: Camera, frame: int, output: Path) -> np.ndarray:
    """What `neuraltex render --freeze` writes."""
    render_run(run, CameraPath(Camera.stack([camera]), 30.0), output, CPU, freeze=frame)
    return next(iio.imread(path) for path in output.glob("*.png")).astype(int)


def test_pictures_are_those_of_render_in_every_pose_and_photographs_have_their_own(moving, tmp_path):
    run = Run.open(moving)
    painter, captured = make_painter(run, CPU), run.load_motion()
    browser = camera_to_viser(run.load_cameras()[4])
    camera, view = viser_to_camera(browser, WIDTH, HEIGHT), View(browser)
    shown = {}
    for frame in (0, 7):
        if frame:
            painter.scene.seek(frame)
        shown[frame] = painter(view, WIDTH).rgb.astype(int)
        # Vertices go through float64 and back: measured 0
        assert np.abs(shown[frame] - frozen(run, camera, frame, tmp_path / str(frame))).max() <= 2
    assert np.abs(shown[0] - shown[7]).max() > 30
    row = int(run.load_capture().train_indices[4])
    own = int(captured.frames[row])
    assert own not in (0, 7)
    photo = painter(View(browser, "photograph"), WIDTH)
    assert photo.note.endswith(f", frame {own} of the motion")
    apart = painter(View(browser, "difference"), WIDTH).rgb.astype(int)
    expected = np.abs(frozen(run, camera, own, tmp_path / "own") - photo.rgb) * DIFFERENCE_GAIN
    counted = painter.photographs.seen_by(4, camera)[1]
    assert counted.any()
    assert np.abs(apart - (expected.clip(0, 255) * counted[..., None])).max() <= 2 * DIFFERENCE_GAIN
    assert np.abs(painter(view, WIDTH).rgb - shown[7]).max() == 0, "the slider's pose is shown again"


def test_detail_that_depends_on_the_motions_numbers_is_shown_in_every_mode(moving):
    run = Run.open(moving)
    still = run.load_motion().motion.verts[:1].expand(2, -1, -1)  # what differs is the detail alone
    motion = Motion(still, conditions=torch.tensor([[-2.0], [2.0]]))
    shader = Shader(replace(run.config.shading, detail=True, detail_size=8, num_conditions=1))
    torch.nn.init.normal_(shader.detail.bases)
    photographs = make_painter(run, CPU).photographs
    painter = Painter(MovableScene(run.load_scene(), motion=motion), shader, photographs)
    browser = camera_to_viser(run.load_cameras()[4])
    for mode in ("neuraltex", "texture"):
        pictures = []
        for frame in (0, 1):
            painter.scene.seek(frame)
            pictures.append(painter(View(browser, mode), WIDTH).rgb.astype(int))
        assert np.abs(pictures[0] - pictures[1]).max() > 10, mode


@pytest.mark.browser
def test_the_slider_of_the_page_scrubs_the_motion(moving, tmp_path):
    seen = Seen(moving, tmp_path / "profile")
    try:
        wait_for(lambda: bool(seen.shown), "the first picture")
        first = seen.settled()
        assert seen.agrees(first) < 1.5
        slider = f'document.querySelector(\'[role="slider"][aria-valuemax="{COUNT - 1}"]\')'
        place = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({slider}.getBoundingClientRect())"
        x, y = seen.browser.run(place)
        seen.browser.drag((x, y), (x + 52, y), steps=6)
        wait_for(lambda: seen.viewer.painter.scene.frame == 4, "the slider to arrive")
        moved = seen.settled()
        assert np.abs(moved.rgb.astype(float) - first.rgb)[CLEAR].mean() > 2.0  # measured 5.6 and 6.9
        assert seen.agrees(moved) < 1.5
    finally:
        seen.close()
