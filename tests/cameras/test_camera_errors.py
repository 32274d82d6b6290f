"""Broken camera files: each is refused with a text that names the place; mutated ones never crash."""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuraltex.cameras.camera_path import CameraPath, centered_lens, read_path, write_nerfstudio_path
from neuraltex.cameras.colmap import read_colmap, write_colmap_text
from neuraltex.cameras.llff import write_poses_bounds
from neuraltex.cameras.read import read_cameras
from neuraltex.errors import InputError
from tests.cameras.builders import frames_of, ring, save_images, transforms, write
from tests.cameras.test_camera_converters import text_to_binary

Change = Callable[[dict[str, Any]], Any]


def set_in_frame(index: int, **fields: Any) -> Change:
    return lambda value: value["frames"][index].update(fields)


def set_entry(row: int, column: int, number: Any) -> Change:
    def change(value: dict[str, Any]) -> None:
        value["frames"][1]["transform_matrix"][row][column] = number

    return change


TRANSFORMS_CASES: list[tuple[str, Change, str]] = [
    ("no frames", lambda v: v.pop("frames"), r"frames must be a list that is not empty"),
    ("frames empty", lambda v: v.update(frames=[]), r"frames must be a list that is not empty, found a list of 0"),
    ("frame is text", lambda v: v["frames"].insert(1, "x"), r"frame 1: a JSON object was expected, found text"),
    ("no focal", lambda v: (v.pop("fl_x"), v.pop("fl_y")), r"frame 0: no focal length; give fl_x"),
    ("focal zero", lambda v: v.update(fl_x=0), r"fl_x must be positive, found 0"),
    ("focal text", set_in_frame(1, fl_x="50"), r"frame 1: fl_x must be a number, found text"),
    ("focal NaN", set_in_frame(1, fl_x=math.nan), r"frame 1: fl_x must be a finite number"),
    ("focal huge", set_in_frame(1, fl_x=10**400), r"frame 1: fl_x must be a finite number"),
    ("angle", lambda v: (v.pop("fl_x"), v.update(camera_angle_x=4.0)), r"camera_angle_x must be .* below pi"),
    ("size zero", lambda v: v.update(w=0), r"w must be a whole number between 1 and"),
    ("size fraction", lambda v: v.update(h=30.5), r"h must be a whole number"),
    ("no matrix", lambda v: v["frames"][1].pop("transform_matrix"), r"frame 1: transform_matrix is missing"),
    ("matrix flat", set_in_frame(1, transform_matrix=[1.0] * 16), r"frame 1: .* must be a 4x4 matrix"),
    ("matrix ragged", lambda v: v["frames"][1]["transform_matrix"][2].pop(), r"some rows do not have 4 numbers"),
    ("matrix last row", set_entry(3, 0, 1.0), r"the last row of transform_matrix must be 0 0 0 1"),
    ("matrix scaled", set_entry(0, 0, 2.0), r"frame 1: .* not hold a rotation: its columns are 3 away"),
    ("matrix mirrored", set_entry(0, 0, -1.0), r"frame 1: transform_matrix mirrors the world"),
    ("matrix NaN", set_entry(0, 3, math.nan), r"frame 1: transform_matrix must be a finite number"),
    ("model", lambda v: v.update(camera_model="EQUIRECTANGULAR"), r"'EQUIRECTANGULAR' is not supported; supported are"),
    ("k4", lambda v: v.update(k4=0.1), r"k4 = 0.1 has no meaning in camera_model OPENCV"),
    ("twice", set_in_frame(1, file_path="./a00.png"), r"frame 1: file_path 'a00.png' is listed a second time"),
    ("no file_path", lambda v: v["frames"][1].pop("file_path"), r"frame 1: file_path is missing"),
    ("mask", set_in_frame(1, mask_path="m.png"), r"frame 1: the mask 'm.png' does not exist"),
    ("split", lambda v: v.update(train_filenames=["b.png"]), r"the split lists 'b.png'"),
    (
        "split twice",
        lambda v: v.update(train_filenames=["a00.png"], test_filenames=["a00.png"]),
        r"'a00.png' is listed both for training and for testing",
    ),
    ("frame_index", set_in_frame(1, frame_index=-1), r"frame 1: frame_index must be a whole number from 0 up"),
]


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in TRANSFORMS_CASES], ids=[c[0] for c in TRANSFORMS_CASES]
)
def test_broken_transforms(tmp_path: Path, change: Change, message: str):
    value = transforms(3)
    change(value)
    save_images(tmp_path, 3)
    path = write(tmp_path / "transforms.json", value)
    with pytest.raises(InputError, match=message) as caught:
        read_cameras(path)
    assert str(path) in str(caught.value)


