"""What a surface mirrors of its own scene: rays in the mirror direction through a field of distances."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from neuraltex.cameras.camera import Camera
from neuraltex.geometry.distance_field import DistanceField
from neuraltex.raster.backends import pick_stages
from neuraltex.raster.gbuffer import GBuffer
from neuraltex.shading.gloss import mirrored
from neuraltex.shading.texture import NeuralTexture

# Colour of what is met, and how free the mirror direction is within a narrow and a wide cone.
CHANNELS = 5
STEPS = 32
# Without kernels, rays that have arrived are swept out of the way after so many steps.
STEPS_A_SWEEP = 4
# Slopes of the cones, radius to length: a polished and a satin surface.
NARROW, WIDE = 0.1, 0.4
# Where a ray starts above its surface, and how near it passes when it has met something, in spacings of the field.
LIFT, CONTACT = 1.5, 0.9
PIXELS_A_PROGRAM = 128


@torch.no_grad()
def look_around(
    field: DistanceField, texture: NeuralTexture, gbuffer: GBuffer, cameras: Camera, backend: str = "auto"
) -> Float[Tensor, "B H W 5"]:
    """What each pixel's surface mirrors of the scene, as it would be without light of its own.

    Rays are walked by the distance to the nearest surface. How near they pass to one, relative to how far they have
    come, tells what share of a cone around them is blocked, as rough surfaces see it; the plane of the surface that
    they start from does not count.

    Args:
        field: of the scene.
        texture: its first three channels are colour.
        gbuffer: surface buffers `[B, H, W, ...]`.
        cameras: a batch `[B]`, that the buffers were made with.
        backend: as in `pick_stages`.

    Returns:
        `[B, H, W, 5]` colour of what is met, times its share of the narrow cone; the free share of the narrow and of
        the wide cone. Zeros where no surface is seen. Nothing here carries gradients.

    Source: J. C. Hart, "Sphere Tracing", The Visual Computer 1996; cones after I. Quilez, "Soft shadows in raymarched
    SDFs", 2010.
    """
    colours = _node_colours(field, texture) if field.colours is None else field.colours
    mask = gbuffer.mask
    if pick_stages(backend, gbuffer.uv) == "triton":
        return _fused(field, colours, gbuffer, cameras)
    dirs, normals = gbuffer.ray_dirs[mask], gbuffer.normals[mask]
    views = mask.nonzero()[:, 0]
    points = cameras.center.index_select(0, views) + dirs * gbuffer.distances(cameras)[mask][:, None]
    seen = points.new_zeros(*mask.shape, CHANNELS)
    seen[mask] = trace(field, colours, points, dirs, normals)
    return seen


@torch.no_grad()
def coloured(field: DistanceField, texture: NeuralTexture) -> DistanceField:
    """A field that knows the colours of a texture which changes no more."""
    return replace(field, colours=_node_colours(field, texture))


def _node_colours(field: DistanceField, texture: NeuralTexture) -> Float[Tensor, "N 4"]:
    """The texture's colour at the nodes around the surface, and 1 there; zeros at the others."""
    colour = texture.colour(field.shell_uv[None, None])[0, :, 0].clamp(0, 1).t()
    nodes = colour.new_zeros(field.distances.numel(), 4)
    return nodes.index_copy(0, field.shell, torch.cat([colour, torch.ones_like(colour[:, :1])], dim=1))


def trace(
    field: DistanceField,
    colours: Float[Tensor, "N 4"],
    points: Float[Tensor, "M 3"],
    view_dirs: Float[Tensor, "M 3"],
    normals: Float[Tensor, "M 3"],
) -> Float[Tensor, "M 5"]:
    """What is met from points of a surface; see `look_around`.

    Args:
        field: of the scene.
        colours: `[N, 4]` of its nodes, and whether they have one.
        points: `[M, 3]` world.
        view_dirs: `[M, 3]` unit, camera to surface.
        normals: `[M, 3]` unit.
    """
    spacing = field.spacing
    dirs, facing = mirrored(view_dirs, normals)
    lift = LIFT * spacing
    start = points - normals * facing.sign() * lift
    sizes = torch.tensor(field.distances.shape[::-1], device=points.device, dtype=points.dtype)
    farthest = field.origin + spacing * (sizes - 1)

    def sample(volume: Tensor, at: Tensor) -> Tensor:
        grid = ((at - field.origin) * (2 / (spacing * (sizes - 1))) - 1)[None, None, None]
        return grid_sample(volume[None], grid, padding_mode="border", align_corners=True).view(len(volume), -1).t()

    origins, onwards, slants, along = start, dirs, facing.abs(), torch.zeros_like(facing)
    met, narrow, wide = along, torch.ones_like(along), torch.ones_like(along)
    rays, found = torch.arange(len(points), device=points.device), points.new_zeros(len(points), 3)
    for step in range(STEPS):
        at = origins + onwards * along
        inside = ((at >= field.origin) & (at <= farthest)).all(dim=-1, keepdim=True)
        distance = sample(field.distances[None], at)
        hit: Bool[Tensor, "M 1"] = inside & (distance < CONTACT * spacing)
        free = lift + along * slants
        ratio, wider = (
            torch.where(hit, 0.0, distance / torch.minimum(free, spacing + slope * along)) for slope in (NARROW, WIDE)
        )
        nearer = inside & (ratio < narrow)
        met, narrow = torch.where(nearer, along, met), torch.where(nearer, ratio, narrow)
        wide = torch.where(inside & (wider < wide), wider, wide)
        going = inside & ~hit
        along = along + torch.where(going, distance.clamp(min=0.5 * float(spacing)), 0.0)
        if step % STEPS_A_SWEEP == STEPS_A_SWEEP - 1 or step == STEPS - 1:
            found.index_copy_(0, rays, torch.cat([met, narrow, wide], dim=-1))
            on = going.squeeze(1).nonzero().squeeze(1)  # the others stay as they are
            rays, origins, onwards, slants, along, met, narrow, wide = (
                values.index_select(0, on) for values in (rays, origins, onwards, slants, along, met, narrow, wide)
            )
    met, narrow, wide = found.split(1, dim=-1)
    seen = sample(colours.t().view(4, *field.distances.shape), start + dirs * met)
    share = torch.where(seen[:, 3:] > 1e-3, (1 - narrow) / seen[:, 3:].clamp(min=1e-3), 0.0)
    return torch.cat([seen[:, :3] * share, narrow, wide], dim=-1)


def _fused(field: DistanceField, colours: Tensor, gbuffer: GBuffer, cameras: Camera) -> Float[Tensor, "B H W 5"]:
    from neuraltex.kernels.surroundings import surroundings_kernel

    mask = gbuffer.mask
    seen = colours.new_empty(*mask.shape, CHANNELS)
    depth, height, width = field.distances.shape
    views = cameras.center, cameras.w2c[:, 2, :3]
    buffers = (gbuffer.depth, mask, gbuffer.ray_dirs, gbuffer.normals, *views, field.origin, field.spacing)
    with torch.cuda.device_of(mask):
        surroundings_kernel[(-(-mask.numel() // PIXELS_A_PROGRAM),)](
            *(buffer.contiguous() for buffer in buffers), field.distances, colours, seen,
            mask.numel(), mask[0].numel(), width, height, depth, NARROW, WIDE, LIFT, CONTACT,
            STEPS=STEPS, CHANNELS=CHANNELS, BLOCK=PIXELS_A_PROGRAM,
        )  # fmt: skip
    return seen
