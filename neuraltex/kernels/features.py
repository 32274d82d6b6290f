"""The decoder's input in one pass: texture pyramid times spherical harmonics, environment, mirror directions.

Levels of a pyramid come as a tuple of `[H, W, C]` buffers with tuples of their sizes. A pixel's features are
`channels` of the texture, each level as far as `fade` shows it at the pixel's footprint (or of the environment where no
surface is seen); with `DIRECTIONAL` also nine harmonics of the view direction, nine of the mirror direction, what is
mirrored there, and whether a surface is seen.
"""

from __future__ import annotations

import triton
import triton.language as tl

from neuraltex.kernels.lookup import (
    fade,
    octahedron_place,
    octahedron_place_backward,
    sample,
    scatter,
    slope,
    square_place,
)
from neuraltex.kernels.triangles import load_vector

FIRST_MODULATED = tl.constexpr(3)
# As in `neuraltex.shading.parallax`.
LEAST_ROOM = tl.constexpr(0.05)


@triton.jit
def _harmonics(x, y, z):
    return (
        x * 0.0 + 0.28209479177387814,
        0.4886025119029199 * y,
        0.4886025119029199 * z,
        0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        1.0925484305920792 * y * z,
        0.31539156525252005 * (3.0 * z * z - 1.0),
        1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
    )


@triton.jit
def _harmonics_backward(x, y, z, grads):
    """Gradient to the direction from those to the nine harmonics."""
    gx = 0.4886025119029199 * grads[3] + 1.0925484305920792 * (y * grads[4] + z * grads[7])
    gy = 0.4886025119029199 * grads[1] + 1.0925484305920792 * (x * grads[4] + z * grads[5])
    gz = 0.4886025119029199 * grads[2] + 1.0925484305920792 * (y * grads[5] + x * grads[7])
    gz += 1.8923493915151203 * z * grads[6]
    return gx + 1.0925484305920792 * x * grads[8], gy - 1.0925484305920792 * y * grads[8], gz


@triton.jit
def _spread(basis, channel, first, otherwise):
    """A block whose column `first + k` holds harmonic k, and `otherwise` elsewhere."""
    block = otherwise
    for k in tl.static_range(9):
        block = tl.where((channel == first + k)[None, :], basis[k][:, None], block)
    return block


@triton.jit
def _column(block, channel, index):
    return tl.sum(tl.where((channel == index)[None, :], block, 0.0), axis=1)


@triton.jit
def _columns(block, channel, first):
    """Nine columns of a block as a tuple."""
    return (
        _column(block, channel, first), _column(block, channel, first + 1), _column(block, channel, first + 2),
        _column(block, channel, first + 3), _column(block, channel, first + 4), _column(block, channel, first + 5),
        _column(block, channel, first + 6), _column(block, channel, first + 7), _column(block, channel, first + 8),
    )  # fmt: skip


@triton.jit
def _mirror(dx, dy, dz, nx, ny, nz):
    facing = dx * nx + dy * ny + dz * nz
    return dx - 2.0 * facing * nx, dy - 2.0 * facing * ny, dz - 2.0 * facing * nz, facing


@triton.jit
def _room(px, py, pz, mx, my, mz):
    """How far along a direction a place in the unit sphere lies, and half the chord through it; `met_on_sphere`."""
    along = px * mx + py * my + pz * mz
    room = along * along + 1.0 - (px * px + py * py + pz * pz)
    return along, tl.sqrt(tl.maximum(room, LEAST_ROOM)), room > LEAST_ROOM


@triton.jit
def _met(places, pixel, covered, mx, my, mz, NEAR: tl.constexpr):
    """Where mirror rays meet the sphere, as directions from its centre."""
    if NEAR:
        px, py, pz = load_vector(places, pixel, covered)
        along, half, _inside = _room(px, py, pz, mx, my, mz)
        way = half - along
        mx, my, mz = px + way * mx, py + way * my, pz + way * mz
    return mx, my, mz


@triton.jit
def _met_backward(px, py, pz, mx, my, mz, gx, gy, gz):
    """Gradients to places and to directions from those to where rays meet the sphere."""
    along, half, inside = _room(px, py, pz, mx, my, mz)
    way = half - along
    ahead = gx * mx + gy * my + gz * mz
    back = ahead * (tl.where(inside, along / half, 0.0) - 1.0)
    out = tl.where(inside, ahead / half, 0.0)
    place = gx + back * mx - out * px, gy + back * my - out * py, gz + back * mz - out * pz
    return place, (way * gx + back * px, way * gy + back * py, way * gz + back * pz)


