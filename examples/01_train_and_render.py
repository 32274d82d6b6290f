"""The main job from Python: a mesh and a video in, photographs from new places out.

    python examples/01_train_and_render.py [OUTPUT] [MINUTES]

The same as `neuraltex train`, `eval` and `render`, as the functions they call.
"""

import sys
from pathlib import Path

from rich.console import Console

from neuraltex.cameras import CameraPath, orbit
from neuraltex.demo import bundled_scene
from neuraltex.evaluation import evaluate
from neuraltex.rendering import render_run
from neuraltex.training import Budget, RunConfig, SourceConfig, defaults_for, pick_device, train

output = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/still_life")
minutes = float(sys.argv[2] if len(sys.argv) > 2 else 2.0)
device = pick_device("auto")
scene = bundled_scene()

shading, training = defaults_for(device)
source = SourceConfig(
    mesh=str(scene / "still_life.obj"),
    photos=str(scene / "video.mp4"),
    cameras=str(scene / "transforms.json"),
    held_out=str(scene / "held_out"),
)
run = train(output, RunConfig(source, shading, training), Budget(minutes=minutes), device, Console(), resume=False)

scores = evaluate(run, device, baseline_steps=300, report=print)["held_out"]
print(f"held out: {scores['ours']['psnr']:.2f} dB, as a textured mesh {scores['textured_mesh']['psnr']:.2f} dB")

cameras = orbit(run.load_cameras(), num_frames=60, elevation_deg=30.0)
render_run(run, CameraPath(cameras, 30.0), output / "orbit.mp4", device)
print(f"video: {output / 'orbit.mp4'}")
