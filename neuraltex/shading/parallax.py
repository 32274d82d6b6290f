"""Surroundings that are near: where rays from different places of the scene meet a sphere around it.

A lamp two scene sizes away is seen in other directions from one end of a table than from the other. What is mirrored
is therefore looked up where the mirror ray meets a sphere, whose size and centre are learned with it; with a sphere
that is infinitely large, directions are all that counts.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.raster.gbuffer import GBuffer

# Squared cosine under which a place nears the sphere, or leaves it, no further.
LEAST_ROOM = 0.05


def places_in_sphere(
    gbuffer: GBuffer, cameras: Camera, box: Float[Tensor, "4"], sphere: Float[Tensor, "4"]
) -> Float[Tensor, "B H W 3"]:
    """Where each pixel's surface lies in the sphere that surrounds the scene.

    Args:
        gbuffer: surface buffers `[B, H, W, ...]`.
        cameras: a batch `[B]`, that the buffers were made with.
        box: `[4]` centre and diagonal of the scene, in its units.
        sphere: `[4]` the scene's diagonal in radii of the sphere; then where the box's centre lies in it, in radii.
            Zeros for a sphere that is infinitely large.

    Returns:
        `[B, H, W, 3]` in radii, from the sphere's centre; zeros where no surface is seen.

    Differentiable in: gbuffer's depth and ray_dirs, cameras' w2c, sphere.
    """
    scale = sphere[0] / box[3]
    eyes = (cameras.center.to(gbuffer.depth) - box[:3]) * scale + sphere[1:]
    places = eyes[:, None, None] + (gbuffer.distances(cameras) * scale)[..., None] * gbuffer.ray_dirs
    return places * gbuffer.mask[..., None]


def met_on_sphere(places: Float[Tensor, "*batch 3"], dirs: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Where rays from within the unit sphere meet it, as directions from its centre.

    Args:
        places: `[..., 3]` where rays begin.
        dirs: `[..., 3]` unit.

    Differentiable in: all.

    Source: S. Lagarde, A. Zanuttini, "Local Image-based Lighting With Parallax-corrected Cubemap", SIGGRAPH 2012 Talks.
    """
    along = (places * dirs).sum(dim=-1, keepdim=True)
    room = (along * along + 1 - (places * places).sum(dim=-1, keepdim=True)).clamp(min=LEAST_ROOM)
    return places + (room.sqrt() - along) * dirs
