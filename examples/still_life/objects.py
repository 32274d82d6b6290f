"""The seven things on show: what shape they have, what colour, what they are made of and where they stand.

Every solid stands on z = 0 of its own frame, +z up; `placement` moves it into the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from still_life import shapes
from still_life.shapes import Array, Solid, Surface

TABLE_HALF = 1.3
CHECK = 0.2


@dataclass(frozen=True)
class Material:
    """What a surface does with light.

    Args:
        kind: "matte", "glossy" (a coloured base under a clear coat) or "metal".
        roughness: GGX alpha of the coat or the metal; unused when matte.
        metal: Mitsuba's name of the measured metal; unused otherwise.
        tint: what the metal's reflection is multiplied with, as a lacquer does.
    """

    kind: str
    roughness: float = 0.1
    metal: str = ""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Item:
    """One named object.

    Args:
        name: its `o` name in the mesh.
        solid: its distance function in its own frame.
        colour: points in its own frame `[N, 3]` to linear RGB `[N, 3]`.
        low: lower corner of a box around it, own frame.
        high: upper corner.
        voxel: size of the path-traced detail, scene units.
        material: what it is made of.
        placement: `[4, 4]` own frame to scene.
    """

    name: str
    solid: Solid
    colour: Callable[[Array], Array]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    voxel: float
    material: Material
    placement: Array

    def surface(self) -> Surface:
        """The path-traced surface, in the scene's frame."""
        own = shapes.mesh_solid(self.solid, self.colour, np.asarray(self.low), np.asarray(self.high), self.voxel)
        return moved(own, self.placement)


def moved(surface: Surface, transform: Array) -> Surface:
    """A surface after a rigid `[4, 4]` transform (column vectors)."""
    rotation = transform[:3, :3]
    return Surface(
        surface.verts @ rotation.T + transform[:3, 3], surface.faces, surface.normals @ rotation.T, surface.colours
    )


