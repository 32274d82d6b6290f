"""Registration by hand: pixels and the points of the mesh they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuraltex.capture.solve.similarity import Similarity
from neuraltex.capture.solve.solution import Solution
from neuraltex.errors import InputError
from neuraltex.files import read_json
from neuraltex.optional import require

Array = npt.NDArray[np.float64]

FEWEST_POINTS = 4
# A correspondence further off than this share of the picture was clicked wrongly.
LARGEST_MISS = 0.02


@dataclass(frozen=True)
class Correspondences:
    """Pixels and points of the mesh.

    Args:
        frames: `[N]` position of the frame among the solved ones.
        pixels: `[N, 2]` column and row of the photograph as it lies in the capture folder.
        points: `[N, 3]` in the mesh's frame.
    """

    frames: npt.NDArray[np.int64]
    pixels: Array
    points: Array


def read_correspondences(path: Path, solution: Solution, verts: Array) -> Correspondences:
    """Read a list of `{"frame": ..., "pixel": [x, y], "vertex": i}` or `"xyz": [x, y, z]` instead of the vertex.

    Args:
        path: a JSON file.
        solution: whose frames are meant, by file name or, of a video, by number.
        verts: `[V, 3]` of the mesh; vertices count from 0.

    Raises:
        InputError: not such a file, or fewer than four usable entries; names the entry.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or len(entries) < FEWEST_POINTS:
        raise InputError(path, f"expected a list of at least {FEWEST_POINTS} correspondences")
    frames, pixels, points = [], [], []
    for k, entry in enumerate(entries):
        try:
            frames.append(_frame(entry["frame"], solution))
            pixels.append([float(value) for value in entry["pixel"]])
            point = verts[_vertex(entry["vertex"], len(verts))] if "vertex" in entry else entry["xyz"]
            points.append([float(value) for value in point])
            if len(pixels[-1]) != 2 or len(points[-1]) != 3 or not np.isfinite([*pixels[-1], *points[-1]]).all():
                raise ValueError("pixel takes two finite numbers, xyz three")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                path,
                f"entry {k} is not usable ({error})",
                hint='write {"frame": "000010.jpg", "pixel": [x, y], "vertex": 17}',
            ) from error
    return Correspondences(np.array(frames, dtype=np.int64), np.array(pixels), np.array(points))


def _vertex(value: Any, count: int) -> int:
    if not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"vertex {value!r} is not one of 0 to {count - 1}")
    return value


def _frame(value: Any, solution: Solution) -> int:
    for k, frame in enumerate(solution.frames):
        if value == frame.frame_index if isinstance(value, int) else value in (frame.name, Path(frame.name).name):
            return k
    raise ValueError(f"frame {value!r} is not among those that were solved")


def fit_correspondences(given: Correspondences, solution: Solution, *, path: Path) -> Similarity:
    """The similarity under which the mesh's points project onto the pixels.

    The frame with most points gives the rotation (PnP), the others the scale; where there is one frame only, the
    depth of the sparse cloud around the pixels gives it. All are then adjusted together with a robust loss.

    Args:
        given: at least four correspondences, four of them in one frame and not on a line.
        solution: cameras and cloud in the solver's frame.
        path: for messages.

    Returns:
        solver's frame to the mesh's.

    Raises:
        InputError: no frame has four points, they do not determine a pose, or they contradict each other.
    """
    import cv2

    optimize = require("scipy.optimize", "poses")
    pixels = _undistorted(given, solution)
    main = int(np.bincount(given.frames).argmax())
    in_main = given.frames == main
    if in_main.sum() < FEWEST_POINTS:
        raise InputError(path, f"expected at least {FEWEST_POINTS} points in one frame, the most are {in_main.sum()}")
    none: Any = None
    solved, turn, shift = cv2.solvePnP(
        given.points[in_main], pixels[in_main], solution.frames[main].K, none, flags=cv2.SOLVEPNP_SQPNP
    )
    if not solved:
        raise InputError(path, "the points do not determine where the camera stood", hint="spread them over the object")
    rotation_to_camera = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    inverse = _solver_units(
        given, pixels, solution, main, rotation_to_camera, np.asarray(shift, dtype=np.float64).ravel()
    )
    R = solution.frames[main].w2c[:3, :3]
    t = solution.frames[main].w2c[:3, 3]

    def mesh_to_solve(parameters: Array) -> tuple[Array, Array]:
        turned = np.asarray(cv2.Rodrigues(parameters[:3])[0])
        # One frame alone looks the same at any scale; it keeps the one it began with.
        scale = float(np.exp(np.clip(parameters[6], -30, 30))) if len(parameters) == 7 else inverse
        # x_cam of the main camera is scale * (turned @ X + shift); its pose in the solver's frame is known.
        return scale * R.T @ turned, R.T @ (scale * parameters[3:6] - t)

    def residuals(parameters: Array) -> Array:
        matrix, offset = mesh_to_solve(parameters)
        return (_project(given.points @ matrix.T + offset, given.frames, solution) - pixels).ravel()

    start = np.concatenate([cv2.Rodrigues(rotation_to_camera)[0].ravel(), shift.ravel(), [np.log(inverse)]])
    start = start if bool((given.frames != main).any()) else start[:6]
    fitted = optimize.least_squares(residuals, start, loss="soft_l1", f_scale=2.0, x_scale="jac").x
    misses = np.linalg.norm(residuals(fitted).reshape(-1, 2), axis=1)
    allowed = LARGEST_MISS * max(solution.frames[main].width, solution.frames[main].height)
    if np.median(misses) > allowed:
        raise InputError(
            path,
            f"the points contradict each other: half of them miss by more than {np.median(misses):.0f} pixels, entry "
            f"{int(misses.argmax())} most",
            hint="check that pixels are given as column, row and that vertices count from 0",
        )
    matrix, offset = mesh_to_solve(fitted)
    scale = float(np.cbrt(np.linalg.det(matrix)))
    return Similarity(scale, matrix / scale, offset).inverse()


