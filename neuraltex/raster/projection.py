"""The arithmetic every backend shares: homogeneous pixels and edge functions relative to a pixel centre.

Source: M. Olano, T. Greer, "Triangle scan conversion using 2D homogeneous coordinates", Graphics Hardware 1997. The
edge functions are evaluated on vertices moved to the pixel, `q = xy - pixel * z`: the large screen coordinates cancel
before anything is multiplied, so tiny triangles keep their precision, and the two faces of an edge compute values
that are exactly opposite, so no pixel falls between them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera


def project_homogeneous(verts: Float[Tensor, "*batch V 3"], cameras: Camera) -> Float[Tensor, "B V 3"]:
    """World positions to (column * z, row * z, z), which stays finite at and behind the camera plane.

    Args:
        verts: `[V, 3]` or `[B, V, 3]` world positions.
        cameras: a batch `[B]`.

    Returns:
        `[B, V, 3]`.

    Differentiable in: verts, K, w2c.
    """
    to_pixels = cameras.K @ cameras.w2c[:, :3, :]
    return verts @ to_pixels[:, :, :3].transpose(-1, -2) + to_pixels[:, None, :, 3]


def edge_functions(
    x: Float[Tensor, "3 N"],
    y: Float[Tensor, "3 N"],
    z: Float[Tensor, "3 N"] | None,
    column: Float[Tensor, "N"],
    row: Float[Tensor, "N"],
) -> tuple[Tensor, Tensor, Tensor]:
    """The three homogeneous edge functions of triangles at pixel centres.

    Args:
        x, y: `[3, N]` columns and rows of the corners, times z.
        z: `[3, N]` their depths; None where x and y are divided by them already, which stands for z = 1.
        column, row: `[N]` pixel centres.

    Returns:
        `e0, e1, e2`; `e_i / (e0 + e1 + e2)` is the perspective-correct barycentric of corner i (for z = 1 the one on
        the screen). All three have the sign of their sum where the pixel's line of sight meets the triangle.

    Differentiable in: x, y, z.
    """
    if z is None:
        q = [(x[i] - column, y[i] - row) for i in range(3)]
    else:
        q = [(x[i] - column * z[i], y[i] - row * z[i]) for i in range(3)]
    (q0x, q0y), (q1x, q1y), (q2x, q2y) = q
    return q1x * q2y - q1y * q2x, q2x * q0y - q2y * q0x, q0x * q1y - q0y * q1x


def edge_slopes(
    x: Float[Tensor, "3 N"],
    y: Float[Tensor, "3 N"],
    z: Float[Tensor, "3 N"],
    column: Float[Tensor, "N"],
    row: Float[Tensor, "N"],
) -> tuple[Float[Tensor, "3 N"], Float[Tensor, "3 N"]]:
    """How the three edge functions grow from a pixel to the next column and to the next row; they are linear in both.

    Args:
        x, y, z: `[3, N]` homogeneous pixels of the corners.
        column, row: `[N]` pixel centres.

    Differentiable in: x, y, z.
    """
    qx, qy = x - column * z, y - row * z
    # The corners after and before each one.
    after, before = [1, 2, 0], [2, 0, 1]
    return z[before] * qy[after] - z[after] * qy[before], z[after] * qx[before] - z[before] * qx[after]


def barycentrics(
    corners: Float[Tensor, "M 3 3"], column: Float[Tensor, "M"], row: Float[Tensor, "M"]
) -> tuple[Float[Tensor, "M 3"], Float[Tensor, "M"]]:
    """Perspective-correct barycentrics and depth of triangles known to cover their pixels.

    Args:
        corners: `[M, 3, 3]` homogeneous pixels of each triangle's corners.
        column, row: `[M]` pixel centres.

    Returns:
        `[M, 3]` barycentrics and `[M]` camera-space z.

    Differentiable in: corners.
    """
    x, y, z = corners.permute(2, 1, 0).unbind(0)
    edges = torch.stack(edge_functions(x, y, z, column, row), dim=-1)
    bary = edges / edges.sum(dim=-1, keepdim=True)
    return bary, (bary * corners[:, :, 2]).sum(dim=-1)
