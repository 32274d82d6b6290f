"""The scene that an edit script is given: parts to move, copy, hide and deform, anew for each time."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from neuraltex.cameras.rotations import so3_exp
from neuraltex.editing.split import Vector, faces_where, sub_part, vector_of
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.part import Part, identity
from neuraltex.geometry.poser import Poser
from neuraltex.geometry.scene import Scene

Frame = Literal["part", "world"]
Deformation = Callable[[npt.NDArray[np.float64]], npt.ArrayLike]
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
# What a turned part looks like goes along: 0.03 dB better around the part that benchmarks.edits turns by 130 degrees.
DEFAULT_FRAME: Frame = "part"


@dataclass(frozen=True)
class Staged:
    """A scene after an edit, ready to be rendered.

    Args:
        mesh: flat buffers of what is visible.
        rest: the same faces before the edit: a copy's are those of what it was copied from, and one that wears another
            part's texture has that part's.
        turns: `[P, 3, 3]` how each part of `mesh.part_names` was turned where its view dependence follows it, and
            nothing where that follows the world.
        changed: whether anything differs from the scene as it was photographed.
    """

    mesh: Mesh
    rest: Mesh
    turns: Float[Tensor, "P 3 3"]
    changed: bool

    def to(self, device: torch.device | str) -> Staged:
        """The same with every buffer on `device`."""
        return Staged(self.mesh.to(device), self.rest.to(device), self.turns.to(device), self.changed)


class Actor:
    """One part, as a script moves it. Each call adds to those before it, in world axes; all return the actor itself.

    Args:
        stage: the scene it belongs to.
        part: what it shows, in its place before the edit.
        origin: the photographed part that it is, or was split from; None for a copy.
    """

    def __init__(self, stage: Stage, part: Part, origin: str | None = None) -> None:
        self._stage, self.part, self.origin = stage, part, origin
        self.matrix = identity()
        self.visible = part.visible
        self.view_dependence: Frame = DEFAULT_FRAME
        self._parent: Actor | None = None
        self._verts: Tensor | None = None
        self._texture: Part | None = None

    @property
    def name(self) -> str:
        """The part's name."""
        return self.part.name

    @property
    def center(self) -> npt.NDArray[np.float64]:
        """`[3]` middle of the part's box where it is now, without what it is attached to; world."""
        verts = self._shape @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        middle: npt.NDArray[np.float64] = ((verts.amin(0) + verts.amax(0)) / 2).numpy()
        return middle

    def move(self, offset: Vector) -> Actor:
        """Shift by `offset`, three numbers in scene units, world axes.

        Raises:
            ValueError: not three finite numbers.
        """
        motion = identity()
        motion[:3, 3] = vector_of("move", offset)
        return self.transform(motion)

    def rotate(self, degrees: float, axis: str | Vector = "z", *, about: Vector | None = None) -> Actor:
        """Turn by an angle, counterclockwise seen against the axis.

        Args:
            degrees: of the turn.
            axis: "x", "y" or "z" of the world, or a direction.
            about: a point on the axis, world; the part's centre where left out.

        Raises:
            ValueError: numbers that are not finite, an unknown axis, or one without length.
        """
        if isinstance(axis, str) and axis not in AXES:
            raise ValueError(f"rotate: expected an axis x, y, z or a direction, got {axis!r}")
        direction = vector_of("rotate: axis", AXES[axis] if isinstance(axis, str) else axis)
        if not math.isfinite(degrees):
            raise ValueError(f"rotate: expected a finite angle, got {degrees}")
        longest = direction.abs().amax()
        if float(longest) == 0:
            raise ValueError("rotate: expected an axis with a length, got 0 0 0")
        motion = identity()
        motion[:3, :3] = so3_exp(normalize(direction / longest, dim=0) * math.radians(degrees))
        return self._about(motion, about)

    def scale(self, factor: float | Vector, *, about: Vector | None = None) -> Actor:
        """Make larger or smaller; three factors scale along the world's axes.

        Args:
            factor: one number or three, none 0; negative ones mirror.
            about: the point that stays, world; the part's centre where left out.

        Raises:
            ValueError: a factor that is 0 or not finite.
        """
        factors = vector_of(
            "scale", np.full(3, factor) if isinstance(factor, float | int) or np.ndim(factor) == 0 else factor
        )
        if bool((factors == 0).any()):
            raise ValueError(f"scale: expected factors other than 0, which flattens the part, got {factors.tolist()}")
        motion = identity()
        motion[:3, :3] = torch.diag(factors)
        return self._about(motion, about)

    def transform(self, motion: npt.ArrayLike | Tensor) -> Actor:
        """Move by any 4 by 4 matrix, world to world, column vectors.

        Raises:
            ValueError: another shape, numbers that are not finite, a last row other than 0 0 0 1, or a matrix that
                flattens the part.
        """
        # A part checks the transforms that it is given.
        checked = replace(self.part)
        checked.transform = torch.as_tensor(motion, dtype=torch.float64)
        self.matrix = checked.transform @ self.matrix
        return self

    def _about(self, motion: Tensor, about: Vector | None) -> Actor:
        pivot = vector_of("about", self.center if about is None else about)
        motion[:3, 3] = pivot - motion[:3, :3] @ pivot
        return self.transform(motion)

    def hide(self) -> Actor:
        """Leave the part out."""
        self.visible = False
        return self

    def show(self) -> Actor:
        """Put it back in."""
        self.visible = True
        return self

    def deform(self, function: Deformation) -> Actor:
        """Move its vertices one by one, before all other motions.

        Args:
            function: gets `[V, 3]` positions in the world, as photographed or as deformed before, and returns as many.

        Raises:
            ValueError: another shape came back, or numbers that are not finite.
        """
        verts = self._shape
        returned = function(verts.numpy().copy())
        if returned is None:
            raise ValueError(f"deform: expected the positions of {self.name!r} back, got None; does it return them?")
        moved = torch.as_tensor(np.asarray(returned, dtype=np.float64))
        if moved.shape != verts.shape:
            raise ValueError(
                f"deform: expected {list(verts.shape)} positions of {self.name!r} back, got {list(moved.shape)}"
            )
        if not bool(moved.isfinite().all()):
            raise ValueError(
                f"deform: expected finite positions, got others for {int((~moved.isfinite()).any(1).sum())} vertices "
                f"of {self.name!r}"
            )
        self._verts = moved
        return self

    def attach(self, parent: Actor | str) -> Actor:
        """Let it go along with all motions of another part, whenever they are given.

        Raises:
            ValueError: no such part, or one that hangs on this one already.
        """
        above = self._stage[parent] if isinstance(parent, str) else parent
        ancestor: Actor | None = above
        while ancestor is not None:
            if ancestor is self:
                raise ValueError(f"attach: {above.name!r} hangs on {self.name!r} already")
            ancestor = ancestor._parent
        self._parent = above
        return self

    def copy(self, name: str) -> Actor:
        """A second one like this, as it is now, under another name.

        Raises:
            ValueError: the name is taken.
        """
        twin = self._stage.add(replace(self.part, name=name))
        twin.matrix, twin.visible, twin.view_dependence = self.matrix.clone(), self.visible, self.view_dependence
        twin._parent, twin._verts, twin._texture = self._parent, self._verts, self._texture
        return twin

    def swap_texture(self, other: Actor | str) -> Actor:
        """Wear what another part wears: its texture coordinates, face for face.

        Raises:
            ValueError: no such part, or one of another topology.
        """
        source = (self._stage[other] if isinstance(other, str) else other).part
        if source.faces_uv.shape != self.part.faces_uv.shape:
            raise ValueError(
                f"swap_texture: expected a part of the {len(self.part.faces):,} triangles of {self.name!r}, "
                f"{source.name!r} has {len(source.faces):,}"
            )
        self._texture = source
        return self

    @property
    def total(self) -> Float[Tensor, "4 4"]:
        """`[4, 4]` where it comes to lie with what it is attached to."""
        return self.matrix if self._parent is None else self._parent.total @ self.matrix

    @property
    def changed(self) -> bool:
        """Whether it differs from what was photographed."""
        still = torch.equal(self.total, identity()) and self.visible == self.part.visible
        return not still or self._verts is not None or self._texture is not None

    @property
    def _shape(self) -> Float[Tensor, "V 3"]:
        """Its vertices before it is moved; world."""
        return self.part.world_verts if self._verts is None else self._verts

    def finished(self) -> Part:
        """The part where it comes to lie, with its normals."""
        part = replace(self.part, visible=True)
        if self._texture is not None:
            part = replace(part, verts_uv=self._texture.verts_uv, faces_uv=self._texture.faces_uv)
        if self._verts is not None:
            # In the part's own frame, where faces are wound as they are stored even if its transform mirrors it.
            flat = Scene([replace(part, transform=identity())]).flatten(dtype=torch.float64)
            linear, shift = part.transform[:3, :3], part.transform[:3, 3]
            posed = Poser(flat).pose((self._verts - shift) @ torch.linalg.inv(linear).T)
            part = replace(part, verts=posed.verts, normals=posed.normals, faces_normals=posed.faces_normals)
        return replace(part, transform=self.total @ part.transform)

    def rested(self) -> Part:
        """What was photographed of each face, whose light is in the texture that the face wears."""
        return replace(self.part if self._texture is None else self._texture, name=self.name, visible=True)

    def turn(self) -> Float[Tensor, "3 3"]:
        """The rotation in its motion, without scale."""
        left, _, right = torch.linalg.svd(self.total[:3, :3])
        return left @ right


