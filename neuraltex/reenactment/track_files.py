"""The track folder: what was found in a video of a head, and a capture that a neural texture can be trained on.

mesh.obj             the person's neutral face, as the calm frame shows it
motion.safetensors   the same mesh in every frame, in the camera's world, and the expression coefficients
transforms.json      one camera for all frames; images/ and masks/ belong to it
track.safetensors    identity, expressions and head poses
rig.npz              the rig they are coefficients of
background.png       what lies behind the head
report.png           every few frames: the video, the fitted head, and twice their difference
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.nerfstudio import write_transforms
from neuraltex.capture.images import write_image
from neuraltex.errors import InputError
from neuraltex.files import whole_file
from neuraltex.geometry.motion import Motion
from neuraltex.geometry.obj_writer import write_obj
from neuraltex.geometry.scene import Scene
from neuraltex.reenactment.background import background_plate
from neuraltex.reenactment.rig import Rig, load_rig
from neuraltex.training.checkpoint import load_tensors, save_tensors

TRACK_FILE, RIG_FILE, MESH_FILE, BACKGROUND_FILE = "track.safetensors", "rig.npz", "mesh.obj", "background.png"
TENSORS = ("identity", "expression", "matrices", "errors")


@dataclass(frozen=True)
class Track:
    """One person's performance in a video.

    Args:
        folder: that it was read from, or will be written to.
        identity: `[I]` coefficients.
        expression: `[N, E]` coefficients, a frame.
        calm: the frame that shows the neutral face.
        matrices: `[N, 4, 4]` head to world, a frame.
        camera: a single one, for all frames.
        names: of the expressions.
        leave_out: the materials of the rig that were left out.
        fps: frames a second.
        errors: `[N]` mean error in colour on the head, a frame.
    """

    folder: Path
    identity: Float[Tensor, "I"]
    expression: Float[Tensor, "N E"]
    calm: int
    matrices: Float[Tensor, "N 4 4"]
    camera: Camera
    names: tuple[str, ...]
    leave_out: tuple[str, ...]
    fps: float
    errors: Float[Tensor, "N"]

    @staticmethod
    def open(folder: str | Path) -> Track:
        """Read a track folder.

        Raises:
            InputError: it is none, or it is broken.
        """
        folder = Path(folder)
        path = folder / TRACK_FILE
        if not path.is_file():
            raise InputError(
                folder, f"is no track folder, {TRACK_FILE} is missing", hint="make one with neuraltex track"
            )
        tensors, state = load_tensors(path)
        try:
            return Track(
                folder=folder,
                **{name: tensors[name] for name in TENSORS},
                camera=Camera(tensors["K"], tensors["w2c"], int(state["width"]), int(state["height"])),
                names=tuple(state["names"]),
                leave_out=tuple(state["leave_out"]),
                calm=int(state["calm"]),
                fps=float(state["fps"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(path, f"does not hold a track ({error})", hint="track the video again") from error

    @property
    def neutral(self) -> Float[Tensor, "E"]:
        """`[E]` what the expression coefficients are when this face is calm."""
        return self.expression[self.calm]

    def save(self) -> None:
        """Write `track.safetensors`.

        Raises:
            InputError: it cannot be written.
        """
        tensors = {name: getattr(self, name) for name in TENSORS}
        tensors |= {"K": self.camera.K, "w2c": self.camera.w2c}
        state: dict[str, Any] = {"names": list(self.names), "leave_out": list(self.leave_out), "fps": self.fps}
        state |= {"calm": self.calm}
        state |= {"width": self.camera.width, "height": self.camera.height}
        save_tensors(self.folder / TRACK_FILE, tensors, state)

    def load_rig(self) -> Rig:
        """The rig that the coefficients belong to.

        Raises:
            InputError: its file is missing or broken.
        """
        return load_rig(self.folder / RIG_FILE, leave_out=self.leave_out)

    def verts(
        self, rig: Rig, expression: Float[Tensor, "N E"], matrices: Float[Tensor, "N 4 4"]
    ) -> Float[Tensor, "N V 3"]:
        """This person's vertices in the world, under any expressions and at any head poses."""
        still = rig.verts(self.identity, expression)
        return still @ matrices[:, :3, :3].transpose(1, 2) + matrices[:, None, :3, 3]


def write_capture(track: Track, rig: Rig, frames: UInt8[Tensor, "N H W 3"], masks: Bool[Tensor, "N H W"]) -> None:
    """Fill the track's folder, which exists and is empty.

    Args:
        track: what was found.
        rig: that it was found with.
        frames: `[N, H, W, 3]` the video.
        masks: `[N, H, W]` where the fitted head is seen.

    Raises:
        InputError: a file cannot be written.
    """
    folder = track.folder
    verts = track.verts(rig, track.expression, track.matrices)
    Motion(verts, track.fps, track.expression).save(folder / "motion.safetensors")
    at_rest = track.verts(rig, track.neutral[None], track.matrices[track.calm][None])[0]
    part = replace(rig.scene.parts[0], verts=at_rest.double())
    write_obj(Scene([part], rig.scene.materials, rig.source), folder / MESH_FILE)
    listed = []
    for k in range(len(frames)):
        image, mask = folder / "images" / f"{k:06d}.png", folder / "masks" / f"{k:06d}.png"
        write_image(image, frames[k].numpy())
        write_image(mask, masks[k].numpy().astype(np.uint8) * 255)
        listed.append(CameraFrame(f"images/{k:06d}.png", image, mask, track.camera, frame_index=k))
    write_transforms(folder / "transforms.json", listed, fps=track.fps)
    write_image(folder / BACKGROUND_FILE, background_plate(frames, masks).numpy())
    with whole_file(folder / RIG_FILE) as temporary:
        shutil.copyfile(rig.source, temporary)
    track.save()


def write_report(path: Path, rows: Sequence[UInt8[Tensor, "H W 3"]]) -> None:
    """Pictures below each other.

    Raises:
        InputError: the file cannot be written.
    """
    write_image(path, torch.cat(list(rows)).numpy())
