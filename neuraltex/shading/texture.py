"""The neural texture: a pyramid of learned feature images, sampled bilinearly and summed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample

INIT_STD = 0.05


class NeuralTexture(nn.Module):
    """Learned features on the unit square, coarse to fine like a Laplacian pyramid.

    Level 0 is the finest; level l has half the texels of level l - 1 each way. The features at a point are the sum over
    levels, so coarse levels carry what neighbouring texels share and fill what no view saw.

    Args:
        height, width: texels of the finest level.
        channels: features a texel.
        num_levels: levels of the pyramid.

    Raises:
        ValueError: a size below 1, or more levels than the smaller side can be halved to.

    Source: J. Thies, M. Zollhöfer, M. Nießner, "Deferred Neural Rendering", SIGGRAPH 2019, section 4.1.
    """

    def __init__(self, height: int, width: int, *, channels: int = 16, num_levels: int = 4) -> None:
        super().__init__()
        if min(height, width, channels, num_levels) < 1 or min(height, width) >> (num_levels - 1) < 1:
            raise ValueError(
                f"texture: expected positive sizes that can be halved {num_levels - 1} times, got "
                f"{height} x {width} texels, {channels} channels"
            )
        self.levels = nn.ParameterList(
            INIT_STD * torch.randn(1, channels, height >> level, width >> level) for level in range(num_levels)
        )

    @property
    def channels(self) -> int:
        """Features a texel."""
        return self.levels[0].shape[1]

    def forward(self, uv: Float[Tensor, "B H W 2"]) -> Float[Tensor, "B C H W"]:
        """Sample the pyramid.

        Args:
            uv: `[B, H, W, 2]` with v up; texel centres lie at (k + 0.5) / size. Points outside the unit square take
                the value of its border.

        Returns:
            `[B, C, H, W]`.

        Differentiable in: uv, the texels.
        """
        batch, height, width, _ = uv.shape
        # One tall image: the texture is then read once, not copied for each view of the batch.
        grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], dim=-1).view(1, batch * height, width, 2)
        total: Tensor | float = 0.0
        for level in self.levels:
            total = total + grid_sample(level.to(grid.dtype), grid, padding_mode="border", align_corners=False)
        assert isinstance(total, Tensor)
        return total.view(self.channels, batch, height, width).transpose(0, 1)

    def decay_weights(self) -> list[float]:
        """How strongly each level is pulled to zero: 1 on the finest, falling linearly to 0 on the coarsest."""
        last = len(self.levels) - 1
        return [1.0 - level / last if last else 0.0 for level in range(last + 1)]


def direction_to_square(directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
    """Map the sphere of directions to the unit square by unfolding an octahedron.

    Args:
        directions: `[..., 3]`, any length above 0.

    Returns:
        `[..., 2]` within [0, 1]; +z lies in the middle, -z at the corners. Nearly equal texel areas and no pole.

    Differentiable in: directions.

    Source: Z. Cigolle et al., "A Survey of Efficient Representations for Independent Unit Vectors", JCGT 2014, 3(2).
    """
    x, y, z = (directions / directions.abs().sum(dim=-1, keepdim=True).clamp(min=1e-12)).unbind(-1)
    fold_x = torch.where(x >= 0, 1 - y.abs(), y.abs() - 1)
    fold_y = torch.where(y >= 0, 1 - x.abs(), x.abs() - 1)
    below = z < 0
    return 0.5 + 0.5 * torch.stack([torch.where(below, fold_x, x), torch.where(below, fold_y, y)], dim=-1)
