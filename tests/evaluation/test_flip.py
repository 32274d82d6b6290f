"""The difference between pictures is what its authors' own program measures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuraltex.evaluation.flip import flip, flip_map
from tests.evaluation.test_lumigraph import red_ball_on_a_table, table_and_ball
from tests.scenes import ring_cameras


def ref_flip_map(rgb: Tensor, target: Tensor) -> Tensor:
    flip_evaluator = pytest.importorskip("flip_evaluator")
    values, _, _ = flip_evaluator.evaluate(target[0].numpy(), rgb[0].numpy(), "LDR", applyMagma=False)
    return torch.from_numpy(values)[None, ..., 0]


def a_picture() -> Tensor:
    return red_ball_on_a_table(table_and_ball(), ring_cameras(1, 75, 58))


CHANGES = {
    "noise": lambda rgb: rgb + 0.1 * torch.randn(rgb.shape, generator=torch.Generator().manual_seed(0)),
    "shifted": lambda rgb: rgb.roll(2, dims=2),
    "darker": lambda rgb: 0.6 * rgb,
    "other colours": lambda rgb: rgb[..., [2, 0, 1]],
    "black": torch.zeros_like,
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_pixel_has_the_authors_value(change):
    target = a_picture().clamp(0, 1)
    rgb = CHANGES[change](target).clamp(0, 1)
    ours, theirs = flip_map(rgb, target), ref_flip_map(rgb, target)
    assert float(theirs.mean()) > 0.01
    assert float((ours - theirs).abs().max()) < 1e-4  # measured 1.3e-5
    assert flip(rgb, target) == pytest.approx(float(theirs.mean()), abs=1e-5)  # measured 2e-7


def test_equal_pictures_differ_by_nothing_and_opposite_ones_by_all():
    target = a_picture()
    assert flip(target, target) == 0
    black, white = torch.zeros(1, 32, 40, 3), torch.ones(1, 32, 40, 3)
    assert flip(black, white) == pytest.approx(float(ref_flip_map(black, white).mean()), abs=1e-5)


def test_only_pixels_that_count_do():
    target = a_picture()
    mask = torch.zeros(target.shape[:3], dtype=torch.bool)
    mask[:, :, 30:] = True
    spoiled = torch.where(mask[..., None], target, torch.rand(target.shape))
    assert flip(spoiled, target, mask) == 0
    assert flip(spoiled, target) > 0.1
    assert math.isnan(flip(target, target, torch.zeros_like(mask)))
