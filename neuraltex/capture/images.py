"""Photographs and masks from files, as arrays."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuraltex.cameras.lookup import image_header
from neuraltex.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MASK_THRESHOLD = 128


@dataclass(frozen=True)
class DecodedImage:
    """One photograph.

    Args:
        rgb: `[H, W, 3]` uint8, sRGB-encoded; where the file has an alpha channel, composited over black.
        alpha: `[H, W]` uint8, or None where the file has none.
    """

    rgb: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8] | None


def read_image(path: Path, *, stored_size: tuple[int, int] | None = None) -> DecodedImage:
    """Decode a photograph of any common kind: 8 or 16 bits, gray, palette, with or without alpha.

    The EXIF orientation is applied, so that the image is upright as viewers show it and its camera's `K` refers to
    that. Some solvers work on the pixels as stored instead; `stored_size` tells them apart.

    Args:
        path: the file.
        stored_size: width and height that the camera speaks of. Where they are those of the stored pixels and not
            those of the upright image, the orientation is left alone.

    Raises:
        InputError: the file is missing, is not an image, or ends too early.
    """
    pixels = _pixels(path, upright=not _is_stored_way(path, stored_size))
    if pixels.ndim == 2:
        return DecodedImage(np.repeat(pixels[..., None], 3, axis=2), None)
    if pixels.shape[2] == 3:
        return DecodedImage(pixels, None)
    alpha = pixels[..., 3]
    covered = pixels[..., :3].astype(np.uint16) * alpha[..., None] + 127
    return DecodedImage((covered // 255).astype(np.uint8), alpha)


def upright_size(path: Path, *, stored_size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Width and height that `read_image` will return, out of the file's header.

    Raises:
        InputError: the file is missing or is not an image.
    """
    stored, turned = image_header(path)
    return stored[::-1] if turned and not _is_stored_way(path, stored_size) else stored


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Decode a mask.

    Args:
        path: an image whose pixels are white (from half brightness up) on the object. A black and white file that
            holds 0 and 1 only (label images) is taken as such. Where there is an alpha channel that varies, it is the
            mask.

    Returns:
        `[H, W]` bool.

    Raises:
        InputError: the file is missing, is not an image, or ends too early.
    """
    pixels = _pixels(path, upright=True)
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels[..., 3].min() != pixels[..., 3].max():
        return pixels[..., 3] >= MASK_THRESHOLD
    level = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
    return level > 0 if level.max() <= 1 else level >= MASK_THRESHOLD


def write_image(path: Path, rgb: npt.NDArray[np.uint8]) -> None:
    """Write `[H, W, 3]` or `[H, W]` uint8 as the format that the suffix names, whole or not at all.

    Raises:
        InputError: the file cannot be written or the suffix is no image format.
    """
    from PIL import Image

    from neuraltex.files import whole_file

    with whole_file(path) as temporary:
        try:
            Image.fromarray(rgb).save(temporary)
        except ValueError as error:
            raise InputError(path, f"cannot be written as an image ({error})", hint="use .png or .jpg") from error


def _is_stored_way(path: Path, stored_size: tuple[int, int] | None) -> bool:
    """Whether a camera of `stored_size` means the pixels as stored, not the upright image."""
    stored, turned = image_header(path)
    return turned and stored_size == stored and stored[0] != stored[1]


def _pixels(path: Path, *, upright: bool) -> npt.NDArray[np.uint8]:
    """`[H, W]`, `[H, W, 3]` or `[H, W, 4]` uint8."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about EXIF and palette details that do not matter here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _to_uint8(ImageOps.exif_transpose(image) if upright else image)
    except FileNotFoundError as error:
        raise InputError(path, "the image does not exist") from error
    except MemoryError as error:
        raise InputError(path, "the image does not fit into memory") from error
    except Exception as error:  # image codecs raise whatever they like on broken files
        raise InputError(path, f"could not be decoded ({error})", hint="export the image again") from error


def _to_uint8(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode == "I":  # 16 bits in a 32-bit container
        wide = np.asarray(image)
        return (np.clip(wide, 0, 65535) >> (8 if wide.max() > 255 else 0)).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("floating-point pixels; 8 or 16 bits a channel were expected")
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    return np.array(image.convert("RGBA" if transparent else "RGB"))
