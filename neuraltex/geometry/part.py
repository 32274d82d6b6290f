"""One movable piece of a scene: its buffers, where it stands, and whether it is seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def identity() -> Float[Tensor, "4 4"]:
    """The transform that moves nothing."""
    return torch.eye(4, dtype=torch.float64)


@dataclass(eq=False)
class Part:
    """A named set of triangles with one index buffer an attribute; all buffers on the CPU, floats in float64.

    `transform` and `visible` may be set at any time; a new transform is checked when it is set.

    Args:
        name: unique in its scene.
        verts: `[V, 3]` positions in the file's frame and unit, before `transform`.
        faces: `[F, 3]` rows of `verts`. Vertices are shared across UV seams.
        verts_uv: `[T, 2]` texture coordinates, v up, or None where the part has none at all.
        faces_uv: `[F, 3]` rows of `verts_uv`, -1 where a face has none.
        normals: `[N, 3]` unit normals before `transform`.
        faces_normals: `[F, 3]` rows of `normals`.
        face_materials: `[F]` index into the scene's materials, -1 for none.
        source_verts: `[V]` which vertex of the file each vertex is, for deformations stored beside the file.
        transform: `[4, 4]` part to world, column vectors.
        visible: False leaves the part out of everything that is rendered.
    """

    name: str
    verts: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    verts_uv: Float[Tensor, "T 2"] | None
    faces_uv: Int[Tensor, "F 3"]
    normals: Float[Tensor, "N 3"]
    faces_normals: Int[Tensor, "F 3"]
    face_materials: Int[Tensor, "F"]
    source_verts: Int[Tensor, "V"]
    transform: Float[Tensor, "4 4"] = field(default_factory=identity)
    visible: bool = True

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _checked_transform(value) if name == "transform" else value)

    @property
    def world_verts(self) -> Float[Tensor, "V 3"]:
        """`[V, 3]` positions in the world. Differentiable in: verts, transform."""
        return self.verts @ self.transform[:3, :3].T + self.transform[:3, 3]

    @property
    def world_normals(self) -> Float[Tensor, "N 3"]:
        """`[N, 3]` unit normals in the world, by the inverse transpose. Differentiable in: normals, transform."""
        # Rows are normals: n^T M^-1 is (M^-T n)^T.
        return torch.nn.functional.normalize(self.normals @ torch.linalg.inv(self.transform[:3, :3]), dim=-1, eps=1e-30)

    @property
    def is_mirrored(self) -> bool:
        """Whether `transform` turns right hands into left ones, and so the winding of faces round."""
        return bool(torch.linalg.det(self.transform[:3, :3].detach()) < 0)


def _checked_transform(value: Any) -> Float[Tensor, "4 4"]:
    transform = torch.as_tensor(value, dtype=torch.float64)
    if transform.shape != (4, 4):
        raise ValueError(f"transform: expected a 4 by 4 matrix, got shape {tuple(transform.shape)}")
    fixed = transform.detach()
    if not bool(torch.isfinite(fixed).all()):
        raise ValueError(f"transform: expected finite numbers, got {fixed.tolist()}")
    if fixed[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise ValueError(
            f"transform: expected the last row 0 0 0 1 (column vectors: the translation stands in the last column), "
            f"got {fixed[3].tolist()}"
        )
    if float(torch.linalg.det(fixed[:3, :3])) == 0.0:
        raise ValueError("transform: expected a matrix that can be inverted, got one that flattens the part")
    return transform
