"""Visibility in plain PyTorch: every triangle tries the pixels of its bounding box, the nearest wins an integer min.

The reference of the other backends, the default on CPU, and the fallback everywhere. A pixel holds one 64-bit word,
depth bits above face index, so that one min decides both and ties fall to the lower index, whatever the order.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.raster.projection import edge_functions, project_homogeneous

EMPTY = torch.iinfo(torch.int64).max
FACES_A_CHUNK = 1 << 20
# 64 bytes or so a candidate: a chunk stays under half a gigabyte.
CANDIDATES_A_CHUNK = 1 << 22
# Boxes are widened by this many pixels; the exact test decides, the box must only never be too small.
BOX_SLACK = 2e-3


@torch.no_grad()
def visible_faces(
    verts: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], cameras: Camera, near: float
) -> Int[Tensor, "B H W"]:
    """The face seen at each pixel centre, -1 for none.

    Args:
        verts: `[V, 3]` or `[B, V, 3]` world positions.
        faces: `[F, 3]` indices into `verts`.
        cameras: a batch `[B]`.
        near: surfaces closer than this camera-space z are cut away, in scene units.

    Returns:
        `[B, H, W]` int64.
    """
    height, width = cameras.height, cameras.width
    words = torch.full((len(cameras.K), height * width), EMPTY, dtype=torch.int64, device=verts.device)
    for view_words, projected in zip(words, project_homogeneous(verts, cameras), strict=True):
        for start in range(0, len(faces), FACES_A_CHUNK):
            chunk = faces[start : start + FACES_A_CHUNK]
            _draw(view_words, projected, chunk, start, height, width, near)
    index = words & 0xFFFFFFFF
    return torch.where(words == EMPTY, -1, index).view(-1, height, width)


def _draw(
    words: Int[Tensor, "P"],
    projected: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    first_face: int,
    height: int,
    width: int,
    near: float,
) -> None:
    """Let `faces` compete for the pixels of one view, in place."""
    boxes, crossing = _pixel_boxes(projected, faces, height, width, near)
    left, right, top, bottom = boxes
    counts = (right - left).clamp_(min=0) * (bottom - top).clamp_(min=0)
    groups = [(False, counts)]
    if crossing is not None:
        groups = [(False, counts * ~crossing), (True, counts * crossing)]
    for behind, group_counts in groups:
        kept = group_counts.nonzero().squeeze(1)
        if len(kept) == 0:
            continue
        corners = _corners(projected, faces.index_select(0, kept), flat=not behind)
        spans = torch.stack([left, top, right - left]).index_select(1, kept)
        sizes = counts.index_select(0, kept).to(torch.int64)
        ends = sizes.cumsum(0)
        for low, high in _split(ends):
            owner, column, row = _enumerate(spans[:, low:high], sizes[low:high])
            hit, depth_bits = _cover(corners[:, low:high], owner, column, row, near, flat=not behind)
            face = kept[low:high].index_select(0, owner.index_select(0, hit)) + first_face
            pixel = (row * width + column).index_select(0, hit).to(torch.int64)
            words.scatter_reduce_(0, pixel, (depth_bits << 32) | face, reduce="amin")


def _corners(projected: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], *, flat: bool) -> Float[Tensor, "9 F"]:
    """Each face's corners as rows x0 x1 x2 y0 y1 y2 z0 z1 z2; x and y are divided by z already where `flat`."""
    rows = projected.t().contiguous()
    if flat:
        rows = torch.cat([rows[:2] / rows[2], rows[2:]])
    return rows.index_select(1, faces.t().reshape(-1)).view(9, -1)


def _enumerate(spans: Int[Tensor, "3 F"], sizes: Int[Tensor, "F"]) -> tuple[Tensor, Tensor, Tensor]:
    """All pixels of all boxes: the face each belongs to, its column and its row, int32 `[N]` each."""
    owner = torch.repeat_interleave(torch.arange(len(sizes), dtype=torch.int32, device=sizes.device), sizes)
    begin = (sizes.cumsum(0) - sizes).to(torch.int32)
    left, top, columns, begin = torch.cat([spans, begin[None]]).index_select(1, owner).unbind(0)
    rank = torch.arange(len(owner), dtype=torch.int32, device=sizes.device) - begin
    down = rank.div(columns, rounding_mode="floor")
    return owner, left + rank - down * columns, top + down


def _split(ends: Int[Tensor, "F"]) -> list[tuple[int, int]]:
    """Ranges of faces whose candidates fit a chunk; a face larger than a chunk stands alone."""
    total = int(ends[-1])
    if total <= CANDIDATES_A_CHUNK:
        return [(0, len(ends))]
    marks = torch.arange(CANDIDATES_A_CHUNK, total, CANDIDATES_A_CHUNK, device=ends.device)
    cuts = sorted({0, *torch.searchsorted(ends, marks).tolist(), len(ends)})
    return list(pairwise(cuts))


