"""Losses against slow definitions; what a mask excludes has no say."""

from __future__ import annotations

import math

import pytest
import torch

from neuraltex.evaluation import psnr, ssim
from neuraltex.training.losses import masked_mean, photometric_loss, ssim_map


def ref_ssim(first, second):
    """One window at a time, with reflected borders, as the publication writes it."""
    height, width = first.shape[:2]
    offsets = range(-5, 6)
    kernel = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in offsets for j in offsets}
    norm = sum(kernel.values())

    def reflect(k, size):
        return abs(k) if k < size else 2 * (size - 1) - k

    result = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            x, y, weights = [], [], []
            for (i, j), weight in kernel.items():
                place = reflect(row + i, height), reflect(column + j, width)
                x.append(first[place])
                y.append(second[place])
                weights.append(weight / norm)
            x, y, w = torch.stack(x), torch.stack(y), torch.tensor(weights, dtype=torch.float64)[:, None]
            mx, my = (w * x).sum(0), (w * y).sum(0)
            vx, vy, vxy = (w * (x - mx) ** 2).sum(0), (w * (y - my) ** 2).sum(0), (w * (x - mx) * (y - my)).sum(0)
            c1, c2 = 0.01**2, 0.03**2
            value = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
            result[row, column] = value.mean()
    return result


def test_ssim_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(1, 9, 13, 3, dtype=torch.float64, generator=generator)
    second = (first + 0.2 * torch.randn(first.shape, dtype=torch.float64, generator=generator)).clamp(0, 1)
    # measured 4e-15
    torch.testing.assert_close(ssim_map(first, second)[0], ref_ssim(first[0], second[0]), atol=1e-10, rtol=0)
    assert ssim(first, first) == pytest.approx(1.0)


def test_psnr_of_a_known_error_and_of_covered_pixels_only():
    target = torch.full((1, 6, 8, 3), 0.5)
    rgb = target.clone()
    rgb[:, :3] += 0.1
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[:, :3] = True
    assert psnr(rgb, target, mask) == pytest.approx(20.0, abs=1e-4)
    assert psnr(rgb, target) == pytest.approx(20.0 + 10 * math.log10(2), abs=1e-4)
    assert psnr(rgb + 5, target) == pytest.approx(-20 * math.log10(0.5), abs=1e-4), "colours are clamped to [0, 1]"
    assert math.isnan(psnr(rgb, target, torch.zeros_like(mask)))


@pytest.mark.parametrize("structural_weight", [0.0, 0.3])
def test_excluded_pixels_have_no_say(structural_weight):
    generator = torch.Generator().manual_seed(1)
    rgb = torch.rand(2, 20, 24, 3, generator=generator)
    target = torch.rand(2, 20, 24, 3, generator=generator)
    weight = torch.ones(2, 20, 24)
    weight[:, :, 9:] = 0
    loss = photometric_loss(rgb, target, weight, structural_weight)
    garbage = torch.where(weight[..., None] > 0, rgb, torch.tensor(7.0))
    torch.testing.assert_close(photometric_loss(garbage, target, weight, structural_weight), loss)
    assert photometric_loss(rgb, target, torch.zeros_like(weight), structural_weight) == 0
    assert float(masked_mean(torch.ones(2, 20, 24, 3), weight)) == 1.0
