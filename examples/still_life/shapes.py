"""Solids as distance functions, and the mesher that turns them into triangles.

A solid is a function from points `[N, 3]` to values `[N]` that are negative inside and grow about as fast as the
distance to the surface. Solids combine with `np.minimum` or `smooth_union`; `mesh_solid` samples one on a grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Solid = Callable[[Array], Array]


@dataclass(frozen=True)
class Surface:
    """Triangles with a normal and a colour a vertex.

    Args:
        verts: `[V, 3]` positions, scene units.
        faces: `[F, 3]` indices, counter-clockwise seen from outside.
        normals: `[V, 3]` unit normals, outwards.
        colours: `[V, 3]` linear RGB in [0, 1].
    """

    verts: Array
    faces: NDArray[np.int64]
    normals: Array
    colours: Array


def smooth_union(first: Array, second: Array, radius: float) -> Array:
    """The union of two solids with a fillet of about `radius` where they meet (polynomial smooth minimum)."""
    blend = np.clip(0.5 + 0.5 * (second - first) / radius, 0.0, 1.0)
    return second + (first - second) * blend - radius * blend * (1 - blend)


def smooth_cut(first: Array, second: Array, radius: float) -> Array:
    """`first` without `second`, the new edge rounded by about `radius`."""
    return -smooth_union(-first, second, radius)


def ellipsoid(points: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Approximate distance to an axis-aligned ellipsoid, exact to first order at its surface."""
    local = (points - centre) / radii
    length = np.linalg.norm(local, axis=-1)
    slope = np.linalg.norm(local / radii, axis=-1)
    return np.where(slope > 1e-9, length * (length - 1.0) / np.maximum(slope, 1e-9), -min(radii))


def rounded_box(points: Array, half_size: tuple[float, ...], rounding: float) -> Array:
    """Distance to an origin-centred box (a rectangle for `[N, 2]` points) with rounded edges."""
    excess = np.abs(points) - (np.asarray(half_size) - rounding)
    outside = np.linalg.norm(np.maximum(excess, 0.0), axis=-1)
    return outside + np.minimum(excess.max(axis=-1), 0.0) - rounding


def tube(points: Array, path: Array, radii: Array) -> Array:
    """Distance to a tube along a polyline `[P, 3]` whose radius runs linearly between `radii` `[P]`."""
    nearest = np.full(len(points), np.inf)
    for start, end, radius_start, radius_end in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        axis = end - start
        along = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
        distance = np.linalg.norm(points - start - along[:, None] * axis, axis=-1)
        nearest = np.minimum(nearest, distance - radius_start - along * (radius_end - radius_start))
    return nearest


