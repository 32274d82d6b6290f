"""A slow camera move that was photographed and held out: how steadily each method shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.capture import Capture, load_capture, write_video
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
        again: the same with other noise, where it was photographed twice.
        cameras: a batch `[T]`, of their size, on the device to compute on.
        fps: frames a second.
    """

    source: Path
    frames: UInt8[Tensor, "T H W 3"]
    cameras: Camera
    fps: float
    again: UInt8[Tensor, "T H W 3"] | None = None


def read_move(task: Task, source: Path, again: Path | None = None) -> Move:
    """Decode a slow move at the size that the run was trained at.

    Poses are taken as they are: a correction of each frame would itself be unsteady.

    Args:
        task: what the methods are given.
        source: a folder of frames in order, with their cameras.
        again: another of the same move with other noise.

    Raises:
        SettingError: the mesh moves, so that nothing tells how it stood in those frames.
        InputError: the frames cannot be read, or are fewer than two, or not of the same move.
    """
    if task.moving is not None:
        raise SettingError("--steady: the run's mesh moves, and nothing tells how it stood in those frames")
    capture, order = _in_order(task, source)
    cameras, twice = capture.cameras[order], None
    if again is not None:
        second, order_again = _in_order(task, again)
        twice = second.images[order_again]
        if twice.shape != capture.images.shape or not _same(second.cameras[order_again], cameras):
            raise InputError(again, f"is another move than {source}: expected the same cameras in the same order")
    corrected = task.refinement.lens_only(cameras.to(task.device))
    return Move(source, capture.images[order], corrected, capture.fps or FPS, twice)


def _in_order(task: Task, source: Path) -> tuple[Capture, Int[Tensor, "T"]]:
    capture = load_capture(source, size=task.run.config.source.size)
    order = capture.frame_indices.argsort(stable=True)
    if len(order) < 2:
        raise InputError(source, f"holds {len(order)} frame, a move has 2 or more")
    return capture, order


def _same(first: Camera, second: Camera) -> bool:
    return torch.allclose(first.K, second.K) and torch.allclose(first.w2c, second.w2c)


def score_steadiness(move: Move, mesh: Mesh, methods: dict[str, Method], folder: Path) -> dict[str, Any]:
    """How much each method flickers along a slow move, relative to true pictures of it; one video each.

    Args:
        move: that none of them has seen.
        mesh: as the run's training corrected it.
        methods: by name.
        folder: where to write the videos, `truth.mp4` among them.

    Returns:
        For `metrics.json`: the change of colours between frames by method, and its ratio to the truth's, both null
        where no two frames see the same point; and whether the truth's noise was left out of that.

    Raises:
        InputError: a video cannot be written.
    """
    measured: dict[str, float | None] = {}
    for name in (TRUTH, *methods):
        frames = move.frames if name == TRUTH else _frames(methods[name], mesh, move.cameras)
        write_video(folder / f"{name}.mp4", frames, move.fps)
        again = move.again if name == TRUTH else None
        value = flicker(mesh, move.cameras, *(_as_float(taken, mesh) for taken in (frames, again) if taken is not None))
        measured[name] = value if math.isfinite(value) else None
    truth = measured[TRUTH]
    return {
        "capture": str(move.source),
        "num_frames": len(move.frames),
        "fps": move.fps,
        "without_noise": move.again is not None,
        "flicker": measured,
        "ratio": {name: value / truth if value is not None and truth else None for name, value in measured.items()},
    }


def _as_float(frames: UInt8[Tensor, "T H W 3"], mesh: Mesh) -> Tensor:
    return frames.to(mesh.verts.device).half() / 255


@torch.no_grad()
def _frames(method: Method, mesh: Mesh, cameras: Camera) -> UInt8[Tensor, "T H W 3"]:
    """All frames by one method, kept on the CPU."""
    frames = []
    for i in range(len(cameras.K)):
        rgb = method.renderer(mesh, cameras[i : i + 1])[0].clamp(0, 1)
        frames.append((rgb * 255).round().to(torch.uint8).cpu())
    return torch.stack(frames)
