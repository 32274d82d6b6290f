"""A run against others: the same held-out views by all of them, and everything that was measured in one file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuraltex.capture import Capture
from neuraltex.evaluation.contender import Effort, Method, Task, prepared
from neuraltex.evaluation.contenders import admitted, shaded
from neuraltex.evaluation.report import write_report
from neuraltex.evaluation.score import ViewScore, frames_a_second, mean_score, score_views
from neuraltex.evaluation.steady import read_move, score_steadiness
from neuraltex.execution import forget_peak, peak_bytes
from neuraltex.files import write_json
from neuraltex.geometry import Scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.training.config import Budget
from neuraltex.training.moving import MovingMesh
from neuraltex.training.run import Run, device_name
from neuraltex.training.sampler import Photos


def evaluate(
    run: Run,
    device: torch.device,
    *,
    baseline_steps: int,
    report: Callable[[str], None],
    against: str = "",
    budget: Budget | None = None,
    steady: Path | None = None,
    steady_again: Path | None = None,
) -> dict[str, Any]:
    """Score a run and others on its held-out views; writes `metrics.json`, `report.html`, `held_out/` and `against/`.

    Args:
        run: a trained run.
        device: where to compute.
        baseline_steps: optimiser steps of the textured mesh, which always takes part.
        report: told what is being done.
        against: the others, as in `named`.
        budget: for how long each of them is trained; as long as the run where None, splats for their 30,000 steps.
        steady: frames of a slow camera move that was held out, with their cameras, to tell how steady pictures are.
        steady_again: the same move taken again, with other noise.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: the photographs have moved, or the run is not trained.
        SettingError: nobody has that name.
        NeuraltexError: a contender that was asked for by name cannot run here, or its training diverged.
    """
    shader, state = run.load_model(device)
    capture = run.load_capture()
    scene = run.load_scene()
    task = _task(
        run, device, scene, capture,
        asked=budget is not None,
        budget=budget or Budget(minutes=max(state["seconds"], 1e-3) / 60),
        baseline_steps=baseline_steps,
    )  # fmt: skip
    contenders, left_out = admitted(against, task)
    move = None if steady is None else read_move(task, steady, steady_again)  # refused before anything is trained
    for name, reason in left_out.items():
        report(f"{name} is left out: {reason}")
    if contenders[1:] and state["device"] != device_name(device):
        report(f"the run was trained on {state['device']}, the others are on {device_name(device)}: times differ")
    effort = Effort(state["step"], state["seconds"], run.model.stat().st_size, state.get("peak_bytes"))
    methods = {"ours": shaded("neuraltex", task.mesh, shader, effort)}
    for contender in contenders:
        methods[contender.name] = prepared(contender, task, report)
    photos, meshes, pivot = _held_out(task, scene, capture)
    report(f"scoring {len(photos)} held-out views")
    if pivot is not None:
        report("their poses are refined first, as those of the training views were")
    scores, covered_share = score_views(meshes, photos, methods, run.folder / "held_out", pivot)
    metrics: dict[str, Any] = {
        "held_out": {name: mean_score(values) for name, values in scores.items()},
        "methods": {name: _told(method, task.mesh, photos) for name, method in methods.items()},
        "left_out": left_out,
        "per_view": _per_view(photos.names, scores),
        "num_test": len(photos),
        "covered_share": covered_share,
        "held_out_poses_refined": pivot is not None,
        **_of_the_run(task, state),
    }
    if move is not None:
        report(f"rendering the slow move of {len(move.frames)} frames")
        metrics["steady"] = score_steadiness(move, task.mesh, methods, run.folder / "steady")
    write_json(run.folder / "metrics.json", metrics)
    write_report(run, metrics)
    return metrics


def _of_the_run(task: Task, state: dict[str, Any]) -> dict[str, Any]:
    """What the run itself is, and how it came about."""
    config, cameras = task.run.config, task.photos.cameras
    return {
        "num_train": len(task.photos),
        "image_size": [cameras.width, cameras.height],
        "decoder": config.shading.decoder,
        "exposure_refined": config.training.refine_exposure,
        "train_steps": state["step"],
        "train_seconds": state["seconds"],
        "train_device": state["device"],
        "device": device_name(task.device),
        "model_bytes": task.run.model.stat().st_size,
    }


def _task(
    run: Run, device: torch.device, scene: Scene, capture: Capture, *, asked: bool, budget: Budget, baseline_steps: int
) -> Task:
    """What all are given: mesh and cameras as the run's training corrected them, too."""
    rest = scene.flatten().to(device)
    photos = Photos(capture, capture.train_indices, device)
    if run.refined:
        photos.cameras = run.load_cameras()
    return Task(
        run,
        run.load_mesh(device),
        photos,
        run.load_refinement(rest, len(photos)).requires_grad_(False),
        budget,
        baseline_steps,
        run.load_moving(scene, rest, capture.train_indices),
        asked=asked,
        masked=capture.masks is not None,
        photographed=None if capture.valid is None else capture.valid[capture.train_indices],
    )


def _held_out(task: Task, scene: Scene, capture: Capture) -> tuple[Photos, list[Mesh], Tensor | None]:
    """The photographs to score on, the mesh that each shows, and the point that their poses are refined around."""
    run, mesh = task.run, task.mesh
    photos = Photos(capture, capture.test_indices, task.device)
    pivot: Tensor | None = None
    if run.refined:
        photos.cameras = task.refinement.lens_only(photos.cameras.to(task.device)).to("cpu")
        pivot = task.refinement.pivot if run.config.training.refine_poses else None
    moving = run.load_moving(scene, scene.flatten().to(task.device), capture.test_indices)
    return photos, _meshes(mesh, moving, len(photos)), pivot


def _meshes(mesh: Mesh, moving: MovingMesh | None, num_views: int) -> list[Mesh]:
    """The mesh that each view shows."""
    if moving is None:
        return [mesh] * num_views
    return moving.meshes(torch.arange(num_views, device=mesh.verts.device), mesh)


def _told(method: Method, mesh: Mesh, photos: Photos) -> dict[str, Any]:
    """What a method took and how fast it is."""
    device = mesh.verts.device
    forget_peak(device)
    fps = frames_a_second(method, mesh, photos.cameras.to(device)) if len(photos) else None
    return {
        "title": method.title,
        "fps": fps,
        "train_steps": method.effort.steps,
        "train_seconds": method.effort.seconds,
        "model_bytes": method.effort.model_bytes,
        "train_peak_bytes": method.effort.peak_bytes,
        "render_peak_bytes": peak_bytes(device),
    }


def _per_view(names: list[str], scores: dict[str, list[ViewScore]]) -> list[dict[str, Any]]:
    """One entry a view; null where nothing of the mesh is in it, since JSON has no other word for that."""
    views = []
    for i, name in enumerate(names):
        view: dict[str, Any] = {"name": name}
        for method, values in scores.items():
            measured = vars(values[i]).items()
            view[method] = {key: None if value is None or math.isnan(value) else value for key, value in measured}
        views.append(view)
    return views
