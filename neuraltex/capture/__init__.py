"""Captures: a video or photographs with their cameras come in; images of one size, masks and a split go out.

Everything is decoded once and kept as 8-bit; lens distortion is gone, and pixels that undistortion made up are marked.
Writing frames back, as a video or as PNG files, is here too.
"""

from neuraltex.capture.background import load_background, put_before
from neuraltex.capture.chroma import Masked, mask_photographs
from neuraltex.capture.dataset import Capture, load_capture
from neuraltex.capture.held_out import with_held_out
from neuraltex.capture.images import read_image, read_mask, write_image
from neuraltex.capture.video import Video, VideoInfo, probe_video, read_video
from neuraltex.capture.video_writer import VideoWriter, write_video

__all__ = [
    "Capture",
    "Masked",
    "Video",
    "VideoInfo",
    "VideoWriter",
    "load_background",
    "load_capture",
    "mask_photographs",
    "probe_video",
    "put_before",
    "read_image",
    "read_mask",
    "read_video",
    "with_held_out",
    "write_image",
    "write_video",
]  # fmt: skip
