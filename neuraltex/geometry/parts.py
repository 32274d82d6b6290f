"""Which faces of an OBJ file make which part."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from neuraltex.geometry.obj import ObjData
from neuraltex.geometry.part import Part
from neuraltex.geometry.soup import MAX_NAMES, Soup, component_labels, split_soup, unique_names, weld_soup

# What exporters write where the artist named nothing.
_NO_NAMES = frozenset({"", "default", "off", "(null)", "none"})


def parts_from_obj(obj: ObjData) -> list[Part]:
    """Cut an OBJ into parts: by `o`, else by `g`, else by material, else by pieces that hang together.

    A way of cutting is skipped where the file does not name anything that way, or names more than 1024 things.
    Blocks of the same name are one part. Where every corner has v == vt the file was written by something that splits
    vertices at UV seams; vertices at the same position are joined again there.
    """
    soup = _soup_from_obj(obj)
    for names, ids in (
        (obj.object_names, obj.face_objects),
        (obj.group_names, obj.face_groups),
        (obj.material_names, obj.face_materials),
    ):
        if any(name.lower() not in _NO_NAMES for name in names) and len(names) <= MAX_NAMES:
            # Id -1, the faces before the first name, comes first: they stand first in the file.
            return split_soup(soup, ids + 1, unique_names(["", *names]))
    return split_by_components(soup, obj.path.stem)


def split_by_components(soup: Soup, stem: str) -> list[Part]:
    """Parts of a file that names none: `stem_1`, `stem_2`, ... by size, or one part named `stem`."""
    labels, num = component_labels(soup)
    names = [f"{stem}_{k + 1}" for k in range(num)] if num > 1 else [stem or "unnamed"]
    return split_soup(soup, labels, names)


def _soup_from_obj(obj: ObjData) -> Soup:
    soup = Soup(
        verts=obj.verts,
        faces=obj.faces,
        verts_uv=obj.verts_uv,
        faces_uv=obj.faces_uv,
        normals=obj.normals,
        faces_normals=obj.faces_normals,
        face_materials=obj.face_materials,
        source_verts=_rows(len(obj.verts)),
    )
    return weld_soup(soup) if np.array_equal(obj.faces, obj.faces_uv) else soup


def _rows(num: int) -> Int[np.ndarray, "num"]:
    return np.arange(num)
