"""A blendshape rig: one topology, a neutral face, and what identities and expressions add to it."""

from __future__ import annotations

import fnmatch
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.errors import InputError
from neuraltex.geometry.atlas import make_usable
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.normals import smooth_normals
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene

# Layers that let light through, laid over the eyes: a picture shows what lies under them.
TRANSPARENT = ("*Lacrimal*", "*EyeBlend*", "*EyeOcclusion*", "*EyeLash*")
PART_NAME = "head"


@dataclass(frozen=True, eq=False)
class Rig:
    """Vertices are linear in the coefficients: neutral + identity * identity deltas + expression * expression deltas.

    Args:
        neutral: `[V, 3]` in the file's unit and frame: +y up, the face looks along +z.
        expression_deltas: `[E, V, 3]`, at a coefficient of 1.
        identity_deltas: `[I, V, 3]`, at a coefficient of 1; I may be 0.
        expression_names: E names.
        scene: one part with all vertices of the file in its order, and texture coordinates in the unit square.
        source: the file.
    """

    neutral: Float[Tensor, "V 3"]
    expression_deltas: Float[Tensor, "E V 3"]
    identity_deltas: Float[Tensor, "I V 3"]
    expression_names: tuple[str, ...]
    scene: Scene
    source: Path = Path()

    def verts(self, identity: Float[Tensor, "I"], expression: Float[Tensor, "*batch E"]) -> Tensor:
        """`[*batch, V, 3]` positions in the rig's frame, of one person.

        Args:
            identity: `[I]`.
            expression: `[*batch, E]`.

        Differentiable in: identity, expression.
        """
        size = self.neutral.shape
        moved = identity @ self.identity_deltas.flatten(1) + expression @ self.expression_deltas.flatten(1)
        return self.neutral + moved.unflatten(-1, size)

    def to(self, device: torch.device) -> Rig:
        """The same rig with its deltas on `device`; the scene stays."""
        return Rig(
            self.neutral.to(device),
            self.expression_deltas.to(device),
            self.identity_deltas.to(device),
            self.expression_names,
            self.scene,
            self.source,
        )


