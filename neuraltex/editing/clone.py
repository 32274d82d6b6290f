"""Holes in a texture, filled from a place of the same surface that looks alike around its edge."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuraltex.editing.unfold import fill_unknown, widened

# A hole's edge is compared over so many texels of 512; smaller holes than this many texels are filled smoothly.
EDGE, SMALLEST = 8, 30
# A place is taken where it explains so much of what varies along the edge.
LEAST_EXPLAINED = 0.6


@dataclass(frozen=True)
class Patch:
    """Where a hole is, and where its filling comes from.

    Args:
        hole: `[S, S]` texels to fill.
        shift: rows and columns from the hole to its filling.
    """

    hole: Bool[Tensor, "S S"]
    shift: tuple[int, int]


def find_patches(
    picture: Float[Tensor, "C S S"], holes: Bool[Tensor, "S S"], known: Bool[Tensor, "S S"], owners: Int[Tensor, "S S"]
) -> list[Patch]:
    """For each hole the place, on the same part, whose surroundings look most like the hole's own.

    Args:
        picture: `[C, S, S]` what is compared: colour without light.
        holes: `[S, S]` texels to fill.
        known: `[S, S]` texels that can be trusted.
        owners: `[S, S]` part of each texel, -1 where there is no surface.

    Returns:
        Those that were found; holes with nothing alike are left out.

    Source: K. He, J. Sun, "Statistics of Patch Offsets for Image Completion", ECCV 2012, for whole holes by one offset.
    """
    count, labels = cv2.connectedComponents(holes.cpu().numpy().astype(np.uint8), connectivity=8)
    patches = []
    for label in range(1, count):
        hole = torch.as_tensor(labels == label, device=holes.device)
        if int(hole.sum()) < SMALLEST:
            continue
        owner = int(owners[hole].mode().values)
        shift = _best_shift(picture, hole, known & (owners == owner))
        if shift is not None:
            patches.append(Patch(hole, shift))
    return patches


def _best_shift(
    picture: Float[Tensor, "C S S"], hole: Bool[Tensor, "S S"], usable: Bool[Tensor, "S S"]
) -> tuple[int, int] | None:
    """The offset at which the hole's edge looks most like itself, all of the hole being known there."""
    size = len(hole)
    edge = widened(hole, max(EDGE * size // 512, 2)) & usable
    if not bool(edge.any()):
        return None
    colour = (picture - picture[:, edge].mean(dim=1)[:, None, None]) * usable
    at_edge = colour * edge
    # Sums over the edge for all offsets at once; what lies outside the texture is not usable either.
    region = (hole | edge).to(colour.dtype)
    missing = region.sum() - _correlate(region[None], usable.to(colour.dtype)[None])[0]
    there = _correlate(edge.to(colour.dtype)[None], colour.square().sum(dim=0)[None])[0]
    both = _correlate(at_edge, colour).sum(dim=0)
    off = at_edge.square().sum() - 2 * both + there
    off[missing > 0.5] = torch.inf
    best = int(off.argmin())
    if not float(off.view(-1)[best]) < (1 - LEAST_EXPLAINED) * float(at_edge.square().sum()):
        return None
    row, column = divmod(best, 2 * size)
    return row - 2 * size * (row >= size), column - 2 * size * (column >= size)


def _correlate(first: Float[Tensor, "C S S"], second: Float[Tensor, "C S S"]) -> Float[Tensor, "C D D"]:
    """`[C, 2S, 2S]` sums of `first[x] * second[x + d]` over x; offsets d count from 0, negative ones from the end."""
    double = (2 * first.shape[-1], 2 * first.shape[-1])
    return torch.fft.irfft2(torch.fft.rfft2(first, s=double).conj() * torch.fft.rfft2(second, s=double), s=double)


def fill_by_patches(
    values: Float[Tensor, "C S S"], known: Bool[Tensor, "S S"], patches: list[Patch]
) -> Float[Tensor, "C S S"]:
    """Known texels as they are, holes by their patches, everything else smoothly from around.

    Args:
        values: `[C, S, S]` of a texture, of a multiple of the patches' size.
        known: `[S, S]` texels to keep.
        patches: from `find_patches`.

    A patch is copied as it is, not blended towards the hole's edge: that lay in shadow, and light is dealt with apart.
    """
    filled = fill_unknown(values, known)
    for patch in patches:
        factor = values.shape[-1] // len(patch.hole)
        hole = patch.hole.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
        moved = torch.roll(values, (-factor * patch.shift[0], -factor * patch.shift[1]), dims=(1, 2))
        filled = torch.where(hole, moved, filled)
    return filled
