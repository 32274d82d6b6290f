"""Skin, eyes, teeth and hair as one picture over a rig's texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from neuraltex.cameras.camera import Camera
from neuraltex.raster import rasterize
from neuraltex.reenactment.rig import Rig

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

# Landmarks of the usual 68 points on the neutral face.
BROWS = (slice(17, 22), slice(22, 27))
LIPS = slice(48, 60)


@dataclass(frozen=True)
class Look:
    """What one person's surface looks like; colours are linear albedo.

    Args:
        skin, lips, hair, iris: colours.
        freckles: how dark they are, 0 to 1.
        beard: how dark a shaved beard shows, 0 to 1.
        hairline: height above the brows at which hair begins, in the rig's unit.
        brow_width: half of it, in the rig's unit.
        seed: of everything that is random about it.
    """

    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    freckles: float
    beard: float
    hairline: float
    brow_width: float
    seed: int


LOOKS = {
    "target": Look(
        (0.58, 0.37, 0.28), (0.50, 0.19, 0.17), (0.10, 0.055, 0.03), (0.10, 0.22, 0.33), 0.55, 0.0, 6.2, 0.42, 1
    ),
    "driving": Look(
        (0.40, 0.235, 0.16), (0.33, 0.13, 0.115), (0.03, 0.025, 0.02), (0.12, 0.06, 0.03), 0.0, 0.5, 5.6, 0.55, 2
    ),
}


def paint(rig: Rig, landmarks: Array, look: Look, size: int) -> tuple[Array, Array]:
    """Albedo `[size, size, 3]` and where wrinkles darken it, `[len(WRINKLES), size, size]`; row 0 is v = 1."""
    places, material, covered = bake_places(rig, size)
    names = [m.name for m in rig.scene.materials]
    noise = Noise(look.seed)
    albedo = np.full((size, size, 3), 0.3)
    flat = places[covered]
    owner = np.array(names)[material[covered]]
    colour = np.empty_like(flat)
    skin = np.isin(owner, ["M_Face", "M_BackHead"])
    colour[skin] = paint_skin(flat[skin], landmarks, look, noise)
    gums = owner == "M_GumsTongue"
    colour[gums] = np.array([0.42, 0.13, 0.12]) * (1 + 0.25 * noise(flat[gums], 1.5))[:, None]
    teeth = owner == "M_Teeth"
    colour[teeth] = np.array([0.72, 0.68, 0.58]) * (1 + 0.08 * noise(flat[teeth], 2.0))[:, None]
    for side in ("Left", "Right"):
        eye = np.isin(owner, [f"M_Sclera{side}", f"M_Iris{side}"])
        colour[eye] = paint_eye(flat[eye], look, noise)
    albedo[covered] = colour
    wrinkles = np.zeros((len(WRINKLES), size, size))
    lines = np.zeros((len(WRINKLES), len(flat)))
    lines[:, skin] = np.stack([draw(flat[skin], landmarks) for draw in WRINKLES.values()])
    wrinkles[:, covered] = lines
    return np.clip(spread(albedo, covered), 0.005, 0.9), wrinkles


def bake_places(rig: Rig, size: int) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Where on the neutral face each texel lies `[size, size, 3]`, the material there, and whether there is any."""
    part = rig.scene.parts[0]
    assert part.verts_uv is not None
    flat = torch.cat([part.verts_uv[:, :1], 1 - part.verts_uv[:, 1:], torch.ones(len(part.verts_uv), 1)], 1).float()
    K = torch.tensor([[size, 0.0, 0.0], [0.0, size, 0.0], [0.0, 0.0, 1.0]])
    seen = rasterize(flat, part.faces_uv, Camera(K[None], torch.eye(4)[None], size, size))
    face = seen.pix_to_face[0]
    corners = part.verts[part.faces[face.clamp(min=0)]]
    places = (corners * seen.bary[0][..., None]).sum(-2)
    return places.numpy(), part.face_materials[face.clamp(min=0)].numpy(), (face >= 0).numpy()


def spread(picture: Array, known: NDArray[np.bool_], rounds: int = 8) -> Array:
    """Texels beside the charts take the mean of their known neighbours, so that lookups at seams do not bleed."""
    picture, known = picture.copy(), known.copy()
    for _ in range(rounds):
        total, count = np.zeros_like(picture), np.zeros(known.shape)
        for axis in (0, 1):
            for shift in (-1, 1):
                beside = np.roll(known, shift, axis)
                total += np.roll(picture, shift, axis) * beside[..., None]
                count += beside
        fresh = ~known & (count > 0)
        picture[fresh] = total[fresh] / count[fresh][:, None]
        known |= fresh
    return picture


