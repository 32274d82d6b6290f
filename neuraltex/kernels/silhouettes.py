"""Edge antialiasing: how far silhouette edges reach between neighbouring pixels, and the blend that follows from it.

For each pixel and axis (0 to the next column, 1 to the next row) a signed weight says how the pair blends: above 0 the
second pixel takes that share of the first, below 0 the first takes it of the second. Pixels then gather from their
four neighbours, so no atomics are needed and the result is the same at every run.
"""

from __future__ import annotations

import triton
import triton.language as tl

from neuraltex.kernels.triangles import load_corners, load_vector


@triton.jit
def _folds_back(projected, x0, y0, z0, xj, yj, zj, xk, yk, zk, opposite, active):
    """Whether the neighbour over edge (j, k) lies on the same side of it as corner 0, or there is none."""
    line_x, line_y, line_z = yj * zk - zj * yk, zj * xk - xj * zk, xj * yk - yj * xk
    x, y, z = load_vector(projected, tl.maximum(opposite, 0), active)
    own = line_x * x0 + line_y * y0 + line_z * z0
    other = line_x * x + line_y * y + line_z * z
    return (opposite < 0) | (own * other >= 0)


@triton.jit
def _reach(aj, cj, zj, ak, ck, zk, silhouette):
    """At how many pixels from the owner's centre the edge crosses the pair's line; infinity where it does not."""
    spans = (cj > 0) != (ck > 0)
    denominator = cj * zk - ck * zj
    crosses = silhouette & spans & (denominator != 0) & (zj > 0) & (zk > 0)
    reach = (ak * cj - aj * ck) / tl.where(crosses, denominator, 1.0)
    # Edges that run more along the pair than across it belong to the pairs of the other axis.
    du, dv = ak / zk - aj / zj, ck / zk - cj / zj
    usable = crosses & (tl.abs(dv) >= tl.abs(du)) & (reach >= 0) & (reach <= 1)
    return tl.where(usable, reach, float("inf"))


@triton.jit
def _choose(which, a, c, z, v, other_a, other_c, other_z, other_v):
    return (
        tl.where(which, a, other_a),
        tl.where(which, c, other_c),
        tl.where(which, z, other_z),
        tl.where(which, v, other_v),
    )


@triton.jit
def _pair(
    pix_to_face, zbuf, projected, faces, opposite, pixel, active, num_verts, width, height, AXIS: tl.constexpr
):  # fmt: skip
    """The pair of a pixel and the next one: its crossing edge in coordinates along and across the pair.

    Returns `reach, sign, direction, view, cx, cy` and, of both ends of the edge, `along, across, z, vertex`.
    """
    view = pixel // (width * height)
    local = (pixel - view * (width * height)).to(tl.int32)
    row = local // width
    column = local - row * width
    if AXIS == 0:
        step = 1
        paired = active & (column + 1 < width)
    else:
        step = width
        paired = active & (row + 1 < height)
    first = tl.load(pix_to_face + pixel, mask=paired, other=-1).to(tl.int32)
    second = tl.load(pix_to_face + pixel + step, mask=paired, other=-1).to(tl.int32)
    differs = paired & (first != second)
    first_depth = tl.load(zbuf + pixel, mask=differs, other=0.0)
    second_depth = tl.load(zbuf + pixel + step, mask=differs, other=0.0)
    # The nearer surface of the two is the one whose edge is seen.
    first_nearer = (second < 0) | ((first >= 0) & (first_depth <= second_depth))
    face = tl.where(differs, tl.where(first_nearer, first, second), 0)
    corners = projected + view * num_verts * 3
    x0, y0, z0, x1, y1, z1, x2, y2, z2, i0, i1, i2 = load_corners(corners, faces, face, differs)
    o0 = tl.load(opposite + face * 3, mask=differs, other=0)
    o1 = tl.load(opposite + face * 3 + 1, mask=differs, other=0)
    o2 = tl.load(opposite + face * 3 + 2, mask=differs, other=0)
    silhouette0 = differs & _folds_back(corners, x0, y0, z0, x1, y1, z1, x2, y2, z2, o0, differs)
    silhouette1 = differs & _folds_back(corners, x1, y1, z1, x2, y2, z2, x0, y0, z0, o1, differs)
    silhouette2 = differs & _folds_back(corners, x2, y2, z2, x0, y0, z0, x1, y1, z1, o2, differs)
    moved = tl.where(first_nearer, 0, 1)
    direction = tl.where(first_nearer, 1.0, -1.0)
    if AXIS == 0:
        cx, cy = (column + moved).to(tl.float32) + 0.5, row.to(tl.float32) + 0.5
        a0, a1, a2 = (x0 - cx * z0) * direction, (x1 - cx * z1) * direction, (x2 - cx * z2) * direction
        c0, c1, c2 = y0 - cy * z0, y1 - cy * z1, y2 - cy * z2
    else:
        cx, cy = column.to(tl.float32) + 0.5, (row + moved).to(tl.float32) + 0.5
        a0, a1, a2 = (y0 - cy * z0) * direction, (y1 - cy * z1) * direction, (y2 - cy * z2) * direction
        c0, c1, c2 = x0 - cx * z0, x1 - cx * z1, x2 - cx * z2
    reach = _reach(a1, c1, z1, a2, c2, z2, silhouette0)
    aj, cj, zj, vj, ak, ck, zk, vk = a1, c1, z1, i1, a2, c2, z2, i2
    other = _reach(a2, c2, z2, a0, c0, z0, silhouette1)
    better = other < reach
    reach = tl.where(better, other, reach)
    aj, cj, zj, vj = _choose(better, a2, c2, z2, i2, aj, cj, zj, vj)
    ak, ck, zk, vk = _choose(better, a0, c0, z0, i0, ak, ck, zk, vk)
    other = _reach(a0, c0, z0, a1, c1, z1, silhouette2)
    better = other < reach
    reach = tl.where(better, other, reach)
    aj, cj, zj, vj = _choose(better, a0, c0, z0, i0, aj, cj, zj, vj)
    ak, ck, zk, vk = _choose(better, a1, c1, z1, i1, ak, ck, zk, vk)
    # Past the middle the edge intrudes into the other pixel, before it the other's value shows in the owner.
    sign = tl.where((reach > 0.5) == first_nearer, 1.0, -1.0)
    return reach, sign, direction, view, cx, cy, aj, cj, zj, vj, ak, ck, zk, vk


