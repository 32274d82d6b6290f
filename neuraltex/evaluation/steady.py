"""A slow camera move that was photographed and held out: how steadily each method shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
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


def score_steadiness(
    task: Task, methods: dict[str, Method], source: Path, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """How much each method flickers along a slow move, relative to true pictures of it; one video each.

    Poses are taken as they are: a correction of each frame would itself be unsteady.

    Args:
        task: what the methods were given.
        methods: by name.
        source: a folder of frames in order, with their cameras.
        folder: where to write the videos, `truth.mp4` among them.
        report: told what is being done.

    Returns:
        For `metrics.json`: the mean change of colours between frames by method, and its ratio to the truth's, both
        null where no two frames see the same point.

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
    cameras = capture.cameras[order].to(task.device)
    cameras = task.refinement.lens_only(cameras)
    report(f"rendering the slow move of {len(order)} frames")
    shown = {TRUTH: capture.images[order]}
    shown |= {name: _frames(method, task.mesh, cameras) for name, method in methods.items()}
    measured: dict[str, float | None] = {}
    for name, frames in shown.items():
        write_video(folder / f"{name}.mp4", frames, capture.fps or FPS)
        value = flicker(task.mesh, cameras, frames.to(task.device).half() / 255)
        measured[name] = value if math.isfinite(value) else None
    truth = measured[TRUTH]
    return {
        "capture": str(source),
        "num_frames": len(order),
        "fps": capture.fps or FPS,
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