class Stage:
    """A scene as it was photographed, for one run of a script.

    Args:
        scene: its parts; hidden ones can be shown.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._actors = {part.name: Actor(self, part, part.name) for part in scene}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parts, made ones included."""
        return tuple(self._actors)

    def __getitem__(self, name: str) -> Actor:
        """The part of that name.

        Raises:
            ValueError: there is none; says which there are.
        """
        if name not in self._actors:
            close = difflib.get_close_matches(str(name), self.names, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"part: expected one of {', '.join(self.names)}; got {name!r}{meant}")
        return self._actors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._actors

    def __iter__(self) -> Iterator[Actor]:
        return iter(list(self._actors.values()))

    @property
    def moved(self) -> set[str]:
        """Photographed parts of which something is not as it was photographed."""
        return {actor.origin for actor in self._actors.values() if actor.origin is not None and actor.changed}

    def add(self, part: Part, origin: str | None = None) -> Actor:
        """Another part.

        Args:
            part: what it shows.
            origin: the photographed part that it was split from, if it was.

        Raises:
            ValueError: its name is taken.
        """
        if part.name in self._actors:
            raise ValueError(f"part: expected a new name, {part.name!r} is taken")
        self._actors[part.name] = Actor(self, part, origin)
        return self._actors[part.name]

    def split(
        self,
        source: str,
        name: str,
        *,
        box: tuple[Vector, Vector] | None = None,
        plane: tuple[Vector, Vector] | None = None,
        component: int | None = None,
        material: str | None = None,
    ) -> Actor:
        """Cut a part in two before anything is done to it: the faces that one rule picks get a name of their own.

        Faces are not cut: one belongs where its middle lies.

        Args:
            source: the part to cut.
            name: of the new part; `source` keeps the rest.
            box: lowest and highest corner, world.
            plane: a point, and a normal on whose side the new part lies, world.
            component: number of a connected component, the largest being 0.
            material: name of a material.

        Raises:
            ValueError: none or several rules, a source that was changed already, or faces that are none or all.
        """
        actor = self[source]
        if actor.changed:
            raise ValueError(f"split: expected {source!r} as photographed; split parts before moving them")
        picked = faces_where(
            actor.part, self._scene.materials, box=box, plane=plane, component=component, material=material
        )
        new = self.add(sub_part(actor.part, picked, name), actor.origin)
        # The actor stays the same one: others may hang on it, and scripts may hold it.
        actor.part = sub_part(actor.part, ~picked, source)
        return new

    def finish(self) -> Staged:
        """What is to be rendered.

        Raises:
            ValueError: nothing is left to be seen, something lies farther away than numbers reach, or a part's view
                dependence follows neither the part nor the world.
        """
        shown = [actor for actor in self._actors.values() if actor.visible]
        if not shown:
            raise ValueError("scene: expected at least one visible part, all are hidden")
        for actor in shown:
            if actor.view_dependence not in get_args(Frame):
                raise ValueError(
                    f"view_dependence: expected part or world for {actor.name!r}, got {actor.view_dependence!r}"
                )
        after = [actor.finished() for actor in shown]
        mesh = Scene(after).flatten()
        if not bool(mesh.verts.isfinite().all()):
            raise ValueError("scene: expected positions below 3e38, got larger ones")
        rest = Scene([_wound_like(part, actor.rested()) for actor, part in zip(shown, after, strict=True)]).flatten()
        turns = [actor.turn() if actor.view_dependence == "part" else torch.eye(3).double() for actor in shown]
        changed = any(actor.changed or actor.origin is None for actor in self._actors.values())
        return Staged(mesh, rest, torch.stack(turns).float(), changed)


def _wound_like(model: Part, part: Part) -> Part:
    """A part whose corners come out of flattening in the order of the model's: mirrored ones are turned round there."""
    if model.is_mirrored == part.is_mirrored:
        return part
    faces, faces_uv, faces_normals = (rows.flip(1) for rows in (part.faces, part.faces_uv, part.faces_normals))
    return replace(part, faces=faces, faces_uv=faces_uv, faces_normals=faces_normals)
