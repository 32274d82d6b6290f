"""Camera files of other programs: values derived by hand, then round trips."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.camera_path import (
    CameraPath,
    centered_lens,
    read_path,
    write_nerfstudio_path,
    write_path,
)
from neuraltex.cameras.colmap import MODELS, read_colmap, write_colmap_text
from neuraltex.cameras.distortion import Distortion
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.llff import read_llff, read_poses_bounds, write_poses_bounds
from neuraltex.cameras.nerfstudio import opengl_to_w2c, read_transforms, w2c_to_opengl, write_transforms
from neuraltex.cameras.pytorch3d import from_pytorch3d, to_pytorch3d
from neuraltex.cameras.rotations import so3_exp
from neuraltex.errors import InputWarning
from tests.cameras.builders import HEIGHT, WIDTH, assert_same, frames_of, ring, save_images, transforms, write

LENSES = [
    None,
    Distortion(False, (0.1, -0.02, 0.001, 0.002)),
    Distortion(False, (0.1, -0.02, 0.001, 0.002, 0.03)),
    Distortion(True, (0.1, -0.02, 0.001, 0.002)),
]


def test_an_opengl_camera_at_the_origin_looks_down_minus_z():
    camera = Camera(ring(1).K[0], opengl_to_w2c(torch.eye(4, dtype=torch.float64)), WIDTH, HEIGHT)
    points = torch.tensor([[0.0, 0.0, -2.0], [1.0, 0.0, -2.0], [0.0, 1.0, -2.0]], dtype=torch.float64)
    pixels, depth = camera.project(points)
    assert depth.tolist() == [2.0, 2.0, 2.0]
    # +x of the world is to the right (50 / 2 pixels), +y is up, that is towards row 0 (48 / 2 pixels).
    assert pixels.tolist() == [[19.0, 16.5], [44.0, 16.5], [19.0, -7.5]]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6))
def test_opengl_and_w2c_undo_each_other(numbers):
    w2c = torch.eye(4, dtype=torch.float64)
    w2c[:3, :3] = so3_exp(torch.tensor(numbers[:3], dtype=torch.float64))
    w2c[:3, 3] = torch.tensor(numbers[3:], dtype=torch.float64)
    torch.testing.assert_close(opengl_to_w2c(w2c_to_opengl(w2c)), w2c, atol=1e-13, rtol=0)


@pytest.mark.parametrize("lens", LENSES)
def test_transforms_round_trip(tmp_path: Path, lens: Distortion | None):
    save_images(tmp_path / "images", 3)
    frames = [
        CameraFrame(f.name, tmp_path / "images" / f.name, tmp_path / "images" / f.name, f.camera, lens, 0.5, 3)
        for f in frames_of(ring(3))
    ]
    write_transforms(tmp_path / "transforms.json", frames)
    back = read_transforms(tmp_path / "transforms.json").frames
    for one, other in zip(frames, back, strict=True):
        assert_same(other.camera, one.camera)
        assert (other.distortion, other.seconds, other.frame_index) == (lens, 0.5, 3)
        assert other.mask_path is not None
        assert other.image_path is not None
        assert other.image_path.samefile(tmp_path / "images" / one.name)


def test_transforms_defaults_and_precedence(tmp_path: Path):
    value = transforms(2)
    for name in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        del value[name]
    value["camera_angle_x"] = math.pi / 2
    value["frames"][1] |= {"fl_x": 70.0, "cx": 11.0}
    save_images(tmp_path, 2)
    first, second = read_transforms(write(tmp_path / "transforms.json", value)).frames
    # 90 degrees across 40 pixels: the focal length is half the width; the size comes from the image.
    assert (first.camera.width, first.camera.height) == (40, 30)
    expected = torch.tensor([[20.0, 0.0, 20.0], [0.0, 20.0, 15.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(first.camera.K, expected)
    assert second.camera.K[0].tolist() == [70.0, 0.0, 11.0]


def test_transforms_finds_suffixless_names_and_skips_missing_images(tmp_path: Path):
    value = transforms(4)
    value["frames"][0]["file_path"] = "./a00"
    save_images(tmp_path, 2)
    with pytest.warns(InputWarning, match=r"2 of 4 frames .* first is 'a02.png'"):
        cameras = read_transforms(write(tmp_path / "transforms.json", value))
    assert [frame.name for frame in cameras.frames] == ["a00", "a01.png"]


def test_transforms_split_names(tmp_path: Path):
    save_images(tmp_path, 3)
    value = transforms(3) | {"train_filenames": ["./a00.png", "a02.png"], "val_filenames": ["a01.png"]}
    cameras = read_transforms(write(tmp_path / "transforms.json", value))
    assert (cameras.train_names, cameras.test_names) == (("a00.png", "a02.png"), ("a01.png",))


@pytest.mark.parametrize("lens", [*LENSES, Distortion(False, (0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6))])
@pytest.mark.parametrize("binary", [False, True])
def test_colmap_round_trip(tmp_path: Path, lens: Distortion | None, binary: bool):
    save_images(tmp_path / "images", 3)
    model = tmp_path / "sparse" / "0"
    frames = frames_of(ring(3), distortion=lens)
    write_colmap_text(model, frames)
    if binary:
        text_to_binary(model)
    for one, other in zip(frames, read_colmap(model).frames, strict=True):
        assert_same(other.camera, one.camera)
        assert other.name == one.name
        assert other.distortion == lens


def text_to_binary(model: Path) -> None:
    """The same model in the binary form, with points in the images that readers must pass over."""
    ids = {name: i for i, (name, _) in enumerate(MODELS)}
    cameras = [line.split() for line in (model / "cameras.txt").read_text().splitlines()]
    packed = struct.pack("<Q", len(cameras))
    for key, name, width, height, *params in cameras:
        packed += struct.pack("<iiQQ", int(key), ids[name], int(width), int(height))
        packed += struct.pack(f"<{len(params)}d", *map(float, params))
    (model / "cameras.bin").write_bytes(packed)
    images = [line.split() for line in (model / "images.txt").read_text().splitlines() if line]
    packed = struct.pack("<Q", len(images))
    for number, words in enumerate(images):
        packed += struct.pack("<i7di", int(words[0]), *map(float, words[1:8]), int(words[8]))
        packed += words[9].encode() + b"\0" + struct.pack("<Q", number)
        packed += struct.pack("<ddq", 1.0, 2.0, -1) * number
    (model / "images.bin").write_bytes(packed)
    for name in ("cameras.txt", "images.txt"):
        (model / name).unlink()


def test_colmap_pose_by_hand(tmp_path: Path):
    save_images(tmp_path / "images", 1)
    (tmp_path / "cameras.txt").write_text("# comment\n7 SIMPLE_RADIAL 40 30 50 19 16.5 0.25\n")
    # Half a turn about y: the camera looks down -z of the world and sees its +x on the left.
    (tmp_path / "images.txt").write_text("# comment\n1 0 0 1 0 0 0 5 7 a00.png\n1 2 -1\n")
    (frame,) = read_colmap(tmp_path).frames
    pixels, depth = frame.camera.project(torch.tensor([[1.0, 0.0, 0.0]]))
    assert depth.tolist() == [5.0]
    torch.testing.assert_close(pixels, torch.tensor([[19.0 - 50 / 5, 16.5]]))
    assert frame.distortion == Distortion(False, (0.25,))


def test_llff_by_hand(tmp_path: Path):
    # A camera at (0, 0, 2) that looks down -z with +x right: its axes (down, right, backwards) are -y, +x, +z.
    pose = np.array([[0, 1, 0, 0, 30], [-1, 0, 0, 0, 40], [0, 0, 1, 2, 50]], dtype=np.float64)
    np.save(tmp_path / "poses_bounds.npy", np.concatenate([pose.flatten(), [1.0, 9.0]])[None])
    cameras, bounds = read_poses_bounds(tmp_path / "poses_bounds.npy")
    pixels, depth = cameras[0].project(torch.tensor([[1.0, 1.0, 0.0]]))
    assert depth.tolist() == [2.0]
    assert pixels.tolist() == [[20.0 + 25.0, 15.0 - 25.0]]
    assert bounds.tolist() == [[1.0, 9.0]]


def test_llff_round_trip(tmp_path: Path):
    save_images(tmp_path / "images", 4)
    cameras = centered_lens(ring(4))
    bounds = torch.tensor([[1.0, 5.0]]).double().repeat(4, 1)
    write_poses_bounds(tmp_path / "poses_bounds.npy", cameras, bounds)
    frames = read_llff(tmp_path / "poses_bounds.npy").frames
    assert_same(Camera.stack([frame.camera for frame in frames]), cameras)
    assert [frame.name for frame in frames] == ["a00.png", "a01.png", "a02.png", "a03.png"]
    with pytest.raises(ValueError, match="principal point"):
        write_poses_bounds(tmp_path / "poses_bounds.npy", ring(4), bounds)


def test_nerfstudio_path_by_hand(tmp_path: Path):
    matrix = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1]
    value = {"render_height": 30, "render_width": 40, "fps": 10, "seconds": 0.1, "camera_type": "perspective"}
    value["camera_path"] = [{"camera_to_world": matrix, "fov": 90.0, "aspect": 4 / 3}]
    path = read_path(write(tmp_path / "camera_path.json", value))
    assert (path.fps, path.seconds) == (10.0, 0.1)
    # 90 degrees over 30 rows; the camera stands at z = 4 and sees the origin in the middle.
    torch.testing.assert_close(path.cameras.K[0].diagonal(), torch.tensor([15.0, 15.0, 1.0]))
    pixels, depth = path.cameras.project(torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]))
    assert depth[0].tolist() == [4.0, 4.0]
    torch.testing.assert_close(pixels[0], torch.tensor([[20.0, 15.0], [23.75, 15.0]]))


def test_nerfstudio_path_round_trip(tmp_path: Path):
    path = CameraPath(centered_lens(ring(5)), 12.5)
    write_nerfstudio_path(tmp_path / "p.json", path)
    back = read_path(tmp_path / "p.json")
    assert_same(back.cameras, path.cameras)
    assert (back.fps, back.seconds) == (12.5, 0.4)
    with pytest.raises(ValueError, match="centred principal point"):
        write_nerfstudio_path(tmp_path / "p.json", CameraPath(ring(5), 12.5))


def test_own_path_round_trip(tmp_path: Path):
    path = CameraPath(ring(5), 12.5)
    write_path(tmp_path / "p.json", path)
    back = read_path(tmp_path / "p.json")
    assert_same(back.cameras, path.cameras)
    assert back.fps == 12.5


@pytest.mark.parametrize("in_ndc", [False, True])
def test_pytorch3d_round_trip(in_ndc: bool):
    cameras = ring(3)
    arrays = to_pytorch3d(cameras, in_ndc=in_ndc)
    assert arrays.pop("image_size").tolist() == [[HEIGHT, WIDTH]] * 3
    assert_same(from_pytorch3d(**arrays, width=WIDTH, height=HEIGHT), cameras, tolerance=1e-12)


def test_pytorch3d_by_hand():
    camera = Camera(ring(1).K, torch.eye(4, dtype=torch.float64)[None], WIDTH, HEIGHT)
    arrays = to_pytorch3d(camera, in_ndc=True)
    left_up = torch.tensor([-1.0, -1.0, 2.0], dtype=torch.float64)  # our axes: left of and above the middle
    view = left_up @ arrays["R"][0] + arrays["T"][0]
    assert view.tolist() == [1.0, 1.0, 2.0]
    # 19 is one pixel left of the middle of 40 columns, and half the shorter side is 15.
    assert arrays["principal_point"].tolist() == [[1 / 15, -1.5 / 15]]
    assert arrays["focal_length"].tolist() == [[50 / 15, 48 / 15]]


@pytest.mark.pytorch3d
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_ndc", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_pytorch3d_projects_as_we_do(in_ndc: bool, count: int):
    from pytorch3d.renderer import PerspectiveCameras

    cameras = ring(count).to(torch.float32)
    points = torch.rand(count, 20, 3, generator=torch.Generator().manual_seed(0))
    theirs = PerspectiveCameras(**to_pytorch3d(cameras, in_ndc=in_ndc)).transform_points_screen(points)
    pixels, _ = cameras.project(points)
    # Measured: 8e-6 pixels.
    torch.testing.assert_close(theirs[..., :2], pixels, atol=1e-4, rtol=0)