@triton.jit
def _sample_square(
    levels, heights, widths, fading, u, v, extent, channel, used, num_channels, num_levels: tl.constexpr
):
    x, y = square_place(u, v, heights[0], widths[0])
    total = sample(levels[0], x, y, heights[0], widths[0], channel, used, num_channels, False)
    total *= fade(extent, fading[0])[:, None]
    for k in tl.static_range(1, num_levels):
        x, y = square_place(u, v, heights[k], widths[k])
        level = sample(levels[k], x, y, heights[k], widths[k], channel, used, num_channels, False)
        total += level * fade(extent, fading[k])[:, None]
    return total


@triton.jit
def _sample_sphere(levels, sizes, s, t, channel, used, num_channels, num_levels: tl.constexpr):
    half = 0.5 * sizes[0]
    total = sample(
        levels[0],
        s * half + (half - 0.5),
        t * half + (half - 0.5),
        sizes[0],
        sizes[0],
        channel,
        used,
        num_channels,
        True,
    )
    for k in tl.static_range(1, num_levels):
        half = 0.5 * sizes[k]
        x, y = s * half + (half - 0.5), t * half + (half - 0.5)
        total += sample(levels[k], x, y, sizes[k], sizes[k], channel, used, num_channels, True)
    return total


@triton.jit
def _load_pixels(uv, footprint, dirs, normals, mask, pixel, active, DIRECTIONAL: tl.constexpr):
    covered = tl.load(mask + pixel, mask=active, other=0) != 0
    u = tl.load(uv + pixel * 2, mask=covered, other=0.0)
    v = tl.load(uv + pixel * 2 + 1, mask=covered, other=0.0)
    extent = tl.load(footprint + pixel, mask=covered, other=0.0)
    dx, dy, dz = load_vector(dirs, pixel, active)
    if DIRECTIONAL:
        nx, ny, nz = load_vector(normals, pixel, covered)
    else:
        nx, ny, nz = dx, dy, dz
    return covered, u, v, extent, dx, dy, dz, nx, ny, nz


@triton.jit
def features_kernel(
    uv, footprint, dirs, normals, places, mask, levels, heights, widths, fading, sky_levels, sky_sizes, mirror_levels,
    mirror_sizes, features, num_pixels, num_channels, mirror_channels, num_features,
    NUM_LEVELS: tl.constexpr, SKY_LEVELS: tl.constexpr, MIRROR_LEVELS: tl.constexpr,
    CHANNELS: tl.constexpr, DIRECTIONAL: tl.constexpr, DIRECTED: tl.constexpr, NEAR: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Features `[pixels, num_features]`."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    covered, u, v, extent, dx, dy, dz, nx, ny, nz = _load_pixels(
        uv, footprint, dirs, normals, mask, pixel, active, DIRECTIONAL
    )
    channel = tl.arange(0, CHANNELS)
    exists = (channel < num_channels)[None, :]
    texel = _sample_square(
        levels, heights, widths, fading, u, v, extent, channel, covered[:, None] & exists, num_channels, NUM_LEVELS
    )
    basis = _harmonics(dx, dy, dz)
    value = texel * _spread(basis, channel, FIRST_MODULATED, tl.full([1, CHANNELS], 1.0, tl.float32))
    if SKY_LEVELS > 0:
        s, t = octahedron_place(dx, dy, dz)
        empty = (active & (covered == 0))[:, None] & exists
        sky = _sample_sphere(sky_levels, sky_sizes, s, t, channel, empty, num_channels, SKY_LEVELS)
        value = tl.where(covered[:, None], value, sky)
    to = features + pixel[:, None] * num_features
    tl.store(to + channel[None, :], value, mask=active[:, None] & exists)
    if DIRECTIONAL:
        column = tl.arange(0, DIRECTED)
        mx, my, mz, _facing = _mirror(dx, dy, dz, nx, ny, nz)
        block = tl.full([1, DIRECTED], 0.0, tl.float32)
        block = _spread(basis, column, 0, block)
        block = _spread(_harmonics(mx, my, mz), column, 9, block)
        ex, ey, ez = _met(places, pixel, covered, mx, my, mz, NEAR)
        s, t = octahedron_place(ex, ey, ez)
        mirrors = ((column >= 18) & (column < 18 + mirror_channels))[None, :]
        seen = _sample_sphere(
            mirror_levels, mirror_sizes, s, t, column - 18, covered[:, None] & mirrors, mirror_channels, MIRROR_LEVELS
        )
        block = tl.where(mirrors, seen, block)
        block = tl.where((column == 18 + mirror_channels)[None, :], 1.0, block)
        block = tl.where(covered[:, None], block, 0.0)
        stored = active[:, None] & (column < num_features - num_channels)[None, :]
        tl.store(to + (num_channels + column)[None, :], block, mask=stored)


