"""Real spherical harmonics as polynomials of a unit direction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MAX_BANDS = 4


def sh_basis(directions: Float[Tensor, "*batch 3"], num_bands: int = 3) -> Float[Tensor, "*batch N"]:
    """The first real spherical harmonics, orthonormal over the sphere.

    Args:
        directions: `[..., 3]` unit vectors.
        num_bands: 1 to 4 bands, `num_bands ** 2` functions.

    Returns:
        `[..., num_bands ** 2]`, ordered by band l, then by m from -l to l.

    Raises:
        ValueError: `num_bands` is outside 1 to 4.

    Differentiable in: directions.

    Source: P.-P. Sloan, "Stupid Spherical Harmonics (SH) Tricks", GDC 2008, appendix A2, without the
    Condon-Shortley phase.
    """
    if not 1 <= num_bands <= MAX_BANDS:
        raise ValueError(f"num_bands: expected 1 to {MAX_BANDS}, got {num_bands}")
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, 0.28209479177387814)]
    if num_bands > 1:
        basis += [0.4886025119029199 * y, 0.4886025119029199 * z, 0.4886025119029199 * x]
    if num_bands > 2:
        basis += [
            1.0925484305920792 * x * y,
            1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    if num_bands > 3:
        basis += [
            0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            0.4570457994644658 * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
            0.4570457994644658 * x * (5 * z * z - 1),
            1.445305721320277 * z * (x * x - y * y),
            0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, dim=-1)
