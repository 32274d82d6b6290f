"""The kernel against torch's AdamW, and the average against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neuraltex.training.optimizer import BETAS, EPS, AveragedAdamW, Group


def make_groups(device: str = "cpu") -> list[Group]:
    torch.manual_seed(3)
    rows = nn.Parameter(torch.randn(1, 4, 20, 30).to(memory_format=torch.channels_last).to(device))
    one, many = (nn.Parameter(torch.randn(size).to(device)) for size in (1, 1500))
    return [Group([rows], 3e-2, 0.5), Group([one, many], 1e-2, 0.0)]


def run(optimizer: AveragedAdamW, steps: int = 4) -> None:
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for parameter in optimizer.parameters:
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
        values = optimizer.scalars(1 / (1 + step), 0.5)
        optimizer.update(torch.tensor(values, device=optimizer.parameters[0].device))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_weights_and_averages_follow_their_definition(backend):
    if backend == "triton":
        pytest.importorskip("triton", reason="needs Triton")
    # Torch's own is for the CPU; the kernel runs where kernels run.
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    optimizer = AveragedAdamW(make_groups(device), backend=backend)
    run(optimizer)
    groups = make_groups()
    reference = torch.optim.AdamW(
        [{"params": g.parameters, "lr": g.rate, "weight_decay": g.decay} for g in groups], betas=BETAS, eps=EPS
    )
    weights = [p for g in groups for p in g.parameters]
    averages = [p.detach().clone() for p in weights]
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        for parameter in weights:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for group, settings in zip(groups, reference.param_groups, strict=True):
            settings["lr"] = group.rate / (1 + step)
        reference.step()
        averages = [0.5 * a + 0.5 * p.detach() for a, p in zip(averages, weights, strict=True)]
    for found, expected in zip(optimizer.parameters, weights, strict=True):
        torch.testing.assert_close(found.cpu(), expected, atol=2e-6, rtol=0)  # measured 1.2e-7
    for found, expected in zip(optimizer.average, averages, strict=True):
        torch.testing.assert_close(found.cpu(), expected, atol=2e-6, rtol=0)  # measured 1.2e-7


def test_a_parameter_without_a_gradient_stays():
    optimizer = AveragedAdamW(make_groups(), backend="torch")
    before = optimizer.parameters[0].detach().clone()
    optimizer.parameters[1].grad = torch.ones_like(optimizer.parameters[1])
    optimizer.update(torch.tensor(optimizer.scalars(1.0, 0.9)))
    assert torch.equal(optimizer.parameters[0], before)
    assert (optimizer.parameters[1] != make_groups()[1].parameters[0]).all()


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_row_steps_when_it_has_a_gradient_and_only_then(backend):
    if backend == "triton":
        pytest.importorskip("triton", reason="needs Triton")
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    num_rows, num_steps = 5, 17
    rows = nn.Parameter(torch.zeros(num_rows, 6, device=device))
    other = nn.Parameter(torch.zeros(7, device=device))
    optimizer = AveragedAdamW([Group([other], 1e-2, 0.0), Group([rows], 1e-2, 0.0, 0, num_rows / 1)], backend=backend)
    alone = [nn.Parameter(torch.zeros(6)) for _ in range(num_rows)]
    references = [torch.optim.Adam([row], lr=1e-2, betas=BETAS, eps=EPS) for row in alone]
    average = torch.zeros(num_rows, 6)
    for step in range(num_steps):
        row, gradient = (2 * step) % num_rows, torch.randn(6, generator=torch.Generator().manual_seed(step))
        before = rows.detach().clone()
        rows.grad = torch.zeros_like(rows)
        rows.grad[row] = gradient.to(device)
        other.grad = torch.ones_like(other)
        optimizer.update(torch.tensor(optimizer.scalars(1.0, 0.5), device=device))
        alone[row].grad = gradient
        references[row].step()
        resting = [k for k in range(num_rows) if k != row]
        assert torch.equal(rows[resting], before[resting])
        average = 0.5 * average + 0.5 * rows.detach().cpu()
    torch.testing.assert_close(rows.cpu(), torch.stack([row.detach() for row in alone]), atol=1e-7, rtol=0)  # 4e-9
    torch.testing.assert_close(optimizer.average[1].cpu(), average, atol=1e-7, rtol=0)  # measured 0
    assert (other != 0).all()
