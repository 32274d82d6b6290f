"""Small meshes and cameras that tests share: a seam, H != W, faces behind the camera and across its plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.geometry.mesh import Mesh


def uv_sphere(rings: int = 8, segments: int = 12, dtype: torch.dtype = torch.float32) -> Mesh:
    """A sphere whose vertices are shared across the UV seam, while its UVs are not."""
    v, u = torch.meshgrid(
        torch.linspace(0, math.pi, rings + 1, dtype=dtype),
        torch.linspace(0, 2 * math.pi, segments + 1, dtype=dtype),
        indexing="ij",
    )
    grid = torch.stack([v.sin() * u.cos(), -v.cos(), v.sin() * u.sin()], dim=-1)
    verts = grid[:, :-1].reshape(-1, 3)
    verts_uv = torch.stack([u / (2 * math.pi), v / math.pi], dim=-1).reshape(-1, 2)
    i, j = torch.meshgrid(torch.arange(rings), torch.arange(segments), indexing="ij")

    def quads(columns: int, wrap: bool) -> Tensor:
        right = (j + 1) % segments if wrap else j + 1
        a, b = i * columns + j, i * columns + right
        c, d = (i + 1) * columns + j, (i + 1) * columns + right
        return torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])

    faces, faces_uv = quads(segments, True), quads(segments + 1, False)
    # At the poles one of the two triangles of a quad has no area.
    corners = verts[faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    faces, faces_uv = faces[area > 1e-6], faces_uv[area > 1e-6]
    # One vertex a pole, or the surface would have a slit there.
    faces = torch.where(faces < segments, 0, faces)
    faces = torch.where(faces >= rings * segments, rings * segments, faces)
    return make_mesh(verts, faces, verts_uv, faces_uv)


def make_mesh(verts: Tensor, faces: Tensor, verts_uv: Tensor | None = None, faces_uv: Tensor | None = None) -> Mesh:
    """A mesh of one part with smooth normals; UVs are the first two coordinates where none are given."""
    if verts_uv is None or faces_uv is None:
        low, high = verts[:, :2].amin(0), verts[:, :2].amax(0)
        verts_uv, faces_uv = (verts[:, :2] - low) / (high - low).clamp(min=1e-6), faces
    mesh = Mesh(
        verts=verts,
        faces=faces,
        verts_uv=verts_uv,
        faces_uv=faces_uv,
        normals=torch.zeros_like(verts),
        faces_normals=faces,
        part_ids=torch.zeros(len(faces), dtype=torch.int64),
        part_names=("thing",),
    )
    return mesh.with_verts(verts)


def join(*meshes: Mesh) -> Mesh:
    """Meshes side by side, each a part."""
    verts = torch.cat([m.verts for m in meshes])
    counts = [0, *torch.tensor([len(m.verts) for m in meshes]).cumsum(0).tolist()]
    uv_counts = [0, *torch.tensor([len(m.verts_uv) for m in meshes]).cumsum(0).tolist()]
    faces = torch.cat([m.faces + offset for m, offset in zip(meshes, counts, strict=False)])
    faces_uv = torch.cat([m.faces_uv + offset for m, offset in zip(meshes, uv_counts, strict=False)])
    joined = make_mesh(verts, faces, torch.cat([m.verts_uv for m in meshes]), faces_uv)
    part_ids = torch.cat([torch.full((len(m.faces),), i) for i, m in enumerate(meshes)])
    return Mesh(
        **{
            **joined.__dict__,
            "part_ids": part_ids,
            "part_names": tuple(f"part_{i}" for i in range(len(meshes))),
        }
    )


def ring_cameras(
    count: int,
    width: int,
    height: int,
    *,
    distance: float = 3.0,
    fov_deg: float = 50.0,
    dtype: torch.dtype = torch.float32,
) -> Camera:
    """Cameras around the origin, each a little higher than the one before; K is skewed off centre."""
    angle = torch.arange(count, dtype=dtype) * (2 * math.pi / max(count, 3)) + 0.3
    eye = torch.stack([distance * angle.cos(), 0.4 + 0.2 * angle, distance * angle.sin()], dim=-1)
    w2c = look_at(eye, torch.zeros(3, dtype=dtype), torch.tensor([0.0, 1.0, 0.0], dtype=dtype))
    camera = Camera.from_fov(w2c, fov_deg, width, height)
    return camera.crop(1.3, -0.7, width, height)
