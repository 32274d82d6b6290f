"""The fused similarity against `ssim_map` in plain PyTorch: values and gradients, at borders and blocks' seams too."""

from __future__ import annotations

import pytest
import torch

from neuraltex.training.losses import ssim_map

pytest.importorskip("triton", reason="needs Triton")
from neuraltex.training.triton_ssim import fused_ssim_map

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# The smallest there is, odd ones, and one with programs that touch no border; a single channel, and one that fills up.
SHAPES = [(1, 6, 9, 3), (3, 17, 23, 3), (1, 29, 70, 3), (3, 7, 80, 1), (1, 11, 6, 5)]


def _inputs(shape):
    """A rendering, a photograph with a flat bright and an excluded corner, and a gradient that is 0 in places."""
    generator = torch.Generator().manual_seed(3)
    first = torch.rand(shape, generator=generator)
    second = (first + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
    second[:, :4, :5] = 0.9
    first[:, -4:, -3:] = second[:, -4:, -3:] = 0
    grad = torch.randn(shape[:3], generator=generator) * (torch.rand(shape[:3], generator=generator) < 0.7)
    return first, second, grad


def _run(function, first, second, grad):
    first = first.clone().requires_grad_()
    similarity = function(first, second)
    similarity.backward(grad)
    return similarity.detach().cpu(), first.grad.cpu()


def _plain(first, second):
    return ssim_map(first, second, backend="torch")


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_those_of_plain_torch(shape):
    inputs = _inputs(shape)
    found = _run(fused_ssim_map, *(t.to(DEVICE) for t in inputs))
    # On the CPU, where no convolution is rounded to fewer bits than its dtype has.
    for dtype in (torch.float32, torch.float64):
        expected = _run(_plain, *(t.to(dtype) for t in inputs))
        for wanted, got in zip(expected, found, strict=True):
            # Measured 4e-6 of the largest entry from float32 and 3e-6 from float64, as float32 from float64.
            torch.testing.assert_close(got.to(dtype), wanted, atol=2e-5 * float(wanted.abs().max()), rtol=0)


def test_one_pixel_s_gradient_reaches_what_its_window_saw():
    # Alone, so that no larger gradient hides what is missing; at corners, edges and away from them.
    shape = (1, 13, 25, 3)
    first, second, _ = _inputs(shape)
    exact = first.double().requires_grad_()
    single = first.to(DEVICE).requires_grad_()
    exact_map, single_map = _plain(exact, second.double()), fused_ssim_map(single, second.to(DEVICE))
    for row, column in ((0, 0), (2, 24), (12, 3), (9, 20), (6, 12)):
        (expected,) = torch.autograd.grad(exact_map[0, row, column], exact, retain_graph=True)
        (found,) = torch.autograd.grad(single_map[0, row, column], single, retain_graph=True)
        found = found.cpu().double()
        assert (found[expected == 0] == 0).all()
        # Measured 7e-6 of the largest entry, in the flat bright corner, where variances are small differences.
        torch.testing.assert_close(found, expected, atol=5e-5 * float(expected.abs().max()), rtol=0)


def test_any_memory_layout_will_do():
    first, second, grad = _inputs((3, 7, 9, 3))
    dense = _run(fused_ssim_map, *(t.to(DEVICE) for t in (first, second, grad[:1, :1, :1].expand(3, 7, 9).clone())))
    planar = [t.to(DEVICE).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1) for t in (first, second)]
    strided = _run(fused_ssim_map, *planar, grad[:1, :1, :1].to(DEVICE).expand(3, 7, 9))
    for wanted, got in zip(dense, strided, strict=True):
        assert (got == wanted).all()


def test_values_are_the_same_where_no_gradient_is_asked_for():
    # Several blocks of rows: partials written without a place of their own would spoil the next one's moments.
    first, second, _ = (t.to(DEVICE) for t in _inputs((1, 17, 9, 3)))
    assert (fused_ssim_map(first, second) == fused_ssim_map(first.clone().requires_grad_(), second)).all()


def test_the_backend_follows_its_name_and_what_needs_gradients(monkeypatch):
    first, second, _ = (t.to(DEVICE) for t in _inputs((1, 6, 9, 3)))
    calls = []
    monkeypatch.setattr(
        "neuraltex.training.triton_ssim.fused_ssim_map", lambda *images: calls.append(1) or fused_ssim_map(*images)
    )
    ssim_map(first, second, backend="triton")
    assert len(calls) == 1
    ssim_map(first, second, backend="torch")
    assert len(calls) == 1
    # As on a GPU, wherever this runs.
    monkeypatch.setattr("neuraltex.training.losses.pick_backend", lambda backend, values: "triton")
    ssim_map(first, second)
    assert len(calls) == 2
    second.requires_grad_()
    ssim_map(first, second).sum().backward()
    assert len(calls) == 2
    assert second.grad.any()
    with pytest.raises(ValueError, match="second: .*requires gradients"):
        ssim_map(first, second, backend="triton")


def test_wrong_images_are_refused():
    first, second, _ = (t.to(DEVICE) for t in _inputs((1, 6, 9, 3)))
    with pytest.raises(ValueError, match="first: .*at least 6 pixels"):
        fused_ssim_map(first[:, :5], second[:, :5])
    with pytest.raises(ValueError, match="first: expected float32"):
        fused_ssim_map(first.double(), second)
    with pytest.raises(ValueError, match="second: expected float32"):
        fused_ssim_map(first, second.double())