def load_rig(path: str | Path, *, leave_out: Sequence[str] = TRANSPARENT) -> Rig:
    """Read a rig from an npz file without pickled objects.

    The file holds `v_neutral` `[V, 3]`, `faces` `[F, 3]`, `uv` `[T, 2]`, `faces_uv` `[F, 3]`, `expr_deltas`
    `[E, V, 3]` and, where it has them, `expr_names` `[E]`, `identity_deltas` `[I, V, 3]`, `face_material` `[F]` and
    `material_names` `[M]`. UDIM tiles and materials that overlap in the texture are packed as those of any mesh.

    Args:
        path: the file.
        leave_out: patterns of material names whose faces are left out.

    Raises:
        InputError: the file is missing or broken, lacks an array, or its arrays do not belong together.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    neutral = _floats(arrays, "v_neutral", (None, 3), path)
    num_verts = len(neutral)
    expressions = _floats(arrays, "expr_deltas", (None, num_verts, 3), path)
    identities = np.zeros((0, num_verts, 3), np.float32)
    if "identity_deltas" in arrays:
        identities = _floats(arrays, "identity_deltas", (None, num_verts, 3), path)
    names = _names(arrays, "expr_names", path, [f"expression_{k}" for k in range(len(expressions))])
    if len(names) != len(expressions):
        raise InputError(path, f"expr_names: {len(expressions)} were expected, one a row of expr_deltas; {len(names)}")
    return Rig(
        neutral=torch.from_numpy(neutral),
        expression_deltas=torch.from_numpy(expressions),
        identity_deltas=torch.from_numpy(identities),
        expression_names=names,
        scene=_read_scene(arrays, neutral, path, leave_out),
        source=path,
    )


def _read_scene(
    arrays: dict[str, npt.NDArray[np.generic]], neutral: npt.NDArray[np.float32], path: Path, leave_out: Sequence[str]
) -> Scene:
    """One part with every vertex of the file, so that deltas need no renumbering."""
    uv = _floats(arrays, "uv", (None, 2), path)
    faces = _indices(arrays, "faces", len(neutral), path)
    faces_uv = _indices(arrays, "faces_uv", len(uv), path)
    if len(faces) != len(faces_uv):
        raise InputError(path, f"faces_uv: {len(faces)} rows were expected, one a face, got {len(faces_uv)}")
    materials = _names(arrays, "material_names", path, ["skin"])
    owner = np.zeros(len(faces), np.int64)
    if "face_material" in arrays:
        owner = arrays["face_material"].astype(np.int64)
        if owner.shape != (len(faces),) or not ((owner >= 0) & (owner < len(materials))).all():
            raise InputError(
                path, f"face_material: {len(faces)} indices of the {len(materials)} material_names expected"
            )
    left_out = [any(fnmatch.fnmatchcase(name, pattern) for pattern in leave_out) for name in materials]
    kept = ~np.array(left_out)[owner]
    if not kept.any():
        raise InputError(path, f"no face is left without the materials {', '.join(leave_out)}", hint="leave out fewer")
    faces, faces_uv, owner = faces[kept], faces_uv[kept], owner[kept]
    verts = neutral.astype(np.float64)
    normals, faces_normals = smooth_normals(verts, faces)
    part = Part(
        name=PART_NAME,
        verts=torch.from_numpy(verts),
        faces=torch.from_numpy(faces),
        verts_uv=torch.from_numpy(uv.astype(np.float64)),
        faces_uv=torch.from_numpy(faces_uv),
        normals=torch.from_numpy(normals),
        faces_normals=torch.from_numpy(faces_normals),
        face_materials=torch.from_numpy(owner),
        source_verts=torch.arange(len(verts)),
    )
    scene = Scene([part], tuple(Material(name) for name in materials), path)
    make_usable(scene, unwrap="missing")
    return scene


def _read_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise InputError(
            path, f"could not be read ({error.strerror or error})", hint="pass a rig's npz file"
        ) from error
    except (ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(path, "is not an npz file of plain arrays", hint="write it with numpy.savez") from error


def _floats(
    arrays: dict[str, npt.NDArray[np.generic]], name: str, shape: tuple[int | None, ...], path: Path
) -> npt.NDArray[np.float32]:
    array = _required(arrays, name, path)
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits or not np.issubdtype(array.dtype, np.floating):
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        raise InputError(path, f"{name}: {wanted} numbers were expected, got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(path, f"{name}: finite numbers were expected")
    return array.astype(np.float32)


def _indices(arrays: dict[str, npt.NDArray[np.generic]], name: str, total: int, path: Path) -> npt.NDArray[np.int64]:
    array = _required(arrays, name, path)
    if array.ndim != 2 or array.shape[1] != 3 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(path, f"{name}: triangles were expected, got {array.dtype} {array.shape}")
    if len(array) and not (array.min() >= 0 and array.max() < total):
        raise InputError(
            path, f"{name}: indices from 0 to {total - 1} were expected, got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def _required(arrays: dict[str, npt.NDArray[np.generic]], name: str, path: Path) -> npt.NDArray[np.generic]:
    if name not in arrays:
        raise InputError(path, f"lacks {name}, it holds {', '.join(sorted(arrays))}", hint="see neuraltex.reenactment")
    return arrays[name]


def _names(arrays: dict[str, npt.NDArray[np.generic]], name: str, path: Path, otherwise: list[str]) -> tuple[str, ...]:
    if name not in arrays:
        return tuple(otherwise)
    if arrays[name].ndim != 1 or arrays[name].dtype.kind != "U":
        raise InputError(path, f"{name}: a list of texts was expected, got {arrays[name].dtype} {arrays[name].shape}")
    return tuple(str(text) for text in arrays[name])
