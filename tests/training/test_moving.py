"""Training on a mesh that moves: the same as at rest where it does not, and better than at rest where it does."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuraltex.capture import Capture
from neuraltex.errors import InputError, InputWarning
from neuraltex.evaluation import fit_textured_mesh, psnr
from neuraltex.frames import FrameRenderer
from neuraltex.geometry import Motion, Poser, load_scene
from neuraltex.pipeline import render
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.moving import CapturedMotion, MovingMesh, read_captured_motion
from neuraltex.training.sampler import Photos
from neuraltex.training.trainer import Trainer
from tests.geometry.shapes import quad_part, scene_of
from tests.geometry.test_gltf_motion import arm
from tests.geometry.test_motion import bent
from tests.scenes import ring_cameras, uv_sphere
from tests.training.test_refinement import painted
from tests.training.test_sampler import direction_capture

SHADING = ShadingConfig(decoder_width=4, decoder_levels=2, texture_size=16, texture_levels=2, environment=False)
CORRECTED = {"refine_shape": True, "refine_normals": True}


def make_trainer(folder: Path, capture: Capture, moving: MovingMesh | None, *, steps: int = 5, **changes) -> Trainer:
    torch.manual_seed(0)
    settings = {"batch": 2, "crop": 24, "save_minutes": 1e9, "warmup_steps": 2, "refine_shape": False, **changes}
    return Trainer(
        uv_sphere() if moving is None else moving.poser.rest,
        Photos(capture, capture.train_indices, torch.device("cpu")),
        Shader(SHADING),
        TrainingConfig(**settings),
        Budget(steps=steps),
        seed=4,
        checkpoint=folder / "checkpoint.safetensors",
        moving=moving,
    )


def swaying(count: int, amount: float = 1.2) -> MovingMesh:
    """A ball that twists to and fro, another pose in every photograph, stretched so that outlines tell."""
    mesh = uv_sphere(10, 16)
    mesh = mesh.with_verts(mesh.verts * torch.tensor([1.0, 1.0, 0.5]))
    angles = amount * torch.sin(torch.arange(count) * 1.9)
    return MovingMesh(mesh, torch.stack([bent(mesh.verts, float(a)) for a in angles]), torch.arange(count))


def moving_capture(moving: MovingMesh, count: int) -> Capture:
    """Photographs of a painted mesh in its poses, and masks of it."""
    cameras = ring_cameras(count, 60, 44)
    meshes, model = moving.meshes(torch.arange(count)), painted(moving.poser.rest)
    images = torch.cat([model(mesh, cameras[i : i + 1]) for i, mesh in enumerate(meshes)])
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return direction_capture(count, images=pixels, masks=images.abs().sum(-1) > 0)


@pytest.mark.parametrize("corrections", [{}, CORRECTED])
def test_a_motion_without_motion_trains_to_the_same_loss(tmp_path, corrections):
    capture = direction_capture(9)
    mesh, losses = uv_sphere(), []
    count = len(capture.train_indices)
    still = MovingMesh(mesh, mesh.verts.expand(2, -1, -1), torch.arange(count) % 2)
    for name, moving in (("rest", None), ("still", still)):
        trainer = make_trainer(tmp_path / name, capture, moving, steps=8, **corrections)
        seen = []
        trainer.fit(lambda progress, seen=seen: seen.append(progress.loss))
        losses.append(seen)
    # measured 3e-7 without corrections, 6e-7 with them
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_one_mesh_a_view_is_rendered_as_each_would_be_alone():
    moving, cameras = swaying(3), ring_cameras(3, 45, 33)
    torch.manual_seed(1)
    shader = Shader(SHADING)
    meshes = moving.meshes(torch.arange(3))
    together = render(meshes, cameras, shader)
    for i, mesh in enumerate(meshes):
        alone = render(mesh, cameras[i : i + 1], shader)
        # measured 2e-7: the network's convolutions of a batch
        assert (together.rgb[i] - alone.rgb[0]).abs().max() < 1e-5
        assert torch.equal(together.gbuffer.mask[i], alone.gbuffer.mask[0])
        assert torch.equal(together.gbuffer.normals[i], alone.gbuffer.normals[0])
        assert torch.equal(together.colour[i], alone.colour[0])
        assert torch.equal(together.gbuffer.fragments.bary[i], alone.gbuffer.fragments.bary[0])
    with pytest.raises(ValueError, match="expected one for each of the 3 cameras, got 2"):
        render(meshes[:2], cameras, shader)


def test_gradients_reach_the_vertices_of_every_view():
    moving, cameras = swaying(2), ring_cameras(2, 45, 33)
    torch.manual_seed(1)
    verts = moving.verts.clone().requires_grad_()
    posed = MovingMesh(moving.poser.rest, verts, moving.rows)
    render(posed.meshes(torch.tensor([1, 0])), cameras, Shader(SHADING)).rgb.square().sum().backward()
    assert (verts.grad.abs().sum(dim=(1, 2)) > 0).all()
    assert verts.grad.isfinite().all()


def test_a_moving_mesh_is_learned_and_a_resting_one_is_not(tmp_path):
    count = 24
    every = swaying(count)
    capture = moving_capture(every, count)
    train = MovingMesh(every.poser.rest, every.verts, every.rows[capture.train_indices])
    test = MovingMesh(every.poser.rest, every.verts, every.rows[capture.test_indices])
    held_out = Photos(capture, capture.test_indices, torch.device("cpu"))
    still = MovingMesh(every.poser.rest, every.verts, torch.zeros_like(train.rows))
    errors = {}
    for name, moving in (("moving", train), ("still", still)):
        trainer = make_trainer(tmp_path / name, capture, moving, steps=120, crop=60, decoder_rate=5e-3)
        trainer.fit()
        shader, total = trainer.averaged_shader(), []
        for i in range(len(held_out)):
            view = held_out.view(i)
            with torch.no_grad():
                rgb = render(test.meshes(view.indices), view.cameras, shader).rgb.clamp(0, 1)
            total.append(psnr(rgb, view.target, view.weight > 0))
        errors[name] = sum(total) / len(total)
    assert errors["moving"] > errors["still"] + 2, errors  # measured 22.7 and 18.2 dB


def test_the_textured_mesh_is_fitted_to_each_photographs_own_pose():
    count = 16
    every = swaying(count)
    capture = moving_capture(every, count)
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    own = MovingMesh(every.poser.rest, every.verts, every.rows[capture.train_indices])
    held_out = Photos(capture, capture.test_indices, torch.device("cpu"))
    scores = {}
    for name, moving in (("own", own), ("rest", None)):
        model = fit_textured_mesh(
            every.poser.rest, photos, texture_size=16, environment_size=None, steps=100, seed=0, moving=moving
        )
        values = []
        for i in range(len(held_out)):
            view = held_out.view(i)
            mesh = every.meshes(capture.test_indices[i : i + 1])[0]
            with torch.no_grad():
                values.append(psnr(model(mesh, view.cameras), view.target, view.weight > 0))
        scores[name] = min(values)
    assert scores["own"] > scores["rest"] + 3, scores  # measured 27.7 and 17.6 dB


def test_a_resumed_run_on_a_moving_mesh_ends_with_the_same_bits(tmp_path):
    moving = swaying(9)
    capture = moving_capture(moving, 9)
    moving = MovingMesh(moving.poser.rest, moving.verts, moving.rows[capture.train_indices])
    whole = make_trainer(tmp_path / "whole", capture, moving, steps=6, **CORRECTED)
    whole.fit()
    first = make_trainer(tmp_path / "parts", capture, moving, steps=6, save_minutes=0.0, **CORRECTED)

    def kill(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.fit(kill)
    second = make_trainer(tmp_path / "parts", capture, moving, steps=6, **CORRECTED)
    second.restore()
    second.fit()
    for ours, theirs in zip(whole.names, second.names, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_a_renderer_takes_new_poses(device):
    """On a GPU the frame that was captured before the first pose is replayed for all of them."""
    moving, cameras = swaying(3), ring_cameras(1, 45, 33).to(device)
    rest = moving.poser.rest.to(device)
    moving = MovingMesh(rest, moving.verts.to(device), moving.rows.to(device))
    torch.manual_seed(1)
    shader = Shader(SHADING).to(device)
    shape, given = rest.with_verts(rest.verts * 1.02), rest.verts.clone()
    renderer = FrameRenderer(shape, shader, poser=Poser(rest))
    at_rest = FrameRenderer(shape, shader)
    # The corrected mesh is what is seen before any pose.
    assert (renderer(cameras).int() - at_rest(cameras).int()).abs().max() <= 1
    for i in (1, 2):
        renderer.pose(moving.verts[i].cpu())
        (mesh,) = moving.meshes(torch.tensor([i], device=device), shape)
        torch.testing.assert_close(renderer.mesh.normals, mesh.normals, atol=1e-5, rtol=0)  # 0 on a CPU
        expected = FrameRenderer(mesh, shader)(cameras)
        assert (renderer(cameras).int() - expected.int()).abs().max() <= 1
        assert (renderer(cameras).int() - at_rest(cameras).int()).abs().max() > 5
    # The buffers that a pose is copied into are the renderer's own.
    FrameRenderer(rest, shader, poser=Poser(rest)).pose(moving.verts[1])
    assert torch.equal(rest.verts, given)
    with pytest.raises(ValueError, match="poser: expected one, got None"):
        at_rest.pose(moving.verts[0])


def test_a_renderer_takes_the_state_of_the_surface_with_a_pose():
    moving, cameras = swaying(2), ring_cameras(1, 45, 33)
    torch.manual_seed(1)
    shader = Shader(replace(SHADING, detail=True, detail_size=8, num_conditions=2))
    torch.nn.init.normal_(shader.detail.bases)
    renderer = FrameRenderer(moving.poser.rest, shader, poser=moving.poser)
    renderer.pose(moving.verts[1])
    untold = renderer(cameras).int()
    renderer.pose(moving.verts[1], torch.tensor([2.0, -1.0]))
    told = renderer(cameras).int()
    mesh = replace(moving.meshes(torch.tensor([1]))[0], condition=torch.tensor([2.0, -1.0]))
    expected = (render(mesh, cameras, shader).rgb.clamp(0, 1) * 255).round().int()
    assert (told - untold).abs().max() > 2
    assert ((told - expected).abs().amax(-1) <= 1)[told.amax(-1) > 0].all()
    renderer.pose(moving.verts[1])
    assert torch.equal(renderer(cameras).int(), untold), "zeros where nobody tells"


SQUARE = scene_of(quad_part("square", (0, 0), (1, 1)))


def square_motion(path: Path, count: int, fps: float = 30.0) -> Path:
    verts = torch.arange(count)[:, None, None].expand(count, 4, 3).float()
    Motion(verts, fps).save(path)
    return path


def shown(captured: CapturedMotion) -> list[float]:
    """The pose of each photograph, by its first coordinate."""
    return torch.cat([captured.motion.verts, captured.elsewhere])[captured.frames][:, 0, 0].tolist()


def test_photographs_show_the_frames_that_their_camera_file_tells(tmp_path):
    path = square_motion(tmp_path / "m.safetensors", 8)
    capture = direction_capture(5, frame_indices=torch.tensor([0, 2, 3, 6, 7]), num_frames=None)
    captured = read_captured_motion(path, capture, None, SQUARE)
    assert shown(captured) == [0, 2, 3, 6, 7]
    captured.save(tmp_path)
    again = CapturedMotion.load(tmp_path)
    assert shown(again) == shown(captured)
    mesh = SQUARE.flatten()
    moving = again.onto(SQUARE, torch.tensor([3, 1, 3]), mesh)
    assert len(moving.verts) == 2, "poses that no photograph shows are not kept"
    assert [float(m.verts[0, 0]) for m in moving.meshes(torch.arange(3))] == [6, 2, 6]
    with pytest.raises(InputError, match="more than the 5 photographs"):
        again.onto(SQUARE, torch.tensor([5]), mesh)


def test_a_capture_folder_brings_its_motion_and_held_out_ones_theirs(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    capture = direction_capture(
        5, source=own, frame_indices=torch.tensor([0, 1, 2, 1, 3]), num_frames=3,
        train_indices=torch.arange(3), test_indices=torch.tensor([3, 4]),
    )  # fmt: skip
    assert read_captured_motion(None, capture, other, SQUARE) is None
    square_motion(own / "motion.safetensors", 3)
    with pytest.raises(
        InputError, match=r"other: its photographs show frames up to 3, the last of their motion is 2; "
    ):
        read_captured_motion(None, capture, other, SQUARE)
    square_motion(other / "motion.safetensors", 4)
    captured = read_captured_motion(None, capture, other, SQUARE)
    assert captured.frames.tolist() == [0, 1, 2, 4, 6]
    assert captured.motion.num_frames == 3
    captured.save(tmp_path)
    assert shown(CapturedMotion.load(tmp_path)) == [0, 1, 2, 1, 3]


def test_an_animation_is_sampled_at_the_videos_rate_or_the_one_asked_for(tmp_path):
    path = arm().glb(tmp_path / "arm.glb")
    scene = load_scene(path, unwrap="never")
    video = direction_capture(5, fps=2.0)
    for fps, num_frames in ((None, 5), (2.5, 6)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            assert read_captured_motion(path, video, None, scene, fps=fps).motion.num_frames == num_frames


def test_counts_that_disagree_are_told(tmp_path):
    short, long = square_motion(tmp_path / "s.safetensors", 4), square_motion(tmp_path / "l.safetensors", 6)
    photos = direction_capture(5)
    with pytest.raises(InputError, match=r"s.safetensors: holds 4 frames, the photographs of made show .* up to 4; "):
        read_captured_motion(short, photos, None, SQUARE)
    with pytest.raises(InputError, match=r"l.safetensors: holds 6 frames, the cameras of made 5; give every entry"):
        read_captured_motion(long, photos, None, SQUARE)
    with pytest.warns(InputWarning, match=r"holds 6 frames, the video made 5; frame i is taken to belong to frame i"):
        read_captured_motion(long, replace(photos, fps=24.0), None, SQUARE)


def test_a_damaged_run_motion_is_named(tmp_path):
    captured = CapturedMotion(Motion(torch.zeros(2, 4, 3)), torch.zeros(0, 4, 3), torch.tensor([0, 5]))
    captured.save(tmp_path)
    with pytest.raises(InputError, match=r"motion_frames.safetensors: names a frame that the motion does not have"):
        CapturedMotion.load(tmp_path)
    replace(captured, elsewhere=torch.zeros(1, 3, 3)).save(tmp_path)
    with pytest.raises(InputError, match=r"motion_frames.safetensors: does not hold the poses of photographs, of 4"):
        CapturedMotion.load(tmp_path)
