"""Fitting a head to a video: from one calm frame outwards, then all frames together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from neuraltex.reenactment.background import background_plate
from neuraltex.reenactment.head import Head, silhouettes
from neuraltex.reenactment.start import shrink


@dataclass(frozen=True)
class FitConfig:
    """How a head is fitted.

    Args:
        start_steps: steps on the calm frame alone, with one colour a material.
        follow_steps: steps on each frame as the video is followed from the calm frame outwards.
        joint_steps: steps on a few frames of all, with everything free.
        joint_batch: frames a joint step.
        size: longer side of the pictures that are compared, in pixels.
        identity_weight: pull of identity coefficients to 0.
        expression_weight: pull of expression coefficients to 0.
        smoothness: pull of poses and expressions to the mean of the frames beside them.
        landmark_weight: weight of given landmarks, an error of the head's size counting 1.
    """

    start_steps: int = 150
    follow_steps: int = 12
    joint_steps: int = 2000
    joint_batch: int = 2
    size: int = 128
    identity_weight: float = 1e-4
    expression_weight: float = 2e-4
    smoothness: float = 0.002
    landmark_weight: float = 2.0


@dataclass(frozen=True)
class Landmarks:
    """Points of the head found in the video.

    Args:
        pixels: `[N, K, 2]` column and row in shares of the picture's width, NaN where not found.
        verts: `[K]` the rig's vertices they belong to.
    """

    pixels: Float[Tensor, "N K 2"]
    verts: Int[Tensor, "K"]


RATES = {
    "pose": 4e-3,
    "expression": 5e-2,
    "shared_pose": 2e-3,
    "identity": 4e-2,
    "tones": 4e-2,
    "coarse": 2e-2,
    "fine": 2e-2,
    "light": 2e-2,
    "log_focal": 1e-3,
}
# Around the distance that the head is first thought to be at.
DISTANCES = (0.92, 1.0, 1.08, 1.17)
# What is left of an expression where the next frame begins to look.
RELAXED = 0.8
# Coefficients from here on are tried without.
DOUBTFUL = 0.3
PER_FRAME = ("pose", "expression")


class Fitter:
    """Gradient steps on chosen frames and chosen unknowns.

    Args:
        head: what is fitted, in place.
        frames: `[N, H, W, 3]` the video, at the size the head's background has.
        config: how.
        landmarks: points found in the video, or None.
        calm: the frame that shows the neutral face.
    """

    def __init__(
        self,
        head: Head,
        frames: UInt8[Tensor, "N H W 3"],
        config: FitConfig,
        landmarks: Landmarks | None,
        calm: int,
    ) -> None:
        self.head, self.config, self.landmarks, self.calm = head, config, landmarks, calm
        self.pyramid = {size: shrink(frames, size) for size in (config.size // 2, config.size)}
        self.errors = torch.full((len(frames),), float("nan"))
        self.optimizers = self._fresh_optimizers()

    def _fresh_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, rate in RATES.items():
            kind = torch.optim.SparseAdam if name in PER_FRAME else torch.optim.Adam
            # Texels are seen now and then: a short memory would let each sight overwrite those before.
            betas = (0.9, 0.999) if name in ("coarse", "fine") else (0.8, 0.95)
            optimizers[name] = kind(self.head.unknowns(name), lr=rate, betas=betas)
        return optimizers

    def step(self, indices: Sequence[int], free: Sequence[str], size: int, pace: float = 1.0) -> float:
        """One step of the free unknowns on some frames; returns the mean error in colour."""
        head = self.head
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = RATES[name] * pace
                for parameter in group["params"]:
                    parameter.requires_grad_(name in free)
        frames = torch.tensor(indices, device=head.pivot.device)
        loss, error = self._loss(frames, indices, size)
        loss.backward()
        for name in free:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad(set_to_none=True)
        with torch.no_grad():
            rows = head.expression.weight
            rows[frames] = rows[frames].clamp(0, 1)
        return error

    def _loss(self, frames: Int[Tensor, "B"], indices: Sequence[int], size: int) -> tuple[Tensor, float]:
        head, config = self.head, self.config
        targets = self.pyramid[size]
        height, width = targets.shape[1:3]
        background = _resized(head.background, height, width)
        verts = head.verts(frames)
        total = verts.new_zeros(())
        error = 0.0
        for row, index in enumerate(indices):
            picture, mask = head(verts[row], height, width, background)
            target = targets[index].to(picture.device).float() / 255
            # About the absolute value, with a slope that vanishes at 0.
            away = ((picture - target).square().sum(-1) + 1e-4).sqrt() - 1e-2
            share = away.sum() / mask.sum().clamp(min=1)
            total = total + share
            self.errors[index] = float(share.detach())
            error += float(share.detach()) / len(indices)
        total = total / len(indices) + self._priors(frames, indices)
        if self.landmarks is not None:
            total = total + config.landmark_weight * self._landmark_error(verts, frames, height, width)
        return total, error

    def _priors(self, frames: Int[Tensor, "B"], indices: Sequence[int]) -> Tensor:
        head, config = self.head, self.config
        expression, pose = head.expression(frames), head.pose(frames)
        # What the calm frame shows is the person, not an expression.
        weights = expression.new_tensor([20.0 if index == self.calm else 1.0 for index in indices])
        pull = config.expression_weight * (expression.abs().sum(-1) * weights).mean()
        pull = pull + config.identity_weight * head.identity.square().sum()
        last = head.expression.num_embeddings - 1
        before, after = (frames - 1).clamp(min=0), (frames + 1).clamp(max=last)
        for rows, values, scale in ((head.expression.weight, expression, 1.0), (head.pose.weight, pose, 10.0)):
            beside = (rows.detach()[before] + rows.detach()[after]) / 2
            pull = pull + config.smoothness * scale * (values - beside).square().sum(-1).mean()
        return pull

    def _landmark_error(self, verts: Tensor, frames: Tensor, height: int, width: int) -> Tensor:
        assert self.landmarks is not None
        seen = self.head.project(verts[:, self.landmarks.verts], height, width) / width
        given = self.landmarks.pixels.to(seen.device)[frames]
        known = given.isfinite().all(-1)
        away = (seen - given.nan_to_num()).norm(dim=-1)
        return (away * known).sum() / known.sum().clamp(min=1)

    def begin(self, start: Float[Tensor, "6"], report: Callable[[str], None]) -> None:
        """The calm frame: where the head is, how it is shaped, its colours and the light.

        Args:
            start: a pose not far from it, as the head has them.
            report: told what is going on.
        """
        config = self.config
        self._place(start, report)
        for size, free in (
            (config.size // 2, ("pose", "tones", "light", "identity")),
            # Hair and skin are told apart before the outline is believed.
            (config.size, ("pose", "tones", "light", "identity", "coarse")),
            (config.size, ("tones", "light", "coarse", "fine")),
        ):
            for step in range(config.start_steps):
                error = self.step([self.calm], free, size, 1.0 - 0.8 * step / config.start_steps)
            report(f"calm frame at {size} pixels: error {error:.4f}")

    def _place(self, start: Float[Tensor, "6"], report: Callable[[str], None]) -> None:
        """Go on from where, a little nearer or further away, the picture comes out best after a few steps."""
        head, least = self.head, float("inf")
        untouched = copy.deepcopy(head.state_dict())
        best = untouched
        for distance in DISTANCES:
            head.load_state_dict(untouched)
            self.optimizers = self._fresh_optimizers()
            with torch.no_grad():
                head.pose.weight[:] = start
                head.pose.weight[:, 3:] = ((start[3:] * head.size + head.pivot) * distance - head.pivot) / head.size
            for _ in range(self.config.start_steps // 2):
                error = self.step([self.calm], ("pose", "tones", "light"), self.config.size // 2)
            report(f"calm frame at {distance:g} of the distance: error {error:.4f}")
            if error < least:
                least, best = error, copy.deepcopy(head.state_dict())
        head.load_state_dict(best)
        self.optimizers = self._fresh_optimizers()
        with torch.no_grad():
            head.pose.weight[:] = head.pose.weight[self.calm].clone()

    def follow(self, report: Callable[[str], None]) -> None:
        """The other frames, each from the one beside it, towards the end and then towards the beginning."""
        last = self.head.expression.num_embeddings - 1
        for order in (range(self.calm + 1, last + 1), range(self.calm - 1, -1, -1)):
            before = self.calm
            for index in order:
                with torch.no_grad():
                    earlier = 2 * before - index
                    pose = self.head.pose.weight
                    for rows in (self.head.expression.weight, pose):
                        rows[index] = rows[before]
                        # What smoothness compares with.
                        rows[min(max(2 * index - before, 0), last)] = rows[before]
                    # A lid that is shut shows nothing of the eye under it that could tell that it opens.
                    self.head.expression.weight[index] *= RELAXED
                    if before != self.calm and 0 <= earlier <= last:
                        pose[index] += 0.7 * (pose[before] - pose[earlier])
                self._follow_one(index)
                before = index
        report(f"followed: error {float(self.errors.nanmean()):.4f}")
        report(f"{self._drop_doubtful()} coefficients dropped")

    @torch.no_grad()
    def _drop_doubtful(self) -> int:
        """Set large coefficients to 0 where the picture comes out better without; returns how many.

        Gradients do not find that way: a lid that is shut hides what would tell that it should not be.
        """
        dropped = 0
        rows = self.head.expression.weight
        for index in range(len(rows)):
            frame = torch.tensor([index], device=rows.device)
            _, least = self._loss(frame, [index], self.config.size)
            for column in (rows[index] > DOUBTFUL).nonzero().flatten().tolist():
                kept = rows[index, column].clone()
                rows[index, column] = 0
                _, error = self._loss(frame, [index], self.config.size)
                if error < least:
                    least, dropped = error, dropped + 1
                else:
                    rows[index, column] = kept
        return dropped

    def _follow_one(self, index: int) -> None:
        steps = self.config.follow_steps
        for step in range(steps):
            half = step < steps // 2
            size = self.config.size // 2 if half else self.config.size
            free = ("pose",) if step < steps // 4 else ("pose", "expression")
            self.step([index], free, size, 1.0 - 0.7 * (step % max(steps // 2, 1)) / max(steps // 2, 1))

    def _uncover(self) -> None:
        """The background anew, of what each pixel shows while the head as it is now thought to be lies elsewhere."""
        frames = self.pyramid[self.config.size]
        masks = silhouettes(self.head, frames.shape[1], frames.shape[2])
        plate = background_plate(frames, masks).float() / 255
        self.head.background.copy_(plate.to(self.head.background.device))

    def refine(self, report: Callable[[str], None], *, lens: bool, seed: int = 0) -> None:
        """All frames with everything free."""
        config = self.config
        free = ["pose", "shared_pose", "expression", "identity", "tones", "coarse", "fine", "light"]
        free += ["log_focal"] if lens else []
        generator = torch.Generator().manual_seed(seed)
        order: list[int] = []
        for step in range(config.joint_steps):
            if step in (0, config.joint_steps // 2):
                self._uncover()
            if len(order) < config.joint_batch:
                order = torch.randperm(len(self.errors), generator=generator).tolist()
            chosen, order = order[: config.joint_batch], order[config.joint_batch :]
            self.step(chosen, free, config.size, 0.7 * (1 - 0.95 * step / config.joint_steps))
            if step % 200 == 0:
                report(f"all frames, step {step}: error {float(self.errors.nanmean()):.4f}")
        report(f"all frames: error {float(self.errors.nanmean()):.4f}")


def _resized(picture: Float[Tensor, "H W 3"], height: int, width: int) -> Float[Tensor, "h w 3"]:
    if picture.shape[:2] == (height, width):
        return picture
    return interpolate(picture.permute(2, 0, 1)[None], (height, width), mode="area")[0].permute(1, 2, 0)
