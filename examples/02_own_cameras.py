"""Where a pixel looks, and how to render one picture from anywhere: cameras, G-buffers, the pipeline.

    python examples/02_own_cameras.py RUN [OUTPUT]

RUN is a folder that `neuraltex train` or `neuraltex demo` made.
"""

import sys
from pathlib import Path

import torch

from neuraltex.cameras import Camera, look_at
from neuraltex.capture import write_image
from neuraltex.pipeline import render
from neuraltex.training import Run, pick_device

run = Run.open(Path(sys.argv[1]))
output = Path(sys.argv[2] if len(sys.argv) > 2 else "own_cameras")
device = pick_device("auto")
mesh = run.load_mesh(device)
shader, _ = run.load_model(device)

# A camera half as far away as the first training camera, looking at the same place, on a wider picture.
first = run.load_cameras()[:1]
target = mesh.verts.mean(0).cpu()
eye = target + 0.7 * (first.center - target)
up = -first.w2c[:, 1, :3]  # camera axes: +x right, +y down, +z forward
camera = Camera.from_fov(look_at(eye, target, up), 60.0, 640, 400).to(device)

with torch.no_grad():
    picture = render(mesh, camera, shader)
gbuffer = picture.gbuffer


def save(name: str, image: torch.Tensor) -> None:
    """Write `[H, W, 3]` values in [0, 1]."""
    write_image(output / f"{name}.png", (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


save("rgb", picture.rgb[0])
save("normals", (0.5 + 0.5 * gbuffer.normals[0]) * gbuffer.mask[0, ..., None])
save("uv", torch.nn.functional.pad(gbuffer.uv[0], (0, 1)))
for index, name in enumerate(mesh.part_names):
    print(f"{name}: {int((gbuffer.part_ids == index).sum())} pixels")
print(f"pictures: {output}")
