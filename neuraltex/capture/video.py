"""Reading a video: every frame decoded once, upright, to 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuraltex.capture.resize import fitted_size, shrink
from neuraltex.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

HD_ROWS = 720
# FFmpeg's SWS_BILINEAR, SWS_FULL_CHR_H_INT and SWS_ACCURATE_RND: without them colours come out 1/255 too dark.
ACCURATE = 0x2 | 0x2000 | 0x40000


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video says.

    Args:
        width: columns as it is looked at, its rotation applied.
        height: rows, likewise.
        fps: mean frames a second.
        num_frames: how many there should be, 0 where the header does not tell.
        rotation_deg: counter-clockwise turn that makes the stored pictures upright: 0, 90, 180 or 270.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    rotation_deg: int


@dataclass(frozen=True)
class Video:
    """Decoded frames.

    Args:
        frames: `[N, H, W, 3]` uint8, sRGB-encoded.
        seconds: time of each frame.
        indices: which frame of the file each one is.
        num_frames: how many the file holds, those that were not kept included.
        info: what the header says; its size is the one before any shrinking.
    """

    frames: npt.NDArray[np.uint8]
    seconds: tuple[float, ...]
    indices: tuple[int, ...]
    num_frames: int
    info: VideoInfo


def probe_video(path: Path) -> VideoInfo:
    """Read the header and the first frame.

    Raises:
        InputError: no such file, not a video, no frames, or a codec that cannot be decoded.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        for frame in container.decode(stream):
            rotation = round(frame.rotation / 90) % 4 * 90
            sides = (frame.height, frame.width) if rotation % 180 else (frame.width, frame.height)
            return VideoInfo(*sides, _fps(stream), _declared_frames(container, stream), rotation)
    raise InputError(path, "the video has no frames", hint="record or export it again")


def read_video(
    path: Path,
    *,
    every: int = 1,
    keep: Collection[int] | None = None,
    max_size: int | None = None,
    collect: Callable[[npt.NDArray[np.uint8], int], None] | None = None,
) -> Video:
    """Decode a video once.

    Frames are turned upright by the file's rotation. Colours follow the file's matrix and range; where it tells
    none, BT.709 from 720 rows up and BT.601 below, as players do.

    Args:
        path: a video of any codec that FFmpeg reads.
        every: keep frames 0, every, 2 every, ...
        keep: keep these frames only, instead of `every`.
        max_size: longest side of the kept frames; area averages; never enlarges.
        collect: takes each kept frame at full size with its index; none is returned then.

    Raises:
        InputError: no such file, not a video, no frames, a codec that cannot be decoded, or a file that was cut off.
        ValueError: `every` is not positive.
    """
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    path = Path(path)
    info = probe_video(path)
    width, height = fitted_size(info.width, info.height, max_size)
    wanted = None if keep is None else frozenset(keep)
    kept: list[npt.NDArray[np.uint8]] = []
    seconds: list[float] = []
    indices: list[int] = []
    count = 0
    for time, picture in _decode(path, info, lambda i: i % every == 0 if wanted is None else i in wanted):
        if picture is not None:
            if collect is None:
                kept.append(np.ascontiguousarray(shrink(picture, width, height)))
            else:
                collect(picture, count)
            seconds.append(time)
            indices.append(count)
        count += 1
    frames = np.empty((len(kept), height, width, 3), dtype=np.uint8)
    for i in range(len(kept)):
        frames[i] = kept[i]
        kept[i] = frames[i]  # the copy is given back at once, so the frames are never held twice
    return Video(frames, tuple(seconds), tuple(indices), count, info)


def _decode(
    path: Path, info: VideoInfo, wanted: Callable[[int], bool]
) -> Iterator[tuple[float, npt.NDArray[np.uint8] | None]]:
    """Time and picture of every frame in order of display; the picture is None where it is not wanted."""
    from av.video.reformatter import Colorspace, VideoReformatter

    # One of our own: the library's shared one keeps worker threads that outlive the file and block a later fork.
    converter = VideoReformatter()
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            time = index / info.fps if frame.time is None else float(frame.time)
            if not wanted(index):
                yield time, None
                continue
            source = None
            if frame.colorspace in (2, 3):  # unspecified, reserved
                source = Colorspace.ITU709 if frame.height >= HD_ROWS else Colorspace.ITU601
            converted = converter.reformat(frame, format="rgb24", src_colorspace=source, interpolation=ACCURATE)
            picture = np.rot90(converted.to_ndarray(), info.rotation_deg // 90)
            if picture.shape[:2] != (info.height, info.width):
                raise InputError(
                    path,
                    f"the frame is {picture.shape[1]}x{picture.shape[0]} pixels, the first one was "
                    f"{info.width}x{info.height}",
                    frame=index,
                    hint="export the video at one size",
                )
            yield time, np.ascontiguousarray(picture)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream; whatever FFmpeg dislikes becomes an InputError."""
    import av

    if path.is_dir():
        raise InputError(path, "is a folder, a video file was expected")
    if not path.exists():
        raise InputError(path, "the video does not exist")
    # Up to PyAV 18 a title in another encoding than UTF-8 was an error unless told otherwise.
    lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        container = av.open(str(path.resolve()), mode="r", **lenient)
    except Exception as error:  # besides FFmpeg's own, whatever its wrapper trips over in a broken header
        raise _undecodable(path, error) from error
    with container:
        if not container.streams.video:
            raise InputError(path, "holds no video stream", hint="pass a video file")
        stream = container.streams.video[0]
        _refuse_cut_off(path, stream)
        try:
            yield container, stream
        except av.FFmpegError as error:
            raise _undecodable(path, error) from error


def _undecodable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(
        path,
        f"could not be decoded as a video ({reason})",
        hint="check that it plays, or convert it to H.264 in an .mp4",
    )


def _refuse_cut_off(path: Path, stream: VideoStream) -> None:
    """A file that ends before the frames its own index lists would only lose its end silently."""
    entries = stream.index_entries
    listed = len(entries)
    end = max((entry.pos + entry.size for entry in entries), default=0)
    held = path.stat().st_size
    if end > held:
        lost = sum(entry.pos + entry.size > held for entry in entries)
        raise InputError(
            path,
            f"the video is cut off: {lost} of {listed} frames lie beyond the end of the file ({held} of {end} bytes)",
            hint="copy or download it again",
        )


def _fps(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else 30.0


def _declared_frames(container: InputContainer, stream: VideoStream) -> int:
    if stream.frames > 0:
        return int(stream.frames)
    if stream.duration is not None and stream.time_base is not None:
        return max(round(float(stream.duration * stream.time_base) * _fps(stream)), 0)
    return max(round(container.duration / 1e6 * _fps(stream)), 0) if container.duration else 0
