"""The pose of a photograph that a finished model was not trained on, found through the renderer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.training.losses import photometric_loss
from neuraltex.training.refinement import move_cameras
from neuraltex.training.sampler import Batch, resample

NUM_STEPS, RATE = 40, 3e-3
# Longer side of the pictures that are compared on a CPU, where a whole one takes seconds.
CPU_SIZE = 160
STRUCTURAL_WEIGHT = 0.2


def refine_pose(
    renderer: Callable[[Camera], Tensor], view: Batch, pivot: Float[Tensor, "3"], *, steps: int = NUM_STEPS
) -> Camera:
    """Move one camera until the rendering lies best on the photograph. The model stays as it is.

    Args:
        renderer: cameras to `[B, H, W, 3]` sRGB-encoded colour, differentiable in K and w2c.
        view: one photograph and its camera.
        pivot: `[3]` world, as in `move_cameras`.
        steps: of Adam.

    Returns:
        A batch of 1, at the photograph's size.
    """
    small = _smaller(view) if not view.target.is_cuda else view
    twist = torch.zeros(1, 6, device=view.target.device, requires_grad=True)
    best, least = twist.detach().clone(), math.inf
    optimizer = torch.optim.Adam([twist], lr=RATE, betas=(0.9, 0.95))
    for step in range(steps):
        rgb = renderer(move_cameras(small.cameras, twist, pivot))
        loss = photometric_loss(rgb, small.target, small.weight, STRUCTURAL_WEIGHT)
        value = float(loss.detach())
        if value < least:
            best, least = twist.detach().clone(), value
        (twist.grad,) = torch.autograd.grad(loss, [twist])
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
    return move_cameras(view.cameras, best, pivot)


def _smaller(view: Batch) -> Batch:
    scale = CPU_SIZE / max(view.cameras.width, view.cameras.height)
    if scale >= 1:
        return view
    return resample(view, max(round(view.cameras.height * scale), 1), max(round(view.cameras.width * scale), 1))
