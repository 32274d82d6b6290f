"""The parts of a trained scene where its user puts them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.rotations import matrix_from_quaternion
from neuraltex.geometry import Mesh, Motion, Part, Scene


@dataclass(frozen=True, eq=False)
class Placed:
    """Where everything is.

    Args:
        shown: names of the visible parts, in order.
        verts: `[V, 3]` their vertices, world; without the corrections that `surfaces` tells of.
        condition: `[E]` the surface's state; None where nobody tells.
        frame: of the motion; 0 where there is none.
        version: of the scene, which each change counts up.
    """

    shown: tuple[str, ...]
    verts: Float[Tensor, "V 3"]
    condition: Float[Tensor, "E"] | None
    frame: int
    version: int


class MovableScene:
    """A scene whose parts are moved and hidden while it is being rendered; may be used from several threads.

    Args:
        scene: the parts, in the shape to move; a copy of it is what is moved.
        corrected: where the motion is of the mesh before training corrected it, the same parts afterwards.
        motion: of the mesh file's vertices; None where the mesh rests.
    """

    def __init__(self, scene: Scene, *, corrected: Scene | None = None, motion: Motion | None = None) -> None:
        self.scene = replace(scene, parts=[replace(part) for part in scene])
        self._trained, self._corrected, self.motion = scene, corrected, motion
        self.frame = self.version = 0
        self._lock = threading.Lock()
        self._boxes = {part.name: _box(self._posed(part, 0).world_verts) for part in scene}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parts, in order."""
        return self.scene.part_names

    def center(self, name: str) -> Float[Tensor, "3"]:
        """`[3]` middle of a part where it was trained, in its first pose, world: what it is turned about."""
        return self._boxes[name].mean(dim=0)

    def extent(self, name: str) -> float:
        """Diagonal of a part's box where it was trained, world."""
        return float(self._boxes[name].diff(dim=0).norm())

    def pose(self, name: str) -> Float[Tensor, "4 4"]:
        """`[4, 4]` where the middle and the axes of a part are now, world; at rest its centre and the world's."""
        with self._lock:
            motion = self.scene[name].transform @ torch.linalg.inv(self._trained[name].transform)
        pose = motion.clone()
        pose[:3, 3] = motion[:3, :3] @ self.center(name) + motion[:3, 3]
        return pose

    def is_visible(self, name: str) -> bool:
        """Whether a part is rendered."""
        return self.scene[name].visible

    def move(self, name: str, wxyz: Sequence[float], position: Sequence[float]) -> None:
        """Put a part's middle somewhere and turn the part about it.

        Args:
            name: of the part.
            wxyz: quaternion of the turn from where it was trained.
            position: where its middle comes to lie, world.
        """
        motion = torch.eye(4, dtype=torch.float64)
        motion[:3, :3] = matrix_from_quaternion(torch.tensor([float(x) for x in wxyz], dtype=torch.float64))
        middle = torch.tensor([float(x) for x in position], dtype=torch.float64)
        motion[:3, 3] = middle - motion[:3, :3] @ self.center(name)
        with self._lock:
            self.scene[name].transform = motion @ self._trained[name].transform
            self.version += 1

    def show(self, name: str, visible: bool) -> None:
        """Render a part, or leave it out."""
        with self._lock:
            self.scene[name].visible = visible
            self.version += 1

    def seek(self, frame: int) -> None:
        """Show another frame of the motion, counted from 0."""
        with self._lock:
            self.frame = frame
            self.version += 1

    def reset(self) -> None:
        """Every part where it was trained, and as visible as then."""
        with self._lock:
            for part, trained in zip(self.scene, self._trained, strict=True):
                part.transform, part.visible = trained.transform, trained.visible
            self.version += 1

    def placed(self, frame: int | None = None) -> Placed:
        """Where everything is now.

        Args:
            frame: of the motion; None for the one that was sought last.
        """
        with self._lock:
            frame = self.frame if frame is None else frame
            shown = [part for part in self.scene if part.visible]
            verts = [self._posed(part, frame).world_verts.float() for part in shown]
            conditions = None if self.motion is None else self.motion.conditions
            return Placed(
                tuple(part.name for part in shown),
                torch.cat(verts or [torch.zeros(0, 3)]),
                None if conditions is None else conditions[frame],
                frame,
                self.version,
            )

    def surfaces(self, shown: Sequence[str], device: torch.device) -> tuple[Mesh, Mesh]:
        """The flat meshes of some parts at rest: without corrections, which `Poser` takes, and with them.

        Args:
            shown: names of the parts.
            device: of both.
        """
        rest = _only(self._trained, shown).flatten().to(device)
        return rest, rest if self._corrected is None else _only(self._corrected, shown).flatten().to(device)

    def _posed(self, part: Part, frame: int) -> Part:
        """A part with the vertices that it has in a frame of the motion."""
        if self.motion is None:
            return part
        return replace(part, verts=self.motion.frame(frame)[part.source_verts].double())


def _only(scene: Scene, shown: Sequence[str]) -> Scene:
    return replace(scene, parts=[replace(part, visible=part.name in shown) for part in scene])


def _box(verts: Float[Tensor, "V 3"]) -> Float[Tensor, "2 3"]:
    """Lowest and highest corner; the origin where there is nothing."""
    return torch.stack([verts.amin(0), verts.amax(0)]) if len(verts) else torch.zeros(2, 3, dtype=verts.dtype)
