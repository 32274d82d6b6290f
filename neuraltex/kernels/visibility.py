"""Which face each pixel sees: one 64-bit word a pixel, depth bits above face index, taken by an atomic min.

A lane draws a small triangle by itself. A larger one is cut into tiles of 8 x 8 pixels, and its number of tiles is
appended to a queue on the device: the count of records and the running sum of tiles share one 64-bit atomic, so the
records' sums come out sorted, and the second kernel deals all tiles evenly to its programs, finding the record of a
tile by bisection. No triangle size is slow, and the host waits for nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from neuraltex.kernels.triangles import edge_direction, edge_functions, load_corners, load_vector, pixel_box

TILE = tl.constexpr(8)
TILE_PIXELS = tl.constexpr(64)
# The counter's upper bits hold the number of records, its lower ones the sum of tiles.
COUNT_SHIFT = tl.constexpr(36)
TILES_MASK = tl.constexpr((1 << 36) - 1)
ONE_RECORD = tl.constexpr(1 << 36)


@triton.jit
def project_kernel(verts, matrix, offset, projected, num_verts, verts_stride, BLOCK: tl.constexpr):
    """`projected[b, v] = matrix[b] @ verts[b, v] + offset[b]`; `verts_stride` is 0 where the batch shares them."""
    view = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    active = row < num_verts
    x, y, z = load_vector(verts + view * verts_stride, row, active)
    to = projected + view * num_verts * 3 + row * 3
    for i in tl.static_range(3):
        m = matrix + view * 9 + 3 * i
        value = (tl.load(m) * x + tl.load(m + 1) * y) + tl.load(m + 2) * z
        tl.store(to + i, value + tl.load(offset + view * 3 + i), mask=active)


@triton.jit
def _compete(words, x0, y0, z0, x1, y1, z1, x2, y2, z2, grows0, grows1, grows2, column, row, inside, width, face, near):
    """Let triangles take pixels: those whose centre they cover, where they are nearer than what was there."""
    e0, e1, e2 = edge_functions(
        x0, y0, z0, x1, y1, z1, x2, y2, z2, column.to(tl.float32) + 0.5, row.to(tl.float32) + 0.5
    )
    total = e0 + e1 + e2
    depth = (e0 * z0 + e1 * z1 + e2 * z2) / total
    covers = (tl.minimum(tl.minimum(e0, e1), e2) >= 0) | (tl.maximum(tl.maximum(e0, e1), e2) <= 0)
    # A face without area has no depth that compares.
    keep = inside & covers & (depth >= near)
    # The top-left rule: of two faces that meet in a pixel centre, exactly one owns it.
    positive = total > 0
    keep = keep & ((e0 != 0) | (grows0 == positive))
    keep = keep & ((e1 != 0) | (grows1 == positive))
    keep = keep & ((e2 != 0) | (grows2 == positive))
    word = (depth.to(tl.int32, bitcast=True).to(tl.int64) << 32) | face.to(tl.int64)
    place = words + row * width + column
    # Words only fall, so a stale one can only ask for an atomic that was not needed.
    seen = tl.load(place, mask=keep, other=0)
    tl.atomic_min(place, word, mask=keep & (word < seen), sem="relaxed")


@triton.jit
def small_kernel(
    projected, faces, words, counter, record_face, record_tile, num_faces, num_verts, width, height, near,
    BLOCK: tl.constexpr, SMALL: tl.constexpr,
):  # fmt: skip
    """A triangle a lane: draw boxes of up to SMALL pixels, queue the others."""
    view = tl.program_id(1).to(tl.int64)
    face = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    active = face < num_faces
    x0, y0, z0, x1, y1, z1, x2, y2, z2, _i0, _i1, _i2 = load_corners(
        projected + view * num_verts * 3, faces, face, active
    )
    first_column, first_row, columns, rows = pixel_box(x0, y0, z0, x1, y1, z1, x2, y2, z2, width, height, near)
    count = tl.where(active, columns * rows, 0)
    tiles = ((columns + (TILE - 1)) // TILE) * ((rows + (TILE - 1)) // TILE)
    packed = tl.where(count > SMALL, tiles.to(tl.int64) + ONE_RECORD, 0)
    total = tl.sum(packed)
    if total > 0:
        ends = tl.atomic_add(counter, total, sem="relaxed") + tl.cumsum(packed)
        start = ends - packed
        slot = start >> COUNT_SHIFT
        tl.store(record_face + slot, view * num_faces + face, mask=count > SMALL)
        tl.store(record_tile + slot, start & TILES_MASK, mask=count > SMALL)
    count = tl.where(count > SMALL, 0, count)
    most = tl.max(count)
    if most > 0:
        grows0 = edge_direction(x1, y1, z1, x2, y2, z2)
        grows1 = edge_direction(x2, y2, z2, x0, y0, z0)
        grows2 = edge_direction(x0, y0, z0, x1, y1, z1)
        column, row = first_column, first_row
        for k in range(most):
            _compete(
                words + view * width * height, x0, y0, z0, x1, y1, z1, x2, y2, z2, grows0, grows1, grows2,
                column, row, k < count, width, face, near,
            )  # fmt: skip
            wraps = column + 1 == first_column + columns
            row = tl.where(wraps, row + 1, row)
            column = tl.where(wraps, first_column, column + 1)


@triton.jit
def tile_kernel(
    projected, faces, words, counter, record_face, record_tile, num_faces, num_verts, width, height, near,
    TILES: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Draw the queued triangles, tile by tile; programs stride over all tiles of all records."""
    state = tl.load(counter)
    num_records, num_tiles = state >> COUNT_SHIFT, state & TILES_MASK
    lane = tl.arange(0, TILE_PIXELS)
    for start in range(tl.program_id(0).to(tl.int64) * TILES, num_tiles, tl.num_programs(0).to(tl.int64) * TILES):
        tile = start + tl.arange(0, TILES)
        active = tile < num_tiles
        # The last record that starts at this tile or before it.
        record = tl.zeros([TILES], tl.int64)
        for k in tl.static_range(STEPS):
            following = record + (1 << (STEPS - 1 - k))
            begins = tl.load(record_tile + following, mask=following < num_records, other=TILES_MASK)
            record = tl.where(begins <= tile, following, record)
        tile -= tl.load(record_tile + record)
        index = tl.load(record_face + record)
        view = index // num_faces
        face = (index - view * num_faces).to(tl.int32)
        x0, y0, z0, x1, y1, z1, x2, y2, z2, _i0, _i1, _i2 = load_corners(
            projected + view * num_verts * 3, faces, face, active
        )
        first_column, first_row, columns, rows = pixel_box(x0, y0, z0, x1, y1, z1, x2, y2, z2, width, height, near)
        tiles_across = tl.maximum((columns + (TILE - 1)) // TILE, 1)
        local = tile.to(tl.int32)
        down = local // tiles_across
        column = (first_column + (local - down * tiles_across) * TILE)[:, None] + (lane % TILE)[None, :]
        row = (first_row + down * TILE)[:, None] + (lane // TILE)[None, :]
        inside = active[:, None] & (column < (first_column + columns)[:, None]) & (row < (first_row + rows)[:, None])
        grows0 = edge_direction(x1, y1, z1, x2, y2, z2)
        grows1 = edge_direction(x2, y2, z2, x0, y0, z0)
        grows2 = edge_direction(x0, y0, z0, x1, y1, z1)
        _compete(
            words + (view * width * height)[:, None], x0[:, None], y0[:, None], z0[:, None], x1[:, None], y1[:, None],
            z1[:, None], x2[:, None], y2[:, None], z2[:, None], grows0[:, None], grows1[:, None], grows2[:, None],
            column, row, inside, width, face[:, None], near,
        )  # fmt: skip
