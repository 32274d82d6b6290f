"""Training crops: which view, which window, at which zoom; a pure function of the seed and the step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate, pad

from neuraltex.cameras.camera import Camera
from neuraltex.capture import Capture


@dataclass(frozen=True)
class Batch:
    """Windows of photographs with the cameras that see just them.

    Args:
        cameras: a batch `[B]`.
        target: `[B, H, W, 3]` sRGB-encoded photograph in [0, 1].
        weight: `[B, H, W]` 1 where the photograph counts, 0 where a mask or the lens excludes it.
        indices: `[B]` which of the photographs.
    """

    cameras: Camera
    target: Float[Tensor, "B H W 3"]
    weight: Float[Tensor, "B H W"]
    indices: Int[Tensor, "B"]


class Photos:
    """A capture's photographs on the training device, kept as 8-bit.

    Args:
        capture: decoded photographs and cameras.
        indices: the frames to serve.
        device: where batches are made.
    """

    def __init__(self, capture: Capture, indices: Tensor, device: torch.device) -> None:
        self.images = capture.images[indices].to(device)
        self.cameras = capture.cameras[indices]  # on the CPU, where windows are worked out without waiting for a GPU
        self.names = [capture.names[i] for i in indices.tolist()]
        counted = [buffer[indices] for buffer in (capture.masks, capture.valid) if buffer is not None]
        self.counted = torch.stack(counted).all(dim=0).to(device) if counted else None

    def __len__(self) -> int:
        return len(self.images)

    def view(self, index: int) -> Batch:
        """One whole photograph as a batch of 1."""
        window = self._window(index, 0, 0, self.cameras.height, self.cameras.width)
        return replace(window, cameras=self._on_device(window.cameras), indices=window.indices.to(self.images.device))

    def _on_device(self, cameras: Camera) -> Camera:
        """Cameras where the pictures are, sent without waiting for what the device is doing."""
        return replace(cameras, K=self._sent(cameras.K), w2c=self._sent(cameras.w2c))

    def _sent(self, values: Tensor) -> Tensor:
        device = self.images.device
        return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values

    def _window(self, index: int, top: int, left: int, height: int, width: int) -> Batch:
        rows, columns = slice(top, top + height), slice(left, left + width)
        target = self.images[index, rows, columns].float()[None] / 255
        if self.counted is None:
            weight = torch.ones_like(target[..., 0])
        else:
            weight = self.counted[index, rows, columns].float()[None]
        cameras = self.cameras[index : index + 1].crop(left, top, width, height)
        return Batch(cameras, target, weight, torch.tensor([index]))

    def crops(
        self,
        seed: int,
        step: int,
        *,
        batch: int,
        crop: int,
        zoom_share: float = 0.0,
        zoom_range: float = 1.0,
        far_share: float = 0.0,
        far_range: float = 1.0,
        part: slice = slice(None),
    ) -> Batch:
        """Random windows, the same ones for the same seed and step.

        Every photograph is served once before any is served again. A zoomed window is a larger or smaller part of the
        photograph resampled to the crop's size, with a camera to match; surface buffers are never resized. A window
        from farther away than a photograph holds shows all of it, and beyond it nothing counts; a step is near or far
        as a whole, since among larger pictures small ones would hardly count.

        Args:
            seed: of the run.
            step: 0-based.
            batch: windows to make.
            crop: side in pixels; limited by the photographs' size.
            zoom_share: share of the windows that are zoomed.
            zoom_range: largest factor of the zoom, in and out.
            far_share: share of the steps that are far.
            far_range: largest factor by which they are.
            part: which of the batch's windows to make: workers share a batch.
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        height, width = min(crop, self.cameras.height), min(crop, self.cameras.width)
        windows = []
        chances = torch.rand(batch, 4, generator=generator).tolist()
        far = float(torch.rand((), generator=generator)) < far_share
        for item in range(batch)[part]:
            serial = step * batch + item
            shuffle = torch.Generator().manual_seed(seed * 7919 + serial // len(self))
            index = int(torch.randperm(len(self), generator=shuffle)[serial % len(self)])
            chance, zoom, down, right = chances[item]
            scale = zoom_range ** (2 * zoom - 1) if chance < zoom_share else 1.0
            # Never more of the scene than the photograph holds, and whole pixels of it.
            scale = min(scale, self.cameras.height / height, self.cameras.width / width)
            scale = far_range**zoom if far else scale
            part_height = min(max(round(height * scale), 1), self.cameras.height)
            part_width = min(max(round(width * scale), 1), self.cameras.width)
            top = int(down * (self.cameras.height - part_height + 1))
            left = int(right * (self.cameras.width - part_width + 1))
            window = self._window(index, top, left, part_height, part_width)
            if far:
                shown = (min(max(round(part_height / scale), 1), height), min(max(round(part_width / scale), 1), width))
                top, left = int(down * (height - shown[0] + 1)), int(right * (width - shown[1] + 1))
                windows.append(framed(resample(window, *shown), top, left, height, width))
            else:
                windows.append(resample(window, height, width))
        return Batch(
            self._on_device(Camera.stack([window.cameras[0] for window in windows])),
            torch.cat([window.target for window in windows]),
            torch.cat([window.weight for window in windows]),
            self._sent(torch.cat([window.indices for window in windows])),
        )


def framed(window: Batch, top: int, left: int, height: int, width: int) -> Batch:
    """The same window with more of the scene around it, which is black and does not count.

    Args:
        window: a batch of one size.
        top, left: where it begins in the larger one, in pixels.
        height, width: of the larger one, in pixels.
    """
    rows, columns = window.target.shape[1:3]
    margins = (left, width - left - columns, top, height - top - rows)
    cameras = window.cameras.crop(-left, -top, width, height)
    return replace(
        window, cameras=cameras, target=pad(window.target, (0, 0, *margins)), weight=pad(window.weight, margins)
    )


def resample(window: Batch, height: int, width: int) -> Batch:
    """The same window on `height` x `width` pixels, low-passed where it shrinks.

    Args:
        window: a batch of one size.
        height, width: in pixels.
    """
    if window.target.shape[1:3] == (height, width):
        return window
    stacked = torch.cat([window.target, window.weight[..., None]], dim=-1).permute(0, 3, 1, 2)
    resized = interpolate(stacked, (height, width), mode="bilinear", antialias=True, align_corners=False)
    target, weight = resized[:, :3].permute(0, 2, 3, 1), resized[:, 3]
    # A pixel that any excluded one went into does not count.
    return Batch(window.cameras.resize(width, height), target, (weight > 0.999).float(), window.indices)