@triton.jit
def pair_weights_kernel(
    pix_to_face, zbuf, projected, faces, opposite, weights, num_pixels, num_verts, width, height, BLOCK: tl.constexpr
):
    """Signed weights of all pairs, `[2, B, H, W]`."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    for axis in tl.static_range(2):
        reach, sign, _d, _v, _cx, _cy, _aj, _cj, _zj, _vj, _ak, _ck, _zk, _vk = _pair(
            pix_to_face, zbuf, projected, faces, opposite, pixel, active, num_verts, width, height, axis
        )
        weight = tl.where(reach <= 1.0, sign * tl.abs(reach - 0.5), 0.0)
        tl.store(weights + axis * num_pixels + pixel, weight, mask=active)


@triton.jit
def _incoming(weights, num_pixels, pixel, active, width, height):
    """Signed weights of the four pairs that a pixel belongs to: right, left, down, up."""
    local = pixel % (width * height)
    right = tl.load(weights + pixel, mask=active, other=0.0)
    left = tl.load(weights + pixel - 1, mask=active & (local % width > 0), other=0.0)
    down = tl.load(weights + num_pixels + pixel, mask=active, other=0.0)
    up = tl.load(weights + num_pixels + pixel - width, mask=active & (local >= width), other=0.0)
    return right, left, down, up


@triton.jit
def _toward(values, place, step, own, weight, channel, num_channels):
    """`weight * (neighbour - own)`, read only where the weight is above 0."""
    used = (weight > 0)[:, None] & (channel < num_channels)[None, :]
    neighbour = tl.load(values + place + step * num_channels, mask=used, other=0.0)
    return tl.where(used, weight[:, None] * (neighbour - own), 0.0)


@triton.jit
def blend_kernel(
    features, weights, blended, num_pixels, num_channels, width, height, BLOCK: tl.constexpr, CHANNELS: tl.constexpr
):
    """Each pixel takes its share of the neighbours whose surface reaches into it."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    channel = tl.arange(0, CHANNELS)
    right, left, down, up = _incoming(weights, num_pixels, pixel, active, width, height)
    place = pixel[:, None] * num_channels + channel[None, :]
    stored = active[:, None] & (channel < num_channels)[None, :]
    own = tl.load(features + place, mask=stored, other=0.0)
    total = own + _toward(features, place, 1, own, -right, channel, num_channels)
    total += _toward(features, place, -1, own, left, channel, num_channels)
    total += _toward(features, place, width, own, -down, channel, num_channels)
    total += _toward(features, place, -width, own, up, channel, num_channels)
    tl.store(blended + place, total, mask=stored)


