"""The neural texture: a pyramid of learned feature images, sampled bilinearly and summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, grid_sample, interpolate

# Texels along a pixel from which on a level fades, and at which it is gone. Earlier is steadier and blurs: with these
# a picture of 1/2 to 1/8 of the size changes as much as photographs do when the camera moves by half a pixel.
FADES, GONE = 1.5, 3.0


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
        self._kept_bands: tuple[Tensor, ...] | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NeuralTexture:
        """Move or cast; on a GPU the channels of a texel lie side by side, so that a lookup reads whole rows."""
        super()._apply(fn, recurse)
        self._kept_bands = None
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

    def forward(
        self,
        uv: Float[Tensor, "B H W 2"],
        more: Sequence[Tensor] = (),
        footprint: Float[Tensor, "B H W"] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """Sample the pyramid.

        Args:
            uv: `[B, H, W, 2]` with v up; texel centres lie at (k + 0.5) / size. Points outside the unit square take
                the value of its border.
            more: levels `[1, C, h, w]` to add to the pyramid's own.
            footprint: `[B, H, W]` extent of each pixel in texture coordinates, to leave out what is too fine for it;
                None to leave out nothing.

        Returns:
            `[B, C, H, W]`.

        Differentiable in: uv, the texels, more.
        """
        grid = _to_grid(uv)
        if footprint is None:
            return self._lookup(grid, (*self.levels, *more))
        levels = (*self.bands(), *more)
        weights = [fade(footprint, size) for size in fading_sizes(levels, len(self.levels))]
        return self._lookup(grid, levels, weights=weights)

    def colour(self, uv: Float[Tensor, "B H W 2"]) -> Float[Tensor, "B 3 H W"]:
        """The first three channels alone, of all levels. Differentiable in: uv, the texels."""
        return self._lookup(_to_grid(uv), [level[:, :3] for level in self.levels])

    def bands(self) -> tuple[Tensor, ...]:
        """The same texture as levels that each hold only what the coarser ones cannot.

        As they are learned, levels share what they could each hold alone, so that without one of them its part of the
        mean would be missing too. Here each level's local mean has moved to the next coarser one. Their sum stays
        what it was but for how much is read between texels: bilinear lookups in two sizes are not quite one in one.

        Differentiable in: the texels, each level in its own band alone, as if bands were what is learned: what moves
        to coarser ones then is learned there, and going back through averages would cost as much as the lookup.
        """
        if self._kept_bands is not None:
            return self._kept_bands
        levels = [level.to(torch.promote_types(level.dtype, torch.float32)) for level in self.levels]
        changes: list[Tensor | float] = [0.0]
        with torch.no_grad():
            for level, coarser in pairwise(levels):
                mean = _shrunk(level + changes[-1], coarser)
                smooth = interpolate(mean, level.shape[2:], mode="bilinear", align_corners=False)
                changes[-1] = changes[-1] - smooth
                changes.append(mean)
        return tuple(level + change for level, change in zip(levels, changes, strict=True))

    @torch.no_grad()
    def keep_bands(self) -> None:
        """Make the bands once, for texels that change no more."""
        self._kept_bands = self.bands()

    def _lookup(
        self,
        grid: Float[Tensor, "B H W 2"],
        levels: Sequence[Tensor],
        *,
        wrap: bool = False,
        weights: Sequence[Tensor] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """Sample at coordinates within [-1, 1], row coordinates downwards."""
        batch, height, width, _ = grid.shape
        # One tall image: the texture is then read once, not copied for each view of the batch.
        grid = grid.reshape(1, batch * height, width, 2)
        total: Tensor | float = 0.0
        for index, level in enumerate(levels):
            texels, places = level.to(grid.dtype), grid
            if wrap:
                size = grid.new_tensor([level.shape[3], level.shape[2]])
                texels, places = _fold_over(texels), grid * (size / (size + 2))
            values = grid_sample(texels, places, padding_mode="border", align_corners=False)
            if weights is not None:
                values = values * weights[index].reshape(batch * height, width)
            total = total + values
        assert isinstance(total, Tensor)
        return total.view(levels[0].shape[1], batch, height, width).transpose(0, 1)

    def decay_weights(self) -> list[float]:
        """How strongly each level is pulled to zero: 1 on the finest, falling linearly to 0 on the coarsest."""
        last = len(self.levels) - 1
        return [1.0 - level / last if last else 0.0 for level in range(last + 1)]


def _to_grid(uv: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """Texture coordinates, v up, as `grid_sample` counts them."""
    return torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], dim=-1)


def _shrunk(level: Tensor, coarser: Tensor) -> Tensor:
    """The means of a level in the size of a coarser one."""
    if level.shape[2] == 2 * coarser.shape[2] and level.shape[3] == 2 * coarser.shape[3]:
        return avg_pool2d(level, 2)  # the same, several times as fast
    return adaptive_avg_pool2d(level, (coarser.shape[2], coarser.shape[3]))


def fading_sizes(levels: Sequence[Tensor], num_own: int) -> tuple[int, ...]:
    """The texels along the longer side of levels, 0 for the coarsest of the pyramid, which never fades.

    Args:
        levels: a pyramid's, and others behind them.
        num_own: how many are the pyramid's.
    """
    return tuple(max(level.shape[2:]) if index != num_own - 1 else 0 for index, level in enumerate(levels))


def fade(footprint: Float[Tensor, "*shape"], size: int) -> Float[Tensor, "*shape"]:
    """How much of a level pixels are shown: all of one whose texels are as large as they, none of one much finer.

    Args:
        footprint: extent of each pixel in texture coordinates.
        size: texels along the level; 0 for one that never fades.

    Source: L. Williams, "Pyramidal Parametrics", SIGGRAPH 1983, for levels that are summed.
    """
    ramp = ((GONE - footprint * size) / (GONE - FADES)).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


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

    def forward(  # type: ignore[override]
        self, directions: Float[Tensor, "B H W 3"], more: Sequence[Tensor] = ()
    ) -> Float[Tensor, "B C H W"]:
        """Sample the pyramid by direction, without a seam anywhere.

        Args:
            directions: `[B, H, W, 3]`, any length above 0.
            more: levels `[1, C, s, s]` to add to the pyramid's own.

        Returns:
            `[B, C, H, W]`.

        Differentiable in: directions, the texels.
        """
        return self._lookup(2 * direction_to_square(directions) - 1, (*self.levels, *more), wrap=True)

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
