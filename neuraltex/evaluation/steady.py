"""A slow camera move that was photographed and held out: how steadily each method shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.capture import load_capture, write_video
from neuraltex.errors import InputError, SettingError
from neuraltex.evaluation.contender import Method, Task
from neuraltex.evaluation.flicker import flicker
from neuraltex.geometry.mesh import Mesh

# Frames a second of the videos, where the frames do not come from one.
FPS = 24.0
TRUTH = "truth"


@dataclass(frozen=True)
class Move:
    """A slow move.

    Args:
        source: folder that it was read from.
        frames: `[T, H, W, 3]` uint8, in order, on the CPU.
        cameras: a batch `[T]`, of their size, on the device to compute on.
        fps: frames a second.
    """

    source: Path
    frames: UInt8[Tensor, "T H W 3"]
    cameras: Camera
    fps: float


def read_move(task: Task, source: Path) -> Move:
    """Decode a slow move at the size that the run was trained at.

    Poses are taken as they are: a correction of each frame would itself be unsteady.

    Args:
        task: what the methods are given.
        source: a folder of frames in order, with their cameras.

    Raises:
        SettingError: the mesh moves, so that nothing tells how it stood in those frames.
        InputError: the frames cannot be read, or are fewer than two.
    """
    if task.moving is not None:
        raise SettingError("--steady: the run's mesh moves, and nothing tells how it stood in those frames")
    capture = load_capture(source, size=task.run.config.source.size)
    order = capture.frame_indices.argsort(stable=True)
    if len(order) < 2:
        raise InputError(source, f"holds {len(order)} frame, a move has 2 or more")
    cameras = task.refinement.lens_only(capture.cameras[order].to(task.device))
    return Move(source, capture.images[order], cameras, capture.fps or FPS)


def score_steadiness(move: Move, mesh: Mesh, methods: dict[str, Method], folder: Path) -> dict[str, Any]:
    """How much each method flickers along a slow move, relative to true pictures of it; one video each.

    Args:
        move: that none of them has seen.
        mesh: as the run's training corrected it.
        methods: by name.
        folder: where to write the videos, `truth.mp4` among them.

    Returns:
        For `metrics.json`: the mean change of colours between frames by method, and its ratio to the truth's, both
        null where no two frames see the same point.

    Raises:
        InputError: a video cannot be written.
    """
    measured: dict[str, float | None] = {}
    for name in (TRUTH, *methods):
        frames = move.frames if name == TRUTH else _frames(methods[name], mesh, move.cameras)
        write_video(folder / f"{name}.mp4", frames, move.fps)
        value = flicker(mesh, move.cameras, frames.to(mesh.verts.device).half() / 255)
        measured[name] = value if math.isfinite(value) else None
    truth = measured[TRUTH]
    return {
        "capture": str(move.source),
        "num_frames": len(move.frames),
        "fps": move.fps,
        "flicker": measured,
        "ratio": {name: value / truth if value is not None and truth else None for name, value in measured.items()},
    }


@torch.no_grad()
def _frames(method: Method, mesh: Mesh, cameras: Camera) -> UInt8[Tensor, "T H W 3"]:
    """All frames by one method, kept on the CPU."""
    frames = []
    for i in range(len(cameras.K)):
        rgb = method.renderer(mesh, cameras[i : i + 1])[0].clamp(0, 1)
        frames.append((rgb * 255).round().to(torch.uint8).cpu())
    return torch.stack(frames)