def _solver_units(
    given: Correspondences, pixels: Array, solution: Solution, main: int, rotation: Array, shift: Array
) -> float:
    """Solver's units in one unit of the mesh."""
    others = given.frames != main
    pose = solution.frames[main].w2c
    if others.any():
        # Seen from another frame, a point lies on a known ray: one unknown, two equations a point.
        in_camera = given.points[others] @ rotation.T + shift
        directions = in_camera @ pose[:3, :3]
        center = solution.centers[main]
        rays, origins = _rays(given.frames[others], pixels[others], solution)
        left = np.cross(rays, directions).ravel()
        right = np.cross(rays, origins - center).ravel()
        if left @ left > 0 and (scale := float(left @ right / (left @ left))) > 0:
            return scale
    depth = (given.points[~others] @ rotation.T + shift)[:, 2]
    seen = solution.observations[solution.observations[:, 1] == main, 0]
    cloud = solution.points[seen] @ pose[:3, :3].T + pose[:3, 3]
    at = cloud @ solution.frames[main].K.T
    near = np.linalg.norm(at[:, None, :2] / at[:, None, 2:] - pixels[~others][None], axis=2).argmin(0)
    return float(np.median(cloud[near, 2] / depth))


def _rays(frames: Sequence[int] | npt.NDArray[np.int64], pixels: Array, solution: Solution) -> tuple[Array, Array]:
    rays = np.zeros((len(pixels), 3))
    for k, (frame, pixel) in enumerate(zip(frames, pixels, strict=True)):
        solved = solution.frames[frame]
        ray = solved.w2c[:3, :3].T @ np.linalg.solve(solved.K, np.array([*pixel, 1.0]))
        rays[k] = ray / np.linalg.norm(ray)
    return rays, solution.centers[np.asarray(frames)]


def _project(points: Array, frames: npt.NDArray[np.int64], solution: Solution) -> Array:
    w2c = solution.w2c[frames]
    K = np.stack([frame.K for frame in solution.frames])[frames]
    in_camera = np.einsum("nij,nj->ni", w2c[:, :3, :3], points) + w2c[:, :3, 3]
    in_camera[:, 2] = np.where(in_camera[:, 2] > 1e-9, in_camera[:, 2], 1e-9)
    homogeneous = np.einsum("nij,nj->ni", K, in_camera)
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def _undistorted(given: Correspondences, solution: Solution) -> Array:
    """Pixels as a pinhole would have taken them."""
    import cv2

    pixels = given.pixels.copy()
    for k, frame in enumerate(given.frames):
        solved = solution.frames[frame]
        if solved.distortion is not None and not solved.distortion.fisheye:
            lens = np.zeros(8)
            lens[: len(solved.distortion.coefficients)] = solved.distortion.coefficients
            pixels[k] = cv2.undistortPoints(pixels[k].reshape(1, 1, 2), solved.K, lens, P=solved.K).ravel()
    return pixels
