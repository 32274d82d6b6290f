"""A mesh that moves: one pose for each photograph, and pictures of a motion that nobody photographed.

    python examples/06_animated_mesh.py [OUTPUT [STEPS]]

The repository has no film of a moving thing, so the "photographs" are drawn here, with a made-up pattern on the duck of
the bundled scene, which an ordinary texture holds as well: this shows how the files fit together, not how good the
pictures get. On a CPU it takes a minute.
"""

import math
import sys
from pathlib import Path

import torch
from rich.console import Console

from neuraltex.cameras import Camera, CameraFrame, CameraPath, look_at
from neuraltex.cameras.nerfstudio import write_transforms
from neuraltex.capture import write_image
from neuraltex.demo import bundled_scene
from neuraltex.evaluation import evaluate
from neuraltex.geometry import Motion, Poser, load_scene
from neuraltex.geometry.obj_writer import write_obj
from neuraltex.raster import make_gbuffer
from neuraltex.rendering import render_run
from neuraltex.training import Budget, RunConfig, SourceConfig, defaults_for, pick_device, train

output = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/animated").resolve()
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
NUM_FRAMES, SIZE = 24, 128

# The mesh: a file of its own, whose vertices the motion will move.
still_life = load_scene(bundled_scene() / "still_life.obj", unwrap="never")
for part in still_life:
    part.visible = part.name == "duck"
write_obj(still_life, output / "duck.obj")
scene = load_scene(output / "duck.obj", unwrap="never")
rest = scene["duck"].verts.float()
middle, (_, _, height) = rest.mean(0), rest.amax(0)


def twisted(angle: float, lean: float) -> torch.Tensor:
    """The duck's vertices `[V, 3]`, turned about the vertical by `angle` radians at the top and leaning to one side."""
    rise = rest[:, 2] / height
    across = rest[:, :2] - middle[:2]
    cosine, sine = (angle * rise).cos(), (angle * rise).sin()
    x = middle[0] + across[:, 0] * cosine - across[:, 1] * sine + lean * rise.square()
    y = middle[1] + across[:, 0] * sine + across[:, 1] * cosine
    return torch.stack([x, y, rest[:, 2]], dim=1)


def cameras_around(count: int) -> Camera:
    """Once around the duck."""
    angle = torch.arange(count) * (2 * math.pi / count)
    offset = torch.stack([angle.cos(), angle.sin(), 0.5 + 0.2 * (3 * angle).sin()], dim=1)
    return Camera.from_fov(look_at(middle + 1.1 * offset, middle, torch.tensor([0.0, 0.0, 1.0])), 40.0, SIZE, SIZE)


# The capture: a folder with photographs, their cameras, and motion.safetensors, whose frame i photograph i shows.
phase = torch.arange(NUM_FRAMES) * (2 * math.pi / NUM_FRAMES)
motion = Motion(torch.stack([twisted(1.2 * math.sin(3 * p), 0.1 * math.cos(2 * p)) for p in phase.tolist()]), fps=12.0)
cameras = cameras_around(NUM_FRAMES)
poser, poses = Poser(scene.flatten()), motion.onto(scene)
capture = output / "capture"
frames = []
for i in range(NUM_FRAMES):
    seen = make_gbuffer(poser.pose(poses.frame(i)), cameras[i : i + 1])
    stripes = 0.5 + 0.4 * torch.sin(seen.uv[0, ..., :1] * torch.tensor([160.0, 110.0, 60.0]))
    rgb = stripes * (0.65 + 0.35 * seen.normals[0, ..., 2:])
    rgba = torch.cat([rgb, torch.ones_like(rgb[..., :1])], dim=-1) * seen.mask[0, ..., None]
    image = capture / "images" / f"{i:02d}.png"
    write_image(image, (rgba.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    frames.append(CameraFrame(image.name, image, None, cameras[i]))
write_transforms(capture / "transforms.json", frames)
motion.save(capture / "motion.safetensors")

# Training takes the motion along by itself; a motion elsewhere is named by SourceConfig(motion=...), --motion.
device = pick_device("auto")
shading, training = defaults_for(device)
source = SourceConfig(mesh=str(output / "duck.obj"), photos=str(capture), unwrap="never")
config = RunConfig(source, shading, training)
run = train(output / "run", config, Budget(steps=steps), device, Console(stderr=True), resume=False)
scores = evaluate(run, device, baseline_steps=steps, report=print)["held_out"]
for name, score in scores.items():
    print(f"{name}: {score['psnr']:.1f} dB on poses it has not seen")

# Another motion, seen from one place; and one pose held while the camera goes round.
nod = Motion(torch.stack([twisted(0.0, 0.15 * math.sin(p)) for p in phase.tolist()]), fps=12.0)
at_rest = Camera(cameras.K, cameras.w2c[:1].expand_as(cameras.w2c), SIZE, SIZE)
render_run(run, CameraPath(at_rest, 24.0), output / "nod.mp4", device, motion=nod)
render_run(run, CameraPath(cameras, 24.0), output / "frozen.mp4", device, freeze=5)
print(f"videos: {output / 'nod.mp4'}, {output / 'frozen.mp4'}")
