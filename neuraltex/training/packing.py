"""Weights as they lie on disk: half precision, and a byte a value in the textures, which are most of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

# Texels of a channel that share a scale lie in squares of this side.
SQUARE = 16
# Levels of this many values or more are worth it.
LEAST_VALUES = 1 << 16
SCALES = ".scales"


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named float tensors in fewer bytes; `unpack` gives them back, nearly.

    Large textures `[1, C, H, W]` become int8, and float16 scales `[C, H / 16, W / 16]` beside them; all else becomes
    float16 where that is wide enough.
    """
    packed = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().float()
        if tensor.ndim == 4 and len(tensor) == 1 and tensor.numel() >= LEAST_VALUES:
            packed[name], packed[name + SCALES] = _to_bytes(tensor)
        else:
            half = tensor.half()
            packed[name] = half if bool(half.isfinite().all()) else tensor
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 tensors of what `pack` made; of what was never packed, the same."""
    return {
        name: _from_bytes(tensor, packed[name + SCALES]) if name + SCALES in packed else tensor.float()
        for name, tensor in packed.items()
        if not name.endswith(SCALES)
    }


def _to_bytes(texels: Float[Tensor, "1 C H W"]) -> tuple[Int[Tensor, "1 C H W"], Float[Tensor, "C h w"]]:
    filling = (0, -texels.shape[3] % SQUARE, 0, -texels.shape[2] % SQUARE)
    scales = max_pool2d(pad(texels.abs(), filling), SQUARE) / 127
    scales = scales.clamp(max=torch.finfo(torch.float16).max).half()[0]
    spread = _spread(scales, texels.shape[2], texels.shape[3])
    values = torch.where(spread > 0, texels / spread.clamp(min=1e-30), 0.0)
    return values.round().clamp(-127, 127).to(torch.int8), scales


def _from_bytes(values: Int[Tensor, "1 C H W"], scales: Float[Tensor, "C h w"]) -> Float[Tensor, "1 C H W"]:
    return values.float() * _spread(scales, values.shape[2], values.shape[3])


def _spread(scales: Float[Tensor, "C h w"], height: int, width: int) -> Float[Tensor, "C H W"]:
    """A scale for each texel."""
    wide = scales.float().repeat_interleave(SQUARE, dim=1).repeat_interleave(SQUARE, dim=2)
    return wide[:, :height, :width]
