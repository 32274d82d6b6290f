"""Writing and reading back the video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from neuraltex.files import whole_file

# libswscale's bicubic | full chroma | accurate rounding: its defaults darken a picture by more than one code of 255.
ACCURATE = 0x4 | 0x2000 | 0x40000
# Readers that ignore a video's colour tags assume BT.601 for small pictures, and so does this writer: all agree.
BT601 = 6
LIMITED_RANGE = 1


def write_video(path: Path, frames: list[NDArray[np.uint8]], *, fps: int, crf: int) -> None:
    """Encode `[H, W, 3]` 8-bit sRGB frames as H.264, yuv420p."""
    height, width = frames[0].shape[:2]
    with whole_file(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.options = {"crf": str(crf), "preset": "veryslow", "g": str(fps)}
        context = stream.codec_context
        context.colorspace, context.color_range = BT601, LIMITED_RANGE
        context.color_primaries, context.color_trc = BT601, BT601
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", interpolation=ACCURATE
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_video(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a video as `[H, W, 3]` 8-bit RGB."""
    with av.open(str(path)) as container:
        decoded = [frame.reformat(format="rgb24", interpolation=ACCURATE) for frame in container.decode(video=0)]
        return [np.asarray(frame.to_ndarray(), np.uint8) for frame in decoded]


def luma(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`[H, W]` BT.601 luma of an 8-bit picture, not rounded: the part of it that a video keeps at full resolution."""
    return picture @ np.array([0.299, 0.587, 0.114])


def psnr(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures with a range of 0 to 255."""
    error = float(np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 1e-12)))
