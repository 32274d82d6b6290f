"""Held-out views: ours and the textured mesh beside the photograph, in numbers and in pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.capture import write_image
from neuraltex.evaluation.metrics import colour_corrected, make_lpips, psnr, ssim
from neuraltex.evaluation.pose import refine_pose
from neuraltex.evaluation.textured_mesh import fit_textured_mesh, save_textured_mesh
from neuraltex.files import write_json
from neuraltex.geometry.mesh import Mesh
from neuraltex.pipeline import render
from neuraltex.raster import make_gbuffer, opposite_corners
from neuraltex.training.moving import MovingMesh
from neuraltex.training.run import Run, device_name
from neuraltex.training.sampler import Photos

Renderer = Callable[[Mesh, Camera], Tensor]


@dataclass(frozen=True)
class ViewScore:
    """One held-out view of one method.

    Args:
        psnr, ssim: over all pixels that a mask does not exclude.
        psnr_covered, ssim_covered: over those of them where the mesh is seen.
        psnr_covered_corrected: the same after one factor a channel, which takes out exposure and white balance.
        lpips: over the whole image; None without its weights.
    """

    psnr: float
    psnr_covered: float
    ssim: float
    ssim_covered: float
    psnr_covered_corrected: float
    lpips: float | None


def evaluate(run: Run, device: torch.device, *, baseline_steps: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Score a run on its held-out views, write `metrics.json`, the textured mesh and the pictures of `held_out/`.

    Args:
        run: a trained run.
        device: where to compute.
        baseline_steps: optimiser steps of the textured mesh.
        report: told what is being done.

    Returns:
        What `metrics.json` holds.

    Raises:
        InputError: the photographs have moved, or the run is not trained.
    """
    shader, state = run.load_model(device)
    scene, mesh = run.load_scene(), run.load_mesh(device)
    rest = scene.flatten().to(device)
    capture = run.load_capture()
    train_photos = Photos(capture, capture.train_indices, device)
    test_photos = Photos(capture, capture.test_indices, device)
    pivot: Tensor | None = None
    if run.refined:
        # The baseline gets the corrected mesh and cameras, too.
        train_photos.cameras = run.load_cameras()
        refinement = run.load_refinement(rest, len(train_photos))
        with torch.no_grad():
            test_photos.cameras = refinement.lens_only(test_photos.cameras.to(device)).to("cpu")
        pivot = refinement.pivot if run.config.training.refine_poses else None
    shading = run.config.shading
    report("fitting the textured mesh, the baseline")
    start = time.monotonic()
    baseline = fit_textured_mesh(
        mesh,
        train_photos,
        texture_size=shader.texture.size,
        environment_size=shading.environment_size if shading.environment else None,
        steps=baseline_steps,
        seed=run.config.seed,
        moving=run.load_moving(scene, rest, capture.train_indices),
    )
    baseline_seconds = time.monotonic() - start
    save_textured_mesh(run.textured_mesh, baseline)
    opposite = opposite_corners(mesh.faces)
    renderers: dict[str, Renderer] = {
        "ours": lambda shown, cameras: render(shown, cameras, shader, opposite=opposite).rgb,
        "textured_mesh": baseline,
    }
    report(f"scoring {len(test_photos)} held-out views")
    if pivot is not None:
        report("their poses are refined first, as those of the training views were")
    meshes = _meshes(mesh, run.load_moving(scene, rest, capture.test_indices), len(test_photos))
    per_view, covered_share = _score(meshes, test_photos, renderers, run.folder / "held_out", pivot)
    metrics = {
        "held_out": {name: _mean(scores) for name, scores in per_view.items()},
        "per_view": [
            {"name": name, **{method: vars(scores[i]) for method, scores in per_view.items()}}
            for i, name in enumerate(test_photos.names)
        ],
        "num_train": len(train_photos),
        "num_test": len(test_photos),
        "image_size": [test_photos.cameras.width, test_photos.cameras.height],
        "covered_share": covered_share,
        "decoder": shading.decoder,
        "held_out_poses_refined": pivot is not None,
        "exposure_refined": run.config.training.refine_exposure,
        "train_steps": state["step"],
        "train_seconds": state["seconds"],
        "train_device": state["device"],
        "textured_mesh_seconds": baseline_seconds,
        "device": device_name(device),
        "model_bytes": run.model.stat().st_size,
    }
    write_json(run.folder / "metrics.json", metrics)
    return metrics


def _meshes(mesh: Mesh, moving: MovingMesh | None, num_views: int) -> list[Mesh]:
    """The mesh that each view shows."""
    if moving is None:
        return [mesh] * num_views
    return moving.meshes(torch.arange(num_views, device=mesh.verts.device), mesh)


def _score(
    meshes: list[Mesh], photos: Photos, renderers: dict[str, Renderer], folder: Path, pivot: Tensor | None
) -> tuple[dict[str, list[ViewScore]], float]:
    """Every held-out view of its mesh by every method; writes photo, methods side by side, one PNG a view."""
    distance = make_lpips(photos.images.device)
    scores: dict[str, list[ViewScore]] = {name: [] for name in renderers}
    shares = []
    for index in range(len(photos)):
        view = photos.view(index)
        counted = view.weight > 0
        cameras = dict.fromkeys(renderers, view.cameras)
        if pivot is not None:
            cameras = {
                name: refine_pose(partial(renderer, meshes[index]), view, pivot) for name, renderer in renderers.items()
            }
        covered = make_gbuffer(meshes[index], cameras["ours"]).mask & counted
        shares.append(float(covered.float().mean()))
        shown = [view.target * counted[..., None]]
        for name, renderer in renderers.items():
            with torch.no_grad():
                rgb = renderer(meshes[index], cameras[name]).clamp(0, 1) * counted[..., None]
            target = view.target * counted[..., None]
            scores[name].append(
                ViewScore(
                    psnr(rgb, target, counted),
                    psnr(rgb, target, covered),
                    ssim(rgb, target, counted),
                    ssim(rgb, target, covered),
                    psnr(colour_corrected(rgb, target, covered), target, covered),
                    distance(rgb, target) if distance is not None else None,
                )
            )
            shown.append(rgb)
        write_image(folder / f"{index:03d}.png", side_by_side([image[0] for image in shown]))
    return scores, sum(shares) / max(len(shares), 1)


def _mean(scores: list[ViewScore]) -> dict[str, float | None]:
    """Mean over the views of each measure; views where it has no value (nothing covered) are left out."""
    result: dict[str, float | None] = {}
    for name in (f.name for f in fields(ViewScore)):
        values = np.array([value for s in scores if (value := getattr(s, name)) is not None], dtype=np.float64)
        values = values[np.isfinite(values)]
        result[name] = float(values.mean()) if len(values) else None
    return result


def side_by_side(images: list[Float[Tensor, "H W 3"]]) -> npt.NDArray[np.uint8]:
    """Images left to right as 8-bit `[H, W', 3]`, with a white gap of 4 pixels."""
    gap = torch.ones(images[0].shape[0], 4, 3, device=images[0].device)
    parts = [part for image in images for part in (gap, image.clamp(0, 1))][1:]
    return (torch.cat(parts, dim=1) * 255).round().to(torch.uint8).cpu().numpy()
