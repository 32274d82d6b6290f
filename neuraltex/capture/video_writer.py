"""Writing rendered frames: a video, with alpha where the frames have it, or a folder of PNG files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from neuraltex.capture.video import ACCURATE
from neuraltex.errors import InputError
from neuraltex.files import is_occupied, whole_file

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
# Suffix to codec and stored pixels of videos whose frames have alpha: ProRes 4444 for editors, VP9 for browsers.
ALPHA_CODECS = {".mov": ("prores_ks", "yuva444p10le"), ".webm": ("libvpx-vp9", "yuva420p")}


class VideoWriter:
    """Frames go in one at a time; the file or folder takes its name when the `with` block ends well.

    A path that ends in .mp4, .mov or .mkv becomes an H.264 video (4:2:0, BT.709). That format stores even sizes
    only: an odd last row or column is written twice. Frames with alpha become ProRes 4444 in a .mov or VP9 in a .webm.
    A path without a suffix becomes a folder of PNG files `000000.png`, ... of the exact size and colours.

    Args:
        path: what to write.
        fps: frames a second; a folder of PNG files does not record it.
        crf: quality of the video, 0 (lossless apart from the colour resolution) to 51.
        alpha: whether the frames have a fourth channel, 0 where nothing covers what will lie behind.

    Raises:
        InputError: another suffix, a folder that holds something already, or a disk that cannot be written.
        ValueError: `fps` is not positive.
    """

    def __init__(self, path: Path, fps: float, *, crf: int = 16, alpha: bool = False) -> None:
        self.path, self.fps, self.crf, self.alpha = Path(path), fps, crf, alpha
        if not 0 < fps <= 1000:
            raise ValueError(f"fps: expected frames a second between 0 and 1000, got {fps}")
        suffixes = tuple(ALPHA_CODECS) if alpha else VIDEO_SUFFIXES
        if self.path.suffix and self.path.suffix.lower() not in suffixes:
            raise InputError(
                path,
                f"{self.path.suffix} is no video format that can be written{' with alpha' if alpha else ''}",
                hint=f"use {', '.join(suffixes)}, or a name without a suffix for a folder of PNG files",
            )
        self.num_frames = 0
        self._size: tuple[int, int] | None = None
        self._resources = ExitStack()
        self._sink: _PngFolder | _VideoFile | None = None

    def __enter__(self) -> VideoWriter:
        if self.path.suffix:
            temporary = self._resources.enter_context(whole_file(self.path))
            coding = ALPHA_CODECS[self.path.suffix.lower()] if self.alpha else ("libx264", "yuv420p")
            self._sink = self._resources.enter_context(_VideoFile(self.path, temporary, self.fps, self.crf, coding))
        else:
            self._sink = self._resources.enter_context(_PngFolder(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.num_frames == 0:
            nothing = ValueError("frames: expected at least one, got none")
            self._resources.__exit__(ValueError, nothing, None)
            raise nothing
        self._resources.__exit__(kind, error, trace)

    def write(self, frame: Tensor | npt.NDArray[Any]) -> None:
        """Append a frame.

        Args:
            frame: `[H, W, 3]`, with alpha `[H, W, 4]`; uint8, or floating-point in [0, 1]; sRGB-encoded; all of one
                size.

        Raises:
            ValueError: another shape, or not the size of the first frame.
        """
        pixels = _to_uint8(frame, 4 if self.alpha else 3)
        self._size = self._size or pixels.shape[:2]
        if pixels.shape[:2] != self._size:
            raise ValueError(f"frame: expected the size of the first one, {self._size}, got {pixels.shape[:2]}")
        if self._sink is None:
            raise ValueError("write: the writer is used outside of its `with` block")
        self._sink.add(pixels, self.num_frames)
        self.num_frames += 1


def write_video(
    path: Path, frames: Iterable[Tensor | npt.NDArray[Any]], fps: float, *, crf: int = 16, alpha: bool = False
) -> None:
    """Write all of `frames`; see `VideoWriter`.

    Args:
        path: .mp4, .mov or .mkv, with alpha .mov or .webm; or a folder of PNG files where there is no suffix.
        frames: `[H, W, 3]` each, with alpha `[H, W, 4]`; uint8, or floating-point in [0, 1]; a batch `[N, H, W, 3]`
            will do.
        fps: frames a second.
        crf: quality of the video, 0 to 51.
        alpha: whether the frames have a fourth channel.

    Raises:
        InputError: see `VideoWriter`.
        ValueError: no frames, or frames of different sizes.
    """
    with VideoWriter(path, fps, crf=crf, alpha=alpha) as writer:
        for frame in frames:
            writer.write(frame)


class _VideoFile:
    """An encoder that writes to `temporary`; `path` is for messages, `coding` is the codec and its pixels."""

    def __init__(self, path: Path, temporary: Path, fps: float, crf: int, coding: tuple[str, str]) -> None:
        self.path, self.temporary, self.crf = path, temporary, crf
        self.codec, self.stored = coding
        self.rate = Fraction(fps).limit_denominator(65535)
        self.container: Any = None
        self.stream: Any = None

    def __enter__(self) -> _VideoFile:
        import av
        from av.video.reformatter import VideoReformatter

        self.container = av.open(str(self.temporary), mode="w")
        self.converter = VideoReformatter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import av

        try:
            if kind is None and self.stream is not None:
                self.container.mux(self.stream.encode(None))
            self.container.close()
        except av.FFmpegError as error:
            if kind is None:
                raise InputError(self.path, f"could not be encoded ({error})") from error

    def add(self, pixels: npt.NDArray[np.uint8], index: int) -> None:
        import av
        from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        try:
            if self.stream is None:
                self.stream = self._new_stream(pixels.shape[1], pixels.shape[0])
            converted = self.converter.reformat(
                av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24"),
                format=self.stored,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                dst_color_trc=ColorTrc.IEC61966_2_1,
                dst_color_primaries=ColorPrimaries.BT709,
                interpolation=ACCURATE,
            )
            converted.pts = index
            converted.time_base = 1 / self.rate
            self.container.mux(self.stream.encode(converted))
        except av.FFmpegError as error:
            raise InputError(self.path, f"could not be encoded ({error})", frame=index) from error

    def _new_stream(self, width: int, height: int) -> Any:
        from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

        options = {"profile": "4444"} if self.codec == "prores_ks" else {"crf": str(self.crf)}
        stream = self.container.add_stream(self.codec, rate=self.rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, self.stored
        context = stream.codec_context
        context.color_range, context.colorspace = ColorRange.MPEG, 1  # AVCOL_SPC_BT709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.IEC61966_2_1
        return stream


class _PngFolder:
    """A folder filled beside its final place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _PngFolder:
        if is_occupied(self.path):
            raise InputError(self.path, "exists already", hint="remove it or choose another name")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.temporary = Path(tempfile.mkdtemp(prefix=f".{self.path.name}-", dir=self.path.parent))
        except OSError as error:
            raise InputError(self.path, f"could not be written ({error.strerror or error})") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.temporary.chmod(self.path.parent.stat().st_mode & 0o777)
                self.temporary.replace(self.path)
        except OSError as error:
            raise InputError(self.path, f"could not be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)

    def add(self, pixels: npt.NDArray[np.uint8], index: int) -> None:
        from PIL import Image

        try:
            Image.fromarray(pixels).save(self.temporary / f"{index:06d}.png", compress_level=3)
        except OSError as error:
            raise InputError(self.path, f"could not be written ({error.strerror or error})", frame=index) from error


def _to_uint8(frame: Tensor | npt.NDArray[Any], channels: int) -> npt.NDArray[np.uint8]:
    array = frame.detach().cpu().numpy() if isinstance(frame, Tensor) else np.asarray(frame)
    if array.ndim != 3 or array.shape[2] != channels or 0 in array.shape:
        raise ValueError(f"frame: expected the shape [H, W, {channels}], got {list(array.shape)}")
    if np.issubdtype(array.dtype, np.floating):
        return np.round(np.clip(np.nan_to_num(array), 0.0, 1.0) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"frame: expected uint8 or floating-point, got {array.dtype}")
    return np.ascontiguousarray(array)
