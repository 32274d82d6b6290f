"""Evaluation views that were photographed apart from the ones to learn from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.capture.dataset import Capture
from neuraltex.errors import InputError


def with_held_out(capture: Capture, other: Capture) -> Capture:
    """Learn from all frames of one capture and hold out all frames of another.

    Args:
        capture: the frames to learn from; its own split is given up.
        other: the frames to evaluate on, in the same world.

    Raises:
        InputError: their images differ in size.
    """
    size, other_size = ((c.cameras.width, c.cameras.height) for c in (capture, other))
    if size != other_size:
        raise InputError(
            other.source,
            f"its images are {other_size[0]}x{other_size[1]} pixels, those of {capture.source} {size[0]}x{size[1]}",
            hint="held-out views must have the size of the training views",
        )
    num_train, num_test = len(capture.names), len(other.names)
    cameras = Camera(
        torch.cat([capture.cameras.K, other.cameras.K]), torch.cat([capture.cameras.w2c, other.cameras.w2c]), *size
    )
    return replace(
        capture,
        images=torch.cat([capture.images, other.images]),
        masks=_join(capture, other, "masks"),
        valid=_join(capture, other, "valid"),
        cameras=cameras,
        names=(*capture.names, *other.names),
        train_indices=torch.arange(num_train),
        test_indices=torch.arange(num_train, num_train + num_test),
        frame_indices=torch.cat([capture.frame_indices, other.frame_indices]),
    )


def _join(first: Capture, second: Capture, name: str) -> Tensor | None:
    """Both buffers of that name one after the other; where one capture has none, all its pixels count."""
    buffers = [getattr(capture, name) for capture in (first, second)]
    if all(buffer is None for buffer in buffers):
        return None
    shapes = [capture.images.shape[:3] for capture in (first, second)]
    whole = [torch.ones(s, dtype=torch.bool) if b is None else b for b, s in zip(buffers, shapes, strict=True)]
    return torch.cat(whole)
