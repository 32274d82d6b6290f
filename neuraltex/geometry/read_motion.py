"""Any motion file to a motion of a scene's file."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from neuraltex.errors import InputError
from neuraltex.geometry.gltf_motion import read_gltf_motion
from neuraltex.geometry.motion import FPS, Motion, checked_motion
from neuraltex.geometry.obj import read_obj_polygons
from neuraltex.geometry.scene import Scene

ACCEPTED = "a folder of OBJ files, or an .npz, .safetensors, .glb or .gltf file"


def read_motion(path: str | Path, scene: Scene, *, fps: float | None = None) -> Motion:
    """Read how a mesh moves.

    Args:
        path: a folder of numbered OBJ files, one a frame, in the order of their numbers; an .npz with `verts`
            `[N, V, 3]` and, if it likes, `fps`; a .safetensors file that `Motion.save` wrote; or a .glb or .gltf whose
            first animation is sampled.
        scene: read from the mesh file that this is a motion of.
        fps: frames a second at which animations are sampled, and of files that do not tell; None for 30.

    Returns:
        The motion of the mesh file's vertices, in its own frame and unit.

    Raises:
        InputError: the file is missing or broken, or does not fit the mesh; names the frame.
    """
    path = Path(path)
    rate = FPS if fps is None else fps
    if not path.exists():
        raise InputError(path, "does not exist", hint=f"a motion is {ACCEPTED}")
    suffix = path.suffix.lower()
    if path.is_dir():
        motion = _read_folder(path, scene, rate)
    elif suffix == ".npz":
        motion = _read_npz(path, rate)
    elif suffix == ".safetensors":
        motion = Motion.load(path)
    elif suffix in (".glb", ".gltf"):
        motion = read_gltf_motion(path, rate)
    else:
        raise InputError(path, f"is of an unknown format, suffix {suffix!r}", hint=f"a motion is {ACCEPTED}")
    _check_count(path, motion.verts.shape[1], scene)
    return motion


def _check_count(path: Path, num_verts: int, scene: Scene) -> None:
    needed = 1 + max((int(p.source_verts.max()) for p in scene.parts if len(p.source_verts)), default=-1)
    expected = scene.num_source_verts
    if num_verts != expected if expected is not None else num_verts < needed:
        raise InputError(
            path,
            f"holds {num_verts} vertices, the mesh {scene.source.name} has {needed if expected is None else expected}",
            hint="a motion moves the vertices of the very file that was trained on, in its order",
        )


def _read_folder(folder: Path, scene: Scene, fps: float) -> Motion:
    files = _numbered(folder)
    frames: list[Float[np.ndarray, "V 3"]] = []
    first: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    for file in files:
        verts, corners, counts = read_obj_polygons(file)
        _check_count(file, len(verts), scene)
        if first is None:
            _check_faces(file, corners, counts, scene)
            first = corners, counts
        elif len(corners) != len(first[0]) or len(counts) != len(first[1]):
            raise InputError(
                file, f"has {len(counts)} faces, {files[0].name} has {len(first[1])}", hint="all frames share one mesh"
            )
        elif (corners != first[0]).any() or (counts != first[1]).any():
            raise InputError(
                file,
                f"its faces name other vertices than those of {files[0].name}",
                hint="export all frames with vertices in one order",
            )
        frames.append(verts.astype(np.float32))
    return checked_motion(folder, torch.from_numpy(np.stack(frames)), fps)


def _numbered(folder: Path) -> list[Path]:
    """The OBJ files of a folder by the last number in their names, of which none may be missing."""
    files = [file for file in folder.iterdir() if file.suffix.lower() == ".obj" and not file.name.startswith(".")]
    if not files:
        raise InputError(folder, "holds no OBJ files", hint=f"a motion is {ACCEPTED}")
    by_number: dict[int, Path] = {}
    for file in sorted(files):
        digits = re.findall(r"\d+", file.stem)
        if not digits:
            raise InputError(
                file, "has no number in its name", hint="name the frames frame_0000.obj, frame_0001.obj, ..."
            )
        number = int(digits[-1])
        if number in by_number:
            raise InputError(file, f"is frame {number}, and so is {by_number[number].name}")
        by_number[number] = file
    order = sorted(by_number)
    steps = np.diff(order)
    for number, step in zip(order, steps.tolist(), strict=False):
        if step != steps.min():
            raise InputError(
                folder,
                f"frame {number + int(steps.min())} is missing: {by_number[number + step].name} follows "
                f"{by_number[number].name}",
                hint="export one OBJ a frame",
            )
    return [by_number[number] for number in order]


def _check_faces(file: Path, corners: Int[np.ndarray, "C"], counts: Int[np.ndarray, "P"], scene: Scene) -> None:
    """Whether polygons are those of the scene, as far as the scene still knows.

    Polygons may have been cut into triangles along other diagonals, but their sides must be sides of triangles. Where
    vertices at one place were joined, only numbers can be compared.
    """
    num_faces, num_own = int((counts - 2).sum()), sum(len(part.faces) for part in scene.parts)
    known = np.unique(np.concatenate([part.source_verts.numpy() for part in scene.parts]))
    problem = f"has faces of {num_faces} triangles, the mesh {scene.source.name} has {num_own}"
    if num_faces >= num_own and np.array_equal(known, np.unique(corners)):
        sides = _side_keys(corners, counts)
        own = np.concatenate([part.source_verts[part.faces].reshape(-1).numpy() for part in scene.parts])
        own_sides = _side_keys(own, np.full(len(own) // 3, 3))
        if np.isin(sides, own_sides).all():
            return
        problem = f"its faces join other vertices than those of the mesh {scene.source.name}"
    elif num_faces == num_own and np.isin(known, corners).all():
        return
    raise InputError(file, problem, hint="export the frames from the mesh that was trained on, vertices in its order")


def _side_keys(corners: Int[np.ndarray, "C"], counts: Int[np.ndarray, "P"]) -> Int[np.ndarray, "S"]:
    """One number for each side of the polygons, the same whichever way it is walked; none of polygons that name a
    vertex twice running, which readers leave out."""
    following = np.arange(1, len(corners) + 1)
    ends = np.cumsum(counts)
    following[ends - 1] = ends - counts
    low, high = np.minimum(corners, corners[following]), np.maximum(corners, corners[following])
    broken = np.repeat(np.logical_or.reduceat(low == high, ends - counts), counts)
    return np.unique((low << 32 | high)[~broken])


def _read_npz(path: Path, fps: float) -> Motion:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if "verts" not in stored:
                raise InputError(path, f"holds no array verts, only {', '.join(stored.files) or 'nothing'}")
            verts = np.asarray(stored["verts"])
            rate = float(stored["fps"]) if "fps" in stored else fps
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, MemoryError, EOFError) as error:
        raise InputError(path, f"is not a readable NumPy archive ({error})") from error
    if verts.dtype.kind != "f":
        raise InputError(path, f"verts: floating-point numbers were expected, found {verts.dtype}")
    return checked_motion(path, torch.from_numpy(verts.astype(np.float32)), rate)
