"""A floor and a box on it: small enough to compute by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.editing.light import Light
from neuraltex.geometry import Part, Scene

Box = tuple[float, float, float, float]


def part_of_quads(name: str, quads: Tensor, verts: Tensor, uv: Tensor, normals: Tensor) -> Part:
    """A part of four-cornered faces, each with a normal and four texture coordinates of its own."""
    first, second = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 3])
    rows = torch.arange(4 * len(quads)).view(-1, 4)

    def triangles(corners: Tensor) -> Tensor:
        return torch.stack([corners[:, first], corners[:, second]], dim=1).view(-1, 3)

    faces = triangles(quads)
    return Part(
        name=name,
        verts=verts.double(),
        faces=faces,
        verts_uv=uv.double().view(-1, 2),
        faces_uv=triangles(rows),
        normals=normals.double(),
        faces_normals=torch.arange(len(quads)).repeat_interleave(2)[:, None].expand(-1, 3).contiguous(),
        face_materials=torch.arange(len(faces)) % 2,
        source_verts=torch.arange(len(verts)),
    )


def uv_square(low_u: float, low_v: float, high_u: float, high_v: float) -> Tensor:
    return torch.tensor([[low_u, low_v], [high_u, low_v], [high_u, high_v], [low_u, high_v]])


def floor_part(half: float = 2.0, uv: Box = (0.02, 0.02, 0.48, 0.98)) -> Part:
    """A square at z = 0 that looks up, on the left half of the texture."""
    corners = torch.tensor([[-half, -half, 0.0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    return part_of_quads("floor", torch.tensor([[0, 1, 2, 3]]), corners, uv_square(*uv), torch.tensor([[0.0, 0, 1]]))


def box_part(name: str = "box", low: float = 0.0, side: float = 1.0, at: tuple[float, float] = (0.0, 0.0)) -> Part:
    """A cube above `at` whose lowest face lies at z = `low`; its six faces on the right half of the texture."""
    unit = torch.tensor([[x, y, z] for z in (0.0, 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    verts = unit * side + torch.tensor([*at, low])
    quads = torch.tensor(
        [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [3, 2, 6, 7], [2, 0, 4, 6], [1, 3, 7, 5]]
    )  # down, up, front, back, left, right
    normals = torch.tensor([[0.0, 0, -1], [0, 0, 1], [0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0]])
    cells = []
    for k in range(6):
        u, v = 0.5 + 0.25 * (k % 2), (k // 2) / 3
        cells.append(uv_square(u + 0.02, v + 0.02, u + 0.23, v + 0.313))
    return part_of_quads(name, quads, verts, torch.cat(cells), normals)


def room(*, low: float = 0.0, side: float = 1.0) -> Scene:
    """The floor and the box."""
    return Scene([floor_part(), box_part(low=low, side=side)])


def lamp_at(*positions: tuple[float, float, float], radius: float = 3.0, ambient: float = 0.1) -> Light:
    """White lamps of radiance 1."""
    where = torch.tensor(positions).float()
    return Light(where, torch.ones_like(where), torch.full((3,), ambient), torch.zeros(3), radius)


def camera_above(width: int, height: int, *, at: tuple[float, float, float] = (0.0, 0.0, 8.0)) -> Camera:
    """Looks down at the middle of the floor, all of which it sees."""
    eye = torch.tensor([at]).float()
    return Camera.from_fov(look_at(eye, torch.zeros(3), torch.tensor([0.0, 1, 0])), 40, width, height)
