"""OBJ texts of small solids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from neuraltex.geometry import Part, Scene
from neuraltex.geometry.normals import smooth_normals

CUBE = (
    "".join(f"v {x} {y} {z}\n" for z in (0, 1) for y in (0, 1) for x in (0, 1))
    + "f 1 3 4 2\nf 5 6 8 7\nf 1 2 6 5\nf 3 7 8 4\nf 1 5 7 3\nf 2 4 8 6\n"
)


def save(path: Path, text: str) -> Path:
    """Write a text file and hand back its path."""
    path.write_text(text)
    return path


def quad_part(
    name: str,
    uv_low: tuple[float, float],
    uv_high: tuple[float, float],
    *,
    material: int = 0,
    at: float = 0.0,
    side: float = 1.0,
) -> Part:
    """A square of two triangles at x = `at` with its texture coordinates in a box."""
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    verts = np.column_stack([np.full(4, at), corners * side])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uv = np.array(uv_low) + corners * (np.array(uv_high) - np.array(uv_low))
    normals, faces_normals = smooth_normals(verts, faces)
    return Part(
        name=name,
        verts=torch.from_numpy(verts),
        faces=torch.from_numpy(faces),
        verts_uv=torch.from_numpy(uv),
        faces_uv=torch.from_numpy(faces.copy()),
        normals=torch.from_numpy(normals),
        faces_normals=torch.from_numpy(faces_normals),
        face_materials=torch.full((2,), material),
        source_verts=torch.arange(4),
    )


def without_uv(part: Part) -> Part:
    """The part with its texture coordinates taken away."""
    part.verts_uv, part.faces_uv = None, torch.full_like(part.faces, -1)
    return part


def scene_of(*parts: Part) -> Scene:
    """A scene without materials or file."""
    return Scene(list(parts), source=Path("made.obj"))
