"""Camera paths for renderings, made out of the captured cameras: orbit, swing, spiral, trajectory."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.rotations import nearest_rotation
from neuraltex.cameras.spline import spline_path
from neuraltex.cameras.survey import Survey, survey_cameras

FULL_CIRCLE_DEG = 360.0


def default_path(cameras: Camera, *, num_frames: int = 120, center: Float[Tensor, "3"] | None = None) -> Camera:
    """The path to show a capture with: an orbit or swing where the cameras look at it from around, else a spiral.

    Args:
        cameras: batch `[N]`, the captured ones.
        num_frames: cameras on the path.
        center: the point of interest where it is known (of the mesh, say).
    """
    survey = survey_cameras(cameras, center=center)
    # Below this, a swing would hardly move.
    if survey.sweep_deg < 5.0:
        return spiral(cameras, num_frames=num_frames, center=center)
    return orbit(cameras, num_frames=num_frames, center=center)


def orbit(
    cameras: Camera,
    *,
    num_frames: int = 120,
    center: Float[Tensor, "3"] | None = None,
    up: Float[Tensor, "3"] | None = None,
    radius: float | None = None,
    elevation_deg: float | None = None,
    sweep_deg: float | None = None,
) -> Camera:
    """Circle the object where the captured cameras do, else swing back and forth over the arc that they saw.

    Sides that nobody photographed have no texture, so the path does not go there unless `sweep_deg` says so. Either
    way the path is a loop: the frame after the last one would be the first.

    Args:
        cameras: batch `[N]`, the captured ones. What is not given below is estimated from them.
        num_frames: cameras on the path.
        center: `[3]` what to look at, world.
        up: `[3]` world direction that is up.
        radius: distance from the centre, scene units.
        elevation_deg: angle above the horizontal plane.
        sweep_deg: arc to cover, about the middle of the seen one; 360 is a full circle.

    Returns:
        batch `[num_frames]` of cameras with the median lens of the captured ones.

    Raises:
        ValueError: no cameras, fewer than 1 frame, or a setting out of range.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames: expected at least 1, got {num_frames}")
    if sweep_deg is not None and not 0 <= sweep_deg <= FULL_CIRCLE_DEG:
        raise ValueError(f"sweep_deg: expected an angle between 0 and 360, got {sweep_deg}")
    if radius is not None and not radius > 0:
        raise ValueError(f"radius: expected a positive distance, got {radius}")
    survey = survey_cameras(cameras, center=center, up=up)
    elevation = survey.elevation_deg if elevation_deg is None else elevation_deg
    # Straight from above or below there is no azimuth, and the image would spin.
    elevation = min(max(elevation, -85.0), 85.0)
    sweep = survey.sweep_deg if sweep_deg is None else sweep_deg
    phase = torch.arange(num_frames, dtype=torch.float64) / num_frames
    if sweep >= FULL_CIRCLE_DEG:
        azimuths = survey.start_deg + FULL_CIRCLE_DEG * phase
    else:
        middle = survey.start_deg + 0.5 * survey.sweep_deg
        azimuths = middle + 0.5 * sweep * torch.sin(2 * math.pi * phase)
    eyes = _on_sphere(survey, azimuths, elevation, survey.radius if radius is None else radius)
    w2c = look_at(eyes, survey.center.expand_as(eyes), survey.up.expand_as(eyes))
    return _with_median_lens(cameras, w2c)


