"""From a video or photographs, with their cameras, to what training reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import undistort, valid_pixels
from neuraltex.cameras.frames import CameraFrame, CameraSet
from neuraltex.cameras.lookup import IMAGE_SUFFIXES, list_photographs
from neuraltex.cameras.read import ACCEPTED, find_cameras, read_cameras
from neuraltex.capture.images import read_image, upright_size
from neuraltex.capture.masks import MaskSource
from neuraltex.capture.memory import require_memory
from neuraltex.capture.resize import fitted_size, shrink, shrink_mask
from neuraltex.capture.split import split_frames
from neuraltex.capture.video import probe_video, read_video
from neuraltex.errors import InputError


@dataclass(frozen=True)
class Capture:
    """Photographs of one size with their cameras, decoded once.

    Args:
        images: `[N, H, W, 3]` uint8, sRGB-encoded, free of lens distortion.
        masks: `[N, H, W]` True on the object, or None where nothing tells.
        valid: `[N, H, W]` False where undistortion left a border that was never photographed, or None where all
            pixels were.
        cameras: batch `[N]` of the images' size, world as in the camera file.
        names: of the frames, as the camera file calls them.
        train_indices: `[T]` frames to learn from.
        test_indices: `[E]` frames to hold out.
        fps: frames a second where they come from a video, else None.
        source: what was loaded.
        frame_indices: `[N]` which frame of the video each one is; of photographs the `frame_index` where their camera
            file gives it to all, else the place in that file, entries without a photograph counted.
        num_frames: frames of the video, or entries of the camera file; None where only `frame_index` tells.
    """

    images: UInt8[Tensor, "N H W 3"]
    masks: Bool[Tensor, "N H W"] | None
    valid: Bool[Tensor, "N H W"] | None
    cameras: Camera
    names: tuple[str, ...]
    train_indices: Int64[Tensor, "T"]
    test_indices: Int64[Tensor, "E"]
    fps: float | None
    source: Path
    frame_indices: Int64[Tensor, "N"]
    num_frames: int | None


def load_capture(
    source: Path, cameras: Path | None = None, *, size: int | None = None, masks: Path | None = None
) -> Capture:
    """Load a video or a folder of photographs with its cameras.

    Args:
        source: a video; a folder of photographs; or a capture folder that holds its cameras too (`transforms.json`,
            COLMAP's `sparse/0`, `poses_bounds.npy`).
        cameras: a `transforms.json`, a COLMAP model folder or a `poses_bounds.npy`; needed where `source` holds none.
            Camera i is frame i of a video unless the file gives every frame a `frame_index`.
        size: longer side of the images in pixels; area averages; images are never enlarged. None keeps them.
        masks: a folder with one mask a frame (of the same name), or a video of masks. Else masks come from the camera
            file's `mask_path`, else from an alpha channel that varies.

    Returns:
        The capture; frames in the order of the camera file, by `frame_index` where that is given.

    Raises:
        InputError: whatever is missing, broken, of another size or too large for the memory, by file and frame.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(source, "does not exist", hint="pass a video or a folder of photographs")
    if source.is_dir():
        return _load_photos(source, _cameras_of_folder(source, cameras), size, masks)
    if source.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(source, "is one photograph", hint="pass the folder of all photographs, or a video")
    info = probe_video(source)
    if cameras is None:
        raise InputError(source, "a video needs cameras", hint=f"pass --cameras with {ACCEPTED}")
    return _load_video(source, read_cameras(cameras, video_size=(info.width, info.height)), size, masks)


def _cameras_of_folder(source: Path, cameras: Path | None) -> CameraSet:
    found = find_cameras(source) if cameras is None else cameras
    if found is None:
        photographs = list_photographs(source)
        if not photographs:
            raise InputError(source, "holds neither photographs nor cameras", hint="pass a folder of photographs")
        raise InputError(
            source,
            f"holds {len(photographs)} photographs but no cameras",
            hint=f"pass --cameras with {ACCEPTED}",
        )
    if cameras is None and found.suffix == ".json":
        return read_cameras(found)
    inside = source / "images"
    return read_cameras(found, images=inside if inside.is_dir() else source)


@dataclass
class _Stack:
    """Frames as they arrive, each brought to its final size."""

    width: int
    height: int
    images: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    masks: list[npt.NDArray[np.bool_] | None] = field(default_factory=list)
    valid: list[npt.NDArray[np.bool_] | None] = field(default_factory=list)

    def add(self, rgb: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_] | None, frame: CameraFrame) -> None:
        """Undistort at full size, then shrink."""
        valid = None
        if frame.distortion is not None:
            camera = frame.camera.resize(rgb.shape[1], rgb.shape[0])
            rgb = undistort(rgb, camera, frame.distortion)
            if mask is not None:
                mask = undistort(mask.astype(np.uint8) * 255, camera, frame.distortion) >= 128
            # A pixel counts where all of what is averaged into it was photographed.
            valid = shrink_mask(valid_pixels(camera, frame.distortion), self.width, self.height, share=1.0)
        self.images.append(shrink(rgb, self.width, self.height))
        self.masks.append(None if mask is None else shrink_mask(mask, self.width, self.height))
        self.valid.append(valid)

    def finish(
        self,
        frames: tuple[CameraFrame, ...],
        camera_set: CameraSet,
        source: Path,
        *,
        fps: float | None,
        indices: list[int],
        num_frames: int | None,
    ) -> Capture:
        """Everything as tensors."""
        names = tuple(frame.name for frame in frames)
        train, test = split_frames(names, camera_set.train_names, camera_set.test_names, source=camera_set.source)
        return Capture(
            images=_tensor(self.images, (self.height, self.width, 3)),
            masks=self._masks(),
            valid=self._valid(),
            cameras=Camera.stack([frame.camera.resize(self.width, self.height) for frame in frames]),
            names=names,
            train_indices=torch.tensor(train, dtype=torch.int64),
            test_indices=torch.tensor(test, dtype=torch.int64),
            fps=fps,
            source=source,
            frame_indices=torch.tensor(indices, dtype=torch.int64),
            num_frames=num_frames,
        )

    def _masks(self) -> Tensor | None:
        if all(mask is None or mask.all() for mask in self.masks):
            return None
        # A photograph without an alpha channel among others that have one is object all over.
        whole = np.ones((self.height, self.width), dtype=np.bool_)
        return _tensor([whole if mask is None else mask for mask in self.masks], whole.shape)

    def _valid(self) -> Tensor | None:
        if all(valid is None or valid.all() for valid in self.valid):
            return None
        whole = np.ones((self.height, self.width), dtype=np.bool_)
        return _tensor([whole if valid is None else valid for valid in self.valid], whole.shape)


