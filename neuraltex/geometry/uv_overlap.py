"""Which faces lie on top of each other in the texture, measured on a grid of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from neuraltex.geometry.components import number_rows

_FINEST, _COARSEST = 2048, 16
_MAX_CANDIDATES = 12_000_000
_MAX_TEXELS = 32_000_000
_CHUNK = 2_000_000
# A face whose box covers more than this many whole textures repeats so often that sampling it says nothing new.
_MAX_REPEATS = 16.0
# Where in its texel a sample lies: off every regular grid, so that no sample falls on an edge two faces share.
_SAMPLE = np.array([0.4142135623, 0.6180339887])


@dataclass(frozen=True)
class Overlap:
    """How much of each face shares texels.

    Args:
        any: `[F]` share, 0 to 1, that lies where another face, or the face itself repeated, lies in the same layer.
        across: `[F]` share that lies where a face of another material lies in the same layer.
        within: `[F]` share that lies where another face of the same layer and material lies.
        grid: samples a side.
    """

    any: Float[np.ndarray, "F"]
    across: Float[np.ndarray, "F"]
    within: Float[np.ndarray, "F"]
    grid: int


def find_overlap(
    uv: Float[np.ndarray, "F 3 2"], layers: Int[np.ndarray, "F"], materials: Int[np.ndarray, "F"]
) -> Overlap:
    """Measure overlaps of triangles in the texture, coordinates wrapped into the unit square.

    Faces that only share an edge do not overlap, nor do faces without area in the texture. The grid is 2048 a side
    where that takes a second or two, coarser where triangles or layers are many. Faces too small for a sample of their
    own count as overlapping where their centre's texel does.

    Args:
        uv: `[F, 3, 2]` corners.
        layers: `[F]` numbers from 0; faces of different layers never meet.
        materials: `[F]` any numbers.
    """
    low, high = _bounds(uv)
    span = high - low
    huge = span.prod(1) > _MAX_REPEATS
    groups, examples = number_rows(layers, materials)
    num_groups = len(examples)
    grid = _choose_grid(span[~huge], num_groups)
    # Whole textures are taken off first: far from 0, float64 would have no digits left for the samples.
    local = uv - np.floor(_centers(uv))[:, None]
    texel, face = _samples(local, huge, grid)
    center = (np.floor(_centers(local) * grid - _SAMPLE + 0.5).astype(np.int64) % grid) @ [1, grid]
    layer_size = grid * grid
    by_layer = _Hits(texel + layers[face] * layer_size, center + layers * layer_size, face, _num(layers) * layer_size)
    by_group = _Hits(texel + groups[face] * layer_size, center + groups * layer_size, face, num_groups * layer_size)
    any_share, across = by_layer.doubled(np.arange(len(face))), by_layer.doubled(materials[face])
    within = by_group.doubled(np.arange(len(face)))
    if huge.any():
        for share, keys in ((any_share, layers), (within, groups)):
            share[np.isin(keys, keys[huge])] = 1.0
    return Overlap(any_share, across, within, grid)


class _Hits:
    """Samples by where they fall: `key` a sample, `center` a face."""

    def __init__(
        self, key: Int[np.ndarray, "S"], center: Int[np.ndarray, "F"], face: Int[np.ndarray, "S"], size: int
    ) -> None:
        self.key, self.center, self.face, self.size = key, center, face, size

    def doubled(self, owner: Int[np.ndarray, "S"]) -> Float[np.ndarray, "F"]:
        """The share of each face whose texels hold samples of more than one owner."""
        # The last sample to write a texel names its owner; whoever finds another name there shares it.
        last = np.zeros(self.size, np.int32)
        last[self.key] = owner
        shared = np.zeros(self.size, bool)
        shared[self.key[last[self.key] != owner]] = True
        num = len(self.center)
        total = np.bincount(self.face, minlength=num)
        hits = np.bincount(self.face[shared[self.key]], minlength=num)
        return np.where(total > 0, hits / np.maximum(total, 1), shared[self.center].astype(np.float64))


def _num(labels: Int[np.ndarray, "F"]) -> int:
    return int(labels.max()) + 1 if len(labels) else 1


def _bounds(uv: Float[np.ndarray, "F 3 2"]) -> tuple[Float[np.ndarray, "F 2"], Float[np.ndarray, "F 2"]]:
    # numpy reduces a short axis several times slower than it compares whole columns.
    a, b, c = uv[:, 0], uv[:, 1], uv[:, 2]
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _centers(uv: Float[np.ndarray, "F 3 2"]) -> Float[np.ndarray, "F 2"]:
    return (uv[:, 0] + uv[:, 1] + uv[:, 2]) / 3


def _choose_grid(span: Float[np.ndarray, "F 2"], num_groups: int) -> int:
    grid = _FINEST
    while grid > _COARSEST:
        if num_groups * grid**2 <= _MAX_TEXELS and float((span * grid + 1).prod(1).sum()) <= _MAX_CANDIDATES:
            break
        grid //= 2
    return grid


def _samples(
    uv: Float[np.ndarray, "F 3 2"], skip: Bool[np.ndarray, "F"], grid: int
) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "S"]]:
    """Texel and face of every sample inside a face."""
    points = uv * grid - _SAMPLE
    low, high = _bounds(points)
    low = np.ceil(low).astype(np.int64)
    size = np.maximum(np.floor(high).astype(np.int64) - low + 1, 0)
    size[skip] = 0
    found = [_inside(points, low, size, rows, grid) for rows in _chunks(size.prod(1))]
    texels, faces = zip(*found, strict=True) if found else ((), ())
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *texels]), np.concatenate([empty, *faces])


def _chunks(counts: Int[np.ndarray, "F"]) -> Iterator[Int[np.ndarray, "K"]]:
    """Rows with a count, in runs whose counts add up to about `_CHUNK`."""
    rows = np.flatnonzero(counts)
    bounds = np.cumsum(counts[rows]) // _CHUNK
    yield from np.split(rows, np.flatnonzero(np.diff(bounds)) + 1)


def _inside(
    points: Float[np.ndarray, "F 3 2"],
    low: Int[np.ndarray, "F 2"],
    size: Int[np.ndarray, "F 2"],
    rows: Int[np.ndarray, "K"],
    grid: int,
) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "S"]]:
    """Test every texel of the faces' boxes."""
    counts = size[rows].prod(1)
    slot = np.repeat(np.arange(len(rows)), counts)
    index = np.arange(len(slot)) - np.repeat(np.cumsum(counts) - counts, counts)
    width, corner = size[rows, 0], low[rows]
    row = index // width[slot]
    x, y = corner[slot, 0] + index - row * width[slot], corner[slot, 1] + row
    triangle = points[rows]
    edge = np.roll(triangle, -1, axis=1) - triangle
    turn = np.sign(edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0])
    # One line a * x + b * y + c per edge, positive inside whichever way the face is wound.
    a, b = -edge[..., 1] * turn[:, None], edge[..., 0] * turn[:, None]
    c = -(a * triangle[..., 0] + b * triangle[..., 1])
    inside = np.ones(len(slot), bool)
    for k in range(3):
        inside &= a[slot, k] * x + b[slot, k] * y + c[slot, k] > 0
    return (x[inside] % grid) + (y[inside] % grid) * grid, rows[slot[inside]]
