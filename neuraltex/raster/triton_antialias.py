"""Edge antialiasing as Triton kernels: the twin of `antialias`, dense, without host waits or atomics in its forward."""

from __future__ import annotations

from typing import Any

import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuraltex.kernels import silhouettes
from neuraltex.raster.fragments import Fragments
from neuraltex.raster.triton_backend import compact

PIXELS_A_PROGRAM, VALUES_A_PROGRAM = 128, 2048


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, projected: Tensor, fragments: Fragments, faces: Tensor, opposite: Tensor
    ) -> Tensor:
        features, projected = features.contiguous(), projected.contiguous()
        ids, zbuf = fragments.pix_to_face.contiguous(), fragments.zbuf.detach().contiguous()
        _, height, width, channels = features.shape
        num_pixels, num_verts = ids.numel(), projected.shape[1]
        weights = features.new_empty(2, num_pixels)
        blended = torch.empty_like(features)
        block, padded = _block(channels)
        with torch.cuda.device_of(features):
            silhouettes.pair_weights_kernel[(-(-num_pixels // PIXELS_A_PROGRAM),)](
                ids, zbuf, projected, faces, opposite, weights, num_pixels, num_verts, width, height,
                BLOCK=PIXELS_A_PROGRAM,
            )  # fmt: skip
            silhouettes.blend_kernel[(-(-num_pixels // block),)](
                features, weights, blended, num_pixels, channels, width, height, BLOCK=block, CHANNELS=padded
            )
        ctx.save_for_backward(features, projected, ids, zbuf, faces, opposite, weights)
        return blended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, projected, ids, zbuf, faces, opposite, weights = ctx.saved_tensors
        to_geometry = ctx.needs_input_grad[1]
        _, height, width, channels = features.shape
        num_pixels, num_verts = ids.numel(), projected.shape[1]
        grad = grad.contiguous()
        grad_features = torch.empty_like(grad)
        grad_weights = torch.empty_like(weights) if to_geometry else weights
        grad_projected = torch.zeros_like(projected) if to_geometry else None
        block, padded = _block(channels)
        with torch.cuda.device_of(features):
            silhouettes.blend_backward_kernel[(-(-num_pixels // block),)](
                features, weights, grad, grad_features, grad_weights, num_pixels, channels, width, height,
                TO_WEIGHTS=to_geometry, BLOCK=block, CHANNELS=padded,
            )  # fmt: skip
            if grad_projected is not None:
                silhouettes.pair_weights_backward_kernel[(-(-num_pixels // PIXELS_A_PROGRAM),)](
                    ids, zbuf, projected, faces, opposite, grad_weights, grad_projected,
                    num_pixels, num_verts, width, height, BLOCK=PIXELS_A_PROGRAM,
                )  # fmt: skip
        return grad_features, grad_projected, None, None, None


def _block(channels: int) -> tuple[int, int]:
    """Pixels a program, and channels padded to a power of two."""
    padded = triton.next_power_of_2(channels)
    return max(VALUES_A_PROGRAM // padded, 1), padded


def antialias_projected(
    features: Float[Tensor, "B H W C"],
    fragments: Fragments,
    projected: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    opposite: Int[Tensor, "F 3"],
) -> Float[Tensor, "B H W C"]:
    """As `antialias`, of vertices already projected.

    Differentiable in: features, projected.
    """
    return _Antialias.apply(features, projected, fragments, compact(faces), compact(opposite))
