"""Lens distortion, removed once when photographs are imported, so that everything after it is a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from neuraltex.cameras.camera import Camera


@dataclass(frozen=True)
class Distortion:
    """Lens distortion in OpenCV's terms.

    Args:
        fisheye: the equidistant model (OpenCV's `fisheye`, COLMAP's OPENCV_FISHEYE) instead of the Brown-Conrady one.
        coefficients: fisheye: k1 k2 k3 k4. Otherwise k1 k2 p1 p2 k3 k4 k5 k6, of which k4 to k6 stand in a
            denominator (COLMAP's FULL_OPENCV). Missing ones at the end count as 0.

    Raises:
        ValueError: more coefficients than the model has.
    """

    fisheye: bool
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        most = 4 if self.fisheye else 8
        if len(self.coefficients) > most:
            raise ValueError(f"coefficients: expected at most {most}, got {len(self.coefficients)}")
        # Zeros at the end say nothing; without them, equal lenses compare equal.
        count = max((i + 1 for i, value in enumerate(self.coefficients) if value != 0), default=0)
        object.__setattr__(self, "coefficients", tuple(self.coefficients[:count]))

    @staticmethod
    def brown(*coefficients: float) -> Distortion | None:
        """Brown-Conrady k1 k2 p1 p2 k3 k4 k5 k6, or None where all are 0, which is no distortion."""
        return Distortion(False, coefficients) if any(coefficients) else None

    @staticmethod
    def equidistant(*coefficients: float) -> Distortion:
        """Fisheye k1 k2 k3 k4. All 0 is still a fisheye: the projection itself is not a pinhole's."""
        return Distortion(True, coefficients)


def undistort(image: npt.NDArray[np.uint8], camera: Camera, distortion: Distortion) -> npt.NDArray[np.uint8]:
    """The photograph that a pinhole camera with the same `K` would have taken.

    Keeping `K` means that the centre of the picture keeps its scale: a barrel-distorted photograph loses a little at
    its edges, a fisheye much; what a pincushion-distorted one never saw is a replica of its edge and is not valid.

    Args:
        image: `[H, W]` or `[H, W, C]` uint8, as photographed.
        camera: single camera of the same size, pinhole part of the lens.
        distortion: the rest of the lens.

    Returns:
        An image of the same shape.

    Raises:
        ValueError: `image` is not of the camera's size.
    """
    import cv2

    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(f"image: expected {(camera.height, camera.width)} rows and columns, got {image.shape[:2]}")
    columns, rows = sampling_maps(camera, distortion)
    moved = cv2.remap(image, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


def valid_pixels(camera: Camera, distortion: Distortion) -> npt.NDArray[np.bool_]:
    """`[H, W]` bool: the undistorted pixels that the photograph saw.

    Out are those that lie outside of the photograph, and those beyond the radius where a distortion polynomial folds
    back: there the map returns to places that belong to other pixels.
    """
    columns, rows = sampling_maps(camera, distortion)
    inside = (columns >= -0.5) & (columns <= camera.width - 0.5) & (rows >= -0.5) & (rows <= camera.height - 0.5)
    if min(columns.shape) < 2:
        return inside
    column_by_row, column_by_column = np.gradient(columns.astype(np.float64))
    row_by_row, row_by_column = np.gradient(rows.astype(np.float64))
    kept_area = column_by_column * row_by_row - column_by_row * row_by_column > 0
    return inside & kept_area & (column_by_column > 0) & (row_by_row > 0)


def sampling_maps(camera: Camera, distortion: Distortion) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where each undistorted pixel lies in the photograph.

    Returns:
        Columns and rows, each `[H, W]` float32, counted OpenCV's way: 0 is the centre of the first pixel.
    """
    K = tuple(camera.K.double().flatten().tolist())
    return _sampling_maps(K, camera.width, camera.height, distortion)


@lru_cache(maxsize=2)  # one lens takes many photographs
def _sampling_maps(
    K: tuple[float, ...], width: int, height: int, distortion: Distortion
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    import cv2

    intrinsics = np.array(K).reshape(3, 3)
    intrinsics[:2, 2] -= 0.5  # our pixel centres lie at +0.5, OpenCV's at whole numbers
    if distortion.fisheye:
        coefficients = np.zeros(4)
        coefficients[: len(distortion.coefficients)] = distortion.coefficients
        maps = cv2.fisheye.initUndistortRectifyMap(
            intrinsics, coefficients, np.eye(3), intrinsics, (width, height), cv2.CV_32FC1
        )
    else:
        coefficients = np.zeros(8)
        coefficients[: len(distortion.coefficients)] = distortion.coefficients
        maps = cv2.initUndistortRectifyMap(
            intrinsics, coefficients, np.eye(3), intrinsics, (width, height), cv2.CV_32FC1
        )
    return np.asarray(maps[0], dtype=np.float32), np.asarray(maps[1], dtype=np.float32)
