"""A mesh that moves while it is photographed: which pose each photograph shows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.capture import Capture
from neuraltex.errors import InputError, InputWarning
from neuraltex.geometry import Mesh, Motion, Poser, Scene, read_motion
from neuraltex.training.checkpoint import load_tensors, save_tensors

MOTION_FILE, FRAMES_FILE = "motion.safetensors", "motion_frames.safetensors"


@dataclass(frozen=True, eq=False)
class CapturedMotion:
    """How a mesh moved while it was photographed.

    Args:
        motion: of the mesh file's vertices; the one that is rendered by default.
        elsewhere: `[M, V, 3]` poses of held-out photographs that were taken of another motion.
        elsewhere_conditions: `[M, E]` the surface's state in those, where the motion tells its own.
        frames: `[P]` of each photograph of the capture, which pose it shows: a frame of `motion`, or past its last one
            a row of `elsewhere`.
    """

    motion: Motion
    elsewhere: Float[Tensor, "M V 3"]
    frames: Int[Tensor, "P"]
    elsewhere_conditions: Float[Tensor, "M E"] | None = None

    def save(self, folder: Path) -> None:
        """Keep it in a run folder; the motion itself is a file that `read_motion` reads.

        Raises:
            InputError: a file cannot be written.
        """
        self.motion.save(folder / MOTION_FILE)
        tensors = {"frames": self.frames, "elsewhere": self.elsewhere}
        if self.elsewhere_conditions is not None:
            tensors["elsewhere_conditions"] = self.elsewhere_conditions
        save_tensors(folder / FRAMES_FILE, tensors, {})

    @staticmethod
    def load(folder: Path) -> CapturedMotion | None:
        """Read what `save` wrote; None where the run's mesh does not move.

        Raises:
            InputError: a file is broken.
        """
        if not (folder / MOTION_FILE).exists():
            return None
        motion, path = Motion.load(folder / MOTION_FILE), folder / FRAMES_FILE
        tensors, _ = load_tensors(path)
        frames, elsewhere = tensors.get("frames"), tensors.get("elsewhere")
        num_verts = motion.verts.shape[1]
        if frames is None or elsewhere is None or frames.ndim != 1 or elsewhere.shape[1:] != (num_verts, 3):
            raise InputError(
                path, f"does not hold the poses of photographs, of {num_verts} vertices", hint="train again"
            )
        if len(frames) and not 0 <= int(frames.min()) <= int(frames.max()) < motion.num_frames + len(elsewhere):
            raise InputError(path, "names a frame that the motion does not have", hint="train again")
        return CapturedMotion(motion, elsewhere, frames, tensors.get("elsewhere_conditions"))

    def onto(self, scene: Scene, photographs: Int[Tensor, "P"], rest: Mesh) -> MovingMesh:
        """The flat mesh of a scene as some of the photographs show it.

        Args:
            scene: that the motion was read for.
            photographs: `[P]` which of the capture's.
            rest: the scene's flat buffers, as loaded, on the device to compute on.

        Raises:
            InputError: the capture has photographs that it did not have before.
        """
        if len(photographs) and int(photographs.max()) >= len(self.frames):
            raise InputError(
                scene.source,
                f"the capture has more than the {len(self.frames)} photographs that its motion was read for",
                hint="train again",
            )
        frames, rows = self.frames[photographs].unique(return_inverse=True)
        every = torch.cat([self.motion.verts, self.elsewhere])[frames]
        flat = Motion(every, self.motion.fps).onto(scene)
        device = rest.verts.device
        conditions = self.motion.conditions
        if conditions is not None:
            others = conditions[:0] if self.elsewhere_conditions is None else self.elsewhere_conditions
            conditions = torch.cat([conditions, others])[frames].to(device)
        return MovingMesh(rest, flat.verts.to(device), rows.to(device), conditions)


class MovingMesh:
    """The mesh of each of a list of photographs, on the device.

    Args:
        rest: the scene's flat buffers, as loaded.
        verts: `[N, V, 3]` poses of its vertices, world.
        rows: `[P]` which pose each photograph shows.
        conditions: `[N, E]` the surface's state in each pose; None where nobody tells.
    """

    def __init__(
        self,
        rest: Mesh,
        verts: Float[Tensor, "N V 3"],
        rows: Int[Tensor, "P"],
        conditions: Float[Tensor, "N E"] | None = None,
    ) -> None:
        self.poser, self.verts, self.rows, self.conditions = Poser(rest), verts, rows, conditions

    def meshes(self, indices: Int[Tensor, "B"], shape: Mesh | None = None) -> list[Mesh]:
        """One mesh a photograph; waits for nothing.

        Args:
            indices: `[B]` which photographs, on the device.
            shape: the mesh with its corrections, as in `Poser.pose`.

        Differentiable in: shape.
        """
        rows = self.rows.index_select(0, indices)
        posed = [self.poser.pose(verts, shape) for verts in self.verts.index_select(0, rows).unbind(0)]
        if self.conditions is None:
            return posed
        conditions = self.conditions.index_select(0, rows).unbind(0)
        return [replace(mesh, condition=condition) for mesh, condition in zip(posed, conditions, strict=True)]


def read_captured_motion(
    path: Path | None, capture: Capture, held_out: Path | None, scene: Scene, *, fps: float | None = None
) -> CapturedMotion | None:
    """The motion of a capture, from a file or from the capture's own folder.

    Photograph i shows frame i of the motion: i is its `frame_index` where the camera file tells it (frames of a video),
    else its place in that file, entries without a photograph counted.

    Args:
        path: as for `read_motion`; None for the capture's own `motion.safetensors`, if it has one.
        capture: the photographs, with those of `held_out` behind them.
        held_out: folder of another capture whose photographs are held out. They show its own `motion.safetensors`;
            without one, frames of the same motion.
        scene: of the mesh file.
        fps: as for `read_motion`; None for the video's own.

    Returns:
        None where there is neither a path nor such a file.

    Raises:
        InputError: the motion cannot be read, or its frames are not those of the photographs.
    """
    path = find_motion(capture.source) if path is None else path
    if path is None:
        return None
    motion = read_motion(path, scene, fps=capture.fps if fps is None else fps)
    frames = capture.frame_indices.clone()
    own = frames if held_out is None else frames[capture.train_indices]
    _check_frames(path, motion, capture, own)
    elsewhere, conditions = motion.verts[:0], None
    if held_out is not None:
        other = find_motion(held_out)
        rest = frames[capture.test_indices]
        if other is not None:
            moved = read_motion(other, scene)
            elsewhere, conditions = moved.verts, moved.conditions
            _check_conditions(other, motion.conditions, conditions)
        last = (motion.num_frames if other is None else len(elsewhere)) - 1
        if len(rest) and int(rest.max()) > last:
            raise InputError(
                held_out if other is None else other,
                f"its photographs show frames up to {int(rest.max())}, the last of their motion is {last}",
                hint=f"held-out photographs of another motion need a {MOTION_FILE} in their folder",
            )
        if other is not None:
            frames[capture.test_indices] = rest + motion.num_frames
    return CapturedMotion(motion, elsewhere, frames, conditions)


def _check_conditions(path: Path, ours: Tensor | None, theirs: Tensor | None) -> None:
    """Whether another motion tells as much of the surface's state as the one that is learned from."""
    if ours is not None and (theirs is None or theirs.shape[1] != ours.shape[1]):
        found = "none" if theirs is None else str(theirs.shape[1])
        raise InputError(path, f"conditions: {ours.shape[1]} numbers a frame were expected, found {found}")


def find_motion(source: Path) -> Path | None:
    """The motion that a capture folder holds."""
    found = source / MOTION_FILE
    return found if source.is_dir() and found.exists() else None


def _check_frames(path: Path, motion: Motion, capture: Capture, shown: Int[Tensor, "P"]) -> None:
    """Whether the motion has the frames that the photographs show, and no more where they cannot be told apart."""
    num, last = motion.num_frames, int(shown.max())
    if last >= num:
        raise InputError(
            path,
            f"holds {num} frames, the photographs of {capture.source} show frames up to {last}",
            hint="export one frame of the mesh for each frame of the capture",
        )
    if capture.num_frames is None or capture.num_frames == num:
        return
    if capture.fps is None:
        raise InputError(
            path,
            f"holds {num} frames, the cameras of {capture.source} {capture.num_frames}",
            hint="give every entry of the camera file the frame_index that it shows",
        )
    warnings.warn(
        f"{path}: holds {num} frames, the video {capture.source} {capture.num_frames}; frame i is taken to belong to "
        "frame i",
        InputWarning,
        stacklevel=3,
    )
