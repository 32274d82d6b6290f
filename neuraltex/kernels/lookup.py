"""Bilinear lookup in pyramids of `[H, W, C]` texels, on the unit square and on an unfolded octahedron.

Coordinates are in texels of a level, with texel k's centre at k. Blocks are `[pixels, channels]`.
"""

from __future__ import annotations

import triton
import triton.language as tl

# As in `neuraltex.shading.texture`.
FADES, GONE = tl.constexpr(1.5), tl.constexpr(3.0)


@triton.jit
def square_place(u, v, height, width):
    """UV with v up to texel coordinates, held inside the border texels' centres."""
    x = tl.minimum(tl.maximum(u * width - 0.5, 0.0), (width - 1).to(tl.float32))
    y = tl.minimum(tl.maximum((1.0 - v) * height - 0.5, 0.0), (height - 1).to(tl.float32))
    return x, y


@triton.jit
def fade(footprint, size):
    """How much of a level pixels are shown, as `neuraltex.shading.texture.fade`; all of it where `size` is 0."""
    ramp = tl.minimum(tl.maximum((GONE - footprint * size) / (GONE - FADES), 0.0), 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


@triton.jit
def octahedron_place(dx, dy, dz):
    """World direction to the square `[-1, 1]^2`, as `neuraltex.shading.texture.direction_to_square`."""
    scale = 1.0 / tl.maximum(tl.abs(dx) + tl.abs(dy) + tl.abs(dz), 1e-12)
    x, y = dx * scale, dy * scale
    fold_x = tl.where(x >= 0, 1.0 - tl.abs(y), tl.abs(y) - 1.0)
    fold_y = tl.where(y >= 0, 1.0 - tl.abs(x), tl.abs(x) - 1.0)
    return tl.where(dz < 0, fold_x, x), tl.where(dz < 0, fold_y, y)


@triton.jit
def octahedron_place_backward(dx, dy, dz, grad_s, grad_t):
    """Gradient of the place on the square to the direction."""
    scale = 1.0 / tl.maximum(tl.abs(dx) + tl.abs(dy) + tl.abs(dz), 1e-12)
    sign_x, sign_y, sign_z = _sign(dx), _sign(dy), _sign(dz)
    turn_x, turn_y = tl.where(dx >= 0, 1.0, -1.0), tl.where(dy >= 0, 1.0, -1.0)
    below = dz < 0
    grad_x = tl.where(below, -turn_y * sign_x * grad_t, grad_s)
    grad_y = tl.where(below, -turn_x * sign_y * grad_s, grad_t)
    along = (grad_x * dx + grad_y * dy) * scale
    return (grad_x - along * sign_x) * scale, (grad_y - along * sign_y) * scale, -along * sign_z * scale


@triton.jit
def _sign(value):
    return tl.where(value > 0, 1.0, tl.where(value < 0, -1.0, 0.0))


@triton.jit
def _texel(column, row, height, width, WRAP: tl.constexpr):
    """Flat index of a texel; past the border the nearest one, or where the octahedron's outline continues."""
    if WRAP:
        outside = (column < 0) | (column >= width)
        row = tl.where(outside, height - 1 - row, row)
        column = tl.minimum(tl.maximum(column, 0), width - 1)
        outside = (row < 0) | (row >= height)
        column = tl.where(outside, width - 1 - column, column)
        row = tl.minimum(tl.maximum(row, 0), height - 1)
    else:
        column = tl.minimum(column, width - 1)
        row = tl.minimum(row, height - 1)
    return row * width + column


@triton.jit
def corners(x, y, height, width, WRAP: tl.constexpr):
    """The four texels around a place and the two fractions."""
    left, top = tl.floor(x), tl.floor(y)
    column, row = left.to(tl.int32), top.to(tl.int32)
    return (
        _texel(column, row, height, width, WRAP),
        _texel(column + 1, row, height, width, WRAP),
        _texel(column, row + 1, height, width, WRAP),
        _texel(column + 1, row + 1, height, width, WRAP),
        x - left,
        y - top,
    )


@triton.jit
def fetch(texels, index, channel, used, num_channels):
    """Rows of texels as float32, `[pixels, channels]`."""
    return tl.load(texels + index[:, None] * num_channels + channel[None, :], mask=used, other=0.0).to(tl.float32)


@triton.jit
def sample(texels, x, y, height, width, channel, used, num_channels, WRAP: tl.constexpr):
    """Bilinear value at a place."""
    i00, i01, i10, i11, fx, fy = corners(x, y, height, width, WRAP)
    upper = fetch(texels, i00, channel, used, num_channels) * (1.0 - fx)[:, None]
    upper += fetch(texels, i01, channel, used, num_channels) * fx[:, None]
    lower = fetch(texels, i10, channel, used, num_channels) * (1.0 - fx)[:, None]
    lower += fetch(texels, i11, channel, used, num_channels) * fx[:, None]
    return upper * (1.0 - fy)[:, None] + lower * fy[:, None]


@triton.jit
def slope(texels, x, y, height, width, channel, used, num_channels, grad, WRAP: tl.constexpr):
    """Gradient of the bilinear value to the place, in texels: `[pixels]` twice."""
    i00, i01, i10, i11, fx, fy = corners(x, y, height, width, WRAP)
    t00 = tl.sum(fetch(texels, i00, channel, used, num_channels) * grad, axis=1)
    t01 = tl.sum(fetch(texels, i01, channel, used, num_channels) * grad, axis=1)
    t10 = tl.sum(fetch(texels, i10, channel, used, num_channels) * grad, axis=1)
    t11 = tl.sum(fetch(texels, i11, channel, used, num_channels) * grad, axis=1)
    return (t01 - t00) * (1.0 - fy) + (t11 - t10) * fy, (t10 - t00) * (1.0 - fx) + (t11 - t01) * fx


@triton.jit
def _add(texels, index, channel, used, num_channels, value, scale, EXACT: tl.constexpr):
    place = texels + index[:, None] * num_channels + channel[None, :]
    if EXACT:
        # Integer sums do not depend on the order of their terms.
        tl.atomic_add(place, tl.floor(value * scale + 0.5).to(tl.int64), mask=used, sem="relaxed")
    else:
        tl.atomic_add(place, value, mask=used, sem="relaxed")


@triton.jit
def scatter(
    grad_texels, x, y, height, width, channel, used, num_channels, grad, scale, WRAP: tl.constexpr, EXACT: tl.constexpr
):
    """Add the gradient of the bilinear value to its four texels."""
    i00, i01, i10, i11, fx, fy = corners(x, y, height, width, WRAP)
    _add(grad_texels, i00, channel, used, num_channels, grad * ((1.0 - fx) * (1.0 - fy))[:, None], scale, EXACT)
    _add(grad_texels, i01, channel, used, num_channels, grad * (fx * (1.0 - fy))[:, None], scale, EXACT)
    _add(grad_texels, i10, channel, used, num_channels, grad * ((1.0 - fx) * fy)[:, None], scale, EXACT)
    _add(grad_texels, i11, channel, used, num_channels, grad * (fx * fy)[:, None], scale, EXACT)