def bezier(controls: list[tuple[float, float, float]], count: int) -> Array:
    """`[count, 3]` points along the cubic Bezier curve of four control points."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    p = np.asarray(controls, dtype=np.float64)
    return (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t**2 * (1 - t) * p[2] + t**3 * p[3]


def value_noise(points: Array, frequency: float, seed: int, octaves: int = 3) -> Array:
    """Smooth noise in about [-1, 1] at points `[N, 3]`: random values on a lattice, blended; octaves halve in size."""
    lattice = np.random.default_rng(seed).uniform(-1.0, 1.0, (32, 32, 32))
    total = np.zeros(len(points))
    for octave in range(octaves):
        scaled = points * frequency * 2**octave + 17.3 * octave
        cell = np.floor(scaled).astype(np.int64)
        weight = scaled - cell
        weight = weight * weight * (3 - 2 * weight)
        for corner in itertools.product((0, 1), repeat=3):
            index = (cell + corner) % 32
            share = np.where(np.asarray(corner) == 1, weight, 1 - weight).prod(axis=-1)
            total += 0.5**octave * share * lattice[index[:, 0], index[:, 1], index[:, 2]]
    return total


def gradient(solid: Solid, points: Array, step: float = 1e-4) -> Array:
    """`[N, 3]` central differences of a solid."""
    columns = []
    for axis in np.eye(3) * step:
        columns.append((solid(points + axis) - solid(points - axis)) / (2 * step))
    return np.stack(columns, axis=-1)


def mesh_solid(solid: Solid, colour: Callable[[Array], Array], low: Array, high: Array, voxel: float) -> Surface:
    """Mesh the zero set of a solid by surface nets, then pull the vertices onto it.

    Args:
        solid: the distance function; positive on the faces of the box.
        colour: points `[N, 3]` to linear RGB `[N, 3]`.
        low: `[3]` lower corner of the box that holds the solid.
        high: `[3]` upper corner.
        voxel: edge of a grid cell, scene units.

    Source: S. Gibson, "Constrained Elastic Surface Nets", MICCAI 1998 (one vertex a cell that the surface crosses).
    """
    counts = np.ceil((high - low) / voxel).astype(int) + 1
    axes = [start + voxel * np.arange(count) for start, count in zip(low, counts, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = np.concatenate([solid(slab.reshape(-1, 3)) for slab in grid]).reshape(counts)

    verts_cell, cell_vertex = _net_vertices(values)
    verts = low + voxel * verts_cell
    faces = _net_faces(values < 0, cell_vertex)
    for _ in range(3):
        slope = gradient(solid, verts)
        step = solid(verts)[:, None] * slope / np.maximum((slope**2).sum(axis=-1, keepdims=True), 1e-6)
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        # A step longer than half a cell would be a crease that the function describes badly: stop short of folding.
        verts = verts - step * np.minimum(1.0, 0.5 * voxel / np.maximum(length, 1e-12))
    slope = gradient(solid, verts, step=0.25 * voxel)
    normals = slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-9)
    return Surface(verts, faces, normals, np.clip(colour(verts), 0.0, 1.0))


def _net_vertices(values: Array) -> tuple[Array, NDArray[np.int64]]:
    """Vertices in cell units (the mean of the crossings on a cell's edges) and the vertex of each cell or -1."""
    cells_shape = tuple(count - 1 for count in values.shape)
    corners = list(itertools.product((0, 1), repeat=3))
    inside_count = np.zeros(cells_shape, dtype=np.int64)
    for a, b, c in corners:
        inside_count += values[a : a + cells_shape[0], b : b + cells_shape[1], c : c + cells_shape[2]] < 0
    cells = np.argwhere((inside_count > 0) & (inside_count < 8))
    cell_vertex = np.full(cells_shape, -1)
    cell_vertex[tuple(cells.T)] = np.arange(len(cells))

    total, crossings = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for start, end in itertools.combinations(corners, 2):
        if sum(end) - sum(start) != 1 or np.abs(np.subtract(end, start)).sum() != 1:
            continue
        at_start, at_end = values[tuple((cells + start).T)], values[tuple((cells + end).T)]
        crossed = (at_start < 0) != (at_end < 0)
        share = np.where(crossed, at_start / np.where(crossed, at_start - at_end, 1.0), 0.0)
        total += crossed[:, None] * (np.asarray(start) + share[:, None] * np.subtract(end, start))
        crossings += crossed
    return cells + total / crossings[:, None], cell_vertex


def _net_faces(inside: NDArray[np.bool_], cell_vertex: NDArray[np.int64]) -> NDArray[np.int64]:
    """Two triangles for each grid edge that crosses the surface, facing out."""
    faces = []
    for axis in range(3):
        low_end = np.argwhere(np.diff(inside.astype(np.int8), axis=axis) != 0)
        unit_u, unit_v = np.eye(3, dtype=int)[(axis + 1) % 3], np.eye(3, dtype=int)[(axis + 2) % 3]
        ring = [low_end - unit_u - unit_v, low_end - unit_v, low_end, low_end - unit_u]
        quad = np.stack([cell_vertex[tuple(cell.T)] for cell in ring], axis=-1)
        outwards = inside[tuple(low_end.T)]
        quad[~outwards] = quad[~outwards][:, ::-1]
        faces += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
    return np.concatenate(faces)
