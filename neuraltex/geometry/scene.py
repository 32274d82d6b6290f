"""A scene: named parts with transforms, and the flat mesh that is rendered."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.part import Part
from neuraltex.geometry.uv_report import UvReport


@dataclass(eq=False)
class Scene:
    """Parts in the frame and unit of the file they come from.

    Args:
        parts: in the order of the file; names are unique.
        materials: what the parts' `face_materials` count in.
        source: the file the scene was read from.
        num_source_verts: vertices of that file, which the parts' `source_verts` count in; None where nobody told.
        uv_report: what was found in the file's texture coordinates; None before they were checked.
        uv_changes: what was done to the texture coordinates, one sentence each.
    """

    parts: list[Part]
    materials: tuple[Material, ...] = ()
    source: Path = Path()
    num_source_verts: int | None = None
    uv_report: UvReport | None = None
    uv_changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = self.part_names
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"parts: expected unique names, got several named {', '.join(doubled)}")

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of all parts, in order."""
        return tuple(part.name for part in self.parts)

    def __getitem__(self, name: str) -> Part:
        """The part of that name.

        Raises:
            ValueError: there is none; says which there are.
        """
        for part in self.parts:
            if part.name == name:
                return part
        names = self.part_names
        close = difflib.get_close_matches(name, names, n=1)
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"part: expected one of {shown}; got {name!r}{meant}")

    def __contains__(self, name: object) -> bool:
        return name in self.part_names

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def save(self, path: str | Path) -> None:
        """Write the whole scene to one safetensors file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        from neuraltex.geometry.scene_file import write_scene

        write_scene(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> Scene:
        """Read what `save` wrote; meshes of other programs are read by `load_scene`.

        Raises:
            InputError: the file is missing, damaged, or not such a file.
        """
        from neuraltex.geometry.scene_file import read_scene

        return read_scene(Path(path))

    def flatten(self, *, dtype: torch.dtype = torch.float32) -> Mesh:
        """All visible parts in one buffer set, where their transforms put them.

        Args:
            dtype: of positions, texture coordinates and normals.

        Returns:
            A mesh whose `part_ids` count in the names of all parts, hidden ones included. Faces of a part whose
            transform mirrors it are wound the other way round, so that winding and normals still agree.

        Raises:
            ValueError: a visible face has no texture coordinates.

        Differentiable in: verts, verts_uv, normals and transform of the parts.
        """
        shown = [(k, part) for k, part in enumerate(self.parts) if part.visible]
        for _, part in shown:
            if part.verts_uv is None or bool((part.faces_uv < 0).any()):
                raise ValueError(
                    f"parts: expected texture coordinates on every face, {part.name!r} lacks some; "
                    "load the scene with unwrap='missing'"
                )
        return Mesh(
            verts=_rows([part.world_verts for _, part in shown], 3, dtype),
            faces=_indices([(part, part.faces, len(part.verts)) for _, part in shown]),
            verts_uv=_rows([part.verts_uv for _, part in shown if part.verts_uv is not None], 2, dtype),
            faces_uv=_indices(
                [(part, part.faces_uv, len(part.verts_uv)) for _, part in shown if part.verts_uv is not None]
            ),
            normals=_rows([part.world_normals for _, part in shown], 3, dtype),
            faces_normals=_indices([(part, part.faces_normals, len(part.normals)) for _, part in shown]),
            part_ids=torch.cat([torch.full((len(part.faces),), k) for k, part in shown] or [torch.zeros(0).long()]),
            part_names=self.part_names,
        )


def _rows(buffers: list[Tensor], width: int, dtype: torch.dtype) -> Tensor:
    return torch.cat([buffer.to(dtype) for buffer in buffers] or [torch.zeros(0, width, dtype=dtype)])


def _indices(buffers: list[tuple[Part, Tensor, int]]) -> Tensor:
    shifted = [torch.zeros(0, 3, dtype=torch.int64)]
    offset = 0
    for part, indices, num_rows in buffers:
        shifted.append((indices.flip(1) if part.is_mirrored else indices) + offset)
        offset += num_rows
    return torch.cat(shifted)
