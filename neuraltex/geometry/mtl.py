"""Reads MTL files: name, diffuse colour, diffuse texture, opacity. Whatever cannot be read is warned of and skipped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neuraltex.errors import InputError, InputWarning
from neuraltex.geometry.obj_text import decode, read_text_bytes

# How many values each option of `map_Kd` may take (at least, at most).
_OPTION_VALUES = {
    **dict.fromkeys(("-blendu", "-blendv", "-cc", "-clamp", "-bm", "-boost", "-texres", "-imfchan", "-type"), (1, 1)),
    **dict.fromkeys(("-o", "-s", "-t"), (1, 3)),
    "-mm": (2, 2),
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Material:
    """One material of the file; the neural texture replaces its looks, its name and texture stay for reference.

    Args:
        name: as the faces name it.
        diffuse: diffuse colour, red green blue.
        diffuse_texture: image of the diffuse colour, None where there is none or the file is missing.
        opacity: 1 is opaque.
    """

    name: str
    diffuse: tuple[float, float, float] = (0.8, 0.8, 0.8)
    diffuse_texture: Path | None = None
    opacity: float = 1.0


def read_mtl(path: str | Path) -> dict[str, Material]:
    """Read the materials of an MTL file; a texture that is missing or a value that is no number is warned of.

    Raises:
        InputError: the file is missing, a folder or not text.
    """
    path = Path(path)
    materials: dict[str, Material] = {}
    current: Material | None = None
    for number, line in enumerate(decode(read_text_bytes(path, "an MTL file")).split("\n"), start=1):
        words = re.sub(r"(^|\s)#.*", "", line).strip().split(None, 1)
        if not words:
            continue
        keyword, rest = words[0].lower(), words[1] if len(words) > 1 else ""
        if keyword == "newmtl":
            current = Material(rest)
        elif current is not None:
            current = _with_statement(current, keyword, rest, path, number)
        else:
            continue
        materials[current.name] = current
    return materials


def read_materials(folder: Path, mtllibs: Sequence[str], names: Sequence[str]) -> tuple[Material, ...]:
    """The materials an OBJ names, in the order of `names`.

    Args:
        folder: where the OBJ lies.
        mtllibs: what stands after each `mtllib`: one or several file names, which may hold spaces.
        names: names after `usemtl`. One that no library holds becomes a grey material.
    """
    known: dict[str, Material] = {}
    for mtllib in mtllibs:
        for name in _library_names(folder, mtllib):
            found = find_beside(folder, name)
            if found is None:
                warnings.warn(f"{folder / name}: this material library is missing", InputWarning, stacklevel=2)
                continue
            try:
                known = {**read_mtl(found), **known}
            except InputError as error:
                warnings.warn(f"{error}; its materials are left out", InputWarning, stacklevel=2)
    return tuple(known.get(name, Material(name)) for name in names)


def find_beside(folder: Path, name: str) -> Path | None:
    """The file `name` as written in a file that lies in `folder`; None when there is none.

    Tried in turn: as written, with Windows' separators turned round, and the bare name beside the file.
    """
    turned = name.replace("\\", "/")
    for candidate in (name, turned, turned.rsplit("/", 1)[-1]):
        try:
            if candidate and (folder / candidate).is_file():
                return folder / candidate
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None


def _library_names(folder: Path, mtllib: str) -> list[str]:
    if find_beside(folder, mtllib) is not None:
        return [mtllib]
    # Several names, each of which may hold spaces: every one ends in .mtl.
    return re.findall(r"\S.*?\.mtl(?=\s|$)", mtllib, re.IGNORECASE) or mtllib.split()


def _with_statement(material: Material, keyword: str, rest: str, path: Path, line: int) -> Material:
    if keyword == "map_kd":
        return replace(material, diffuse_texture=_find_texture(rest, path, line))
    if keyword not in ("kd", "d", "tr"):
        return material
    words = [word for word in rest.split() if word != "-halo"]
    if keyword == "kd" and words[:1] in (["spectral"], ["xyz"]):
        return material
    if not words or not all(_NUMBER.fullmatch(word) for word in words):
        warnings.warn(
            f"{path}, line {line}: '{keyword}' expected numbers, found {rest!r}; it is skipped",
            InputWarning,
            stacklevel=3,
        )
        return material
    values = [float(word) for word in words]
    if keyword == "kd":
        red, green, blue = values[:3] if len(values) >= 3 else values[:1] * 3
        return replace(material, diffuse=(red, green, blue))
    return replace(material, opacity=values[0] if keyword == "d" else 1.0 - values[0])


def _find_texture(rest: str, path: Path, line: int) -> Path | None:
    name = _texture_name(rest)
    found = find_beside(path.parent, name)
    if found is None:
        warnings.warn(f"{path}, line {line}: the texture {name!r} is missing", InputWarning, stacklevel=4)
    return found


def _texture_name(rest: str) -> str:
    """The file name behind the options of a `map_` statement; spaces inside it are kept."""
    while (word := re.match(r"\S+", rest)) and word.group().lower() in _OPTION_VALUES:
        option = word.group().lower()
        at_least, at_most = _OPTION_VALUES[option]
        rest = rest[word.end() :].lstrip()
        for k in range(at_most):
            value = re.match(r"(\S+)\s+", rest)
            if value is None or (k >= at_least and not _NUMBER.fullmatch(value.group(1))):
                break
            rest = rest[value.end() :]
    return rest.strip().strip('"')
