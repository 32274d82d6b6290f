"""Holes in a pattern are filled by the pattern."""

from __future__ import annotations

import torch

from neuraltex.editing.clone import fill_by_patches, find_patches

SIZE, PERIOD = 96, 12


def checks() -> torch.Tensor:
    """`[3, S, S]`."""
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return torch.where((row // PERIOD + column // PERIOD) % 2 == 0, 0.8, 0.2).repeat(3, 1, 1)


def hole_at(top: int, left: int, side: int) -> torch.Tensor:
    hole = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    hole[top : top + side, left : left + side] = True
    return hole


def test_a_hole_in_checks_is_filled_by_checks_in_phase():
    pattern, hole, one_part = checks(), hole_at(40, 30, 15), torch.zeros(SIZE, SIZE, dtype=torch.int64)
    holed = torch.where(hole, 0.0, pattern)
    patches = find_patches(holed, hole, ~hole, one_part)
    assert len(patches) == 1
    assert all(step % PERIOD == 0 for step in patches[0].shift)
    assert sum(patches[0].shift) % (2 * PERIOD) == 0
    assert torch.equal(fill_by_patches(holed, ~hole, patches), pattern)
    # The same patches serve a texture of twice the size.
    larger = pattern.repeat_interleave(2, 1).repeat_interleave(2, 2)
    gap = hole.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(fill_by_patches(torch.where(gap, 0.0, larger), ~gap, patches), larger)


def test_nothing_is_taken_from_another_part_or_from_outside():
    pattern, hole = checks(), hole_at(40, 30, 15)
    owners = torch.ones(SIZE, SIZE, dtype=torch.int64)
    owners[35:60, 25:50] = 0  # the hole's part is little more than the hole
    holed = torch.where(hole, 0.0, pattern)
    assert find_patches(holed, hole, ~hole, owners) == []
    assert fill_by_patches(holed, ~hole, [])[:, hole].std() < 0.2  # smooth


def test_a_hole_among_noise_is_left_to_be_filled_smoothly():
    noise = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    hole = hole_at(40, 30, 15)
    assert find_patches(noise, hole, ~hole, torch.zeros(SIZE, SIZE, dtype=torch.int64)) == []