def test_transforms_that_are_no_json_name_the_line(tmp_path: Path):
    (tmp_path / "transforms.json").write_text('{\n "w": 3,\n "h": }\n')
    with pytest.raises(InputError, match=r"transforms.json, line 3: is not valid JSON"):
        read_cameras(tmp_path)


def test_transforms_without_any_image(tmp_path: Path):
    path = write(tmp_path / "transforms.json", transforms(3))
    with pytest.raises(InputError, match=r"none of its 3 images exists, the first is 'a00.png'"):
        read_cameras(path)


@pytest.mark.parametrize(
    ("cameras", "images", "message"),
    [
        ("1 FOV 40 30 1 2 3 4 5\n", "", r"cameras.txt, line 1: the lens model FOV is not supported; supported are SIM"),
        ("1 PINHOLE 40 30 50 50 20\n", "", r"cameras.txt, line 1: PINHOLE has 4 parameters, found 3"),
        ("# c\n1 PINHOLE 40 30\n", "", r"cameras.txt, line 2: expected CAMERA_ID MODEL"),
        ("1 PINHOLE 40 x 50 50 20 15\n", "", r"cameras.txt, line 1: expected a whole number, found 'x'"),
        ("1 PINHOLE 40 0 50 50 20 15\n", "", r"an image of 40x0 pixels cannot be"),
        ("1 PINHOLE 40 30 -5 50 20 15\n", "", r"the focal length must be positive"),
        ("1 PINHOLE 40 30 50 50 20 15\n", "", r"holds no images"),
        ("1 PINHOLE 40 30 50 50 20 15\n", "1 1 0 0 0 0 0 0 1\n\n", r"images.txt, line 1: expected IMAGE_ID"),
        ("1 PINHOLE 40 30 50 50 20 15\n", "1 2 0 0 0 0 0 0 1 a\n\n", r"images.txt, line 1: .* length is 2"),
        ("1 PINHOLE 40 30 50 50 20 15\n", "1 1 0 0 0 0 0 nan 1 a\n\n", r"images.txt, line 1: .* not finite"),
        ("1 PINHOLE 40 30 50 50 20 15\n", "1 1 0 0 0 0 0 0 2 a\n\n", r"image 'a' uses camera 2, which the model"),
    ],
)
def test_broken_colmap_text(tmp_path: Path, cameras: str, images: str, message: str):
    (tmp_path / "cameras.txt").write_text(cameras)
    (tmp_path / "images.txt").write_text(images)
    with pytest.raises(InputError, match=message):
        read_colmap(tmp_path)


def binary_model(folder: Path) -> Path:
    save_images(folder / "images", 3)
    write_colmap_text(folder, frames_of(ring(3)))
    text_to_binary(folder)
    return folder


def test_truncated_colmap_binary_names_the_byte(tmp_path: Path):
    model = binary_model(tmp_path)
    content = (model / "images.bin").read_bytes()
    (model / "images.bin").write_bytes(content[:50])
    with pytest.raises(InputError, match=r"images.bin: the file is cut off: 3 entries do not fit .* \(at byte 0\)"):
        read_colmap(model)
    (model / "images.bin").write_bytes(content[:-30])
    with pytest.raises(InputError, match=r"images.bin: the file is cut off: .* \(at byte \d+\)"):
        read_colmap(model)
    (model / "images.bin").write_bytes(content + b"x")
    with pytest.raises(InputError, match=r"1 bytes follow the last entry"):
        read_colmap(model)
    (model / "cameras.bin").write_bytes(struct.pack("<QiiQQ", 1, 1, 99, 40, 30))
    with pytest.raises(InputError, match=r"cameras.bin: the lens model with id 99 is not known \(at byte 8\)"):
        read_colmap(model)


def llff_rows(count: int) -> np.ndarray:
    pose = np.array([[0, 1, 0, 0, 30], [-1, 0, 0, 0, 40], [0, 0, 1, 2, 50]], dtype=np.float64)
    return np.tile(np.concatenate([pose.flatten(), [1.0, 9.0]]), (count, 1))


