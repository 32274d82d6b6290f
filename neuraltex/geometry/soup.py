"""Triangles as a reader leaves them, and how they become parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from neuraltex.geometry.components import compact, connected_components, weld
from neuraltex.geometry.normals import smooth_normals
from neuraltex.geometry.part import Part

# More pieces than this are a triangle soup, and more names than that are one a polygon; neither is a list of parts.
MAX_COMPONENTS = 32
MAX_NAMES = 1024
# Pieces with a smaller share of the faces are crumbs and stay with the largest piece.
_CRUMB = 0.01


@dataclass(frozen=True)
class Soup:
    """All triangles of a file or of one node of it.

    Args:
        verts: `[V, 3]` positions.
        faces: `[F, 3]` rows of `verts`.
        verts_uv: `[T, 2]` texture coordinates.
        faces_uv: `[F, 3]` rows of `verts_uv`, or -1.
        normals: `[N, 3]` normals of any length.
        faces_normals: `[F, 3]` rows of `normals`, or -1.
        face_materials: `[F]` index into the scene's materials, or -1.
        source_verts: `[V]` row of each vertex in the file.
    """

    verts: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    verts_uv: Float[np.ndarray, "T 2"]
    faces_uv: Int[np.ndarray, "F 3"]
    normals: Float[np.ndarray, "N 3"]
    faces_normals: Int[np.ndarray, "F 3"]
    face_materials: Int[np.ndarray, "F"]
    source_verts: Int[np.ndarray, "V"]


def weld_soup(soup: Soup) -> Soup:
    """Let vertices at the same position be one vertex; texture coordinates and normals keep their own rows."""
    first, joined = weld(soup.verts)
    if len(first) == len(soup.verts):
        return soup
    return replace(soup, verts=soup.verts[first], faces=joined[soup.faces], source_verts=soup.source_verts[first])


def split_soup(soup: Soup, part_of_face: Int[np.ndarray, "F"], names: Sequence[str]) -> list[Part]:
    """One part for every name that owns a face, in the order of the names."""
    order = np.argsort(part_of_face, kind="stable")
    bounds = np.searchsorted(part_of_face[order], np.arange(len(names) + 1))
    parts = []
    for k, name in enumerate(names):
        rows = order[bounds[k] : bounds[k + 1]]
        if len(rows):
            parts.append(_make_part(name, soup, rows))
    return parts


def component_labels(soup: Soup) -> tuple[Int[np.ndarray, "F"], int]:
    """Number the pieces that hang together, largest first; all 0 where that gives no sensible list of parts."""
    points = weld(soup.verts)[1][soup.faces]
    nodes = connected_components(len(soup.verts), points[:, [0, 1]].reshape(-1), points[:, [1, 2]].reshape(-1))
    label = np.unique(nodes[points[:, 0]], return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(label)
    by_size = np.argsort(-sizes, kind="stable")
    num = int((sizes >= max(_CRUMB * len(label), 1)).sum())
    if not 2 <= num <= MAX_COMPONENTS:
        return np.zeros(len(label), np.int64), 1
    rank = np.empty(len(sizes), np.int64)
    rank[by_size] = np.arange(len(sizes))
    rank[rank >= num] = 0
    return rank[label], num


def unique_names(names: Sequence[str]) -> list[str]:
    """The names with `_2`, `_3`, ... behind those that came before, and `unnamed` for empty ones."""
    taken: set[str] = set()
    result = []
    for name in names:
        base = name or "unnamed"
        candidate, count = base, 1
        while candidate in taken:
            count += 1
            candidate = f"{base}_{count}"
        taken.add(candidate)
        result.append(candidate)
    return result


def _make_part(name: str, soup: Soup, rows: Int[np.ndarray, "K"]) -> Part:
    kept, faces = compact(soup.faces[rows], len(soup.verts))
    kept_uv, faces_uv = compact(soup.faces_uv[rows], len(soup.verts_uv))
    verts = soup.verts[kept]
    normals, faces_normals = _file_normals(soup, rows) or smooth_normals(verts, faces)
    return Part(
        name=name,
        verts=torch.from_numpy(verts),
        faces=torch.from_numpy(faces),
        verts_uv=torch.from_numpy(soup.verts_uv[kept_uv]) if len(kept_uv) else None,
        faces_uv=torch.from_numpy(faces_uv),
        normals=torch.from_numpy(normals),
        faces_normals=torch.from_numpy(faces_normals),
        face_materials=torch.from_numpy(soup.face_materials[rows]),
        source_verts=torch.from_numpy(soup.source_verts[kept]),
    )


def _file_normals(
    soup: Soup, rows: Int[np.ndarray, "K"]
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "K 3"]] | None:
    """The file's normals where every corner has one with a length, else None."""
    indices = soup.faces_normals[rows]
    if (indices < 0).any():
        return None
    kept, renumbered = compact(indices, len(soup.normals))
    normals = soup.normals[kept]
    length = np.sqrt((normals**2).sum(1, keepdims=True))
    if not (length > 1e-12).all():
        return None
    return normals / length, renumbered
