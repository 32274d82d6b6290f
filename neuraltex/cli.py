"""The command line: `neuraltex COMMAND`; the commands are the classes below, those of `capture` and of `viewer`."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from tyro.conf import Positional, arg, subcommand

from neuraltex.cameras.read import find_cameras
from neuraltex.capture.chroma import TOLERANCE, mask_photographs
from neuraltex.capture.reconstruct.command import Reconstruct
from neuraltex.capture.solve.command import Align, Prepare
from neuraltex.demo import run_demo
from neuraltex.doctor import diagnose
from neuraltex.editing.command import EditCommand
from neuraltex.errors import NeuraltexError, SettingError
from neuraltex.evaluation.command import Eval
from neuraltex.execution import Execution
from neuraltex.geometry import load_scene, read_motion
from neuraltex.pictures import write_part_pictures
from neuraltex.reenactment.command import Reenact, Track
from neuraltex.rendering import make_path, render_run
from neuraltex.shading import ShadingConfig
from neuraltex.tables import checks_table, parts_table
from neuraltex.training import (
    Budget,
    Run,
    RunConfig,
    SourceConfig,
    TrainingConfig,
    Workers,
    defaults_for,
    pick_device,
    refuse_occupied,
    train,
)
from neuraltex.viewer.command import ViewRun

console = Console(stderr=True)
DEFAULT_MINUTES = 10.0
# Beyond so many rows and columns a pixel nothing changes that could be seen.
MOST_FINER = 16


@dataclass(frozen=True)
class Doctor:
    """Try whether the main job can run here, and tell what would make it faster; exits with 1 where it cannot.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", ...
    """

    device: str = "auto"

    def __call__(self) -> None:
        diagnosis = diagnose(pick_device(self.device))
        out = Console()
        out.print(checks_table(diagnosis))
        if not diagnosis.can_run:
            failing = ", ".join(check.name for check in diagnosis.required if not check.ok)
            out.print(f"The main job cannot run here: mend {failing}.")
            sys.exit(1)
        out.print("The main job can run here; try: neuraltex demo")


@dataclass(frozen=True)
class Demo:
    """Train on the bundled scene, evaluate on views it never saw, and render a new camera path.

    Args:
        output: folder for the pictures, the video and the numbers.
        minutes: minutes of training.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        small: a quarter of everything, to see that the installation works.
    """

    output: Annotated[Path, arg(aliases=["-o"])] = Path("demo")
    minutes: float = 2.75
    device: str = "auto"
    small: bool = False

    def __call__(self) -> None:
        run_demo(self.output, self.minutes, pick_device(self.device), console, small=self.small)


@dataclass(frozen=True)
class Info:
    """Tell what a mesh file holds: its parts, its materials, and whether its texture coordinates can be used.

    Args:
        mesh: an OBJ, GLB, glTF, PLY, STL or OFF file.
        unwrap: which faces would get new texture coordinates.
        pictures: a folder to make, with a picture of each part.
    """

    mesh: Positional[Path]
    unwrap: Literal["missing", "overlapping", "always", "never"] = "missing"
    pictures: Path | None = None

    def __call__(self) -> None:
        scene = load_scene(self.mesh, unwrap=self.unwrap)
        out = Console()
        out.print(parts_table(scene))
        if scene.uv_report is not None:
            out.print("texture coordinates of the file:")
            for line in scene.uv_report.lines():
                out.print(f"  {line}")
        for change in scene.uv_changes:
            out.print(f"  [yellow]{change}[/yellow]")
        if self.pictures is not None:
            out.print(f"{len(write_part_pictures(scene, self.pictures))} pictures: {self.pictures}")


@dataclass(frozen=True)
class Mask:
    """Cut an object out of a video or photographs taken before a green or blue screen: makes a folder of masks.

    Args:
        photos: a video, or a folder of photographs.
        output: the folder of masks to make, for --masks of neuraltex prepare and neuraltex train.
        colour: of the screen, as "#00b140"; measured on the border of the first picture where left out.
        tolerance: how far from the screen's colour, seen without its brightness, a pixel is still screen: towards 0
            the screen must be of exactly this colour, towards 1 everything grayish is screen too.
    """

    photos: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    colour: Annotated[str | None, arg(aliases=["--color"])] = None
    tolerance: float = TOLERANCE

    def __call__(self) -> None:
        with console.status("masking") as status:
            masked = mask_photographs(
                self.photos,
                self.output,
                colour=self.colour,
                tolerance=self.tolerance,
                report=lambda done, total: status.update(f"masking, frame {done} of {total or '?'}"),
            )
        measured = " (measured on the border of the first picture)" if self.colour is None else ""
        console.print(f"screen: {masked.colour}{measured}")
        console.print(
            f"{masked.num_frames} masks: {self.output}; the object covers {masked.share:.1%} of the pixels, "
            f"{masked.least:.1%} to {masked.most:.1%} of a frame"
        )


@dataclass(frozen=True)
class Train:
    """Learn to photograph a mesh from a video or photographs of it, and their cameras.

    Args:
        mesh: an OBJ, GLB, glTF, PLY, STL or OFF file, in the cameras' world.
        photos: a video, a folder of images, or a capture folder that holds its own cameras.
        cameras: transforms.json, COLMAP model folder or poses_bounds.npy; not needed where `photos` holds them. Where
            there are none at all they are solved first, as by neuraltex prepare.
        output: the run folder to make.
        masks: folder of masks of the object, one an image; the rest is then neither learned nor rendered.
        held_out: another capture folder to evaluate on; without it every 8th frame is held out, unless the cameras'
            file says which.
        motion: how the mesh moved: a folder of numbered OBJ files, an .npz with `verts` (frames x vertices x 3), or a
            .glb or .gltf with an animation, which belong to the photographs frame by frame; a capture folder's own
            motion.safetensors needs no mention.
        motion_fps: frames a second at which an animation is sampled; the video's own, or 30, where left out.
        minutes: minutes of training; 10 where neither this nor --steps is given.
        steps: steps of training, instead of minutes.
        size: longer side of the training images in pixels; the photographs' own where left out.
        unwrap: which faces get new texture coordinates: those without ("missing"), also those that share texels
            ("overlapping"), all ("always") or none ("never").
        device: "auto", "cpu", "cuda", "cuda:1", ...
        seed: of everything random.
        resume: go on with the run in `output`.
        execution: on a GPU, "graph" captures a step and replays it, "compile" compiles the network first (10 to 60 s),
            "eager" does neither; "auto" compiles where training is long enough to gain by it.
        shading: what is learned; the defaults suit the device.
        training: how it is learned; the defaults suit the device.
    """

    mesh: Positional[Path]
    photos: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    cameras: Path | None = None
    masks: Path | None = None
    held_out: Path | None = None
    motion: Path | None = None
    motion_fps: float | None = None
    minutes: float | None = None
    steps: int | None = None
    size: int | None = None
    unwrap: Literal["missing", "overlapping", "always", "never"] = "missing"
    device: str = "auto"
    seed: int = 0
    resume: bool = False
    execution: Execution = "auto"
    shading: ShadingConfig = field(default_factory=ShadingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __call__(self) -> None:
        minutes = DEFAULT_MINUTES if self.minutes is None and self.steps is None else self.minutes
        if self.size is not None and self.size < 16:
            raise SettingError(f"--size {self.size}: expected at least 16 pixels")
        if self.motion_fps is not None and not 0 < self.motion_fps < math.inf:
            raise SettingError(f"--motion-fps {self.motion_fps}: expected frames a second above 0")
        budget = Budget(steps=self.steps, minutes=minutes)
        workers, device = Workers.join(pick_device(self.device))
        if not self.resume and workers.first:
            refuse_occupied(self.output)  # before minutes are spent on solving cameras
        photos, masks = self.photos, self.masks
        if self.cameras is None and _lacks_cameras(photos):
            if workers.first:
                self._solve()
            workers.wait()
            photos, masks = self.output / "capture", None
        source = SourceConfig(
            mesh=str(self.mesh.resolve()),
            photos=str(photos.resolve()),
            cameras=_absolute(self.cameras),
            masks=_absolute(masks),
            held_out=_absolute(self.held_out),
            motion=_absolute(self.motion),
            motion_fps=self.motion_fps,
            size=self.size,
            unwrap=self.unwrap,
        )
        training = self.training
        if training.refine_poses is None:
            training = replace(training, refine_poses=photos != self.photos)
        config = RunConfig(source, self.shading, training, self.seed)
        shown = console if workers.first else Console(quiet=True)
        train(self.output, config, budget, device, shown, resume=self.resume, execution=self.execution, workers=workers)
        shown.print(f"trained: {self.output}; now: neuraltex eval {self.output}")

    def _solve(self) -> None:
        """Cameras for photographs without any: the folder `capture` in the run folder, made once."""
        capture = self.output / "capture"
        if not find_cameras(capture):
            Prepare(mesh=self.mesh, photos=self.photos, output=capture, masks=self.masks, seed=self.seed)()


@dataclass(frozen=True)
class Render:
    """Render a camera path through a trained run.

    Args:
        run: a run folder.
        path: "orbit", "spiral", "train" (the trajectory of the training cameras), "still" (the first of them), or a
            JSON file: nerfstudio's camera_path.json, or a transforms.json.
        output: .mp4, .mov or .mkv, or a name without a suffix for a folder of PNG files.
        motion: how the mesh moves, as for training, or .safetensors; "train", and what is taken where this is left
            out, is the motion that the run was trained on, if any.
        loop: begin the motion anew where it ends before the path does; else its last frame is held.
        freeze: show this frame of the motion, counted from 0, all along the path.
        alpha: the mesh alone, with an alpha channel for compositing: .mov (ProRes 4444), .webm (VP9), or PNG files.
        background: a picture or a video to put the mesh in front of, scaled until it fills the frame.
        exposure: in stops, relative to the mean of the photographs.
        white_balance: factors on red, green and blue light, relative to the same.
        smooth: take the cameras of the file for key poses, and fly through them smoothly in --frames frames.
        frames: frames of the path, where no file gives them.
        fps: frames a second, where no file gives them.
        size: longer side in pixels; the training images' where left out.
        finer: render on so many times the rows and columns and average: for things that are seen from farther away
            than they were photographed from, about as many times; a frame takes its square longer.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        execution: on a GPU, "graph" captures a frame and replays it, "compile" compiles the network first (10 to 60 s
            before the first frame), "eager" does neither; "auto" compiles where the path is long enough to gain by it.
    """

    run: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    path: str = "orbit"
    motion: str = "train"
    loop: bool = False
    freeze: int | None = None
    alpha: bool = False
    background: Path | None = None
    exposure: float = 0.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    smooth: bool = False
    frames: int = 120
    fps: float = 30.0
    size: int | None = None
    finer: int = 1
    device: str = "auto"
    execution: Execution = "auto"

    def __call__(self) -> None:
        if self.frames < 1:
            raise SettingError(f"--frames {self.frames}: expected at least 1")
        if not 1 <= self.finer <= MOST_FINER:
            raise SettingError(f"--finer {self.finer}: expected 1 to {MOST_FINER}")
        red, green, blue = self.white_balance
        gain = (red * 2**self.exposure, green * 2**self.exposure, blue * 2**self.exposure)
        if not all(0 < factor < math.inf for factor in gain):
            raise SettingError(f"--exposure, --white-balance: expected finite factors above 0, got {gain} in all")
        run = Run.open(self.run)
        path = make_path(self.path, run.load_cameras(), num_frames=self.frames, fps=self.fps, smooth=self.smooth)
        motion = None
        if self.motion != "train":
            motion = read_motion(self.motion, run.load_scene(), fps=path.fps)
        workers, device = Workers.join(pick_device(self.device))
        shown = console if workers.first else Console(quiet=True)
        written = render_run(
            run,
            path,
            self.output,
            device,
            motion=motion,
            loop=self.loop,
            freeze=self.freeze,
            size=self.size,
            alpha=self.alpha,
            background=self.background,
            gain=gain,
            finer=self.finer,
            execution=self.execution,
            workers=workers,
            report=lambda text: shown.print(text),
        )
        shown.print(f"{written} frames: {self.output}")


def _lacks_cameras(photos: Path) -> bool:
    return photos.is_file() or (photos.is_dir() and find_cameras(photos) is None)


def _absolute(path: Path | None) -> str | None:
    return str(path.resolve()) if path is not None else None


def _device_of(words: Sequence[str]) -> torch.device:
    """The device that the words of a command line ask for, so that --help shows the defaults that suit it."""
    name = "auto"
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--device" and following:
            name = following
        elif word.startswith("--device="):
            name = word.removeprefix("--device=")
    return torch.device("cpu") if name.startswith("cpu") or not torch.cuda.is_available() else torch.device("cuda")


def _commands(device: torch.device) -> Any:
    """The union of all commands, with the training defaults of a device."""
    shading, training = defaults_for(device)
    missing = tyro.MISSING
    train_default = Train(mesh=missing, photos=missing, output=missing, shading=shading, training=training)
    return (
        Annotated[Doctor, subcommand("doctor")]
        | Annotated[Demo, subcommand("demo")]
        | Annotated[Info, subcommand("info")]
        | Annotated[Reconstruct, subcommand("reconstruct")]
        | Annotated[Mask, subcommand("mask")]
        | Annotated[Prepare, subcommand("prepare")]
        | Annotated[Align, subcommand("align")]
        | Annotated[Train, subcommand("train", default=train_default)]
        | Annotated[Eval, subcommand("eval")]
        | Annotated[Render, subcommand("render")]
        | Annotated[EditCommand, subcommand("edit")]
        | Annotated[Track, subcommand("track")]
        | Annotated[Reenact, subcommand("reenact")]
        | Annotated[ViewRun, subcommand("view")]
    )


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    console.print(f"[yellow]{message}[/yellow]")


def main(words: Sequence[str] | None = None) -> None:
    """Run one command; exit with 2 and one sentence where its input cannot be used."""
    words = list(sys.argv[1:] if words is None else words)
    warnings.showwarning = _show_warning
    try:
        command = tyro.cli(
            _commands(_device_of(words)),
            prog="neuraltex",
            description="Photographs of a mesh that were never taken.",
            args=words,
        )
        command()
    except NeuraltexError as error:
        print(f"neuraltex: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("neuraltex: interrupted", file=sys.stderr)
        sys.exit(130)
