"""A mesh in motion: one topology, the positions of its vertices frame for frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuraltex.errors import InputError
from neuraltex.files import whole_file
from neuraltex.geometry.scene import Scene

# Frames a second of a motion whose file does not tell.
FPS = 30.0


@dataclass(frozen=True, eq=False)
class Motion:
    """Vertices of a mesh at equal steps of time.

    Args:
        verts: `[N, V, 3]` positions in N frames. As files hold them: of the mesh file's vertices, in its frame and
            unit. After `onto`: of a flat mesh's vertices, in the world.
        fps: frames a second.
        conditions: `[N, E]` numbers that tell the state of the surface, such as the coefficients of an expression,
            which its looks may depend on beside its shape; None where nobody tells.

    Raises:
        ValueError: no frames, a rate that is not above 0, or conditions of another number of frames.
    """

    verts: Float[Tensor, "N V 3"]
    fps: float = FPS
    conditions: Float[Tensor, "N E"] | None = None

    def __post_init__(self) -> None:
        if len(self.verts) < 1:
            raise ValueError("verts: expected at least one frame")
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps: expected frames a second above 0, got {self.fps}")
        if self.conditions is not None and len(self.conditions) != len(self.verts):
            raise ValueError(f"conditions: expected {len(self.verts)} rows, one a frame, got {len(self.conditions)}")

    @property
    def num_frames(self) -> int:
        """How many frames there are."""
        return len(self.verts)

    def frame(self, index: int) -> Float[Tensor, "V 3"]:
        """`[V, 3]` positions of one frame, counted from 0.

        Raises:
            ValueError: there is no such frame.

        Differentiable in: verts.
        """
        if not 0 <= index < self.num_frames:
            raise ValueError(f"frame: expected 0 to {self.num_frames - 1}, got {index}")
        return self.verts[index]

    def at(self, seconds: float, *, loop: bool = False) -> Float[Tensor, "V 3"]:
        """`[V, 3]` positions at a time, linear between frames.

        Args:
            seconds: 0 is the first frame.
            loop: begin anew after the last frame, which leads back to the first; else the first frame is held before
                the motion and the last one after it.

        Differentiable in: verts.
        """
        return self._blended(self.verts, seconds, loop)

    def condition_at(self, seconds: float, *, loop: bool = False) -> Float[Tensor, "E"] | None:
        """`[E]` the surface's state at a time, as `at` gives its shape; None where nobody tells."""
        return None if self.conditions is None else self._blended(self.conditions, seconds, loop)

    def _blended(self, rows: Tensor, seconds: float, loop: bool) -> Tensor:
        place = seconds * self.fps
        place = place % self.num_frames if loop else min(max(place, 0.0), self.num_frames - 1.0)
        first = min(int(place), self.num_frames - 1)
        second = (first + 1) % self.num_frames if loop else min(first + 1, self.num_frames - 1)
        share = place - first
        # A frame that is hit is handed out as it is, bit for bit.
        return rows[first] if share == 0 else torch.lerp(rows[first], rows[second], share)

    def to(self, device: torch.device | str) -> Motion:
        """The same motion on `device`."""
        conditions = None if self.conditions is None else self.conditions.to(device)
        return Motion(self.verts.to(device), self.fps, conditions)

    def onto(self, scene: Scene) -> Motion:
        """The motion of a scene's flat mesh: the file's vertices that its visible parts took, where their transforms
        put them.

        Args:
            scene: read from the file that this is a motion of.

        Raises:
            ValueError: the scene has vertices that the motion lacks.

        Differentiable in: verts.
        """
        num = self.verts.shape[1]
        moved = [self.verts.new_zeros(self.num_frames, 0, 3)]
        for part in scene.parts:
            if not part.visible:
                continue
            if len(part.source_verts) and int(part.source_verts.max()) >= num:
                raise ValueError(
                    f"verts: expected more than {int(part.source_verts.max())} vertices for the part {part.name!r}, "
                    f"got {num}"
                )
            verts = self.verts.index_select(1, part.source_verts.to(self.verts.device))
            if not torch.equal(part.transform, torch.eye(4, dtype=torch.float64)):
                transform = part.transform.to(verts.device)
                verts = (verts.double() @ transform[:3, :3].T + transform[:3, 3]).to(verts.dtype)
            moved.append(verts)
        return Motion(torch.cat(moved, dim=1), self.fps, self.conditions)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all: `verts` and `conditions` as float32, `fps` in the header.

        Raises:
            InputError: the file cannot be written.
        """
        tensors = {"verts": self.verts.detach().cpu().float().contiguous()}
        if self.conditions is not None:
            tensors["conditions"] = self.conditions.detach().cpu().float().contiguous()
        with whole_file(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={"fps": repr(float(self.fps))})
            except SafetensorError as error:
                raise OSError(str(error)) from error

    @staticmethod
    def load(path: str | Path) -> Motion:
        """Read what `save` wrote; files of other programs are read by `read_motion`.

        Raises:
            InputError: the file is missing, damaged, or holds no motion.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(path, "is a folder, a motion file was expected" if path.is_dir() else "does not exist")
        try:
            with safe_open(path, framework="pt") as stored:
                verts = stored.get_tensor("verts")
                conditions = stored.get_tensor("conditions") if "conditions" in stored.keys() else None  # noqa: SIM118
                fps = float((stored.metadata() or {}).get("fps", FPS))
        except (SafetensorError, OSError, ValueError, TypeError, MemoryError, RuntimeError) as error:
            raise InputError(path, f"is not a motion file ({error})", hint="it holds verts [N, V, 3]") from error
        return checked_motion(path, verts, fps, conditions)


def checked_motion(path: Path, verts: Tensor, fps: float, conditions: Tensor | None = None) -> Motion:
    """A motion out of what a file held, as float32.

    Raises:
        InputError: other numbers than positions were found; names the frame where one is not finite.
    """
    if verts.ndim != 3 or verts.shape[2] != 3 or not verts.is_floating_point():
        raise InputError(path, f"verts: numbers [frames, vertices, 3] were expected, found {list(verts.shape)}")
    if not len(verts):
        raise InputError(path, "holds no frames")
    if not 0 < fps < math.inf:
        raise InputError(path, f"fps: frames a second above 0 were expected, found {fps:g}")
    verts = verts.float()
    broken = (~verts.isfinite().flatten(1).all(dim=1)).nonzero()
    if len(broken):
        raise InputError(path, "a vertex is not finite", frame=int(broken[0]), hint="export the motion again")
    if conditions is None:
        return Motion(verts, fps)
    if conditions.ndim != 2 or len(conditions) != len(verts) or not bool(conditions.isfinite().all()):
        raise InputError(
            path, f"conditions: {len(verts)} rows of finite numbers were expected, found {list(conditions.shape)}"
        )
    return Motion(verts, fps, conditions.float())
