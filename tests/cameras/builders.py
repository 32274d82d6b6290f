"""Cameras and camera files that several tests build on; sizes differ along every axis."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.frames import CameraFrame

WIDTH, HEIGHT = 40, 30


def ring(count: int, *, arc_deg: float = 360.0, radius: float = 3.0, height: float = 1.0) -> Camera:
    """Cameras on a circle about (0.5, -0.25, 0.125) with z up, off-centre lenses, float64."""
    angles = torch.deg2rad(torch.arange(count, dtype=torch.float64) * arc_deg / count)
    center = torch.tensor([0.5, -0.25, 0.125], dtype=torch.float64)
    offsets = torch.stack([radius * angles.cos(), radius * angles.sin(), torch.full_like(angles, height)], dim=1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    w2c = look_at(center + offsets, center, up)
    K = torch.tensor([[50.0, 0.0, 19.0], [0.0, 48.0, 16.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return Camera(K.expand(count, 3, 3).clone(), w2c, WIDTH, HEIGHT)


def frames_of(cameras: Camera, **fields: Any) -> list[CameraFrame]:
    """Frames `a00.png`, `a01.png`, ... of a batch, float32."""
    cameras = cameras.to(torch.float32)
    return [CameraFrame(f"a{i:02d}.png", None, None, cameras[i], **fields) for i in range(cameras.batch_shape[0])]


def save_images(folder: Path, count: int, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Noise images `a00.png`, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for i in range(count):
        pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"a{i:02d}.png")


def transforms(count: int) -> dict[str, Any]:
    """A plain nerfstudio file: cameras on the z axis, looking down -z."""
    frames = []
    for i in range(count):
        matrix = [[1.0, 0.0, 0.0, 0.1 * i], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 1.0]]
        frames.append({"file_path": f"a{i:02d}.png", "transform_matrix": matrix})
    return {"w": WIDTH, "h": HEIGHT, "fl_x": 50.0, "fl_y": 48.0, "cx": 19.0, "cy": 16.5, "frames": frames}


def write(path: Path, value: Any) -> Path:
    """`value` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def assert_same(ours: Camera, theirs: Camera, *, tolerance: float = 1e-5) -> None:
    """Equal sizes and, within `tolerance` of the scene's scale, equal matrices."""
    assert (ours.width, ours.height) == (theirs.width, theirs.height)
    torch.testing.assert_close(ours.K.double(), theirs.K.double(), atol=tolerance * 50, rtol=0)
    torch.testing.assert_close(ours.w2c.double(), theirs.w2c.double(), atol=tolerance, rtol=0)


def angle_between_deg(a: torch.Tensor, b: torch.Tensor) -> float:
    """Angle of two vectors."""
    a, b = torch.nn.functional.normalize(a.double(), dim=0), torch.nn.functional.normalize(b.double(), dim=0)
    return math.degrees(float(torch.atan2(torch.linalg.cross(a, b).norm(), a @ b)))
