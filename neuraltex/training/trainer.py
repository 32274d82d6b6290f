"""The training loop: crops in, a fitted shader out, resumable at every checkpoint."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import torch
from torch import Tensor, nn

from neuraltex.errors import InputError, NeuraltexError
from neuraltex.execution import compile_in_place, pick_execution
from neuraltex.geometry.mesh import Mesh
from neuraltex.pipeline import render
from neuraltex.raster import opposite_corners
from neuraltex.shading import Shader
from neuraltex.training.checkpoint import load_parameters, load_tensors, save_tensors
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.losses import masked_mean, photometric_loss, without_outliers
from neuraltex.training.moving import MovingMesh
from neuraltex.training.optimizer import AveragedAdamW, Group
from neuraltex.training.refinement import Refinement
from neuraltex.training.sampler import Batch, Photos
from neuraltex.training.stepping import CapturedStep, PlainStep, Step
from neuraltex.training.workers import ALONE, Workers

# Steps between looks at the loss on a GPU, where each look waits for the device.
STEPS_A_REPORT = 20
# About what a step takes on a GPU, for telling how long a number of them will.
SECONDS_A_STEP = 5e-3
BRIGHTEST = 254.5 / 255

Module = TypeVar("Module", bound=nn.Module)


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
    """Fits a shader to photographs of a mesh, and corrections of the capture as the settings ask.

    Args:
        mesh: the scene's flat buffers, on the training device.
        photos: training photographs, on the same device.
        shader: what to fit, in place.
        config: how.
        budget: for how long.
        seed: of the crops; the shader's own start was drawn before.
        checkpoint: file for checkpoints; None to keep none.
        moving: the mesh as each of the photographs shows it, where it moves; `mesh` then is its resting pose.
        workers: the processes that train together; each takes its share of every batch.
        execution: how steps run, as in `pick_execution`.

    Raises:
        SettingError: a batch that the workers cannot share, or an execution that cannot be had.
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
        checkpoint: Path | None,
        moving: MovingMesh | None = None,
        workers: Workers = ALONE,
        execution: str = "auto",
    ) -> None:
        self.workers = workers
        self.mesh, self.moving, self.photos, self.shader = mesh, moving, photos, shader
        self.config, self.budget, self.seed, self.checkpoint = config, budget, seed, checkpoint
        self.opposite = opposite_corners(mesh.faces)
        self.refinement = Refinement(config, mesh, len(photos)).to(mesh.verts.device)
        self.names = {parameter: name for name, parameter in shader.named_parameters()}
        self.names |= {parameter: f"refinement.{name}" for name, parameter in self.refinement.named_parameters()}
        self.optimizer = AveragedAdamW(self._groups())
        self.step, self.seconds, self.saved_step = 0, 0.0, -1
        self.part = workers.share_of(config.batch)
        seconds = 60 * budget.minutes if budget.minutes is not None else SECONDS_A_STEP * (budget.steps or 0)
        self.execution = pick_execution(execution, photos.images.device, seconds=seconds)
        if self.execution == "compile":
            compile_in_place(shader.decoder)
        plain = PlainStep(self._loss, self.optimizer, workers)
        self._step: Step = plain if self.execution == "eager" else CapturedStep(plain)

    def _groups(self) -> list[Group]:
        """One group a level of each texture, with its own decay; one for the network."""
        shader, config = self.shader, self.config
        groups = []
        for texture, strength in (
            (shader.texture, config.texture_decay),
            (shader.environment, config.environment_decay),
            (shader.reflections, config.texture_decay),
        ):
            if texture is not None:
                for level, decay in zip(texture.levels, texture.decay_weights(), strict=True):
                    groups.append(Group([level], config.texture_rate, decay * strength))
        groups.append(Group(list(shader.decoder.parameters()), config.decoder_rate, 0.0))
        if shader.sphere is not None:
            groups.append(Group([shader.sphere], config.sphere_rate, 0.0))
        if shader.detail is not None:
            groups.append(Group([shader.detail.bases], config.texture_rate, config.detail_decay))
            groups.append(Group(list(shader.detail.blend.parameters()), config.decoder_rate, 0.0))
        return groups + self.refinement.groups()

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
                self.seconds = self.workers.agree(self.seconds + now - last_time, self.photos.images.device)
                last_time = now
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
            far_share=config.far_share,
            far_range=config.far_range,
            part=self.part,
        )
        warmth = min((self.step + 1) / max(config.warmup_steps, 1), 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * fraction))
        # A running mean at first, so that the start of training is forgotten soon.
        decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
        return self._step(batch, self.optimizer.scalars(warmth * (0.01 + 0.99 * cosine), decay))

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        total = self.workers.sum(batch.weight.sum())
        cameras = self.refinement.cameras(batch.cameras, batch.indices)
        shape = self.refinement.mesh(self.mesh)
        shown = shape if self.moving is None else self.moving.meshes(batch.indices, shape)
        rendering = render(shown, cameras, self.shader, opposite=self.opposite)
        rgb = self.refinement.develop(rendering.rgb, batch.indices)
        if self.refinement.gains is not None:
            # Where a photograph is as bright as it can be, the thing may have been brighter.
            rgb = torch.where(batch.target >= BRIGHTEST, rgb.clamp(max=1.0), rgb)
        weight = batch.weight
        if self.config.outlier_share > 0:
            weight = without_outliers((rgb - batch.target).abs().mean(dim=-1), weight, self.config.outlier_share)
        loss = photometric_loss(rgb, batch.target, weight, self.config.structural_weight, total)
        if self.config.colour_weight > 0:
            colour = self.refinement.develop(rendering.colour.permute(0, 2, 3, 1), batch.indices)
            colour_error = (colour - batch.target).abs()
            loss = loss + self.config.colour_weight * masked_mean(colour_error, weight, total)
        if self.config.environment_smoothness > 0:
            for texture in (self.shader.environment, self.shader.reflections):
                if texture is not None:
                    loss = loss + self.config.environment_smoothness / self.workers.count * texture.roughness()
        error = masked_mean((rgb.detach().clamp(0, 1) - batch.target) ** 2, batch.weight, total)
        return loss, error

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}, no longer a number")

    def _stop(self, reason: str) -> NoReturn:
        if self.saved_step >= 0 and self.checkpoint is not None:
            kept = f"the last good checkpoint is {self.checkpoint}, of step {self.saved_step}"
        else:
            kept = "no checkpoint was written"
        raise NeuraltexError(
            f"training stopped at step {self.step}: {reason}; {kept}; "
            "try again with smaller --training.texture-rate and --training.decoder-rate"
        )

    def averaged_shader(self) -> Shader:
        """A copy of the shader with the running average of its weights, which is what to render with."""
        return self._averaged(self.shader)

    def averaged_refinement(self) -> Refinement:
        """The same of the corrections."""
        return self._averaged(self.refinement)

    @torch.no_grad()
    def _averaged(self, module: Module) -> Module:
        averaged = copy.deepcopy(module)
        averages = dict(zip(self.optimizer.parameters, self.optimizer.average, strict=True))
        for parameter, ours in zip(averaged.parameters(), module.parameters(), strict=True):
            parameter.copy_(averages[ours])
        return averaged

    def _state(self) -> Iterator[tuple[str, str, Tensor]]:
        """Every tensor that training goes on from, with its kind and its parameter's name."""
        optimizer = self.optimizer
        kinds: dict[str, Sequence[Tensor]] = {"raw": optimizer.parameters, "average": optimizer.average}
        kinds |= {"exp_avg": optimizer.first, "exp_avg_sq": optimizer.second}
        for kind, tensors in kinds.items():
            for parameter, values in zip(optimizer.parameters, tensors, strict=True):
                yield kind, self.names[parameter], values

    def save(self) -> None:
        """Write the checkpoint that `restore` goes on from.

        Raises:
            NeuraltexError: a weight is no longer a number; the checkpoint before stays the last good one.
            InputError: it cannot be written; the one before stays.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.names):
            self._stop("a weight is no longer a number")
        if self.workers.first and self.checkpoint is not None:
            tensors = {f"{kind}.{name}": values for kind, name, values in self._state()}
            save_tensors(self.checkpoint, tensors, {"step": self.step, "seconds": self.seconds})
        self.saved_step = self.step

    def restore(self) -> None:
        """Go on from the checkpoint as if training had not stopped: on CPU to the same weights, bit for bit.

        Raises:
            InputError: it is missing, broken, or of other settings.
            ValueError: none are kept.
        """
        if self.checkpoint is None:
            raise ValueError("checkpoint: expected a file to go on from, got None")
        tensors, state = load_tensors(self.checkpoint, self.photos.images.device)
        load_parameters(self.shader, tensors, self.checkpoint, "raw.")
        with torch.no_grad():
            for kind, name, values in self._state():
                stored = tensors.get(f"{kind}.{name}")
                if stored is None or stored.shape != values.shape:
                    raise InputError(
                        self.checkpoint, f"{kind}.{name} is missing or of another shape", hint="train anew"
                    )
                values.copy_(stored)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.optimizer.steps = self.step
        self.saved_step = self.step
