"""Where the masks of a capture come from: the camera file, a folder, or a video of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.lookup import find_image, list_images
from neuraltex.capture.images import MASK_THRESHOLD, read_mask
from neuraltex.capture.video import read_video
from neuraltex.errors import InputError


class MaskSource:
    """The mask of each frame, at the size of the photographs.

    Args:
        frames: of the capture.
        masks: a folder, a video, or None for the camera file's own `mask_path`.
        size: width and height of the photographs. A mask of another size but the same shape is scaled.
        video_indices: which frame of the video each frame is, where the capture is a video.

    Raises:
        InputError: `masks` is missing, or holds no mask for a frame, or only some frames name one.
    """

    def __init__(
        self,
        frames: Sequence[CameraFrame],
        masks: Path | None,
        size: tuple[int, int],
        *,
        video_indices: Sequence[int] | None = None,
    ) -> None:
        self.size = size
        self.frames = frames
        self.decoded: npt.NDArray[np.uint8] | None = None
        self.paths: list[Path | None] = [frame.mask_path for frame in frames]
        if masks is None:
            self._require_all_or_none()
        elif not masks.exists():
            raise InputError(masks, "the masks do not exist", hint="pass a folder of masks or a video of them")
        elif masks.is_dir():
            self.paths = _paths_in_folder(frames, masks, video_indices)
        else:
            self._decode_video(masks, video_indices)

    def of(self, position: int) -> npt.NDArray[np.bool_] | None:
        """`[H, W]` bool, True on the object, or None where there is no mask.

        Raises:
            InputError: the file is broken or of another shape than the photograph.
        """
        if self.decoded is not None:
            return self.decoded[position] >= MASK_THRESHOLD
        path = self.paths[position]
        if path is None:
            return None
        return _scaled(read_mask(path), self.size, path)

    def _require_all_or_none(self) -> None:
        without = [frame.name for frame in self.frames if frame.mask_path is None]
        if 0 < len(without) < len(self.frames):
            raise InputError(
                without[0],
                f"{len(without)} of {len(self.frames)} frames have no mask, this is the first",
                hint="give every frame a mask_path, or none",
            )

    def _decode_video(self, path: Path, video_indices: Sequence[int] | None) -> None:
        if video_indices is None:
            raise InputError(path, "a video of masks goes with a video only", hint="pass a folder of masks")
        gray: list[npt.NDArray[np.uint8]] = []

        def collect(rgb: npt.NDArray[np.uint8], index: int) -> None:
            gray.append(_scaled(rgb[..., 1] >= MASK_THRESHOLD, self.size, path).astype(np.uint8) * 255)

        video = read_video(path, keep=video_indices, collect=collect)
        if video.num_frames <= max(video_indices):
            raise InputError(
                path,
                f"the video of masks has {video.num_frames} frames, frame {max(video_indices)} is needed",
                hint="it must have a mask for every frame of the video",
            )
        self.decoded = np.stack(gray)


def _paths_in_folder(
    frames: Sequence[CameraFrame], folder: Path, video_indices: Sequence[int] | None
) -> list[Path | None]:
    found = [_by_name(frame.name, folder) for frame in frames]
    absent = next((i for i, path in enumerate(found) if path is None), None)
    if absent is None:
        return found
    files = list_images(folder)
    if video_indices is not None and len(files) > max(video_indices):
        return [files[index] for index in video_indices]
    raise InputError(
        folder,
        f"holds no mask for {frames[absent].name!r}",
        frame=absent,
        hint="masks carry the names of their photographs",
    )


def _by_name(name: str, folder: Path) -> Path | None:
    """The mask of `a/b.jpg`: `a/b.jpg`, `a/b.jpg.png`, `a/b.png`, or one of these directly in the folder."""
    bare = PurePosixPath(name)
    for candidate in (f"{name}.png", str(bare.with_suffix("")), name):
        path = find_image(candidate, [folder])
        if path is not None:
            return path
    return None


def _scaled(mask: npt.NDArray[np.bool_], size: tuple[int, int], path: Path) -> npt.NDArray[np.bool_]:
    width, height = size
    if mask.shape == (height, width):
        return mask
    if abs(mask.shape[1] * height / width - mask.shape[0]) > 1 + 1e-6:
        raise InputError(
            path,
            f"the mask is {mask.shape[1]}x{mask.shape[0]} pixels, its photograph is {width}x{height}",
            hint="both must have the same shape",
        )
    import cv2

    grown = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown) >= MASK_THRESHOLD
