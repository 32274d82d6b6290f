"""What a surface shows in some states only: wrinkles, blood in the skin, the inside of a mouth."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIDDEN = 32


class Detail(nn.Module):
    """A level of the neural texture that depends on numbers, such as the coefficients of an expression.

    A few textures are blended; how much of each is a learned function of the numbers, which are few, so that states
    that were never seen get something between those that were. The textures start at zero: without training, and where
    nothing depends on the numbers, there is no detail.

    Args:
        num_conditions: how many numbers.
        size: texels along each side.
        channels: features a texel.
        num_bases: textures to blend.
    """

    def __init__(self, num_conditions: int, size: int, *, channels: int, num_bases: int) -> None:
        super().__init__()
        self.bases = nn.Parameter(torch.zeros(num_bases, channels, size, size))
        self.blend = nn.Sequential(nn.Linear(num_conditions, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, num_bases))

    def forward(self, condition: Float[Tensor, "E"]) -> Float[Tensor, "1 C S S"]:
        """The level `[1, C, S, S]` under `[E]` numbers. Differentiable in: condition, textures, blend."""
        weights: Tensor = self.blend(condition)
        return torch.einsum("k,kchw->chw", weights, self.bases)[None]