def spiral(
    cameras: Camera,
    *,
    num_frames: int = 120,
    center: Float[Tensor, "3"] | None = None,
    turns: float = 1.0,
    reach: float = 0.5,
) -> Camera:
    """A small ellipse about the mean camera that keeps looking at one point: shows depth where views are few.

    Args:
        cameras: batch `[N]`, the captured ones.
        num_frames: cameras on the path, a loop where `turns` is whole.
        center: `[3]` what to look at, world; else estimated.
        turns: revolutions; the camera also moves to the front and back, twice as often.
        reach: radii of the ellipse as a share of the captured cameras' spread (of 5% of the distance where there is
            one camera or they stand in one place).

    Raises:
        ValueError: no cameras, fewer than 1 frame, or a negative `reach`.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames: expected at least 1, got {num_frames}")
    if not reach >= 0:
        raise ValueError(f"reach: expected a share from 0 up, got {reach}")
    survey = survey_cameras(cameras, center=center)
    centers = cameras.center.double()
    middle = centers.median(dim=0).values
    distance = float((survey.center - middle).norm())
    pose = look_at(middle, survey.center, survey.up)[:3, :3]
    spread = ((centers - middle) @ pose.T).abs().quantile(0.8, dim=0)
    # No nearer to the point than halfway, no further aside than the cameras went.
    radii = reach * torch.where(spread > 1e-9 * distance, spread, spread.new_tensor(0.05 * distance))
    radii = radii.clamp_max(0.5 * distance)
    phase = 2 * math.pi * turns * torch.arange(num_frames, dtype=torch.float64) / num_frames
    local = torch.stack([phase.cos(), phase.sin(), 0.5 * (2 * phase).sin()], dim=1) * radii
    eyes = middle + local @ pose
    w2c = look_at(eyes, survey.center.expand_as(eyes), survey.up.expand_as(eyes))
    return _with_median_lens(cameras, w2c)


def training_path(cameras: Camera, *, num_frames: int = 120, smoothing: float = 2.0) -> Camera:
    """The trajectory of the captured cameras in their order, without its shake, at constant speed.

    Args:
        cameras: batch `[N]` in the order in which they were taken.
        num_frames: cameras on the path.
        smoothing: standard deviation of the Gaussian average over neighbours, in frames; 0 keeps every pose.

    Raises:
        ValueError: no cameras, fewer than 1 frame, or negative `smoothing`.
    """
    if not smoothing >= 0:
        raise ValueError(f"smoothing: expected a number of frames from 0 up, got {smoothing}")
    if len(cameras.batch_shape) != 1 or cameras.batch_shape[0] < 1:
        raise ValueError(f"cameras: expected a batch of cameras, got the batch shape {cameras.batch_shape}")
    if smoothing > 0:
        cameras = _smoothed(cameras, smoothing)
    return spline_path(cameras, num_frames=num_frames)


def _smoothed(cameras: Camera, sigma: float) -> Camera:
    """Each pose becomes the value of a line fitted to its neighbours, Gaussian weights; a mean would cut the ends."""
    count = cameras.batch_shape[0]
    index = torch.arange(count, dtype=torch.float64)
    offset = index - index[:, None]
    weights = torch.exp(-0.5 * (offset / sigma).square())
    zeroth, first, second = ((weights * offset**power).sum(dim=1, keepdim=True) for power in (0, 1, 2))
    weights = weights * (second + 1e-9 - offset * first) / (zeroth * (second + 1e-9) - first.square())
    rotations = nearest_rotation(torch.einsum("ij,jab->iab", weights, cameras.w2c[:, :3, :3].double()))
    w2c = torch.zeros(count, 4, 4, dtype=torch.float64)
    w2c[:, :3, :3] = rotations
    w2c[:, :3, 3] = -(rotations @ (weights @ cameras.center.double())[..., None]).squeeze(-1)
    w2c[:, 3, 3] = 1.0
    K = torch.einsum("ij,jab->iab", weights, cameras.K.double())
    return Camera(K.to(cameras.K), w2c.to(cameras.w2c), cameras.width, cameras.height)


def _on_sphere(
    survey: Survey, azimuths_deg: Float[Tensor, "M"], elevation_deg: float, radius: float
) -> Float[Tensor, "M 3"]:
    azimuths, elevation = torch.deg2rad(azimuths_deg), math.radians(elevation_deg)
    horizontal = torch.stack([azimuths.cos(), azimuths.sin()], dim=1) @ survey.azimuth_axes
    return survey.center + radius * (math.cos(elevation) * horizontal + math.sin(elevation) * survey.up)


def _with_median_lens(cameras: Camera, w2c: Float[Tensor, "M 4 4"]) -> Camera:
    K = cameras.K.median(dim=0).values.expand(len(w2c), 3, 3).clone()
    return Camera(K, w2c.to(cameras.w2c), cameras.width, cameras.height)
