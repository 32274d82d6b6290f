"""Polygons to triangles: fans where they are convex, the other diagonal or ear clipping where they are not."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def triangulate(
    points: Float[np.ndarray, "C 3"], counts: Int[np.ndarray, "P"]
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, "F"]]:
    """Cut polygons into triangles, winding and order kept.

    Args:
        points: `[C, 3]` position of every polygon corner, polygon after polygon.
        counts: `[P]` corners a polygon, at least 3.

    Returns:
        `[F, 3]` corners a triangle, as rows of `points`, and `[F]` the polygon each triangle comes from.
    """
    first_corner = np.cumsum(counts) - counts
    if (counts == 3).all():
        return np.arange(len(points)).reshape(-1, 3), np.arange(len(counts))
    first_triangle = np.cumsum(counts - 2) - (counts - 2)
    triangles = np.empty((int((counts - 2).sum()), 3), np.int64)
    for count in np.unique(counts).tolist():
        rows = np.flatnonzero(counts == count)
        corners = first_corner[rows, None] + np.arange(count)
        local = _cut_equal(points[corners])
        out = first_triangle[rows, None] + np.arange(count - 2)
        triangles[out] = first_corner[rows, None, None] + local
    return triangles, np.repeat(np.arange(len(counts)), counts - 2)


def _cut_equal(polygons: Float[np.ndarray, "P n 3"]) -> Int[np.ndarray, "P n-2 3"]:
    """Triangles of polygons that all have n corners, as corner numbers 0 to n - 1."""
    num, count = polygons.shape[:2]
    fan = np.stack([np.zeros(count - 2, np.int64), np.arange(1, count - 1), np.arange(2, count)], axis=1)
    local = np.broadcast_to(fan, (num, count - 2, 3)).copy()
    if count == 3:
        return local
    normals = newell_normals(polygons)
    if count == 4:
        other = np.array([[1, 2, 3], [1, 3, 0]])
        turn = ~_faces_along(polygons, fan, normals) & _faces_along(polygons, other, normals)
        local[turn] = other
        return local
    edges = np.roll(polygons, -1, axis=1) - polygons
    turns = np.einsum("pnk,pk->pn", np.cross(np.roll(edges, 1, axis=1), edges), normals)
    concave = (turns < -1e-12 * (normals**2).sum(1, keepdims=True)).any(1)
    for row in np.flatnonzero(concave).tolist():
        local[row] = _clip_ears(_project(polygons[row], normals[row]))
    return local


def newell_normals(polygons: Float[np.ndarray, "P n 3"]) -> Float[np.ndarray, "P 3"]:
    """`[P, 3]` normals as long as twice the polygon's area, right also for concave and slightly bent polygons."""
    centered = polygons - polygons[:, :1]
    return np.cross(centered, np.roll(centered, -1, axis=1)).sum(1)


def _faces_along(
    polygons: Float[np.ndarray, "P n 3"], cut: Int[np.ndarray, "t 3"], normals: Float[np.ndarray, "P 3"]
) -> np.ndarray:
    a, b, c = (polygons[:, cut[:, k]] for k in range(3))
    return (np.einsum("ptk,pk->pt", np.cross(b - a, c - a), normals) > 0).all(1)


def _project(polygon: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "n 2"]:
    """Drop the axis the normal is longest in; counter-clockwise afterwards."""
    axis = int(np.abs(normal).argmax())
    flat = polygon[:, [(axis + 1) % 3, (axis + 2) % 3]]
    return flat if normal[axis] > 0 else flat * [-1.0, 1.0]


def _clip_ears(points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n-2 3"]:
    """Ear clipping of one counter-clockwise polygon."""
    left = list(range(len(points)))
    triangles = []
    while len(left) > 3:
        ear = next((k for k in range(len(left)) if _is_ear(points, left, k)), None)
        if ear is None:  # crosses itself: any cut is as good as another
            triangles += [(left[0], left[k], left[k + 1]) for k in range(1, len(left) - 1)]
            return np.array(triangles)
        triangles.append((left[ear - 1], left[ear], left[(ear + 1) % len(left)]))
        del left[ear]
    triangles.append((left[0], left[1], left[2]))
    return np.array(triangles)


def _is_ear(points: Float[np.ndarray, "n 2"], left: list[int], k: int) -> bool:
    a, b, c = points[left[k - 1]], points[left[k]], points[left[(k + 1) % len(left)]]
    if _cross(b - a, c - b) <= 0:
        return False
    others = points[left]
    # Corners at the same place as an end of the ear (a bridge to a hole has such pairs) do not block it.
    apart = ~((others == a).all(1) | (others == b).all(1) | (others == c).all(1))
    others = others[apart]
    inside = (_cross(b - a, others - a) >= 0) & (_cross(c - b, others - b) >= 0) & (_cross(a - c, others - c) >= 0)
    return not bool(inside.any())


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray | np.floating:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
