"""The mesh that ships: what was path-traced, decimated, unwrapped into one unit square, written as OBJ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
import xatlas
from numpy.typing import NDArray

from neuraltex.files import whole_file
from still_life import objects
from still_life.objects import Item
from still_life.shapes import Array, Surface

# What decimation aims at: few enough that silhouettes are facets. It stops earlier where it would tear the surface.
PROXY_FACES = {"vase": 1000, "teapot": 1000, "duck": 800, "pear": 400, "block": 2000, "torus": 800}
# Objects get this many times the table's texels a unit length: they are what one looks at.
OBJECT_TEXEL_DENSITY = 1.7
ATLAS_SIZE = 1024
ATLAS_PADDING = 3


@dataclass(frozen=True)
class ProxyPart:
    """One named object of the proxy; positions and texture coordinates have their own indices."""

    name: str
    verts: Array
    faces: NDArray[np.int64]
    verts_uv: Array
    faces_uv: NDArray[np.int64]


def decimate(surface: Surface, face_count: int) -> trimesh.Trimesh:
    """Fewer triangles by quadric edge collapse; small relief goes, silhouettes become facets."""
    mesh = trimesh.Trimesh(surface.verts, surface.faces, process=False)
    # The default aggression tears flat sides and thin parts open.
    return mesh.simplify_quadric_decimation(face_count=face_count, aggression=3)


def build_proxy(surfaces: dict[str, Surface], items: list[Item]) -> list[ProxyPart]:
    """Decimate every object and unwrap them all into one unit square without overlaps."""
    table_verts, table_faces = objects.table_grid(26)
    meshes = {"table": (table_verts, table_faces)}
    for item in items:
        decimated = decimate(surfaces[item.name], PROXY_FACES[item.name])
        meshes[item.name] = (np.asarray(decimated.vertices), np.asarray(decimated.faces))

    atlas = xatlas.Atlas()
    for name, (verts, faces) in meshes.items():
        density = 1.0 if name == "table" else OBJECT_TEXEL_DENSITY
        atlas.add_mesh((verts * density).astype(np.float32), faces.astype(np.uint32))
    chart_options = xatlas.ChartOptions()
    chart_options.max_iterations = 4
    pack_options = xatlas.PackOptions()
    pack_options.resolution = ATLAS_SIZE
    pack_options.padding = ATLAS_PADDING
    pack_options.bruteForce = True
    atlas.generate(chart_options, pack_options)

    # A margin keeps bilinear lookups inside; one scale for both axes keeps texels square.
    margin = ATLAS_PADDING / ATLAS_SIZE
    scale = np.array([atlas.width, atlas.height]) / max(atlas.width, atlas.height) * (1 - 2 * margin)
    parts = []
    for index, (name, (verts, faces)) in enumerate(meshes.items()):
        _, faces_uv, verts_uv = atlas[index]
        parts.append(ProxyPart(name, verts, faces, verts_uv * scale + margin, faces_uv.astype(np.int64)))
    return parts


def write_obj(path: Path, parts: list[ProxyPart]) -> None:
    """Write named objects; a vertex on a seam is one `v` with several `vt`."""
    lines = ["# The proxy of the bundled still life; made by examples/make_still_life.py", "mtllib still_life.mtl"]
    first_vert, first_uv = 1, 1
    for part in parts:
        lines += [f"o {part.name}", f"usemtl {part.name}"]
        lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in part.verts]
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in part.verts_uv]
        for corners, corners_uv in zip(part.faces + first_vert, part.faces_uv + first_uv, strict=True):
            lines.append("f " + " ".join(f"{v}/{vt}" for v, vt in zip(corners, corners_uv, strict=True)))
        first_vert += len(part.verts)
        first_uv += len(part.verts_uv)
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_mtl(path: Path, colours: dict[str, Array]) -> None:
    """Write one flat preview colour an object, linear RGB `[3]`, for programs that show the mesh alone."""
    lines = []
    for name, colour in colours.items():
        lines += [f"newmtl {name}", "Kd " + " ".join(f"{channel:.3f}" for channel in colour), "Ks 0 0 0", ""]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="ascii")


def texels_claimed_twice(parts: list[ProxyPart], size: int = 2048) -> tuple[int, int]:
    """Rasterize all charts into a `size` texture; returns texel centres inside any face and inside two or more."""
    hits = np.zeros((size, size), dtype=np.int32)
    for part in parts:
        for corners in part.verts_uv[part.faces_uv] * size:
            # An edge that two faces share must not count twice: the faces shrink by a hair.
            corners = corners + (corners.mean(axis=0) - corners) * 1e-4
            low = np.maximum(np.floor(corners.min(axis=0) - 0.5).astype(int), 0)
            high = np.minimum(np.ceil(corners.max(axis=0) + 0.5).astype(int), size)
            x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
            signs = []
            for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                signs.append((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]))
            sides = np.stack(signs)
            hits[low[1] : high[1], low[0] : high[0]] += (sides > 0).all(axis=0) | (sides < 0).all(axis=0)
    return int((hits > 0).sum()), int((hits > 1).sum())
