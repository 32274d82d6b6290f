"""Structural similarity of two images: the windows' five moments, the similarity and its partials, and their adjoint.

Images are `[B, H, W, C]` and a row of one is `W * C` neighbouring values, so a window's tap along a row is a load
`C` values further on and lanes stay next to each other in memory. Tiles are a few rows high: the windows of
neighbouring rows overlap, and what one of them loads the others find in the cache.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Taps along a row start at any value. Told that rows are multiples of 16, the compiler would give each lane several
# values in a row for the sake of the store, and the loads, which cannot be as wide, would leave gaps between the lanes.
SIZES = ("height", "width", "channels")


@triton.jit
def _reflect(place, size):
    """Mirrored at the centres of the first and the last pixel."""
    last = size - 1
    return last - tl.abs(last - tl.abs(place))


@triton.jit(do_not_specialize=SIZES)
def moments_kernel(
    first, second, moments, height, width, channels,
    WEIGHTS: tl.constexpr, RADIUS: tl.constexpr, ROWS: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    """Means over windows along rows of x, y, xx, yy and xy, `[B, 5, H, W, C]`."""
    image = height * width * channels
    view = tl.program_id(2).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    value = tl.program_id(0) * VALUES + tl.arange(0, VALUES)[None, :]
    inside = (row < height) & (value < width * channels)
    column = value // channels
    start = row * (width * channels) + (value - column * channels)
    mean_x = tl.zeros([ROWS, VALUES], tl.float32)
    mean_y, mean_xx, mean_yy, mean_xy = mean_x, mean_x, mean_x, mean_x
    for k in tl.static_range(2 * RADIUS + 1):
        tap = start + _reflect(column + (k - RADIUS), width) * channels
        x = tl.load(first + view * image + tap, mask=inside, other=0.0)
        y = tl.load(second + view * image + tap, mask=inside, other=0.0)
        weighted_x, weighted_y = WEIGHTS[k] * x, WEIGHTS[k] * y
        mean_x += weighted_x
        mean_y += weighted_y
        mean_xx += weighted_x * x
        mean_yy += weighted_y * y
        mean_xy += weighted_x * y
    to = moments + view * 5 * image + (row * (width * channels) + value)
    tl.store(to, mean_x, mask=inside)
    tl.store(to + image, mean_y, mask=inside)
    tl.store(to + 2 * image, mean_xx, mask=inside)
    tl.store(to + 3 * image, mean_yy, mask=inside)
    tl.store(to + 4 * image, mean_xy, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def similarity_kernel(
    moments, similarity, partials, height, width, channels, C1: tl.constexpr, C2: tl.constexpr,
    WEIGHTS: tl.constexpr, RADIUS: tl.constexpr, TO_PARTIALS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Windows across rows, then the similarity as a mean over channels, `[B, H, W]`.

    With `TO_PARTIALS` also its derivatives by the means of x, xx and xy, `[B, 3, H, W, C]`.
    """
    image = height * width * channels
    view = tl.program_id(2).to(tl.int64)
    lane = tl.arange(0, ROWS * COLUMNS)
    row = tl.program_id(1) * ROWS + lane // COLUMNS
    column = tl.program_id(0) * COLUMNS + lane % COLUMNS
    channel = tl.arange(0, CHANNELS)[None, :]
    seen = (row < height) & (column < width)
    inside = seen[:, None] & (channel < channels)
    mean_x = tl.zeros([ROWS * COLUMNS, CHANNELS], tl.float32)
    mean_y, mean_xx, mean_yy, mean_xy = mean_x, mean_x, mean_x, mean_x
    for k in tl.static_range(2 * RADIUS + 1):
        pixel = _reflect(row + (k - RADIUS), height) * width + column
        tap = moments + view * 5 * image + (pixel[:, None] * channels + channel)
        mean_x += WEIGHTS[k] * tl.load(tap, mask=inside, other=0.0)
        mean_y += WEIGHTS[k] * tl.load(tap + image, mask=inside, other=0.0)
        mean_xx += WEIGHTS[k] * tl.load(tap + 2 * image, mask=inside, other=0.0)
        mean_yy += WEIGHTS[k] * tl.load(tap + 3 * image, mask=inside, other=0.0)
        mean_xy += WEIGHTS[k] * tl.load(tap + 4 * image, mask=inside, other=0.0)
    luminance = 2.0 * mean_x * mean_y + C1
    structure = 2.0 * (mean_xy - mean_x * mean_y) + C2
    energy = mean_x * mean_x + mean_y * mean_y + C1
    spread = (mean_xx - mean_x * mean_x) + (mean_yy - mean_y * mean_y) + C2
    share = 1.0 / channels.to(tl.float32)
    scale = share / (energy * spread)
    value = luminance * structure * scale
    pixel = row * width + column
    # Channels that only fill the block up would count as windows of black on black.
    total = tl.sum(tl.where(inside, value, 0.0), axis=1)
    tl.store(similarity + view * (height * width) + pixel, total, mask=seen)
    if TO_PARTIALS:
        to = partials + view * 3 * image + (pixel[:, None] * channels + channel)
        by_x = 2.0 * (mean_y * (structure - luminance) * scale + mean_x * value * (1.0 / spread - 1.0 / energy))
        tl.store(to, by_x, mask=inside)
        tl.store(to + image, -value / spread, mask=inside)
        tl.store(to + 2 * image, 2.0 * luminance * scale, mask=inside)