def _load_photos(source: Path, camera_set: CameraSet, size: int | None, masks: Path | None) -> Capture:
    frames = camera_set.frames
    full = _common_size(camera_set)
    width, height = fitted_size(*full, size)
    mask_source = MaskSource(frames, masks, full)
    require_memory(source, len(frames), width, height, 5)
    stack = _Stack(width, height)
    for position, frame in enumerate(frames):
        assert frame.image_path is not None, "readers of photographs leave out frames without one"
        decoded = read_image(frame.image_path, stored_size=(frame.camera.width, frame.camera.height))
        mask = mask_source.of(position)
        if mask is None and decoded.alpha is not None:
            mask = decoded.alpha >= 128
        stack.add(decoded.rgb, mask, frame)
    indices, num_frames = _photo_indices(camera_set)
    return stack.finish(frames, camera_set, source, fps=None, indices=indices, num_frames=num_frames)


def _load_video(source: Path, camera_set: CameraSet, size: int | None, masks: Path | None) -> Capture:
    info = probe_video(source)
    frames = tuple(sorted(camera_set.frames, key=lambda frame: frame.frame_index or 0))
    indices = _video_indices(frames, camera_set.source)
    for frame in frames:
        _check_aspect(frame, (info.width, info.height), camera_set.source)
    width, height = fitted_size(info.width, info.height, size)
    require_memory(source, len(frames), width, height, 5)
    mask_source = MaskSource(frames, masks, (info.width, info.height), video_indices=indices)
    stack = _Stack(width, height)
    position_of = {index: position for position, index in enumerate(indices)}

    def collect(rgb: npt.NDArray[np.uint8], index: int) -> None:
        stack.add(rgb, mask_source.of(position_of[index]), frames[position_of[index]])

    video = read_video(source, keep=position_of, collect=collect)
    indexed = frames[0].frame_index is not None
    if not indexed and video.num_frames != len(frames):
        raise InputError(
            camera_set.source,
            f"holds {len(frames)} cameras but the video {source} has {video.num_frames} frames",
            hint="give every camera the frame_index it belongs to, or export one camera a frame",
        )
    if indexed and indices[-1] >= video.num_frames:
        raise InputError(
            camera_set.source,
            f"frame_index {indices[-1]} lies beyond the {video.num_frames} frames of {source}",
            frame=camera_set.frames.index(frames[-1]),
        )
    return stack.finish(frames, camera_set, source, fps=info.fps, indices=indices, num_frames=video.num_frames)


