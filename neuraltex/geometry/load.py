"""Any mesh file to a scene with usable texture coordinates."""

from __future__ import annotations

from pathlib import Path

from neuraltex.errors import InputError
from neuraltex.geometry.atlas import Unwrap, make_usable
from neuraltex.geometry.foreign import SUFFIXES, read_foreign
from neuraltex.geometry.mtl import read_materials
from neuraltex.geometry.obj import read_obj
from neuraltex.geometry.parts import parts_from_obj
from neuraltex.geometry.scene import Scene


def load_scene(path: str | Path, *, unwrap: Unwrap = "missing") -> Scene:
    """Read a mesh file as a scene of named parts.

    Nothing is re-centred, re-scaled or re-oriented. Unless `unwrap` is "never", every face has texture coordinates in
    the unit square afterwards; `scene.uv_report` says what the file had and `scene.uv_changes` what was done.

    Args:
        path: an OBJ, GLB, glTF, PLY, STL or OFF file.
        unwrap: which faces get new texture coordinates: those "missing" them, also those "overlapping" within their
            material, "always" all, or "never" any, in which case nothing about the coordinates is changed.

    Raises:
        InputError: the file is missing, broken, empty or of an unknown format, or cannot be unwrapped.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".obj":
        obj = read_obj(path)
        materials = read_materials(path.parent, obj.mtllibs, obj.material_names)
        scene = Scene(parts_from_obj(obj), materials, path, len(obj.verts))
    elif suffix in SUFFIXES:
        parts, materials, num_verts = read_foreign(path)
        scene = Scene(parts, materials, path, num_verts)
    else:
        raise InputError(
            path, f"is of an unknown format, suffix {suffix!r}", hint=f"supported are .obj, {', '.join(SUFFIXES)}"
        )
    make_usable(scene, unwrap=unwrap)
    return scene
