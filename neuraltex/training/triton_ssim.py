"""Structural similarity as Triton kernels: the twin of `ssim_map`, differentiable in the first image only."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuraltex.kernels import structural
from neuraltex.training.losses import SSIM_C1, SSIM_C2, SSIM_RADIUS, SSIM_SIGMA

# Two values a lane: at four and more, the addresses of all taps no longer fit into registers.
ROWS_A_PROGRAM, VALUES_A_ROW, WARPS = 8, 64, 8


def _window() -> tuple[float, ...]:
    weights = [math.exp(-0.5 * (k / SSIM_SIGMA) ** 2) for k in range(-SSIM_RADIUS, SSIM_RADIUS + 1)]
    return tuple(weight / sum(weights) for weight in weights)


WINDOW = {"WEIGHTS": _window(), "RADIUS": SSIM_RADIUS}


def _grid(image: Tensor, values_a_row: int, *, row_size: int) -> tuple[int, int, int]:
    return -(-row_size // values_a_row), -(-image.shape[1] // ROWS_A_PROGRAM), image.shape[0]


class _Similarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        first, second = first.contiguous(), second.contiguous()
        batch, height, width, channels = first.shape
        needs_partials = ctx.needs_input_grad[0]
        moments = first.new_empty(batch, 5, height, width, channels)
        partials = first.new_empty(batch, 3, height, width, channels) if needs_partials else moments
        similarity = first.new_empty(batch, height, width)
        padded = triton.next_power_of_2(channels)
        columns = max(VALUES_A_ROW // padded, 1)
        with torch.cuda.device_of(first):
            structural.moments_kernel[_grid(first, VALUES_A_ROW, row_size=width * channels)](
                first, second, moments, height, width, channels, **WINDOW,
                ROWS=ROWS_A_PROGRAM, VALUES=VALUES_A_ROW, num_warps=WARPS,
            )  # fmt: skip
            structural.similarity_kernel[_grid(first, columns, row_size=width)](
                moments, similarity, partials, height, width, channels, C1=SSIM_C1, C2=SSIM_C2, **WINDOW,
                TO_PARTIALS=needs_partials, ROWS=ROWS_A_PROGRAM, COLUMNS=columns, CHANNELS=padded,
                num_warps=WARPS,
            )  # fmt: skip
        if needs_partials:
            ctx.save_for_backward(first, second, partials)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        first, second, partials = ctx.saved_tensors
        _, height, width, channels = first.shape
        sums, grad_first = torch.empty_like(partials), torch.empty_like(first)
        grid = _grid(first, VALUES_A_ROW, row_size=width * channels)
        with torch.cuda.device_of(first):
            structural.partials_backward_kernel[grid](
                partials, grad.contiguous(), sums, height, width, channels, **WINDOW,
                ROWS=ROWS_A_PROGRAM, VALUES=VALUES_A_ROW, num_warps=WARPS,
            )  # fmt: skip
            structural.image_backward_kernel[grid](
                sums, first, second, grad_first, height, width, channels, **WINDOW,
                ROWS=ROWS_A_PROGRAM, VALUES=VALUES_A_ROW, num_warps=WARPS,
            )  # fmt: skip
        return grad_first, None


def fused_ssim_map(first: Float[Tensor, "B H W C"], second: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W"]:
    """As `ssim_map`, two kernels each way.

    Args:
        first: `[B, H, W, C]` float32 in [0, 1], at least 6 pixels each way: what is rendered.
        second: the same of a photograph, which no gradient reaches.

    Returns:
        `[B, H, W]`, 1 where the images agree.

    Raises:
        ValueError: an argument's shape or dtype is not as above, or `second` requires gradients.

    Differentiable in: first.

    Source: Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004.
    """
    if first.dtype != torch.float32 or min(first.shape[1:3]) <= SSIM_RADIUS:
        expected = f"float32 of at least {SSIM_RADIUS + 1} pixels each way"
        raise ValueError(f"first: expected {expected}, got {first.dtype} {list(first.shape)}")
    if second.dtype != torch.float32 or second.shape != first.shape:
        raise ValueError(f"second: expected float32 {list(first.shape)}, got {second.dtype} {list(second.shape)}")
    if second.requires_grad:
        raise ValueError("second: expected a photograph, got a tensor that requires gradients")
    return _Similarity.apply(first, second)
