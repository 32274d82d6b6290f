"""Captured and compiled, a scene looks and trains as it does step by step; and what can run where."""

from __future__ import annotations

import inspect

import pytest
import torch

from neuraltex.colours import linear_to_srgb, srgb_to_linear
from neuraltex.errors import SettingError
from neuraltex.execution import pick_execution
from neuraltex.frames import FrameRenderer
from neuraltex.raster import make_gbuffer
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.shading.decoders import PaperUNet, UNet, WideConv2d
from neuraltex.training.checkpoint import load_tensors
from tests.scenes import ring_cameras, uv_sphere
from tests.training.test_trainer import make_trainer


def test_without_a_gpu_everything_runs_as_written():
    cpu = torch.device("cpu")
    assert pick_execution("auto", cpu, seconds=1e6) == "eager"
    assert pick_execution("eager", cpu, seconds=0) == "eager"
    with pytest.raises(SettingError, match="--execution graph: needs a CUDA device"):
        pick_execution("graph", cpu, seconds=0)


def make_shader(decoder: str, device: str) -> Shader:
    torch.manual_seed(2)
    config = ShadingConfig(
        decoder=decoder, decoder_width=8, decoder_levels=2, texture_size=32, environment=True, environment_size=16
    )
    shader = Shader(config)
    for texture in (shader.texture, shader.environment):
        for level in texture.levels:
            torch.nn.init.normal_(level, std=0.3)
    return shader.to(device)


def test_frames_are_rounded_pictures():
    shader = make_shader("default", "cpu")
    mesh, cameras = uv_sphere(), ring_cameras(2, 45, 33)
    frames = FrameRenderer(mesh, shader)(cameras)
    assert frames.dtype == torch.uint8
    assert frames.shape == (2, 33, 45, 3)
    assert len(frames.unique()) > 50


def test_alpha_is_the_covered_share_and_colour_reaches_beyond_the_edge():
    shader, mesh = make_shader("default", "cpu"), uv_sphere()
    small, large = ring_cameras(1, 45, 33), ring_cameras(1, 45, 33).resize(45 * 8, 33 * 8)
    rgba = FrameRenderer(mesh, shader, alpha=True)(small)[0].float() / 255
    plain = FrameRenderer(mesh, shader)(small)[0].float() / 255
    covered = make_gbuffer(mesh, large).mask.float().view(33, 8, 45, 8).mean(dim=(1, 3))
    mask = make_gbuffer(mesh, small).mask[0]
    partly = (covered > 0) & (covered < 1)
    errors = [(share - covered)[partly].abs().mean() for share in (rgba[..., 3], mask.float())]
    assert errors[0] < 0.25 * errors[1]  # measured 0.022 against 0.215
    edge = (rgba[..., 3] > 0) & ~mask
    assert edge.sum() > 5
    assert torch.equal(rgba[..., :3][mask], plain[mask])
    # Beyond the edge lies colour of the mesh, not of what is behind it.
    inside = plain[mask].mean(0)
    assert (rgba[..., :3][edge].mean(0) - inside).abs().max() < (plain[edge].mean(0) - inside).abs().max()


@pytest.mark.parametrize("environment", [True, False])
def test_finer_frames_are_the_mean_light_of_larger_ones(environment):
    shader, mesh, cameras = make_shader("default", "cpu"), uv_sphere(), ring_cameras(2, 24, 18)
    if not environment:
        shader.environment = None
    large = FrameRenderer(mesh, shader)(cameras.resize(72, 54)).double() / 255
    light = srgb_to_linear(large).view(2, 18, 3, 24, 3, 3).mean(dim=(2, 4))
    found = FrameRenderer(mesh, shader, finer=3)(cameras).double() / 255
    assert found.shape == (2, 18, 24, 3)
    # Measured 0.0035: both are rounded, dark levels less finely in light.
    torch.testing.assert_close(found, linear_to_srgb(light), atol=0.01, rtol=0)
    with pytest.raises(ValueError, match="finer: expected 1 or more, got 0"):
        FrameRenderer(mesh, shader, finer=0)


