"""A head of a few hundred vertices with three expressions, and a video of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from neuraltex.capture import write_video
from neuraltex.reenactment import Rig, load_rig
from neuraltex.reenactment.head import Head

ROWS, COLUMNS = 15, 24
NAMES = ("jawOpen", "smile", "browUp")
HEIGHT, WIDTH, FRAMES, FOV_DEG = 40, 48, 8, 30.0


def arrays() -> dict[str, np.ndarray]:
    """What a rig's file holds: an egg with a nose whose front and back are two UDIM tiles, and lashes before it."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, ROWS)[:, None]
    longitude = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)[None]
    x = 0.8 * np.cos(latitude) * np.sin(longitude)
    y = 1.1 * np.sin(latitude) + 0 * longitude
    z = 0.9 * np.cos(latitude) * np.cos(longitude)
    verts = np.stack([x, y, z], -1).reshape(-1, 3)
    verts[:, 2] += 0.35 * bump(verts, (0, 0, 0.9), 0.2)
    faces, uv, owner = [], [], []
    for row in range(ROWS - 1):
        for column in range(COLUMNS):
            beside = (column + 1) % COLUMNS
            a, b, c, d = (
                r * COLUMNS + k for r, k in ((row, column), (row, beside), (row + 1, beside), (row + 1, column))
            )
            # The front is tile 0, the back tile 1.
            turned = (column + COLUMNS // 4) % COLUMNS
            tile, across = divmod(turned, COLUMNS // 2)
            low, high = row / (ROWS - 1), (row + 1) / (ROWS - 1)
            left, right = tile + across / (COLUMNS // 2), tile + (across + 1) / (COLUMNS // 2)
            start = len(uv)
            uv += [(left, low), (right, low), (right, high), (left, high)]
            faces += [(a, b, c, start, start + 1, start + 2), (a, c, d, start, start + 2, start + 3)]
            owner += [tile, tile]
    lash = len(verts)
    verts = np.concatenate([verts, [(-0.3, 0.3, 1.2), (0.3, 0.3, 1.2), (0, 0.5, 1.2)]])
    faces.append((lash, lash + 1, lash + 2, 0, 1, 2))
    owner.append(2)
    index = np.array(faces, np.int32)
    deltas = np.zeros((3, len(verts), 3), np.float32)
    deltas[0, :, 1] = -0.35 * bump(verts, (0, -0.6, 0.7), 0.35)
    deltas[1, :, 0] = 0.3 * np.sign(verts[:, 0]) * bump(verts, (0.35, -0.35, 0.8), 0.3, mirrored=True)
    deltas[2, :, 1] = 0.25 * bump(verts, (0.3, 0.45, 0.75), 0.3, mirrored=True)
    identities = np.zeros((2, len(verts), 3), np.float32)
    identities[0, :, 0] = 0.1 * verts[:, 0]
    identities[1, :, 2] = 0.15 * bump(verts, (0, 0, 0.9), 0.25)
    return {
        "v_neutral": verts.astype(np.float32),
        "uv": np.array(uv, np.float32),
        "faces": index[:, :3],
        "faces_uv": index[:, 3:],
        "face_material": np.array(owner, np.int32),
        "material_names": np.array(["M_Face", "M_Back", "M_EyeLashes"]),
        "expr_names": np.array(NAMES),
        "expr_deltas": deltas,
        "identity_deltas": identities,
    }


def bump(verts: np.ndarray, centre: tuple[float, float, float], radius: float, *, mirrored: bool = False) -> np.ndarray:
    """1 at a place and less around it; on both sides of the face if it is mirrored."""
    places = np.abs(verts) * [1, 0, 0] + verts * [0, 1, 1] if mirrored else verts
    return np.exp(-((places - np.array(centre)) ** 2).sum(-1) / radius**2)


def write_rig(folder: Path) -> Path:
    """The rig as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "rig.npz", **arrays())
    return folder / "rig.npz"


def expressions(seed: int) -> torch.Tensor:
    """`[FRAMES, 3]`, the first frame calm, smooth."""
    time = torch.linspace(0, 1, FRAMES)[:, None]
    phase = torch.tensor([[0.0, 0.7, 1.4]]) + seed
    return 0.8 * (torch.sin(3 * time + phase) - torch.sin(phase)).abs().clamp(max=1)


def film(rig: Rig, seed: int, folder: Path) -> tuple[Head, Path]:
    """The truth, and a folder of frames of it."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.rand(1, 3, 4, 5, generator=generator)
    background = torch.nn.functional.interpolate(blobs, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    head = Head(rig, background, FRAMES, FOV_DEG, 64)
    time = torch.linspace(0, 1, FRAMES)[:, None]
    with torch.no_grad():
        head.identity.copy_(torch.tensor([0.5, -0.5]))
        head.expression.weight.copy_(expressions(seed))
        head.pose.weight.copy_(
            torch.cat([0.05 * torch.sin(4 * time), 0.25 * torch.sin(3 * time), 0 * time], 1).repeat(1, 2)
        )
        head.pose.weight[:, 3:] = torch.cat([0.03 * torch.sin(5 * time), 0.02 * time, 0 * time - 2.1], 1)
        for level in head.texture.levels[1:4]:
            level.copy_(torch.randn(level.shape, generator=generator) * 0.8)
        head.light[3] = 0.8
        frames = []
        for k in range(FRAMES):
            picture, _ = head(head.verts(torch.tensor([k]))[0], HEIGHT, WIDTH, head.background)
            frames.append((picture.clamp(0, 1) * 255).round().to(torch.uint8))
    write_video(folder, frames, 25.0)
    return head, folder


def small_rig(folder: Path) -> Rig:
    """The rig as it is read."""
    return load_rig(write_rig(folder))
