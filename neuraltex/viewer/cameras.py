"""The browser's camera and ours: one place where they are converted, both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.rotations import matrix_from_quaternion, quaternion_from_matrix


@dataclass(frozen=True)
class BrowserCamera:
    """A camera as viser tells it: a pose in OpenCV axes and a lens without a principal point of its own.

    Args:
        wxyz: unit quaternion of the rotation that takes camera axes to world axes.
        position: of the camera, world.
        fov: vertical field of view in radians, between 0 and pi.
        aspect: width of the picture on the screen, divided by its height.
    """

    wxyz: tuple[float, float, float, float]
    position: tuple[float, float, float]
    fov: float
    aspect: float


def viser_to_camera(browser: BrowserCamera, width: int, height: int) -> Camera:
    """A browser's camera as ours, on a picture of any size.

    The browser stretches the picture over its canvas, so pixels are square only where `width / height` is `aspect`.

    Args:
        browser: the camera.
        width: columns of the picture.
        height: rows of it.

    Returns:
        A single camera, float32.
    """
    c2w = matrix_from_quaternion(torch.tensor(browser.wxyz, dtype=torch.float64))
    position = torch.tensor(browser.position, dtype=torch.float64)
    w2c = torch.eye(4, dtype=torch.float64)
    w2c[:3, :3] = c2w.T
    w2c[:3, 3] = -(c2w.T @ position)
    half = math.tan(0.5 * browser.fov)
    K = torch.eye(3, dtype=torch.float64)
    K[0, 0], K[1, 1] = 0.5 * width / (half * browser.aspect), 0.5 * height / half
    K[0, 2], K[1, 2] = 0.5 * width, 0.5 * height
    return Camera(K.float(), w2c.float(), width, height)


def camera_to_viser(camera: Camera, *, aspect: float | None = None) -> BrowserCamera:
    """Our camera as the browser's; the inverse of `viser_to_camera` where the principal point is the middle.

    Args:
        camera: a single camera.
        aspect: of the canvas; its field of view is then such that the camera's whole picture is in it. None for the
            camera's own, and its own vertical field of view.
    """
    rotation, K = camera.w2c[:3, :3].double().cpu(), camera.K.double().cpu()
    position = (-(rotation.T @ camera.w2c[:3, 3].double().cpu())).tolist()
    down, across = 0.5 * camera.height / float(K[1, 1]), 0.5 * camera.width / float(K[0, 0])
    if aspect is not None:
        # From the principal point, which is the middle of the canvas, to the farther border.
        down = max(float(K[1, 2]), camera.height - float(K[1, 2])) / float(K[1, 1])
        across = max(float(K[0, 2]), camera.width - float(K[0, 2])) / float(K[0, 0])
        down = max(down, across / aspect)
    wxyz = quaternion_from_matrix(rotation.T).tolist()
    return BrowserCamera(
        wxyz=(wxyz[0], wxyz[1], wxyz[2], wxyz[3]),
        position=(position[0], position[1], position[2]),
        fov=2 * math.atan(down),
        aspect=across / down if aspect is None else aspect,
    )


def forward_of(browser: BrowserCamera) -> Float[Tensor, "3"]:
    """`[3]` where the camera looks, unit, world, float64."""
    return matrix_from_quaternion(torch.tensor(browser.wxyz, dtype=torch.float64))[:, 2]


def orbit_up(browser: BrowserCamera, up: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The axis to turn round while orbiting: as near to the world's as the camera's roll allows.

    Args:
        browser: the camera.
        up: `[3]` the world's, unit.

    Returns:
        `[3]` unit, in the plane of the camera's vertical and forward axes, so that setting it rolls nothing.
    """
    axes = matrix_from_quaternion(torch.tensor(browser.wxyz, dtype=torch.float64))
    right, upwards = axes[:, 0], -axes[:, 1]
    level = up.double() - (up.double() @ right) * right
    # Upside down, or looking straight along the axis: the camera's own.
    return normalize(level, dim=0) if float(level @ upwards) > 0.05 else upwards


def picture_size(longer: int, aspect: float, *, multiple: int = 1) -> tuple[int, int]:
    """Width and height of a picture whose longer side is given.

    Args:
        longer: the longer side in pixels.
        aspect: width divided by height.
        multiple: round both to multiples of this.
    """
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return max(round(width / multiple), 1) * multiple, max(round(height / multiple), 1) * multiple
