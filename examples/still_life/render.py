"""The scene as Mitsuba sees it: materials, lights, background, and pictures of it."""

from __future__ import annotations

from typing import Any

import mitsuba as mi
import numpy as np
from numpy.typing import NDArray

from neuraltex.cameras.camera import Camera
from still_life import objects
from still_life.objects import Item, Material
from still_life.shapes import Array, Surface

EXPOSURE = 0.7
MAX_DEPTH = 6
SAMPLES_PER_PASS = 64


def bsdf(material: Material, base_colour: dict[str, Any]) -> dict[str, Any]:
    """Mitsuba's description of a material."""
    if material.kind == "matte":
        return {"type": "diffuse", "reflectance": base_colour}
    if material.kind == "glossy":
        # The coated plastic plugins cannot read colours from vertices; this one can. Its roughness is
        # the root of alpha; the base gets more samples than the coat because most of the light comes from it.
        return {
            "type": "principled",
            "base_color": base_colour,
            "roughness": float(np.sqrt(material.roughness)),
            "specular": 0.7,
            "diffuse_reflectance_sampling_rate": 2.0,
        }
    return {
        "type": "roughconductor",
        "distribution": "ggx",
        "alpha": material.roughness,
        "material": material.metal,
        "specular_reflectance": {"type": "rgb", "value": list(material.tint)},
    }


def item_shape(item: Item, surface: Surface) -> mi.Mesh:
    """A Mitsuba mesh with smooth normals and a colour a vertex."""
    properties = mi.Properties()
    colour = {"type": "mesh_attribute", "name": "vertex_color"}
    properties["bsdf"] = mi.load_dict(bsdf(item.material, colour))
    mesh = mi.Mesh(item.name, len(surface.verts), len(surface.faces), has_vertex_normals=True, props=properties)
    mesh.add_attribute("vertex_color", 3, surface.colours.ravel().tolist())
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = surface.verts.astype(np.float32).ravel()
    parameters["vertex_normals"] = surface.normals.astype(np.float32).ravel()
    parameters["faces"] = surface.faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def table_shape(texture_size: int = 2048) -> mi.Mesh:
    """The slab, coloured by a picture that is laid over it from above."""
    verts, faces = objects.table_grid(26)
    centres = ((np.arange(texture_size) + 0.5) / texture_size * 2 - 1) * objects.TABLE_HALF
    x, y = np.meshgrid(centres, centres, indexing="xy")
    points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    picture = objects.table_colour(points).reshape(texture_size, texture_size, 3)
    # Mitsuba's v runs from the bottom of the picture up.
    bitmap = mi.Bitmap(np.ascontiguousarray(picture[::-1], dtype=np.float32))
    colour = {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "clamp"}
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(bsdf(objects.TABLE_MATERIAL, colour))
    mesh = mi.Mesh("table", len(verts), len(faces), has_vertex_texcoords=True, props=properties)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = verts.astype(np.float32).ravel()
    parameters["vertex_texcoords"] = (verts[:, :2] / (2 * objects.TABLE_HALF) + 0.5).astype(np.float32).ravel()
    parameters["faces"] = faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def area_light(position: list[float], size: float, radiance: list[float]) -> dict[str, Any]:
    """A square panel of edge `2 * size` that faces the middle of the table."""
    to_world = mi.ScalarTransform4f().look_at(origin=position, target=[0, 0, 0.2], up=[0, 0, 1])
    return {
        "type": "rectangle",
        "to_world": to_world @ mi.ScalarTransform4f().scale([size, size, 1]),
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": radiance}},
    }


def background() -> dict[str, Any]:
    """A soft vertical gradient all around: a studio backdrop, and the light that fills the shadows."""
    rows, columns = 64, 128
    polar = (np.arange(rows) + 0.5) / rows * np.pi
    height = np.cos(polar)
    horizon, zenith, ground = objects.rgb("#ddd4c8"), objects.rgb("#e9e3d8"), objects.rgb("#8d8076")
    colour = np.where(
        height[:, None] > 0,
        horizon + (zenith - horizon) * np.clip(height, 0, 1)[:, None] ** 0.7,
        horizon + (ground - horizon) * np.clip(-height, 0, 1)[:, None] ** 0.7,
    )
    picture = np.repeat(colour[:, None], columns, axis=1).astype(np.float32)
    # Mitsuba's environment has +y up; the scene has +z up.
    to_world = mi.ScalarTransform4f().rotate([1, 0, 0], 90)
    return {"type": "envmap", "bitmap": mi.Bitmap(np.ascontiguousarray(picture)), "to_world": to_world}


def build_scene(shapes: dict[str, mi.Mesh]) -> mi.Scene:
    """The lit scene around already made shapes."""
    return mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 5},
            "background": background(),
            "key": area_light([-1.9, -2.6, 3.4], 1.0, [8.5, 7.8, 6.8]),
            "fill": area_light([3.6, 1.6, 2.4], 1.1, [2.0, 2.4, 2.9]),
            "rim": area_light([-1.2, 3.6, 2.8], 0.8, [3.4, 3.1, 2.8]),
            **shapes,
        }
    )


def sensor(camera: Camera, samples: int) -> dict[str, Any]:
    """A Mitsuba sensor that sees what `camera` sees; pixels are plain averages over their own square."""
    to_world = np.linalg.inv(camera.w2c.numpy())
    # Ours looks along +z with x right and y down; Mitsuba's looks along +z with x left and y up.
    to_world = to_world @ np.diag([-1.0, -1.0, 1.0, 1.0])
    fov_x_deg = np.rad2deg(2 * np.arctan(0.5 * camera.width / float(camera.K[0, 0])))
    return {
        "type": "perspective",
        "fov": float(fov_x_deg),
        "fov_axis": "x",
        "near_clip": 0.01,
        "far_clip": 100.0,
        "to_world": mi.ScalarTransform4f(to_world),
        "film": {
            "type": "hdrfilm",
            "width": camera.width,
            "height": camera.height,
            "pixel_format": "rgb",
            "component_format": "float32",
            "rfilter": {"type": "box"},
        },
        "sampler": {"type": "multijitter", "sample_count": samples},
    }


def render_linear(scene: mi.Scene, camera: Camera, samples: int, seed: int) -> Array:
    """`[H, W, 3]` linear RGB: the mean of passes with seeds of their own, so that a pass fits into memory."""
    passes = max(1, round(samples / SAMPLES_PER_PASS))
    view = mi.load_dict(sensor(camera, -(-samples // passes)))
    total = np.zeros((camera.height, camera.width, 3))
    for index in range(passes):
        total += np.asarray(
            mi.render(scene, sensor=view, spp=-(-samples // passes), seed=mi.UInt32(seed * 1009 + index))
        )
    return total / passes


def encode_srgb(linear: Array) -> NDArray[np.uint8]:
    """8-bit sRGB of exposed linear light; what is brighter than white is clipped."""
    exposed = np.clip(EXPOSURE * linear, 0.0, 1.0)
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * exposed ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)
