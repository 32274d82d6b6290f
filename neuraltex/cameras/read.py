"""Reading cameras from whatever holds them."""

from __future__ import annotations

from pathlib import Path

from neuraltex.cameras.colmap import is_colmap_model, read_colmap
from neuraltex.cameras.frames import CameraSet
from neuraltex.cameras.llff import read_llff
from neuraltex.cameras.nerfstudio import read_transforms
from neuraltex.errors import InputError

# Below a capture folder, in the order in which they are looked for.
PLACES = ("transforms.json", "sparse/0", "sparse", "colmap/sparse/0", "poses_bounds.npy", ".")
ACCEPTED = "a transforms.json, a COLMAP model folder or a poses_bounds.npy"


def find_cameras(folder: Path) -> Path | None:
    """The camera file or COLMAP model that lies in a capture folder, or None."""
    for place in PLACES:
        candidate = folder / place
        if candidate.is_file() or (candidate.is_dir() and is_colmap_model(candidate)):
            return candidate
    return None


def read_cameras(path: Path, *, images: Path | None = None, video_size: tuple[int, int] | None = None) -> CameraSet:
    """Read a `transforms.json`, a COLMAP model folder (text or binary) or a `poses_bounds.npy`.

    Args:
        path: the file or folder; a folder that contains one of them will do.
        images: folder where the photographs are looked for first.
        video_size: width and height, given when the frames come from a video.

    Raises:
        InputError: nothing of the kind, or something wrong in it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "the camera file does not exist", hint=f"pass {ACCEPTED}")
    if path.is_dir():
        found = find_cameras(path)
        if found is None:
            raise InputError(path, "holds no cameras", hint=f"pass {ACCEPTED}")
        path = found
    if path.is_dir():
        return read_colmap(path, images=images, video_size=video_size)
    if path.suffix.lower() == ".json":
        return read_transforms(path, images=images, with_images=video_size is None, video_size=video_size)
    if path.suffix.lower() == ".npy":
        return read_llff(path, images=images, video_size=video_size)
    raise InputError(path, "is no camera file", hint=f"pass {ACCEPTED}")
