"""The flat buffers that the rasterizer and the shading read."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.geometry.distance_field import DistanceField, distance_field


@dataclass(frozen=True)
class Mesh:
    """Triangles of a whole scene in one buffer set, with one index buffer an attribute.

    Args:
        verts: `[V, 3]` positions, world. Vertices are shared across UV seams, so silhouettes can be found.
        faces: `[F, 3]` indices into `verts`.
        verts_uv: `[T, 2]` texture coordinates, v up, inside the unit square.
        faces_uv: `[F, 3]` indices into `verts_uv`.
        normals: `[N, 3]` unit normals, world.
        faces_normals: `[F, 3]` indices into `normals`.
        part_ids: `[F]` index into `part_names` a face.
        part_names: names of the parts, in the order of their ids.
        condition: `[E]` numbers that tell the state of a mesh that moves, such as the coefficients of an expression;
            None where nobody tells.
        field: the space around the mesh, for surfaces that mirror others; of where it was when that was measured. None
            where nobody asks.
    """

    verts: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    verts_uv: Float[Tensor, "T 2"]
    faces_uv: Int[Tensor, "F 3"]
    normals: Float[Tensor, "N 3"]
    faces_normals: Int[Tensor, "F 3"]
    part_ids: Int[Tensor, "F"]
    part_names: tuple[str, ...]
    condition: Float[Tensor, "E"] | None = None
    field: DistanceField | None = None

    def to(self, device: torch.device | str) -> Mesh:
        """The same mesh with every buffer on `device`."""
        buffers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "part_names"}
        return replace(self, **{name: buffer.to(device) for name, buffer in buffers.items() if buffer is not None})

    def with_field(self) -> Mesh:
        """The same mesh with the space around it measured, which shaders with interreflections look at."""
        field = distance_field(self.verts.detach(), self.faces, self.verts_uv.detach(), self.faces_uv)
        return replace(self, field=field)

    def with_verts(self, verts: Float[Tensor, "V 3"]) -> Mesh:
        """The same surface with its vertices elsewhere; normals are made anew from them.

        Creases stay where they were: a normal is the area-weighted mean of the faces that share its row.

        Args:
            verts: `[V, 3]` world positions.

        Differentiable in: verts.
        """
        first, second, third = verts.index_select(0, self.faces.t().reshape(-1)).view(3, -1, 3).unbind(0)
        doubled_area = torch.linalg.cross(second - first, third - first)
        rows = self.faces_normals.t().reshape(-1)
        total = torch.zeros_like(self.normals, dtype=verts.dtype).index_add(0, rows, doubled_area.repeat(3, 1))
        return replace(self, verts=verts, normals=torch.nn.functional.normalize(total, dim=-1))
