"""A raw surface to a mesh for the renderer: one piece, smooth, of few faces, with texture coordinates."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from neuraltex.errors import InputError, NeuraltexError
from neuraltex.geometry import Part, Scene
from neuraltex.geometry.atlas import make_usable
from neuraltex.geometry.components import compact, connected_components
from neuraltex.geometry.normals import smooth_normals
from neuraltex.optional import require

# Taubin's two passes, one that smooths and one that undoes the shrinking.
SMOOTHINGS, LAMBDA, MU = 10, 0.5, 0.53

Verts = Float[np.ndarray, "V 3"]
Faces = Int[np.ndarray, "F 3"]
FewerVerts = Float[np.ndarray, "W 3"]
FewerFaces = Int[np.ndarray, "G 3"]


def finish_surface(verts: Verts, faces: Faces, *, num_faces: int, name: str, source: Path) -> Scene:
    """Make a scene of one part out of a raw surface.

    Args:
        verts: `[V, 3]` world.
        faces: `[F, 3]`, counterclockwise seen from outside.
        num_faces: about as many triangles are left, or fewer.
        name: of the part.
        source: what to name in an error.

    Returns:
        A scene whose texture coordinates lie in the unit square.

    Raises:
        InputError: nothing is left of the surface, or it cannot be unwrapped.
        NeuraltexError: SciPy or fast-simplification is not installed.
    """
    for module in ("scipy.sparse", "fast_simplification"):
        require(module, "reconstruct")
    verts, faces = keep_largest(verts, faces)
    if len(faces) < 4:
        raise InputError(source, "gives no surface", hint="more views from all around are needed")
    verts = smooth(verts, faces)
    verts, faces = decimate(verts, faces, num_faces)
    part = make_part(name, verts, faces)
    scene = Scene([part], (), source)
    make_usable(scene, unwrap="missing")
    return scene


def keep_largest(verts: Verts, faces: Faces) -> tuple[FewerVerts, FewerFaces]:
    """The piece with the largest area."""
    if len(faces) == 0:
        return verts, faces
    nodes = connected_components(len(verts), faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1))
    corners = verts[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    piece = nodes[faces[:, 0]]
    kept = faces[piece == np.bincount(piece, area).argmax()]
    used, local = compact(kept, len(verts))
    return verts[used], local


def smooth(verts: Verts, faces: Faces) -> Verts:
    """Vertices without the steps of the grid; the volume stays.

    Source: Taubin, A signal processing approach to fair surface design, 1995, section 3.
    """
    import trimesh

    mesh = trimesh.Trimesh(verts, faces, process=False)
    trimesh.smoothing.filter_taubin(mesh, lamb=LAMBDA, nu=MU, iterations=SMOOTHINGS)
    return np.asarray(mesh.vertices, np.float64)


def decimate(verts: Verts, faces: Faces, num_faces: int) -> tuple[FewerVerts, FewerFaces]:
    """Fewer triangles, by quadric error; the same mesh where there are few enough."""
    if len(faces) <= num_faces:
        return verts, faces
    import trimesh

    # Centred: the simplifier works in float32.
    middle = 0.5 * (verts.min(0) + verts.max(0))
    mesh: Any = trimesh.Trimesh(verts - middle, faces, process=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the versions of its libraries
        mesh = mesh.simplify_quadric_decimation(face_count=num_faces)
    few_verts, few_faces = np.asarray(mesh.vertices, np.float64) + middle, np.asarray(mesh.faces, np.int64)
    if len(few_faces) < 4:
        raise NeuraltexError(f"--faces {num_faces}: nothing is left of the surface at so few faces; ask for more")
    return keep_largest(few_verts, few_faces)


def make_part(name: str, verts: Verts, faces: Faces) -> Part:
    """A part without texture coordinates."""
    normals, faces_normals = smooth_normals(verts, faces)
    return Part(
        name=name,
        verts=torch.from_numpy(np.ascontiguousarray(verts)),
        faces=torch.from_numpy(np.ascontiguousarray(faces)),
        verts_uv=None,
        faces_uv=torch.full((len(faces), 3), -1),
        normals=torch.from_numpy(normals),
        faces_normals=torch.from_numpy(faces_normals),
        face_materials=torch.full((len(faces),), -1),
        source_verts=torch.arange(len(verts)),
    )
