"""Every mesh format but OBJ, read through trimesh."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from neuraltex.errors import InputError
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.obj import MAX_COORDINATE
from neuraltex.geometry.part import Part
from neuraltex.geometry.parts import split_by_components
from neuraltex.geometry.soup import Soup, split_soup, unique_names, weld_soup

SUFFIXES = (".glb", ".gltf", ".ply", ".stl", ".off")
# Formats whose nodes carry names that somebody gave.
_NAMED = (".glb", ".gltf")


def read_foreign(path: Path) -> tuple[list[Part], tuple[Material, ...], int]:
    """Parts and materials of a GLB, glTF, PLY, STL or OFF file, and how many vertices it has.

    The nodes of a scene graph become parts of their names, placed in the file's world by their node transforms. These
    formats split vertices at seams; vertices of a part at the same position are joined again.

    Raises:
        InputError: the file is broken or holds no triangles.
    """
    nodes = load_nodes(path)
    materials: dict[int, Material] = {}
    soups: list[tuple[str, Soup]] = []
    num_rows = 0
    for name, transform, mesh in nodes:
        material = _material(mesh, path.stem)
        slot = -1
        if material is not None:
            # By object: a file may hold several materials without a name.
            materials.setdefault(id(mesh.visual.material), material)
            slot = list(materials).index(id(mesh.visual.material))
        soup = _soup(path, mesh, transform, slot, num_rows)
        num_rows += len(soup.verts)
        if len(soup.faces):
            soups.append((name, weld_soup(soup)))
    if not soups:
        raise InputError(path, "holds no triangles", hint="a mesh is needed, not points or curves")
    if path.suffix.lower() not in _NAMED and len(soups) == 1:
        return split_by_components(soups[0][1], path.stem), tuple(materials.values()), num_rows
    names = unique_names([name for name, _ in soups])
    parts = []
    for name, (_, soup) in zip(names, soups, strict=True):
        parts += split_soup(soup, np.zeros(len(soup.faces), np.int64), [name])
    return parts, tuple(materials.values()), num_rows


def load_nodes(path: Path) -> list[tuple[str, Float[np.ndarray, "4 4"], Any]]:
    """Name, node-to-world transform and trimesh of every node with triangles, in the order of the file's vertices.

    Raises:
        InputError: the file is missing or broken.
    """
    import trimesh

    if path.is_dir():
        raise InputError(path, "is a folder, a mesh file was expected")
    if not path.exists():
        raise InputError(path, "does not exist", hint="check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = trimesh.load(path, process=False)
            if not isinstance(scene, trimesh.Scene):
                scene = trimesh.Scene(scene)
            nodes = []
            for node in scene.graph.nodes_geometry:
                transform, geometry = scene.graph[node]
                mesh = scene.geometry[geometry]
                if isinstance(mesh, trimesh.Trimesh):
                    nodes.append((str(node), np.array(transform, np.float64), mesh))
    except Exception as error:  # trimesh raises whatever its parsers run into
        raise InputError(path, f"is not a readable {path.suffix} file ({type(error).__name__}: {error})") from error
    return nodes


def _soup(path: Path, mesh: Any, transform: Float[np.ndarray, "4 4"], slot: int, first_row: int) -> Soup:
    verts = np.array(mesh.vertices, np.float64).reshape(-1, 3)
    faces = np.array(mesh.faces, np.int64).reshape(-1, 3)
    # Formats with an index buffer may be broken in it; nothing has looked at it so far.
    if len(faces) and (faces.min() < 0 or faces.max() >= len(verts)):
        raise InputError(path, f"a face names vertex {int(faces.max())}, the mesh has {len(verts)}")
    verts = verts @ transform[:3, :3].T + transform[:3, 3]
    if not (np.abs(verts) < MAX_COORDINATE).all():
        raise InputError(path, "has coordinates that are not finite numbers below 1e15")
    uv = getattr(mesh.visual, "uv", None)
    uv = np.zeros((0, 2)) if uv is None else np.array(uv, np.float64)[:, :2]
    has_uv = len(uv) == len(verts) and bool((np.abs(uv) < MAX_COORDINATE).all())
    normals = _stored_normals(mesh, transform)
    if np.linalg.det(transform[:3, :3]) < 0:
        faces = np.ascontiguousarray(faces[:, ::-1])
    none = np.full_like(faces, -1)
    return Soup(
        verts=verts,
        faces=faces,
        verts_uv=uv if has_uv else np.zeros((0, 2)),
        faces_uv=faces.copy() if has_uv else none,
        normals=normals,
        faces_normals=faces.copy() if len(normals) == len(verts) else none,
        face_materials=np.full(len(faces), slot, np.int64),
        source_verts=first_row + np.arange(len(verts)),
    )


def _stored_normals(mesh: Any, transform: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "N 3"]:
    """The normals the file holds, in its world; none where asking trimesh would make it compute them."""
    none = np.zeros((0, 3))
    if "vertex_normals" not in mesh._cache or np.linalg.det(transform[:3, :3]) == 0:
        return none
    normals = np.array(mesh.vertex_normals, np.float64) @ np.linalg.inv(transform[:3, :3])
    return normals if np.isfinite(normals).all() else none


def _material(mesh: Any, stem: str) -> Material | None:
    material = getattr(mesh.visual, "material", None)
    if material is None:
        return None
    color = np.array(getattr(material, "main_color", (204, 204, 204, 255)), np.float64).reshape(-1) / 255.0
    red, green, blue = color[:3].tolist() if len(color) >= 3 else (0.8, 0.8, 0.8)
    opacity = float(color[3]) if len(color) > 3 else 1.0
    return Material(str(getattr(material, "name", None) or stem), (red, green, blue), None, opacity)
