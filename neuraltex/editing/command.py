"""`neuraltex edit`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import UInt8
from rich.console import Console
from torch import Tensor
from tyro.conf import Positional, arg

from neuraltex.cameras import Camera
from neuraltex.capture.video_writer import VideoWriter
from neuraltex.editing.memory import remember_surface
from neuraltex.editing.picture import EditRenderer
from neuraltex.editing.refined import with_refined_verts
from neuraltex.editing.script import Edit, load_edit
from neuraltex.errors import SettingError
from neuraltex.geometry.scene import Scene
from neuraltex.rendering import make_path, resized
from neuraltex.training import Run, pick_device


@dataclass(frozen=True)
class EditCommand:
    """Render a scene whose parts are moved, hidden, copied or deformed by a script.

    Args:
        run: a run folder.
        script: a Python file with a function edit(scene, t), t in seconds, or a JSON timeline of keyframes.
        path: "orbit", "spiral", "train", "still" (the first training camera), or a JSON file of cameras.
        output: .mp4, .mov or .mkv, or a name without a suffix for a folder of PNG files.
        relight: let shadows and contacts follow what was moved.
        frames: frames of the path, where no file gives them.
        fps: frames a second, where no file gives them.
        size: longer side in pixels; the training images' where left out.
        device: "auto", "cpu", "cuda", "cuda:1", ...
    """

    run: Positional[Path]
    script: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    path: str = "orbit"
    relight: bool = True
    frames: int = 120
    fps: float = 30.0
    size: int | None = None
    device: str = "auto"

    def __call__(self) -> None:
        console = Console(stderr=True)
        if self.frames < 1:
            raise SettingError(f"--frames {self.frames}: expected at least 1")
        if not 0 < self.fps <= 1000:
            raise SettingError(f"--fps {self.fps}: expected frames a second between 0 and 1000")
        if self.size is not None and self.size < 1:
            raise SettingError(f"--size {self.size}: expected at least 1 pixel")
        run = Run.open(self.run)
        edit = load_edit(self.script)
        path = make_path(self.path, run.load_cameras(), num_frames=self.frames, fps=self.fps)
        cameras = path.cameras if self.size is None else resized(path.cameras, self.size)
        device = pick_device(self.device)
        render_edit(run, edit, cameras, path.fps, self.output, device, relight=self.relight, console=console)
        console.print(f"{len(cameras.K)} frames: {self.output}")


def render_edit(
    run: Run,
    edit: Edit,
    cameras: Camera,
    fps: float,
    output: Path,
    device: torch.device,
    *,
    relight: bool = True,
    console: Console | None = None,
) -> None:
    """Render an edited scene along a camera path, into a video or a folder of pictures.

    Every frame of the edit is tried before the first is rendered.

    Args:
        run: a trained run.
        edit: what happens to its scene.
        cameras: a batch `[N]`, one a frame.
        fps: frames a second, which the edit's time is counted by.
        output: a video file, or a folder of PNG files where the name has no suffix.
        device: where to compute.
        relight: let shadows and contacts follow.
        console: told what goes on.

    Raises:
        InputError: the edit fails in a frame, the run is not trained, or the output cannot be written.
    """
    console = Console(quiet=True) if console is None else console
    writer = VideoWriter(output, fps)
    shader, _ = run.load_model(device)
    mesh = run.load_mesh(device)
    scene = with_refined_verts(run.load_scene(), mesh)
    moved: set[str] = set()
    for frame in range(len(cameras.K)):
        moved |= edit.at(scene, frame, fps)[1]
    console.print(f"photographed parts that change: {', '.join(sorted(moved)) or 'none'}")
    if run.load_motion() is not None:
        console.print("the mesh moved while it was photographed; the edit shows it at rest")
    with writer:  # which refuses what it cannot write before anything takes long
        memory = remember_surface(run, mesh, shader, report=console.print)
        renderer = EditRenderer(mesh, shader, memory, moved=moved, relight=relight)
        console.print(
            f"{memory.unseen_share:.1%} of the surface is in no photograph, "
            f"{renderer.filled_share:.1%} is filled from what lies around"
        )
        for picture in _frames(renderer, edit, scene, cameras.to(device), fps):
            writer.write(picture)


def _frames(
    renderer: EditRenderer, edit: Edit, scene: Scene, cameras: Camera, fps: float
) -> Iterator[UInt8[Tensor, "H W 3"]]:
    device = cameras.K.device
    for frame in range(len(cameras.K)):
        staged, _ = edit.at(scene, frame, fps)
        yield renderer(staged.to(device), cameras[frame : frame + 1])
