"""The parts of a trained scene where its user puts them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.rotations import matrix_from_quaternion
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.scene import Scene


class MovableScene:
    """A scene whose parts are moved and hidden while it is being rendered; may be used from several threads.

    Args:
        scene: parts with the vertices to render; it is changed.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.version = 0
        self._lock = threading.Lock()
        self._rest = {part.name: part.transform.clone() for part in scene}
        self._boxes = {part.name: _box(part.world_verts) for part in scene}
        self._shown = {part.name: part.visible for part in scene}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parts, in order."""
        return self.scene.part_names

    def center(self, name: str) -> Float[Tensor, "3"]:
        """`[3]` middle of a part where it was trained, world: what it is turned about."""
        return self._boxes[name].mean(dim=0)

    def extent(self, name: str) -> float:
        """Diagonal of a part's box where it was trained, world."""
        return float(self._boxes[name].diff(dim=0).norm())

    def pose(self, name: str) -> Float[Tensor, "4 4"]:
        """`[4, 4]` where the middle and the axes of a part are now, world; at rest its centre and the world's."""
        with self._lock:
            motion = self.scene[name].transform @ torch.linalg.inv(self._rest[name])
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
            self.scene[name].transform = motion @ self._rest[name]
            self.version += 1

    def show(self, name: str, visible: bool) -> None:
        """Render a part, or leave it out."""
        with self._lock:
            self.scene[name].visible = visible
            self.version += 1

    def reset(self) -> None:
        """Every part where it was trained, and as visible as then."""
        with self._lock:
            for part in self.scene:
                part.transform, part.visible = self._rest[part.name], self._shown[part.name]
            self.version += 1

    def flatten(self) -> tuple[Mesh, int]:
        """The flat mesh of what is visible, where it is now, and the version that this is."""
        with self._lock:
            return self.scene.flatten(), self.version


def _box(verts: Float[Tensor, "V 3"]) -> Float[Tensor, "2 3"]:
    """Lowest and highest corner; the origin where there is nothing."""
    return torch.stack([verts.amin(0), verts.amax(0)]) if len(verts) else torch.zeros(2, 3, dtype=verts.dtype)
