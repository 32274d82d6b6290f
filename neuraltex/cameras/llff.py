"""LLFF's `poses_bounds.npy`: a pose, size, focal length and depth range an image, in the order of the file names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.fields import Fields
from neuraltex.cameras.frames import CameraFrame, CameraSet
from neuraltex.cameras.lookup import MOST_PIXELS_A_SIDE, list_photographs
from neuraltex.errors import InputError
from neuraltex.files import whole_file


def read_llff(path: Path, *, images: Path | None = None, video_size: tuple[int, int] | None = None) -> CameraSet:
    """Read `poses_bounds.npy` with the photographs that go with it.

    Row i belongs to the i-th image by name. The principal point is the centre: the format has none.

    Args:
        path: the file.
        images: folder of the photographs; else `images` beside the file, else the file's own folder.
        video_size: given when the frames come from a video: no photographs are looked for then.

    Raises:
        InputError: no such file, another layout, a row that is no camera (names it), or another number of
            photographs than rows.

    Source: the README of LLFF, "Using your own poses without running COLMAP".
    """
    path = Path(path)
    cameras, _ = read_poses_bounds(path)
    if video_size is not None:
        frames = [CameraFrame(f"{i:06d}", None, None, camera) for i, camera in enumerate(cameras)]
        return CameraSet(tuple(frames), None, None, path)
    beside = path.parent / "images"
    folder = images if images is not None else beside if beside.is_dir() else path.parent
    files = list_photographs(folder)
    if len(files) != len(cameras):
        raise InputError(
            path,
            f"holds {len(cameras)} cameras but {folder} holds {len(files)} images",
            hint="the rows belong to the images in order of their names, so the numbers must agree",
        )
    pairs = zip(files, cameras, strict=True)
    return CameraSet(tuple(CameraFrame(file.name, file, None, camera) for file, camera in pairs), None, None, path)


def read_poses_bounds(path: Path) -> tuple[list[Camera], Float[Tensor, "N 2"]]:
    """The cameras and the nearest and farthest depth of each, `[N, 2]` float64 in scene units.

    Raises:
        InputError: see `read_llff`.
    """
    rows = _load_rows(path)
    cameras = []
    for index, row in enumerate(rows):
        fields = Fields(path, index, {})
        if not np.isfinite(row[:15]).all() or np.abs(row[:15]).max() > 1e30:
            raise fields.error("the pose is not finite")
        block = torch.from_numpy(row[:15].reshape(3, 5))
        height, width, focal = block[:, 4].tolist()
        if width != round(width) or height != round(height) or not 1 <= min(width, height) <= MOST_PIXELS_A_SIDE:
            raise fields.error(f"an image of {width:g}x{height:g} pixels cannot be")
        if max(width, height) > MOST_PIXELS_A_SIDE or not 1e-3 < focal < 1e9:
            raise fields.error(f"width {width:g}, height {height:g} and focal length {focal:g} make no camera")
        c2w = fields.rigid(llff_to_opencv(block[:, :4]).tolist(), "the pose")
        rotation = c2w[:3, :3].T
        w2c = torch.eye(4, dtype=torch.float64)
        w2c[:3, :3], w2c[:3, 3] = rotation, -rotation @ c2w[:3, 3]
        K = torch.tensor([[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]])
        cameras.append(Camera(K, w2c.float(), int(width), int(height)))
    return cameras, torch.from_numpy(rows[:, 15:].copy())


def write_poses_bounds(path: Path, cameras: Camera, bounds: Float[Tensor, "N 2"]) -> None:
    """Write a batch of cameras.

    Args:
        path: the file, `poses_bounds.npy` by custom.
        cameras: batch `[N]` with square pixels and the principal point in the middle: the format knows no other.
        bounds: `[N, 2]` nearest and farthest depth, scene units.

    Raises:
        ValueError: cameras that the format cannot hold.
        InputError: the file cannot be written.
    """
    K, w2c = cameras.K.double(), cameras.w2c.double()
    middle = K.new_tensor([0.5 * cameras.width, 0.5 * cameras.height])
    if not torch.allclose(K[:, 0, 0], K[:, 1, 1], rtol=1e-4) or not torch.allclose(K[:, :2, 2], middle, atol=1e-2):
        raise ValueError("cameras: expected square pixels and a centred principal point, poses_bounds.npy has no other")
    rotation = w2c[:, :3, :3].transpose(1, 2)
    c2w = torch.cat([rotation, -rotation @ w2c[:, :3, 3:]], dim=2)
    size = K.new_tensor([cameras.height, cameras.width]).expand(len(K), 2)
    block = torch.cat([opencv_to_llff(c2w), torch.cat([size, K[:, 0, :1]], dim=1)[..., None]], dim=2)
    with whole_file(path) as temporary, temporary.open("wb") as out:
        np.save(out, torch.cat([block.flatten(1), bounds.double()], dim=1).numpy())


def llff_to_opencv(c2w: Float[Tensor, "*batch 3 4"]) -> Float[Tensor, "*batch 3 4"]:
    """Camera-to-world with LLFF's axes (down, right, backwards) to OpenCV's (right, down, forwards)."""
    down, right, backwards, center = c2w.unbind(-1)
    return torch.stack([right, down, -backwards, center], dim=-1)


def opencv_to_llff(c2w: Float[Tensor, "*batch 3 4"]) -> Float[Tensor, "*batch 3 4"]:
    """The inverse of `llff_to_opencv`, which is the same exchange."""
    return llff_to_opencv(c2w)


def _load_rows(path: Path) -> npt.NDArray[np.float64]:
    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(path, "the file does not exist") from error
    except MemoryError as error:
        raise InputError(path, "claims to hold more numbers than fit into memory") from error
    except Exception as error:  # numpy raises several types on broken headers
        raise InputError(path, f"could not be read as a NumPy array ({error})") from error
    if isinstance(rows, np.lib.npyio.NpzFile):
        rows.close()
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        shape = getattr(rows, "shape", "several arrays")
        raise InputError(path, f"an array of N rows of 17 numbers was expected, found {shape}")
    if len(rows) == 0:
        raise InputError(path, "holds no cameras")
    return rows.astype(np.float64)
