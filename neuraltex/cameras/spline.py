"""A smooth curve through camera poses and lenses, run at constant speed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.rotations import so3_exp, so3_log

SAMPLES_A_SEGMENT = 64
SAMPLES_A_FRAME = 16
# A camera turns on the spot where it turns this many times more a unit of travel than on average.
SHARP_TURN = 4.0


class CameraSpline:
    """A curve with continuous velocity that passes through every key camera at its knot.

    Positions are a centripetal Catmull-Rom spline, which neither overshoots nor loops between uneven keys. Rotations
    are the same Hermite construction on the sphere of rotations. Intrinsics follow likewise, focal lengths by their
    logarithm, so that they stay positive.

    Args:
        keys: batch `[N]` of cameras, N >= 2; neighbours must differ in position or rotation.
        closed: the curve returns from the last key to the first.

    Raises:
        ValueError: fewer than 2 keys.

    Source: Barry and Goldman 1988 for the tangents at uneven knots; Yuksel, Schaefer and Keyser 2011 for the
    centripetal spacing; Kim, Kim and Shin 1995 for the cumulative Bezier form on rotations.
    """

    def __init__(self, keys: Camera, *, closed: bool = False) -> None:
        if len(keys.batch_shape) != 1 or keys.batch_shape[0] < 2:
            raise ValueError(f"keys: expected a batch of at least 2 cameras, got the batch shape {keys.batch_shape}")
        if closed:
            keys = Camera(torch.cat([keys.K, keys.K[:1]]), torch.cat([keys.w2c, keys.w2c[:1]]), keys.width, keys.height)
        self.keys = keys
        self.positions = keys.center.double()
        self.rotations = keys.w2c[:, :3, :3].double().transpose(1, 2)
        K = keys.K.double()
        self.lenses = torch.stack([K[:, 0, 0].log(), K[:, 1, 1].log(), K[:, 0, 2], K[:, 1, 2]], dim=1)
        turns = so3_log(self.rotations[:-1].transpose(1, 2) @ self.rotations[1:])
        steps = self.positions.diff(dim=0)
        travel, turned = steps.norm(dim=1), turns.norm(dim=1)
        # How much travel counts as much as a radian; where nothing travels, angle is all there is.
        self.radian = travel.sum() / turned.sum() if travel.sum() > 0 and turned.sum() > 0 else turned.new_tensor(1.0)
        self.durations = (travel.square() + (self.radian * turned).square()).sqrt().sqrt().clamp_min(1e-9)
        self.knots = torch.cat([self.durations.new_zeros(1), self.durations.cumsum(0)])
        self.velocities = tangents(steps / self.durations[:, None], self.durations, closed)
        self.spins = tangents(turns / self.durations[:, None], self.durations, closed)
        self.lens_velocities = tangents(self.lenses.diff(dim=0) / self.durations[:, None], self.durations, closed)

    def at(self, times: Float[Tensor, "M"]) -> Camera:
        """The cameras at knot times between 0 and `knots[-1]`, as a batch `[M]` of the keys' dtype."""
        times = times.double().clamp(0.0, float(self.knots[-1]))
        segment = torch.searchsorted(self.knots, times, right=True).sub(1).clamp(0, len(self.durations) - 1)
        duration = self.durations[segment]
        t = (times - self.knots[segment]) / duration
        centers = _hermite(self.positions, self.velocities, segment, t, duration)
        lenses = _hermite(self.lenses, self.lens_velocities, segment, t, duration)
        rotations = self._rotations_at(segment, t, duration).transpose(1, 2)
        w2c = torch.zeros(len(times), 4, 4, dtype=torch.float64)
        w2c[:, :3, :3] = rotations
        w2c[:, :3, 3] = -(rotations @ centers[..., None]).squeeze(-1)
        w2c[:, 3, 3] = 1.0
        K = torch.zeros(len(times), 3, 3, dtype=torch.float64)
        K[:, 0, 0], K[:, 1, 1] = lenses[:, 0].exp(), lenses[:, 1].exp()
        K[:, 0, 2], K[:, 1, 2], K[:, 2, 2] = lenses[:, 2], lenses[:, 3], 1.0
        return Camera(K.to(self.keys.K), w2c.to(self.keys.w2c), self.keys.width, self.keys.height)

    def even_times(self, count: int, *, include_end: bool = True) -> Float[Tensor, "M"]:
        """Knot times at which a camera that moves at constant speed is at equal intervals of time.

        Where the camera hardly travels but turns, it turns at a constant rate instead.

        Args:
            count: how many times.
            include_end: whether the last one is the end of the curve; not so for a loop, which would stop for a
                frame there.
        """
        samples = max(SAMPLES_A_SEGMENT, -(-SAMPLES_A_FRAME * count // len(self.durations)))
        fractions = torch.arange(samples, dtype=torch.float64) / samples
        dense = (self.knots[:-1, None] + self.durations[:, None] * fractions).flatten()
        dense = torch.cat([dense, self.knots[-1:]])
        segment = torch.searchsorted(self.knots, dense, right=True).sub(1).clamp(0, len(self.durations) - 1)
        duration = self.durations[segment]
        t = (dense - self.knots[segment]) / duration
        centers = _hermite(self.positions, self.velocities, segment, t, duration)
        rotations = self._rotations_at(segment, t, duration)
        travel = centers.diff(dim=0).norm(dim=1)
        turned = so3_log(rotations[:-1].transpose(1, 2) @ rotations[1:]).norm(dim=1)
        length = torch.maximum(travel, turned * self.radian / (SHARP_TURN if travel.sum() > 0 else 1.0))
        length = length.clamp_min(1e-12 * float(length.sum()) + 1e-300)
        passed = torch.cat([length.new_zeros(1), length.cumsum(0)])
        wanted = torch.linspace(0.0, float(passed[-1]), count if include_end else count + 1, dtype=torch.float64)[
            :count
        ]
        left = torch.searchsorted(passed, wanted, right=True).sub(1).clamp(0, len(length) - 1)
        share = (wanted - passed[left]) / length[left]
        return dense[left] + share * dense.diff()[left]

    def _rotations_at(
        self, segment: Tensor, t: Float[Tensor, "M"], duration: Float[Tensor, "M"]
    ) -> Float[Tensor, "M 3 3"]:
        start, end = self.rotations[segment], self.rotations[segment + 1]
        third = (duration / 3)[:, None]
        first, last = self.spins[segment] * third, self.spins[segment + 1] * third
        middle = so3_log(so3_exp(-first) @ start.transpose(1, 2) @ end @ so3_exp(-last))
        t = t[:, None]
        return start @ so3_exp(first * (1 - (1 - t) ** 3)) @ so3_exp(middle * (3 - 2 * t) * t**2) @ so3_exp(last * t**3)


def spline_path(keys: Camera, *, num_frames: int, closed: bool = False) -> Camera:
    """A smooth path through key cameras at constant speed.

    Args:
        keys: batch `[N]` of cameras in order. Keys that repeat the one before them are dropped.
        num_frames: cameras on the path, the first and last key included (the last not, where closed).
        closed: return to the first key.

    Returns:
        batch `[num_frames]` of cameras of the keys' image size.

    Raises:
        ValueError: no keys, or fewer than 1 frame.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames: expected at least 1, got {num_frames}")
    if len(keys.batch_shape) != 1 or keys.batch_shape[0] < 1:
        raise ValueError(f"keys: expected a batch of cameras, got the batch shape {keys.batch_shape}")
    keys = keys[_distinct(keys, closed=closed)]
    if keys.batch_shape[0] == 1:
        return keys[torch.zeros(num_frames, dtype=torch.int64)]
    spline = CameraSpline(keys, closed=closed)
    return spline.at(spline.even_times(num_frames, include_end=not closed))


def _distinct(keys: Camera, *, closed: bool) -> Tensor:
    """Indices of the keys that differ from the one before."""
    centers, rotations = keys.center.double(), keys.w2c[:, :3, :3].double()
    apart = 1e-6 * (centers - centers.mean(0)).norm(dim=1).max()
    moved = centers.diff(dim=0).norm(dim=1) > apart
    turned = (rotations[1:] - rotations[:-1]).flatten(1).norm(dim=1) > 1e-5
    kept = torch.cat([moved.new_ones(1), moved | turned]).nonzero().squeeze(1)
    if closed and len(kept) > 1:
        first, last = int(kept[0]), int(kept[-1])
        same = (centers[first] - centers[last]).norm() <= apart and (rotations[first] - rotations[last]).norm() <= 1e-5
        kept = kept[:-1] if same else kept
    return kept


def tangents(slopes: Float[Tensor, "S D"], durations: Float[Tensor, "S"], closed: bool) -> Float[Tensor, "S1 D"]:
    """Velocities at the knots: of the parabola through each knot and its neighbours; straight at open ends."""
    before, after = durations[:-1, None], durations[1:, None]
    inner = (slopes[:-1] * after + slopes[1:] * before) / (before + after)
    if not closed:
        return torch.cat([slopes[:1], inner, slopes[-1:]])
    seam = (slopes[-1:] * durations[0] + slopes[:1] * durations[-1]) / (durations[0] + durations[-1])
    return torch.cat([seam, inner, seam])


def _hermite(
    values: Float[Tensor, "N D"],
    velocities: Float[Tensor, "N D"],
    segment: Tensor,
    t: Float[Tensor, "M"],
    duration: Float[Tensor, "M"],
) -> Float[Tensor, "M D"]:
    t = t[:, None]
    start, end = values[segment], values[segment + 1]
    leave, arrive = velocities[segment] * duration[:, None], velocities[segment + 1] * duration[:, None]
    return (
        start * (1 + 2 * t) * (1 - t) ** 2
        + leave * t * (1 - t) ** 2
        + end * t**2 * (3 - 2 * t)
        + arrive * t**2 * (t - 1)
    )