@triton.jit
def _from_target(grad, place, step, weight, channel, num_channels):
    used = (weight > 0)[:, None] & (channel < num_channels)[None, :]
    return weight[:, None] * tl.load(grad + place + step * num_channels, mask=used, other=0.0)


@triton.jit
def _weight_grad(features, grad, place, step, weight, channel, num_channels):
    """Gradient to the magnitude of a pair's weight: what its target would take more of, times what came back there."""
    used = (weight != 0)[:, None] & (channel < num_channels)[None, :]
    first = tl.load(features + place, mask=used, other=0.0)
    second = tl.load(features + place + step * num_channels, mask=used, other=0.0)
    forward = (weight > 0)[:, None]
    target = tl.where(forward, place + step * num_channels, place)
    change = tl.where(forward, first - second, second - first)
    return tl.sum(change * tl.load(grad + target, mask=used, other=0.0), axis=1)


@triton.jit
def blend_backward_kernel(
    features, weights, grad, grad_features, grad_weights, num_pixels, num_channels, width, height,
    TO_WEIGHTS: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients to the features, and to the weights' magnitudes."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    channel = tl.arange(0, CHANNELS)
    right, left, down, up = _incoming(weights, num_pixels, pixel, active, width, height)
    place = pixel[:, None] * num_channels + channel[None, :]
    stored = active[:, None] & (channel < num_channels)[None, :]
    taken = tl.maximum(-right, 0.0) + tl.maximum(left, 0.0) + tl.maximum(-down, 0.0) + tl.maximum(up, 0.0)
    total = tl.load(grad + place, mask=stored, other=0.0) * (1.0 - taken)[:, None]
    total += _from_target(grad, place, 1, tl.maximum(right, 0.0), channel, num_channels)
    total += _from_target(grad, place, -1, tl.maximum(-left, 0.0), channel, num_channels)
    total += _from_target(grad, place, width, tl.maximum(down, 0.0), channel, num_channels)
    total += _from_target(grad, place, -width, tl.maximum(-up, 0.0), channel, num_channels)
    tl.store(grad_features + place, total, mask=stored)
    if TO_WEIGHTS:
        across = _weight_grad(features, grad, place, 1, right, channel, num_channels)
        tl.store(grad_weights + pixel, across, mask=active)
        below = _weight_grad(features, grad, place, width, down, channel, num_channels)
        tl.store(grad_weights + num_pixels + pixel, below, mask=active)


@triton.jit
def _spread(grad_projected, view, num_verts, vertex, along, across, depth, direction, cx, cy, used, AXIS: tl.constexpr):
    """Gradients in pair coordinates to a homogeneous pixel."""
    along *= direction
    to = grad_projected + (view * num_verts + vertex) * 3
    if AXIS == 0:
        gx, gy = along, across
    else:
        gx, gy = across, along
    tl.atomic_add(to, gx, mask=used, sem="relaxed")
    tl.atomic_add(to + 1, gy, mask=used, sem="relaxed")
    tl.atomic_add(to + 2, depth - cx * gx - cy * gy, mask=used, sem="relaxed")


@triton.jit
def pair_weights_backward_kernel(
    pix_to_face, zbuf, projected, faces, opposite, grad_weights, grad_projected,
    num_pixels, num_verts, width, height, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the weights to the ends of the edges that made them, by float atomics."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    for axis in tl.static_range(2):
        reach, _s, direction, view, cx, cy, aj, cj, zj, vj, ak, ck, zk, vk = _pair(
            pix_to_face, zbuf, projected, faces, opposite, pixel, active, num_verts, width, height, axis
        )
        used = active & (reach <= 1.0)
        grad = tl.load(grad_weights + axis * num_pixels + pixel, mask=used, other=0.0)
        grad = tl.where(reach > 0.5, grad, -grad) / tl.where(used, cj * zk - ck * zj, 1.0)
        reach = tl.where(used, reach, 0.0)
        _spread(
            grad_projected, view, num_verts, vj, -ck * grad, (ak - reach * zk) * grad, reach * ck * grad,
            direction, cx, cy, used, axis,
        )  # fmt: skip
        _spread(
            grad_projected, view, num_verts, vk, cj * grad, (reach * zj - aj) * grad, -reach * cj * grad,
            direction, cx, cy, used, axis,
        )  # fmt: skip
