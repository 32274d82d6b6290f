"""Which frames of a video are kept: sharp ones that see something new."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from neuraltex.capture.solve.choose import choose_frames, sharpness
from tests.capture.studio import blotches


def panning(count: int, *, pixels: float = 4.0) -> np.ndarray:
    """A window of 160x120 that moves over a texture."""
    texture = (blotches(640)[..., 1] * 255).astype(np.uint8)
    shifts = [np.array([[1, 0, -pixels * k], [0, 1, -40.0]]) for k in range(count)]
    return np.stack([cv2.warpAffine(texture, shift, (160, 120)) for shift in shifts])


def test_sharpness_falls_with_blur_and_ignores_contrast():
    frame = panning(1)[0]
    blurred = cv2.GaussianBlur(frame, (0, 0), 2.0)
    dim = (frame * 0.5 + 20).astype(np.uint8)
    assert sharpness(blurred) < 0.2 * sharpness(frame)
    assert sharpness(dim) == pytest.approx(sharpness(frame), rel=0.1)
    assert sharpness(np.zeros((4, 4), np.uint8)) == 0.0


def test_blurred_frames_are_dropped():
    frames = panning(30)
    blurred = (4, 5, 11, 20)
    for k in blurred:
        frames[k] = cv2.GaussianBlur(frames[k], (0, 0), 3.0)
    chosen = choose_frames(frames, most=100)
    assert not set(chosen) & set(blurred)
    assert len(chosen) == 26


def test_blurred_duplicates_lose_against_their_sharp_twins():
    sharp = panning(12, pixels=6)
    frames = np.repeat(sharp, 2, axis=0)
    frames[::2] = [cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in frames[::2]]
    chosen = choose_frames(frames, most=100)
    assert chosen[1:] == [2 * k + 1 for k in range(1, 12)]


def test_a_standing_camera_gives_one_frame():
    frames = np.repeat(panning(1), 20, axis=0)
    noisy = frames + np.random.default_rng(0).integers(0, 3, frames.shape).astype(np.uint8)
    assert len(choose_frames(noisy, most=100)) == 1


def test_a_pause_is_passed_over():
    moving = panning(20)
    frames = np.concatenate([moving[:10], np.repeat(moving[9:10], 30, axis=0), moving[10:]])
    chosen = choose_frames(frames, most=100)
    assert not [k for k in chosen if 10 <= k < 39]
    assert len(chosen) == 20


def test_frames_spread_over_the_motion_not_the_clock():
    """The second half moves three times as fast, so it gets three quarters of the frames."""
    slow, fast = panning(61, pixels=1.0), panning(81, pixels=3.0)[20:]
    frames = np.concatenate([slow, fast[1:]])
    chosen = choose_frames(frames, most=24)
    assert 16 <= len(chosen) <= 24
    in_fast = sum(k >= 60 for k in chosen) / len(chosen)
    assert 0.65 < in_fast < 0.85


def test_too_few_are_refused():
    with pytest.raises(ValueError, match="most: expected at least 2, got 1"):
        choose_frames(panning(3), most=1)
