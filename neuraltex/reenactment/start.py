"""Where a head is to be looked for: from what moves before a still background."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from neuraltex.errors import NeuraltexError, SettingError
from neuraltex.raster import rasterize
from neuraltex.reenactment.head import Head

# How far a pixel must be from the background to show something else.
MOVED = 0.05
# Sizes of the head's projection that are tried, in heights of the picture.
HEIGHTS = tuple(0.3 * 1.1**k for k in range(18))


def moved_region(frame: UInt8[Tensor, "H W 3"], background: Float[Tensor, "H W 3"]) -> Bool[Tensor, "H W"]:
    """The largest thing in a frame that is not background, filled from side to side.

    Raises:
        NeuraltexError: there is none.
    """
    import cv2

    away = (frame.float() / 255 - background).abs().amax(-1) > MOVED
    closed = cv2.morphologyEx(away.numpy().astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        raise NeuraltexError("nothing moves in the video; tell where the head is with --head or --landmarks")
    largest = labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    # What the head never uncovers is taken for background.
    columns = np.arange(largest.shape[1])
    left = np.where(largest, columns, largest.shape[1]).min(1, keepdims=True)
    right = np.where(largest, columns, -1).max(1, keepdims=True)
    return torch.from_numpy((columns >= left) & (columns <= right))


@torch.no_grad()
def place_in_region(head: Head, region: Bool[Tensor, "h w"]) -> Float[Tensor, "6"]:
    """The pose, straight ahead, at which the head covers a region best: intersection over union."""
    height, width = region.shape
    best, found = -1.0, torch.zeros(6)
    target = region.float()
    extent = head.mesh.verts.amax(0) - head.mesh.verts.amin(0)
    for share in HEIGHTS:
        depth = float(extent[1] * head.log_focal.exp() * width / (share * height))
        pose = torch.tensor([0.0, 0.0, 0.0, *(-head.pivot.cpu() - torch.tensor([0.0, 0.0, depth])) / head.size])
        seen = _silhouette(head, pose, height, width).float()
        # All shifts at once: how much of both is covered.
        both, inside = _correlate(target, seen), _correlate(torch.ones_like(target), seen)
        score = both / (target.sum() + inside - both)
        value, place = score.flatten().max(0)
        if float(value) > best:
            row, column = divmod(int(place), 2 * width)
            column, row = (column + width) % (2 * width) - width, (row + height) % (2 * height) - height
            unit = depth / float(head.log_focal.exp() * width) / head.size
            best, found = float(value), pose + torch.tensor([0.0, 0.0, 0.0, column * unit, -row * unit, 0.0])
    return found


def _correlate(target: Float[Tensor, "h w"], seen: Float[Tensor, "h w"]) -> Float[Tensor, "rows columns"]:
    """Sums of products at all shifts; negative ones stand in the second half of each axis."""
    size = (2 * target.shape[0], 2 * target.shape[1])
    product = torch.fft.rfft2(target, s=size) * torch.fft.rfft2(seen, s=size).conj()
    return torch.fft.irfft2(product, s=size)


def _silhouette(head: Head, pose: Float[Tensor, "6"], height: int, width: int) -> Bool[Tensor, "H W"]:
    verts = head.mesh.verts + pose[3:].to(head.mesh.verts) * head.size
    return rasterize(verts, head.mesh.faces, head.camera(height, width)).mask[0].cpu()


def shrink(frames: UInt8[Tensor, "N H W 3"], size: int) -> UInt8[Tensor, "N h w 3"]:
    """Frames whose longer side is `size` pixels at most, area averages."""
    height, width = frames.shape[1:3]
    scale = min(size / max(height, width), 1.0)
    if scale == 1.0:
        return frames
    rows, columns = round(height * scale), round(width * scale)
    return torch.stack(
        [
            interpolate(frame.permute(2, 0, 1)[None].float(), (rows, columns), mode="area")[0]
            .permute(1, 2, 0)
            .round()
            .to(torch.uint8)
            for frame in frames
        ]
    )


@torch.no_grad()
def place_in_box(head: Head, box: tuple[float, float, float], width: int, height: int) -> Float[Tensor, "6"]:
    """The pose, straight ahead, at which the head fills a box.

    Args:
        head: the neutral one.
        box: left, top and right of the head, in pixels.
        width, height: of the picture, in pixels.

    Raises:
        SettingError: the box is empty.
    """
    left, top, right = box
    if not left < right:
        raise SettingError(f"--head {left:g} {top:g} {right:g}: expected left, top and right of the head, in pixels")
    verts = head.mesh.verts.cpu()
    # Shoulders may be wider than the head is: what is measured is its upper half.
    upper = verts[verts[:, 1] > head.pivot[1].cpu()]
    lowest, highest = upper.amin(0), upper.amax(0)
    focal = float(head.log_focal.exp()) * width
    depth = focal * float(highest[0] - lowest[0]) / (right - left)
    across = ((left + right) / 2 - width / 2) * depth / focal - float(highest[0] + lowest[0]) / 2
    up = (height / 2 - top) * depth / focal - float(highest[1])
    return torch.tensor(
        [0.0, 0.0, 0.0, across / head.size, up / head.size, (-depth - float(head.pivot[2])) / head.size]
    )
