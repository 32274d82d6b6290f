"""What training minimises, and the image measures it is made of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from neuraltex.raster.backends import pick_backend

# Window and constants of the publication, for images in [0, 1].
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
# Pixels along each side of what counts as one place of a photograph that something went through.
NEIGHBOURHOOD = 9


def masked_mean(
    values: Float[Tensor, "B H W *C"], weight: Float[Tensor, "B H W"], total: Float[Tensor, ""] | None = None
) -> Float[Tensor, ""]:
    """Mean over the pixels of weight 1, and over channels if there are any; 0 where no pixel counts.

    Args:
        values: `[B, H, W]` or `[B, H, W, C]`.
        weight: `[B, H, W]` 1 where a pixel counts, else 0.
        total: pixels that count, where these are a part of them; the sum of `weight` where left out.

    Differentiable in: values.
    """
    if values.ndim == 4:
        values = values.mean(dim=-1)
    return (values * weight).sum() / (weight.sum() if total is None else total).clamp(min=1.0)


@torch.no_grad()
def without_outliers(
    error: Float[Tensor, "B H W"], weight: Float[Tensor, "B H W"], share: float
) -> Float[Tensor, "B H W"]:
    """Weights without the pixels in whose neighbourhood a rendering is furthest from its photograph.

    What moved through one photograph is wrong over an area; an edge or a highlight that is not learned yet is narrow.

    Args:
        error: `[B, H, W]` at least 0.
        weight: `[B, H, W]` 1 where a pixel counts, else 0.
        share: of all pixels that stop counting, within [0, 1).

    Source: after S. Sabour et al., "RobustNeRF: Ignoring Distractors with Robust Losses", CVPR 2023.
    """
    around = avg_pool2d((error * weight)[:, None], NEIGHBOURHOOD, stride=1, padding=NEIGHBOURHOOD // 2)
    counted = avg_pool2d(weight[:, None], NEIGHBOURHOOD, stride=1, padding=NEIGHBOURHOOD // 2)
    around = (around / counted.clamp(min=1e-6))[:, 0]
    keep = max(round((1 - share) * around.numel()), 1)
    return weight * (around <= torch.kthvalue(around.reshape(-1), keep).values)


def ssim_map(
    first: Float[Tensor, "B H W C"], second: Float[Tensor, "B H W C"], *, backend: str = "auto"
) -> Float[Tensor, "B H W"]:
    """Structural similarity around each pixel, averaged over channels.

    The border is padded by reflection, so the map has the images' size.

    Args:
        first, second: `[B, H, W, C]` images in [0, 1], at least 6 pixels each way.
        backend: "auto": kernels on CUDA for float32 unless `second` requires gradients, plain PyTorch elsewhere; else
            as in `pick_backend`.

    Returns:
        `[B, H, W]`, 1 where the images agree.

    Raises:
        ValueError: an unknown backend, or "triton" where it cannot run or `second` requires gradients.

    Differentiable in: first, second ("triton": first).

    Source: Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004.
    """
    if pick_backend(backend, first) == "triton" and not (backend == "auto" and second.requires_grad):
        from neuraltex.training.triton_ssim import fused_ssim_map

        return fused_ssim_map(first, second)
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=first.dtype, device=first.device)
    kernel = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    x, y = first.permute(0, 3, 1, 2), second.permute(0, 3, 1, 2)
    moments = torch.cat([x, y, x * x, y * y, x * y], dim=1)
    channels = moments.shape[1]
    # One channel at a time and channels last: forty times faster on a CPU than as a batch of single-channel images.
    padded = torch.nn.functional.pad(moments, (SSIM_RADIUS,) * 4, mode="reflect")
    padded = padded.contiguous(memory_format=torch.channels_last)
    across = conv2d(padded, kernel.expand(channels, 1, 1, -1), groups=channels)
    blurred = conv2d(across, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = blurred.chunk(5, dim=1)
    covariance = mean_xy - mean_x * mean_y
    spread = (mean_xx - mean_x**2) + (mean_yy - mean_y**2)
    numerator = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    denominator = (mean_x**2 + mean_y**2 + SSIM_C1) * (spread + SSIM_C2)
    return (numerator / denominator).mean(dim=1)


def photometric_loss(
    rgb: Float[Tensor, "B H W 3"],
    target: Float[Tensor, "B H W 3"],
    weight: Float[Tensor, "B H W"],
    structural_weight: float,
    total: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Absolute error blended with structural dissimilarity, over the pixels that count.

    Args:
        rgb: `[B, H, W, 3]` rendered, sRGB-encoded.
        target: `[B, H, W, 3]` photographed, sRGB-encoded.
        weight: `[B, H, W]` 1 where a pixel counts, else 0.
        structural_weight: share of the structural term, within [0, 1].
        total: as in `masked_mean`.

    Differentiable in: rgb.
    """
    absolute = masked_mean((rgb - target).abs(), weight, total)
    if structural_weight == 0.0 or min(rgb.shape[1:3]) <= SSIM_RADIUS:
        return absolute
    # Pixels that do not count are made equal, or they would leak into their neighbours' windows.
    seen = weight[..., None]
    dissimilarity = masked_mean(1 - ssim_map(rgb * seen, target * seen), weight, total)
    return (1 - structural_weight) * absolute + structural_weight * dissimilarity