class Noise:
    """Smooth random numbers of unit spread over space."""

    def __init__(self, seed: int) -> None:
        self.lattice = torch.randn(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def __call__(self, points: Array, frequency: float | Array) -> Array:
        """`[N]` at `[N, 3]` points, in cells a unit."""
        places = torch.from_numpy(np.asarray(points * frequency + 7.3))
        # The lattice repeats; its mirror image continues it without a jump.
        folded = 1 - 2 * ((places / 63 + 0.5) / 2 - ((places / 63 + 0.5) / 2).floor() - 0.5).abs() * 2
        found = torch.nn.functional.grid_sample(self.lattice, folded[None, None, None], align_corners=True)
        return (1.8 * found[0, 0, 0, 0]).numpy()


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def distance_to_line(points: Array, line: Array) -> Array:
    """`[N]` distance to a polyline `[K, D]`."""
    nearest = np.full(len(points), np.inf)
    for start, end in pairwise(line):
        along = np.clip(((points - start) @ (end - start)) / ((end - start) @ (end - start)), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - start - along[:, None] * (end - start), axis=1))
    return nearest


def paint_skin(p: Array, landmarks: Array, look: Look, noise: Noise) -> Array:
    """`[N, 3]` albedo of the head's outside."""
    front = smoothstep(4.0, 7.0, p[:, 2])
    tone = 1 + 0.06 * noise(p, 0.35) + 0.05 * noise(p, 1.1) + 0.05 * noise(p, 2.9)
    colour = np.array(look.skin) * tone[:, None]
    red = np.zeros(len(p))
    for centre, radius in (
        (landmarks[30], 1.6),
        (landmarks[31] + [-2.8, 1.2, 0], 1.9),
        (landmarks[35] + [2.8, 1.2, 0], 1.9),
    ):
        red += np.exp(-(((p - centre) / radius) ** 2).sum(1))
    colour *= 1 - red[:, None] * np.array([0.0, 0.18, 0.16])
    spots = smoothstep(1.3, 1.9, noise(p, 2.3)) * smoothstep(-5.0, 0.0, p[:, 1]) * front
    colour *= 1 - look.freckles * spots[:, None] * np.array([0.5, 0.7, 0.8])
    moles = smoothstep(3.1, 3.6, noise(p + 31, 1.2)) * front
    colour *= 1 - 0.75 * moles[:, None]
    jaw = 1 - smoothstep(-2.4, -0.9, p[:, 1])
    beard = look.beard * jaw * smoothstep(1.0, 4.0, p[:, 2]) * smoothstep(-11.0, -8.5, p[:, 1])
    stubble = beard * np.clip(0.75 + 0.35 * noise(p, 4.5), 0, 1)
    lips = lip_mask(p, landmarks)
    colour *= 1 - 0.75 * (stubble * (1 - lips))[:, None]
    lip_colour = np.array(look.lips) * (1 + 0.12 * noise(p * [3.0, 0.6, 1.0], 1.2))[:, None]
    colour += lips[:, None] * (lip_colour - colour)
    for brow in BROWS:
        reach = distance_to_line(p, landmarks[brow]) + 0.12 * noise(p * [1.0, 0.4, 1.0], 4.0)
        hairs = 1 - smoothstep(look.brow_width * 0.6, look.brow_width * 1.3, reach)
        colour += 0.85 * hairs[:, None] * (np.array(look.hair) - colour)
    brow_height = landmarks[19, 1]
    line = p[:, 1] - brow_height - look.hairline + 1.1 * np.maximum(6.0 - p[:, 2], 0) + 0.5 * noise(p, 0.8)
    covered = smoothstep(-0.4, 0.5, line) * smoothstep(-6.5, -4.0, p[:, 1])
    covered *= np.where(p[:, 2] > 2.5, smoothstep(0.0, 1.5, p[:, 1] - brow_height + 2.0), 1.0)
    strands = np.clip(1 + 0.45 * noise(p * [2.2, 0.5, 0.5], 1.6), 0.3, 2.2)
    return colour + covered[:, None] * (np.array(look.hair) * strands[:, None] - colour)


