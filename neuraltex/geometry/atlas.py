"""Makes texture coordinates usable for one texture: unwraps what lacks them, packs materials and tiles into cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from neuraltex.geometry.components import compact, connected_components, number_rows
from neuraltex.geometry.scene import Scene
from neuraltex.geometry.unwrap import unwrap_faces
from neuraltex.geometry.uv_check import BORDER, FaceUvs, gather_uvs, measure_overlap, summarize, uv_area
from neuraltex.geometry.uv_overlap import Overlap
from neuraltex.geometry.uv_report import NOISE

Unwrap = Literal["missing", "overlapping", "always", "never"]

# Free texels between cells: 8 of 1024, so that a pyramid's 128 level keeps one.
_GUTTER = 1 / 128
# No cell is smaller than this share of the largest, by side: small parts are looked at closely too.
_SMALLEST = 0.05
# Faces without area in the texture are unwrapped anew when they hold more than this share of the surface.
_DEGENERATE = 0.01


@dataclass
class Layout:
    """Texture coordinates of a scene while they are being changed.

    Args:
        uv: `[T, 2]` rows.
        faces_uv: `[F, 3]` rows of `uv`, part after part; never -1.
        cells: `[F]` the cell each face lies in.
        num_cells: cells are 0 to `num_cells` - 1.
    """

    uv: Float[np.ndarray, "T 2"]
    faces_uv: Int[np.ndarray, "F 3"]
    cells: Int[np.ndarray, "F"]
    num_cells: int


def make_usable(scene: Scene, *, unwrap: Unwrap) -> None:
    """Check the scene's texture coordinates and change them until every face has some in the unit square.

    Sets the scene's `uv_report`, what was found, and `uv_changes`, what was done. Tiles, and materials that meet in
    the texture, get cells of their own; a material that repeats its texture gets its whole range into one cell, so
    that nothing repeats; faces without coordinates are unwrapped into a cell. What needs no change is not touched.

    Args:
        scene: changed in place.
        unwrap: which faces get new coordinates: those `missing` them, also those `overlapping` within a material,
            `always` all. `never` leaves everything as the file has it.

    Raises:
        InputError: faces cannot be unwrapped.
    """
    faces = gather_uvs(scene)
    overlap = measure_overlap(faces)
    scene.uv_report = summarize(faces, overlap)
    scene.uv_changes = []
    if unwrap == "never":
        return
    fresh = _choose_fresh(scene, faces, overlap, unwrap)
    keys = _cell_keys(faces, fresh, shared=scene.uv_report.shared > NOISE)
    if not fresh.any() and int(keys.max()) == 0 and _inside(faces.uv):
        for part in scene.parts:
            if part.verts_uv is not None:
                part.verts_uv = part.verts_uv.clamp(0.0, 1.0)
        return
    layout = _lay_out(scene, fresh, keys)
    _describe(scene, faces, fresh, layout)
    _pack(layout, faces.area)
    np.clip(layout.uv, 0.0, 1.0, out=layout.uv)
    _store(scene, layout)


def _choose_fresh(scene: Scene, faces: FaceUvs, overlap: Overlap, unwrap: Unwrap) -> Bool[np.ndarray, "F"]:
    """Which faces get new coordinates."""
    assert scene.uv_report is not None
    fresh = ~faces.has_uv
    if scene.uv_report.degenerate > _DEGENERATE:
        fresh |= faces.degenerate
    if unwrap == "always":
        fresh[:] = True
    if unwrap == "overlapping":
        islands = _islands(scene, faces)
        num = int(islands.max()) + 1
        doubled = np.bincount(islands, overlap.within * faces.area, num)
        fresh |= (doubled > 0.01 * np.bincount(islands, faces.area, num))[islands]
    return fresh


def _islands(scene: Scene, faces: FaceUvs) -> Int[np.ndarray, "F"]:
    """Number the pieces of the texture that hang together; each face without coordinates is one by itself."""
    rows, num_rows = _all_faces_uv(scene)
    lone = np.flatnonzero(~faces.has_uv)
    rows[lone] = (num_rows + np.arange(len(lone)))[:, None]
    nodes = connected_components(num_rows + len(lone), rows[:, [0, 1]].reshape(-1), rows[:, [1, 2]].reshape(-1))
    return nodes[rows[:, 0]]


def _all_faces_uv(scene: Scene) -> tuple[Int[np.ndarray, "F 3"], int]:
    """Texture indices of all parts in one count of rows, -1 where missing."""
    offset, rows = 0, []
    for part in scene.parts:
        index = part.faces_uv.numpy()
        rows.append(np.where(index < 0, -1, index + offset))
        offset += 0 if part.verts_uv is None else len(part.verts_uv)
    return np.concatenate(rows), offset


def _cell_keys(faces: FaceUvs, fresh: Bool[np.ndarray, "F"], *, shared: bool) -> Int[np.ndarray, "F"]:
    """The cell of each face: fresh faces, then materials that repeat, then tiles (of each material if they meet)."""
    owner = faces.materials + 1
    kind = np.where(fresh, 0, np.where(faces.repeats, 1, 2))
    by_material = np.where((kind == 1) | ((kind == 2) & shared), owner, 0)
    tile = np.where((kind == 2)[:, None], faces.tiles, 0)
    return number_rows(kind, by_material, tile[:, 0], tile[:, 1])[0]


def _lay_out(scene: Scene, fresh: Bool[np.ndarray, "F"], cells: Int[np.ndarray, "F"]) -> Layout:
    """Unwrap the fresh faces, and give each cell rows of its own."""
    rows, num_rows = _all_faces_uv(scene)
    uv = np.concatenate(
        [np.zeros((0, 2))] + [part.verts_uv.detach().numpy() for part in scene.parts if part.verts_uv is not None]
    )
    if fresh.any():
        offsets = np.cumsum([0] + [len(part.verts) for part in scene.parts])
        verts = np.concatenate([part.verts.detach().numpy() for part in scene.parts])
        index = np.concatenate([part.faces.numpy() + k for part, k in zip(scene.parts, offsets, strict=False)])
        new_uv, new_rows = unwrap_faces(verts, index[fresh], source=scene.source)
        rows[fresh] = num_rows + new_rows
        uv = np.concatenate([uv, new_uv])
    num_cells = int(cells.max()) + 1
    faces_uv, examples = number_rows(rows.reshape(-1), np.repeat(cells, 3))
    return Layout(uv[rows.reshape(-1)[examples]], faces_uv.reshape(-1, 3), cells, num_cells)


def _inside(uv: Float[np.ndarray, "F 3 2"]) -> bool:
    return bool(uv.min() >= -BORDER and uv.max() <= 1 + BORDER)


def _pack(layout: Layout, area: Float[np.ndarray, "F"]) -> None:
    """Move every cell to its place in the unit square, in place; texels a surface area are about the same in all."""
    corners = layout.uv[layout.faces_uv]
    low, high = np.full((layout.num_cells, 2), np.inf), np.full((layout.num_cells, 2), -np.inf)
    np.minimum.at(low, layout.cells, corners.min(1))
    np.maximum.at(high, layout.cells, corners.max(1))
    box = np.maximum(high - low, 1e-9)
    surface = np.bincount(layout.cells, area, layout.num_cells)
    covered = np.bincount(layout.cells, uv_area(corners), layout.num_cells)
    scale = np.sqrt(np.where(covered > 0, surface / np.maximum(covered, 1e-300), 0.0))
    side = scale * box.max(1)
    smallest = _SMALLEST * float(side.max()) if side.max() > 0 else 1.0
    scale = np.maximum(side, smallest) / box.max(1)
    sizes = box * scale[:, None]
    places, shrink = pack_rectangles(sizes / float(sizes.max()))
    factor = scale * shrink / float(sizes.max())
    row_cell = np.zeros(len(layout.uv), np.int64)
    row_cell[layout.faces_uv] = layout.cells[:, None]
    layout.uv = (layout.uv - low[row_cell]) * factor[row_cell, None] + places[row_cell]


def pack_rectangles(sizes: Float[np.ndarray, "C 2"]) -> tuple[Float[np.ndarray, "C 2"], float]:
    """Place rectangles in rows of the unit square, as large as they fit, with a gutter between them.

    Returns:
        `[C, 2]` lower-left corners and the factor by which all sizes are multiplied. One alone gets no gutter.
    """
    num = len(sizes)
    gutter = 0.0 if num == 1 else min(_GUTTER, 0.1 / np.sqrt(num))
    too_small, too_large = 0.0, 1.0 / float(sizes.max())
    places = _rows_of(sizes * too_large, gutter)
    if places is not None:
        return places, too_large
    for _ in range(40):
        factor = 0.5 * (too_small + too_large)
        if _rows_of(sizes * factor, gutter) is None:
            too_large = factor
        else:
            too_small = factor
    places = _rows_of(sizes * too_small, gutter)
    assert places is not None
    return places, too_small


def _rows_of(sizes: Float[np.ndarray, "C 2"], gutter: float) -> Float[np.ndarray, "C 2"] | None:
    """Rows of rectangles, tallest first; None where they do not fit the unit square."""
    places = np.zeros_like(sizes)
    x = y = row_height = 0.0
    for k in np.argsort(-sizes[:, 1], kind="stable").tolist():
        width, height = sizes[k].tolist()
        if x > 0 and x + width > 1:
            x, y, row_height = 0.0, y + row_height + gutter, 0.0
        if x + width > 1 + 1e-12 or y + height > 1 + 1e-12:
            return None
        places[k] = x, y
        x += width + gutter
        row_height = max(row_height, height)
    return places


def _describe(scene: Scene, faces: FaceUvs, fresh: Bool[np.ndarray, "F"], layout: Layout) -> None:
    """Add to the scene's sentences what is about to be done."""
    report, said = scene.uv_report, scene.uv_changes
    assert report is not None
    if fresh.any():
        share = float(faces.area[fresh].sum()) / max(report.area, 1e-300)
        said.append(f"{int(fresh.sum())} faces, {share:.1%} of the surface, were unwrapped with xatlas")
    kept = ~fresh
    repeating = kept & faces.repeats
    if repeating.any():
        num = len(number_rows(faces.materials[repeating])[1])
        said.append(f"{num} materials repeat their texture; their whole range was scaled into a cell, nothing repeats")
    tiles = faces.tiles[kept & ~faces.repeats]
    num_tiles = len(number_rows(tiles[:, 0], tiles[:, 1])[1])
    if num_tiles > 1:
        said.append(f"{num_tiles} tiles were packed into the unit square")
    if report.shared > NOISE and kept.any():
        said.append("materials that meet in the texture were given cells of their own")
    if layout.num_cells > 1:
        said.append(f"the texture has {layout.num_cells} cells")
    elif not fresh.any():
        said.append("the coordinates were moved and scaled into the unit square")


def _store(scene: Scene, layout: Layout) -> None:
    """Hand each part its rows."""
    start = 0
    for part in scene.parts:
        rows = layout.faces_uv[start : start + len(part.faces)]
        start += len(part.faces)
        used, local = compact(rows, len(layout.uv))
        part.verts_uv = torch.from_numpy(layout.uv[used])
        part.faces_uv = torch.from_numpy(local)