def place(x: float, y: float, turn_deg: float, *, lift: float = 0.0, lean_deg: float = 0.0) -> Array:
    """`[4, 4]`: lean about the object's x axis, turn about z, then move to (x, y, lift)."""
    turn, lean = np.deg2rad(turn_deg), np.deg2rad(lean_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    transform = np.eye(4)
    transform[:3, :3] = about_z @ about_x
    transform[:3, 3] = (x, y, lift)
    return transform


def rgb(code: str) -> Array:
    """Linear RGB `[3]` of an sRGB hex code."""
    encoded = np.array([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def mix(first: Array, second: Array, share: Array) -> Array:
    """Blend colours `[3]` or `[N, 3]`; a share `[N]` of 1 is all `second`."""
    share = np.clip(share, 0.0, 1.0)[:, None]
    return first * (1 - share) + second * share


def step(value: Array, width: float) -> Array:
    """0 below zero, 1 above, with a soft edge of `width`: an edge a pixel wide does not alias."""
    return np.clip(value / width + 0.5, 0.0, 1.0)


# --- vase: a glazed surface of revolution with fluting --------------------------------------------------------------


def _vase_radius(z: Array) -> Array:
    return 0.085 + 0.145 * np.exp(-(((z - 0.33) / 0.2) ** 2)) + 0.075 * np.exp(-(((z - 0.88) / 0.1) ** 2))


def vase(points: Array) -> Array:
    radius, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    angle = np.arctan2(points[:, 1], points[:, 0])
    slope = (_vase_radius(z + 1e-3) - _vase_radius(z - 1e-3)) / 2e-3
    steepness = 1 / np.sqrt(1 + slope**2)
    fluting = 0.005 * np.cos(16 * angle + 6 * z) * np.exp(-(((z - 0.30) / 0.13) ** 4))
    outer = (radius - _vase_radius(z) - fluting) * steepness
    hollow = np.maximum((radius - _vase_radius(z) + 0.028) * steepness, 0.05 - z)
    shell = shapes.smooth_cut(outer, hollow, 0.012)
    return -shapes.smooth_union(-shell, -np.maximum(z - 0.86, -z), 0.012)


def vase_colour(points: Array) -> Array:
    radius, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    angle = np.arctan2(points[:, 1], points[:, 0])
    cobalt, deep, cream = rgb("#1f4fa8"), rgb("#122c66"), rgb("#f3ead8")
    glaze = mix(cobalt, deep, 0.5 + 0.6 * shapes.value_noise(points, 9.0, 3))
    wave = 0.030 * np.sin(8 * angle)
    bands = [(0.505 + wave, 0.012), (0.560 - wave, 0.012), (0.12, 0.018), (0.66, 0.008), (0.685, 0.004)]
    for height, half_width in bands:
        glaze = mix(glaze, cream, step(half_width - np.abs(z - height), 0.005))
    dots = np.hypot(((8 * angle / (2 * np.pi) + 0.75) % 1 - 0.5) * 2 * np.pi * radius / 8, z - 0.5325)
    glaze = mix(glaze, rgb("#e8a33d"), step(0.016 - dots, 0.005))
    return mix(glaze, cream, step(z - 0.835, 0.005))


# --- teapot: one piece of copper ------------------------------------------------------------------------------------


def teapot(points: Array) -> Array:
    z = points[:, 2]
    body = shapes.ellipsoid(points, (0, 0, 0.215), (0.255, 0.255, 0.2))
    foot = shapes.ellipsoid(points, (0, 0, 0.02), (0.15, 0.15, 0.035))
    pot = shapes.smooth_union(body, foot, 0.03)
    radius = np.hypot(points[:, 0], points[:, 1])
    groove = np.hypot(radius - 0.135, z - 0.388) - 0.009
    pot = shapes.smooth_cut(pot, groove, 0.01)
    lid = shapes.ellipsoid(points, (0, 0, 0.385), (0.118, 0.118, 0.05))
    pot = shapes.smooth_union(pot, lid, 0.02)
    knob = shapes.ellipsoid(points, (0, 0, 0.475), (0.034, 0.034, 0.03))
    pot = shapes.smooth_union(pot, knob, 0.03)
    spout_path = shapes.bezier([(0.19, 0, 0.14), (0.37, 0, 0.13), (0.33, 0, 0.33), (0.455, 0, 0.385)], 9)
    spout = shapes.tube(points, spout_path, np.linspace(0.068, 0.036, 9))
    bore = shapes.tube(points, spout_path[6:] + np.array([[0, 0, 0], [0, 0, 0], [0.05, 0, 0.02]]), np.full(3, 0.021))
    handle_path = shapes.bezier([(-0.21, 0, 0.33), (-0.47, 0, 0.43), (-0.47, 0, 0.09), (-0.21, 0, 0.12)], 13)
    handle = shapes.tube(points, handle_path, np.full(13, 0.026))
    pot = shapes.smooth_union(pot, spout, 0.045)
    pot = shapes.smooth_union(pot, handle, 0.03)
    return np.maximum(shapes.smooth_cut(pot, bore, 0.008), -z)


# --- duck: a bath toy of glossy plastic -----------------------------------------------------------------------------

DUCK_HEAD = (0.145, 0.0, 0.335)


def duck(points: Array) -> Array:
    mirrored = points * [1, 0, 1] + np.abs(points) * [0, 1, 0]
    body = shapes.ellipsoid(points, (-0.01, 0, 0.125), (0.235, 0.165, 0.125))
    tail_path = shapes.bezier([(-0.14, 0, 0.13), (-0.2, 0, 0.16), (-0.25, 0, 0.2), (-0.262, 0, 0.262)], 6)
    tail = shapes.tube(points, tail_path, np.linspace(0.07, 0.014, 6))
    whole = shapes.smooth_union(body, tail, 0.06)
    wing = shapes.ellipsoid(mirrored, (-0.045, 0.15, 0.15), (0.12, 0.035, 0.065))
    whole = shapes.smooth_union(whole, wing, 0.02)
    head = shapes.ellipsoid(points, DUCK_HEAD, (0.108, 0.102, 0.1))
    whole = shapes.smooth_union(whole, head, 0.05)
    beak = shapes.ellipsoid(points, (0.262, 0, 0.318), (0.062, 0.052, 0.02))
    whole = shapes.smooth_union(whole, beak, 0.012)
    eye = shapes.ellipsoid(mirrored, (0.205, 0.068, 0.368), (0.019, 0.019, 0.021))
    whole = np.minimum(whole, eye)
    feathers = 0.0025 * np.sin(70 * points[:, 0]) * step(0.05 - np.abs(mirrored[:, 1] - 0.185), 0.02)
    return np.maximum(whole + feathers, -points[:, 2] + 0.002)


def duck_colour(points: Array) -> Array:
    mirrored = points * [1, 0, 1] + np.abs(points) * [0, 1, 0]
    yellow, orange, black = rgb("#f2b705"), rgb("#e2531c"), rgb("#14110f")
    colour = mix(yellow, rgb("#e89a08"), 0.7 - 4.0 * points[:, 2])
    beak = shapes.ellipsoid(points, (0.262, 0, 0.318), (0.066, 0.057, 0.026))
    colour = mix(colour, orange, step(-beak, 0.006))
    eye = shapes.ellipsoid(mirrored, (0.205, 0.068, 0.368), (0.0195, 0.0195, 0.0215))
    return mix(colour, black, step(0.002 - eye, 0.005))


# --- pear: matte, mottled -------------------------------------------------------------------------------------------

PEAR_STEM = [(0.02, 0.0, 0.36), (0.022, 0.0, 0.40), (0.03, 0.01, 0.43), (0.055, 0.015, 0.455)]


def pear(points: Array) -> Array:
    belly = shapes.ellipsoid(points, (0, 0, 0.145), (0.155, 0.15, 0.145))
    neck = shapes.ellipsoid(points, (0.018, 0, 0.305), (0.08, 0.078, 0.085))
    fruit = shapes.smooth_union(belly, neck, 0.1) + 0.004 * shapes.value_noise(points, 11.0, 5)
    dimple = shapes.ellipsoid(points, (0.02, 0, 0.405), (0.03, 0.03, 0.028))
    fruit = shapes.smooth_cut(fruit, dimple, 0.02)
    stem = shapes.tube(points, shapes.bezier(PEAR_STEM, 6), np.array([0.011, 0.010, 0.009, 0.009, 0.010, 0.013]))
    return np.maximum(shapes.smooth_union(fruit, stem, 0.01), -points[:, 2])


def pear_colour(points: Array) -> Array:
    colour = mix(rgb("#8fae3a"), rgb("#cfc04a"), 0.45 + 0.5 * shapes.value_noise(points, 7.0, 11) + points[:, 2])
    blush = step(points[:, 0] * 0.8 + points[:, 1] * 0.6 - 0.04 + 0.03 * shapes.value_noise(points, 14.0, 12), 0.16)
    colour = mix(colour, rgb("#b8442c"), 0.75 * blush)
    colour = mix(colour, rgb("#5c4a22"), 0.8 * step(shapes.value_noise(points, 60.0, 13, 1) - 0.55, 0.3))
    stem = shapes.tube(points, shapes.bezier(PEAR_STEM, 6), np.full(6, 0.016))
    return mix(colour, rgb("#4b3320"), step(-stem, 0.006))


# --- block: painted wood with a carved disc on every side -----------------------------------------------------------

BLOCK_HALF = 0.15


def _block_face(points: Array) -> tuple[Array, Array]:
    """Distance from the middle of the nearest side within that side, and which axis that side faces."""
    local = points - [0, 0, BLOCK_HALF]
    axis = np.abs(local).argmax(axis=-1)
    within = local.copy()
    within[np.arange(len(local)), axis] = 0
    return np.linalg.norm(within, axis=-1), axis


def block(points: Array) -> Array:
    box = shapes.rounded_box(points - [0, 0, BLOCK_HALF], (BLOCK_HALF,) * 3, 0.022)
    distance, _ = _block_face(points)
    return box + 0.008 * step(0.095 - distance, 0.012)


def block_colour(points: Array) -> Array:
    rings = np.hypot(points[:, 0] + 0.3, points[:, 1] - 0.1) + 0.012 * shapes.value_noise(points, 5.0, 21)
    grain = 0.5 + 0.5 * np.sin(260 * rings) + 0.3 * shapes.value_noise(points * [1, 1, 0.15], 70.0, 22, 1)
    wood = mix(rgb("#d9a066"), rgb("#a8693a"), grain)
    distance, axis = _block_face(points)
    paints = np.stack([rgb("#c8402f"), rgb("#2d7f78"), rgb("#e9dcc0")])[axis]
    colour = mix(wood, paints, step(0.095 - distance, 0.006))
    return mix(colour, wood, step(0.040 - distance, 0.006))


# --- torus: a square bar of silver, twisted once and bent into a ring ------------------------------------------------


def torus(points: Array) -> Array:
    angle = np.arctan2(points[:, 1], points[:, 0])
    across, up = np.hypot(points[:, 0], points[:, 1]) - 0.195, points[:, 2]
    twist = 1.0 * angle
    section = np.stack(
        [across * np.cos(twist) + up * np.sin(twist), up * np.cos(twist) - across * np.sin(twist)], axis=-1
    )
    return 0.85 * shapes.rounded_box(section, (0.062, 0.062), 0.016)


def plain(points: Array) -> Array:
    """A colour that the material ignores."""
    return np.full_like(points, 0.5)


# --- table: a slab with a checked top -------------------------------------------------------------------------------


def table_grid(cells: int) -> tuple[Array, np.ndarray]:
    """Vertices and faces of the slab's top and sides, `cells` quads across; the underside, never seen, is left open."""
    rim = [(TABLE_HALF, -0.09), (TABLE_HALF - 0.001, -0.022), (TABLE_HALF - 0.0065, -0.0065), (TABLE_HALF - 0.022, 0.0)]
    inner = np.linspace(-rim[-1][0], rim[-1][0], cells + 1)[1:-1]
    line = np.concatenate([[-x for x, _ in rim], inner, [x for x, _ in reversed(rim)]])
    drop = np.array([z for _, z in rim] + [0.0] * len(line))
    count = len(line)
    i, j = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    ring = np.minimum(np.minimum(i, count - 1 - i), np.minimum(j, count - 1 - j))
    verts = np.stack([line[i], line[j], drop[ring]], axis=-1).reshape(-1, 3)
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return verts, faces


def table_colour(points: Array) -> Array:
    """Stone checks in a dark frame, at points on the top `[N, 3]`."""
    x, y = points[:, 0], points[:, 1]
    vein = 1 - np.abs(shapes.value_noise(points, 2.2, 31, 4)) * 3.0
    grain = shapes.value_noise(points, 6.0, 32, 3)
    light = mix(rgb("#eadfca"), rgb("#b9a58a"), 0.15 + 0.25 * grain + 0.35 * np.clip(vein, 0, 1) ** 3)
    dark = mix(rgb("#2b4a50"), rgb("#6f8f8e"), 0.1 + 0.2 * grain + 0.5 * np.clip(vein, 0, 1) ** 3)
    odd = np.sin(np.pi * (x / CHECK + 0.5)) * np.sin(np.pi * (y / CHECK + 0.5))
    checks = mix(light, dark, step(odd, 0.03))
    frame = mix(rgb("#4a2f22"), rgb("#2f1d15"), 0.5 + 0.8 * shapes.value_noise(points * [6.0, 1, 1], 5.0, 33))
    edge = np.maximum(np.abs(x), np.abs(y)) - 5.5 * CHECK
    return mix(checks, frame, step(edge, 0.004))


TABLE_MATERIAL = Material("glossy", 0.05)
EDITED_ITEM = "duck"


def edit() -> Array:
    """`[4, 4]` scene to scene: what moves `EDITED_ITEM` from where the video shows it to where the edit puts it."""
    before = next(item.placement for item in items() if item.name == EDITED_ITEM)
    return place(0.60, -0.58, 60.0) @ np.linalg.inv(before)


def items() -> list[Item]:
    """Everything that stands on the table, in the order of the mesh file."""
    glaze, plastic = Material("glossy", 0.07), Material("glossy", 0.1)
    copper, silver = Material("metal", 0.15, "Cu", (1.0, 0.74, 0.56)), Material("metal", 0.12, "Ag")
    return [
        Item("vase", vase, vase_colour, (-0.26, -0.26, -0.02), (0.26, 0.26, 0.9), 0.005, glaze,
             place(-0.33, 0.36, 0.0)),
        Item("teapot", teapot, plain, (-0.46, -0.28, -0.02), (0.52, 0.28, 0.53), 0.005, copper,
             place(0.36, 0.33, 35.0)),
        Item("duck", duck, duck_colour, (-0.3, -0.22, -0.02), (0.35, 0.22, 0.46), 0.004, plastic,
             place(-0.42, -0.33, -70.0)),
        Item("pear", pear, pear_colour, (-0.18, -0.18, -0.02), (0.18, 0.18, 0.49), 0.004, Material("matte"),
             place(0.50, -0.10, 20.0)),
        Item("block", block, block_colour, (-0.17, -0.17, -0.02), (0.17, 0.17, 0.32), 0.004, Material("matte"),
             place(0.08, -0.3, 28.0)),
        Item("torus", torus, plain, (-0.3, -0.3, -0.1), (0.3, 0.3, 0.1), 0.004, silver,
             place(0.15, -0.63, 28.0, lift=0.243, lean_deg=-58.0)),
    ]  # fmt: skip
