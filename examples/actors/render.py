"""The actors as Mitsuba sees them: soft light, a background, and one head whose vertices move."""

from __future__ import annotations

from typing import Any

import mitsuba as mi
import numpy as np
import torch
from numpy.typing import NDArray

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.reenactment.rig import Rig

Array = NDArray[np.float64]
FOV_DEG = 22.0
DISTANCE = 80.0


class Head:
    """A head in its light, rendered with one set of vertices after another."""

    def __init__(self, rig: Rig, texture_size: int) -> None:
        part = rig.scene.parts[0]
        assert part.verts_uv is not None
        pairs = torch.stack([part.faces.reshape(-1), part.faces_uv.reshape(-1)], 1)
        rows, faces = pairs.unique(dim=0, return_inverse=True)
        self.rows = rows[:, 0].numpy()
        self.faces = part.faces.numpy()
        bitmap = mi.Bitmap(np.full((texture_size, texture_size, 3), 0.5, np.float32))
        properties = mi.Properties()
        properties["bsdf"] = mi.load_dict(
            {
                "type": "roughplastic",
                "alpha": 0.35,
                "int_ior": 1.4,
                "diffuse_reflectance": {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "clamp"},
            }
        )
        mesh = mi.Mesh(
            "head", len(rows), len(self.faces), has_vertex_normals=True, has_vertex_texcoords=True, props=properties
        )
        parameters = mi.traverse(mesh)
        verts = rig.neutral.numpy().astype(np.float64)
        parameters["vertex_positions"] = verts[self.rows].astype(np.float32).ravel()
        parameters["vertex_normals"] = vertex_normals(verts, self.faces)[self.rows].astype(np.float32).ravel()
        parameters["vertex_texcoords"] = part.verts_uv[rows[:, 1]].numpy().astype(np.float32).ravel()
        parameters["faces"] = faces.numpy().astype(np.uint32).ravel()
        parameters.update()
        self.scene = mi.load_dict({"type": "scene", "integrator": INTEGRATOR, "head": mesh, **lights()})
        self.parameters = mi.traverse(self.scene)
        keys = [str(key) for key, _ in self.parameters]
        self.positions_key = next(key for key in keys if key.endswith("vertex_positions"))
        self.normals_key = next(key for key in keys if key.endswith("vertex_normals"))
        self.texture_key = next(key for key in keys if key.endswith("diffuse_reflectance.data"))

    def render(self, verts: Array, albedo: Array, camera: Camera, samples: int, seed: int) -> Array:
        """`[H, W, 4]` linear RGB, multiplied by alpha, and alpha."""
        normals = vertex_normals(verts, self.faces)
        self.parameters[self.positions_key] = verts[self.rows].astype(np.float32).ravel()
        self.parameters[self.normals_key] = normals[self.rows].astype(np.float32).ravel()
        # Here v runs down the rows of the picture.
        self.parameters[self.texture_key] = mi.TensorXf(np.ascontiguousarray(albedo[::-1], np.float32))
        self.parameters.update()
        view = mi.load_dict(sensor(camera, samples))
        return np.asarray(mi.render(self.scene, sensor=view, spp=samples, seed=mi.UInt32(seed)), np.float64)


INTEGRATOR = {"type": "path", "max_depth": 4, "rr_depth": 3, "hide_emitters": True}


def lights() -> dict[str, Any]:
    """Two large panels and a room that is brighter above than below."""
    panels = {"key": ([-45.0, 40.0, 60.0], 22.0, [9.5, 8.8, 7.9]), "fill": ([60.0, 10.0, 45.0], 22.0, [2.6, 2.9, 3.4])}
    rows = (np.arange(16) + 0.5) / 16
    colour = np.array([0.75, 0.78, 0.85]) * (1.05 - 0.75 * rows)[:, None]
    room = np.repeat(colour[:, None], 32, axis=1).astype(np.float32)
    result: dict[str, Any] = {"room": {"type": "envmap", "bitmap": mi.Bitmap(room), "scale": 0.8}}
    for name, (place, size, radiance) in panels.items():
        to_world = mi.ScalarTransform4f().look_at(origin=place, target=[0, 0, 4], up=[0, 1, 0])
        result[name] = {
            "type": "rectangle",
            "to_world": to_world @ mi.ScalarTransform4f().scale([size, size, 1]),
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": radiance}},
        }
    return result


def webcam(size: int) -> Camera:
    """In front of the face, a little to the side, and still."""
    eye, target = torch.tensor([0.0, 2.0, DISTANCE + 4.0]), torch.tensor([0.0, 0.2, 4.0])
    w2c = look_at(eye, target, torch.tensor([0.0, 1.0, 0.0]))
    focal = 0.5 * size / np.tan(np.deg2rad(FOV_DEG) / 2)
    K = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Camera(K.float(), w2c.float(), size, size)


def sensor(camera: Camera, samples: int) -> dict[str, Any]:
    """A Mitsuba sensor that sees what `camera` sees; pixels are plain averages over their own square."""
    # Ours looks along +z with x right and y down; Mitsuba's looks along +z with x left and y up.
    to_world = np.linalg.inv(camera.w2c.numpy().astype(np.float64)) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    return {
        "type": "perspective",
        "fov": FOV_DEG,
        "fov_axis": "x",
        "near_clip": 0.1,
        "far_clip": 1000.0,
        "to_world": mi.ScalarTransform4f(to_world),
        "film": {
            "type": "hdrfilm",
            "width": camera.width,
            "height": camera.height,
            "pixel_format": "rgba",
            "component_format": "float32",
            "rfilter": {"type": "box"},
        },
        "sampler": {"type": "multijitter", "sample_count": samples},
    }


def vertex_normals(verts: Array, faces: NDArray[np.int64]) -> Array:
    """`[V, 3]` unit normals, the area-weighted mean of the faces around a vertex."""
    corners = verts[faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(doubled[:, k], 3), len(verts)) for k in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def backdrop(size: int, seed: int) -> Array:
    """`[H, W, 3]` linear light of a room out of focus: a wall, a shelf, and things on it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    wall, side = rng.uniform(0.3, 0.45, 3), rng.uniform(0.12, 0.22, 3)
    picture = wall * (1.1 - 0.4 * y[..., None]) * np.ones_like(x)[..., None]
    picture = np.where((x > 0.78)[..., None], side * (1.2 - 0.4 * y[..., None]), picture)
    for _ in range(14):
        centre, reach = rng.uniform(0, 1, 2), rng.uniform(0.04, 0.14, 2)
        edge = np.maximum(np.abs(x - centre[0]) / reach[0], np.abs(y - centre[1]) / reach[1])
        cover = 1 / (1 + np.exp(np.clip((edge - 1) * 14, -50, 50)))
        picture += cover[..., None] * (rng.uniform(0.08, 0.5) * rng.uniform(0.7, 1.3, 3) - picture)
    return picture


def encode_srgb(linear: Array) -> NDArray[np.uint8]:
    """8-bit sRGB of linear light; what is brighter than white is clipped."""
    exposed = np.clip(linear, 0.0, 1.0)
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)
