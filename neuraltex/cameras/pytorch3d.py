"""Cameras of PyTorch3D, as the arrays that its `PerspectiveCameras` takes; the library itself is not needed.

Its own objects are converted in `neuraltex.pytorch3d`.

Its camera axes are +x left, +y up, +z forward, and points are row vectors: `x_cam = x_world @ R + T`. A pixel is an
area there as here: (0, 0) is the outer corner of the top-left one.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera


class PerspectiveArrays(TypedDict):
    """The arguments of `pytorch3d.renderer.PerspectiveCameras(**arrays)`.

    `R` `[N, 3, 3]` and `T` `[N, 3]` world to view; `focal_length` `[N, 2]` and `principal_point` `[N, 2]` in pixels or
    in NDC units; `image_size` `[N, 2]` rows and columns; `in_ndc` tells which.
    """

    R: Tensor
    T: Tensor
    focal_length: Tensor
    principal_point: Tensor
    image_size: Tensor
    in_ndc: bool


def to_pytorch3d(cameras: Camera, *, in_ndc: bool = False) -> PerspectiveArrays:
    """Our cameras as PyTorch3D's.

    Args:
        cameras: batch `[N]`, without skew.
        in_ndc: in units of half the shorter side, +x left and +y up from the middle; else in pixels.

    Raises:
        ValueError: not a batch, or a camera with skew, which PyTorch3D's arrays cannot hold.

    Differentiable in: K, w2c.

    Source: PyTorch3D's notes on cameras, "Camera Coordinate Systems" and "NDC space".
    """
    if len(cameras.batch_shape) != 1:
        raise ValueError(f"cameras: expected one batch dimension, got the batch shape {cameras.batch_shape}")
    if bool((cameras.K[:, 0, 1] != 0).any()):
        raise ValueError(
            "cameras: expected no skew, PyTorch3D's focal length and principal point cannot hold any; "
            "rasterize(..., backend='pytorch3d') takes skewed cameras as they are"
        )
    flip = _flip(cameras.w2c)
    focal = torch.stack([cameras.K[:, 0, 0], cameras.K[:, 1, 1]], dim=1)
    principal = cameras.K[:, :2, 2]
    if in_ndc:
        unit = 0.5 * min(cameras.width, cameras.height)
        focal, principal = focal / unit, (_middle(cameras) - principal) / unit
    return PerspectiveArrays(
        R=(flip[:, None] * cameras.w2c[:, :3, :3]).transpose(1, 2),
        T=flip * cameras.w2c[:, :3, 3],
        focal_length=focal,
        principal_point=principal,
        image_size=focal.new_tensor([[cameras.height, cameras.width]]).expand(len(focal), 2),
        in_ndc=in_ndc,
    )


def from_pytorch3d(
    R: Float[Tensor, "N 3 3"],
    T: Float[Tensor, "N 3"],
    focal_length: Float[Tensor, "N 2"] | Float[Tensor, "N 1"],
    principal_point: Float[Tensor, "N 2"],
    *,
    width: int,
    height: int,
    in_ndc: bool,
) -> Camera:
    """PyTorch3D's cameras as ours; the inverse of `to_pytorch3d`.

    Args:
        R: `[N, 3, 3]` world to view, for row vectors.
        T: `[N, 3]` the same.
        focal_length: `[N, 2]`, or `[N, 1]` where both axes share it.
        principal_point: `[N, 2]`.
        width: columns.
        height: rows.
        in_ndc: whether focal length and principal point are in NDC units.

    Differentiable in: R, T, focal_length, principal_point.
    """
    flip = _flip(R)
    w2c = R.new_zeros(len(R), 4, 4)
    w2c[:, :3, :3] = flip[:, None] * R.transpose(1, 2)
    w2c[:, :3, 3] = flip * T
    w2c[:, 3, 3] = 1.0
    focal = focal_length.expand(-1, 2)
    if in_ndc:
        unit = 0.5 * min(width, height)
        middle = principal_point.new_tensor([0.5 * width, 0.5 * height])
        focal, principal_point = focal * unit, middle - principal_point * unit
    K = R.new_zeros(len(R), 3, 3)
    K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = focal[:, 0], focal[:, 1], 1.0
    K[:, :2, 2] = principal_point
    return Camera(K, w2c, width, height)


def _flip(like: Tensor) -> Float[Tensor, "3"]:
    """OpenCV's x right and y down against PyTorch3D's x left and y up, along the rows of a rotation."""
    return like.new_tensor([-1.0, -1.0, 1.0])


def _middle(cameras: Camera) -> Float[Tensor, "2"]:
    return cameras.K.new_tensor([0.5 * cameras.width, 0.5 * cameras.height])
