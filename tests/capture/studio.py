"""A small textured scene and photographs of it, taken by our own rasterizer, for the tests of the solver."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer
from tests.scenes import make_mesh, uv_sphere

WIDTH, HEIGHT = 240, 180
UP = torch.tensor([0.0, 0.0, 1.0])


def _quad(corners: list[list[float]], place: tuple[float, float, float, float]) -> tuple[Tensor, Tensor, Tensor]:
    left, low, right, high = place
    uv = torch.tensor([[left, low], [right, low], [right, high], [left, high]])
    return torch.tensor(corners), torch.tensor([[0, 1, 2], [0, 2, 3]]), uv


def studio() -> Mesh:
    """A floor with a box and a ball on it, nothing in the middle and nothing symmetric; each with its own texels."""
    pieces = [_quad([[-1.5, -1.2, 0.0], [1.5, -1.2, 0.0], [1.5, 1.2, 0.0], [-1.5, 1.2, 0.0]], (0.0, 0.5, 0.6, 1.0))]
    low, high = [-0.9, -0.5, 0.0], [-0.2, 0.1, 0.7]
    bits = [[low, high][k] for k in (0, 1)]
    for axis in range(3):
        for side in (0, 1):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            corners = []
            for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
                point = [0.0, 0.0, 0.0]
                point[axis], point[a], point[b] = bits[side][axis], bits[u][a], bits[v][b]
                corners.append(point)
            k = 2 * axis + side
            pieces.append(_quad(corners, (k / 6, 0.25, (k + 1) / 6, 0.5)))
    ball = uv_sphere(24, 32)
    uv = ball.verts_uv * torch.tensor([0.4, 0.5]) + torch.tensor([0.6, 0.5])
    verts, faces, verts_uv, faces_uv = [], [], [], []
    for points, triangles, texels in pieces:
        faces.append(triangles + sum(map(len, verts)))
        faces_uv.append(triangles + sum(map(len, verts_uv)))
        verts.append(points)
        verts_uv.append(texels)
    faces.append(ball.faces + sum(map(len, verts)))
    faces_uv.append(ball.faces_uv + sum(map(len, verts_uv)))
    verts.append(ball.verts * 0.4 + torch.tensor([0.6, 0.35, 0.4]))
    verts_uv.append(uv)
    return make_mesh(torch.cat(verts), torch.cat(faces), torch.cat(verts_uv), torch.cat(faces_uv))


def write_obj(path: Path, mesh: Mesh) -> Path:
    """The mesh as a file."""
    lines = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in mesh.verts.tolist()]
    lines += [f"vt {u:.6g} {v:.6g}" for u, v in mesh.verts_uv.tolist()]
    for face, face_uv in zip(mesh.faces.tolist(), mesh.faces_uv.tolist(), strict=True):
        lines.append("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(face, face_uv, strict=True)))
    path.write_text("\n".join(lines) + "\n")
    return path


def blotches(size: int = 1024, *, seed: int = 0) -> np.ndarray:
    """`[size, size, 3]` float32 texture of blotches at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 0.5, np.float32)
    for cells, strength in ((32, 0.5), (80, 0.5), (200, 0.35)):
        noise = rng.random((cells, cells, 3)).astype(np.float32) - 0.5
        picture += strength * cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 1)


def around(count: int, *, sweep_deg: float = 120.0, radius: float = 3.4) -> Camera:
    """Cameras on an arc around the scene, going up and down a little."""
    angle = torch.linspace(0, math.radians(sweep_deg), count) + 0.4
    eye = torch.stack([radius * angle.cos(), radius * angle.sin(), 1.6 + 0.4 * (3 * angle).sin()], dim=-1)
    return Camera.from_fov(look_at(eye, torch.tensor([0.0, 0.0, 0.25]), UP), 48.0, WIDTH, HEIGHT)


def turning(count: int) -> Camera:
    """Cameras that turn on the spot."""
    angle = torch.linspace(-0.25, 0.25, count)
    eye = torch.tensor([3.2, 0.4, 1.5]).expand(count, 3)
    target = eye + torch.stack([-angle.cos(), angle.sin(), torch.full((count,), -0.4)], dim=-1)
    return Camera.from_fov(look_at(eye, target, UP), 48.0, WIDTH, HEIGHT)


@torch.no_grad()
def photograph(mesh: Mesh, cameras: Camera, texture: np.ndarray) -> np.ndarray:
    """`[N, H, W, 3]` uint8, every pixel the mean of 3x3 rays; gray where nothing is."""
    texels = torch.from_numpy(texture).flip(0).permute(2, 0, 1)[None]
    fine = cameras.resize(3 * cameras.width, 3 * cameras.height)
    pictures = []
    for k in range(len(cameras.w2c)):
        gbuffer = make_gbuffer(mesh, fine[k : k + 1])
        grid = gbuffer.uv * 2 - 1
        grid[..., 1] *= -1
        rgb = torch.nn.functional.grid_sample(texels, grid, align_corners=False, padding_mode="border")
        rgb = torch.where(gbuffer.mask[:, None], rgb, torch.full_like(rgb, 0.45))
        small = torch.nn.functional.avg_pool2d(rgb, 3)[0].permute(1, 2, 0)
        pictures.append((small * 255).round().byte().numpy())
    return np.stack(pictures)


def save(folder: Path, pictures: np.ndarray) -> Path:
    """Photographs as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{k:03d}.png")
    return folder
