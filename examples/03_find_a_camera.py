"""Geometry to RGB is one differentiable graph: find where a photograph was taken from by descending on the picture.

    python examples/03_find_a_camera.py RUN

A view of the run is rendered, its camera turned by 2 degrees and moved by 2%, and found again from the pixels alone.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import avg_pool2d, normalize

from neuraltex.cameras import Camera
from neuraltex.cameras.rotations import so3_exp
from neuraltex.pipeline import render
from neuraltex.training import Run, pick_device

run = Run.open(Path(sys.argv[1]))
device = pick_device("auto")
mesh = run.load_mesh(device)
shader, _ = run.load_model(device)
truth = run.load_cameras()[:1].to(device)
truth = truth.resize(truth.width // 2, truth.height // 2)


def moved(pose: torch.Tensor) -> Camera:
    """The true camera, turned by pose[:3] (axis-angle, radians) and shifted by pose[3:] (scene units)."""
    motion = torch.cat([torch.cat([so3_exp(pose[:3]), pose[3:, None]], dim=1), pose.new_tensor([[0, 0, 0, 1]])])
    return Camera(truth.K, motion @ truth.w2c, truth.width, truth.height)


def blurred(rgb: torch.Tensor, size: int) -> torch.Tensor:
    """A box blur, so that the difference of two pictures has a slope over several pixels."""
    return avg_pool2d(rgb.permute(0, 3, 1, 2), size, 1, size // 2)


with torch.no_grad():
    target = render(mesh, truth, shader).rgb
distance = float((truth.center - mesh.verts.mean(0)).norm())
axis = normalize(torch.tensor([0.5, -0.6, 0.62]), dim=0)
start = torch.cat([torch.deg2rad(torch.tensor(2.0)) * axis, 0.02 * distance * normalize(torch.ones(3), dim=0)])
pose = start.to(device).requires_grad_()
optimizer = torch.optim.Adam([pose], lr=2e-3)
for step in range(120):
    size = 9 if step < 60 else 3
    loss = (blurred(render(mesh, moved(pose), shader).rgb, size) - blurred(target, size)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / 120)
    if step % 20 == 19:
        turn_deg = float(torch.rad2deg(pose[:3].detach().norm()))
        shift_percent = 100 * float(pose[3:].detach().norm()) / distance
        print(f"step {step + 1}: off by {turn_deg:.3f} degrees and {shift_percent:.3f}%")
