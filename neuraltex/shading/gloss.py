"""What a polished surface adds to its own colour: the part of the scene that it mirrors."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

# The share of light that is mirrored, one channel a colour and one for what grazes the surface, follows the channels
# that harmonics modulate.
GLOSS = slice(12, 16)
# Light is added up as light, of which a picture shows about the square root; below this it would have no slope.
DARKEST = 1e-4


def glossed(
    colour: Float[Tensor, "B 3 H W"],
    gloss: Float[Tensor, "B 4 H W"],
    facing: Float[Tensor, "B 1 H W"],
    sky: Float[Tensor, "B 3 H W"],
    around: Float[Tensor, "B 5 H W"],
) -> Float[Tensor, "B 3 H W"]:
    """Colour of surfaces with what they mirror.

    Told so, and not left to the network to find, a highlight that one view showed in one place is found in others.

    Args:
        colour: encoded colour of the surface without a mirror image.
        gloss: how much is mirrored: of red, green and blue light, and at grazing angles besides.
        facing: cosine between the ray and the mirrored ray, 1 at grazing angles, -1 seen from the front.
        sky: what lies far away in the mirror direction.
        around: from `look_around`.

    Differentiable in: all.

    Source: C. Schlick, "An Inexpensive BRDF Model for Physically-based Rendering", Computer Graphics Forum 1994.
    """
    cosine = (0.5 - 0.5 * facing).clamp(DARKEST, 1).sqrt()
    mirrored = around[:, 3:4] * sky + around[:, :3]
    share = gloss[:, :3] + gloss[:, 3:] * (1 - cosine) ** 5
    return (colour * colour.abs() + share * mirrored).clamp(min=DARKEST).sqrt()


def mirrored(
    view_dirs: Float[Tensor, "*batch 3"], normals: Float[Tensor, "*batch 3"]
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 1"]]:
    """Directions mirrored about normals, and the cosines between both. Differentiable in: all."""
    facing = (view_dirs * normals).sum(-1, keepdim=True)
    return view_dirs - 2 * facing * normals, facing


def facing_of(view: Float[Tensor, "B 9 H W"], mirror: Float[Tensor, "B 9 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Cosine between two directions, from the harmonics of both: those of the second band are the directions."""
    return (view[:, 1:4] * mirror[:, 1:4]).sum(dim=1, keepdim=True) * (4 * math.pi / 3)
