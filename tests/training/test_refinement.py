"""Corrections of a capture start at nothing, are exact in their gradients, and undo what was done to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuraltex.cameras import Camera
from neuraltex.capture import Capture
from neuraltex.evaluation.metrics import colour_corrected
from neuraltex.evaluation.pose import refine_pose
from neuraltex.evaluation.textured_mesh import TexturedMesh
from neuraltex.geometry.mesh import Mesh
from neuraltex.pipeline import render
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training import Budget, Trainer, TrainingConfig
from neuraltex.training.choices import choose_corrections
from neuraltex.training.optimizer import AveragedAdamW, Group
from neuraltex.training.refinement import Refinement, move_cameras
from neuraltex.training.sampler import Photos
from tests.scenes import ring_cameras, uv_sphere

ALL = {"refine_poses": True, "refine_lens": True, "refine_exposure": True, "refine_shape": True, "refine_normals": True}


def painted(mesh: Mesh, size: int = 24) -> TexturedMesh:
    """A mesh with a texture of blobs, which shows how it lies in every view."""
    generator = torch.Generator().manual_seed(5)
    model = TexturedMesh(size, None).requires_grad_(False)
    for level in model.texture.levels[1:3]:
        level.copy_(0.25 * torch.randn(level.shape, generator=generator))
    return model


def take_photos(mesh: Mesh, cameras: Camera, gains: Tensor | None = None) -> Capture:
    """Photographs of the painted mesh; the given cameras need not be the ones that are then told."""
    rgb = painted(mesh)(mesh, cameras)
    if gains is not None:
        rgb = rgb * gains.exp()[:, None, None]
    indices = torch.arange(len(cameras.K))
    return Capture(
        images=(rgb.clamp(0, 1) * 255).round().to(torch.uint8),
        masks=rgb.abs().sum(-1) > 0,
        valid=None,
        cameras=cameras,
        names=tuple(f"{i}" for i in range(len(indices))),
        train_indices=indices,
        test_indices=indices[:0],
        fps=None,
        source=Path("made"),
        frame_indices=indices,
        num_frames=len(indices),
    )


def twists(count: int, size: float, seed: int = 3) -> Tensor:
    """Random corrections of `size` radians and distances."""
    values = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return size * torch.nn.functional.normalize(values.view(count, 2, 3), dim=-1).view(count, 6)


def pixels_off(mesh: Mesh, first: Camera, second: Camera) -> float:
    """How far vertices lie apart in the pictures of two batches of cameras, in the mean."""
    points = mesh.verts.expand(len(first.K), -1, 3)
    return float((first.project(points)[0] - second.project(points)[0]).norm(dim=-1).mean())


def make_trainer(capture: Capture, mesh: Mesh, folder: Path, steps: int, **changes) -> Trainer:
    shading = ShadingConfig(
        decoder_width=4, decoder_levels=2, texture_size=32, texture_levels=4, environment=False, reflection_size=8
    )
    torch.manual_seed(0)
    config = {"batch": 2, "crop": 48, "save_minutes": 1e9, "warmup_steps": 20, "texture_rate": 2e-2, **changes}
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    return Trainer(
        mesh, photos, Shader(shading), TrainingConfig(**config), Budget(steps=steps), seed=1,
        checkpoint=folder / "checkpoint.safetensors",
    )  # fmt: skip


def test_nothing_learned_changes_nothing():
    mesh, cameras = uv_sphere(), ring_cameras(3, 40, 30)
    refinement = Refinement(TrainingConfig(**ALL), mesh, 5)
    indices = torch.tensor([4, 0, 2])
    moved = refinement.cameras(cameras, indices)
    torch.testing.assert_close(moved.w2c, cameras.w2c, rtol=0, atol=1e-6)
    assert torch.equal(moved.K, cameras.K)
    assert torch.equal(refinement.verts(mesh.verts), mesh.verts)
    rgb = torch.rand(3, 4, 5, 3)
    assert torch.equal(refinement.develop(rgb, indices), rgb)
    assert not list(Refinement(TrainingConfig(), mesh, 5).parameters())


def test_cameras_turn_about_the_pivot_and_share_a_lens():
    cameras, pivot = ring_cameras(2, 40, 30, dtype=torch.float64), torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    turn = torch.cat([0.3 * torch.randn(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)], dim=1)
    pixels = [c.project(pivot.expand(2, 1, 3)) for c in (cameras, move_cameras(cameras, turn, pivot))]
    torch.testing.assert_close(pixels[0], pixels[1])
    # A shift of a hundredth of the distance moves the pivot by a hundredth of the focal length.
    shift = torch.tensor([[0, 0, 0, 0.01, 0, 0]], dtype=torch.float64).repeat(2, 1)
    moved, _ = move_cameras(cameras, shift, pivot).project(pivot.expand(2, 1, 3))
    middle = (cameras.w2c[:, :3, :3] @ pivot) + cameras.w2c[:, :3, 3]
    expected = 0.01 * middle.norm(dim=-1) / middle[:, 2] * cameras.K[:, 0, 0]
    torch.testing.assert_close((moved - pixels[0][0])[:, 0, 0], expected)
    lens = torch.tensor([0.1, 0.02, -0.03], dtype=torch.float64)
    K = move_cameras(cameras, 0 * turn, pivot, lens).K
    crop = move_cameras(cameras.crop(7, 5, 20, 10).resize(40, 20), 0 * turn, pivot, lens)
    torch.testing.assert_close(crop.K, replace(cameras, K=K).crop(7, 5, 20, 10).resize(40, 20).K)
    inputs = (turn.requires_grad_(), lens.requires_grad_())
    assert torch.autograd.gradcheck(lambda t, n: (move_cameras(cameras, t, pivot, n).w2c,
                                                  move_cameras(cameras, t, pivot, n).K), inputs)  # fmt: skip


def test_displacements_reach_vertices_and_gains_keep_their_mean():
    mesh = uv_sphere(dtype=torch.float64)
    refinement = Refinement(TrainingConfig(**ALL), mesh, 4).double()
    assert refinement.gains is not None
    with torch.no_grad():
        refinement.lattices[0][:, 1] = 0.01  # everything up
        refinement.gains.copy_(torch.randn(4, 3))
    lifted = refinement.verts(mesh.verts) - mesh.verts
    diagonal = (mesh.verts.amax(0) - mesh.verts.amin(0)).norm()
    torch.testing.assert_close(lifted, torch.tensor([0, 0.01, 0]).double().expand_as(lifted) * diagonal)
    gains = refinement.develop(torch.ones(4, 1, 1, 3).double(), torch.arange(4)).log()
    torch.testing.assert_close(gains.mean(0), torch.zeros(1, 1, 3).double(), rtol=0, atol=1e-12)
    moved = refinement.mesh(mesh)
    moved.verts.sum().backward()
    assert all(lattice.grad is not None and lattice.grad.abs().sum() > 0 for lattice in refinement.lattices)


def test_what_is_left_open_is_decided_by_the_number_of_views():
    few, many = (choose_corrections(TrainingConfig(), "default", count) for count in (19, 20))
    assert (few.refine_poses, few.refine_shape, few.refine_normals) == (False, False, False)
    assert (many.refine_poses, many.refine_shape, many.refine_normals) == (False, True, True)
    assert not choose_corrections(TrainingConfig(), "paper", 100).refine_shape
    asked = TrainingConfig(refine_poses=True, refine_shape=False)
    assert choose_corrections(asked, "default", 100).refine_shape is False
    assert choose_corrections(asked, "default", 5).refine_poses is True


def test_groups_wait_and_then_rise():
    late = AveragedAdamW([Group([torch.nn.Parameter(torch.zeros(1))], 2.0, 0.0, 10)])
    rates = [late.scalars(0.5, 0.9)[-1] for _ in range(25)]
    assert rates[:10] == [0.0] * 10
    assert rates[14] == pytest.approx(0.5)
    assert rates[19:] == [1.0] * 6


def test_poses_disturbed_by_a_degree_come_back(tmp_path):
    mesh = uv_sphere(16, 24)
    true = ring_cameras(12, 64, 48)
    capture = take_photos(mesh, true)
    disturbed = move_cameras(true, twists(12, 0.0175), torch.zeros(3))
    losses = {}
    for name, cameras, refined in (("true", true, False), ("off", disturbed, False), ("refined", disturbed, True)):
        trainer = make_trainer(
            replace(capture, cameras=cameras), mesh, tmp_path / name, 240, refine_poses=refined, pose_rate=5e-3
        )
        seen: list[float] = []
        trainer.fit(lambda progress, seen=seen: seen.append(progress.loss))
        losses[name] = sum(seen[-60:]) / 60
    won_back = (losses["off"] - losses["refined"]) / (losses["off"] - losses["true"])
    print(losses, won_back)
    assert won_back > 0.8


def test_exposures_come_back(tmp_path):
    mesh, cameras = uv_sphere(16, 24), ring_cameras(8, 64, 48)
    gains = 0.25 * torch.randn(8, 3, generator=torch.Generator().manual_seed(1)) - 0.3
    trainer = make_trainer(take_photos(mesh, cameras, gains), mesh, tmp_path, 160, refine_exposure=True)
    trainer.fit()
    found = trainer.averaged_refinement().develop(torch.ones(8, 1, 1, 3), torch.arange(8)).log().detach()[:, 0, 0]
    error = (found - (gains - gains.mean(0))).abs().mean()
    print(float(error))
    assert error < 0.2 * gains.std()  # measured 0.028; gains vary by 0.29


def test_a_mesh_that_is_too_small_grows(tmp_path):
    mesh = uv_sphere(16, 24)
    cameras = ring_cameras(10, 64, 48)
    capture = take_photos(mesh, cameras)
    dented = mesh.with_verts(mesh.verts * (1 - 0.06 * (mesh.verts[:, :1] > 0.2)))
    trainer = make_trainer(capture, dented, tmp_path, 200, refine_shape=True, shape_rate=8e-4)
    trainer.fit()
    moved = trainer.averaged_refinement().verts(dented.verts).detach()
    before, after = ((verts.norm(dim=-1) - 1).abs().mean() for verts in (dented.verts, moved))
    print(float(before), float(after))
    assert after < 0.85 * before  # measured 0.76


def test_passers_by_are_left_out(tmp_path):
    mesh, cameras = uv_sphere(16, 24), ring_cameras(8, 64, 48)
    clean = take_photos(mesh, cameras)
    images = clean.images.clone()
    for view in range(0, 8, 2):  # through the middle of every other photograph, elsewhere each time
        left = 16 + 3 * view
        images[view, 12:36, left : left + 9] = torch.tensor([255, 0, 255], dtype=torch.uint8)
    errors = []
    for share in (0.0, 0.15):
        trainer = make_trainer(
            replace(clean, images=images), mesh, tmp_path / str(share), 100, outlier_share=share, structural_weight=0.0
        )
        trainer.fit()
        with torch.no_grad():
            rgb = render(mesh, cameras, trainer.averaged_shader()).rgb
        seen = clean.masks
        errors.append(float((rgb - clean.images / 255).square()[seen].mean()))
    print(errors)
    assert errors[1] < 0.5 * errors[0]  # measured 0.39


def test_training_with_corrections_resumes_bit_for_bit(tmp_path):
    mesh, cameras = uv_sphere(), ring_cameras(4, 48, 48)
    capture = take_photos(mesh, cameras)
    whole = make_trainer(capture, mesh, tmp_path / "whole", 60, warmup_steps=5, **ALL)
    whole.fit()
    half = make_trainer(capture, mesh, tmp_path / "half", 60, warmup_steps=5, **ALL)
    half.budget = Budget(steps=60)
    for _ in range(30):
        half._train_step(half.step / 60)
        half.step += 1
    half.save()
    rest = make_trainer(capture, mesh, tmp_path / "half", 60, warmup_steps=5, **ALL)
    rest.restore()
    rest.fit()
    for one, other in zip(whole.refinement.parameters(), rest.refinement.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.abs().sum() > 0


def test_one_photograph_finds_its_pose():
    mesh, true = uv_sphere(16, 24), ring_cameras(5, 64, 48)
    capture, model = take_photos(mesh, true), painted(mesh)
    disturbed = move_cameras(true, twists(5, 0.02), torch.zeros(3))
    photos = Photos(replace(capture, cameras=disturbed), capture.train_indices, torch.device("cpu"))
    found = torch.cat([refine_pose(lambda c: model(mesh, c), photos.view(i), torch.zeros(3)).w2c for i in range(5)])
    before, after = (pixels_off(mesh, true, cameras) for cameras in (disturbed, replace(true, w2c=found)))
    print(before, after)
    assert after < 0.2 * before


def test_colour_correction_takes_out_a_factor_a_channel():
    target = 0.9 * torch.rand(1, 8, 8, 3)
    factors = torch.tensor([0.7, 1.2, 0.9])
    mask = torch.rand(1, 8, 8) > 0.3
    torch.testing.assert_close(colour_corrected(target / factors, target, mask), target)
