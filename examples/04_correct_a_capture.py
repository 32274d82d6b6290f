"""What training corrected: how far cameras and vertices moved, and pictures at another exposure.

    python examples/04_correct_a_capture.py MESH CAPTURE [OUTPUT [STEPS]]

CAPTURE is a folder with cameras (transforms.json or a COLMAP model) whose poses may be a little off, and whose
exposure may change from one photograph to the next. On a CPU this takes two minutes.
"""

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from neuraltex.rendering import make_path, render_run
from neuraltex.training import Budget, RunConfig, SourceConfig, defaults_for, pick_device, train

mesh_file, capture_folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
output = Path(sys.argv[3] if len(sys.argv) > 3 else "corrected")
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 300
device = pick_device("auto")
shading, training = defaults_for(device)
training = replace(training, refine_poses=True, refine_exposure=True, refine_shape=True, refine_normals=True)
source = SourceConfig(mesh=str(mesh_file), photos=str(capture_folder), size=192)
run = train(
    output / "run",
    RunConfig(source, shading, training),
    Budget(steps=steps),
    device,
    Console(stderr=True),
    resume=False,
)

capture = run.load_capture()
given, found = capture.cameras[capture.train_indices], run.load_cameras()
before, after = run.load_scene().flatten(), run.load_mesh(device).to("cpu")
diagonal = float((before.verts.amax(0) - before.verts.amin(0)).norm())
turned = (given.w2c[:, :3, :3].transpose(1, 2) @ found.w2c[:, :3, :3]).diagonal(dim1=1, dim2=2).sum(-1)
angles = ((turned - 1) / 2).clamp(-1, 1).acos().rad2deg()
print(f"cameras turned by {float(angles.median()):.3f} degrees in the median")
print(f"and moved by {float((given.center - found.center).norm(dim=-1).median()) / diagonal:.3%} of the diagonal")
print(f"vertices moved by {float((before.verts - after.verts).norm(dim=-1).mean()) / diagonal:.3%} of it in the mean")

# Novel views have the mean exposure of all photographs, or any other.
path = make_path("orbit", found, num_frames=2, fps=30.0)
for name, stops in (("mean", 0.0), ("brighter", 1.0)):
    render_run(run, path, output / name, device, gain=(2**stops,) * 3)
print(f"pictures: {output}")
