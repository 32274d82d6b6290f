"""Which frames of a video are worth solving: sharp ones, each a little further along than the last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuraltex.capture.resize import fitted_size
from neuraltex.capture.video import probe_video, read_video
from neuraltex.errors import InputError

# Longer side of the gray pictures that sharpness and motion are measured on.
PREVIEW_SIZE = 320
# Most previews held at once; of longer videos every second, third, ... frame is looked at.
MOST_PREVIEWS = 3000
# A frame less sharp than this share of its neighbours' median is blurred.
BLURRED_SHARE = 0.4
# Motion below this share of the longer side is a standing camera (about a pixel of a preview).
LEAST_STEP = 0.003
# Tracking tells nothing any more when fewer points than this survive.
FEWEST_TRACKS = 12

Gray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Preview:
    """A video seen small, in gray.

    Args:
        frames: `[N, h, w]` uint8.
        indices: which frame of the video each one is.
        seconds: time of each.
    """

    frames: npt.NDArray[np.uint8]
    indices: tuple[int, ...]
    seconds: tuple[float, ...]


def preview_video(path: Path) -> Preview:
    """Decode a video once, small and gray.

    Raises:
        InputError: as `read_video`, or the video holds one frame only.
    """
    import cv2

    info = probe_video(path)
    every = max(1, -(-info.num_frames // MOST_PREVIEWS))
    size = fitted_size(info.width, info.height, PREVIEW_SIZE)
    frames: list[Gray] = []

    def collect(rgb: npt.NDArray[np.uint8], index: int) -> None:
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        frames.append(np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))

    video = read_video(path, every=every, collect=collect)
    if video.num_frames < 2:
        raise InputError(
            path, "the video has one frame, and depth needs at least two views", hint="film around the object"
        )
    return Preview(np.stack(frames), video.indices, video.seconds)


def sharpness(gray: Gray) -> float:
    """Variance of the Laplacian over the variance of the picture, so that contrast and exposure fall out.

    Args:
        gray: `[h, w]` uint8.

    Returns:
        About 0.001 where everything is smeared, 0.1 and more where edges are crisp; 0 for a picture of one colour.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy", for the variance of the
    Laplacian.
    """
    import cv2

    contrast = float(gray.var())
    return float(cv2.Laplacian(gray, cv2.CV_32F).var()) / contrast if contrast > 1e-6 else 0.0


def choose_frames(frames: npt.NDArray[np.uint8], *, most: int) -> list[int]:
    """Frames that are sharp and see something new, in order.

    From each kept frame points are tracked onwards. The next one kept is the sharpest of those the picture moved to
    by about one step, and none that is much less sharp than its neighbours, nor one the camera stood still for.
    A step is what spreads `most` frames over the motion of the whole video, and never less than about a pixel.

    Args:
        frames: `[N, h, w]` uint8 gray previews.
        most: how many to keep at most.

    Returns:
        Positions in `frames`, increasing; the first sharp one is always among them.

    Raises:
        ValueError: `most` is below 2.
    """
    if most < 2:
        raise ValueError(f"most: expected at least 2, got {most}")
    sharp = np.array([sharpness(frame) for frame in frames])
    usable = sharp >= BLURRED_SHARE * _local_median(sharp, reach=7)
    path = sum(_motion(frames[i], frames[i + 1]) for i in range(len(frames) - 1))
    # A few percent are lost where the sharpest frame lies before the end of its window.
    step = max(LEAST_STEP, 1.1 * path / most)
    while True:
        chosen = _walk(frames, sharp, usable, step)
        if len(chosen) <= most:
            return chosen
        step *= 1.15


def _walk(
    frames: npt.NDArray[np.uint8], sharp: npt.NDArray[np.float64], usable: npt.NDArray[np.bool_], step: float
) -> list[int]:
    first = int(np.argmax(usable))
    chosen = [first]
    tracks = _Tracks(frames[first])
    window: list[int] = []
    end = 0.0
    i = first + 1
    while i < len(frames):
        moved = tracks.follow(frames[i])
        if not window and moved >= 0.7 * step and usable[i]:
            # Where the camera is faster than a step a frame, frames of the same place still compete.
            end = max(1.3 * step, moved + 0.3 * step)
        if end > 0 and moved <= end and usable[i]:
            window.append(i)
        if window and (moved > end or i == len(frames) - 1):
            kept = max(window, key=lambda k: sharp[k])
            chosen.append(kept)
            tracks, window, end, i = _Tracks(frames[kept]), [], 0.0, kept
        i += 1
    return chosen


class _Tracks:
    """Points of one frame followed through the next ones."""

    def __init__(self, gray: Gray) -> None:
        self.previous = gray
        self.start = self.points = _corners(gray)
        self.lost = 0.0

    def follow(self, gray: Gray) -> float:
        """Median distance from the first frame, as a share of the longer side; grows when tracking breaks down."""
        if len(self.points) >= FEWEST_TRACKS:
            moved, kept = _track(self.previous, gray, self.points)
            self.start, self.points = self.start[kept], moved[kept]
        self.previous = gray
        if len(self.points) < FEWEST_TRACKS:
            self.lost += 0.02  # unknown motion counts as a brisk one
            return self.lost
        distances = np.linalg.norm(self.points - self.start, axis=1)
        self.lost = float(np.median(distances)) / max(gray.shape)
        return self.lost


def _motion(before: Gray, after: Gray) -> float:
    """Median motion between neighbouring frames as a share of the longer side."""
    return _Tracks(before).follow(after)


def _corners(gray: Gray) -> npt.NDArray[np.float32]:
    import cv2

    found: Any = cv2.goodFeaturesToTrack(gray, 200, 0.01, 7)
    return np.zeros((0, 2), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 2)


def _track(
    before: Gray, after: Gray, points: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    import cv2

    guess: Any = None
    forward, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, guess, winSize=(15, 15), maxLevel=3)
    back, back_found, _ = cv2.calcOpticalFlowPyrLK(after, before, forward, guess, winSize=(15, 15), maxLevel=3)
    returned = np.linalg.norm(np.asarray(back) - points, axis=1) < 1.0
    kept = (found.ravel() == 1) & (back_found.ravel() == 1) & returned
    return np.asarray(forward, np.float32), kept


def _local_median(values: npt.NDArray[np.float64], *, reach: int) -> npt.NDArray[np.float64]:
    return np.array([np.median(values[max(i - reach, 0) : i + reach + 1]) for i in range(len(values))])
