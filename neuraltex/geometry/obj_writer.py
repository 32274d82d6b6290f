"""A scene to an OBJ file that any program reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from neuraltex.files import whole_file
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene


def write_obj(scene: Scene, path: Path) -> None:
    """Write positions and texture coordinates of the visible parts, whole or not at all.

    Each part becomes an object of its name, where its transform puts it. Materials and normals are left out: the
    first would need files beside this one, the second are made anew by whoever reads it.

    Args:
        scene: what to write.
        path: a file whose name ends in .obj.

    Raises:
        InputError: the file cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        first_vert = first_uv = 1
        for part in scene.parts:
            if part.visible:
                file.writelines(_lines(part, first_vert, first_uv))
                first_vert += len(part.verts)
                first_uv += 0 if part.verts_uv is None else len(part.verts_uv)


def _lines(part: Part, first_vert: int, first_uv: int) -> Iterator[str]:
    """One object; `first_vert` and `first_uv` are the file's numbers of its first rows."""
    yield f"o {' '.join(part.name.split()) or 'part'}\n"
    for x, y, z in part.world_verts.detach().tolist():
        yield f"v {x:.9g} {y:.9g} {z:.9g}\n"
    if part.verts_uv is not None:
        for u, v in part.verts_uv.detach().tolist():
            yield f"vt {u:.9g} {v:.9g}\n"
    faces, faces_uv = (part.faces, part.faces_uv)
    if part.is_mirrored:
        faces, faces_uv = faces.flip(1), faces_uv.flip(1)
    for corners, corners_uv in zip(faces.tolist(), faces_uv.tolist(), strict=True):
        words = [
            f"{vert + first_vert}" + (f"/{uv + first_uv}" if uv >= 0 else "")
            for vert, uv in zip(corners, corners_uv, strict=True)
        ]
        yield f"f {' '.join(words)}\n"
