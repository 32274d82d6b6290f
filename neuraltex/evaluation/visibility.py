"""Which view sees a point of the mesh: depth maps that are compared where they can be interpolated."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from neuraltex.raster import Fragments

# A view sees a point where its own depth there is that of the point, up to this share.
DEPTH_TOLERANCE = 0.01


def inverse_depth(fragments: Fragments) -> Float[Tensor, "B H W"]:
    """`[B, H, W]` 1/z, which is linear between the pixels of a plane; 0 on the background."""
    return torch.where(fragments.mask, 1 / torch.where(fragments.mask, fragments.zbuf, 1.0), 0.0)


def depth_edges(inverse: Float[Tensor, "B H W"]) -> Bool[Tensor, "B H W"]:
    """True on both sides of a jump in depth: the second difference of 1/z tells one from a slope.

    Args:
        inverse: `[B, H, W]` from `inverse_depth`.
    """
    padded = pad(inverse[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    height, width = inverse.shape[1:]
    edge = torch.zeros_like(inverse, dtype=torch.bool)
    for row, column in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ahead = padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]
        back = padded[:, 1 - row : 1 - row + height, 1 - column : 1 - column + width]
        nearest = torch.maximum(inverse, torch.maximum(ahead, back))
        edge |= (ahead - 2 * inverse + back).abs() > 2 * DEPTH_TOLERANCE * nearest
    return edge
