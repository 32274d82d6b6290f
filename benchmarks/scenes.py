"""Meshes that are hard on a rasterizer in different ways, as `(verts [V, 3], faces [F, 3])`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuraltex.cameras import Camera, look_at


def sphere(num_faces: int) -> tuple[Tensor, Tensor]:
    """A UV sphere of about that many faces."""
    side = int(math.sqrt(num_faces / 2))
    polar, azimuth = torch.meshgrid(
        torch.linspace(0, math.pi, side + 1), torch.linspace(0, 2 * math.pi, side + 1)[:-1], indexing="ij"
    )
    verts = torch.stack([polar.sin() * azimuth.cos(), polar.cos(), polar.sin() * azimuth.sin()], dim=-1)
    i, j = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    a, b = i * side + j, i * side + (j + 1) % side
    quads = [torch.stack(corners, dim=-1).reshape(-1, 3) for corners in ((a, a + side, b), (b, a + side, b + side))]
    return verts.reshape(-1, 3), torch.cat(quads)


def floor(num_faces: int) -> tuple[Tensor, Tensor]:
    """A flat floor of about that many faces, on 62% of what `camera_at` sees."""
    side = int(math.sqrt(num_faces / 2))
    across = torch.linspace(-9, 9, side + 1)
    x, z = torch.meshgrid(across, across, indexing="ij")
    verts = torch.stack([x, torch.full_like(x, -1.0), z - 5], dim=-1).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    a = i * (side + 1) + j
    quads = [torch.stack(corners, dim=-1).reshape(-1, 3) for corners in ((a, a + 1, a + side + 1),
             (a + 1, a + side + 2, a + side + 1))]  # fmt: skip
    return verts, torch.cat(quads)


def screens_behind(num_faces: int) -> tuple[Tensor, Tensor]:
    """A sphere of small triangles in front of two that fill the picture."""
    verts, faces = sphere(num_faces)
    far = torch.tensor([[-9.0, -9.0, -4.0], [9.0, -9.0, -4.0], [9.0, 9.0, -4.0], [-9.0, 9.0, -4.0]])
    return torch.cat([verts, far]), torch.cat([faces, torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(verts)])


def middle_sized(num_faces: int, size: int) -> tuple[Tensor, Tensor]:
    """Loose triangles of 50 to 500 pixels each on a picture of `size`, seen by `camera_at(size)`."""
    generator = torch.Generator().manual_seed(1)
    middle = torch.rand(num_faces, 1, 3, generator=generator) * 2 - 1
    turn = torch.rand(num_faces, 1, generator=generator) * 2 * math.pi + torch.arange(3) * (2 * math.pi / 3)
    flat = torch.stack([turn.cos(), turn.sin(), 0.3 * torch.randn(num_faces, 3, generator=generator)], dim=-1)
    pixels = 50 * 10 ** torch.rand(num_faces, generator=generator)
    # An equilateral triangle of circumradius r covers 1.3 r^2; the scene lies at 4 units, focal length 0.87 sizes.
    radius = (pixels / 1.3).sqrt() * 4 / (0.87 * size)
    verts = middle + flat * radius[:, None, None]
    return verts.reshape(-1, 3), torch.arange(3 * num_faces).view(-1, 3)


def camera_at(size: int) -> Camera:
    """A camera that sees the unit sphere on 15% of its picture."""
    w2c = look_at(torch.tensor([[0.0, 1.0, 4.0]]), torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.0]]))
    return Camera.from_fov(w2c, 60.0, size, size)


def as_mesh(verts: Tensor, faces: Tensor):
    """With texture coordinates and normals, one of each a vertex."""
    from neuraltex.geometry.mesh import Mesh

    extent = verts.amax(0) - verts.amin(0)
    flat = bool(extent[1] == 0)
    spread = ((verts - verts.amin(0)) / extent)[:, [0, 2 if flat else 1]]
    normals = torch.tensor([0.0, 1.0, 0.0], device=verts.device).expand_as(verts).contiguous()
    normals = normals if flat else torch.nn.functional.normalize(verts, dim=-1)
    part_ids = torch.zeros(len(faces), dtype=torch.int64, device=faces.device)
    return Mesh(verts, faces, spread.contiguous(), faces, normals, faces, part_ids, ("thing",))
