"""A video or photographs to a folder of upright pictures of one size."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.lookup import IMAGE_SUFFIXES, image_header, list_photographs
from neuraltex.capture.images import read_image, upright_size, write_image
from neuraltex.capture.masks import MaskSource
from neuraltex.capture.solve.choose import choose_frames, preview_video
from neuraltex.capture.video import read_video
from neuraltex.errors import InputError

JPEG_QUALITY = 97


@dataclass(frozen=True)
class Picture:
    """One photograph of the capture folder.

    Args:
        name: path below the folder.
        mask: path of its mask below the folder, or None.
        frame_index: of the video.
        seconds: time in the video.
    """

    name: str
    mask: str | None = None
    frame_index: int | None = None
    seconds: float | None = None


def ingest_video(video: Path, folder: Path, *, most: int) -> list[Picture]:
    """Write the frames of a video that are worth solving to `images/`.

    Raises:
        InputError: the video cannot be read, holds one frame, or stands still.
    """
    preview = preview_video(video)
    chosen = choose_frames(preview.frames, most=most)
    if len(chosen) < 2:
        raise InputError(
            video, "the camera stands still, so there is one view only", hint="walk around the object while filming"
        )
    time_of = {preview.indices[k]: preview.seconds[k] for k in chosen}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures: list[Picture] = []

    def collect(rgb: npt.NDArray[np.uint8], index: int) -> None:
        name = f"images/{index:06d}.jpg"
        _write_jpeg(folder / name, rgb)
        pictures.append(Picture(name, frame_index=index, seconds=time_of[index]))

    read_video(video, keep=set(time_of), collect=collect)
    return pictures


def ingest_photos(photos: Path, folder: Path) -> list[Picture]:
    """Copy the photographs of a folder to `images/`; those stored on their side are turned upright.

    Raises:
        InputError: there are fewer than two, they differ in size, or one cannot be read.
    """
    found = list_photographs(photos)
    if len(found) < 2:
        raise InputError(
            photos,
            f"holds {len(found)} photographs, and depth needs at least two views",
            hint=f"pass a folder of {', '.join(IMAGE_SUFFIXES)} files, or a video",
        )
    size = upright_size(found[0])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures, taken = [], set()
    for path in found:
        if (own := upright_size(path)) != size:
            raise InputError(
                path,
                f"is {own[0]}x{own[1]} pixels, but {found[0].name} is {size[0]}x{size[1]}",
                hint="all photographs must have one size; leave out or crop the others",
            )
        turned = image_header(path)[1]
        name = f"images/{path.stem}.png" if turned else f"images/{path.name}"
        name = name.replace(" ", "_")  # the solver's list of pairs is separated by blanks
        if name in taken:
            raise InputError(path, f"would become {name} like another photograph", hint="rename one of them")
        taken.add(name)
        decoded = read_image(path)  # a broken file is found here, not after an hour
        if turned:
            write_image(folder / name, decoded.rgb)
        else:
            shutil.copyfile(path, folder / name)
        pictures.append(Picture(name))
    return pictures


def add_masks(
    pictures: list[Picture], masks: Path, folder: Path, size: tuple[int, int], given: list[str]
) -> list[Picture]:
    """Write the mask of each picture to `masks/`.

    Args:
        pictures: of the capture.
        masks: a folder, or a video of masks where the capture is a video.
        folder: the capture folder.
        size: width and height of the pictures.
        given: what the masks call each picture: the photographs' own file names.

    Raises:
        InputError: masks are missing, broken or of another shape.
    """
    import torch

    from neuraltex.cameras.camera import Camera

    camera = Camera(torch.eye(3), torch.eye(4), *size)
    frames = [CameraFrame(name, None, None, camera) for name in given]
    is_video = pictures[0].frame_index is not None
    indices = [picture.frame_index or 0 for picture in pictures] if is_video else None
    source = MaskSource(frames, masks, size, video_indices=indices)
    masked = []
    for k, picture in enumerate(pictures):
        mask = source.of(k)
        assert mask is not None, "a mask source that was given has a mask for every frame"
        name = f"masks/{Path(picture.name).stem}.png"
        write_image(folder / name, mask.astype(np.uint8) * 255)
        masked.append(Picture(picture.name, name, picture.frame_index, picture.seconds))
    return masked


def _write_jpeg(path: Path, rgb: npt.NDArray[np.uint8]) -> None:
    from PIL import Image

    try:
        Image.fromarray(rgb).save(path, quality=JPEG_QUALITY, subsampling=0)
    except OSError as error:
        raise InputError(path, f"could not be written ({error})", hint="check the free space") from error
