"""AdamW with the running average of the weights beside it: torch's own on a CPU, one kernel for everything on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuraltex.raster.backends import pick_backend

BETAS = (0.9, 0.99)
# Textures get gradients far below 1e-8, and must move all the same.
EPS = 1e-12
BLOCK = 1024


@dataclass(frozen=True)
class Group:
    """Parameters that share a step size.

    Args:
        parameters: float32.
        rate: step size before the schedule.
        decay: pull to zero, relative to the step size; none where `every` is above 1.
        wait: steps that pass before they move; their step size then rises over as many again.
        every: steps from one gradient of a row to its next, for parameters of which a step sees some rows alone. Above
            1, a row without a gradient stands still, its moments too: what one photograph said of its camera would
            otherwise drive that camera on for many steps, unopposed, until the photograph is seen again.
    """

    parameters: Sequence[nn.Parameter]
    rate: float
    decay: float
    wait: int = 0
    every: float = 1.0


class AveragedAdamW:
    """AdamW, and an exponential average of the weights.

    Args:
        groups: what to optimise.
        backend: "torch" or "triton"; "auto" for the one that suits the device.

    Raises:
        ValueError: as `pick_backend`.

    Source: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    def __init__(self, groups: Sequence[Group], *, backend: str = "auto") -> None:
        self.groups = list(groups)
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.steps = 0
        self._owners = [k for k, group in enumerate(self.groups) for _ in group.parameters]
        self._by_row = [i for i, owner in enumerate(self._owners) if self.groups[owner].every > 1]
        self._kernel = _Kernel(self) if pick_backend(backend, self.parameters[0]) == "triton" else None
        self._counts = [torch.zeros(()) for _ in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def scalars(self, schedule: float, average_decay: float) -> list[float]:
        """What the next `update` depends on beside its tensors; counts the step.

        Args:
            schedule: factor on every step size.
            average_decay: what the average keeps of itself.
        """
        self.steps += 1
        corrections = [1 - beta**self.steps for beta in BETAS]
        rates = [group.rate * schedule * self._started(group) for group in self.groups]
        visits = [math.floor((self.steps - 1) / self.groups[self._owners[i]].every) + 1 for i in self._by_row]
        return [*corrections, 1 - average_decay, *rates, *(1 - beta**count for count in visits for beta in BETAS)]

    def _started(self, group: Group) -> float:
        """How far a group's step size has risen, 0 to 1."""
        return min(max(self.steps / group.wait - 1, 0.0), 1.0) if group.wait else 1.0

    @torch.no_grad()
    def update(self, scalars: Tensor) -> None:
        """Move the weights down their gradients, and the average after them.

        Args:
            scalars: what `scalars()` gave, as a float32 tensor on the parameters' device for the kernel, on the CPU
                else. A captured update reads the same tensor again.
        """
        self._update_rows(scalars)
        if self._kernel is not None:
            self._kernel.launch(scalars)
            return
        _, _, share, *rates = scalars.tolist()
        end = 0
        for group, rate in zip(self.groups, rates, strict=False):  # corrections of rows follow
            part = slice(end, end := end + len(group.parameters))
            grads = {i: grad for i in range(part.start, part.stop) if (grad := self.parameters[i].grad) is not None}
            if not grads or group.every > 1:
                continue
            for i in grads:
                self._counts[i].fill_(self.steps)
            used = list(grads)
            torch._fused_adamw_(
                [self.parameters[i] for i in used],
                list(grads.values()),
                [self.first[i] for i in used],
                [self.second[i] for i in used],
                [],
                [self._counts[i] for i in used],
                lr=rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=group.decay,
                eps=EPS,
                amsgrad=False,
                maximize=False,
            )
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], share)

    def _update_rows(self, scalars: Tensor) -> None:
        """Parameters that move row by row; in tensors alone, so that it can be captured."""
        corrections = scalars[3 + len(self.groups) :].view(-1, 2)
        for i, (correct_first, correct_second) in zip(self._by_row, corrections, strict=True):
            parameter, first, second = self.parameters[i], self.first[i], self.second[i]
            if parameter.grad is not None:
                grad = parameter.grad
                seen = (grad != 0).flatten(1).any(dim=1).view(-1, *[1] * (grad.dim() - 1))
                first.copy_(torch.where(seen, first.lerp(grad, 1 - BETAS[0]), first))
                second.copy_(torch.where(seen, second.lerp(grad.square(), 1 - BETAS[1]), second))
                step = scalars[3 + self._owners[i]] * (first / correct_first) / ((second / correct_second).sqrt() + EPS)
                parameter.sub_(step * seen)
            if self._kernel is not None:
                self.average[i].lerp_(parameter.detach(), scalars[2])

    def point_at_gradients(self) -> None:
        """After an update was captured: tell the kernel where the captured gradients lie."""
        if self._kernel is not None:
            self._kernel.read_addresses()


class _Kernel:
    """Tables that let one launch visit every parameter."""

    def __init__(self, optimizer: AveragedAdamW) -> None:
        self.optimizer = optimizer
        rows = set(optimizer._by_row)
        self.indices = [i for i in range(len(optimizer.parameters)) if i not in rows]
        parameters = [optimizer.parameters[i] for i in self.indices]
        device = parameters[0].device
        sizes = [parameter.numel() for parameter in parameters]
        blocks = [-(-size // BLOCK) for size in sizes]
        groups = [optimizer._owners[i] for i in self.indices]
        self.sizes = torch.tensor(sizes, device=device)
        self.groups = torch.tensor(groups, dtype=torch.int32, device=device)
        self.decays = torch.tensor([optimizer.groups[i].decay for i in groups], device=device)
        tensors = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))
        starts = torch.tensor([0, *blocks]).cumsum(0)[:-1]
        self.block_tensor = tensors.to(torch.int32).to(device)
        self.block_first = (torch.arange(len(tensors)) - starts[tensors]).to(device)
        self.addresses = torch.zeros(5, len(parameters), dtype=torch.int64, device=device)

    def read_addresses(self) -> None:
        """Where everything lies now; gradients lie elsewhere after every backward pass that is not captured."""
        optimizer = self.optimizer
        grads = [_like(parameter) for parameter in optimizer.parameters]
        rows = (optimizer.parameters, grads, optimizer.first, optimizer.second, optimizer.average)
        table = torch.tensor([[row[i].data_ptr() for i in self.indices] for row in rows])
        if self.addresses.is_cuda:
            table = table.pin_memory()
        self.addresses.copy_(table, non_blocking=True)

    def launch(self, scalars: Tensor) -> None:
        from neuraltex.kernels.adamw import adamw_kernel

        if self.addresses.is_cuda and torch.cuda.is_current_stream_capturing():
            for parameter in self.optimizer.parameters:
                _like(parameter)
        else:
            self.read_addresses()
        with torch.cuda.device_of(scalars):
            adamw_kernel[(len(self.block_tensor),)](
                self.addresses, self.sizes, self.block_tensor, self.block_first, self.decays, self.groups, scalars,
                len(self.sizes), *BETAS, EPS, BLOCK=BLOCK,
            )  # fmt: skip


def _like(parameter: nn.Parameter) -> Tensor:
    """The gradient, laid out in memory as the parameter is: the kernel walks both in memory order."""
    grad = parameter.grad
    if grad is None:  # a parameter that took no part
        parameter.grad = grad = torch.zeros_like(parameter)
    elif grad.stride() != parameter.stride():
        parameter.grad = grad = torch.empty_like(parameter).copy_(grad)
    return grad
