"""Rays in mirror directions through a grid of distances: each pixel walks its own until it meets something."""

from __future__ import annotations

import triton
import triton.language as tl

from neuraltex.kernels.triangles import load_vector


@triton.jit
def _corner(x, y, z, width, height, depth):
    """First of the eight nodes around a place, and how far beyond it the place is."""
    i = tl.minimum(tl.maximum(tl.floor(x).to(tl.int32), 0), width - 2)
    j = tl.minimum(tl.maximum(tl.floor(y).to(tl.int32), 0), height - 2)
    k = tl.minimum(tl.maximum(tl.floor(z).to(tl.int32), 0), depth - 2)
    fx = tl.minimum(tl.maximum(x - i.to(tl.float32), 0.0), 1.0)
    fy = tl.minimum(tl.maximum(y - j.to(tl.float32), 0.0), 1.0)
    fz = tl.minimum(tl.maximum(z - k.to(tl.float32), 0.0), 1.0)
    return (k * height + j) * width + i, fx, fy, fz


@triton.jit
def _between(volume, x, y, z, width, height, depth, active, CHANNELS: tl.constexpr, CHANNEL: tl.constexpr):
    """Trilinear value of one channel."""
    node, fx, fy, fz = _corner(x, y, z, width, height, depth)
    at = volume + node * CHANNELS + CHANNEL
    layer = width * height * CHANNELS
    near = _across(at, fx, fy, width, active, CHANNELS)
    return near + fz * (_across(at + layer, fx, fy, width, active, CHANNELS) - near)


@triton.jit
def _across(at, fx, fy, width, active, CHANNELS: tl.constexpr):
    """Bilinear value within one layer."""
    first = tl.load(at, mask=active, other=0.0)
    first += fx * (tl.load(at + CHANNELS, mask=active, other=0.0) - first)
    at += width * CHANNELS
    second = tl.load(at, mask=active, other=0.0)
    second += fx * (tl.load(at + CHANNELS, mask=active, other=0.0) - second)
    return first + fy * (second - first)


@triton.jit
def surroundings_kernel(
    depths, mask, dirs, normals, centres, forwards, origin, spacing_at, distances, colours, seen,
    num_pixels, pixels_a_view, width, height, depth, NARROW, WIDE, LIFT, CONTACT,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`seen` `[pixels, CHANNELS]`, as `neuraltex.shading.surroundings.trace` has it; zeros where no surface is seen."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    covered = tl.load(mask + pixel, mask=active, other=0) != 0
    view = pixel // pixels_a_view
    dx, dy, dz = load_vector(dirs, pixel, covered)
    nx, ny, nz = load_vector(normals, pixel, covered)
    cx, cy, cz = load_vector(centres, view, covered)
    wx, wy, wz = load_vector(forwards, view, covered)
    spacing = tl.load(spacing_at)
    away = tl.load(depths + pixel, mask=covered, other=0.0) / tl.where(covered, dx * wx + dy * wy + dz * wz, 1.0)
    facing = dx * nx + dy * ny + dz * nz
    mx, my, mz = dx - 2.0 * facing * nx, dy - 2.0 * facing * ny, dz - 2.0 * facing * nz
    lift = LIFT * spacing
    turned = tl.where(facing > 0, lift, tl.where(facing < 0, -lift, 0.0))
    # In spacings from the first node; lengths along the ray stay in scene units.
    x = (cx + away * dx - turned * nx - tl.load(origin)) / spacing
    y = (cy + away * dy - turned * ny - tl.load(origin + 1)) / spacing
    z = (cz + away * dz - turned * nz - tl.load(origin + 2)) / spacing
    mx, my, mz = mx / spacing, my / spacing, mz / spacing
    rise = tl.abs(facing)
    along, met = x * 0.0, x * 0.0
    narrow, wide = along + 1.0, along + 1.0
    for _ in range(STEPS):
        px, py, pz = x + mx * along, y + my * along, z + mz * along
        inside = (
            covered & (px >= 0) & (py >= 0) & (pz >= 0) & (px <= width - 1) & (py <= height - 1) & (pz <= depth - 1)
        )
        distance = _between(distances, px, py, pz, width, height, depth, inside, 1, 0)
        free = lift + along * rise
        hit = inside & (distance < CONTACT * spacing)
        ratio = tl.where(hit, 0.0, distance / tl.minimum(free, spacing + NARROW * along))
        wider = tl.where(hit, 0.0, distance / tl.minimum(free, spacing + WIDE * along))
        nearer = inside & (ratio < narrow)
        met = tl.where(nearer, along, met)
        narrow = tl.where(nearer, ratio, narrow)
        wide = tl.where(inside & (wider < wide), wider, wide)
        along += tl.where(inside & (hit == 0), tl.maximum(distance, 0.5 * spacing), 0.0)
    px, py, pz = x + mx * met, y + my * met, z + mz * met
    weight = _between(colours, px, py, pz, width, height, depth, covered, 4, 3)
    share = tl.where(weight > 1e-3, (1.0 - narrow) / tl.maximum(weight, 1e-3), 0.0)
    to = seen + pixel * CHANNELS
    for channel in tl.static_range(3):
        value = _between(colours, px, py, pz, width, height, depth, covered, 4, channel)
        tl.store(to + channel, value * share, mask=active)
    tl.store(to + 3, tl.where(covered, narrow, 0.0), mask=active)
    tl.store(to + 4, tl.where(covered, wide, 0.0), mask=active)