def test_broken_llff(tmp_path: Path):
    save_images(tmp_path / "images", 3)
    path = tmp_path / "poses_bounds.npy"
    for rows, message in [
        (llff_rows(4), r"holds 4 cameras but .*images holds 3 images"),
        (llff_rows(3)[:, :15], r"an array of N rows of 17 numbers was expected, found \(3, 15\)"),
        (llff_rows(0), r"holds no cameras"),
        (llff_rows(3) * 2, r"frame 0: the pose does not hold a rotation"),
        (np.array([{}], dtype=object), r"could not be read as a NumPy array .*pickle"),
    ]:
        np.save(path, rows, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            read_cameras(path)
    rows = llff_rows(3)
    rows[1, 14] = 0
    np.save(path, rows)
    with pytest.raises(InputError, match=r"frame 1: .* focal length 0 make no camera"):
        read_cameras(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("render_width"), r"render_width and render_height are missing"),
        (lambda v: v.update(camera_path=[]), r"camera_path must be a list that is not empty"),
        (lambda v: v["camera_path"][2].pop("fov"), r"frame 2: fov is missing"),
        (lambda v: v["camera_path"][2].update(fov=180.0), r"frame 2: fov must be below 180"),
        (lambda v: v["camera_path"][2]["camera_to_world"].pop(), r"frame 2: .* 16 numbers, row by row, found 15"),
        (lambda v: v.update(camera_type="equirectangular"), r"camera_type 'equirectangular' is not supported"),
        (lambda v: v.update(fps=-1), r"fps must be positive"),
        (lambda v: v.pop("camera_path"), r"is no camera path"),
    ],
)
def test_broken_camera_path(tmp_path: Path, change: Change, message: str):
    write_nerfstudio_path(tmp_path / "p.json", CameraPath(centered_lens(ring(3)), 24.0))
    value = json.loads((tmp_path / "p.json").read_text())
    change(value)
    with pytest.raises(InputError, match=message):
        read_path(write(tmp_path / "p.json", value))


def test_no_camera_file_at_all(tmp_path: Path):
    with pytest.raises(InputError, match=r"does not exist; pass a transforms.json, a COLMAP model"):
        read_cameras(tmp_path / "nothing.json")
    with pytest.raises(InputError, match=r"holds no cameras; pass a transforms.json"):
        read_cameras(tmp_path)
    (tmp_path / "x.obj").write_text("")
    with pytest.raises(InputError, match=r"x.obj: is no camera file"):
        read_cameras(tmp_path / "x.obj")


def usable(call: Callable[[], Any]) -> None:
    """`call` works or raises InputError; nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except InputError as error:
            assert str(error)


fuzz = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.sampled_from([-1, 0, 1e300, 10**400, "OPENCV_FISHEYE", "\0", "a" * 5000, [[1]], {"a": 1}, "..", "/", "."]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, entry in items for found in places(entry, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


@fuzz
@given(st.data())
def test_fuzz_transforms(tmp_path: Path, data: st.DataObject):
    save_images(tmp_path, 2)
    extra = {"camera_model": "OPENCV", "k1": 0.1, "p1": 0.1, "train_filenames": ["a00.png"], "camera_angle_x": 0.5}
    value = transforms(2) | extra
    value["frames"][0] |= {"mask_path": "a00.png", "frame_index": 0, "seconds": 0.0}
    for _ in range(data.draw(st.integers(1, 2))):
        value = replaced(value, data.draw(st.sampled_from(places(value))), data.draw(junk))
    path = write(tmp_path / "transforms.json", value)
    usable(lambda: read_cameras(path))
    usable(lambda: read_cameras(path, video_size=(40, 30)))
    usable(lambda: read_path(path))


@fuzz
@given(st.data())
def test_fuzz_camera_path(tmp_path: Path, data: st.DataObject):
    write_nerfstudio_path(tmp_path / "p.json", CameraPath(centered_lens(ring(2)), 24.0))
    value = json.loads((tmp_path / "p.json").read_text())
    value = replaced(value, data.draw(st.sampled_from(places(value))), data.draw(junk))
    usable(lambda: read_path(write(tmp_path / "p.json", value)))


def mutated(content: bytes, data: st.DataObject) -> bytes:
    """Bytes changed, removed or added."""
    at = data.draw(st.integers(0, len(content)))
    return (
        content[:at] + data.draw(st.binary(max_size=9)) + content[at + data.draw(st.sampled_from([0, 1, 4, 8, 999])) :]
    )


@fuzz
@given(st.data())
@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "cameras.txt", "images.txt"])
def test_fuzz_colmap(tmp_path: Path, name: str, data: st.DataObject):
    if name.endswith(".bin"):
        binary_model(tmp_path)
    else:
        save_images(tmp_path / "images", 3)
        write_colmap_text(tmp_path, frames_of(ring(3)))
    (tmp_path / name).write_bytes(mutated((tmp_path / name).read_bytes(), data))
    usable(lambda: read_colmap(tmp_path))


@fuzz
@given(st.data())
def test_fuzz_llff(tmp_path: Path, data: st.DataObject):
    save_images(tmp_path / "images", 3)
    path = tmp_path / "poses_bounds.npy"
    write_poses_bounds(path, centered_lens(ring(3)), torch.ones(3, 2).double())
    path.write_bytes(mutated(path.read_bytes(), data))
    usable(lambda: read_cameras(path))


def test_a_zip_of_arrays_is_no_poses_bounds(tmp_path: Path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    (tmp_path / "poses_bounds.npy").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"an array of N rows of 17 numbers was expected, found several arrays"):
        read_cameras(tmp_path / "poses_bounds.npy")
