"""One person's expressions on another, rendered by the other's neural texture before the other's background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from neuraltex.capture.images import read_image
from neuraltex.capture.video_writer import write_video
from neuraltex.errors import InputError, SettingError
from neuraltex.files import is_occupied
from neuraltex.frames import FrameRenderer
from neuraltex.geometry.motion import Motion
from neuraltex.geometry.poser import Poser
from neuraltex.reenactment.rig import Rig
from neuraltex.reenactment.track_files import BACKGROUND_FILE, Track
from neuraltex.rendering import SECONDS_A_FRAME
from neuraltex.training.run import Run

# Pixels around the head in which the target's own frames show.
RIM = 4


@dataclass(frozen=True)
class Performance:
    """What the target is to do.

    Args:
        expression: `[N, E]` the target rig's coefficients.
        matrices: `[N, 4, 4]` head to world.
    """

    expression: Float[Tensor, "N E"]
    matrices: Float[Tensor, "N 4 4"]


def reenact(
    run: Run,
    driving: Path,
    output: Path,
    device: torch.device,
    *,
    pose: str = "target",
    behind: str | None = None,
    strength: float = 1.0,
    erode: int = 1,
) -> int:
    """Render the person of a run with the expressions of another track.

    Args:
        run: trained on a track folder.
        driving: track folder of the person whose expressions are taken.
        output: a video file, or a folder of PNG files where the name has no suffix.
        device: where to compute.
        pose: "target" for the target's own head poses, frame by frame as far as both go; "driving" for those of the
            other, relative to the calm frames.
        behind: "plate" for the target's background without the head; "frames" for the target's own frames; "rim" for
            the plate with the target's own frames right around the head, where a mesh is most wrong and the frames
            show the same pose. None for "rim" at the target's poses, for "plate" at others.
        strength: factor on the expressions.
        erode: pixels that are taken off the head's rim, where a mesh is most wrong, before it is blended.

    Returns:
        The frames written.

    Raises:
        InputError: a run or track is missing, broken or of another kind, or the output cannot be written.
        SettingError: a setting that cannot be.
    """
    if behind in ("frames", "rim") and pose == "driving":
        raise SettingError(f"--behind {behind}: the target's own frames show its own poses; use --behind plate")
    if behind is None:
        behind = "plate" if pose == "driving" else "rim"
    if is_occupied(output) and output.is_dir():
        raise InputError(output, "exists already", hint="remove it or choose another name")
    target, other = Track.open(Path(run.config.source.photos)), Track.open(driving)
    rig = target.load_rig()
    performance = carry_over(target, other, pose=pose, strength=strength)
    frames = render_performance(run, target, rig, performance, device)
    backdrop = Backdrop(target, behind)
    pictures = (composite(frame.cpu(), backdrop(index, frame.cpu()), erode=erode) for index, frame in enumerate(frames))
    write_video(output, pictures, other.fps if pose == "driving" else target.fps)
    return len(performance.expression)


def carry_over(target: Track, driving: Track, *, pose: str = "target", strength: float = 1.0) -> Performance:
    """The driving person's expressions, relative to their neutral face, on the target's neutral face.

    Args:
        target: who will show them.
        driving: who showed them. Expressions are matched by name; those the driving rig lacks stay neutral.
        pose: whose head poses, as in `reenact`.
        strength: factor on the expressions.

    Raises:
        InputError: the two rigs have no expression in common.
    """
    shared = [name for name in target.names if name in driving.names]
    if not shared:
        raise InputError(driving.folder, "is of a rig that has no expression in common with the target's")
    count = len(driving.expression) if pose == "driving" else min(len(driving.expression), len(target.expression))
    ours = [target.names.index(name) for name in shared]
    theirs = [driving.names.index(name) for name in shared]
    expression = target.neutral.expand(count, -1).clone()
    expression[:, ours] += strength * (driving.expression[:count] - driving.neutral)[:, theirs]
    if pose == "target":
        return Performance(expression.clamp(0, 1), target.matrices[:count])
    relative = torch.linalg.inv(driving.matrices[driving.calm]) @ driving.matrices
    return Performance(expression.clamp(0, 1), target.matrices[target.calm] @ relative)


def render_performance(
    run: Run, target: Track, rig: Rig, performance: Performance, device: torch.device
) -> Iterator[UInt8[Tensor, "H W 4"]]:
    """Render the head alone, frame by frame, with alpha.

    Args:
        run: trained on the track folder.
        target: that track.
        rig: of the track.
        performance: what to show.
        device: where to compute.

    Raises:
        InputError: the run is not trained, or it was not trained on this track's mesh.
    """
    scene = run.load_scene()
    rest = scene.flatten().to(device)
    if any(int(part.source_verts.max()) >= len(rig.neutral) for part in scene.parts):
        raise InputError(run.folder, "was not trained on the mesh of its track", hint="train it on mesh.obj in there")
    shader, _ = run.load_model(device)
    count = len(performance.expression)
    renderer = FrameRenderer(
        run.load_mesh(device), shader, poser=Poser(rest), seconds=SECONDS_A_FRAME * count, alpha=True
    )
    cameras = run.load_cameras()[:1].to(device)
    for k in range(count):
        expression, matrix = performance.expression[k : k + 1], performance.matrices[k : k + 1]
        verts = target.verts(rig, expression, matrix)
        flat = Motion(verts, target.fps).onto(scene).frame(0)
        renderer.pose(flat.to(device), expression[0].to(device))
        yield renderer(cameras)[0]


class Backdrop:
    """What a target's head is put before, frame by frame.

    Args:
        target: its track.
        behind: "plate", "frames" or "rim", as in `reenact`.

    Raises:
        InputError: a picture of the track is missing.
    """

    def __init__(self, target: Track, behind: str) -> None:
        self.target, self.behind = target, behind
        self.plate = torch.from_numpy(read_image(target.folder / BACKGROUND_FILE).rgb)

    def __call__(self, index: int, rgba: UInt8[Tensor, "H W 4"]) -> UInt8[Tensor, "H W 3"]:
        """`[H, W, 3]` behind the frame `index`, whose head is `rgba`."""
        if self.behind == "plate":
            return self.plate
        own = torch.from_numpy(read_image(self.target.folder / "images" / f"{index:06d}.png").rgb)
        if self.behind == "frames":
            return own
        near = avg_pool2d(max_pool2d(rgba[None, ..., 3].float() / 255, 2 * RIM + 1, 1, RIM), 3, 1, 1)[0, ..., None]
        return (own.float() * near + self.plate.float() * (1 - near)).round().to(torch.uint8)


def composite(
    rgba: UInt8[Tensor, "H W 4"], background: UInt8[Tensor, "H W 3"], *, erode: int = 1
) -> UInt8[Tensor, "H W 3"]:
    """A head over a background, its rim taken off and softened.

    Args:
        rgba: `[H, W, 4]` colour and coverage.
        background: `[H, W, 3]`.
        erode: pixels to take off; 0 blends by coverage as it is.
    """
    alpha = rgba[None, ..., 3].float() / 255
    if erode > 0:
        alpha = -max_pool2d(-alpha, 2 * erode + 1, 1, erode)
        alpha = avg_pool2d(alpha, 2 * erode + 1, 1, erode, count_include_pad=False)
    alpha = alpha[0, ..., None]
    return (rgba[..., :3].float() * alpha + background.float() * (1 - alpha)).round().to(torch.uint8)
