"""The neural texture: a pyramid of learned feature images, sampled bilinearly and summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample


class NeuralTexture(nn.Module):
    """Learned features on the unit square, coarse to fine like a Laplacian pyramid.

    Level 0 is the finest; level l has half the texels of level l - 1 each way. The features at a point are the sum over
    levels, so coarse levels carry what neighbouring texels share and fill what no view saw. All start at zero: the
    network's gradient makes texels differ, and texels that no view saw show what lies around them, not noise.

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
            torch.zeros(1, channels, height >> level, width >> level) for level in range(num_levels)
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NeuralTexture:
        """Move or cast; on a GPU the channels of a texel lie side by side, so that a lookup reads whole rows."""
        super()._apply(fn, recurse)
        for level in self.levels:
            if level.is_cuda:
                level.data = level.data.contiguous(memory_format=torch.channels_last)
        return self

    @property
    def size(self) -> int:
        """Texels along the longer side of the finest level."""
        return max(self.levels[0].shape[2:])

    @property
    def channels(self) -> int:
        """Features a texel."""
        return self.levels[0].shape[1]

    def forward(self, uv: Float[Tensor, "B H W 2"], more: Sequence[Tensor] = ()) -> Float[Tensor, "B C H W"]:
        """Sample the pyramid.

        Args:
            uv: `[B, H, W, 2]` with v up; texel centres lie at (k + 0.5) / size. Points outside the unit square take
                the value of its border.
            more: levels `[1, C, h, w]` to add to the pyramid's own.

        Returns:
            `[B, C, H, W]`.

        Differentiable in: uv, the texels, more.
        """
        return self._lookup(torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], dim=-1), more=more)

    def _lookup(
        self, grid: Float[Tensor, "B H W 2"], *, wrap: bool = False, more: Sequence[Tensor] = ()
    ) -> Float[Tensor, "B C H W"]:
        """Sample at coordinates within [-1, 1], row coordinates downwards."""
        batch, height, width, _ = grid.shape
        # One tall image: the texture is then read once, not copied for each view of the batch.
        grid = grid.reshape(1, batch * height, width, 2)
        total: Tensor | float = 0.0
        for level in (*self.levels, *more):
            texels, places = level.to(grid.dtype), grid
            if wrap:
                size = grid.new_tensor([level.shape[3], level.shape[2]])
                texels, places = _fold_over(texels), grid * (size / (size + 2))
            total = total + grid_sample(texels, places, padding_mode="border", align_corners=False)
        assert isinstance(total, Tensor)
        return total.view(self.channels, batch, height, width).transpose(0, 1)

    def decay_weights(self) -> list[float]:
        """How strongly each level is pulled to zero: 1 on the finest, falling linearly to 0 on the coarsest."""
        last = len(self.levels) - 1
        return [1.0 - level / last if last else 0.0 for level in range(last + 1)]


class EnvironmentTexture(NeuralTexture):
    """Learned features on the sphere of directions, stored on an unfolded octahedron.

    Args:
        size: texels along each side of the finest level.
        channels: features a texel.
        num_levels: levels of the pyramid.

    Raises:
        ValueError: as `NeuralTexture`.
    """

    def __init__(self, size: int, *, channels: int = 16, num_levels: int = 4) -> None:
        super().__init__(size, size, channels=channels, num_levels=num_levels)

    def forward(self, directions: Float[Tensor, "B H W 3"], more: Sequence[Tensor] = ()) -> Float[Tensor, "B C H W"]:
        """Sample the pyramid by direction, without a seam anywhere.

        Args:
            directions: `[B, H, W, 3]`, any length above 0.
            more: levels `[1, C, s, s]` to add to the pyramid's own.

        Returns:
            `[B, C, H, W]`.

        Differentiable in: directions, the texels.
        """
        return self._lookup(2 * direction_to_square(directions) - 1, wrap=True, more=more)

    def roughness(self) -> Float[Tensor, ""]:
        """Mean squared difference of a texel from those around it, summed over the levels.

        Where little is seen of a texel, nothing else keeps it from what that little happens to ask of it.

        Differentiable in: the texels.
        """
        total = self.levels[0].new_zeros(())
        for level in self.levels:
            around = avg_pool2d(_fold_over(level), 3, stride=1)
            total = total + (level - around).square().mean()
        return total


def _fold_over(texels: Tensor) -> Tensor:
    """A border of one texel, taken from where the octahedron's outline continues: the same side, mirrored."""
    texels = torch.cat([texels[..., :1, :].flip(-1), texels, texels[..., -1:, :].flip(-1)], dim=-2)
    return torch.cat([texels[..., :1].flip(-2), texels, texels[..., -1:].flip(-2)], dim=-1)


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