def test_finer_frames_with_alpha_average_the_mesh_alone():
    shader, mesh, camera = make_shader("default", "cpu"), uv_sphere(), ring_cameras(1, 24, 18)
    once, finer = (FrameRenderer(mesh, shader, alpha=True, finer=size)(camera)[0].double() / 255 for size in (1, 3))
    assert torch.equal(once[..., 3], finer[..., 3])
    large = camera.resize(72, 54)
    mask = make_gbuffer(mesh, large).mask[0].double()
    light = srgb_to_linear(FrameRenderer(mesh, shader)(large)[0].double() / 255) * mask[..., None]
    share = mask.view(18, 3, 24, 3).sum(dim=(1, 3))
    expected = linear_to_srgb(light.view(18, 3, 24, 3, 3).sum(dim=(1, 3)) / share.clamp(min=1)[..., None])
    assert ((share > 0) & (share < 9)).sum() > 10
    # measured 0.0035, of the rounding
    torch.testing.assert_close(finer[..., :3][share > 0], expected[share > 0], atol=0.01, rtol=0)


@pytest.fixture
def compilable(monkeypatch):
    """Networks without the checks of shapes that tests put around every function: torch cannot compile those."""
    for network in (UNet, PaperUNet, WideConv2d):
        monkeypatch.setattr(network, "forward", inspect.unwrap(network.forward))


# Torch's compiler uses what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.cuda
@pytest.mark.parametrize("decoder", ["default", "paper"])
@pytest.mark.parametrize(("execution", "alpha"), [("graph", False), ("graph", True), ("compile", False)])
def test_captured_frames_equal_those_rendered_as_written(compilable, decoder, execution, alpha):
    shader, mesh = make_shader(decoder, "cuda"), uv_sphere().to("cuda")
    plain, captured = (FrameRenderer(mesh, shader, execution=e, alpha=alpha) for e in ("eager", execution))
    for width in (128, 96):
        for cameras in (ring_cameras(1, width, 64), ring_cameras(3, width, 64)):
            cameras = cameras.to("cuda")
            for shift in (0.0, 0.2):
                cameras.w2c[:, 0, 3] += shift
                expected, found = plain(cameras).int(), captured(cameras).int()
                error = (expected - found).abs()
                # A graph runs the same kernels; compiled, bfloat16 is rounded in other places.
                assert error.max() <= (1 if execution == "graph" else 12)
                assert error.float().mean() < (0.01 if execution == "graph" else 1.0)


# The compiler looks at gradients of tensors that have none, and warns of itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.cuda
@pytest.mark.parametrize("execution", ["graph", "compile"])
def test_captured_training_ends_where_training_as_written_does(compilable, tmp_path, execution):
    shading = ShadingConfig(decoder_width=8, decoder_levels=2, texture_size=16, texture_levels=2, environment_size=16)
    ends = {}
    for name in ("eager", execution):
        trainer = make_trainer(
            tmp_path / name, steps=40, shading=shading, device="cuda", execution=name, zoom_share=0.5
        )
        losses = []
        trainer.fit(lambda progress, losses=losses: losses.append(progress.loss))
        tensors, _ = load_tensors(trainer.checkpoint)
        ends[name] = (losses, tensors)
    for expected, found in zip(ends["eager"][0], ends[execution][0], strict=True):
        assert found == pytest.approx(expected, rel=0.1)
    error = torch.cat(
        [(ends["eager"][1][key] - values).flatten() for key, values in ends[execution][1].items() if "average." in key]
    )
    size = torch.cat([v.flatten() for k, v in ends["eager"][1].items() if "average." in k])
    # Adam's first steps have the size of the rate whatever the gradient's, so rounding shows in single weights.
    assert error.norm() < 0.1 * size.norm()
