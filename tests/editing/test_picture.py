"""Pictures of edits: what did not change stays exactly, shadows follow, looks go along."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neuraltex.editing import EditRenderer, Stage, Staged, SurfaceMemory, picture, remember_surface
from neuraltex.editing import memory as memory_module
from neuraltex.editing.picture import _as_photographed
from neuraltex.editing.unfold import seen_texels, unfold
from neuraltex.frames import FrameRenderer
from neuraltex.geometry import Scene
from neuraltex.raster import make_gbuffer
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training import Run
from tests.editing.scenes import box_part, camera_above, lamp_at, room

SIZE = 64
SMALL = ShadingConfig(texture_size=SIZE, decoder_width=4, decoder_levels=2, environment=False, reflection_size=8)


def painted() -> Shader:
    torch.manual_seed(1)
    shader = Shader(SMALL)
    with torch.no_grad():
        shader.texture.levels[0].add_(0.1 * torch.randn_like(shader.texture.levels[0]))
        shader.texture.levels[-1][:, 3:].add_(torch.randn_like(shader.texture.levels[-1][:, 3:]))
    return shader


def remembered(scene: Scene, *, all_seen: bool = False) -> SurfaceMemory:
    """The floor and the box from above; a lamp of twice the light that comes from everywhere."""
    mesh = scene.flatten()
    texels = unfold(mesh, SIZE)
    covered = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    covered[texels.places[:, 0], texels.places[:, 1]] = True
    seen = covered | True if all_seen else seen_texels(mesh, camera_above(90, 70), SIZE)
    return SurfaceMemory(seen, covered, lamp_at((4, 0, 8), ambient=0.5))


def moved_box(scene: Scene, *offset: float) -> Staged:
    stage = Stage(scene)
    stage["box"].move(offset)
    return stage.finish()


def pixel_of(point: tuple[float, float, float]) -> tuple[int, int]:
    """Row and column of a world point from above."""
    camera = camera_above(90, 70)
    place = camera.K[0] @ (camera.w2c[0, :3, :3] @ torch.tensor(point).float() + camera.w2c[0, :3, 3])
    column, row = (place[:2] / place[2]).floor().long().tolist()
    return row, column


@pytest.mark.parametrize("moved", [(), ("box",)])
def test_what_was_not_moved_is_rendered_as_ever(moved, monkeypatch):
    monkeypatch.setattr(picture, "FOOT", 0.0)  # around a part that will move, seen texels are filled, too
    scene, shader = room(low=1.0), painted()
    mesh, camera = scene.flatten(), camera_above(90, 70)
    expected = FrameRenderer(mesh, shader)(camera)[0]
    renderer = EditRenderer(mesh, shader, remembered(scene), moved=moved)
    assert torch.equal(renderer(Stage(scene).finish(), camera), expected)
    assert 0.05 < renderer.filled_share < 0.5
    assert expected.float().std() > 3


def test_shadows_follow_what_is_moved_and_nothing_else_changes():
    scene, shader = room(low=1.0), painted()
    mesh, camera = scene.flatten(), camera_above(90, 70)
    memory = remembered(scene, all_seen=True)
    relit, plain = (EditRenderer(mesh, shader, memory, relight=relight) for relight in (True, False))
    staged = moved_box(scene, 0, 1.5, 0)
    factors = relit._factors(make_gbuffer(staged.mesh, camera), staged)
    # From (4, 0, 8) through the box's middle, 1.5 high, to the floor: at x = 4 - 4 * 8 / 6.5, and y 8 / 6.5 as far.
    x, y = 4 - 4 * 8 / 6.5, 1.5 * 8 / 6.5
    for point, lit_before, lit_now in (((x, 0, 0), 0, 1), ((x, y, 0), 1, 0), ((1.6, -1.6, 0), 1, 1)):
        to_lamp = torch.tensor([4 - point[0], -point[1], 8.0])
        cosine = float(8 / to_lamp.norm())
        expected = (0.5 + lit_now * cosine) / (0.5 + lit_before * cosine)
        row, column = pixel_of(point)
        assert factors[row, column].tolist() == pytest.approx([expected] * 3, rel=0.01), point
    assert factors[pixel_of((1.6, -1.6, 0))].tolist() == [1, 1, 1]
    unchanged = (factors == 1).all(dim=-1)
    assert 0.6 < unchanged.float().mean() < 0.95
    with_light, without = relit(staged, camera), plain(staged, camera)
    assert torch.equal(with_light[unchanged], without[unchanged])
    row, column = pixel_of((x, y, 0))
    assert (with_light[row, column] < without[row, column].float() - 20).all()
    row, column = pixel_of((x, 0, 0))
    assert (with_light[row, column] > without[row, column].float() + 20).all()


def test_what_a_part_hid_is_filled_from_around():
    scene, shader = room(), painted()
    with torch.no_grad():
        for level in shader.texture.levels:
            level.zero_()
        # The photographs showed the floor in one colour, and never what is under the box.
        memory = remembered(scene)
        shader.texture.levels[0][0, :3] = torch.where(memory.seen, 0.4, 0.9)
    renderer = EditRenderer(scene.flatten(), shader, memory, moved=("box",))
    filled = memory_module.texel_features(renderer.shader, SIZE)[:3]
    assert torch.allclose(filled, torch.full_like(filled, 0.4), atol=1e-5)
    assert not torch.equal(memory_module.texel_features(shader, SIZE)[:3], filled), "the run's own stays"


@torch.no_grad()
def features(scene: Scene, staged: Staged, camera) -> tuple[Tensor, Tensor]:
    gbuffer = _as_photographed(make_gbuffer(staged.mesh, camera), staged)
    values, _ = painted().features(gbuffer)
    return values[0].permute(1, 2, 0), gbuffer.fragments.pix_to_face[0]


def test_looks_go_along_with_a_part_or_stay_with_the_world():
    scene = Scene([box_part()])
    camera = camera_above(90, 70, at=(1, -4, 3))
    turned = {}
    for frame in ("part", "world"):
        stage = Stage(scene)
        stage["box"].rotate(50, [1, 2, 3], about=[0, 0, 0]).scale(1.5, about=[0, 0, 0])
        stage["box"].view_dependence = frame
        turned[frame] = stage.finish()
    motion = stage["box"].matrix.float()
    assert torch.allclose(turned["part"].turns[0] * 1.5, motion[:3, :3], atol=1e-6)
    # A camera that sees the box at rest as `camera` sees it turned and larger.
    alike = replace(camera, w2c=torch.cat([(camera.w2c @ motion)[:, :3] / 1.5, camera.w2c[:, 3:]], dim=1))
    expected, faces = features(scene, Stage(scene).finish(), alike)
    for frame, staged in turned.items():
        found, seen = features(scene, staged, camera)
        same = (seen == faces) & (faces >= 0)
        assert same.sum() > 300
        error = float((found - expected)[same].abs().max())
        # measured 5e-6 and 3
        assert (error < 1e-4) == (frame == "part"), (frame, error)


def test_what_is_known_of_a_surface_is_kept_until_the_model_is_newer(trained, tmp_path, monkeypatch):
    for path in trained.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    run = Run.open(tmp_path)
    fits = []

    def quick(lamps, *_, **__):
        fits.append(len(fits))
        return replace(lamps, radiance=lamps.radiance + len(fits))

    monkeypatch.setattr(memory_module, "fit_light", quick)
    mesh, (shader, _) = run.load_mesh(torch.device("cpu")), run.load_model(torch.device("cpu"))
    first, again = (remember_surface(run, mesh, shader) for _ in range(2))
    assert fits == [0]
    for one, other in ((first, again), (first.light, again.light)):
        for name, value in vars(one).items():
            if isinstance(value, Tensor):
                assert torch.equal(value, getattr(other, name)), name
    assert first.light.radius == again.light.radius
    assert first.unseen_share == again.unseen_share
    kept = tmp_path / memory_module.FILE
    os.utime(kept, (1, 1))
    assert float(remember_surface(run, mesh, shader).light.radiance[0, 0]) > 2
    kept.write_bytes(kept.read_bytes()[:100])
    remember_surface(run, mesh, shader)
    assert fits == [0, 1, 2], "what was cut short is found out again"
    remember_surface(run, mesh, shader)
    assert len(fits) == 3
