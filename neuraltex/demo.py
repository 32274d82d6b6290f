"""`neuraltex demo`: the main job on the bundled scene, from mesh and video to numbers, pictures and a new path."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from neuraltex.errors import NeuraltexError
from neuraltex.evaluation import evaluate
from neuraltex.files import whole_file
from neuraltex.rendering import make_path, render_run
from neuraltex.tables import metrics_table
from neuraltex.training import Budget, Run, RunConfig, SourceConfig, defaults_for, train


def bundled_scene() -> Path:
    """Folder of the bundled still life.

    Raises:
        NeuraltexError: the installation left it out.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "bundled" / "still_life", package.parent / "meshes" / "still_life"):
        if (folder / "transforms.json").is_file():
            return folder
    raise NeuraltexError(f"the bundled scene is missing beside {package}; install neuraltex again from its repository")


def run_demo(output: Path, minutes: float, device: torch.device, console: Console, *, small: bool) -> None:
    """Train, evaluate and render the bundled scene.

    Args:
        output: the run folder to make, with the pictures in it.
        minutes: minutes of training.
        device: where to compute.
        console: progress and results are shown here.
        small: train, evaluate and render a fraction of it, to see that the installation works.

    Raises:
        NeuraltexError: the folder holds a run already, or the bundled scene is missing.
    """
    scene = bundled_scene()
    shading, training = defaults_for(device)
    size, num_frames, baseline_steps = (None, 90, 450) if not small else (128, 8, 60)
    if small:
        minutes, training = minutes / 10, replace(training, crop=96)
    source = SourceConfig(
        mesh=str(scene / "still_life.obj"),
        photos=str(scene / "video.mp4"),
        cameras=str(scene / "transforms.json"),
        held_out=str(scene / "held_out"),
        size=size,
    )
    console.print("[bold]1. learning the scene from its mesh, its video and the video's cameras[/bold]")
    run = train(output, RunConfig(source, shading, training), Budget(minutes=minutes), device, console, resume=False)
    console.print("[bold]2. comparing with photographs it has not seen[/bold]")
    metrics = evaluate(run, device, baseline_steps=baseline_steps, report=lambda text: console.print(text))
    with whole_file(output / "comparison.png") as temporary:
        shutil.copyfile(_most_telling(run, metrics), temporary)
    console.print("[bold]3. rendering a camera path nobody filmed[/bold]")
    path = make_path("orbit", run.load_cameras(), num_frames=num_frames, fps=30.0)
    render_run(run, path, output / "new_path.mp4", device)
    console.print(metrics_table(metrics))
    console.print(f"photograph, neuraltex, textured mesh side by side: {output / 'comparison.png'}")
    console.print(f"all held-out views: {output / 'held_out'}")
    console.print(f"a new camera path: {output / 'new_path.mp4'}")


def _most_telling(run: Run, metrics: dict[str, Any]) -> Path:
    """The held-out picture of the median view, so that it shows neither the best nor the worst."""
    order = sorted(range(metrics["num_test"]), key=lambda i: metrics["per_view"][i]["ours"]["psnr"])
    return run.folder / "held_out" / f"{order[len(order) // 2]:03d}.png"
