"""Checks whether the texture coordinates of a scene can serve one texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from neuraltex.geometry.components import number_rows
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene
from neuraltex.geometry.uv_overlap import Overlap, find_overlap
from neuraltex.geometry.uv_report import UvReport

# Coordinates this far over a border still count as inside: exporters round.
BORDER = 1e-4
# More tiles than this in one material are no UDIM tiles but coordinates in some other unit.
_MAX_TILES = 64
# A material repeats its texture when more than this share of its surface reaches over a tile's border.
_STRAY = 0.01


@dataclass(frozen=True)
class FaceUvs:
    """Texture coordinates of all faces of a scene, part after part, and how they lie in tiles.

    Args:
        uv: `[F, 3, 2]` corners; 0 where missing.
        has_uv: `[F]` False where missing.
        degenerate: `[F]` has coordinates and a surface, but no area in the texture.
        area: `[F]` surface area in squared scene units.
        materials: `[F]` material, -1 for none.
        tiles: `[F, 2]` the integer tile of the face; (0, 0) for the faces of materials that repeat.
        repeats: `[F]` whether the face's material repeats its texture.
        layers: `[F]` number of the tile.
    """

    uv: Float[np.ndarray, "F 3 2"]
    has_uv: Bool[np.ndarray, "F"]
    degenerate: Bool[np.ndarray, "F"]
    area: Float[np.ndarray, "F"]
    materials: Int[np.ndarray, "F"]
    tiles: Int[np.ndarray, "F 2"]
    repeats: Bool[np.ndarray, "F"]
    layers: Int[np.ndarray, "F"]


def check_uvs(scene: Scene) -> UvReport:
    """Find missing, overlapping, tiled and degenerate texture coordinates; hidden parts are looked at too."""
    faces = gather_uvs(scene)
    return summarize(faces, measure_overlap(faces))


def gather_uvs(scene: Scene) -> FaceUvs:
    """Collect the coordinates of all parts and sort them into tiles."""
    empty = [np.zeros((0, 3, 2))]
    uv = np.concatenate(empty + [_part_uv(p) for p in scene.parts])
    has_uv = np.concatenate([np.zeros(0, bool)] + [(p.faces_uv >= 0).all(1).numpy() for p in scene.parts])
    corners = np.concatenate([np.zeros((0, 3, 3))] + [p.verts.detach()[p.faces].numpy() for p in scene.parts])
    materials = np.concatenate([np.zeros(0, np.int64)] + [p.face_materials.numpy() for p in scene.parts])
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * np.sqrt((cross**2).sum(1))
    size = np.ptp(uv, axis=1).max(1) if len(uv) else np.zeros(0)
    degenerate = has_uv & (area > 0) & (uv_area(uv) <= 1e-12 * size**2)
    tiles, repeats = _sort_into_tiles(uv, has_uv, area, materials)
    layers, _ = number_rows(tiles[:, 0], tiles[:, 1])
    return FaceUvs(uv, has_uv, degenerate, area, materials, tiles, repeats, layers)


def measure_overlap(faces: FaceUvs) -> Overlap:
    """Measure overlaps between the faces that have coordinates; 0 for the others."""
    rows = np.flatnonzero(faces.has_uv & ~faces.degenerate)
    found = find_overlap(faces.uv[rows], faces.layers[rows], faces.materials[rows])
    shares = np.zeros((3, len(faces.uv)))
    shares[:, rows] = found.any, found.across, found.within
    return Overlap(any=shares[0], across=shares[1], within=shares[2], grid=found.grid)


def summarize(faces: FaceUvs, overlap: Overlap) -> UvReport:
    """Turn what was found a face into shares of the surface."""
    total = float(faces.area.sum())
    # A scene without surface still has faces: count those.
    weights = faces.area / total if total > 0 else np.full(len(faces.area), 1.0 / max(len(faces.area), 1))
    outside = faces.has_uv & ((faces.uv < -BORDER) | (faces.uv > 1 + BORDER)).any((1, 2))
    tiles = faces.tiles[faces.has_uv]
    tiles = tiles[number_rows(tiles[:, 0], tiles[:, 1])[1]]

    def share(part: np.ndarray) -> float:
        return float((weights * part).sum())

    return UvReport(
        num_faces=len(faces.area),
        area=total,
        missing=share(~faces.has_uv),
        degenerate=share(faces.degenerate),
        overlapping=share(overlap.any),
        shared=share(overlap.across),
        outside=share(outside),
        repeating=share(faces.repeats),
        tiles=tuple((int(u), int(v)) for u, v in tiles.tolist()),
        grid=overlap.grid,
    )


def uv_area(uv: Float[np.ndarray, "F 3 2"]) -> Float[np.ndarray, "F"]:
    """`[F]` area in the texture, whichever way the faces are wound."""
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    return 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _part_uv(part: Part) -> Float[np.ndarray, "F 3 2"]:
    if part.verts_uv is None:
        return np.zeros((len(part.faces), 3, 2))
    uv = part.verts_uv.detach().numpy()[part.faces_uv.numpy()]
    uv[(part.faces_uv < 0).any(1).numpy()] = 0.0
    return uv


def _sort_into_tiles(
    uv: Float[np.ndarray, "F 3 2"],
    has_uv: Bool[np.ndarray, "F"],
    area: Float[np.ndarray, "F"],
    materials: Int[np.ndarray, "F"],
) -> tuple[Int[np.ndarray, "F 2"], Bool[np.ndarray, "F"]]:
    """The tile of each face's centre, and which faces belong to materials that repeat their texture instead."""
    tiles = np.floor((uv[:, 0] + uv[:, 1] + uv[:, 2]) / 3).astype(np.int64)
    strays = has_uv & ((uv < tiles[:, None] - BORDER) | (uv > tiles[:, None] + 1 + BORDER)).any((1, 2))
    slots, examples = number_rows(materials)
    num = len(examples)
    total = np.bincount(slots, area, num)
    stray = np.bincount(slots, area * strays, num)
    used = number_rows(slots[has_uv], tiles[has_uv, 0], tiles[has_uv, 1])[1]
    num_tiles = np.bincount(slots[has_uv][used], minlength=num)
    repeats = ((stray > _STRAY * total) | (num_tiles > _MAX_TILES))[slots] & has_uv
    tiles[repeats | ~has_uv] = 0
    return tiles, repeats
