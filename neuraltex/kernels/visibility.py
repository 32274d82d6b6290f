"""Which face each pixel sees: one 64-bit word a pixel, depth bits above face index, taken by an atomic min.

Three sizes of triangles, by the pixels of their boxes, and nothing the host waits for. A lane draws a small one by
itself, and puts the others into queues on the device. A warp draws a middle-sized one. A large one is cut into tiles:
its number of tiles goes into the queue with it, the count of records and the running sum of tiles share one 64-bit
atomic, so the records' sums come out sorted, and the programs that deal the tiles out among themselves find the record
of a tile by bisection.
"""

from __future__ import annotations

import triton
import triton.language as tl

from neuraltex.kernels.triangles import edge_direction, edge_functions, load_corners, load_vector, pixel_box

TILE = tl.constexpr(32)
# A counter's upper bits hold the number of records, its lower ones the sum of tiles.
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
    projected, faces, words, counters, middle_face, large_face, large_tile, num_faces, num_verts, width, height, near,
    BLOCK: tl.constexpr, SMALL: tl.constexpr, MIDDLE: tl.constexpr,
):  # fmt: skip
    """A triangle a lane: draw boxes of up to SMALL pixels, queue the others by whether they have more than MIDDLE."""
    view = tl.program_id(1).to(tl.int64)
    face = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    active = face < num_faces
    x0, y0, z0, x1, y1, z1, x2, y2, z2, _i0, _i1, _i2 = load_corners(
        projected + view * num_verts * 3, faces, face, active
    )
    first_column, first_row, columns, rows = pixel_box(x0, y0, z0, x1, y1, z1, x2, y2, z2, width, height, near)
    count = tl.where(active, columns * rows, 0)
    if tl.max(count) > SMALL:
        is_large = count > MIDDLE
        is_middle = (count > SMALL) & (count <= MIDDLE)
        num_middle = tl.sum(is_middle.to(tl.int64))
        if num_middle > 0:
            slot = tl.atomic_add(counters, num_middle, sem="relaxed") + tl.cumsum(is_middle.to(tl.int64)) - 1
            tl.store(middle_face + slot, (view * num_faces + face).to(tl.int32), mask=is_middle)
        tiles = ((columns + (TILE - 1)) // TILE) * ((rows + (TILE - 1)) // TILE)
        packed = tl.where(is_large, tiles.to(tl.int64) + ONE_RECORD, 0)
        total = tl.sum(packed)
        if total > 0:
            start = tl.atomic_add(counters + 1, total, sem="relaxed") + tl.cumsum(packed) - packed
            slot = start >> COUNT_SHIFT
            tl.store(large_face + slot, (view * num_faces + face).to(tl.int32), mask=is_large)
            tl.store(large_tile + slot, start & TILES_MASK, mask=is_large)
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
def middle_kernel(
    projected, faces, words, counters, middle_face, num_faces, num_verts, width, height, near, LANES: tl.constexpr
):
    """A warp a queued triangle: its box row by row, LANES pixels at a time; warps stride over the queue."""
    lane = tl.arange(0, LANES)
    for record in range(tl.program_id(0).to(tl.int64), tl.load(counters), tl.num_programs(0).to(tl.int64)):
        index = tl.load(middle_face + record)
        view = (index // num_faces).to(tl.int64)
        face = index % num_faces
        x0, y0, z0, x1, y1, z1, x2, y2, z2, _i0, _i1, _i2 = load_corners(
            projected + view * num_verts * 3, faces, face, True
        )
        first_column, first_row, columns, rows = pixel_box(x0, y0, z0, x1, y1, z1, x2, y2, z2, width, height, near)
        grows0 = edge_direction(x1, y1, z1, x2, y2, z2)
        grows1 = edge_direction(x2, y2, z2, x0, y0, z0)
        grows2 = edge_direction(x0, y0, z0, x1, y1, z1)
        inverse = 1.0 / columns.to(tl.float32)
        for start in range(0, columns * rows, LANES):
            k = start + lane
            # Exact for boxes of millions of pixels: half a pixel is far more than the rounding of a float.
            down = ((k.to(tl.float32) + 0.5) * inverse).to(tl.int32)
            _compete(
                words + view * width * height, x0, y0, z0, x1, y1, z1, x2, y2, z2, grows0, grows1, grows2,
                first_column + k - down * columns, first_row + down, k < columns * rows, width, face, near,
            )  # fmt: skip


@triton.jit
def _all_on_one_side(xj, yj, zj, xk, yk, zk, center_x, center_y, reach):
    """Whether an edge function is below 0, and above 0, on all pixels within `reach` of a centre both ways."""
    qjx, qjy = xj - center_x * zj, yj - center_y * zj
    qkx, qky = xk - center_x * zk, yk - center_y * zk
    # How far it can move on the way there, and what rounding may have hidden.
    spread = (tl.abs(qjy * zk - zj * qky) + tl.abs(zj * qkx - qjx * zk)) * reach
    spread += 2e-6 * (tl.abs(qjx * qky) + tl.abs(qjy * qkx))
    edge = qjx * qky - qjy * qkx
    return edge + spread < 0, edge - spread > 0


@triton.jit
def large_kernel(
    projected, faces, words, counters, large_face, large_tile, num_faces, num_verts, width, height, near,
    LANES: tl.constexpr,
):  # fmt: skip
    """Tiles of the queued large triangles, dealt out evenly; those that a triangle misses are passed over."""
    state = tl.load(counters + 1)
    num_records, num_tiles = state >> COUNT_SHIFT, state & TILES_MASK
    lane = tl.arange(0, LANES)
    for tile in range(tl.program_id(0).to(tl.int64), num_tiles, tl.num_programs(0).to(tl.int64)):
        # The last record that starts at this tile or before it.
        record, after = num_records * 0, num_records
        while after - record > 1:
            middle = (record + after) // 2
            before = tl.load(large_tile + middle) <= tile
            record = tl.where(before, middle, record)
            after = tl.where(before, after, middle)
        index = tl.load(large_face + record)
        view = (index // num_faces).to(tl.int64)
        face = index % num_faces
        x0, y0, z0, x1, y1, z1, x2, y2, z2, _i0, _i1, _i2 = load_corners(
            projected + view * num_verts * 3, faces, face, True
        )
        first_column, first_row, columns, rows = pixel_box(x0, y0, z0, x1, y1, z1, x2, y2, z2, width, height, near)
        local = (tile - tl.load(large_tile + record)).to(tl.int32)
        tiles_across = (columns + (TILE - 1)) // TILE
        down = local // tiles_across
        left, top = first_column + (local - down * tiles_across) * TILE, first_row + down * TILE
        right, bottom = tl.minimum(left + TILE, first_column + columns), tl.minimum(top + TILE, first_row + rows)
        center_x, center_y = left.to(tl.float32) + 0.5 * TILE, top.to(tl.float32) + 0.5 * TILE
        below0, above0 = _all_on_one_side(x1, y1, z1, x2, y2, z2, center_x, center_y, 0.5 * TILE)
        below1, above1 = _all_on_one_side(x2, y2, z2, x0, y0, z0, center_x, center_y, 0.5 * TILE)
        below2, above2 = _all_on_one_side(x0, y0, z0, x1, y1, z1, center_x, center_y, 0.5 * TILE)
        if not ((below0 | below1 | below2) & (above0 | above1 | above2)):
            grows0 = edge_direction(x1, y1, z1, x2, y2, z2)
            grows1 = edge_direction(x2, y2, z2, x0, y0, z0)
            grows2 = edge_direction(x0, y0, z0, x1, y1, z1)
            for start in tl.static_range(0, TILE * TILE, LANES):
                column, row = left + (start + lane) % TILE, top + (start + lane) // TILE
                _compete(
                    words + view * width * height, x0, y0, z0, x1, y1, z1, x2, y2, z2, grows0, grows1, grows2,
                    column, row, (column < right) & (row < bottom), width, face, near,
                )  # fmt: skip
