"""What captured cameras tell about how a scene was looked at: up, the point of interest, the arc that was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera

# Neighbouring cameras further apart than this round the object leave a side that nobody saw.
LARGEST_GAP_DEG = 60.0


@dataclass(frozen=True)
class Survey:
    """How cameras stand around what they look at; world units and axes, float64.

    Args:
        up: unit vector.
        center: the point that the optical axes come closest to.
        radius: median distance of the cameras from it.
        elevation_deg: median angle of the cameras above the horizontal plane through it.
        start_deg: first azimuth of the seen arc.
        sweep_deg: length of that arc; 360 where the cameras go round the object.
        azimuth_axes: `[2, 3]` unit vectors of azimuth 0 and 90 degrees.
    """

    up: Float[Tensor, "3"]
    center: Float[Tensor, "3"]
    radius: float
    elevation_deg: float
    start_deg: float
    sweep_deg: float
    azimuth_axes: Float[Tensor, "2 3"]


def survey_cameras(
    cameras: Camera, *, center: Float[Tensor, "3"] | None = None, up: Float[Tensor, "3"] | None = None
) -> Survey:
    """Estimate how a scene was looked at.

    Args:
        cameras: batch `[N]`.
        center: the point of interest where it is known (of the mesh, say).
        up: the direction up where it is known.

    Raises:
        ValueError: no cameras.
    """
    if len(cameras.batch_shape) != 1 or cameras.batch_shape[0] < 1:
        raise ValueError(f"cameras: expected a batch of cameras, got the batch shape {cameras.batch_shape}")
    up = estimate_up(cameras) if up is None else torch.nn.functional.normalize(up.double(), dim=0)
    center = estimate_center(cameras) if center is None else center.double()
    offsets = cameras.center.double() - center
    axes = _azimuth_axes(offsets, up)
    azimuths = torch.rad2deg(torch.atan2(offsets @ axes[1], offsets @ axes[0]))
    start, sweep = seen_arc(azimuths)
    distances = offsets.norm(dim=1).clamp_min(1e-12)
    return Survey(
        up=up,
        center=center,
        radius=float(distances.median()),
        elevation_deg=math.degrees(float(torch.asin((offsets @ up / distances).clamp(-1.0, 1.0)).median())),
        start_deg=start,
        sweep_deg=sweep,
        azimuth_axes=axes,
    )


def estimate_up(cameras: Camera) -> Float[Tensor, "3"]:
    """The direction up of the world, unit, float64.

    People hold cameras level, so up is orthogonal to the cameras' horizontal axes. Where these span no plane (all
    cameras face one way) or that direction disagrees with the mean of the cameras' up vectors by more than 75
    degrees (cameras held on their side), the mean decides. Outliers are weighed down in both.
    """
    rotation = cameras.w2c[:, :3, :3].double()
    ups, rights = -rotation[:, 1], rotation[:, 0]
    mean = _robust_mean_direction(ups)
    weights = torch.ones(len(rights), dtype=torch.float64)
    candidate, spread = mean, 0.0
    for _ in range(5):
        moment = (weights[:, None] * rights).T @ rights / weights.sum()
        values, vectors = torch.linalg.eigh(moment)
        candidate, spread = vectors[:, 0], float(values[1])
        weights = 1 / (0.05 + (rights @ candidate).abs())
    candidate = candidate * torch.where(candidate @ mean < 0, -1.0, 1.0)
    # 0.03 is a spread of about 10 degrees to both sides.
    return candidate if spread > 0.03 and float(candidate @ mean) > math.cos(math.radians(75)) else mean


def estimate_center(cameras: Camera) -> Float[Tensor, "3"]:
    """The point closest to all optical axes in the least-squares sense, outliers weighed down; world, float64.

    Where the axes are so parallel that no such point is defined, or it lies behind most cameras, it is a point in
    front of the middle camera, at the distance of the cameras' own extent.
    """
    centers = cameras.center.double()
    forward = cameras.w2c[:, 2, :3].double()
    middle = centers.mean(dim=0)
    extent = float((centers - middle).norm(dim=1).max())
    ahead = _robust_mean_direction(forward) if len(forward) > 1 else forward[0]
    fallback = middle + ahead * (2 * extent if extent > 0 else 1.0)
    across = torch.eye(3, dtype=torch.float64) - forward[:, :, None] * forward[:, None, :]
    weights = torch.ones(len(centers), dtype=torch.float64)
    point = fallback
    for _ in range(10):
        normal = (weights[:, None, None] * across).mean(dim=0)
        # The least eigenvalue is the mean squared sine of the axes' angles to their common direction.
        if float(torch.linalg.eigvalsh(normal)[0]) < 1e-3 * float(weights.mean()):
            return fallback
        point = torch.linalg.solve(normal, (weights[:, None] * (across @ centers[..., None]).squeeze(-1)).mean(dim=0))
        misses = (across @ (point - centers)[..., None]).squeeze(-1).norm(dim=1)
        weights = 1 / (misses + 0.5 * misses.median() + 1e-12)
        weights = weights / weights.mean()
    in_front = ((point - centers) * forward).sum(dim=1) > 0
    return point if float(in_front.double().mean()) > 0.5 else fallback


def seen_arc(azimuths_deg: Float[Tensor, "N"]) -> tuple[float, float]:
    """Where the arc of azimuths begins and how long it is; 360 where no gap exceeds `LARGEST_GAP_DEG`.

    A full circle begins at the first azimuth given.
    """
    ordered = (azimuths_deg % 360.0).sort().values
    gaps = torch.cat([ordered, ordered[:1] + 360.0]).diff()
    widest = int(gaps.argmax())
    if float(gaps[widest]) <= LARGEST_GAP_DEG:
        return float(azimuths_deg[0] % 360.0), 360.0
    return float(ordered[(widest + 1) % len(ordered)]), 360.0 - float(gaps[widest])


def _azimuth_axes(offsets: Float[Tensor, "N 3"], up: Float[Tensor, "3"]) -> Float[Tensor, "2 3"]:
    """Two horizontal unit vectors, the first towards the camera that stands furthest out."""
    horizontal = offsets - (offsets @ up)[:, None] * up
    lengths = horizontal.norm(dim=1)
    furthest = horizontal[int(lengths.argmax())]
    if float(lengths.max()) <= 1e-9 * float(offsets.norm(dim=1).max()):
        furthest = torch.linalg.cross(up, torch.eye(3, dtype=torch.float64)[int(up.abs().argmin())])
    first = torch.nn.functional.normalize(furthest, dim=0)
    return torch.stack([first, torch.linalg.cross(up, first)])


def _robust_mean_direction(directions: Float[Tensor, "N 3"]) -> Float[Tensor, "3"]:
    """The geometric median of unit vectors, made unit (Weiszfeld's iteration)."""
    mean = directions.mean(dim=0)
    for _ in range(20):
        weights = 1 / ((directions - mean).norm(dim=1) + 1e-3)
        mean = (weights[:, None] * directions).sum(dim=0) / weights.sum()
    return torch.nn.functional.normalize(mean, dim=0) if float(mean.norm()) > 1e-6 else directions[0]
