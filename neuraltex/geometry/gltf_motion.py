"""The animation of a glTF file to a motion: node hierarchy, morph targets and skins, evaluated frame for frame.

Source: Khronos Group, glTF 2.0 Specification, 3.7.2 (morph targets), 3.7.3 (skins), 3.11 (animations), Appendix C
(interpolation).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from neuraltex.errors import InputWarning
from neuraltex.geometry.foreign import load_nodes
from neuraltex.geometry.gltf import Gltf
from neuraltex.geometry.motion import Motion, checked_motion

# Joints that pull at a vertex with less than this are left out.
_LEAST_WEIGHT = 1e-9


def read_gltf_motion(path: Path, fps: float) -> Motion:
    """Sample a file's first animation, from its first key to its last.

    Args:
        path: a .glb or .gltf.
        fps: frames a second.

    Returns:
        Positions in the file's world, of the vertices in the order that `load_scene` reads them. Where a vertex hangs
        on a skin, they are where its joints put it, whatever the transform of its node.

    Raises:
        InputError: the file is broken, or nothing in it moves.
    """
    gltf = Gltf(path)
    try:
        channels, start, end = _channels(gltf)
        instances = _instances(gltf)
        frames = []
        for index in range(int((end - start) * fps + 1e-6) + 1):
            frames.append(_positions(gltf, channels, instances, start + index / fps))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise gltf.error(f"is a damaged glTF file ({type(error).__name__}: {error})") from error
    return checked_motion(path, torch.from_numpy(np.stack(frames)), fps)


@dataclass(frozen=True)
class Channel:
    """One property of one node over time.

    Args:
        node: which one.
        target: "translation", "rotation", "scale" or "weights".
        times: `[K]` seconds of the keys.
        values: `[K, C]` at the keys; `[K, 3, C]` with tangents before and after for cubic splines.
        kind: "LINEAR", "STEP" or "CUBICSPLINE".
    """

    node: int
    target: str
    times: Float[np.ndarray, "K"]
    values: Float[np.ndarray, "K *rest"]
    kind: str

    def at(self, seconds: float) -> Float[np.ndarray, "C"]:
        """The value at a time; the first or the last one outside the keys."""
        last = len(self.times) - 1
        values = self.values[:, 1] if self.kind == "CUBICSPLINE" else self.values
        before = int(np.searchsorted(self.times, seconds, side="right")) - 1
        if before < 0 or before >= last:
            return np.asarray(values[0 if before < 0 else last])
        if self.kind == "STEP":
            return np.asarray(values[before])
        step = float(self.times[before + 1] - self.times[before])
        share = (seconds - float(self.times[before])) / step
        if self.kind == "CUBICSPLINE":
            square, cube = share**2, share**3
            value = (
                (2 * cube - 3 * square + 1) * values[before]
                + step * (cube - 2 * square + share) * self.values[before, 2]
                + (3 * square - 2 * cube) * values[before + 1]
                + step * (cube - square) * self.values[before + 1, 0]
            )
            return np.asarray(value / np.linalg.norm(value) if self.target == "rotation" else value)
        if self.target == "rotation":
            return _slerp(values[before], values[before + 1], share)
        return np.asarray((1 - share) * values[before] + share * values[before + 1])


def _slerp(first: Float[np.ndarray, "4"], second: Float[np.ndarray, "4"], share: float) -> Float[np.ndarray, "4"]:
    cosine = float(first @ second)
    second = second if cosine >= 0 else -second
    angle = np.arccos(min(abs(cosine), 1.0))
    if angle < 1e-6:
        return (1 - share) * first + share * second
    return (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)


def _channels(gltf: Gltf) -> tuple[list[Channel], float, float]:
    """What moves, and from when to when."""
    animations = gltf.items("animations")
    channels: list[Channel] = []
    for animation in animations[:1]:
        for entry in animation["channels"]:
            target, sampler = entry["target"], animation["samplers"][entry["sampler"]]
            if "node" not in target or target["path"] not in ("translation", "rotation", "scale", "weights"):
                continue
            times, kind = gltf.read(sampler["input"])[:, 0], sampler.get("interpolation", "LINEAR")
            values = gltf.read(sampler["output"]).reshape(len(times), 3 if kind == "CUBICSPLINE" else 1, -1)
            values = values if kind == "CUBICSPLINE" else values[:, 0]
            if len(times) == 0 or not (np.diff(times) > 0).all():
                raise gltf.error("the keys of its animation are not in the order of time")
            channels.append(Channel(target["node"], target["path"], times, values, kind))
    if not channels:
        raise gltf.error("holds no animation", "export it with its animation, or pass one OBJ a frame")
    if len(animations) > 1:
        names = [str(animation.get("name", k)) for k, animation in enumerate(animations)]
        warnings.warn(
            f"{gltf.path}: of its {len(names)} animations the first is taken, {names[0]!r}; the others are "
            f"{', '.join(map(repr, names[1:]))}",
            InputWarning,
            stacklevel=4,
        )
    return channels, min(float(c.times[0]) for c in channels), max(float(c.times[-1]) for c in channels)


@dataclass(frozen=True)
class Instance:
    """The triangles of one material of one node.

    Args:
        node: which one.
        verts: `[V, 3]` of the mesh, before anything moves it.
        offsets: `[T, V, 3]` of its morph targets.
        weights: `[T]` of these while nothing moves them.
        skin: of the node, or None.
        joints, pulls: `[V, J]` which joints of the skin pull at each vertex, and how strongly; rows sum to 1.
    """

    node: int
    verts: Float[np.ndarray, "V 3"]
    offsets: Float[np.ndarray, "T V 3"]
    weights: Float[np.ndarray, "T"]
    skin: _Skin | None
    joints: Int[np.ndarray, "V J"] = field(repr=False)
    pulls: Float[np.ndarray, "V J"] = field(repr=False)


@dataclass(frozen=True)
class _Skin:
    nodes: list[int]
    from_rest: Float[np.ndarray, "N 4 4"]


def _instances(gltf: Gltf) -> list[Instance]:
    """Every node's triangles, in the order of the vertices of `load_scene`.

    That order is the loader's own affair: what it read is looked up here by its numbers.
    """
    found = [
        _instance(gltf, index, node, primitive)
        for index, node in enumerate(gltf.items("nodes"))
        if "mesh" in node
        for primitive in gltf.items("meshes")[node["mesh"]]["primitives"]
        if primitive.get("mode", 4) in (4, 5)
    ]
    world = _world(gltf, {})
    ordered = []
    for name, transform, mesh in load_nodes(gltf.path):
        for k, instance in enumerate(found):
            same = np.array_equal(mesh.vertices, instance.verts)
            if same and np.allclose(transform, world[instance.node], rtol=1e-6, atol=1e-9):
                ordered.append(found.pop(k))
                break
        else:
            raise gltf.error(f"the vertices of its node {name!r} are compressed", "export it without compression")
    return ordered


def _instance(gltf: Gltf, index: int, node: dict[str, Any], primitive: dict[str, Any]) -> Instance:
    attributes = primitive["attributes"]
    verts = gltf.read(attributes["POSITION"])
    targets = [
        gltf.read(target["POSITION"]) if "POSITION" in target else np.zeros_like(verts)
        for target in primitive.get("targets", [])
    ]
    mesh = gltf.items("meshes")[node["mesh"]]
    weights = np.array(node.get("weights", mesh.get("weights", [0.0] * len(targets))), np.float64)
    skin, joints, pulls = None, np.zeros((len(verts), 0), np.int64), np.zeros((len(verts), 0))
    if "skin" in node and "JOINTS_0" in attributes:
        entry = gltf.items("skins")[node["skin"]]
        rest = np.tile(np.eye(4), (len(entry["joints"]), 1, 1))
        if "inverseBindMatrices" in entry:
            # Written column by column.
            rest = gltf.read(entry["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        skin = _Skin(entry["joints"], rest)
        sets = [k for k in range(len(attributes)) if f"JOINTS_{k}" in attributes]
        joints = np.concatenate([gltf.read(attributes[f"JOINTS_{k}"]) for k in sets], axis=1).astype(np.int64)
        pulls = np.concatenate([gltf.read(attributes[f"WEIGHTS_{k}"]) for k in sets], axis=1)
        pulls = pulls / np.maximum(pulls.sum(1, keepdims=True), _LEAST_WEIGHT)
    offsets = np.stack(targets) if targets else np.zeros((0, *verts.shape))
    return Instance(index, verts, offsets, weights, skin, joints, pulls)


def _positions(
    gltf: Gltf, channels: list[Channel], instances: list[Instance], seconds: float
) -> Float[np.ndarray, "V 3"]:
    """All vertices at one time, float32."""
    moved: dict[int, dict[str, Any]] = {}
    for channel in channels:
        moved.setdefault(channel.node, {})[channel.target] = channel.at(seconds)
    world = _world(gltf, moved)
    placed = []
    for instance in instances:
        weights = moved.get(instance.node, {}).get("weights", instance.weights)
        verts = instance.verts + np.tensordot(weights, instance.offsets, axes=1)
        if instance.skin is None:
            transform = world[instance.node]
            placed.append(verts @ transform[:3, :3].T + transform[:3, 3])
            continue
        matrices = np.stack([world[joint] for joint in instance.skin.nodes]) @ instance.skin.from_rest
        skinned = np.zeros_like(verts)
        for k in range(instance.joints.shape[1]):
            pulled = np.flatnonzero(instance.pulls[:, k] > _LEAST_WEIGHT)
            matrix = matrices[instance.joints[pulled, k]]
            at = np.einsum("vij,vj->vi", matrix[:, :3, :3], verts[pulled]) + matrix[:, :3, 3]
            skinned[pulled] += instance.pulls[pulled, k, None] * at
        placed.append(skinned)
    return np.concatenate(placed).astype(np.float32) if placed else np.zeros((0, 3), np.float32)


def _world(gltf: Gltf, moved: dict[int, dict[str, Any]]) -> dict[int, Float[np.ndarray, "4 4"]]:
    """Node-to-world transforms of all nodes, with some of their properties moved."""
    nodes = gltf.items("nodes")
    parents = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}
    world: dict[int, Float[np.ndarray, "4 4"]] = {}
    for index in range(len(nodes)):
        chain = [index]
        while chain[-1] in parents and chain[-1] not in world:
            if len(chain) > len(nodes):
                raise gltf.error("its nodes hang on each other in a circle")
            chain.append(parents[chain[-1]])
        for at in reversed(chain):
            if at not in world:
                local = _local(nodes[at], moved.get(at, {}))
                world[at] = world[parents[at]] @ local if at in parents else local
    return world


def _local(node: dict[str, Any], moved: dict[str, Any]) -> Float[np.ndarray, "4 4"]:
    """A node's own transform: its matrix, or what its translation, rotation (x, y, z, w) and scale make."""
    if "matrix" in node and not moved.keys() & {"translation", "rotation", "scale"}:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    values = {**node, **moved}
    x, y, z, w = np.array(values.get("rotation", (0, 0, 0, 1)), np.float64) / np.linalg.norm(
        values.get("rotation", (0, 0, 0, 1))
    )
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    transform = np.eye(4)
    transform[:3, :3] = rotation * np.array(values.get("scale", (1, 1, 1)), np.float64)
    transform[:3, 3] = values.get("translation", (0, 0, 0))
    return transform