def _video_indices(frames: tuple[CameraFrame, ...], source: Path) -> list[int]:
    """Which frame of the video each camera belongs to."""
    given = [frame.frame_index for frame in frames]
    if all(index is None for index in given):
        return list(range(len(frames)))
    indices = [index for index in given if index is not None]
    if len(indices) != len(frames):
        raise InputError(
            source, f"{len(indices)} of {len(frames)} frames have a frame_index", hint="give it to all or none"
        )
    for earlier, later in pairwise(indices):
        if earlier == later:
            raise InputError(source, f"frame_index {later} is given twice")
    return indices


def _photo_indices(camera_set: CameraSet) -> tuple[list[int], int | None]:
    """Which moment each photograph shows, and how many moments there are where the file tells."""
    given = [frame.frame_index for frame in camera_set.frames]
    indices = [index for index in given if index is not None]
    if len(indices) == len(given):
        return indices, None
    places = [i if frame.place is None else frame.place for i, frame in enumerate(camera_set.frames)]
    return places, len(places) if camera_set.num_listed is None else camera_set.num_listed


def _common_size(camera_set: CameraSet) -> tuple[int, int]:
    """The one size of all photographs, before any is decoded."""
    first: tuple[int, int] | None = None
    for frame in camera_set.frames:
        assert frame.image_path is not None, "readers of photographs leave out frames without one"
        spoken_of = (frame.camera.width, frame.camera.height)
        found = upright_size(frame.image_path, stored_size=spoken_of)
        if first is None:
            first = found
        if found != first:
            raise InputError(
                frame.image_path,
                f"is {found[0]}x{found[1]} pixels, but {camera_set.frames[0].image_path} is {first[0]}x{first[1]}",
                hint="all photographs of a capture must have one size; leave out or crop the others",
            )
        _check_aspect(frame, found, camera_set.source)
    assert first is not None, "readers return at least one frame"
    return first


def _check_aspect(frame: CameraFrame, found: tuple[int, int], source: Path) -> None:
    """Photographs scaled after their cameras were solved are fine; cropped or turned ones are not."""
    width, height = frame.camera.width, frame.camera.height
    if abs(found[0] * height / width - found[1]) > 1 + 1e-6:
        raise InputError(
            source,
            f"the camera of {frame.name!r} is {width}x{height} pixels, its picture is {found[0]}x{found[1]}",
            hint="both must have the same shape; undo any crop or turn made after the cameras were solved",
        )


def _tensor(arrays: list[npt.NDArray[Any]], shape: tuple[int, ...]) -> Tensor:
    """Stacked, giving each array back as soon as it is copied, so that nothing is held twice."""
    stacked = torch.empty((len(arrays), *shape), dtype=torch.uint8 if arrays[0].dtype == np.uint8 else torch.bool)
    for i in range(len(arrays)):
        stacked[i] = torch.from_numpy(np.ascontiguousarray(arrays[i]))
        arrays[i] = np.empty(0)
    return stacked
