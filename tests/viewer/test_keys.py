"""Key poses become a path that `neuraltex render` takes."""

from __future__ import annotations

import pytest
import torch

from neuraltex.cameras.camera_path import read_path
from neuraltex.rendering import make_path
from neuraltex.viewer.cameras import camera_to_viser
from neuraltex.viewer.keys import KeyPoses
from tests.scenes import ring_cameras


def three_keys() -> KeyPoses:
    keys, cameras = KeyPoses(47), ring_cameras(3, 64, 48)
    for index in range(3):
        keys.add(camera_to_viser(cameras[index]))
    return keys


def test_the_path_passes_through_its_keys_and_is_scrubbed():
    keys, cameras = three_keys(), ring_cameras(3, 64, 48)
    path = keys.path(61)
    assert (path.width, path.height) == (62, 46)
    centers = path.center
    for index, tolerance in ((0, 1e-5), (1, 0.05), (2, 1e-5)):  # the middle one lies between two frames
        assert float((centers - cameras[index].center).norm(dim=-1).min()) < tolerance
    for share, index in ((0.0, 0), (1.0, 2), (7.0, 2), (-1.0, 0)):
        assert keys.at(share, 61).position == pytest.approx(cameras[index].center.tolist(), abs=1e-4)
        assert keys.at(share, 61).fov == pytest.approx(camera_to_viser(cameras[index]).fov, abs=1e-5)
    assert keys.at(0.5, 61).position == pytest.approx(centers[30].tolist(), abs=1e-5)


def test_a_saved_path_is_rendered_as_it_was_scrubbed_and_none_is_overwritten(tmp_path):
    keys = three_keys()
    first, second = keys.save(tmp_path, 20), keys.save(tmp_path, 20)
    assert [first.name, second.name] == ["camera_path_001.json", "camera_path_002.json"]
    assert first.read_bytes() == second.read_bytes()
    read = read_path(first)
    torch.testing.assert_close(read.cameras.w2c, keys.path(20).w2c, atol=1e-5, rtol=0)
    torch.testing.assert_close(read.cameras.K, keys.path(20).K, atol=1e-3, rtol=0)
    assert read.fps == 30.0
    smooth = make_path(str(first), ring_cameras(3, 64, 48), num_frames=7, fps=24.0, smooth=True)
    ends = smooth.cameras.center[[0, -1]]
    torch.testing.assert_close(ends, keys.path(20).center[[0, -1]], atol=1e-4, rtol=0)


def test_keys_are_removed_and_cleared():
    keys = three_keys()
    before = keys.path(9).center
    keys.remove(1)
    keys.remove(7)
    assert len(keys) == 2
    assert not torch.allclose(keys.path(9).center, before), "the path is made anew"
    keys.clear()
    with pytest.raises(ValueError, match="one key pose at least"):
        keys.path(9)
