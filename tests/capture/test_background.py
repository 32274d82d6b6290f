"""Backgrounds fill the frame, follow the path, and show where nothing covers them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neuraltex.capture import load_background, put_before, write_image, write_video
from neuraltex.errors import InputError


def striped(height: int, width: int) -> np.ndarray:
    """Red left, green in the middle, blue right, a third each."""
    picture = np.zeros((height, width, 3), np.uint8)
    for channel, columns in enumerate(np.array_split(np.arange(width), 3)):
        picture[:, columns, channel] = 200
    return picture


def test_a_picture_fills_the_frame_and_is_cut_off_evenly(tmp_path: Path):
    write_image(tmp_path / "b.png", striped(40, 120))
    found = load_background(tmp_path / "b.png", 5, 20, 20).numpy()
    # 120 x 40 becomes 60 x 20, of which the middle third is left.
    assert found.shape == (1, 20, 20, 3)
    assert (found[0, :, 1:-1] == [0, 200, 0]).all()


def test_frames_of_a_video_follow_the_path(tmp_path: Path):
    frames = np.stack([np.full((32, 48, 3), 30 * i + 20, np.uint8) for i in range(6)])
    write_video(tmp_path / "b.mp4", frames, 10)
    found = load_background(tmp_path / "b.mp4", 4, 24, 16)
    assert found.shape == (4, 16, 24, 3)
    brightness = found.float().mean(dim=(1, 2, 3))
    assert (brightness - torch.tensor([20.0, 50, 80, 110])).abs().max() < 3  # measured 1
    with pytest.raises(InputError, match="the video has 6 frames, the camera path 7; give a longer video"):
        load_background(tmp_path / "b.mp4", 7, 24, 16)


def test_what_is_not_a_picture_is_refused_by_name(tmp_path: Path):
    (tmp_path / "b.png").write_text("no")
    with pytest.raises(InputError, match=r"b\.png"):
        load_background(tmp_path / "b.png", 1, 8, 8)
    with pytest.raises(InputError, match=r"missing\.mp4"):
        load_background(tmp_path / "missing.mp4", 1, 8, 8)


def test_the_background_shows_by_what_alpha_leaves():
    rgba = torch.tensor([[[200, 100, 0, 255], [200, 100, 0, 51], [200, 100, 0, 0]]], dtype=torch.uint8)
    behind = torch.full((1, 3, 3), 100, dtype=torch.uint8)
    assert put_before(rgba, behind).tolist() == [[[200, 100, 0], [120, 100, 80], [100, 100, 100]]]
