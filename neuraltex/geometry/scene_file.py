"""A scene in one safetensors file: the buffers as tensors, everything else as JSON in the header."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuraltex.errors import InputError
from neuraltex.files import whole_file
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene
from neuraltex.geometry.uv_report import UvReport

_FORMAT = "neuraltex scene 1"
_FLOATS = {"verts": (3,), "verts_uv": (2,), "normals": (3,)}
_INDICES = {"faces": "verts", "faces_uv": "verts_uv", "faces_normals": "normals"}
_LABELS = ("face_materials", "source_verts")
_HINT = "load the mesh file again and save the scene anew"


def write_scene(scene: Scene, path: Path) -> None:
    """Write a scene, whole or not at all; see `Scene.save`."""
    tensors: dict[str, Tensor] = {}
    for k, part in enumerate(scene.parts):
        for name in (*_FLOATS, *_INDICES, *_LABELS, "transform"):
            value = getattr(part, name)
            if value is not None:
                tensors[f"{k}/{name}"] = value.detach().cpu().contiguous().clone()
    described = {
        "source": str(scene.source),
        "num_source_verts": scene.num_source_verts,
        "parts": [{"name": part.name, "visible": part.visible} for part in scene.parts],
        "materials": [
            {
                "name": material.name,
                "diffuse": material.diffuse,
                "diffuse_texture": None if material.diffuse_texture is None else str(material.diffuse_texture),
                "opacity": material.opacity,
            }
            for material in scene.materials
        ],
        "uv_report": None if scene.uv_report is None else asdict(scene.uv_report),
        "uv_changes": scene.uv_changes,
    }
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata={"format": _FORMAT, "scene": json.dumps(described)})


def read_scene(path: Path) -> Scene:
    """Read a scene and check that its indices fit its buffers; see `Scene.load`.

    Raises:
        InputError: the file is missing, damaged, or not such a file.
    """
    if not path.is_file():
        raise InputError(path, "is a folder, a scene file was expected" if path.is_dir() else "does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, MemoryError, RuntimeError) as error:
        raise InputError(path, f"is not a readable scene file ({error})", hint=_HINT) from error
    if metadata.get("format") != _FORMAT:
        raise InputError(path, f"is not a scene file: its format is {metadata.get('format')!r}, not {_FORMAT!r}")
    try:
        return _build(json.loads(metadata["scene"]), tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(path, f"is a damaged scene file ({type(error).__name__}: {error})", hint=_HINT) from error


def _build(described: dict[str, Any], tensors: dict[str, Tensor]) -> Scene:
    """A scene from checked values; whatever does not fit raises KeyError, TypeError or ValueError."""
    materials = tuple(_material(entry) for entry in _expect(described["materials"], list))
    parts = [
        _part(k, _expect(entry, dict), tensors, len(materials))
        for k, entry in enumerate(_expect(described["parts"], list))
    ]
    report = described["uv_report"]
    num_source_verts = described.get("num_source_verts")  # files of earlier versions lack it
    return Scene(
        parts=parts,
        materials=materials,
        source=Path(_expect(described["source"], str)),
        num_source_verts=None if num_source_verts is None else _expect(num_source_verts, int),
        uv_report=None if report is None else _report(_expect(report, dict)),
        uv_changes=[_expect(sentence, str) for sentence in _expect(described["uv_changes"], list)],
    )


def _part(k: int, entry: dict[str, Any], tensors: dict[str, Tensor], num_materials: int) -> Part:
    buffers: dict[str, Tensor] = {}
    for name, shape in _FLOATS.items():
        if name == "verts_uv" and f"{k}/{name}" not in tensors:
            continue
        buffers[name] = _checked(tensors[f"{k}/{name}"], f"{k}/{name}", torch.float64, shape)
    num_faces = len(tensors[f"{k}/faces"])
    for name, rows in _INDICES.items():
        index = _checked(tensors[f"{k}/{name}"], f"{k}/{name}", torch.int64, (3,))
        lowest = -1 if name == "faces_uv" else 0
        _check_range(index, f"{k}/{name}", lowest, len(buffers[rows]) if rows in buffers else 0)
        buffers[name] = index
    for name in _LABELS:
        buffers[name] = _checked(tensors[f"{k}/{name}"], f"{k}/{name}", torch.int64, ())
    _check_range(buffers["face_materials"], f"{k}/face_materials", -1, num_materials)
    for name, length in {"face_materials": num_faces, "source_verts": len(buffers["verts"])}.items():
        if len(buffers[name]) != length:
            raise ValueError(f"{k}/{name} has {len(buffers[name])} entries, expected {length}")
    if any(len(buffers[name]) != num_faces for name in _INDICES):
        raise ValueError(f"the index buffers of part {k} differ in length")
    return Part(
        name=_expect(entry["name"], str),
        verts=buffers["verts"],
        faces=buffers["faces"],
        verts_uv=buffers.get("verts_uv"),
        faces_uv=buffers["faces_uv"],
        normals=buffers["normals"],
        faces_normals=buffers["faces_normals"],
        face_materials=buffers["face_materials"],
        source_verts=buffers["source_verts"],
        transform=_checked(tensors[f"{k}/transform"], f"{k}/transform", torch.float64, (4,)),
        visible=_expect(entry["visible"], bool),
    )


def _checked(tensor: Tensor, name: str, dtype: torch.dtype, columns: tuple[int, ...]) -> Tensor:
    if tensor.dtype != dtype or tensor.dim() != 1 + len(columns) or tuple(tensor.shape[1:]) != columns:
        raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}")
    if dtype.is_floating_point and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} holds numbers that are not finite")
    return tensor


def _check_range(index: Tensor, name: str, lowest: int, end: int) -> None:
    if index.numel() and (int(index.min()) < lowest or int(index.max()) >= end):
        raise ValueError(f"{name} counts from {int(index.min())} to {int(index.max())}, of {end} rows")


def _material(entry: dict[str, Any]) -> Material:
    red, green, blue = (float(value) for value in entry["diffuse"])
    texture = entry["diffuse_texture"]
    return Material(
        _expect(entry["name"], str),
        (red, green, blue),
        None if texture is None else Path(_expect(texture, str)),
        float(entry["opacity"]),
    )


def _report(entry: dict[str, Any]) -> UvReport:
    return UvReport(
        num_faces=int(entry["num_faces"]),
        area=float(entry["area"]),
        missing=float(entry["missing"]),
        degenerate=float(entry["degenerate"]),
        overlapping=float(entry["overlapping"]),
        shared=float(entry["shared"]),
        outside=float(entry["outside"]),
        repeating=float(entry["repeating"]),
        tiles=tuple((int(u), int(v)) for u, v in entry["tiles"]),
        grid=int(entry["grid"]),
    )


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, found {value!r:.60}")
    return value
