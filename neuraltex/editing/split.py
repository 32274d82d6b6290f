"""Which faces of a part become a part of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuraltex.geometry.components import connected_components
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.part import Part

Vector = Sequence[float] | npt.NDArray[Any]


def faces_where(
    part: Part,
    materials: Sequence[Material],
    *,
    box: tuple[Vector, Vector] | None = None,
    plane: tuple[Vector, Vector] | None = None,
    component: int | None = None,
    material: str | None = None,
) -> Bool[Tensor, "F"]:
    """Pick faces by one rule; a face lies where its middle lies.

    Args:
        part: whose faces.
        materials: of the scene.
        box: lowest and highest corner, world.
        plane: a point, and a normal on whose side faces are picked, world.
        component: number of a connected component, the largest being 0.
        material: name of a material.

    Raises:
        ValueError: none or several rules, numbers that are missing or not finite, a component or material that the
            part lacks, or faces that are none or all.
    """
    given = [name for name, rule in (("box", box), ("plane", plane), ("component", component), ("material", material))
             if rule is not None]  # fmt: skip
    if len(given) != 1:
        raise ValueError(f"split: expected one of box, plane, component and material, got {', '.join(given) or 'none'}")
    middles = part.world_verts.index_select(0, part.faces.reshape(-1)).view(-1, 3, 3).mean(1)
    if box is not None:
        lowest, highest = _two("box", box)
        picked = ((middles >= lowest) & (middles <= highest)).all(dim=1)
    elif plane is not None:
        point, normal = _two("plane", plane)
        picked = (middles - point) @ normal > 0
    elif component is not None:
        pieces = _components(part)
        if not 0 <= component <= int(pieces.max()):
            raise ValueError(f"split: expected a component of {part.name!r}, 0 to {int(pieces.max())}, got {component}")
        picked = pieces == component
    else:
        names = [used.name for used in materials]
        if material not in names:
            raise ValueError(f"split: expected a material, one of {', '.join(names) or 'none'}; got {material!r}")
        picked = part.face_materials == names.index(material)
    if bool(picked.all()) or not bool(picked.any()):
        found = "all" if len(picked) and bool(picked.all()) else "none"
        raise ValueError(f"split: expected some faces of {part.name!r} by {given[0]}, got {found} of {len(picked):,}")
    return picked


def vector_of(what: str, values: Vector) -> Float[Tensor, "3"]:
    """`[3]` float64.

    Args:
        what: its name, for the message.
        values: as a user gave them.

    Raises:
        ValueError: not three finite numbers.
    """
    try:
        vector = torch.as_tensor(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: expected three finite numbers, got {values!r}") from error
    if vector.shape != (3,) or not bool(vector.isfinite().all()):
        raise ValueError(f"{what}: expected three finite numbers, got {vector.tolist()}")
    return vector


def _two(rule: str, given: tuple[Vector, Vector]) -> tuple[Tensor, Tensor]:
    if len(given) != 2:
        raise ValueError(f"split: expected two points, or a point and a normal, for {rule}, got {len(given)}")
    return vector_of(f"split: {rule}", given[0]), vector_of(f"split: {rule}", given[1])


def _components(part: Part) -> Int[Tensor, "F"]:
    """Each face's connected component, the one of most faces being 0."""
    faces = part.faces.numpy()
    nodes = connected_components(
        len(part.verts), faces[:, :2].reshape(-1).copy(), np.roll(faces, -1, axis=1)[:, :2].reshape(-1)
    )
    found, pieces, counts = np.unique(nodes[faces[:, 0]], return_inverse=True, return_counts=True)
    rank = np.empty(len(found), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(found))
    return torch.as_tensor(rank[pieces.reshape(-1)])


def sub_part(part: Part, picked: Bool[Tensor, "F"], name: str) -> Part:
    """The picked faces as a part, with the vertices, texture coordinates and normals that they use."""
    faces, verts, source = _used(part.faces[picked], part.verts, part.source_verts)
    faces_normals, normals = _used(part.faces_normals[picked], part.normals)
    faces_uv, verts_uv = part.faces_uv[picked], part.verts_uv
    if verts_uv is not None and bool((faces_uv >= 0).all()):
        faces_uv, verts_uv = _used(faces_uv, verts_uv)
    return replace(
        part,
        name=name,
        verts=verts,
        faces=faces,
        verts_uv=verts_uv,
        faces_uv=faces_uv,
        normals=normals,
        faces_normals=faces_normals,
        face_materials=part.face_materials[picked],
        source_verts=source,
    )


def _used(indices: Int[Tensor, "F 3"], *buffers: Float[Tensor, "N C"] | Int[Tensor, "N"]) -> list[Tensor]:
    """Indices into only those rows that they use, and those rows of each buffer."""
    rows, renumbered = torch.unique(indices, return_inverse=True)
    return [renumbered.view(-1, 3), *(buffer.index_select(0, rows) for buffer in buffers)]
