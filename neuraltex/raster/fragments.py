"""What rasterizing yields: which face each pixel sees, and where on it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """The nearest face at each pixel centre.

    Args:
        pix_to_face: `[B, H, W]` int64 face index, -1 on the background. Not packed across the batch.
        bary: `[B, H, W, 3]` perspective-correct barycentrics, 0 on the background.
        zbuf: `[B, H, W]` camera-space z in scene units, 0 on the background.
    """

    pix_to_face: Int[Tensor, "B H W"]
    bary: Float[Tensor, "B H W 3"]
    zbuf: Float[Tensor, "B H W"]

    @property
    def mask(self) -> Bool[Tensor, "B H W"]:
        """`[B, H, W]` true where a face is seen."""
        return self.pix_to_face >= 0