@triton.jit
def _windows(
    planes, plane_size, start, centre, size, stride, grad, grad_start, grad_stride, used,
    SCALED: tl.constexpr, WEIGHTS: tl.constexpr, RADIUS: tl.constexpr,
):  # fmt: skip
    """Windowed sums of three planes along one axis, which are 0 outside the image; `SCALED` by the pixels' gradient."""
    total_x = tl.zeros(used.shape, tl.float32)
    total_xx, total_xy = total_x, total_x
    for k in tl.static_range(2 * RADIUS + 1):
        place = centre + (k - RADIUS)
        inside = used & (place >= 0) & (place < size)
        weight = WEIGHTS[k]
        if SCALED:
            weight *= tl.load(grad + (grad_start + place * grad_stride), mask=inside, other=0.0)
        tap = planes + (start + place * stride)
        total_x += weight * tl.load(tap, mask=inside, other=0.0)
        total_xx += weight * tl.load(tap + plane_size, mask=inside, other=0.0)
        total_xy += weight * tl.load(tap + 2 * plane_size, mask=inside, other=0.0)
    return total_x, total_xx, total_xy


@triton.jit
def _adjoint(
    planes, plane_size, start, place, size, stride, grad, grad_start, grad_stride, used, near_start, near_end,
    SCALED: tl.constexpr, WEIGHTS: tl.constexpr, RADIUS: tl.constexpr,
):  # fmt: skip
    """What comes back to a place through windows with reflected borders: its own window, and those of its images."""
    total_x, total_xx, total_xy = _windows(
        planes, plane_size, start, place, size, stride, grad, grad_start, grad_stride, used, SCALED, WEIGHTS, RADIUS
    )
    # A program far from a border has no lane with an image in reach. The border itself is its own, counted above.
    if near_start:
        more_x, more_xx, more_xy = _windows(
            planes, plane_size, start, -place, size, stride, grad, grad_start, grad_stride, used & (place > 0),
            SCALED, WEIGHTS, RADIUS,
        )  # fmt: skip
        total_x += more_x
        total_xx += more_xx
        total_xy += more_xy
    if near_end:
        more_x, more_xx, more_xy = _windows(
            planes, plane_size, start, 2 * (size - 1) - place, size, stride, grad, grad_start, grad_stride,
            used & (place < size - 1), SCALED, WEIGHTS, RADIUS,
        )  # fmt: skip
        total_x += more_x
        total_xx += more_xx
        total_xy += more_xy
    return total_x, total_xx, total_xy


@triton.jit(do_not_specialize=SIZES)
def partials_backward_kernel(
    partials, grad, sums, height, width, channels,
    WEIGHTS: tl.constexpr, RADIUS: tl.constexpr, ROWS: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    """Gradients of the windows' means, brought back along rows, `[B, 3, H, W, C]`."""
    image = height * width * channels
    view = tl.program_id(2).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    value = tl.program_id(0) * VALUES + tl.arange(0, VALUES)[None, :]
    inside = (row < height) & (value < width * channels)
    column = value // channels
    near_start = (tl.program_id(0) * VALUES) // channels <= RADIUS
    near_end = ((tl.program_id(0) + 1) * VALUES) // channels >= width - 1 - RADIUS
    by_x, by_xx, by_xy = _adjoint(
        partials + view * 3 * image, image, row * (width * channels) + (value - column * channels), column, width,
        channels, grad + view * (height * width), row * width, 1, inside, near_start, near_end, True, WEIGHTS, RADIUS,
    )  # fmt: skip
    to = sums + view * 3 * image + (row * (width * channels) + value)
    tl.store(to, by_x, mask=inside)
    tl.store(to + image, by_xx, mask=inside)
    tl.store(to + 2 * image, by_xy, mask=inside)


@triton.jit
def image_backward_kernel(
    sums, first, second, grad_first, height, width, channels,
    WEIGHTS: tl.constexpr, RADIUS: tl.constexpr, ROWS: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    """The same brought back across rows, and from x, xx and xy to the first image."""
    image = height * width * channels
    view = tl.program_id(2).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    value = tl.program_id(0) * VALUES + tl.arange(0, VALUES)[None, :]
    inside = (row < height) & (value < width * channels)
    near_start = tl.program_id(1) * ROWS <= RADIUS
    near_end = (tl.program_id(1) + 1) * ROWS >= height - 1 - RADIUS
    by_x, by_xx, by_xy = _adjoint(
        sums + view * 3 * image, image, value, row, height, width * channels, sums, 0, 0, inside,
        near_start, near_end, False, WEIGHTS, RADIUS,
    )  # fmt: skip
    place = view * image + (row * (width * channels) + value)
    x = tl.load(first + place, mask=inside, other=0.0)
    y = tl.load(second + place, mask=inside, other=0.0)
    tl.store(grad_first + place, by_x + 2.0 * x * by_xx + y * by_xy, mask=inside)
