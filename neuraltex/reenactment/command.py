"""The commands `neuraltex track` and `neuraltex reenact`, for the command line to take up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from neuraltex.errors import SettingError
from neuraltex.reenactment.fit import FitConfig
from neuraltex.reenactment.reenact import reenact
from neuraltex.reenactment.rig import TRANSPARENT, load_rig
from neuraltex.reenactment.track import degrees, track_video
from neuraltex.reenactment.track_files import MESH_FILE
from neuraltex.training.run import Run, pick_device


@dataclass(frozen=True)
class Track:
    """Fit a blendshape rig to a video of a head: makes a folder to train from, and to reenact with.

    Args:
        rig: npz file with `v_neutral`, `faces`, `uv`, `faces_uv`, `expr_deltas`, and `expr_names`, `identity_deltas`,
            `face_material`, `material_names` where it has them; +y up, the face looks along +z.
        video: of one person before a still camera and a still background, or a folder of its frames.
        output: the track folder to make.
        calm: a frame that shows the neutral face from the front, counted from 0.
        fov: horizontal field of view of the camera in degrees; found where left out.
        head: left, top and right of the head in the calm frame, ears included, in pixels; where left out the head is
            looked for in what moves.
        landmarks: npz file of `landmarks` [frames, K, 2] in pixels (NaN where not seen) and `landmark_verts` [K], the
            rig's vertices that they are; not needed, but a help where the light is hard.
        leave_out: names of materials whose faces are left out, with * for any letters: layers that let light through.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        fit: how the rig is fitted.
    """

    rig: Positional[Path]
    video: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    calm: int = 0
    fov: float | None = None
    head: tuple[float, float, float] | None = None
    landmarks: Path | None = None
    leave_out: tuple[str, ...] = TRANSPARENT
    device: str = "auto"
    fit: FitConfig = field(default_factory=FitConfig)

    def __call__(self) -> None:
        if self.fov is not None and not 1 <= self.fov <= 150:
            raise SettingError(f"--fov {self.fov:g}: expected 1 to 150 degrees")
        console = Console(stderr=True)
        device = pick_device(self.device)
        rig = load_rig(self.rig, leave_out=self.leave_out)
        with console.status("tracking") as status:
            track = track_video(
                rig,
                self.video,
                self.output,
                device=device,
                leave_out=self.leave_out,
                config=self.fit,
                calm=self.calm,
                fov_deg=self.fov,
                box=self.head,
                landmarks=self.landmarks,
                report=lambda text: status.update(f"tracking, {text}"),
            )
        fov = degrees(float(track.camera.K[0, 0]), track.camera.width)
        console.print(
            f"{len(track.errors)} frames: {self.output}; mean error on the head {float(track.errors.mean()):.3f} of 1 "
            f"(worst: frame {int(track.errors.argmax())}, {float(track.errors.max()):.3f}), field of view {fov:.1f} "
            f"degrees; look at {self.output / 'report.png'}"
        )
        console.print(f"now: neuraltex train {self.output / MESH_FILE} {self.output} -o RUN")


@dataclass(frozen=True)
class Reenact:
    """Render one person with another's expressions.

    Args:
        run: the target: a run trained on a track folder.
        driving: track folder of the person whose expressions are taken.
        output: .mp4, .mov or .mkv, or a name without a suffix for a folder of PNG files.
        pose: whose head poses: the target's own or the driving person's.
        behind: what the head is put before: the target's background without the head ("plate"), the target's own
            frames ("frames"), or the plate with the frames right around the head ("rim"), which is taken at the
            target's own poses where this is left out.
        strength: factor on the expressions.
        device: "auto", "cpu", "cuda", "cuda:1", ...
    """

    run: Positional[Path]
    driving: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    pose: Literal["target", "driving"] = "target"
    behind: Literal["plate", "frames", "rim"] | None = None
    strength: float = 1.0
    device: str = "auto"

    def __call__(self) -> None:
        console = Console(stderr=True)
        written = reenact(
            Run.open(self.run),
            self.driving,
            self.output,
            pick_device(self.device),
            pose=self.pose,
            behind=self.behind,
            strength=self.strength,
        )
        console.print(f"{written} frames: {self.output}")
