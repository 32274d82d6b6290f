"""What every reader of camera files returns: one entry a photograph or video frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import Distortion


@dataclass(frozen=True)
class CameraFrame:
    """One photograph or video frame with its camera.

    Args:
        name: what the camera file calls it, with forward slashes; unique within the file.
        image_path: the photograph, or None where the frames come from a video.
        mask_path: a mask of the object, or None.
        camera: a single camera, float32, of the size that the camera file speaks of.
        distortion: lens distortion of the photograph, or None where it is undistorted already.
        seconds: time of the frame, where the file tells it.
        frame_index: 0-based frame of the video, where the file tells it.
        place: 0-based place in the file, frames without a photograph counted; None where the file cannot tell.
    """

    name: str
    image_path: Path | None
    mask_path: Path | None
    camera: Camera
    distortion: Distortion | None = None
    seconds: float | None = None
    frame_index: int | None = None
    place: int | None = None


@dataclass(frozen=True)
class CameraSet:
    """Everything a camera file says.

    Args:
        frames: in the order of the file; COLMAP models, which have none, in the order of the names.
        train_names: frames to learn from where the file lists them, else None.
        test_names: frames to hold out where the file lists them, else None.
        source: the file or model folder that was read.
        num_listed: frames that the file lists, those without a photograph counted; None for as many as `frames`.
    """

    frames: tuple[CameraFrame, ...]
    train_names: tuple[str, ...] | None
    test_names: tuple[str, ...] | None
    source: Path
    num_listed: int | None = None