@triton.jit
def texels_backward_kernel(
    uv, footprint, dirs, normals, places, mask, heights, widths, fading, sky_sizes, mirror_sizes,
    grad, grad_levels, copies, grad_sky_levels, sky_copies, grad_mirror_levels, mirror_copies, scale_at,
    num_pixels, num_channels, mirror_channels, num_features,
    NUM_LEVELS: tl.constexpr, SKY_LEVELS: tl.constexpr, MIRROR_LEVELS: tl.constexpr,
    CHANNELS: tl.constexpr, DIRECTIONAL: tl.constexpr, DIRECTED: tl.constexpr, NEAR: tl.constexpr,
    EXACT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients to the texels of all three pyramids; small levels come in copies, to be added up afterwards."""
    program = tl.program_id(0)
    pixel = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    covered, u, v, extent, dx, dy, dz, nx, ny, nz = _load_pixels(
        uv, footprint, dirs, normals, mask, pixel, active, DIRECTIONAL
    )
    scale = tl.load(scale_at)
    channel = tl.arange(0, CHANNELS)
    exists = (channel < num_channels)[None, :]
    came = grad + pixel[:, None] * num_features
    above = tl.load(came + channel[None, :], mask=active[:, None] & exists, other=0.0).to(tl.float32)
    basis = _harmonics(dx, dy, dz)
    to_texel = above * _spread(basis, channel, FIRST_MODULATED, tl.full([1, CHANNELS], 1.0, tl.float32))
    used = covered[:, None] & exists
    for k in tl.static_range(NUM_LEVELS):
        x, y = square_place(u, v, heights[k], widths[k])
        to = grad_levels[k] + (program % copies[k]) * (heights[k] * widths[k] * num_channels)
        shown = to_texel * fade(extent, fading[k])[:, None]
        scatter(to, x, y, heights[k], widths[k], channel, used, num_channels, shown, scale, False, EXACT)
    if SKY_LEVELS > 0:
        s, t = octahedron_place(dx, dy, dz)
        used = (active & (covered == 0))[:, None] & exists
        for k in tl.static_range(SKY_LEVELS):
            half = 0.5 * sky_sizes[k]
            x, y = s * half + (half - 0.5), t * half + (half - 0.5)
            to = grad_sky_levels[k] + (program % sky_copies[k]) * (sky_sizes[k] * sky_sizes[k] * num_channels)
            scatter(to, x, y, sky_sizes[k], sky_sizes[k], channel, used, num_channels, above, scale, True, EXACT)
    if DIRECTIONAL:
        column = tl.arange(0, DIRECTED)
        mx, my, mz, _facing = _mirror(dx, dy, dz, nx, ny, nz)
        ex, ey, ez = _met(places, pixel, covered, mx, my, mz, NEAR)
        s, t = octahedron_place(ex, ey, ez)
        used = covered[:, None] & ((column >= 18) & (column < 18 + mirror_channels))[None, :]
        seen = tl.load(came + (num_channels + column)[None, :], mask=used, other=0.0).to(tl.float32)
        for k in tl.static_range(MIRROR_LEVELS):
            half = 0.5 * mirror_sizes[k]
            x, y = s * half + (half - 0.5), t * half + (half - 0.5)
            size = mirror_sizes[k]
            to = grad_mirror_levels[k] + (program % mirror_copies[k]) * (size * size * mirror_channels)
            scatter(to, x, y, size, size, column - 18, used, mirror_channels, seen, scale, True, EXACT)


@triton.jit
def _slope_sphere(levels, sizes, s, t, channel, used, num_channels, grad, num_levels: tl.constexpr):
    """Gradient to the place on the square `[-1, 1]^2`."""
    grad_s, grad_t = s * 0.0, t * 0.0
    for k in tl.static_range(num_levels):
        half = 0.5 * sizes[k]
        x, y = s * half + (half - 0.5), t * half + (half - 0.5)
        gx, gy = slope(levels[k], x, y, sizes[k], sizes[k], channel, used, num_channels, grad, True)
        grad_s += gx * half
        grad_t += gy * half
    return grad_s, grad_t


@triton.jit
def inputs_backward_kernel(
    uv, footprint, dirs, normals, places, mask, levels, heights, widths, fading, sky_levels, sky_sizes, mirror_levels,
    mirror_sizes, grad, grad_uv, grad_dirs, grad_normals, grad_places,
    num_pixels, num_channels, mirror_channels, num_features,
    NUM_LEVELS: tl.constexpr, SKY_LEVELS: tl.constexpr, MIRROR_LEVELS: tl.constexpr,
    CHANNELS: tl.constexpr, DIRECTIONAL: tl.constexpr, DIRECTED: tl.constexpr, NEAR: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients to UV, directions, normals and places."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    covered, u, v, extent, dx, dy, dz, nx, ny, nz = _load_pixels(
        uv, footprint, dirs, normals, mask, pixel, active, DIRECTIONAL
    )
    channel = tl.arange(0, CHANNELS)
    exists = (channel < num_channels)[None, :]
    came = grad + pixel[:, None] * num_features
    above = tl.load(came + channel[None, :], mask=active[:, None] & exists, other=0.0).to(tl.float32)
    used = covered[:, None] & exists
    on_surface = tl.where(used, above, 0.0)
    basis = _harmonics(dx, dy, dz)
    to_texel = on_surface * _spread(basis, channel, FIRST_MODULATED, tl.full([1, CHANNELS], 1.0, tl.float32))
    grad_u, grad_v = u * 0.0, v * 0.0
    for k in tl.static_range(NUM_LEVELS):
        x, y = square_place(u, v, heights[k], widths[k])
        gx, gy = slope(levels[k], x, y, heights[k], widths[k], channel, used, num_channels, to_texel, False)
        weight = fade(extent, fading[k])
        grad_u += tl.where((x > 0) & (x < widths[k] - 1), weight * gx * widths[k], 0.0)
        grad_v -= tl.where((y > 0) & (y < heights[k] - 1), weight * gy * heights[k], 0.0)
    tl.store(grad_uv + pixel * 2, grad_u, mask=active)
    tl.store(grad_uv + pixel * 2 + 1, grad_v, mask=active)
    texel = _sample_square(levels, heights, widths, fading, u, v, extent, channel, used, num_channels, NUM_LEVELS)
    gx, gy, gz = _harmonics_backward(dx, dy, dz, _columns(on_surface * texel, channel, FIRST_MODULATED))
    if SKY_LEVELS > 0:
        s, t = octahedron_place(dx, dy, dz)
        empty = (active & (covered == 0))[:, None] & exists
        behind = tl.where(empty, above, 0.0)
        grad_s, grad_t = _slope_sphere(sky_levels, sky_sizes, s, t, channel, empty, num_channels, behind, SKY_LEVELS)
        sx, sy, sz = octahedron_place_backward(dx, dy, dz, grad_s, grad_t)
        gx, gy, gz = gx + sx, gy + sy, gz + sz
    if DIRECTIONAL:
        column = tl.arange(0, DIRECTED)
        used = covered[:, None] & (column < 18 + mirror_channels)[None, :]
        directed = tl.load(came + (num_channels + column)[None, :], mask=used, other=0.0).to(tl.float32)
        vx, vy, vz = _harmonics_backward(dx, dy, dz, _columns(directed, column, 0))
        mx, my, mz, facing = _mirror(dx, dy, dz, nx, ny, nz)
        rx, ry, rz = _harmonics_backward(mx, my, mz, _columns(directed, column, 9))
        ex, ey, ez = _met(places, pixel, covered, mx, my, mz, NEAR)
        s, t = octahedron_place(ex, ey, ez)
        used = used & (column >= 18)[None, :]
        grad_s, grad_t = _slope_sphere(
            mirror_levels, mirror_sizes, s, t, column - 18, used, mirror_channels, directed, MIRROR_LEVELS
        )
        sx, sy, sz = octahedron_place_backward(ex, ey, ez, grad_s, grad_t)
        if NEAR:
            px, py, pz = load_vector(places, pixel, covered)
            to_place, to_mirror = _met_backward(px, py, pz, mx, my, mz, sx, sy, sz)
            _store3(grad_places, pixel, to_place[0], to_place[1], to_place[2], active)
            sx, sy, sz = to_mirror
        rx, ry, rz = rx + sx, ry + sy, rz + sz
        # mirrored = d - 2 (d . n) n
        along = rx * nx + ry * ny + rz * nz
        gx, gy, gz = gx + vx + rx - 2.0 * along * nx, gy + vy + ry - 2.0 * along * ny, gz + vz + rz - 2.0 * along * nz
        _store3(
            grad_normals, pixel, -2.0 * (along * dx + facing * rx), -2.0 * (along * dy + facing * ry),
            -2.0 * (along * dz + facing * rz), active,
        )  # fmt: skip
    _store3(grad_dirs, pixel, gx, gy, gz, active)


@triton.jit
def _store3(base, row, x, y, z, active):
    tl.store(base + row * 3, x, mask=active)
    tl.store(base + row * 3 + 1, y, mask=active)
    tl.store(base + row * 3 + 2, z, mask=active)
