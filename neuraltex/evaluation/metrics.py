"""How near a rendering is to a photograph."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuraltex.training.losses import ssim_map

PSNR_CEILING = 100.0


def psnr(
    rgb: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"], mask: Bool[Tensor, "B H W"] | None = None
) -> float:
    """Peak signal-to-noise ratio of sRGB-encoded images in [0, 1].

    Args:
        rgb: `[B, H, W, 3]` rendered; clamped to [0, 1] first.
        target: `[B, H, W, 3]` photographed.
        mask: `[B, H, W]` pixels that count; all where left out.

    Returns:
        Decibels, 100 at most; nan where no pixel counts.
    """
    error = (rgb.clamp(0, 1) - target).square().mean(dim=-1)
    error = error[mask] if mask is not None else error
    if error.numel() == 0:
        return float("nan")
    return float(-10 * torch.log10(error.double().mean().clamp(min=10 ** (-PSNR_CEILING / 10))))


def ssim(
    rgb: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"], mask: Bool[Tensor, "B H W"] | None = None
) -> float:
    """Mean structural similarity over the pixels that count, 1 for equal images.

    Args:
        rgb: `[B, H, W, 3]` rendered; clamped to [0, 1] first.
        target: `[B, H, W, 3]` photographed.
        mask: `[B, H, W]` pixels that count. The others are made equal, so that they do not reach into the windows of
            those that do.

    Source: Z. Wang et al., IEEE TIP 2004; windows at the border are padded by reflection.
    """
    rgb = rgb.clamp(0, 1)
    if mask is None:
        return float(ssim_map(rgb, target).mean())
    seen = mask[..., None].to(rgb.dtype)
    values = ssim_map(rgb * seen, target * seen)[mask]
    return float(values.mean()) if values.numel() else float("nan")


def colour_corrected(
    rgb: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"], mask: Bool[Tensor, "B H W"]
) -> Float[Tensor, "B H W 3"]:
    """A rendering at the exposure and white balance of a photograph: one factor a channel, by least squares.

    Args:
        rgb: `[B, H, W, 3]` rendered, sRGB-encoded.
        target: `[B, H, W, 3]` photographed.
        mask: `[B, H, W]` pixels that count; those where the photograph is clipped do not.
    """
    inside = (mask & (target < 0.99).all(dim=-1))[..., None]
    product, square = (rgb * target * inside).sum(dim=(0, 1, 2)), (rgb.square() * inside).sum(dim=(0, 1, 2))
    return rgb * torch.where(square > 0, product / square.clamp(min=1e-12), 1.0)


def make_lpips(device: torch.device) -> Callable[[Tensor, Tensor], float] | None:
    """The learned perceptual distance, or None where its package or its network's weights are not at hand.

    The weights are looked for in torch's own cache and never downloaded.

    Source: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """
    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    if importlib.util.find_spec("lpips") is None or not weights.is_file():
        return None
    import lpips

    network = lpips.LPIPS(net="alex", verbose=False).to(device).eval()

    @torch.no_grad()
    def distance(rgb: Tensor, target: Tensor) -> float:
        pair = (image.clamp(0, 1).permute(0, 3, 1, 2) for image in (rgb, target))
        return float(network(*pair, normalize=True).mean())

    return distance
