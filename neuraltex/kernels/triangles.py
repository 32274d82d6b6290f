"""What the raster kernels share: corners, edge functions relative to a pixel centre, pixel boxes."""

from __future__ import annotations

import triton
import triton.language as tl

# Boxes are widened by this many pixels; the exact test decides, the box must only never be too small.
BOX_SLACK = tl.constexpr(2e-3)


@triton.jit
def load_corners(projected, faces, face, active):
    """Homogeneous pixels of the three corners: x0 y0 z0 x1 y1 z1 x2 y2 z2, and the corners' vertex ids."""
    i0 = tl.load(faces + face * 3, mask=active, other=0)
    i1 = tl.load(faces + face * 3 + 1, mask=active, other=0)
    i2 = tl.load(faces + face * 3 + 2, mask=active, other=0)
    x0, y0, z0 = load_vector(projected, i0, active)
    x1, y1, z1 = load_vector(projected, i1, active)
    x2, y2, z2 = load_vector(projected, i2, active)
    return x0, y0, z0, x1, y1, z1, x2, y2, z2, i0, i1, i2


@triton.jit
def load_vector(base, row, active):
    """Three components of rows of an `[N, 3]` buffer."""
    x = tl.load(base + row * 3, mask=active, other=0.0)
    y = tl.load(base + row * 3 + 1, mask=active, other=0.0)
    z = tl.load(base + row * 3 + 2, mask=active, other=0.0)
    return x, y, z


@triton.jit
def edge_functions(x0, y0, z0, x1, y1, z1, x2, y2, z2, center_x, center_y):
    """The three homogeneous edge functions, as `neuraltex.raster.projection.edge_functions`."""
    q0x, q0y = x0 - center_x * z0, y0 - center_y * z0
    q1x, q1y = x1 - center_x * z1, y1 - center_y * z1
    q2x, q2y = x2 - center_x * z2, y2 - center_y * z2
    return q1x * q2y - q1y * q2x, q2x * q0y - q2y * q0x, q0x * q1y - q0y * q1x


@triton.jit
def edge_slopes(x0, y0, z0, x1, y1, z1, x2, y2, z2, center_x, center_y):
    """How they grow to the right, then downwards, as `neuraltex.raster.projection.edge_slopes`."""
    q0x, q0y = x0 - center_x * z0, y0 - center_y * z0
    q1x, q1y = x1 - center_x * z1, y1 - center_y * z1
    q2x, q2y = x2 - center_x * z2, y2 - center_y * z2
    return (
        z2 * q1y - z1 * q2y, z0 * q2y - z2 * q0y, z1 * q0y - z0 * q1y,
        z1 * q2x - z2 * q1x, z2 * q0x - z0 * q2x, z0 * q1x - z1 * q0x,
    )  # fmt: skip


@triton.jit
def edge_direction(xj, yj, zj, xk, yk, zk):
    """Whether the edge function grows to the right, or downwards where it is constant to the right."""
    right = yj * zk - zj * yk
    below = zj * xk - xj * zk
    return tl.where(right != 0, right, below) > 0


@triton.jit
def _grow(left, right, top, bottom, x, y, use):
    left = tl.where(use, tl.minimum(left, x), left)
    right = tl.where(use, tl.maximum(right, x), right)
    top = tl.where(use, tl.minimum(top, y), top)
    bottom = tl.where(use, tl.maximum(bottom, y), bottom)
    return left, right, top, bottom


@triton.jit
def _grow_by_cut(left, right, top, bottom, xj, yj, zj, xk, yk, zk, near):
    """The point where an edge meets the plane z = near, where it does."""
    cuts = (zj >= near) != (zk >= near)
    step = (near - zj) / tl.where(cuts, zk - zj, 1.0)
    return _grow(left, right, top, bottom, (xj + step * (xk - xj)) / near, (yj + step * (yk - yj)) / near, cuts)


@triton.jit
def _any(flags):
    """Whether one of a block is set; a single one tells itself."""
    return flags if len(flags.shape) == 0 else tl.max(flags.to(tl.int32)) != 0


@triton.jit
def pixel_box(x0, y0, z0, x1, y1, z1, x2, y2, z2, width, height, near):
    """First column, first row, columns and rows of the pixels whose centres a triangle can cover; 0 by 0 if none."""
    ahead0, ahead1, ahead2 = z0 >= near, z1 >= near, z2 >= near
    left = tl.full(x0.shape, float("inf"), tl.float32)
    right, top, bottom = -left, left, -left
    left, right, top, bottom = _grow(left, right, top, bottom, x0 / z0, y0 / z0, ahead0)
    left, right, top, bottom = _grow(left, right, top, bottom, x1 / z1, y1 / z1, ahead1)
    left, right, top, bottom = _grow(left, right, top, bottom, x2 / z2, y2 / z2, ahead2)
    crossing = (ahead0 != ahead1) | (ahead1 != ahead2)
    if _any(crossing):
        left, right, top, bottom = _grow_by_cut(left, right, top, bottom, x0, y0, z0, x1, y1, z1, near)
        left, right, top, bottom = _grow_by_cut(left, right, top, bottom, x1, y1, z1, x2, y2, z2, near)
        left, right, top, bottom = _grow_by_cut(left, right, top, bottom, x2, y2, z2, x0, y0, z0, near)
    drawable = (left <= right) & (top <= bottom)
    first_column = _clamp(tl.ceil(left - (0.5 + BOX_SLACK)), width)
    first_row = _clamp(tl.ceil(top - (0.5 + BOX_SLACK)), height)
    columns = _clamp(tl.floor(right + (0.5 + BOX_SLACK)), width) - first_column
    rows = _clamp(tl.floor(bottom + (0.5 + BOX_SLACK)), height) - first_row
    drawable = drawable & (columns > 0) & (rows > 0)
    return first_column, first_row, tl.where(drawable, columns, 0), tl.where(drawable, rows, 0)


@triton.jit
def _clamp(value, size):
    return tl.minimum(tl.maximum(value, 0.0), size.to(tl.float32)).to(tl.int32)
