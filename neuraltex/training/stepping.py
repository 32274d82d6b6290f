"""One training step, as it is written or captured as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from neuraltex.training.optimizer import AveragedAdamW
from neuraltex.training.sampler import Batch
from neuraltex.training.workers import Workers

# Steps on a side stream before the capture: libraries choose their algorithms, the network is compiled.
STEPS_BEFORE_CAPTURE = 3

Loss = Callable[[Batch], tuple[Tensor, Tensor]]


class Step(Protocol):
    """Takes a batch and the optimiser's scalars, and returns loss and mean squared error, on the device."""

    def __call__(self, batch: Batch, scalars: list[float]) -> tuple[Tensor, Tensor]: ...


class PlainStep:
    """Forward, backward, sum over the workers, update.

    Args:
        loss: of a batch: the loss to descend, and the mean squared error for the eye.
        optimizer: of everything the loss depends on.
        workers: who else works on the batch.
    """

    def __init__(self, loss: Loss, optimizer: AveragedAdamW, workers: Workers) -> None:
        self.loss, self.optimizer, self.workers = loss, optimizer, workers

    def __call__(self, batch: Batch, scalars: list[float]) -> tuple[Tensor, Tensor]:
        values = torch.tensor(scalars)
        if batch.target.is_cuda:
            values = values.pin_memory().to(batch.target.device, non_blocking=True)
        return self.run(batch, values)

    def run(self, batch: Batch, scalars: Tensor) -> tuple[Tensor, Tensor]:
        """The step, of scalars where the update reads them."""
        self.optimizer.zero_grad()
        loss, error = self.loss(batch)
        loss.backward()
        self.workers.sum_gradients(self.optimizer.parameters)
        self.optimizer.update(scalars)
        return self.workers.sum(loss.detach().clone()), self.workers.sum(error)


class CapturedStep:
    """The same step as one CUDA graph: the device is not kept waiting while Python finds the next kernel to launch.

    The first steps run as they are written, and count; then one is captured and all others replay it. The returned
    tensors are overwritten by the next step.

    Args:
        step: what to capture.
    """

    def __init__(self, step: PlainStep) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch, scalars: list[float]) -> tuple[Tensor, Tensor]:
        if self.done < STEPS_BEFORE_CAPTURE:
            self.done += 1
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                results = self.step(batch, scalars)
            torch.cuda.current_stream().wait_stream(self.stream)
            return results
        values = torch.tensor(scalars).pin_memory()
        if self.graph is None:
            self._capture(batch, values)
        cameras, static = self.batch.cameras, self.batch
        for to, value in (
            (cameras.K, batch.cameras.K),
            (cameras.w2c, batch.cameras.w2c),
            (static.target, batch.target),
            (static.weight, batch.weight),
            (static.indices, batch.indices),
            (self.scalars, values),
        ):
            to.copy_(value, non_blocking=True)
        assert self.graph is not None
        self.graph.replay()
        return self.results

    def _capture(self, batch: Batch, values: Tensor) -> None:
        cameras = replace(batch.cameras, K=batch.cameras.K.clone(), w2c=batch.cameras.w2c.clone())
        self.batch = Batch(cameras, batch.target.clone(), batch.weight.clone(), batch.indices.clone())
        self.scalars = values.to(batch.target.device)
        self.step.optimizer.zero_grad()  # so that the captured gradients get memory of their own
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.results = self.step.run(self.batch, self.scalars)
        self.step.optimizer.point_at_gradients()
        self.step.workers.drop_at_exit(graph)
        self.graph = graph
