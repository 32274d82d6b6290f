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
    left, right, top, bottom = _pixel_boxes(projected, faces, height, width, near)
    columns = (right - left).clamp_(min=0)
    counts = columns * (bottom - top).clamp_(min=0)
    kept = counts.nonzero().squeeze(1)
    if len(kept) == 0:
        return
    counts = counts.index_select(0, kept)
    ends = counts.cumsum(0)
    boxes = torch.stack([left, top, columns]).index_select(1, kept)
    boxes = torch.cat([boxes, (ends - counts)[None]])
    corner_ids = faces.index_select(0, kept).t().reshape(-1)
    corners = projected.t().contiguous().index_select(1, corner_ids).view(9, -1)  # xyz x corner, face
    for low, high in _split(ends):
        size = counts[low:high]
        owner = torch.repeat_interleave(torch.arange(low, high, device=size.device), size)
        column, row, owner_columns, begin = boxes.index_select(1, owner).unbind(0)
        rank = torch.arange(len(owner), device=size.device) + (ends[low] - counts[low]) - begin
        rows_down = rank.div(owner_columns, rounding_mode="floor")
        row = row + rows_down
        column = column + rank - rows_down * owner_columns
        hit, bits = _cover(corners, owner, column, row, near)
        face = kept.index_select(0, owner.index_select(0, hit)) + first_face
        pixel = (row * width + column).index_select(0, hit)
        words.scatter_reduce_(0, pixel, (bits << 32) | face, reduce="amin")


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
) -> tuple[Tensor, ...]:
    """Half-open pixel ranges `left, right, top, bottom`, int64 `[F]` each, of the centres a face can cover."""
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
    drawable = torch.ones_like(left, dtype=torch.bool)
    if not all_ahead:
        num_ahead = torch.stack([ahead.index_select(0, ids) for ids in corner_ids]).sum(dim=0)
        drawable = num_ahead > 0
        crossing = (drawable & (num_ahead < 3)).nonzero().squeeze(1)
        if len(crossing) > 0:
            clipped = _clipped_bounds(projected[faces[crossing]], near)
            for bound, values in zip(bounds, clipped, strict=True):
                bound[crossing] = values
    # Comparisons with what is not a number are false: such a face covers nothing.
    drawable = drawable & (left <= right) & (top <= bottom)
    columns = (_first_pixel(left, width), _last_pixel(right, width))
    rows = (_first_pixel(top, height), _last_pixel(bottom, height))
    nothing = torch.zeros_like(columns[0])
    return tuple(torch.where(drawable, bound, nothing).to(torch.int64) for bound in (*columns, *rows))


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
    corners: Float[Tensor, "9 F"], owner: Int[Tensor, "N"], column: Int[Tensor, "N"], row: Int[Tensor, "N"], near: float
) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Which candidates cover their pixel, and their depth as order-preserving bits."""
    gathered = corners.index_select(1, owner).view(3, 3, -1)  # [xyz, corner, candidate]
    x, y, z = gathered.unbind(0)
    center_x, center_y = column.to(z.dtype) + 0.5, row.to(z.dtype) + 0.5
    triples = tuple((x[i], y[i], z[i]) for i in range(3))
    edges = edge_functions(triples, center_x, center_y)
    lowest = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    highest = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    hit = ((lowest >= 0) & (highest > 0)) | ((highest <= 0) & (lowest < 0))
    index = hit.nonzero().squeeze(1)
    e0, e1, e2 = (edge.index_select(0, index) for edge in edges)
    z = z.index_select(1, index)
    total = e0 + e1 + e2
    depth = ((e0 * z[0] + e1 * z[1] + e2 * z[2]) / total).to(torch.float32)
    keep = depth >= near
    on_edge = (e0 == 0) | (e1 == 0) | (e2 == 0)
    if bool(on_edge.any()):
        keep &= ~on_edge | _owns_edges((e0, e1, e2), x[:, index], y[:, index], z, total > 0)
    return index[keep], depth[keep].view(torch.int32).to(torch.int64)


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
