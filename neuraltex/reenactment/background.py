"""What lies behind a head that moves before a still background."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import max_pool2d

# How near colours of a background are to each other.
ALIKE = 0.02
MOST_COMPARED = 100
# How far around the head, in shares of the picture, the background is not taken from: masks are off by a little.
CAUTION = 1 / 64


def still_picture(frames: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, "H W 3"]:
    """What each pixel shows most often, 0 to 1: the background wherever the head leaves it for a while.

    Not the median: a head that covers a pixel half of the time is mixed into that, but shows other colours each time.
    """
    found = []
    # Every frame is compared with every other.
    for rows in frames[:: -(-len(frames) // MOST_COMPARED)].unbind(1):
        values = rows.float() / 255
        alike = torch.stack([(values - value).abs().amax(-1) < ALIKE for value in values])
        # The mean of all that are like the one that most are like.
        most = alike.sum(1).argmax(0)
        weight = alike.gather(0, most.expand(1, len(values), -1))[0, ..., None].float()
        found.append((values * weight).sum(0) / weight.sum(0))
    return torch.stack(found)


def background_plate(frames: UInt8[Tensor, "N H W 3"], masks: Bool[Tensor, "N H W"]) -> UInt8[Tensor, "H W 3"]:
    """The median of what each pixel shows while the head is elsewhere; of all it shows where the head never leaves."""
    reach = max(round(CAUTION * max(masks.shape[1:])), 1)
    grown = torch.stack([max_pool2d(mask[None].float(), 2 * reach + 1, 1, reach)[0] > 0 for mask in masks])
    rows = []
    for pixels, covered in zip(frames.unbind(1), grown.unbind(1), strict=True):
        values = torch.where(covered[..., None], torch.nan, pixels.float())
        median = values.nanmedian(dim=0).values
        rows.append(torch.where(median.isnan(), pixels.float().median(dim=0).values, median))
    return torch.stack(rows).round().to(torch.uint8)
