"""The commands `neuraltex prepare` and `neuraltex align`, for the command line to take up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tyro.conf import Positional, arg

from neuraltex.capture.solve.mapping import MappingConfig
from neuraltex.capture.solve.prepare import MOST_FRAMES, Prepared, align_capture, prepare_capture
from neuraltex.capture.solve.register import RegistrationError
from neuraltex.errors import NeuraltexError, SettingError


@dataclass(frozen=True)
class Prepare:
    """Find the cameras of a video or of photographs, and lay them onto a mesh: makes a folder to train from.

    Args:
        mesh: an OBJ, GLB, glTF, PLY, STL or OFF file of what was photographed, or of a part of it.
        photos: a video, or a folder of photographs of one size, taken while going around the object.
        output: the capture folder to make.
        masks: folder of masks of the object, one an image, or a video of masks; what they exclude is not looked
            at, so that a turntable is solved for the thing on it.
        points: JSON file of pixels and the vertices of the mesh they show, where the mesh is not found by itself.
        frames: frames of a video to use at most; the sharpest, evenly spread over the motion.
        lens: SIMPLE_RADIAL for ordinary lenses, OPENCV for wide ones, PINHOLE for undistorted photographs.
        seed: of everything random.
    """

    mesh: Positional[Path]
    photos: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    masks: Path | None = None
    points: Path | None = None
    frames: int = MOST_FRAMES
    lens: Literal["SIMPLE_RADIAL", "OPENCV", "PINHOLE"] = "SIMPLE_RADIAL"
    seed: int = 0

    def __call__(self) -> None:
        if self.frames < 2:
            raise SettingError(f"--frames {self.frames}: expected at least 2")
        console = Console(stderr=True)
        try:
            with StageBars(console) as bars:
                prepared = prepare_capture(
                    self.mesh,
                    self.photos,
                    self.output,
                    masks=self.masks,
                    points=self.points,
                    most_frames=self.frames,
                    config=MappingConfig(lens=self.lens, seed=self.seed),
                    report=bars,
                )
        except RegistrationError as error:
            raise NeuraltexError(f"{error}; see {self.output / 'report.html'}") from error
        _tell(console, prepared, self.mesh)


@dataclass(frozen=True)
class Align:
    """Lay the cameras of a prepared capture onto a mesh anew: another mesh, or with points given by hand.

    Args:
        mesh: an OBJ, GLB, glTF, PLY, STL or OFF file.
        capture: a folder that `neuraltex prepare` made.
        points: JSON file of pixels and the vertices of the mesh they show: a list of
            {"frame": "000010.jpg", "pixel": [x, y], "vertex": 17}, or "xyz": [x, y, z] instead of the vertex; four at
            least in one frame.
    """

    mesh: Positional[Path]
    capture: Positional[Path]
    points: Path | None = None

    def __call__(self) -> None:
        console = Console(stderr=True)
        try:
            with StageBars(console) as bars:
                prepared = align_capture(self.mesh, self.capture, points=self.points, report=bars)
        except RegistrationError as error:
            raise NeuraltexError(f"{error}; see {self.capture / 'report.html'}") from error
        _tell(console, prepared, self.mesh)


def _tell(console: Console, prepared: Prepared, mesh: Path) -> None:
    console.print(
        f"{prepared.num_registered} of {prepared.num_given} frames, reprojection error {prepared.error_px:.2f} pixels; "
        f"on the mesh with a score of {prepared.registration.score}"
    )
    console.print(f"look at {prepared.folder / 'report.html'}; now: neuraltex train {mesh} {prepared.folder} -o RUN")


class StageBars:
    """One progress bar a stage."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description:>18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StageBars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, total=total)
        self.progress.update(self.tasks[stage], completed=done, total=total)
