"""From a rig and a video of a head to a track folder, by analysis through synthesis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neuraltex.cameras.lookup import list_photographs
from neuraltex.capture.images import read_image
from neuraltex.capture.video import read_video
from neuraltex.errors import InputError, SettingError
from neuraltex.files import is_occupied, whole_folder
from neuraltex.reenactment.background import still_picture
from neuraltex.reenactment.fit import FitConfig, Fitter, Landmarks
from neuraltex.reenactment.head import Head, silhouettes
from neuraltex.reenactment.rig import Rig
from neuraltex.reenactment.start import moved_region, place_in_box, place_in_region, shrink
from neuraltex.reenactment.track_files import Track, write_capture, write_report

# Where nobody tells: between a portrait lens and a webcam.
FOV_DEG = 30.0
FOLDER_FPS = 25.0
TEXTURE_SIZE = 256
NUM_REPORTED = 8


def track_video(
    rig: Rig,
    video: Path,
    output: Path,
    *,
    device: torch.device,
    leave_out: Sequence[str],
    config: FitConfig | None = None,
    calm: int = 0,
    fov_deg: float | None = None,
    box: tuple[float, float, float] | None = None,
    landmarks: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Track:
    """Find a person's identity, and pose and expression in every frame, and leave a folder to train on.

    Args:
        rig: of a head.
        video: of one person before a still camera and a still background; or a folder of its frames.
        output: the track folder to make.
        device: where to compute.
        leave_out: what the rig was loaded without.
        config: how to fit.
        calm: a frame that shows the neutral face from the front.
        fov_deg: horizontal field of view in degrees; found, beginning at 30, where None.
        box: left, top and right of the head, ears included, in the calm frame, in pixels; found by what moves where
            None.
        landmarks: npz file of `landmarks` `[N, K, 2]`, columns and rows in pixels, NaN where not seen, and
            `landmark_verts` `[K]`, the rig's vertices that they are.
        report: told what is going on.

    Raises:
        InputError: a file cannot be read or the folder cannot be made; nothing is left behind then.
        SettingError: a setting that cannot be.
        NeuraltexError: nothing moves, and no box was given.
    """
    if is_occupied(output):
        raise InputError(output, "exists already", hint="remove it or choose another name")
    frames, fps = _read_frames(Path(video))
    if not 0 <= calm < len(frames):
        raise SettingError(f"--calm {calm}: expected a frame of the video, 0 to {len(frames) - 1}")
    config = FitConfig() if config is None else config
    points = None if landmarks is None else read_landmarks(Path(landmarks), frames, len(rig.neutral))
    small = shrink(frames, config.size)
    rig = rig.to(device)
    background = still_picture(small)
    head = Head(rig, background.to(device), len(frames), fov_deg or FOV_DEG, TEXTURE_SIZE)
    if box is not None:
        start = place_in_box(head, box, frames.shape[2], frames.shape[1])
    else:
        start = place_in_region(head, moved_region(small[calm], background))
    fitter = Fitter(head, small, config, points, calm)
    fitter.begin(start.to(device), report)
    fitter.follow(report)
    fitter.refine(report, lens=fov_deg is None)
    with whole_folder(output) as (folder, _):
        track = _summary(head, folder, frames, fps, calm, tuple(leave_out), fitter.errors)
        write_capture(track, _on_cpu(rig), frames, silhouettes(head, frames.shape[1], frames.shape[2]))
        write_report(folder / "report.png", overlays(head, small))
    return replace(track, folder=output)


def _read_frames(video: Path) -> tuple[UInt8[Tensor, "N H W 3"], float]:
    if not video.is_dir():
        decoded = read_video(video)
        return torch.from_numpy(decoded.frames), decoded.info.fps
    found = list_photographs(video)
    if not found:
        raise InputError(video, "holds no pictures", hint="pass a video or a folder of its frames")
    pictures = [read_image(path).rgb for path in found]
    for path, picture in zip(found, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise InputError(path, f"is of another size than {found[0].name}", hint="export all frames at one size")
    return torch.from_numpy(np.stack(pictures)), FOLDER_FPS


def read_landmarks(path: Path, frames: UInt8[Tensor, "N H W 3"], num_verts: int) -> Landmarks:
    """Read points found in a video.

    Raises:
        InputError: the file is missing or broken, or does not fit the video or the rig.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            pixels, verts = stored["landmarks"], stored["landmark_verts"]
    except OSError as error:
        raise InputError(path, f"could not be read ({error.strerror or error})") from error
    except (KeyError, ValueError) as error:
        raise InputError(path, f"does not hold landmarks and landmark_verts ({error})") from error
    if pixels.shape != (len(frames), len(verts), 2) or not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(
            path, f"landmarks: {len(frames)} x {len(verts)} x 2 numbers were expected, got {list(pixels.shape)}"
        )
    if not np.issubdtype(verts.dtype, np.integer) or len(verts) == 0 or verts.min() < 0 or verts.max() >= num_verts:
        raise InputError(path, f"landmark_verts: indices from 0 to {num_verts - 1} were expected")
    shares = torch.from_numpy(pixels).float() / frames.shape[2]
    return Landmarks(shares, torch.from_numpy(verts.astype(np.int64)))


def _summary(
    head: Head,
    folder: Path,
    frames: UInt8[Tensor, "N H W 3"],
    fps: float,
    calm: int,
    leave_out: tuple[str, ...],
    errors: Float[Tensor, "N"],
) -> Track:
    with torch.no_grad():
        every = torch.arange(len(frames), device=head.pivot.device)
        camera = head.camera(frames.shape[1], frames.shape[2])[0]
        expression = head.expression.weight.detach().cpu().clone()
        return Track(
            folder=folder,
            identity=head.identity.detach().cpu().clone(),
            expression=expression,
            calm=calm,
            matrices=head.matrices(every).cpu(),
            camera=replace(camera, K=camera.K.cpu(), w2c=camera.w2c.cpu()),
            names=head.rig.expression_names,
            leave_out=leave_out,
            fps=fps,
            errors=errors.clone(),
        )


def _on_cpu(rig: Rig) -> Rig:
    return rig.to(torch.device("cpu"))


@torch.no_grad()
def overlays(head: Head, frames: UInt8[Tensor, "N H W 3"]) -> list[UInt8[Tensor, "H W3 3"]]:
    """A few frames beside the fitted head and twice the difference, around gray."""
    height, width = frames.shape[1:3]
    rows = []
    for index in np.linspace(0, len(frames) - 1, min(NUM_REPORTED, len(frames))).round().astype(int).tolist():
        verts = head.verts(torch.tensor([index], device=head.pivot.device))[0]
        picture = (head(verts, height, width, head.background)[0].clamp(0, 1) * 255).cpu()
        target = frames[index].float()
        difference = (2 * (target - picture) + 128).clamp(0, 255)
        rows.append(torch.cat([target, picture, difference], dim=1).round().to(torch.uint8))
    return rows


def degrees(focal: float, width: int) -> float:
    """Horizontal field of view of a focal length in pixels."""
    return math.degrees(2 * math.atan(0.5 * width / focal))