def _pixel_boxes(
    projected: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, near: float
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Pixels whose centres a face can cover, and which faces cross the near plane.

    Returns:
        Half-open ranges `left, right, top, bottom`, int32 `[F]` each, and a mask `[F]`, None where no face crosses.
    """
    x, y, z = projected.t().contiguous().unbind(0)
    ahead = z >= near
    all_ahead = bool(ahead.all())
    depth = z if all_ahead else torch.where(ahead, z, torch.ones_like(z))
    corner_ids = faces.t().contiguous().unbind(0)
    bounds = []
    for screen in (x / depth, y / depth):
        first, second, third = (screen.index_select(0, ids) for ids in corner_ids)
        bounds.append(torch.minimum(torch.minimum(first, second), third))
        bounds.append(torch.maximum(torch.maximum(first, second), third))
    left, right, top, bottom = bounds
    # Comparisons with what is not a number are false: such a face covers nothing.
    drawable = (left <= right) & (top <= bottom)
    crossing = None
    if not all_ahead:
        num_ahead = torch.stack([ahead.index_select(0, ids) for ids in corner_ids]).sum(dim=0)
        crossing = (num_ahead > 0) & (num_ahead < 3)
        cut = crossing.nonzero().squeeze(1)
        if len(cut) > 0:
            for bound, values in zip(bounds, _clipped_bounds(projected[faces[cut]], near), strict=True):
                bound[cut] = values
        drawable = (num_ahead > 0) & (left <= right) & (top <= bottom)
    columns = (_first_pixel(left, width), _last_pixel(right, width))
    rows = (_first_pixel(top, height), _last_pixel(bottom, height))
    nothing = torch.zeros_like(left)
    return tuple(torch.where(drawable, bound, nothing).to(torch.int32) for bound in (*columns, *rows)), crossing


def _first_pixel(low: Float[Tensor, "F"], size: int) -> Float[Tensor, "F"]:
    return (low - (0.5 + BOX_SLACK)).ceil_().clamp_(0, size)


def _last_pixel(high: Float[Tensor, "F"], size: int) -> Float[Tensor, "F"]:
    return (high + (0.5 + BOX_SLACK)).floor_().clamp_(0, size)


def _clipped_bounds(corners: Float[Tensor, "F 3 3"], near: float) -> tuple[Tensor, ...]:
    """Screen bounds `left, right, top, bottom`, `[F]` each, of each triangle in front of the plane z = near."""
    following = corners.roll(-1, dims=1)
    z, next_z = corners[..., 2], following[..., 2]
    ahead, next_ahead = z >= near, next_z >= near
    step = torch.where(ahead == next_ahead, torch.zeros_like(z), (near - z) / (next_z - z))
    cut = (corners[..., :2] + step[..., None] * (following[..., :2] - corners[..., :2])) / near
    kept = corners[..., :2] / torch.where(ahead, z, torch.ones_like(z))[..., None]
    points = torch.cat([kept, cut], dim=1)
    used = torch.cat([ahead, ahead != next_ahead], dim=1)[..., None]
    low = torch.where(used, points, torch.full_like(points, torch.inf)).amin(dim=1)
    high = torch.where(used, points, torch.full_like(points, -torch.inf)).amax(dim=1)
    return low[:, 0], high[:, 0], low[:, 1], high[:, 1]


def _cover(
    corners: Float[Tensor, "9 F"],
    owner: Int[Tensor, "N"],
    column: Int[Tensor, "N"],
    row: Int[Tensor, "N"],
    near: float,
    *,
    flat: bool,
) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Which candidates cover their pixel, and their depth as order-preserving bits.

    Where all corners are in front of the camera (`flat`), the edge functions of the divided corners have the same
    signs as the homogeneous ones and cost half as much.
    """
    x, y = corners[:6].index_select(1, owner).view(2, 3, -1).unbind(0)
    z = None if flat else corners[6:].index_select(1, owner)
    center_x, center_y = column.to(x.dtype) + 0.5, row.to(x.dtype) + 0.5
    edges = edge_functions(x, y, z, center_x, center_y)
    lowest = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    highest = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    index = ((lowest >= 0) | (highest <= 0)).nonzero().squeeze(1)
    e0, e1, e2 = (edge.index_select(0, index) for edge in edges)
    depths = corners[6:].index_select(1, owner.index_select(0, index))
    total = e0 + e1 + e2
    if flat:
        depth = total / (e0 / depths[0] + e1 / depths[1] + e2 / depths[2])
    else:
        depth = (e0 * depths[0] + e1 * depths[1] + e2 * depths[2]) / total
    # A face without area has no depth that compares.
    keep = depth >= near
    on_edge = (e0 == 0) | (e1 == 0) | (e2 == 0)
    if bool(on_edge.any()):
        ones = torch.ones_like(depths) if flat else depths
        keep &= ~on_edge | _owns_edges((e0, e1, e2), x[:, index], y[:, index], ones, total > 0)
    return index[keep], depth[keep].to(torch.float32).view(torch.int32).to(torch.int64)


def _owns_edges(
    edges: tuple[Tensor, Tensor, Tensor],
    x: Float[Tensor, "3 N"],
    y: Float[Tensor, "3 N"],
    z: Float[Tensor, "3 N"],
    positive: Tensor,
) -> Tensor:
    """The top-left rule: of two faces that meet in a pixel centre, exactly one owns it.

    An edge owns the centre when the face lies to its right, or below it if it is horizontal; the same as moving the
    centre by an infinitesimal step right and a smaller one down.
    """
    owns = torch.ones_like(positive)
    for i, edge in enumerate(edges):
        j, k = (i + 1) % 3, (i + 2) % 3
        right = y[j] * z[k] - z[j] * y[k]
        below = z[j] * x[k] - x[j] * z[k]
        inward = torch.where(right != 0, right, below) > 0
        owns &= (edge != 0) | (inward == positive)
    return owns
