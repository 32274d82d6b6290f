"""A mesh as points on its surface with normals, and the nearest of them to anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuraltex.geometry.mesh import Mesh
from neuraltex.optional import require

Array = npt.NDArray[np.float64]


class Surface:
    """Samples of a surface with a search tree.

    Args:
        points: `[N, 3]`.
        normals: `[N, 3]` unit; their sign does not matter.

    Raises:
        NeuraltexError: SciPy is not installed.
    """

    def __init__(self, points: Array, normals: Array) -> None:
        self.points, self.normals = points, normals
        self.size = float(np.linalg.norm(points.max(0) - points.min(0)))
        self._tree: Any = require("scipy.spatial", "poses").cKDTree(points)
        apart, _ = self._tree.query(points[:: max(len(points) // 500, 1)], k=2)
        self.spacing = float(np.median(apart[:, 1]))

    def nearest(self, points: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Distance `[N]` to the nearest sample and its index `[N]`."""
        distance, index = self._tree.query(points)
        return np.asarray(distance), np.asarray(index, dtype=np.int64)


def sample_mesh(mesh: Mesh, count: int, *, seed: int = 0) -> Surface:
    """Points spread evenly over the area of a mesh, with the normals of their faces.

    Args:
        mesh: with some area.
        count: how many.
        seed: of their places.

    Raises:
        ValueError: the mesh has no area.
    """
    corners = mesh.verts.detach().cpu().double().numpy()[mesh.faces.cpu().numpy()]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    if not area.sum() > 0:
        raise ValueError("mesh: expected faces with some area, got none")
    rng = np.random.default_rng(seed)
    # Stratified along the running area: more even than independent draws.
    places = (np.arange(count) + rng.random(count)) / count * area.sum()
    face = np.minimum(np.searchsorted(np.cumsum(area), places), len(area) - 1)
    face = np.where(area[face] > 0, face, int(area.argmax()))
    u, v = np.sqrt(rng.random(count)), rng.random(count)
    bary = np.stack([1 - u, u * (1 - v), u * v], axis=1)
    points = np.einsum("nk,nkc->nc", bary, corners[face])
    return Surface(points, cross[face] / area[face][:, None])
