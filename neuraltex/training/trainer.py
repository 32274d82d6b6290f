"""The training loop: crops in, a fitted shader out, resumable at every checkpoint."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from neuraltex.errors import NeuraltexError
from neuraltex.geometry.mesh import Mesh
from neuraltex.pipeline import render
from neuraltex.raster import opposite_corners
from neuraltex.shading import Shader
from neuraltex.training.checkpoint import load_parameters, load_tensors, save_tensors
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.losses import masked_mean, photometric_loss
from neuraltex.training.sampler import Batch, Photos

# Steps between looks at the loss on a GPU, where each look waits for the device.
STEPS_A_REPORT = 20


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    Args:
        step: steps done.
        seconds: of training, all resumed parts together.
        fraction: share of the budget used up.
        loss: of the last step.
        psnr: of the last step's crops, in dB; on training views, so no measure of quality.
    """

    step: int
    seconds: float
    fraction: float
    loss: float
    psnr: float


class Trainer:
    """Fits a shader to photographs of a mesh.

    Args:
        mesh: the scene's flat buffers, on the training device.
        photos: training photographs, on the same device.
        shader: what to fit, in place.
        config: how.
        budget: for how long.
        seed: of the crops; the shader's own start was drawn before.
        checkpoint: file for checkpoints.
    """

    def __init__(
        self,
        mesh: Mesh,
        photos: Photos,
        shader: Shader,
        config: TrainingConfig,
        budget: Budget,
        *,
        seed: int,
        checkpoint: Path,
    ) -> None:
        self.mesh, self.photos, self.shader = mesh, photos, shader
        self.config, self.budget, self.seed, self.checkpoint = config, budget, seed, checkpoint
        self.opposite = opposite_corners(mesh.faces)
        self.names = {parameter: name for name, parameter in shader.named_parameters()}
        self.optimizer = torch.optim.AdamW(self._groups(), betas=(0.9, 0.99), eps=1e-12, fused=True)
        self.average = [parameter.detach().clone() for parameter in self.names]
        self.step, self.seconds, self.saved_step = 0, 0.0, -1

    def _groups(self) -> list[dict[str, object]]:
        """One group a level of each texture, with its own decay; one for the network."""
        shader, config = self.shader, self.config
        groups: list[dict[str, object]] = []
        for texture in (shader.texture, shader.environment, shader.reflections):
            if texture is not None:
                for level, decay in zip(texture.levels, texture.decay_weights(), strict=True):
                    groups.append(
                        {"params": [level], "rate": config.texture_rate, "weight_decay": decay * config.texture_decay}
                    )
        groups.append({"params": list(shader.decoder.parameters()), "rate": config.decoder_rate, "weight_decay": 0.0})
        return groups

    def fit(self, report: Callable[[Progress], None] | None = None) -> None:
        """Train until the budget is used up, saving checkpoints on the way and at the end.

        Args:
            report: called every few steps.

        Raises:
            NeuraltexError: the loss is no longer a number; names the step and the last good checkpoint.
            InputError: a checkpoint cannot be written; the one before stays.
        """
        last_save = last_time = time.monotonic()
        on_gpu = self.photos.images.is_cuda
        while (fraction := self.budget.progress(self.step, self.seconds)) < 1.0:
            loss, error = self._train_step(fraction)
            self.step += 1
            if not on_gpu or self.step % STEPS_A_REPORT == 0 or self.step == self.budget.steps:
                self._check(float(loss))
                now = time.monotonic()
                self.seconds, last_time = self.seconds + now - last_time, now
                if report is not None:
                    psnr = -10 * math.log10(max(float(error), 1e-10))
                    fraction = self.budget.progress(self.step, self.seconds)
                    report(Progress(self.step, self.seconds, fraction, float(loss), psnr))
                    last_time = time.monotonic()  # what the reader of the report does is not training
                if now - last_save > 60 * self.config.save_minutes:
                    self.save()
                    last_save = last_time = time.monotonic()
        if self.saved_step != self.step:
            self.save()

    def _train_step(self, fraction: float) -> tuple[Tensor, Tensor]:
        """One step of the optimiser; returns the loss and the mean squared error, still on the device."""
        config = self.config
        batch = self.photos.crops(
            self.seed,
            self.step,
            batch=config.batch,
            crop=config.crop,
            zoom_share=config.zoom_share,
            zoom_range=config.zoom_range,
        )
        loss, error = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        warmth = min((self.step + 1) / max(config.warmup_steps, 1), 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * fraction))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * warmth * (0.01 + 0.99 * cosine)
        self.optimizer.step()
        # A running mean at first, so that the start of training is forgotten soon.
        decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.names], 1 - decay)
        return loss.detach(), error

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        rendering = render(self.mesh, batch.cameras, self.shader, opposite=self.opposite)
        loss = photometric_loss(rendering.rgb, batch.target, batch.weight, self.config.structural_weight)
        if self.config.colour_weight > 0:
            colour_error = (rendering.colour.permute(0, 2, 3, 1) - batch.target).abs()
            loss = loss + self.config.colour_weight * masked_mean(colour_error, batch.weight)
        error = masked_mean((rendering.rgb.detach().clamp(0, 1) - batch.target) ** 2, batch.weight)
        return loss, error

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}, no longer a number")

    def _stop(self, reason: str) -> NoReturn:
        if self.saved_step >= 0:
            kept = f"the last good checkpoint is {self.checkpoint}, of step {self.saved_step}"
        else:
            kept = "no checkpoint was written yet"
        raise NeuraltexError(
            f"training stopped at step {self.step}: {reason}; {kept}; "
            "try again with smaller --training.texture-rate and --training.decoder-rate"
        )

    def averaged_shader(self) -> Shader:
        """A copy of the shader with the running average of its weights, which is what to render with."""
        shader = copy.deepcopy(self.shader)
        with torch.no_grad():
            for parameter, average in zip(shader.parameters(), self.average, strict=True):
                parameter.copy_(average)
        return shader

    def save(self) -> None:
        """Write the checkpoint that `restore` goes on from.

        Raises:
            NeuraltexError: a weight is no longer a number; the checkpoint before stays the last good one.
            InputError: it cannot be written; the one before stays.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.names):
            self._stop("a weight is no longer a number")
        tensors: dict[str, Tensor] = {}
        for (parameter, name), average in zip(self.names.items(), self.average, strict=True):
            tensors[f"raw.{name}"], tensors[f"average.{name}"] = parameter, average
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{key}.{name}"] = value
        save_tensors(self.checkpoint, tensors, {"step": self.step, "seconds": self.seconds})
        self.saved_step = self.step

    def restore(self) -> None:
        """Go on from the checkpoint as if training had not stopped: on CPU to the same weights, bit for bit.

        Raises:
            InputError: it is missing, broken, or of other settings.
        """
        tensors, state = load_tensors(self.checkpoint, self.photos.images.device)
        load_parameters(self.shader, tensors, self.checkpoint, "raw.")
        for average, name in zip(self.average, self.names.values(), strict=True):
            average.copy_(tensors[f"average.{name}"])
        for parameter, name in self.names.items():
            stored = {
                key: tensors[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}.{name}" in tensors
            }
            if stored:
                self.optimizer.state[parameter] = stored
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.saved_step = self.step
