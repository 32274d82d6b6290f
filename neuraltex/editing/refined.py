"""A scene whose parts have the shape that training found."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import normalize

from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene


def with_refined_verts(scene: Scene, refined: Mesh) -> Scene:
    """A scene whose parts hold the vertices and normals that training found, so that moving a part moves those.

    Args:
        scene: the parts as they were trained on.
        refined: the flat mesh of the visible parts with corrected vertices and normals, as `Run.load_mesh` gives it.
    """
    parts: list[Part] = []
    first_vert = first_normal = 0
    for part in scene:
        if not part.visible:
            parts.append(part)
            continue
        verts = refined.verts[first_vert : first_vert + len(part.verts)].double().cpu()
        normals = refined.normals[first_normal : first_normal + len(part.normals)].double().cpu()
        first_vert, first_normal = first_vert + len(part.verts), first_normal + len(part.normals)
        linear, shift = part.transform[:3, :3], part.transform[:3, 3]
        # Back into the part's own frame: world_verts and world_normals give them again.
        verts = (verts - shift) @ torch.linalg.inv(linear).T
        parts.append(replace(part, verts=verts, normals=normalize(normals @ linear, dim=-1)))
    return replace(scene, parts=parts)
