"""A mesh with its vertices moved: what else hangs on the surface goes along."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from neuraltex.geometry.mesh import Mesh

# Normals of one vertex that agree to so many steps a unit are one: files that write a normal a corner repeat them.
STEPS_A_UNIT = 4095


class Poser:
    """Puts one mesh into poses; only vertices are needed, nothing waits for the device.

    Normals are the mesh's own, carried along with the faces around them, so that what an artist made of them, creases
    and all, stays in every pose, and the resting pose has exactly the mesh's own. (`Mesh.with_verts` makes new ones
    from the faces instead.)

    Args:
        rest: the mesh as it was loaded.
    """

    def __init__(self, rest: Mesh) -> None:
        self.rest = rest
        self.faces_normals, self.num_normals = _shared_normals(rest)
        self._corners = rest.faces.t().reshape(-1)
        self._anchors = _anchors(rest)
        self._rest_frames = _frames(rest.verts, self._anchors)

    def pose(self, verts: Float[Tensor, "V 3"], shape: Mesh | None = None) -> Mesh:
        """The mesh with its vertices elsewhere.

        Args:
            verts: `[V, 3]` world positions, of the resting mesh's vertices.
            shape: the resting mesh as it was corrected: with vertices a little elsewhere and normals of its own; same
                faces. Each correction is turned with the face around its vertex, then added.

        Differentiable in: verts, shape.verts, shape.normals.
        """
        shape = self.rest if shape is None else shape
        if shape.verts is not self.rest.verts:
            verts = verts + self._turned(shape.verts - self.rest.verts, verts)
        return replace(self.rest, verts=verts, normals=self._normals(shape, verts), faces_normals=self.faces_normals)

    def _normals(self, shape: Mesh, verts: Tensor) -> Float[Tensor, "N 3"]:
        """Normals of `shape` after its faces went where `verts` puts them.

        A face takes the plane along affinely and what sticks out of it in proportion, so its normals go by the inverse
        transpose of that map. Multiplied by the face's area, which weighs it anyway, no division is left.
        """
        first, second = self._edges(shape.verts)
        area = torch.linalg.cross(first, second)
        up = normalize(area, dim=-1)
        rows = shape.faces_normals.t().reshape(-1)
        normals = shape.normals.index_select(0, rows).view(3, -1, 3)
        along_first, along_second, along_up = ((normals * axis).sum(-1, keepdim=True) for axis in (first, second, up))
        now_first, now_second = self._edges(verts)
        now_area = torch.linalg.cross(now_first, now_second)
        now_up = normalize(now_area, dim=-1)
        areas = area.norm(dim=-1, keepdim=True) * now_area.norm(dim=-1, keepdim=True)
        carried = (
            along_first * torch.linalg.cross(now_second, now_up)
            + along_second * torch.linalg.cross(now_up, now_first)
            + along_up * areas.clamp(min=torch.finfo(verts.dtype).tiny).sqrt() * now_up
        )
        total = verts.new_zeros(self.num_normals, 3)
        total = total.index_add(0, self.faces_normals.t().reshape(-1), carried.reshape(-1, 3))
        return normalize(total, dim=-1)

    def _edges(self, verts: Tensor) -> tuple[Tensor, Tensor]:
        origin, first, second = verts.index_select(0, self._corners).view(3, -1, 3).unbind(0)
        return first - origin, second - origin

    def _turned(self, offsets: Tensor, verts: Tensor) -> Float[Tensor, "V 3"]:
        """Offsets of the resting vertices, turned as the face around each was turned."""
        local = torch.einsum("vij,vj->vi", self._rest_frames, offsets)
        return torch.einsum("vij,vi->vj", _frames(verts, self._anchors), local)


def _shared_normals(mesh: Mesh) -> tuple[Int[Tensor, "F 3"], int]:
    """Rows of normals such that the corners of a vertex with the same normal share one, and how many rows there are."""
    normals = mesh.normals.detach().index_select(0, mesh.faces_normals.reshape(-1))
    steps = ((normals.clamp(-1, 1) + 1) * (STEPS_A_UNIT / 2)).round().long()
    key = mesh.faces.reshape(-1)
    for axis in range(3):
        key = key * (STEPS_A_UNIT + 1) + steps[:, axis]
    found, rows = torch.unique(key, return_inverse=True)
    return rows.view(-1, 3), len(found)


def _anchors(mesh: Mesh) -> Int[Tensor, "V 3"]:
    """The corners of each vertex's largest face, which its surroundings are told by."""
    first, second, third = mesh.verts.detach().index_select(0, mesh.faces.t().reshape(-1)).view(3, -1, 3).unbind(0)
    order = torch.linalg.cross(second - first, third - first).norm(dim=-1).argsort()
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    best = torch.zeros(len(mesh.verts), dtype=torch.int64, device=order.device)
    best = best.scatter_reduce(0, mesh.faces.reshape(-1), rank.repeat_interleave(3), "amax")
    return mesh.faces.index_select(0, order.index_select(0, best)) if len(order) else mesh.faces.new_zeros(0, 3)


def _frames(verts: Tensor, corners: Int[Tensor, "V 3"]) -> Float[Tensor, "V 3 3"]:
    """Orthonormal axes on the face of three corners, one a row."""
    origin, first, second = verts.index_select(0, corners.t().reshape(-1)).view(3, -1, 3).unbind(0)
    along = normalize(first - origin, dim=-1)
    up = normalize(torch.linalg.cross(first - origin, second - origin), dim=-1)
    return torch.stack([along, torch.linalg.cross(up, along), up], dim=1)
