"""Near surroundings: rays against a sphere met by hand, and a lamp's distance found through the renderer."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.errors import SettingError
from neuraltex.raster import make_gbuffer
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.shading.gloss import mirrored
from neuraltex.shading.parallax import met_on_sphere, places_in_sphere
from tests.scenes import make_mesh

BOX = (0.5, -1.0, 2.0, 4.0)


def _rays(count=500):
    generator = torch.Generator().manual_seed(3)
    dirs = normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)
    inside = normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)
    return inside * 0.9 * torch.rand(count, 1, generator=generator, dtype=torch.float64), dirs


def test_rays_meet_the_sphere_ahead_of_them():
    places, dirs = _rays()
    met = met_on_sphere(places, dirs)
    torch.testing.assert_close(met.norm(dim=-1), torch.ones(len(met), dtype=torch.float64), atol=1e-12, rtol=0)
    onwards = met - places
    torch.testing.assert_close(normalize(onwards, dim=-1), dirs, atol=1e-12, rtol=0)
    assert torch.equal(met_on_sphere(torch.zeros_like(dirs), dirs), dirs)


def test_gradients_of_where_rays_meet_the_sphere():
    places, dirs = (values[:20].requires_grad_() for values in _rays())
    assert torch.autograd.gradcheck(met_on_sphere, (places, dirs))


def _floor_and_cameras(dtype=torch.float32, size=24):
    corners = torch.tensor([[-1.0, -3, 2], [2, -3, 2], [2, 1, 2], [-1, 1, 2]])
    uv, faces = (corners[:, :2] + 3) / 6, torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = make_mesh(corners.to(dtype), faces, uv.to(dtype), faces)
    eyes = torch.tensor([[0.5, -4.0, 4.0], [3.0, -1.0, 3.5], [-2.5, 0.0, 4.5]], dtype=dtype)
    w2c = look_at(eyes, torch.tensor([0.5, -1.0, 2.0], dtype=dtype), torch.tensor([0.0, 0.0, 1.0], dtype=dtype))
    return mesh, Camera.from_fov(w2c, 55.0, size, size)


def test_places_are_those_of_the_surface():
    mesh, cameras = _floor_and_cameras(torch.float64)
    gbuffer = make_gbuffer(mesh, cameras, "torch")
    sphere = torch.tensor([0.6, 0.1, -0.2, 0.05], dtype=torch.float64)
    places = places_in_sphere(gbuffer, cameras, torch.tensor(BOX), sphere)
    assert not places[~gbuffer.mask].any()
    world = (places - sphere[1:]) * (BOX[3] / sphere[0]) + torch.tensor(BOX[:3], dtype=torch.float64)
    x, y, z = world[gbuffer.mask].unbind(-1)
    torch.testing.assert_close(z, torch.full_like(z, 2.0), atol=1e-9, rtol=0)
    # measured 1.2e-7: texture coordinates were written in single precision
    u, v = gbuffer.uv[gbuffer.mask].unbind(-1)
    torch.testing.assert_close(torch.stack([x, y]), torch.stack([u, v]) * 6 - 3, atol=1e-6, rtol=0)


def test_a_sphere_of_no_curvature_changes_nothing():
    torch.manual_seed(0)
    mesh, cameras = _floor_and_cameras()
    shader = Shader(ShadingConfig(texture_size=16, environment=False, near_surroundings=True, box=BOX))
    gbuffer = make_gbuffer(mesh, cameras, "torch")
    near, _ = shader.features(gbuffer, "torch", places=shader.places(gbuffer, cameras))
    far, _ = shader.features(gbuffer, "torch")
    torch.testing.assert_close(near, far, atol=1e-6, rtol=0)  # measured 1e-7


def _cameras_around(size=24):
    turn = torch.arange(12) * (2 * torch.pi / 12)
    height = torch.tensor([1.2, 2.2]).repeat(6)
    eyes = torch.stack([0.5 + 3 * turn.cos(), -1 + 3 * turn.sin(), 2 + height], dim=-1)
    return Camera.from_fov(look_at(eyes, torch.tensor(BOX[:3]), torch.tensor([0.0, 0.0, 1.0])), 60.0, size, size)


def _error_of_a_learned_lamp(*, near: bool) -> float:
    """How well a near lamp that a floor mirrors is learned from twelve sides."""
    torch.manual_seed(0)
    mesh, cameras = _floor_and_cameras()[0], _cameras_around()
    shader = Shader(ShadingConfig(texture_size=16, environment=False, near_surroundings=True, box=BOX))
    gbuffer = make_gbuffer(mesh, cameras, "torch")
    with torch.no_grad():
        truth = places_in_sphere(gbuffer, cameras, shader.box, torch.tensor([0.8, 0.0, 0.0, 0.0]))
        met = normalize(met_on_sphere(truth, mirrored(gbuffer.view_dirs, gbuffer.normals)[0]), dim=-1)
        lamp = normalize(torch.tensor([0.2, 0.1, 1.0]), dim=0)
        target = ((met * lamp).sum(-1) - 0.9).mul(12).sigmoid() * gbuffer.mask
    groups = [{"params": [*shader.reflections.levels], "lr": 2e-2}]
    if near:
        groups.append({"params": [shader.sphere], "lr": 1e-2})
    optimizer = torch.optim.Adam(groups)
    error = torch.inf
    for _ in range(120):
        optimizer.zero_grad()
        features, _ = shader.features(gbuffer, "torch", places=shader.places(gbuffer, cameras))
        loss = (features[:, 16 + 18] - target).square().mean()
        loss.backward()
        optimizer.step()
        error = loss.item()
    return error


def test_how_near_a_lamp_hangs_is_learned_with_it():
    # measured 1.1e-5 and 2.0e-3: from one end of the floor the lamp is not where it is from the other
    assert _error_of_a_learned_lamp(near=True) < 0.05 * _error_of_a_learned_lamp(near=False)


def test_a_shader_without_a_box_or_reflections_has_no_sphere():
    assert Shader(ShadingConfig(texture_size=16, near_surroundings=True)).sphere is None
    assert Shader(ShadingConfig(decoder="paper", texture_size=16, near_surroundings=True, box=BOX)).sphere is None


def test_a_box_without_extent_is_refused():
    with pytest.raises(SettingError, match="box: expected a diagonal above 0"):
        ShadingConfig(box=(0.0, 0.0, 0.0, 0.0))
