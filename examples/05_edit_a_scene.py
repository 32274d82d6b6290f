"""A scene that was photographed once, changed by four small functions: a part moved, removed, copied, deformed.

    python examples/05_edit_a_scene.py [RUN [OUTPUT [PART [FRAMES [SIZE]]]]]

RUN is a run folder, by default the one that 01_train_and_render.py makes. Each edit becomes a video of two seconds, in
FRAMES frames. The same as `neuraltex edit RUN SCRIPT`, for which scripts and a timeline of keyframes lie in
examples/edits.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from neuraltex.editing import Edit, Stage
from neuraltex.editing.command import render_edit
from neuraltex.rendering import make_path, resized
from neuraltex.training import Run, pick_device

run = Run.open(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/still_life"))
output = Path(sys.argv[2] if len(sys.argv) > 2 else "edits")
part = sys.argv[3] if len(sys.argv) > 3 else "duck"
frames = int(sys.argv[4]) if len(sys.argv) > 4 else 60
verts = run.load_scene()[part].world_verts
reach = 0.5 * float((verts.amax(0) - verts.amin(0)).norm())


def move(scene: Stage, t: float) -> None:
    """Away and round: what is called later is done later, and t is the time in seconds."""
    scene[part].move([-reach * t, -reach * t, 0.0]).rotate(60.0 * t, "z")


def remove(scene: Stage, t: float) -> None:
    """The scene comes fresh each time: what is to stay hidden is hidden each time."""
    if t >= 0.5:
        scene[part].hide()


def duplicate(scene: Stage, t: float) -> None:
    """A copy is a part like any other."""
    scene[part].copy("twin").move([-reach, reach, 0.0]).rotate(90.0 * t)


def deform(scene: Stage, t: float) -> None:
    """Every vertex by a function, here a squeeze about the part's middle."""
    middle = scene[part].center
    scene[part].deform(lambda verts: middle + (verts - middle) * np.array([1 + 0.3 * t, 1 + 0.3 * t, 1 - 0.3 * t]))


path = make_path("still", run.load_cameras(), num_frames=frames, fps=frames / 2)
cameras = resized(path.cameras, int(sys.argv[5])) if len(sys.argv) > 5 else path.cameras
for change in (move, remove, duplicate, deform):
    edit = Edit(Path(__file__), change)
    render_edit(run, edit, cameras, path.fps, output / f"{change.__name__}.mp4", pick_device("auto"), console=Console())
print(f"videos: {output}")
