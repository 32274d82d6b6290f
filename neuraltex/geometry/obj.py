"""Reads OBJ files and keeps what other readers lose: names, per-corner indices, relative indices, polygons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from neuraltex.errors import InputError
from neuraltex.geometry.obj_text import FACE, NORMAL, VERT, VERT_UV, Block, ObjText, parse_numbers
from neuraltex.geometry.triangulate import triangulate

# Squares and products of what is accepted stay far from overflow, in float32 too where the rasterizer needs them.
MAX_COORDINATE = 1e15
_INDEX = re.compile(rb"[+-]?\d+")
_CORNER_KINDS = (
    (VERT, "vertex", "vertices"),
    (VERT_UV, "texture coordinate", "texture coordinates"),
    (NORMAL, "normal", "normals"),
)


@dataclass(frozen=True)
class ObjData:
    """What an OBJ file says, with polygons cut into triangles and indices counted from 0.

    A face that lacks a `vt` or `vn` at any corner has -1 there at all three. Faces that name a vertex twice cover
    nothing and are left out; faces of zero area between different vertices are kept, as the vertices may move.

    Args:
        path: the file.
        verts: `[V, 3]` positions, file frame and unit.
        colors: `[V, 3]` vertex colours as written, or None unless every vertex has one.
        verts_uv: `[T, 2]` texture coordinates as written; v is 0 where the file gives only u.
        normals: `[N, 3]` normals as written, not normalised; zero where it says NaN.
        faces: `[F, 3]` rows of `verts`.
        faces_uv: `[F, 3]` rows of `verts_uv`, or -1.
        faces_normals: `[F, 3]` rows of `normals`, or -1.
        face_objects: `[F]` index into `object_names`, -1 before the first `o`.
        face_groups: `[F]` index into `group_names`, -1 before the first `g`.
        face_materials: `[F]` index into `material_names`, -1 before the first `usemtl`.
        object_names: names after `o`, each once.
        group_names: what stands after `g`, each once; several groups on one line are one name with spaces.
        material_names: names after `usemtl`, each once.
        mtllibs: what stands after each `mtllib`, as written.
        num_dropped: triangles left out because they name a vertex twice.
    """

    path: Path
    verts: Float[np.ndarray, "V 3"]
    colors: Float[np.ndarray, "V 3"] | None
    verts_uv: Float[np.ndarray, "T 2"]
    normals: Float[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "F 3"]
    faces_uv: Int[np.ndarray, "F 3"]
    faces_normals: Int[np.ndarray, "F 3"]
    face_objects: Int[np.ndarray, "F"]
    face_groups: Int[np.ndarray, "F"]
    face_materials: Int[np.ndarray, "F"]
    object_names: tuple[str, ...]
    group_names: tuple[str, ...]
    material_names: tuple[str, ...]
    mtllibs: tuple[str, ...]
    num_dropped: int


def read_obj(path: str | Path) -> ObjData:
    """Read an OBJ file.

    Args:
        path: the file. Statements other than v, vt, vn, f, o, g, usemtl and mtllib are skipped.

    Raises:
        InputError: the file is missing, binary, has no faces, or has a statement that cannot be read; names the line.
    """
    text = ObjText(Path(path))
    verts, colors = _read_verts(text.block(VERT))
    verts_uv = _read_rows(text.block(VERT_UV), needed=1, width=2)
    normals = _read_rows(text.block(NORMAL), needed=3, width=3, keep_nan=True)
    block = text.block(FACE)
    if not len(block.statements):
        raise InputError(path, "has no faces ('f' statements)", hint="a mesh is needed, not a point cloud")
    corners, counts = _read_corners(block)
    totals = (len(verts), len(verts_uv), len(normals))
    for column, total in enumerate(totals):
        _resolve(block, corners[:, column], counts, column, total)
    triangles, polygon = triangulate(verts[corners[:, 0]], counts)
    faces, faces_uv, faces_normals = (corners[:, column][triangles] for column in range(3))
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    if not proper.any():
        raise block.error(0, "every face of the file names a vertex twice", hint="export the mesh again")
    if not proper.all():
        faces, faces_uv, faces_normals, polygon = (a[proper] for a in (faces, faces_uv, faces_normals, polygon))
    for optional in (faces_uv, faces_normals):
        optional[(optional < 0).any(1)] = -1
    ids, names, mtllibs = _read_names(text, block.statements)
    return ObjData(
        path=text.path,
        verts=verts,
        colors=colors,
        verts_uv=verts_uv,
        normals=normals,
        faces=faces,
        faces_uv=faces_uv,
        faces_normals=faces_normals,
        face_objects=ids["o"][polygon],
        face_groups=ids["g"][polygon],
        face_materials=ids["usemtl"][polygon],
        object_names=names["o"],
        group_names=names["g"],
        material_names=names["usemtl"],
        mtllibs=mtllibs,
        num_dropped=int((~proper).sum()),
    )


def read_obj_polygons(
    path: str | Path,
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "C"], Int[np.ndarray, "P"]]:
    """Positions and polygons of an OBJ file, as they are written, and nothing else of it.

    Returns:
        `[V, 3]` positions; `[C]` the vertex at each corner, polygon after polygon; `[P]` corners of each polygon.

    Raises:
        InputError: as `read_obj`.
    """
    text = ObjText(Path(path))
    verts, _ = _read_verts(text.block(VERT))
    block = text.block(FACE)
    if not len(block.statements):
        return verts, np.zeros(0, np.int64), np.zeros(0, np.int64)
    corners, counts = _read_corners(block)
    _resolve(block, corners[:, 0], counts, 0, len(verts))
    return verts, corners[:, 0], counts


def _read_verts(block: Block) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "V 3"] | None]:
    values, counts = block.floats(3)
    first = np.cumsum(counts) - counts
    verts = _take(values, counts, first, 3)
    _check_finite(block, verts)
    # `x y z r g b`, or `x y z w r g b`: the weight w only matters to curves.
    if not len(counts) or (counts < 6).any():
        return verts, None
    colors = _take(values, counts, first + np.where(counts >= 7, 4, 3), 3)
    _check_finite(block, colors)
    return verts, colors


def _read_rows(block: Block, *, needed: int, width: int, keep_nan: bool = False) -> Float[np.ndarray, "N width"]:
    values, counts = block.floats(needed)
    first = np.cumsum(counts) - counts
    rows = _take(values, counts, first, width)
    if keep_nan:
        rows[~(np.abs(rows) < MAX_COORDINATE).all(1)] = 0.0
    else:
        _check_finite(block, rows)
    return rows


def _take(
    values: Float[np.ndarray, "W"], counts: Int[np.ndarray, "N"], first: Int[np.ndarray, "N"], width: int
) -> Float[np.ndarray, "N width"]:
    """`width` numbers from `first` of each statement; 0 where the statement has fewer."""
    rows = np.zeros((len(counts), width))
    begin = np.cumsum(counts) - counts
    for k in range(width):
        if len(counts) and int(counts.min()) > k:
            rows[:, k] = values[first + k]
        else:
            has = counts > k
            rows[has, k] = values[(begin + k)[has]]
    return rows


def _check_finite(block: Block, rows: Float[np.ndarray, "N width"]) -> None:
    bad = np.flatnonzero(~(np.abs(rows) < MAX_COORDINATE).all(1))
    if len(bad):
        raise block.error(int(bad[0]), f"coordinates must be finite and below 1e15, found {rows[bad[0]].tolist()}")


def _read_corners(block: Block) -> tuple[Int[np.ndarray, "C 3"], Int[np.ndarray, "P"]]:
    """Indices as written, 0 where the corner has none, and the number of corners a face."""
    starts, ends, counts = block.words()
    short = np.flatnonzero(counts < 3)
    if len(short):
        raise block.error(int(short[0]), f"a face needs at least 3 corners, found {int(counts[short[0]])}")
    present = _present_fields(block, starts, ends, counts)
    block.bytes[block.bytes == ord("/")] = ord(" ")
    values = parse_numbers(block.bytes, np.int64)
    if values is None or len(values) != int(present.sum()):
        raise block.not_a_number(_INDEX, "whole numbers as v, v/vt, v//vn or v/vt/vn")
    corners = np.zeros((len(starts), 3), np.int64)
    corners[present] = values
    zero = np.flatnonzero((present & (corners == 0)).any(1))
    if len(zero):
        raise block.error(_row_of(counts, int(zero[0])), "index 0 was found, OBJ counts from 1")
    return corners, counts


def _present_fields(
    block: Block, starts: Int[np.ndarray, "C"], ends: Int[np.ndarray, "C"], counts: Int[np.ndarray, "P"]
) -> np.ndarray:
    """`[C, 3]` whether each corner `v/vt/vn` names a v, a vt, a vn."""
    slashes = np.flatnonzero(block.bytes == ord("/"))
    per_corner = len(slashes) // len(starts)
    grid = slashes[: per_corner * len(starts)].reshape(len(starts), per_corner)
    if len(slashes) == grid.size and (not per_corner or ((grid[:, 0] >= starts) & (grid[:, -1] < ends)).all()):
        num_slashes = np.full(len(starts), per_corner)
        at = np.arange(len(starts)) * per_corner
    else:
        at = np.searchsorted(slashes, starts)
        num_slashes = np.searchsorted(slashes, ends) - at
    many = np.flatnonzero(num_slashes > 2)
    if len(many):
        raise block.error(_row_of(counts, int(many[0])), "a corner has more than two slashes, v/vt/vn was expected")
    padded = np.append(slashes, [0, 0])
    first = np.where(num_slashes > 0, padded[at], ends)
    second = np.where(num_slashes > 1, padded[at + 1], ends)
    present = np.stack([first > starts, second > first + 1, ends > second + 1], axis=1)
    nameless = np.flatnonzero(~present[:, 0])
    if len(nameless):
        raise block.error(_row_of(counts, int(nameless[0])), "a corner names no vertex, v/vt/vn was expected")
    return present


def _row_of(counts: Int[np.ndarray, "P"], corner: int) -> int:
    return int(np.searchsorted(np.cumsum(counts), corner, side="right"))


def _resolve(block: Block, column: np.ndarray, counts: Int[np.ndarray, "P"], which: int, total: int) -> None:
    """Turn one column of written indices into rows counted from 0, -1 where there is none, in place."""
    kind, name, names = _CORNER_KINDS[which]
    relative = column < 0
    if relative.any():
        defined = np.cumsum(block.text.kinds == kind)[block.statements]
        before = np.repeat(defined, counts)
        bad = np.flatnonzero(relative & (before + column < 0))
        if len(bad):
            raise block.error(
                _row_of(counts, int(bad[0])),
                f"{name} index {int(column[bad[0]])} reaches too far back: {int(before[bad[0]])} {names} stand before",
            )
        column[relative] += before[relative] + 1
    bad = np.flatnonzero(column > total)
    if len(bad):
        raise block.error(
            _row_of(counts, int(bad[0])), f"{name} index {int(column[bad[0]])} was found, the file has {total} {names}"
        )
    column -= 1


def _read_names(
    text: ObjText, face_statements: Int[np.ndarray, "P"]
) -> tuple[dict[str, Int[np.ndarray, "P"]], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Which object, group and material is in force at each face statement, and the names of all that own a face."""
    changes: dict[str, tuple[list[int], list[str]]] = {"o": ([], []), "g": ([], []), "usemtl": ([], [])}
    mtllibs: list[str] = []
    for statement, keyword, value in text.names():
        if keyword == "mtllib":
            mtllibs.append(value)
        else:
            changes[keyword][0].append(statement)
            changes[keyword][1].append(" ".join(value.split()) if keyword == "g" else value)
    ids: dict[str, Int[np.ndarray, "P"]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for keyword, (statements, values) in changes.items():
        order = {name: k for k, name in enumerate(dict.fromkeys(values))}
        id_after = np.array([-1] + [order[name] for name in values], np.int64)
        ids[keyword] = id_after[np.searchsorted(np.array(statements, np.int64), face_statements)]
        names[keyword] = tuple(order)
    return ids, names, tuple(mtllibs)
