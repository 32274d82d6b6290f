"""glTF animations against what their specification says, worked out by hand or vertex by vertex."""

from __future__ import annotations

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuraltex.errors import InputError, InputWarning
from neuraltex.geometry import load_scene, read_motion

CODES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
QUARTER = [0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)]
# Two triangles, with the seam of an exporter: the vertices 1 and 2 come twice.
VERTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5]], np.float32)
UV = np.array([[0, 0], [0.4, 0], [0, 0.4], [0.6, 0], [0.5, 0.5], [1, 0.5]], np.float32)
FACES = np.array([0, 1, 2, 3, 5, 4], np.uint16)


class Writer:
    """A glTF file in the making."""

    def __init__(self) -> None:
        self.data = b""
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}]}
        self.json |= {"accessors": [], "bufferViews": [], "nodes": [], "meshes": []}

    def view(self, array: np.ndarray, **extra: Any) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes, **extra}
        self.json["bufferViews"].append(entry)
        self.data += array.tobytes()
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values: Any, kind: str = "float32", **extra: Any) -> int:
        array = np.asarray(values, kind)
        width = int(np.prod(array.shape[1:], dtype=int))
        entry = {"bufferView": self.view(array), "componentType": CODES[kind], "count": len(array)}
        self.json["accessors"].append({**entry, "type": KINDS[width], **extra})
        return len(self.json["accessors"]) - 1

    def mesh(self, *primitives: dict[str, Any], **extra: Any) -> int:
        self.json["meshes"].append({"primitives": list(primitives), **extra})
        return len(self.json["meshes"]) - 1

    def primitive(self, verts: np.ndarray = VERTS, **attributes: int) -> dict[str, Any]:
        attributes = {"POSITION": self.accessor(verts), "TEXCOORD_0": self.accessor(UV), **attributes}
        material = self.json.setdefault("materials", [{"name": "paint"}])
        return {"attributes": attributes, "indices": self.accessor(FACES, "uint16"), "material": len(material) - 1}

    def animate(self, *channels: tuple[int, str, list[float], Any, str]) -> None:
        entries, samplers = [], []
        for node, path, times, values, kind in channels:
            samplers.append({"input": self.accessor(times), "output": self.accessor(values), "interpolation": kind})
            entries.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
        self.json.setdefault("animations", []).append({"channels": entries, "samplers": samplers})

    def glb(self, path: Path) -> Path:
        head = {**self.json, "buffers": [{"byteLength": len(self.data)}]}
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 4)
        binary = self.data + b"\0" * (-len(self.data) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path

    def gltf(self, path: Path, *, inline: bool) -> Path:
        if inline:
            uri = "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        else:
            uri = "buffer.bin"
            (path.parent / uri).write_bytes(self.data)
        path.write_text(json.dumps({**self.json, "buffers": [{"byteLength": len(self.data), "uri": uri}]}))
        return path


def moved(path: Path, fps: float) -> np.ndarray:
    """The file's vertices, frame for frame."""
    return read_motion(path, load_scene(path, unwrap="never"), fps=fps).verts.numpy()


def turned(angle_deg: float) -> np.ndarray:
    """By an angle about z."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])


def arm() -> Writer:
    """A node that turns and steps up in size, and one that hangs on it and slides; each has triangles."""
    file = Writer()
    second = file.primitive(VERTS[::-1] * 2)
    mesh = file.mesh(file.primitive(), second, name="pair")
    file.json["nodes"] = [
        {"name": "root", "translation": [10, 0, 0], "children": [1, 2]},
        {"name": "arm", "children": [3], "mesh": mesh, "rotation": [0, 0, 0, 1]},
        {"name": "still", "mesh": mesh, "matrix": [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 5, 0, 1]},
        {"name": "hand", "mesh": file.mesh(file.primitive(VERTS + 3)), "scale": [1, 1, 3]},
    ]
    file.animate(
        (1, "rotation", [1.0, 3.0], [[0, 0, 0, 1], QUARTER], "LINEAR"),
        (1, "scale", [1.0, 2.5], [[1, 1, 1], [2, 2, 2]], "STEP"),
        (3, "translation", [1.0, 2.0], [[0, 0, 0], [4, 0, 0]], "LINEAR"),
    )
    return file


def test_nodes_are_moved_with_what_hangs_on_them(tmp_path):
    path = arm().glb(tmp_path / "arm.glb")
    scene = load_scene(path, unwrap="never")
    frames = moved(path, 2.0)
    assert frames.shape == (5, 30, 3), "from the first key at 1 s to the last at 3 s"
    rest = read_motion(path, scene, fps=2.0).onto(scene).frame(0)
    # The file rests at its first keys: what the loader made of it, joined vertices, order of nodes and all.
    assert (rest - scene.flatten().verts).abs().max() < 1e-5
    blocks = {part.name: int(part.source_verts.min()) for part in scene.parts}
    second = VERTS[::-1] * 2
    for k, (angle, scale, slide) in enumerate([(0, 1, 0), (22.5, 1, 2), (45, 1, 4), (67.5, 2, 4), (90, 2, 4)]):
        arm_places = [scale * local @ turned(angle).T + [10, 0, 0] for local in (VERTS, second)]
        places = {
            "arm": arm_places,
            "still": [2 * local + [10, 5, 0] for local in (VERTS, second)],
            "hand": [scale * ((VERTS + 3) * [1, 1, 3] + [slide, 0, 0]) @ turned(angle).T + [10, 0, 0]],
        }
        for name, first in blocks.items():
            found = frames[k, first : first + 6]
            errors = [np.abs(found - place).max() for place in places[name.split("_")[0]]]
            assert min(errors) < 1e-5, name  # measured 2e-6
    assert len(blocks) == 5


@pytest.mark.parametrize("inline", [True, False])
def test_buffers_may_lie_in_the_text_or_beside_it(tmp_path, inline):
    binary, text = arm().glb(tmp_path / "a.glb"), arm().gltf(tmp_path / "b.gltf", inline=inline)
    assert np.array_equal(moved(binary, 5.0), moved(text, 5.0))


def test_morph_targets_follow_their_weights(tmp_path):
    file = Writer()
    lift = np.zeros_like(VERTS)
    lift[5] = [0, 0, 2]
    primitive = file.primitive()
    # The second target is sparse, as exporters write those that move little.
    rows, values = file.view(np.array([5], np.uint8)), file.view(np.array([[8, 0, 0]], np.float32))
    sparse = {"count": 1, "indices": {"bufferView": rows, "componentType": 5121}, "values": {"bufferView": values}}
    file.json["accessors"].append({"componentType": 5126, "count": 6, "type": "VEC3", "sparse": sparse})
    sparse_target = {"POSITION": len(file.json["accessors"]) - 1}
    primitive["targets"] = [{"POSITION": file.accessor(lift)}, sparse_target]
    file.json["nodes"] = [{"mesh": file.mesh(primitive, weights=[1.0, 0.0])}]
    keys = [[[0, 0], [0, 0], [1, 0]], [[-2, 0], [1, 0.5], [0, 0]]]  # tangent before, value, tangent after
    file.animate((0, "weights", [0.0, 2.0], np.array(keys, np.float32).reshape(-1), "CUBICSPLINE"))
    frames = moved(file.glb(tmp_path / "face.glb"), 2.0)
    assert len(frames) == 5
    for k, share in enumerate((0, 0.25, 0.5, 0.75, 1.0)):
        square, cube = share**2, share**3
        # Hermite, the tangents times the 2 seconds between the keys.
        first = 2 * (cube - 2 * square + share) * 1 + (3 * square - 2 * cube) * 1 + 2 * (cube - square) * -2
        second = (3 * square - 2 * cube) * 0.5
        expected = VERTS.astype(np.float64)
        expected[5] += [8 * second, 0, 2 * first]
        assert np.abs(frames[k] - expected).max() < 1e-6


def test_skins_put_vertices_where_their_joints_do(tmp_path):
    file = Writer()
    generator = np.random.default_rng(3)
    joints = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 2, 0], [2, 1, 0, 0], [0, 0, 0, 0], [1, 2, 0, 0]])
    weights = np.array([[255, 0, 0, 0], [255, 0, 0, 0], [100, 100, 55, 0], [51, 204, 0, 0], [255, 0, 0, 0],
                        [204, 51, 0, 0]])  # fmt: skip
    inverse = np.tile(np.eye(4), (3, 1, 1))
    inverse[:, :3] += 0.3 * generator.standard_normal((3, 3, 4))
    attributes = {
        "JOINTS_0": file.accessor(joints, "uint8"),
        "WEIGHTS_0": file.accessor(weights, "uint8", normalized=True),
    }
    mesh = file.mesh(file.primitive(**attributes))
    matrices = file.accessor(inverse.transpose(0, 2, 1).reshape(3, 16))
    file.json["skins"] = [{"joints": [2, 3, 1], "inverseBindMatrices": matrices}]
    file.json["nodes"] = [
        {"children": [1, 4]},
        {"translation": [0, 1, 0], "children": [2]},
        {"translation": [0, 1, 0], "children": [3]},
        {"scale": [1, 2, 1]},
        # Where a node has a skin its own place does not count.
        {"mesh": mesh, "skin": 0, "translation": [50, 0, 0]},
    ]
    file.animate((2, "rotation", [0.0, 1.0], [[0, 0, 0, 1], QUARTER], "LINEAR"))
    frames = moved(file.glb(tmp_path / "arm.glb"), 4.0)
    assert len(frames) == 5
    for k in range(5):
        world: dict[int, np.ndarray] = {1: np.eye(4), 2: np.eye(4), 3: np.eye(4)}
        world[1][:3, 3] = [0, 1, 0]
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = turned(22.5 * k), [0, 1, 0]
        world[2] = world[1] @ local
        world[3] = world[2] @ np.diag([1, 2, 1, 1])
        for v, point in enumerate(np.append(VERTS, np.ones((6, 1)), axis=1)):
            expected = np.zeros(3)
            for j in range(4):
                joint = [2, 3, 1][joints[v, j]]
                expected += weights[v, j] / 255 * (world[joint] @ inverse[joints[v, j]] @ point)[:3]
            assert np.abs(frames[k, v] - expected).max() < 1e-6  # measured 3e-7


def test_the_shorter_way_round_is_taken(tmp_path):
    file = Writer()
    file.json["nodes"] = [{"mesh": file.mesh(file.primitive())}]
    file.animate((0, "rotation", [0.0, 1.0], [[0, 0, 0, 1], [-value for value in QUARTER]], "LINEAR"))
    frames = moved(file.glb(tmp_path / "a.glb"), 2.0)
    assert np.abs(frames[1] - VERTS @ turned(45).T).max() < 1e-6


def test_of_several_animations_the_first_is_taken_and_told(tmp_path):
    file = arm()
    file.animate((1, "translation", [0.0, 1.0], [[0, 0, 0], [1, 1, 1]], "LINEAR"))
    file.json["animations"][1]["name"] = "wave"
    path = file.glb(tmp_path / "a.glb")
    with pytest.warns(InputWarning, match=r"of its 2 animations the first is taken, '0'; the others are 'wave'"):
        assert len(moved(path, 2.0)) == 5


def _damaged(case: str, path: Path) -> Path:
    file = arm()
    if case == "no animation":
        del file.json["animations"]
    elif case == "cut":
        file.glb(path)
        path.write_bytes(path.read_bytes()[:-40])
        return path
    elif case == "text":
        path.write_bytes(b"glT")
        return path
    elif case == "order":
        file.animate((1, "rotation", [2.0, 1.0], [[0, 0, 0, 1], QUARTER], "LINEAR"))
        file.json["animations"] = file.json["animations"][1:]
    elif case == "index":
        file.json["animations"][0]["samplers"][0]["output"] = 99
    elif case == "count":
        file.json["accessors"][-1]["count"] = 10**6
    elif case == "circle":
        file.json["nodes"][3]["children"] = [1]
    elif case == "nan":
        file.animate((1, "translation", [0.0, 1.0, 2.0], [[0, 0, 0], [1, 1, 1], [np.nan, 1, 1]], "LINEAR"))
        file.json["animations"] = file.json["animations"][1:]
    elif case == "compressed":
        quantized = np.round(VERTS * 100).astype(np.int16)
        for accessor in file.json["accessors"]:
            if accessor["type"] == "VEC3" and accessor["count"] == 6:
                accessor["bufferView"] = file.view(np.pad(quantized, ((0, 0), (0, 1))), byteStride=8)
                accessor |= {"componentType": 5122, "normalized": True}
    return file.glb(path)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("no animation", r"bad.glb: holds no animation; export it with its animation"),
        ("cut", r"bad.glb: is a GLB that was cut off; "),
        ("count", r"bad.glb: is cut off: \d+ bytes are spoken of, its buffer has \d+; "),
        ("text", r"bad.glb: is not a glTF file"),
        ("order", r"bad.glb: the keys of its animation are not in the order of time; "),
        ("index", r"bad.glb: is a damaged glTF file \(IndexError"),
        ("circle", r"bad.glb: its nodes hang on each other in a circle; "),
        ("nan", r"bad.glb, frame 1: a vertex is not finite; "),
        ("compressed", r"bad.glb: the vertices of its node '.*' are compressed; "),
    ],
)
def test_files_that_cannot_be_are_named(tmp_path, case, expected):
    scene = load_scene(arm().glb(tmp_path / "good.glb"), unwrap="never")
    with pytest.raises(InputError, match=expected) as caught:
        read_motion(_damaged(case, tmp_path / "bad.glb"), scene, fps=1.0)
    assert "\n" not in str(caught.value)


def test_an_animation_moves_the_mesh_that_is_rendered(tmp_path):
    path = arm().glb(tmp_path / "arm.glb")
    scene = load_scene(path, unwrap="never")
    flat = read_motion(path, scene, fps=10.0).onto(scene)
    assert flat.verts.shape[1:] == scene.flatten().verts.shape
    assert (flat.at(0.5) - flat.frame(5)).abs().max() < 1e-5
    assert bool(torch.isfinite(flat.verts).all())
