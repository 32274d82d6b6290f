"""What a rendered thing is put in front of: a picture, or a video frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from torch import Tensor

from neuraltex.cameras.lookup import IMAGE_SUFFIXES
from neuraltex.capture.images import read_image
from neuraltex.capture.video import read_video
from neuraltex.errors import InputError


def load_background(path: Path, num_frames: int, width: int, height: int) -> UInt8[Tensor, "N H W 3"]:
    """A background for every frame of a path.

    The picture is scaled until it fills the frame, and what then reaches beyond it is cut off evenly.

    Args:
        path: a picture, which stays, or a video, whose frames follow the path's.
        num_frames: frames of the path.
        width, height: of the rendered frames, in pixels.

    Returns:
        `[N, H, W, 3]` uint8, sRGB-encoded; N is 1 for a picture.

    Raises:
        InputError: it cannot be read, or the video is shorter than the path.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return torch.from_numpy(_fill(read_image(path).rgb, width, height)[None])
    frames: list[npt.NDArray[np.uint8]] = []
    read_video(path, keep=range(num_frames), collect=lambda picture, _: frames.append(_fill(picture, width, height)))
    if len(frames) < num_frames:
        raise InputError(
            path,
            f"the video has {len(frames)} frames, the camera path {num_frames}",
            hint="give a longer video, or a shorter path with --frames",
        )
    return torch.from_numpy(np.stack(frames))


def _fill(picture: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    import cv2

    scale = max(width / picture.shape[1], height / picture.shape[0])
    columns, rows = max(round(picture.shape[1] * scale), width), max(round(picture.shape[0] * scale), height)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (columns, rows), interpolation=method)
    left, top = (columns - width) // 2, (rows - height) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width]).astype(np.uint8)


def put_before(rgba: UInt8[Tensor, "H W 4"], background: UInt8[Tensor, "H W 3"]) -> UInt8[Tensor, "H W 3"]:
    """A frame with alpha over a background of its size, blended as it is encoded, as video editors do by default."""
    alpha = rgba[..., 3:].float() / 255
    blended = rgba[..., :3].float() * alpha + background.to(rgba.device).float() * (1 - alpha)
    return blended.round().to(torch.uint8)
