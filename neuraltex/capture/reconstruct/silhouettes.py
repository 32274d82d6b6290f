"""How far a point in space lies inside the silhouettes that masks show of an object."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.capture.dataset import Capture
from neuraltex.errors import InputError, InputWarning

# Points at a time, so that what is held beside them stays in tens of megabytes.
_CHUNK = 1 << 19


@dataclass(frozen=True)
class Silhouettes:
    """Masks as distances to their outlines, with the cameras that saw them.

    Args:
        distance: `[N, H, W]` float32, pixels from each pixel's centre to the outline of the mask: above 0 on the
            object, below 0 beside it, and 0 where object and background meet.
        cameras: batch `[N]` float64 of the masks' size.
    """

    distance: Float[Tensor, "N H W"]
    cameras: Camera

    def inside(self, points: Float[Tensor, "P 3"], *, misses: int = 0) -> Float[Tensor, "P"]:
        """How far points lie inside the visual hull.

        A mask's distance is looked up bilinearly where a point projects to, and scaled to the world at the point's
        depth. Beside the picture its nearest border pixel counts: what was cut off by the frame is not carved away
        where the object reaches the border, and is where it does not. A camera knows nothing of what is behind it.

        Args:
            points: `[P, 3]` world, float64.
            misses: how many masks may say that a point is outside although it is inside.

        Returns:
            `[P]` float32 in scene units: the least of the views' distances (or the one after `misses` smaller ones),
            above 0 inside; infinite where no view tells more than the sign. Near the surface it is the distance to it
            across the view that carved it.

        Source: Laurentini, The visual hull concept for silhouette-based image understanding, 1994, section II.
        """
        chunks = [self._inside(chunk, misses) for chunk in points.split(_CHUNK)]
        return torch.cat(chunks) if chunks else points.new_zeros(0, dtype=torch.float32)

    def _inside(self, points: Float[Tensor, "P 3"], misses: int) -> Float[Tensor, "P"]:
        least = torch.full((misses + 1, len(points)), torch.inf)
        times_seen = torch.zeros(len(points), dtype=torch.int64)
        for view in range(len(self.distance)):
            value, seen = self._inside_view(view, points)
            times_seen += seen
            # An insertion into the few least so far, in ascending order.
            for k in range(misses + 1):
                least[k], value = torch.minimum(least[k], value), torch.maximum(least[k], value)
        return torch.where(2 * times_seen <= len(self.distance), -torch.inf, least[misses])

    def _inside_view(self, view: int, points: Float[Tensor, "P 3"]) -> tuple[Float[Tensor, "P"], Bool[Tensor, "P"]]:
        """What one view says, and which points it can speak of."""
        camera = self.cameras[view]
        pixels, depth = camera.project(points)
        seen = depth > 0
        # The projections of what is behind are replaced below, but may not be NaN in the look-up.
        pixels = pixels.nan_to_num()
        size = pixels.new_tensor([camera.width, camera.height])
        nearest = torch.minimum(pixels.clamp_min(0.0), size)
        distance = torch.nn.functional.grid_sample(
            self.distance[view, None, None],
            (nearest * (2 / size) - 1).float()[None, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        ).reshape(-1)
        # The frame is convex, so that from beside it the way to the outline leads over the nearest point of the border.
        beyond = (pixels - nearest).norm(dim=1).float()
        distance = torch.where(distance < 0, -torch.hypot(distance, beyond), distance)
        focal = float((camera.K[0, 0] * camera.K[1, 1]).sqrt())
        return torch.where(seen, distance * (depth / focal).float(), torch.inf), seen


def find_silhouettes(capture: Capture, *, source: Path) -> Silhouettes:
    """The outlines of a capture's masks.

    Args:
        capture: with masks.
        source: what to name in an error.

    Raises:
        InputError: fewer than two masks show anything, or all masks cover whole pictures.
    """
    assert capture.masks is not None, "the caller has looked"
    shown = capture.masks.flatten(1).any(1)
    if int(shown.sum()) < 2:
        raise InputError(
            source,
            f"{int(shown.sum())} of {len(shown)} masks show an object, and a hull needs at least two",
            hint="masks must be white on the object and black elsewhere",
        )
    if not bool(shown.all()):
        name = capture.names[int((~shown).nonzero()[0, 0])]
        warnings.warn(
            f"{source}: {int((~shown).sum())} of {len(shown)} masks are empty and tell nothing, the first is that of "
            f"{name!r}",
            InputWarning,
            stacklevel=2,
        )
    views = shown.nonzero().squeeze(1)
    distance = torch.stack(
        [
            torch.from_numpy(
                outline_distance(
                    capture.masks[view].numpy(), None if capture.valid is None else capture.valid[view].numpy()
                )
            )
            for view in views.tolist()
        ]
    )
    return Silhouettes(distance, capture.cameras[views].to(torch.float64))


def outline_distance(
    mask: Bool[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"] | None = None
) -> Float[np.ndarray, "H W"]:
    """Distance of each pixel's centre to the outline of a mask, in pixels; above 0 inside.

    Args:
        mask: `[H, W]` True on the object.
        valid: `[H, W]` False where nothing was photographed; such pixels say what the nearest photographed one says.
    """
    level = mask.astype(np.uint8)
    if valid is not None and not valid.all() and valid.any():
        _, nearest = cv2.distanceTransformWithLabels(
            (~valid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_label = np.zeros(int(nearest.max()) + 1, np.uint8)
        of_label[nearest[valid]] = level[valid]
        level = of_label[nearest]
    # OpenCV measures to the centre of the nearest pixel of the other kind; the outline lies half a pixel before it.
    inner = cv2.distanceTransform(level, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outer = cv2.distanceTransform(1 - level, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Where there is no pixel of the other kind at all, the distance is huge, not infinite.
    farthest = float(np.hypot(*mask.shape))
    signed = np.where(level > 0, np.minimum(inner, farthest) - 0.5, 0.5 - np.minimum(outer, farthest))
    return np.asarray(signed, np.float32)
