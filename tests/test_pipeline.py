"""Geometry to RGB as one graph: values, gradients to everything, and what gradients are good for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.rotations import so3_exp
from neuraltex.pipeline import render
from neuraltex.raster import opposite_corners
from neuraltex.shading import Shader, ShadingConfig
from tests.scenes import join, make_mesh, ring_cameras, uv_sphere


def small_shader(*, seed: int = 0, dtype: torch.dtype = torch.float32, **changes) -> Shader:
    torch.manual_seed(seed)
    config = ShadingConfig(
        **{
            "decoder_width": 4,
            "decoder_levels": 2,
            "texture_size": 16,
            "texture_levels": 3,
            "environment_size": 16,
            **changes,
        }
    )
    shader = Shader(config).to(dtype)
    for texture in (shader.texture, shader.environment):
        for level in texture.levels if texture is not None else []:
            torch.nn.init.normal_(level, std=0.5)
    return shader


@pytest.mark.parametrize("decoder", ["default", "paper"])
@pytest.mark.parametrize("num_views", [1, 3])
def test_renders_batches_of_any_shape(decoder, num_views):
    shader = small_shader(decoder=decoder)
    mesh, cameras = uv_sphere(), ring_cameras(num_views, 45, 33)
    rendering = render(mesh, cameras, shader)
    assert rendering.rgb.shape == (num_views, 33, 45, 3)
    assert rendering.rgb.isfinite().all()
    if decoder == "default":
        alone = render(mesh, cameras[num_views - 1 :], shader).rgb
        # measured 6e-7: a view does not depend on the others of its batch
        torch.testing.assert_close(rendering.rgb[num_views - 1 :], alone, atol=1e-5, rtol=0)


def test_without_an_environment_nothing_behind_the_mesh_matters():
    shader = small_shader(environment=False)
    mesh, cameras = uv_sphere(), ring_cameras(1, 45, 33)
    features, colour = shader.features(render(mesh, cameras, shader).gbuffer)
    outside = ~render(mesh, cameras, shader).gbuffer.mask
    assert (features.permute(0, 2, 3, 1)[outside] == 0).all()
    assert (colour.permute(0, 2, 3, 1)[outside] == 0).all()


def test_a_view_of_nothing_is_background_with_gradients():
    shader = small_shader()
    mesh, cameras = uv_sphere(), ring_cameras(1, 45, 33)
    away = Camera(cameras.K, cameras.w2c.clone(), 45, 33)
    away.w2c[:, 0, 3] += 50
    rendering = render(mesh, away, shader)
    assert not rendering.gbuffer.mask.any()
    rendering.rgb.sum().backward()
    assert shader.environment is not None
    assert shader.environment.levels[0].grad is not None
    assert shader.environment.levels[0].grad.abs().sum() > 0


def _scalar(mesh, cameras, shader, weights):
    """A number that depends on every pixel in another way."""
    return (render(mesh, cameras, shader, opposite=opposite_corners(mesh.faces)).rgb * weights).sum()


@pytest.mark.parametrize("decoder", ["default", "paper"])
@pytest.mark.parametrize("target", ["texture", "verts", "verts_uv", "w2c", "K", "network"])
def test_gradients_of_the_whole_pipeline_equal_finite_differences(decoder, target):
    """Float64, over silhouettes, an occluding part and a background; visibility does not change within the step."""
    sphere = uv_sphere(5, 7, dtype=torch.float64)
    small = make_mesh(sphere.verts * 0.4 + torch.tensor([0.7, 0.3, 0.6]).double(), sphere.faces)
    mesh = join(sphere, small)
    cameras = ring_cameras(1, 29, 23, dtype=torch.float64)
    shader = small_shader(dtype=torch.float64, decoder=decoder)
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(1, 23, 29, 3, dtype=torch.float64, generator=generator)
    parameters = {
        "texture": shader.texture.levels[0],
        "network": next(shader.decoder.parameters()),
        "verts": mesh.verts,
        "verts_uv": mesh.verts_uv,
        "w2c": cameras.w2c,
        "K": cameras.K,
    }
    start = parameters[target].detach().clone()
    direction = torch.randn(start.shape, dtype=torch.float64, generator=generator)
    if target in ("w2c", "K"):
        direction[..., -1, :] = 0  # the last row of a matrix of this kind is fixed
    if target == "w2c":
        direction[..., :3, 3] *= 0.1

    def total(step):
        value = start + step * direction
        if target in ("texture", "network"):
            parameters[target].data.copy_(value)
            return _scalar(mesh, cameras, shader, weights)
        if target == "verts":
            return _scalar(mesh.with_verts(value), cameras, shader, weights)
        if target == "verts_uv":
            return _scalar(replace(mesh, verts_uv=value), cameras, shader, weights)
        return _scalar(mesh, replace(cameras, **{target: value}), shader, weights)

    if target in ("texture", "network"):
        total(0.0).backward()
        slope = float((parameters[target].grad * direction).sum())
    else:
        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(total(step), step)
        slope = float(gradient)
    with torch.no_grad():
        size = 1e-7
        numeric = float((total(size) - total(-size)) / (2 * size))
    assert abs(slope) > 1e-3
    # Measured 5e-7 relative at most for ours; for the paper's 4e-4, where a kink of its leaky ReLUs lies within the
    # step or a normalisation over two by two texels amplifies it.
    assert slope == pytest.approx(numeric, rel=1e-5 if decoder == "default" else 2e-3)


def _blurred(rgb, size):
    """Box blur, so that what is compared has a slope over several pixels."""
    return torch.nn.functional.avg_pool2d(rgb.permute(0, 3, 1, 2), size, 1, size // 2)


def _recover(predict, target, start, *, rate, steps=120):
    """Descend on the image difference, coarse to fine."""
    values = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([values], lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        size = 9 if step < steps // 2 else 3
        loss = (_blurred(predict(values), size) - _blurred(target, size)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return values.detach()


def _textured_scene():
    sphere = uv_sphere(10, 14)
    box = make_mesh(sphere.verts * torch.tensor([0.5, 0.35, 0.4]) + torch.tensor([0.75, 0.2, 0.75]), sphere.faces)
    return join(sphere, box), small_shader(seed=4)


def test_a_camera_is_recovered_through_the_renderer():
    """Rotated by 2 degrees and shifted by 2% of its distance, then found again from the picture alone."""
    mesh, shader = _textured_scene()
    truth = ring_cameras(1, 96, 80)
    target = render(mesh, truth, shader).rgb.detach()
    axis = torch.nn.functional.normalize(torch.tensor([0.5, -0.6, 0.62]), dim=0)
    shift = 0.02 * 3.0 * torch.nn.functional.normalize(torch.tensor([0.7, 0.5, -0.5]), dim=0)
    wrong = torch.cat([torch.deg2rad(torch.tensor(2.0)) * axis, shift])

    def predict(pose):
        motion = torch.eye(4)
        motion = torch.cat([torch.cat([so3_exp(pose[:3]), pose[3:, None]], dim=1), motion[3:]], dim=0)
        return render(mesh, Camera(truth.K, motion @ truth.w2c, truth.width, truth.height), shader).rgb

    found = _recover(predict, target, wrong, rate=4e-3)
    assert torch.rad2deg(wrong[:3].norm()) == pytest.approx(2.0, abs=1e-3)
    assert torch.rad2deg(found[:3].norm()) < 0.1  # measured 0.01
    assert found[3:].norm() < 0.1 * shift.norm()  # measured 0.02


def test_a_displaced_part_is_recovered_through_the_renderer():
    mesh, shader = _textured_scene()
    cameras = ring_cameras(3, 80, 64)
    target = render(mesh, cameras, shader).rgb.detach()
    moved = torch.zeros(len(mesh.verts), 1)
    moved[mesh.faces[mesh.part_ids == 1].unique()] = 1.0
    wrong = torch.tensor([0.06, -0.05, 0.04])

    def predict(offset):
        return render(mesh.with_verts(mesh.verts + moved * offset), cameras, shader).rgb

    found = _recover(predict, target, wrong, rate=4e-3)
    assert found.norm() < 0.1 * wrong.norm()  # measured 0.01
