"""Crops show what their cameras see, at every zoom, and depend on nothing but seed and step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neuraltex.capture import Capture
from neuraltex.training.sampler import Photos
from tests.scenes import ring_cameras


def direction_capture(count: int = 5, width: int = 60, height: int = 44, **changes) -> Capture:
    """Photographs whose colour is the direction of the pixel's ray, so that a crop can be checked by its camera."""
    cameras = ring_cameras(count, width, height)
    images = ((cameras.ray_dirs() * 0.5 + 0.5) * 255).round().to(torch.uint8)
    indices = torch.arange(count)
    return Capture(
        **{
            "images": images,
            "masks": None,
            "valid": None,
            "cameras": cameras,
            "names": tuple(f"{i}.png" for i in range(count)),
            "train_indices": indices[indices % 4 != 0],
            "test_indices": indices[indices % 4 == 0],
            "fps": None,
            "source": Path("made"),
            "frame_indices": indices,
            "num_frames": count,
            **changes,
        }
    )


@pytest.mark.parametrize("zoom_share", [0.0, 1.0])
def test_a_crop_shows_what_its_camera_sees(zoom_share):
    capture = direction_capture()
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    corners = set()
    for step in range(12):
        batch = photos.crops(3, step, batch=3, crop=20, zoom_share=zoom_share, zoom_range=1.8)
        assert batch.target.shape == (3, 20, 20, 3)
        expected = batch.cameras.ray_dirs() * 0.5 + 0.5
        # measured 0.0021, half a grey level; 0.0035 where a zoomed crop was resampled
        assert (batch.target - expected).abs().max() < 0.006
        corners.update((round(float(K[0, 2]), 3), round(float(K[0, 0]), 3)) for K in batch.cameras.K)
    assert len(corners) > 10, "windows and zooms vary"
    focals = {focal for _, focal in corners}
    assert (len(focals) > 5) == (zoom_share == 1.0)


def test_far_crops_show_whole_photographs_and_nothing_beyond_them_counts():
    capture = direction_capture()
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    focals, places = set(), set()
    for step in range(30):
        batch = photos.crops(3, step, batch=2, crop=36, far_share=0.5, far_range=8.0)
        assert batch.target.shape == (2, 36, 36, 3)
        expected = batch.cameras.ray_dirs() * 0.5 + 0.5
        counted = batch.weight > 0
        # measured 0.006: at an eighth of the size a pixel's mean is not quite the direction in its middle
        assert (batch.target - expected)[counted].abs().max() < 0.02
        assert not batch.target[~counted].any()
        shares = counted.float().mean(dim=(1, 2)).tolist()
        far = [share < 0.999 for share in shares]
        focals.update(round(float(K[0, 0]), 2) for K in batch.cameras.K)
        places.update(tuple(view.nonzero()[0].tolist()) for view in counted)
        if any(far):
            # None is smaller than an eighth of a photograph, and none is larger than one.
            assert min(shares) * 36 * 36 > 0.7 * (60 / 8) * (44 / 8)
    assert max(focals) / min(focals) > 3
    assert len(places) > 10
    near = photos.crops(3, 4, batch=2, crop=36)
    assert (near.weight == 1).all()


def test_same_seed_and_step_give_the_same_crops_and_every_view_is_served_once_a_round():
    capture = direction_capture(9)
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    first, again = (photos.crops(1, 7, batch=2, crop=16, zoom_share=0.5, zoom_range=1.5) for _ in range(2))
    assert torch.equal(first.target, again.target)
    assert torch.equal(first.cameras.K, again.cameras.K)
    other = photos.crops(2, 7, batch=2, crop=16, zoom_share=0.5, zoom_range=1.5)
    assert not torch.equal(first.target, other.target)
    count = len(photos)
    served = [photos.crops(5, step, batch=1, crop=16).cameras.w2c[0, :3, 3] for step in range(count)]
    assert len({tuple(t.tolist()) for t in served}) == count


def test_masks_and_lens_borders_do_not_count():
    masks = torch.zeros(5, 44, 60, dtype=torch.bool)
    masks[:, 10:30, 20:50] = True
    valid = torch.ones(5, 44, 60, dtype=torch.bool)
    valid[:, :, 40:] = False
    capture = direction_capture(masks=masks, valid=valid)
    view = Photos(capture, capture.test_indices, torch.device("cpu")).view(1)
    assert torch.equal(view.weight[0] > 0, masks[0] & valid[0])
    zoomed = Photos(capture, capture.test_indices, torch.device("cpu")).crops(
        0, 0, batch=2, crop=24, zoom_share=1.0, zoom_range=1.8
    )
    assert set(zoomed.weight.unique().tolist()) <= {0.0, 1.0}


def test_crops_larger_than_the_photographs_take_them_whole():
    capture = direction_capture()
    photos = Photos(capture, capture.train_indices, torch.device("cpu"))
    batch = photos.crops(0, 0, batch=1, crop=500)
    assert batch.target.shape == (1, 44, 60, 3)
