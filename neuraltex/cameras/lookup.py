"""Finding the photographs that a camera file names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from neuraltex.errors import InputError, InputWarning

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
EXIF_ORIENTATION = 0x0112
MOST_PIXELS_A_SIDE = 65_536


def find_image(name: str, folders: Sequence[Path]) -> Path | None:
    """The file that `name` means: as written below one of the folders, else by its last component.

    A name without a suffix (`./train/r_0`, as Blender's exporters write) is tried with the usual ones.

    Returns:
        The path, or None where there is no such file.
    """
    if "\0" in name or not name.strip():
        return None
    written = Path(name.replace("\\", "/"))
    candidates = [folder / written for folder in folders] + [folder / written.name for folder in folders]
    for candidate in candidates:
        endings = ("",) if candidate.suffix.lower() in IMAGE_SUFFIXES else ("", *IMAGE_SUFFIXES)
        for ending in endings:
            found = candidate.with_name(candidate.name + ending) if candidate.name else candidate
            try:
                if found.is_file():
                    return found
            except (OSError, ValueError):  # a name that the file system does not take
                return None
    return None


def list_images(folder: Path) -> list[Path]:
    """Image files directly inside `folder`, sorted by name; hidden files are left out."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )


def list_photographs(folder: Path) -> list[Path]:
    """Image files of a capture: those directly inside `folder`, or where there are none those of its `images`."""
    inner = folder / "images"
    return list_images(folder) or (list_images(inner) if inner.is_dir() else [])


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as it is looked at, that is with its EXIF orientation applied; reads the header.

    Raises:
        InputError: the file is missing or is not an image.
    """
    stored, turned = image_header(path)
    return stored[::-1] if turned else stored


def image_header(path: Path) -> tuple[tuple[int, int], bool]:
    """Width and height as stored, and whether the EXIF orientation swaps them.

    Raises:
        InputError: the file is missing or is not an image.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about EXIF details that do not matter here
            with Image.open(path) as image:
                return image.size, image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)
    except FileNotFoundError as error:
        raise InputError(path, "the image does not exist") from error
    except Exception as error:  # image codecs raise whatever they like on broken files
        raise InputError(path, f"could not be read as an image ({error})") from error


def warn_missing(source: Path, missing: Sequence[str], total: int) -> None:
    """Say once that photographs named by a camera file are not there.

    Raises:
        InputError: none of them is there.
    """
    if not missing:
        return
    if len(missing) == total:
        raise InputError(
            source,
            f"none of its {total} images exists, the first is {missing[0]!r}",
            hint="check that the images lie where the file says, relative to its own folder",
        )
    warnings.warn(
        f"{source}: {len(missing)} of {total} frames are left out because their images do not exist, "
        f"the first is {missing[0]!r}",
        InputWarning,
        stacklevel=3,
    )
