"""Analytic antialiasing of silhouettes, which is also where their gradients come from.

Where two neighbouring pixels see different surfaces and a silhouette edge passes between their centres, the two are
blended by how far the edge reaches, a differentiable function of the edge's end points.

Source: S. Laine et al., "Modular Primitives for High-Performance Differentiable Rendering", SIGGRAPH Asia 2020,
section 3.4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.raster.backends import pick_stages
from neuraltex.raster.fragments import Fragments
from neuraltex.raster.projection import project_homogeneous


def opposite_corners(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "F 3"]:
    """For each edge of each face, the vertex of the neighbour that is not on the edge.

    Args:
        faces: `[F, 3]` vertex indices, shared across UV seams.

    Returns:
        `[F, 3]`: entry i belongs to the edge opposite corner i. -1 where the edge has no neighbour, -2 where more than
        two faces share it, which is always drawn as a silhouette too.
    """
    num_faces = len(faces)
    corner = faces.t().reshape(-1)
    edge = torch.stack([faces.roll(-1, 1), faces.roll(-2, 1)], dim=-1).transpose(0, 1).reshape(-1, 2).sort(dim=1)[0]
    key = edge[:, 0] * (int(faces.max()) + 1 if num_faces else 1) + edge[:, 1]
    key, order = key.sort(stable=True)
    _, group, size = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    start = size.cumsum(0) - size
    size, start = size[group], start[group]
    partner = torch.where(size == 2, 2 * start + 1 - torch.arange(len(key), device=key.device), 0)
    found = torch.where(size == 2, corner[order][partner], torch.where(size == 1, -1, -2))
    return torch.empty_like(found).scatter_(0, order, found).view(3, num_faces).t().contiguous()


def antialias(
    features: Float[Tensor, "B H W C"],
    fragments: Fragments,
    verts: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    opposite: Int[Tensor, "F 3"],
    cameras: Camera,
    *,
    backend: str = "auto",
) -> Float[Tensor, "B H W C"]:
    """Blend features across silhouette edges.

    Args:
        features: `[B, H, W, C]` per-pixel values, background included.
        fragments: what the features were made from.
        verts: `[V, 3]` or `[B, V, 3]` world positions.
        faces: `[F, 3]` vertex indices, shared across UV seams.
        opposite: `[F, 3]` from `opposite_corners(faces)`.
        cameras: the batch `[B]` that the fragments were made with.
        backend: as in `pick_stages`.

    Returns:
        `[B, H, W, C]`, equal to `features` away from silhouettes.

    Differentiable in: features, verts, K, w2c.
    """
    if pick_stages(backend, verts) == "triton":
        from neuraltex.raster.triton_antialias import antialias_projected
        from neuraltex.raster.triton_backend import project

        return antialias_projected(features, fragments, project(verts, cameras), faces, opposite)
    num_views, height, width, channels = features.shape
    projected = project_homogeneous(verts, cameras).reshape(-1, 3)
    num_verts = len(projected) // num_views
    flat = features.reshape(-1, channels)
    result = flat
    for axis in (0, 1):
        pixel, neighbour = _border_pairs(fragments, axis)
        face = fragments.pix_to_face.reshape(-1)
        depth = fragments.zbuf.reshape(-1)
        # The nearer surface of the two is the one whose edge is seen.
        first_nearer = (face[neighbour] < 0) | ((face[pixel] >= 0) & (depth[pixel] <= depth[neighbour]))
        owner = torch.where(first_nearer, pixel, neighbour)
        owner_faces = face[owner]
        view = owner.div(height * width, rounding_mode="floor")
        crossing, reach = _edge_reach(
            projected,
            faces.index_select(0, owner_faces) + (view * num_verts)[:, None],
            opposite.index_select(0, owner_faces),
            view * num_verts,
            _centers(owner, height, width),
            torch.where(first_nearer, 1.0, -1.0).to(features.dtype),
            axis,
        )
        pixel, neighbour = pixel[crossing], neighbour[crossing]
        owner, first = owner[crossing], first_nearer[crossing]
        other = torch.where(first, neighbour, pixel)
        # Past the middle the edge intrudes into the other pixel, before it the other's value shows in the owner.
        inside = reach > 0.5
        target, source = torch.where(inside, other, owner), torch.where(inside, owner, other)
        weight = (reach - 0.5).abs()[:, None]
        result = result.index_add(0, target, weight * (flat.index_select(0, source) - flat.index_select(0, target)))
    return result.view(features.shape)


def _border_pairs(fragments: Fragments, axis: int) -> tuple[Int[Tensor, "N"], Int[Tensor, "N"]]:
    """Flat indices of pixels and their next neighbour along an axis (0 columns, 1 rows) that see different faces."""
    face = fragments.pix_to_face
    width = face.shape[2]
    differs = torch.zeros_like(face, dtype=torch.bool)
    if axis == 0:
        differs[:, :, :-1] = face[:, :, :-1] != face[:, :, 1:]
    else:
        differs[:, :-1] = face[:, :-1] != face[:, 1:]
    pixel = differs.reshape(-1).nonzero().squeeze(1)
    return pixel, pixel + (1 if axis == 0 else width)


def _centers(pixel: Int[Tensor, "N"], height: int, width: int) -> Float[Tensor, "2 N"]:
    column, row = pixel % width, pixel.div(width, rounding_mode="floor") % height
    return torch.stack([column, row]).to(torch.float64) + 0.5


def _edge_reach(
    projected: Float[Tensor, "BV 3"],
    corners: Int[Tensor, "N 3"],
    opposite: Int[Tensor, "N 3"],
    offset: Int[Tensor, "N"],
    centers: Float[Tensor, "2 N"],
    direction: Float[Tensor, "N"],
    axis: int,
) -> tuple[Int[Tensor, "K"], Float[Tensor, "K"]]:
    """Which pairs a silhouette edge of the owner crosses, and at how many pixels, 0 to 1, from its centre."""
    points = projected.index_select(0, corners.reshape(-1)).view(-1, 3, 3)
    centers = centers.to(points.dtype)
    # Coordinates around the owner's centre: u along the pair towards the other pixel, v across it, both times z.
    z = points[..., 2]
    along = (points[..., axis] - centers[axis][:, None] * z) * direction[:, None]
    across = points[..., 1 - axis] - centers[1 - axis][:, None] * z
    best_reach = torch.full_like(direction, torch.inf)
    with torch.no_grad():
        silhouette = _is_silhouette(projected, points, opposite, offset)
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        # The edge meets v = 0 between its ends if they lie on both sides of it, both in front of the camera.
        spans = (across[:, j] > 0) != (across[:, k] > 0)
        denominator = across[:, j] * z[:, k] - across[:, k] * z[:, j]
        safe = torch.where(denominator == 0, torch.ones_like(denominator), denominator)
        reach = (along[:, k] * across[:, j] - along[:, j] * across[:, k]) / safe
        # Edges that run more along the pair than across it belong to the pairs of the other axis.
        du = along[:, k] / z[:, k] - along[:, j] / z[:, j]
        dv = across[:, k] / z[:, k] - across[:, j] / z[:, j]
        usable = (
            silhouette[:, i]
            & spans
            & (denominator != 0)
            & (z[:, j] > 0)
            & (z[:, k] > 0)
            & (dv.abs() >= du.abs())
            & (reach >= 0)
            & (reach <= 1)
        )
        best_reach = torch.where(usable & (reach < best_reach), reach, best_reach)
    crossing = best_reach.detach().isfinite().nonzero().squeeze(1)
    return crossing, best_reach.index_select(0, crossing)


def _is_silhouette(
    projected: Float[Tensor, "BV 3"],
    points: Float[Tensor, "N 3 3"],
    opposite: Int[Tensor, "N 3"],
    offset: Int[Tensor, "N"],
) -> Tensor:
    """`[N, 3]` whether the neighbour over each edge folds back onto the owner's side, or there is none."""
    beyond = projected.index_select(0, (opposite.clamp(min=0) + offset[:, None]).reshape(-1)).view(-1, 3, 3)
    # The side of a homogeneous point by the line through two others: a 3x3 determinant.
    line = torch.linalg.cross(points.roll(-1, 1), points.roll(-2, 1))
    own = (line * points).sum(-1)
    other = (line * beyond).sum(-1)
    return (opposite < 0) | (own * other >= 0)
