"""Smooth normals that stay sharp at creases."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from neuraltex.geometry.components import connected_components, weld

# Faces that meet at a larger angle than this do not share a normal: a cube keeps its edges, a coarse sphere is round.
CREASE_DEG = 60.0


def smooth_normals(
    verts: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], *, crease_deg: float = CREASE_DEG
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]]:
    """Unit normals a corner, averaged over the faces around a vertex that meet without a crease.

    Vertices at the same position count as one. Each face weighs in with its angle at the vertex. The corner of a face
    without area gets the average it belongs to, or +z where it stands alone.

    Args:
        verts: `[V, 3]` positions.
        faces: `[F, 3]` rows of `verts`.
        crease_deg: largest angle between the normals of two faces, in degrees, over which the shading is smooth.

    Returns:
        `[N, 3]` unit normals and `[F, 3]` rows of it.

    Source: angle weights: Thürmer and Wüthrich, Computing vertex normals from polygonal facets, 1998.
    """
    points = weld(verts)[1][faces]
    face_normals = _unit(np.cross(verts[faces[:, 1]] - verts[faces[:, 0]], verts[faces[:, 2]] - verts[faces[:, 0]]))
    groups = connected_components(points.size, *_smooth_links(points, face_normals, crease_deg))
    weighted = face_normals[:, None] * _corner_angles(verts[faces])[..., None]
    weighted = weighted.reshape(-1, 3)
    num = int(groups.max()) + 1 if len(groups) else 0
    sums = np.stack([np.bincount(groups, weighted[:, k], num) for k in range(3)], axis=1)
    normals = _unit(sums)
    normals[(normals == 0).all(1)] = (0.0, 0.0, 1.0)
    return normals, groups.reshape(-1, 3)


def _smooth_links(
    points: Int[np.ndarray, "F 3"], face_normals: Float[np.ndarray, "F 3"], crease_deg: float
) -> tuple[Int[np.ndarray, "E"], Int[np.ndarray, "E"]]:
    """Pairs of corners (3 * face + k) that share a normal: both ends of every edge that is no crease."""
    num = len(points)
    start, end = np.arange(3 * num), (np.arange(3 * num).reshape(-1, 3)[:, [1, 2, 0]]).reshape(-1)
    flat = points.reshape(-1)
    low, high = np.minimum(flat[start], flat[end]), np.maximum(flat[start], flat[end])
    order = np.lexsort((high, low))
    low, high = low[order], high[order]
    same = np.flatnonzero((low[1:] == low[:-1]) & (high[1:] == high[:-1]) & (low[1:] != high[1:]))
    one, two = order[same], order[same + 1]
    one_normal, two_normal = face_normals[one // 3], face_normals[two // 3]
    smooth = np.einsum("ek,ek->e", one_normal, two_normal) >= np.cos(np.deg2rad(crease_deg))
    # A face without area has no direction that could make a crease.
    smooth |= (one_normal == 0).all(1) | (two_normal == 0).all(1)
    one, two = one[smooth], two[smooth]
    swapped = flat[start[one]] != flat[start[two]]
    two_start, two_end = np.where(swapped, end[two], start[two]), np.where(swapped, start[two], end[two])
    return np.concatenate([start[one], end[one]]), np.concatenate([two_start, two_end])


def _corner_angles(corners: Float[np.ndarray, "F 3 3"]) -> Float[np.ndarray, "F 3"]:
    edges = _unit((np.roll(corners, -1, axis=1) - corners).reshape(-1, 3)).reshape(corners.shape)
    cosine = -np.einsum("fck,fck->fc", edges, np.roll(edges, 1, axis=1))
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def _unit(vectors: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Unit vectors; zero stays zero."""
    # Scaled first, so that neither tiny nor huge meshes under- or overflow in the squares.
    scale = np.abs(vectors).max(1, keepdims=True)
    scaled = np.divide(vectors, scale, out=np.zeros_like(vectors), where=scale > 0)
    length = np.sqrt((scaled**2).sum(1, keepdims=True))
    return np.divide(scaled, length, out=np.zeros_like(vectors), where=length > 0)
