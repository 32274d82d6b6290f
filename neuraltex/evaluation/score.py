"""Held-out views: every method beside the photograph, in numbers, in pictures and in frames a second."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.capture import write_image
from neuraltex.evaluation.contender import Method
from neuraltex.evaluation.flip import flip
from neuraltex.evaluation.metrics import colour_corrected, make_lpips, psnr, ssim
from neuraltex.evaluation.pose import refine_pose
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer
from neuraltex.training.sampler import Photos

# Frames rendered before the clock starts, and for how long and how many they are counted.
WARM_UP, SECONDS_COUNTED, MOST_COUNTED = 2, 0.5, 300
# Pixels of white between two pictures side by side.
GAP = 4


@dataclass(frozen=True)
class ViewScore:
    """One held-out view of one method.

    Args:
        psnr, ssim: over all pixels that a mask does not exclude.
        psnr_covered, ssim_covered: over those of them where the mesh is seen.
        psnr_covered_corrected: the same after one factor a channel, which takes out exposure and white balance.
        flip, flip_covered: over the same pixels as `psnr` and `psnr_covered`.
        lpips: over the whole image; None without its weights.
    """

    psnr: float
    psnr_covered: float
    ssim: float
    ssim_covered: float
    psnr_covered_corrected: float
    flip: float
    flip_covered: float
    lpips: float | None


def score_views(
    meshes: list[Mesh], photos: Photos, methods: dict[str, Method], folder: Path, pivot: Tensor | None
) -> tuple[dict[str, list[ViewScore]], float]:
    """Every held-out view by every method; writes photo, methods side by side, one PNG a view.

    Args:
        meshes: the mesh that each view shows.
        photos: the held-out photographs.
        methods: by name, ours as "ours".
        folder: where to write the pictures.
        pivot: as in `refine_pose`, which then finds the pose of each view for each method; None to trust the cameras.

    Returns:
        The scores by method, one a view; and the share of the pixels that the mesh covers.
    """
    distance = make_lpips(photos.images.device)
    scores: dict[str, list[ViewScore]] = {name: [] for name in methods}
    shares = []
    for index in range(len(photos)):
        view = photos.view(index)
        counted = view.weight > 0
        cameras = dict.fromkeys(methods, view.cameras)
        if pivot is not None:
            for name, method in methods.items():
                cameras[name] = refine_pose(partial(method.renderer, meshes[index]), view, pivot)
        covered = make_gbuffer(meshes[index], cameras["ours"]).mask & counted
        shares.append(float(covered.float().mean()))
        shown = [view.target * counted[..., None]]
        for name, method in methods.items():
            with torch.no_grad():
                rgb = method.renderer(meshes[index], cameras[name]).clamp(0, 1) * counted[..., None]
            target = view.target * counted[..., None]
            scores[name].append(
                ViewScore(
                    psnr(rgb, target, counted),
                    psnr(rgb, target, covered),
                    ssim(rgb, target, counted),
                    ssim(rgb, target, covered),
                    psnr(colour_corrected(rgb, target, covered), target, covered),
                    flip(rgb, target, counted),
                    flip(rgb, target, covered),
                    distance(rgb, target) if distance is not None else None,
                )
            )
            shown.append(rgb)
        write_image(folder / f"{index:03d}.png", side_by_side([image[0] for image in shown]))
    return scores, sum(shares) / max(len(shares), 1)


def mean_score(scores: list[ViewScore]) -> dict[str, float | None]:
    """Mean over the views of each measure; views where it has no value (nothing covered) are left out."""
    result: dict[str, float | None] = {}
    for name in (f.name for f in fields(ViewScore)):
        values = np.array([value for s in scores if (value := getattr(s, name)) is not None], dtype=np.float64)
        values = values[np.isfinite(values)]
        result[name] = float(values.mean()) if len(values) else None
    return result


def side_by_side(images: list[Float[Tensor, "H W 3"]]) -> npt.NDArray[np.uint8]:
    """Images left to right as 8-bit `[H, W', 3]`, with a white gap of `GAP` pixels."""
    gap = torch.ones(images[0].shape[0], GAP, 3, device=images[0].device)
    parts = [part for image in images for part in (gap, image.clamp(0, 1))][1:]
    return (torch.cat(parts, dim=1) * 255).round().to(torch.uint8).cpu().numpy()


@torch.no_grad()
def frames_a_second(method: Method, mesh: Mesh, cameras: Camera) -> float:
    """How fast a method renders one view after another into 8-bit pictures, on the device alone.

    Args:
        method: which.
        mesh: the scene's flat buffers.
        cameras: a batch `[N]` of views, on its device; they are gone through again and again.
    """

    def pictured(view: Camera) -> Tensor:
        return (method.renderer(mesh, view).clamp(0, 1) * 255).round().to(torch.uint8)

    frames, device = method.frames or pictured, mesh.verts.device
    views = [cameras[i : i + 1] for i in range(len(cameras.K))]
    for i in range(WARM_UP):
        frames(views[i % len(views)])
    _wait(device)
    start, count = time.perf_counter(), 0
    while count < MOST_COUNTED and (count < 1 or time.perf_counter() - start < SECONDS_COUNTED):
        frames(views[count % len(views)])
        count += 1
        # A GPU is let run ahead, or the clock would measure the waiting.
        if device.type != "cuda" or count % len(views) == 0:
            _wait(device)
    _wait(device)
    return count / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
