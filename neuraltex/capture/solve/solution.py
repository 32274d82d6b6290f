"""What structure from motion yields, in its own frame and unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import Distortion
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.nerfstudio import read_transforms, write_transforms
from neuraltex.errors import InputError
from neuraltex.files import whole_file

SOLVE_FILE = "solve.json"
POINTS_FILE = "points.npz"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SolvedFrame:
    """One registered photograph.

    Args:
        name: path below the capture folder.
        K: `[3, 3]` in pixels.
        w2c: `[4, 4]`.
        width, height: in pixels.
        distortion: of the lens, None for a pinhole.
        mask: path below the capture folder, or None.
        frame_index: of the video.
        seconds: time in the video.
    """

    name: str
    K: Array
    w2c: Array
    width: int
    height: int
    distortion: Distortion | None = None
    mask: str | None = None
    frame_index: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Solution:
    """Cameras and a sparse cloud, in the solver's frame.

    Args:
        frames: the registered ones, in order.
        points: `[P, 3]` the sparse cloud.
        angles_deg: `[P]` widest angle between two of the rays that made each point; small ones have no certain depth.
        observations: `[O, 2]` which point is seen by which frame, both positions.
        num_given: how many frames were to be registered.
        error_px: mean reprojection error in pixels.
    """

    frames: tuple[SolvedFrame, ...]
    points: Array
    angles_deg: Array
    observations: npt.NDArray[np.int64]
    num_given: int
    error_px: float

    @property
    def w2c(self) -> Array:
        """`[N, 4, 4]`."""
        return np.stack([frame.w2c for frame in self.frames])

    @property
    def centers(self) -> Array:
        """`[N, 3]` where the cameras stand."""
        w2c = self.w2c
        return np.asarray(-np.einsum("nji,nj->ni", w2c[:, :3, :3], w2c[:, :3, 3]))


def camera_frames(folder: Path, frames: tuple[SolvedFrame, ...], w2c: Array) -> list[CameraFrame]:
    """Frames with other extrinsics, as camera files hold them."""
    return [
        CameraFrame(
            name=frame.name,
            image_path=folder / frame.name,
            mask_path=None if frame.mask is None else folder / frame.mask,
            camera=Camera(torch.from_numpy(frame.K), torch.from_numpy(matrix), frame.width, frame.height),
            distortion=frame.distortion,
            seconds=frame.seconds,
            frame_index=frame.frame_index,
        )
        for frame, matrix in zip(frames, w2c, strict=True)
    ]


def write_solution(folder: Path, solution: Solution) -> None:
    """Write `solve.json` and `points.npz` into a capture folder."""
    write_transforms(folder / SOLVE_FILE, camera_frames(folder, solution.frames, solution.w2c))
    with whole_file(folder / POINTS_FILE) as temporary:
        np.savez_compressed(
            temporary,
            points=solution.points.astype(np.float32),
            angles_deg=solution.angles_deg.astype(np.float32),
            observations=solution.observations.astype(np.int32),
            num_given=np.int64(solution.num_given),
            error_px=np.float64(solution.error_px),
        )


def read_solution(folder: Path) -> Solution:
    """Read what `write_solution` wrote.

    Raises:
        InputError: a file is missing or damaged.
    """
    camera_set = read_transforms(folder / SOLVE_FILE)
    path = folder / POINTS_FILE
    try:
        with np.load(path) as stored:
            points = stored["points"].astype(np.float64)
            angles = stored["angles_deg"].astype(np.float64)
            seen = stored["observations"].astype(np.int64)
            num_given, error = int(stored["num_given"]), float(stored["error_px"])
    except (OSError, ValueError, KeyError) as error_found:
        raise InputError(
            path, f"could not be read ({error_found})", hint="run neuraltex prepare again"
        ) from error_found
    return Solution(tuple(map(solved_frame, camera_set.frames)), points, angles, seen, num_given, error)


def solved_frame(frame: CameraFrame) -> SolvedFrame:
    """A frame of a camera file."""
    return SolvedFrame(
        name=frame.name,
        K=frame.camera.K.double().numpy(),
        w2c=frame.camera.w2c.double().numpy(),
        width=frame.camera.width,
        height=frame.camera.height,
        distortion=frame.distortion,
        mask=None if frame.mask_path is None or frame.image_path is None else _below(frame.mask_path, frame),
        frame_index=frame.frame_index,
        seconds=frame.seconds,
    )


def _below(mask: Path, frame: CameraFrame) -> str:
    """The mask's path as seen from the folder that the photograph's name starts from."""
    assert frame.image_path is not None
    root = frame.image_path
    for _ in Path(frame.name).parts:
        root = root.parent
    return mask.relative_to(root).as_posix() if mask.is_relative_to(root) else mask.as_posix()
