"""Detail that depends on numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.pipeline import render
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.shading.detail import Detail
from tests.scenes import ring_cameras, uv_sphere


def make_shader(**settings) -> Shader:
    torch.manual_seed(0)
    sizes = {"texture_size": 32, "environment": False, "decoder_width": 4, "decoder_levels": 2}
    return Shader(ShadingConfig(**sizes, detail=True, detail_size=8, detail_bases=3, **settings))


def test_untrained_detail_is_none():
    detail = Detail(5, 8, channels=12, num_bases=3)
    assert detail(torch.randn(5)).shape == (1, 12, 8, 8)
    assert not bool(detail(torch.randn(5)).any())


def test_without_conditions_there_is_no_detail():
    assert make_shader().detail is None
    assert make_shader(num_conditions=5).detail is not None
    assert Shader(ShadingConfig(texture_size=32, num_conditions=5)).detail is None


def test_detail_is_a_level_of_the_texture():
    shader = make_shader(num_conditions=2)
    assert shader.detail is not None
    torch.nn.init.normal_(shader.detail.bases)
    condition, uv = torch.tensor([0.3, 0.7]), torch.rand(1, 4, 6, 2)
    level = shader.detail(condition)
    summed = shader.texture(uv, (level,)) - shader.texture(uv)
    grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], -1)
    alone = torch.nn.functional.grid_sample(level, grid, padding_mode="border", align_corners=False)
    # measured 2e-7: the order of the sum
    assert torch.allclose(summed, alone, atol=1e-5)


def test_the_mesh_carries_the_condition_and_gradients_reach_it():
    shader = make_shader(num_conditions=2)
    assert shader.detail is not None
    torch.nn.init.normal_(shader.detail.bases)
    mesh, cameras = uv_sphere(), ring_cameras(1, height=12, width=16)
    with pytest.raises(ValueError, match="condition: expected the state of the surface"):
        render(mesh, cameras, shader)
    condition = torch.tensor([0.3, 0.7], requires_grad=True)
    smiling = render(replace(mesh, condition=condition), cameras, shader).rgb
    calm = render(replace(mesh, condition=torch.zeros(2)), cameras, shader).rgb
    assert not torch.allclose(smiling, calm)
    smiling.sum().backward()
    assert condition.grad is not None
    assert bool(condition.grad.any())
