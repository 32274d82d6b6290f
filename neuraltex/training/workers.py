"""Processes that train one model together, one a GPU, as `torchrun` starts them."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from neuraltex.errors import SettingError

# Gradients smaller than this travel together: each message costs some 20 microseconds, however short.
SMALL_BYTES = 1 << 20
# NCCL does not let go of its connections while a graph that holds messages is there.
_GRAPHS: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()


@dataclass(frozen=True)
class Workers:
    """This process among those that work together.

    Args:
        rank: of this process, 0 to count - 1.
        count: processes in all.
    """

    rank: int = 0
    count: int = 1

    @staticmethod
    def join(device: torch.device) -> tuple[Workers, torch.device]:
        """Meet the processes that `torchrun` started; alone where it did not.

        Args:
            device: what was asked for; "cuda" without an index becomes this process's own GPU.

        Returns:
            This process's place, and its device.

        Raises:
            SettingError: more processes than GPUs.
        """
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return Workers(), device
        local = int(os.environ["LOCAL_RANK"])
        if device.type == "cuda":
            if local >= torch.cuda.device_count():
                raise SettingError(f"torchrun: {count} processes were started for {torch.cuda.device_count()} GPUs")
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        if not distributed.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(backend, device_id=device if device.type == "cuda" else None)
            atexit.register(_leave)
        return Workers(distributed.get_rank(), count), device

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come this far."""
        if self.count > 1:
            distributed.barrier()

    def share_of(self, batch: int) -> slice:
        """Which windows of a batch are this process's.

        Raises:
            SettingError: the batch cannot be shared out evenly.
        """
        if batch % self.count:
            raise SettingError(
                f"--training.batch {batch}: {self.count} processes share a batch, so it has to be a multiple of that"
            )
        return slice(self.rank, None, self.count)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def gather(self, value: Tensor) -> list[Tensor]:
        """Every process's tensor of one shape, on the first process; nothing on the others."""
        if self.count == 1:
            return [value]
        values = [torch.empty_like(value) for _ in range(self.count)] if self.first else None
        distributed.gather(value.contiguous(), values)
        return values or []

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes, in place; large ones alone, small ones in one message."""
        if self.count == 1:
            return
        grads = []
        for parameter in parameters:
            # One that took no part here may have taken part elsewhere.
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            grads.append(parameter.grad)
        small = [grad for grad in grads if grad.nbytes < SMALL_BYTES]
        for grad in grads:
            if grad.nbytes >= SMALL_BYTES:
                distributed.all_reduce(_in_memory_order(grad))
        if small:
            flat = torch.cat([grad.reshape(-1) for grad in small])
            distributed.all_reduce(flat)
            parts = flat.split([grad.numel() for grad in small])
            torch._foreach_copy_(small, [part.view(grad.shape) for part, grad in zip(parts, small, strict=True)])

    def drop_at_exit(self, graph: torch.cuda.CUDAGraph) -> None:
        """Let a graph go before the processes part: it holds messages between them."""
        if self.count > 1:
            _GRAPHS.add(graph)

    def agree(self, value: float, device: torch.device) -> float:
        """The first process's value, on all of them: clocks differ."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return float(shared)


def _leave() -> None:
    if distributed.is_initialized():
        for graph in list(_GRAPHS):
            graph.reset()
        distributed.destroy_process_group()


ALONE = Workers()


def _in_memory_order(grad: Tensor) -> Tensor:
    """A flat view of a dense tensor, channels-last ones too."""
    return grad.as_strided((grad.numel(),), (1,))
