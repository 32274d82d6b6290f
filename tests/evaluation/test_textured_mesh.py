"""The baseline is a fair one: it finds a texture that is there, on views it was not fitted to."""

from __future__ import annotations

import torch

from neuraltex.evaluation import TexturedMesh, fit_textured_mesh, make_lpips, psnr
from neuraltex.evaluation.score import ViewScore, mean_score
from neuraltex.training.sampler import Photos
from tests.scenes import ring_cameras, uv_sphere
from tests.training.test_sampler import direction_capture


def test_a_texture_that_is_there_is_found():
    torch.manual_seed(0)
    mesh = uv_sphere(12, 18)
    truth = TexturedMesh(16, 16)
    with torch.no_grad():
        truth.texture.levels[1].normal_(0, 0.2)
        assert truth.environment is not None
        truth.environment.levels[2].normal_(0, 0.2)
        cameras = ring_cameras(16, 60, 44)
        images = (truth(mesh, cameras).clamp(0, 1) * 255).round().to(torch.uint8)
    capture = direction_capture(16, images=images)
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    fitted = fit_textured_mesh(mesh, photos, texture_size=16, environment_size=16, steps=150, seed=0)
    held_out = Photos(capture, capture.test_indices, torch.device("cpu"))
    with torch.no_grad():
        scores = [psnr(fitted(mesh, held_out.view(i).cameras), held_out.view(i).target) for i in range(len(held_out))]
    assert min(scores) > 33  # measured 38


def test_views_without_a_value_do_not_spoil_the_mean():
    nan = float("nan")
    seen, unseen = (
        ViewScore(20.0, 30.0, 0.5, 0.6, 31.0, 0.1, 0.2, None),
        ViewScore(22.0, nan, 0.7, nan, nan, 0.3, nan, None),
    )
    assert mean_score([seen, unseen]) == {
        "psnr": 21.0,
        "psnr_covered": 30.0,
        "ssim": 0.6,
        "ssim_covered": 0.6,
        "psnr_covered_corrected": 31.0,
        "flip": 0.2,
        "flip_covered": 0.2,
        "lpips": None,
    }


def test_lpips_is_none_where_its_weights_are_not_at_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert make_lpips(torch.device("cpu")) is None
