"""Making images smaller: area averages, so that fine texture does not turn into moire."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def fitted_size(width: int, height: int, size: int | None) -> tuple[int, int]:
    """Width and height whose longer side is `size`, the shorter rounded; never larger than they were.

    Raises:
        ValueError: `size` is not positive.
    """
    if size is not None and size < 1:
        raise ValueError(f"size: expected at least 1 pixel, got {size}")
    longer = max(width, height)
    if size is None or size >= longer:
        return width, height
    return max(1, round(width * size / longer)), max(1, round(height * size / longer))


def shrink(image: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Each new pixel is the mean of the area it covers, fractions of pixels counted.

    Args:
        image: `[H, W]` or `[H, W, C]` uint8.
        width: new columns.
        height: new rows.
    """
    import cv2

    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shrink_mask(mask: npt.NDArray[np.bool_], width: int, height: int, *, share: float = 0.5) -> npt.NDArray[np.bool_]:
    """True where at least `share` of the area is true."""
    if mask.shape == (height, width):
        return mask
    covered = shrink(mask.astype(np.uint8) * 255, width, height)
    return covered >= round(255 * share)