def lip_mask(p: Array, landmarks: Array) -> Array:
    """`[N]` 1 on the lips: inside their outline as seen from the front, softly."""
    outline = np.concatenate([landmarks[LIPS], landmarks[48:49]])[:, :2]
    x, y = p[:, 0], p[:, 1]
    inside = np.zeros(len(p), bool)
    for (x0, y0), (x1, y1) in pairwise(outline):
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0 + 1e-30) + x0)
    signed = np.where(inside, 1, -1) * distance_to_line(p[:, :2], outline)
    return smoothstep(-0.1, 0.14, signed) * smoothstep(8.0, 9.0, p[:, 2])


def paint_eye(p: Array, look: Look, noise: Noise) -> Array:
    """`[N, 3]` of one eyeball, which looks along +z."""
    middle = (p.min(0) + p.max(0)) / 2
    across = np.linalg.norm((p - middle)[:, :2], axis=1) / (np.ptp(p[:, 0]) / 2)
    across = np.where(p[:, 2] > middle[2], across, 2.0)
    white = np.array([0.66, 0.62, 0.60]) * (1 - 0.05 * np.abs(noise(p, 3.0)))[:, None]
    iris = np.array(look.iris) * (1 + 0.3 * noise(p, 5.0))[:, None]
    colour = white + (1 - smoothstep(0.40, 0.44, across))[:, None] * (iris - white)
    rim = smoothstep(0.34, 0.40, across) * (1 - smoothstep(0.42, 0.46, across))
    colour *= 1 - 0.6 * rim[:, None]
    return colour * (1 - 0.93 * (1 - smoothstep(0.15, 0.18, across)))[:, None]


def _forehead(p: Array, landmarks: Array) -> Array:
    height = p[:, 1] - landmarks[19, 1] + 0.25 * np.cos(p[:, 0] * 0.6)
    lines = sum(np.exp(-(((height - level) / 0.14) ** 2)) for level in (1.5, 2.5, 3.5))
    return lines * smoothstep(6.0, 9.0, p[:, 2]) * (1 - smoothstep(3.2, 5.0, np.abs(p[:, 0])))


def _glabella(p: Array, landmarks: Array) -> Array:
    lines = sum(np.exp(-(((p[:, 0] - x) / 0.13) ** 2)) for x in (-0.55, 0.55))
    height = p[:, 1] - landmarks[21, 1]
    return lines * smoothstep(-1.3, -0.6, height) * (1 - smoothstep(0.6, 1.4, height)) * smoothstep(8.0, 9.5, p[:, 2])


def _folds(p: Array, landmarks: Array) -> Array:
    total = np.zeros(len(p))
    for side, nose, mouth in ((-1, 31, 48), (1, 35, 54)):
        start, end = landmarks[nose] + [side * 0.6, 0.5, 0], landmarks[mouth] + [side * 1.0, 0.1, 0]
        middle = (start + end) / 2 + [side * 0.45, 0.2, 0]
        total += np.exp(-((distance_to_line(p[:, :2], np.stack([start, middle, end])[:, :2]) / 0.16) ** 2))
    return total * smoothstep(6.0, 8.0, p[:, 2])


def _crows_feet(p: Array, landmarks: Array) -> Array:
    total = np.zeros(len(p))
    for side, corner in ((-1, 36), (1, 45)):
        for rise in (-0.5, 0.0, 0.55):
            start = landmarks[corner] + [side * 0.5, rise * 0.6, 0]
            line = np.stack([start, start + np.array([side * 1.3, rise, 0])])[:, :2]
            total += np.exp(-((distance_to_line(p[:, :2], line) / 0.1) ** 2))
    return total * smoothstep(3.0, 5.0, p[:, 2])


# Lines that show where an expression folds the skin, which the rig's vertices are too far apart for.
WRINKLES = {"forehead": _forehead, "glabella": _glabella, "folds": _folds, "crows_feet": _crows_feet}
# Which expressions draw them; the strongest one counts.
DRIVERS = {
    "forehead": ("browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R"),
    "glabella": ("browDown_L", "browDown_R"),
    "folds": ("mouthSmile_L", "mouthSmile_R", "noseSneer_L", "noseSneer_R"),
    "crows_feet": ("cheekSquint_L", "cheekSquint_R", "eyeSquint_L", "eyeSquint_R"),
}
DEPTH = 0.45


def wrinkled(albedo: Array, wrinkles: Array, expression: dict[str, float]) -> Array:
    """The albedo under an expression."""
    strength = [max(expression.get(name, 0.0) for name in DRIVERS[kind]) for kind in WRINKLES]
    return albedo * np.exp(-DEPTH * np.einsum("k,khw->hw", strength, wrinkles))[..., None]
