"""What a surface shows in some states only: wrinkles, blood in the skin, the inside of a mouth."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Detail(nn.Module):
    """A level of the neural texture that depends on numbers, such as the coefficients of an expression.

    A few textures are blended, each as much as a weighted sum of the numbers says. Nothing richer: a network of the
    numbers knows each frame of a video by them, learns its light along with its wrinkles, and shows that light
    wherever it meets the same numbers again. The textures start at zero: without training there is no detail, and
    there is none where all numbers are 0.

    Args:
        num_conditions: how many numbers.
        size: texels along each side.
        channels: features a texel.
        num_bases: textures to blend.
    """

    def __init__(self, num_conditions: int, size: int, *, channels: int, num_bases: int) -> None:
        super().__init__()
        self.bases = nn.Parameter(torch.zeros(num_bases, channels, size, size))
        self.blend = nn.Linear(num_conditions, num_bases, bias=False)

    def forward(self, condition: Float[Tensor, "E"]) -> Float[Tensor, "1 C S S"]:
        """The level `[1, C, S, S]` under `[E]` numbers. Differentiable in: condition, textures, blend."""
        weights: Tensor = self.blend(condition)
        return torch.einsum("k,kchw->chw", weights, self.bases)[None]
