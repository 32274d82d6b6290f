"""Where the light of a scene comes from, found in its texture's shadows, and what it does once parts have moved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize, softplus

from neuraltex.cameras import Camera, look_at
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import rasterize

NUM_LAMPS, KEPT_LAMPS = 128, 64
# Lamps stand so many radii of the scene from its middle: near enough for soft boxes, far enough for windows.
DISTANCE = 3.0
MAP_SIZE = 256
# A point is lit where nothing lies nearer to the lamp by more than this, in radii of the scene.
BIAS = 0.01
STEPS, PAIRS = 400, 20_000
# Differences of the logarithm of colour beyond this are what is painted on the surface rather than light.
PAINT = 0.15


@dataclass(frozen=True)
class Light:
    """Lamps around a scene, and light from everywhere.

    Args:
        positions: `[K, 3]` world.
        radiance: `[K, 3]` linear light of each lamp, in any unit.
        ambient: `[3]` what reaches every point, in the same unit.
        middle: `[3]` of the scene, world.
        radius: of the scene, in its unit.
    """

    positions: Float[Tensor, "K 3"]
    radiance: Float[Tensor, "K 3"]
    ambient: Float[Tensor, "3"]
    middle: Float[Tensor, "3"]
    radius: float

    def to(self, device: torch.device | str) -> Light:
        """The same with every buffer on `device`."""
        return Light(
            self.positions.to(device),
            self.radiance.to(device),
            self.ambient.to(device),
            self.middle.to(device),
            self.radius,
        )


class Shadows:
    """What each lamp sees of a scene.

    Args:
        verts: `[V, 3]` world, of what casts shadows.
        faces: `[F, 3]` its triangles.
        light: the lamps.
    """

    def __init__(self, verts: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], light: Light) -> None:
        self.light = light
        self.cameras = [_lamp_camera(position, light) for position in light.positions.cpu()]
        self.maps: list[Tensor] = []
        for k, camera in enumerate(self.cameras):
            self.cameras[k] = camera.to(verts.device)
            fragments = rasterize(verts, faces, self.cameras[k])
            self.maps.append(torch.where(fragments.mask, fragments.zbuf, torch.inf)[0])

    def received(self, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N K"]:
        """How much of each lamp's light falls onto surface points: its cosine where the lamp sees the point.

        Args:
            points: `[N, 3]` world.
            normals: `[N, 3]` unit, world.
        """
        shares = []
        for position, camera, depth in zip(self.light.positions, self.cameras, self.maps, strict=True):
            towards = normalize(position - points, dim=-1)
            cosine = (normals * towards).sum(-1).clamp(min=0)
            shares.append(cosine * self._seen(points, camera, depth))
        return torch.stack(shares, dim=1)

    def irradiance(self, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """`[N, 3]` linear light that falls onto surface points."""
        return self.received(points, normals) @ self.light.radiance + self.light.ambient

    def _seen(self, points: Tensor, camera: Camera, depth: Float[Tensor, "S S"]) -> Float[Tensor, "N"]:
        """Whether a lamp sees points, blended between the four nearest pixels of its map."""
        places = points @ camera.w2c[0, :3, :3].t() + camera.w2c[0, :3, 3]
        nearest = places[:, 2] - BIAS * self.light.radius
        # Parts may be moved beside a lamp and beyond: numbers stay finite there, and nothing is in the way.
        pixels = (places @ camera.K[0].t())[:, :2] / places[:, 2:].clamp(min=BIAS * self.light.radius) - 0.5
        corner = pixels.clamp(-1, MAP_SIZE).floor()
        share = (pixels - corner).clamp(0, 1)
        column, row = corner.long().clamp(0, MAP_SIZE - 2).unbind(-1)
        flat, first = depth.view(-1), row * MAP_SIZE + column
        total = torch.zeros_like(nearest)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            lit = (nearest < flat.index_select(0, first + (down * MAP_SIZE + right))).to(total.dtype)
            total += lit * (share[:, 0] if right else 1 - share[:, 0]) * (share[:, 1] if down else 1 - share[:, 1])
        return total


def _lamp_camera(position: Float[Tensor, "3"], light: Light) -> Camera:
    """What a lamp sees the whole scene with."""
    middle = light.middle.cpu()
    offset = middle - position
    up = torch.eye(3)[int(offset.abs().argmin())]
    # A fifth wider than the scene was: parts may be moved out of it.
    reach = min(1.2 * light.radius / float(offset.norm()), 0.99)
    return Camera.from_fov(look_at(position[None], middle, up), 2 * math.degrees(math.asin(reach)), MAP_SIZE, MAP_SIZE)


def lamps_around(mesh: Mesh) -> Light:
    """Equal lamps on a sphere around a scene, at equal distances from each other."""
    lowest, highest = mesh.verts.amin(0), mesh.verts.amax(0)
    middle, radius = (lowest + highest) / 2, float((highest - lowest).norm() / 2)
    step = torch.arange(NUM_LAMPS) + 0.5
    height = 1 - 2 * step / NUM_LAMPS
    turn = step * math.pi * (3 - math.sqrt(5))
    around = (1 - height.square()).sqrt()
    directions = torch.stack([around * turn.cos(), around * turn.sin(), height], dim=1).to(middle.device)
    equal = torch.full((NUM_LAMPS, 3), 1 / NUM_LAMPS, device=middle.device)
    return Light(middle + DISTANCE * radius * directions, equal, torch.zeros_like(middle), middle, radius)


def fit_light(
    lamps: Light,
    received: Float[Tensor, "N K"],
    places: Int[Tensor, "N 2"],
    colour: Float[Tensor, "N 3"],
    owners: Int[Tensor, "N"],
    points: Float[Tensor, "N 3"],
    *,
    size: int,
    seed: int = 0,
) -> Light:
    """Find the lamps' light from a texture that has shadows in it.

    Between two texels near each other, the logarithm of colour differs by that of the light they receive, and by what
    is painted there. Paint has sharp edges and is what it is; light changes softly and as the lamps' visibility says.
    A robust fit of the differences tells one from the other without knowing the paint.

    Args:
        lamps: where lamps may be.
        received: `[N, K]` share of each lamp's light at texels that photographs show.
        places: `[N, 2]` row and column of each texel.
        colour: `[N, 3]` its linear colour.
        owners: `[N]` its part.
        points: `[N, 3]` where it lies, world.
        size: texels along the texture's side.
        seed: of the texel pairs.

    Returns:
        The brightest of the lamps; light of the others is counted as ambient.

    Source: E. Land, J. McCann, "Lightness and Retinex Theory", JOSA 1971, for telling light from paint by gradients.
    """
    device = received.device
    generator = torch.Generator().manual_seed(seed)
    lookup = torch.full((size, size), -1, dtype=torch.int64, device=device)
    lookup[places[:, 0], places[:, 1]] = torch.arange(len(places), device=device)
    logarithm = colour.clamp(min=1e-3).log()
    strength = torch.full((received.shape[1], 3), -1.0, device=device, requires_grad=True)
    ambient = torch.full((3,), -2.0, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([strength, ambient], lr=0.05)
    count = received.shape[1]
    for _ in range(STEPS):
        first, second = _pairs(places, lookup, owners, points, 0.3 * lamps.radius, generator)
        radiance, everywhere = softplus(strength) / count, softplus(ambient) / 10
        light = [received.index_select(0, rows) @ radiance + everywhere for rows in (first, second)]
        painted = logarithm.index_select(0, first) - logarithm.index_select(0, second)
        off = (light[0].log() - light[1].log() - painted).abs()
        # Not the mean: of no pairs it is not a number.
        loss = (off / (off + PAINT)).sum() / max(off.numel(), 1) + 1e-4 * (radiance * count).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        radiance, everywhere = softplus(strength) / count, softplus(ambient) / 10
        mean = received.mean(dim=0)
        order = (radiance.mean(dim=1) * mean).argsort(descending=True)
        kept, dropped = order[:KEPT_LAMPS], order[KEPT_LAMPS:]
        everywhere = everywhere + mean[dropped] @ radiance[dropped]
        return Light(lamps.positions[kept], radiance[kept], everywhere, lamps.middle, lamps.radius)


def _pairs(
    places: Int[Tensor, "N 2"],
    lookup: Int[Tensor, "S S"],
    owners: Int[Tensor, "N"],
    points: Float[Tensor, "N 3"],
    reach: float,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "M"], Int[Tensor, "M"]]:
    """Texels of one part at distances from 1 to 64 texels, near each other in the world, too."""
    device = places.device
    first = torch.randint(len(places), (PAIRS,), generator=generator).to(device)
    distance, angle = torch.rand(2, PAIRS, generator=generator).to(device).unbind(0)
    distance, angle = 2 ** (6 * distance), 2 * math.pi * angle
    offset = torch.stack([distance * angle.sin(), distance * angle.cos()], dim=1).round().long()
    row, column = (places.index_select(0, first) + offset).clamp(0, len(lookup) - 1).unbind(-1)
    second = lookup[row, column]
    far = (points.index_select(0, first) - points.index_select(0, second.clamp(min=0))).norm(dim=-1) > reach
    good: Bool[Tensor, "M"] = (second >= 0) & (owners[first] == owners[second.clamp(min=0)]) & ~far
    return first[good], second[good]
