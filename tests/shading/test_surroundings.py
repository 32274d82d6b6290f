"""What a floor mirrors of a ball above it, against rays that are traced by hand; both backends; and what is added."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.errors import SettingError
from neuraltex.pipeline import render
from neuraltex.raster import make_gbuffer
from neuraltex.shading import NeuralTexture, Shader, ShadingConfig, look_around
from neuraltex.shading.gloss import facing_of, glossed
from neuraltex.shading.spherical_harmonics import sh_basis
from tests.scenes import join, make_mesh, uv_sphere

BALL, RADIUS = torch.tensor([0.0, 0.6, 0.0]), 0.5


def _scene(resolution=64):
    ball = uv_sphere(16, 24)
    ball = make_mesh(ball.verts * RADIUS + BALL, ball.faces, ball.verts_uv * 0.4 + 0.55, ball.faces_uv)
    corners = torch.tensor([[-2.0, 0, -2], [-2, 0, 2], [2, 0, 2], [2, 0, -2]])
    uv = torch.tensor([[0.0, 0], [0, 0.4], [0.4, 0.4], [0.4, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = join(ball, make_mesh(corners, faces, uv, faces))
    from neuraltex.geometry.distance_field import distance_field

    field = distance_field(mesh.verts, mesh.faces, mesh.verts_uv, mesh.faces_uv, resolution=resolution)
    return replace(mesh, field=field)


def _camera(width=48, height=40):
    eye = torch.tensor([[0.0, 1.6, 3.0]])
    w2c = look_at(eye, torch.tensor([0.0, 0.2, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    return Camera.from_fov(w2c, 50.0, width, height)


def _texture():
    """Green on the ball, red on the floor."""
    texture = NeuralTexture(32, 32, channels=16, num_levels=1)
    with torch.no_grad():
        texture.levels[0][:, 0] = 1.0
        texture.levels[0][:, :3, :16, 16:] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    return texture


def test_a_floor_mirrors_the_ball_where_rays_meet_it():
    mesh, camera = _scene(), _camera()
    gbuffer = make_gbuffer(mesh, camera, "torch")
    around = look_around(mesh.field, _texture(), gbuffer, camera, "torch")
    floor = gbuffer.part_ids == 1
    rays = gbuffer.ray_dirs[floor]
    start = camera.center + rays * (-camera.center[:, 1:2] / rays[:, 1:2])
    mirrored = rays * torch.tensor([1.0, -1.0, 1.0])
    along = ((BALL - start) * mirrored).sum(-1, keepdim=True)
    passes = (start + along.clamp(min=0) * mirrored - BALL).norm(dim=-1) - RADIUS
    met, free = passes < -0.08, passes > 1.0  # a spacing is 0.06; the wide cone is 0.4 of the length at most
    assert met.sum() > 30
    assert free.sum() > 100
    seen = around[floor]
    assert (seen[met][:, 3] == 0).all()
    assert (seen[free][:, 3] == 1).float().mean() > 0.98
    green = seen[met][:, :3]
    assert (green[:, 1] > 0.9).float().mean() > 0.9  # feet of the ball, beside the floor, show both
    assert torch.equal(seen[free][:, :3], torch.zeros_like(seen[free][:, :3]))
    between = seen[(passes > 0.05) & (passes < 0.3)]
    assert (between[:, 4] <= between[:, 3] + 1e-6).all()  # a wider cone is blocked sooner
    assert (between[:, 4] < 1).float().mean() > 0.8
    assert not around[~gbuffer.mask].any()


def test_kernel_sees_what_plain_torch_sees():
    pytest.importorskip("triton", reason="needs Triton")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mesh, camera = _scene(32).to(device), _camera(20, 14).to(device)
    gbuffer = make_gbuffer(mesh, camera, "torch")
    ours, theirs = (
        look_around(mesh.field, _texture().to(device), gbuffer, camera, backend) for backend in ("triton", "torch")
    )
    # 1e-5 in the interpreter; a ray that just passes something may meet it under another rounding.
    assert ((ours - theirs).abs().amax(-1) < 1e-3).float().mean() > 0.99


def test_gloss_is_light_added_to_light():
    colour, sky = torch.full((1, 3, 1, 2), 0.6), torch.full((1, 3, 1, 2), 0.5)
    around = torch.tensor([[0.0, 0, 0, 1, 1], [0.2, 0.1, 0, 0, 0]]).t().reshape(1, 5, 1, 2)
    gloss = torch.tensor([0.1, 0.2, 0.3, 0.4]).reshape(1, 4, 1, 1).expand(1, 4, 1, 2)
    front = torch.full((1, 1, 1, 2), -1.0)
    rgb = glossed(colour, gloss, front, sky, around)
    assert torch.allclose(rgb[0, :, 0, 0], (0.36 + torch.tensor([0.1, 0.2, 0.3]) * 0.5).sqrt())
    assert torch.allclose(rgb[0, :, 0, 1], (0.36 + torch.tensor([0.1 * 0.2, 0.2 * 0.1, 0.0])).sqrt())
    grazing = glossed(colour, gloss, -front, sky, around)
    assert torch.allclose(grazing[0, :, 0, 0], (0.36 + torch.tensor([0.5, 0.6, 0.7]) * 0.5).sqrt(), atol=1e-2)


def test_the_angle_is_in_the_harmonics():
    view, mirror = (torch.nn.functional.normalize(torch.randn(1, 4, 5, 3), dim=-1) for _ in range(2))
    facing = facing_of(*(sh_basis(d).permute(0, 3, 1, 2) for d in (view, mirror)))
    assert torch.allclose(facing[:, 0], (view * mirror).sum(-1), atol=1e-6)


def test_everything_has_finite_gradients_with_interreflections():
    torch.manual_seed(0)
    shader = Shader(_config())
    mesh, camera = _scene(32), _camera(24, 20)
    verts = mesh.verts.clone().requires_grad_()
    K = camera.K.clone().requires_grad_()
    rgb = render(replace(mesh.with_verts(verts)), replace(camera, K=K), shader).rgb
    rgb.square().mean().backward()
    for gradient in (verts.grad, K.grad, *(p.grad for p in shader.parameters())):
        assert gradient is not None
        assert gradient.isfinite().all()
    texels = shader.texture.levels[0].grad
    assert texels is not None
    assert texels[:, 12:16].abs().amax(dim=(0, 2, 3)).min() > 0  # how much is mirrored is learned from the start


def _config(**changes):
    sizes = {"decoder_width": 4, "decoder_levels": 2, "texture_size": 16, "texture_levels": 2, "environment_size": 16}
    return ShadingConfig(**{**sizes, "reflection_size": 8, "interreflections": True, **changes})


def test_a_moved_ball_moves_its_mirror_image_and_nothing_else_has_to_be_said():
    torch.manual_seed(0)
    shader = Shader(_config()).eval()
    with torch.no_grad():
        shader.texture.levels[0].copy_(shader.texture.levels[0] + 0.3)
    mesh, camera = _scene(32), _camera(24, 20)
    away = mesh.verts + torch.tensor([0.0, 5.0, 0.0]) * (torch.arange(len(mesh.verts)) < len(mesh.verts) - 4)[:, None]
    gone = mesh.with_verts(away).with_field()
    floor = make_gbuffer(gone, camera).part_ids == 1
    both = floor & (make_gbuffer(mesh, camera).part_ids == 1)
    before, after = (render(m, camera, shader).rgb for m in (mesh, gone))
    apart = (before - after).abs().amax(-1)[both]
    assert (apart > 0.05).sum() > 10


def test_a_scene_without_its_field_is_refused():
    with pytest.raises(ValueError, match=r"mesh\.field: expected the space around the mesh"):
        render(replace(_scene(16), field=None), _camera(8, 8), Shader(_config()))
    gbuffer = make_gbuffer(_scene(16), _camera(8, 8))
    with pytest.raises(ValueError, match="around: expected what the surface mirrors"):
        Shader(_config()).features(gbuffer)


@pytest.mark.parametrize("changes", [{"decoder": "paper"}, {"texture_channels": 12}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(SettingError, match="interreflections: expected"):
        _config(**changes)
