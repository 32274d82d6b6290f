"""Rotation matrices: exponential and logarithm, interpolation, averages. Pure functions, any batch shape."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cross_matrix(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """`[..., 3, 3]` matrices that take the cross product: `cross_matrix(a) @ b == cross(a, b)`."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def so3_exp(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations by `|v|` radians about `v`.

    Args:
        vectors: `[..., 3]` axis times angle in radians.

    Returns:
        `[..., 3, 3]` rotation matrices.

    Differentiable in: vectors, at zero too.

    Source: Rodrigues' formula; Taylor series below 1e-2 radians, whose next term is under 1e-13.
    """
    squared = vectors.square().sum(-1)[..., None, None]
    small = squared < 1e-4
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    sine = torch.where(small, 1 - squared / 6 * (1 - squared / 20), angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24 * (1 - squared / 30), (1 - angle.cos()) / angle.square())
    skew = cross_matrix(vectors)
    return torch.eye(3, dtype=vectors.dtype, device=vectors.device) + sine * skew + cosine * (skew @ skew)


def so3_log(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis times angle of rotations, the angle between 0 and pi; the inverse of `so3_exp`.

    It goes through the unit quaternion, so it is accurate near 0 and near pi alike.

    Args:
        rotations: `[..., 3, 3]` rotation matrices.

    Returns:
        `[..., 3]` in radians.
    """
    quaternion = quaternion_from_matrix(rotations)
    scalar, vector = quaternion[..., :1], quaternion[..., 1:]
    length = vector.norm(dim=-1, keepdim=True)
    # 2 atan2(s, c) / s tends to 2 / c as s goes to 0, where c is 1.
    factor = torch.where(
        length > 1e-12, 2 * torch.atan2(length, scalar) / length.clamp_min(1e-12), 2 * torch.ones_like(length)
    )
    return vector * factor


def quaternion_from_matrix(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions (w, x, y, z) with w >= 0 of rotation matrices.

    Source: Shepperd 1978: each component squared is a sum of diagonal entries, and the largest of the four divides.
    """
    m = rotations
    diagonal = m.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(-1, keepdim=True)
    four_squared = torch.cat([1 + trace, 1 - trace + 2 * diagonal], dim=-1)
    largest = four_squared.argmax(-1, keepdim=True)
    row_w = torch.stack([four_squared[..., 0], _odd(m, 2, 1), _odd(m, 0, 2), _odd(m, 1, 0)], dim=-1)
    row_x = torch.stack([_odd(m, 2, 1), four_squared[..., 1], _even(m, 0, 1), _even(m, 0, 2)], dim=-1)
    row_y = torch.stack([_odd(m, 0, 2), _even(m, 0, 1), four_squared[..., 2], _even(m, 1, 2)], dim=-1)
    row_z = torch.stack([_odd(m, 1, 0), _even(m, 0, 2), _even(m, 1, 2), four_squared[..., 3]], dim=-1)
    table = torch.stack([row_w, row_x, row_y, row_z], dim=-2)
    picked = table.gather(-2, largest[..., None].expand(*largest.shape[:-1], 1, 4)).squeeze(-2)
    quaternion = torch.nn.functional.normalize(picked, dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_from_quaternion(quaternions: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of quaternions (w, x, y, z), which need not be unit, only not zero."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def slerp(
    start: Float[Tensor, "*batch 3 3"], end: Float[Tensor, "*batch 3 3"], amount: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3 3"]:
    """Rotations on the shortest arc from `start` (amount 0) to `end` (amount 1), at constant angular speed."""
    return start @ so3_exp(so3_log(start.transpose(-1, -2) @ end) * amount[..., None])


def nearest_rotation(matrices: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation closest to each matrix in the Frobenius norm; of a weighted sum of rotations, their mean.

    Source: Arun, Huang and Blostein 1987 (the orthogonal Procrustes problem with determinant +1).
    """
    u, _, vh = torch.linalg.svd(matrices)
    flip = torch.ones_like(matrices[..., 0])
    flip[..., 2] = torch.linalg.det(u @ vh).sign()
    return (u * flip[..., None, :]) @ vh


def _odd(m: Tensor, i: int, j: int) -> Tensor:
    return m[..., i, j] - m[..., j, i]


def _even(m: Tensor, i: int, j: int) -> Tensor:
    return m[..., i, j] + m[..., j, i]
