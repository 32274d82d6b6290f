"""One person's expressions on another: two videos and a blendshape rig in, a video out.

    python examples/07_reenact.py RIG TARGET_VIDEO DRIVING_VIDEO [OUTPUT [STEPS]]

RIG is an npz file (see `neuraltex.reenactment.load_rig`); the videos show one head each before a still camera and
begin with a calm face seen from the front. `make_actors.py` makes such videos. On a CPU this takes half an hour; the
numbers of steps below are what to turn down for a first look.
"""

import sys
from pathlib import Path

from rich.console import Console

from neuraltex.reenactment import FitConfig, carry_over, load_rig, reenact, track_video
from neuraltex.reenactment.rig import TRANSPARENT
from neuraltex.training import Budget, RunConfig, SourceConfig, defaults_for, pick_device, train

rig_file, target_video, driving_video = (Path(word) for word in sys.argv[1:4])
output = Path(sys.argv[4] if len(sys.argv) > 4 else "reenacted")
steps = int(sys.argv[5]) if len(sys.argv) > 5 else 2500
device = pick_device("auto")
console = Console(stderr=True)

# Pose, expression and identity, by gradients through the rasterizer.
rig = load_rig(rig_file)
fit = FitConfig() if steps > 100 else FitConfig(start_steps=steps, follow_steps=4, joint_steps=steps, size=32)
tracks = {}
for name, video in (("target", target_video), ("driving", driving_video)):
    tracks[name] = track_video(
        rig, video, output / name, device=device, leave_out=TRANSPARENT, config=fit, report=console.print
    )

# The target's neural texture; what its mesh lacks may depend on the expression.
shading, training = defaults_for(device)
folder = (output / "target").resolve()
source = SourceConfig(mesh=str(folder / "mesh.obj"), photos=str(folder))
run = train(output / "run", RunConfig(source, shading, training), Budget(steps=steps), device, console, resume=False)

# Expressions are carried over by name, relative to each person's calm face.
performance = carry_over(tracks["target"], tracks["driving"])
strongest = performance.expression.amax(0)
for index in strongest.argsort(descending=True)[:5].tolist():
    print(f"{rig.expression_names[index]}: up to {float(strongest[index]):.2f}")
written = reenact(run, output / "driving", output / "reenacted.mp4", device)
print(f"{written} frames: {output / 'reenacted.mp4'}")
