"""Loading captures: what belongs together comes out together, and what does not is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.camera_path import centered_lens
from neuraltex.cameras.colmap import write_colmap_text
from neuraltex.cameras.distortion import Distortion
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.llff import write_poses_bounds
from neuraltex.cameras.nerfstudio import write_transforms
from neuraltex.capture import Capture, load_capture, write_video
from neuraltex.capture import memory as capture_memory
from neuraltex.capture.split import split_frames
from neuraltex.errors import InputError
from tests.cameras.builders import HEIGHT, WIDTH, frames_of, ring, save_images, transforms, write


def plain(index: int, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A picture of one colour that tells its index, with a bright right half."""
    picture = np.full((size[1], size[0], 3), 10 * index + 20, np.uint8)
    picture[:, size[0] // 2 :, 1] += 60
    return picture


def photo_folder(folder: Path, count: int, **edits: Any) -> Path:
    """Photographs with a transforms.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(plain(i)).save(folder / f"a{i:02d}.png")
    write(folder / "transforms.json", transforms(count) | edits)
    return folder


def indices_in(capture: Capture) -> list[int]:
    """Which picture each frame is, by its colour."""
    return [round((int(image[0, 0, 0]) - 20) / 10) for image in capture.images]


def test_photos_cameras_and_split_go_together(tmp_path: Path):
    capture = load_capture(photo_folder(tmp_path, 10))
    assert capture.images.shape == (10, HEIGHT, WIDTH, 3)
    assert indices_in(capture) == list(range(10))
    assert capture.names[3] == "a03.png"
    assert (capture.masks, capture.valid, capture.fps) == (None, None, None)
    assert capture.test_indices.tolist() == [0, 8]
    assert capture.train_indices.tolist() == [1, 2, 3, 4, 5, 6, 7, 9]
    torch.testing.assert_close(capture.cameras.center[:, 0], 0.1 * torch.arange(10))


def test_size_shrinks_pictures_and_cameras_alike(tmp_path: Path):
    capture = load_capture(photo_folder(tmp_path, 4), size=20)
    assert capture.images.shape == (4, 15, 20, 3)
    assert (capture.cameras.width, capture.cameras.height) == (20, 15)
    assert capture.cameras.K[0].tolist() == [[25.0, 0.0, 9.5], [0.0, 24.0, 8.25], [0.0, 0.0, 1.0]]
    assert load_capture(tmp_path, size=4000).images.shape == (4, HEIGHT, WIDTH, 3)


def test_pictures_scaled_after_the_cameras_were_solved(tmp_path: Path):
    photo_folder(tmp_path, 4, w=2 * WIDTH, h=2 * HEIGHT)
    assert load_capture(tmp_path).cameras.K[0, 0].tolist() == [25.0, 0.0, 9.5]


def test_listed_split_decides(tmp_path: Path):
    names = [f"a{i:02d}.png" for i in range(5)]
    photo_folder(tmp_path, 5, train_filenames=names[:2], test_filenames=names[4:])
    capture = load_capture(tmp_path)
    assert (capture.train_indices.tolist(), capture.test_indices.tolist()) == ([0, 1], [4])


def test_split_with_one_side_listed():
    names = ["a", "b", "c", "d"]
    assert split_frames(names, None, ["b"], source=Path("x")) == ([0, 2, 3], [1])
    assert split_frames(names, ["b", "c"], None, source=Path("x")) == ([1, 2], [0, 3])
    with pytest.raises(InputError, match=r"x: 1 of 2 frames would be left to learn from, at least 2 are needed"):
        split_frames(["a", "b"], None, None, source=Path("x"))


def test_colmap_and_llff_are_found_in_a_capture_folder(tmp_path: Path):
    for i in range(4):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(plain(i)).save(tmp_path / "images" / f"a{i:02d}.png")
    cameras = centered_lens(ring(4))
    write_poses_bounds(tmp_path / "poses_bounds.npy", cameras, torch.ones(4, 2).double())
    found = load_capture(tmp_path)
    torch.testing.assert_close(found.cameras.w2c, cameras.w2c.float(), atol=1e-5, rtol=0)
    write_colmap_text(tmp_path / "sparse" / "0", frames_of(ring(4))[::-1])
    capture = load_capture(tmp_path)
    assert indices_in(capture) == [0, 1, 2, 3]
    torch.testing.assert_close(capture.cameras.w2c, ring(4).w2c.float(), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:.*are left out because their images do not exist")
@pytest.mark.parametrize("form", ["transforms", "colmap"])
def test_photographs_know_their_place_among_those_that_are_missing(tmp_path: Path, form: str):
    folder = photo_folder(tmp_path if form == "transforms" else tmp_path / "images", 6)
    if form == "colmap":
        write_colmap_text(tmp_path / "sparse" / "0", frames_of(ring(6))[::-1])
    for i in (0, 3):
        (folder / f"a{i:02d}.png").unlink()
    capture = load_capture(tmp_path)
    assert indices_in(capture) == capture.frame_indices.tolist() == [1, 2, 4, 5]
    assert capture.num_frames == 6
    if form == "transforms":
        value = json.loads((tmp_path / "transforms.json").read_text())
        for i, frame in enumerate(value["frames"]):
            frame["frame_index"] = 10 * i
        write(tmp_path / "transforms.json", value)
        capture = load_capture(tmp_path)
        assert (capture.frame_indices.tolist(), capture.num_frames) == ([10, 20, 40, 50], None)


def test_cameras_apart_from_photos(tmp_path: Path):
    photo_folder(tmp_path / "photos", 4)
    moved = tmp_path / "elsewhere" / "cams.json"
    moved.parent.mkdir()
    (tmp_path / "photos" / "transforms.json").rename(moved)
    assert indices_in(load_capture(tmp_path / "photos", moved)) == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"holds 4 photographs but no cameras; pass --cameras with a transforms.json"):
        load_capture(tmp_path / "photos")
    with pytest.raises(InputError, match=r"holds neither photographs nor cameras"):
        load_capture(moved.parent)


def left_half() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, : WIDTH // 2] = 255
    return mask


def test_masks_from_the_file_a_folder_and_alpha(tmp_path: Path):
    value = transforms(4)
    for i in range(4):
        (tmp_path / "m").mkdir(exist_ok=True)
        Image.fromarray(left_half()).save(tmp_path / "m" / f"a{i:02d}.png")
        value["frames"][i]["mask_path"] = f"m/a{i:02d}.png"
        picture = np.dstack([plain(i), left_half()])
        (tmp_path / "cut").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "cut" / f"a{i:02d}.png")
    photo_folder(tmp_path, 4)
    by_folder = load_capture(tmp_path, masks=tmp_path / "m", size=20)
    write(tmp_path / "transforms.json", value)
    by_file = load_capture(tmp_path, size=20)
    write(tmp_path / "cut" / "transforms.json", transforms(4))
    by_alpha = load_capture(tmp_path / "cut", size=20)
    for capture in (by_folder, by_file, by_alpha):
        assert capture.masks is not None
        assert capture.masks[:, :, :10].all()
        assert not capture.masks[:, :, 10:].any()
    assert int(by_alpha.images[:, :, 10:].max()) == 0


def test_broken_masks(tmp_path: Path):
    photo_folder(tmp_path, 4)
    with pytest.raises(InputError, match=r"nowhere: the masks do not exist"):
        load_capture(tmp_path, masks=tmp_path / "nowhere")
    (tmp_path / "m").mkdir()
    Image.fromarray(left_half()).save(tmp_path / "m" / "a00.png")
    with pytest.raises(InputError, match=r"m, frame 1: holds no mask for 'a01.png'"):
        load_capture(tmp_path, masks=tmp_path / "m")
    for i in range(1, 4):
        Image.fromarray(left_half().T).save(tmp_path / "m" / f"a{i:02d}.png")
    with pytest.raises(InputError, match=r"a01.png: the mask is 30x40 pixels, its photograph is 40x30"):
        load_capture(tmp_path, masks=tmp_path / "m")
    value = transforms(4)
    value["frames"][0]["mask_path"] = "m/a00.png"
    write(tmp_path / "transforms.json", value)
    with pytest.raises(InputError, match=r"a01.png: 3 of 4 frames have no mask, this is the first"):
        load_capture(tmp_path)


def test_undistortion_marks_its_borders(tmp_path: Path):
    save_images(tmp_path, 4)
    lens = Distortion(False, (0.3,))
    frames = [CameraFrame(f.name, tmp_path / f.name, None, f.camera, lens) for f in frames_of(ring(4))]
    write_transforms(tmp_path / "transforms.json", frames)
    capture = load_capture(tmp_path, size=20)
    assert capture.valid is not None
    assert not capture.valid[0, 0, 0]
    assert capture.valid[:, 6:9, 8:11].all()
    # The lens moves (0, 0): x = -0.38, y = -0.34375, r^2 = 0.2626, so 1.0788 times as far from the principal point.
    full = load_capture(tmp_path)
    assert full.valid is not None
    assert not full.valid[0, 0, 0]
    assert full.valid.float().mean() > 0.6


def video_with_cameras(folder: Path, num_frames: int, num_cameras: int, **edits: Any) -> tuple[Path, Path]:
    write_video(folder / "v.mp4", [plain(i) for i in range(num_frames)], 10)
    value = transforms(num_cameras) | edits
    for frame in value["frames"]:
        del frame["file_path"]
    return folder / "v.mp4", write(folder / "cams.json", value)


def test_video_frames_get_their_cameras(tmp_path: Path):
    video, cameras = video_with_cameras(tmp_path, 6, 6)
    capture = load_capture(video, cameras, size=20)
    assert capture.images.shape == (6, 15, 20, 3)
    assert indices_in(capture) == list(range(6))
    assert capture.names == ("000000", "000001", "000002", "000003", "000004", "000005")
    assert (capture.fps, capture.test_indices.tolist()) == (10.0, [0])


def test_frame_index_picks_frames(tmp_path: Path):
    video, cameras = video_with_cameras(tmp_path, 6, 3)
    value = json.loads(cameras.read_text())
    for frame, index in zip(value["frames"], (5, 0, 3), strict=True):
        frame["frame_index"] = index
    capture = load_capture(video, write(cameras, value))
    assert indices_in(capture) == [0, 3, 5]
    assert (capture.frame_indices.tolist(), capture.num_frames) == ([0, 3, 5], 6)
    torch.testing.assert_close(capture.cameras.center[:, 0], torch.tensor([0.1, 0.2, 0.0]))
    value["frames"][0]["frame_index"] = 6
    with pytest.raises(InputError, match=r"frame 0: frame_index 6 lies beyond the 6 frames of .*v.mp4"):
        load_capture(video, write(cameras, value))
    value["frames"][0]["frame_index"] = 3
    with pytest.raises(InputError, match=r"frame_index 3 is given twice"):
        load_capture(video, write(cameras, value))
    del value["frames"][0]["frame_index"]
    with pytest.raises(InputError, match=r"2 of 3 frames have a frame_index"):
        load_capture(video, write(cameras, value))


def test_video_masks(tmp_path: Path):
    video, cameras = video_with_cameras(tmp_path, 4, 4)
    masks = [np.repeat(left_half()[..., None], 3, axis=2)] * 4
    write_video(tmp_path / "m.mp4", masks, 10)
    write_video(tmp_path / "m", masks, 10)
    for source in (tmp_path / "m.mp4", tmp_path / "m"):
        capture = load_capture(video, cameras, masks=source)
        assert capture.masks is not None
        assert torch.equal(capture.masks[2], torch.from_numpy(left_half() > 0))
    write_video(tmp_path / "short.mp4", masks[:3], 10)
    with pytest.raises(InputError, match=r"short.mp4: the video of masks has 3 frames, frame 3 is needed"):
        load_capture(video, cameras, masks=tmp_path / "short.mp4")


def test_refused_videos(tmp_path: Path):
    video, cameras = video_with_cameras(tmp_path, 6, 4)
    with pytest.raises(InputError, match=r"cams.json: holds 4 cameras but the video .*v.mp4 has 6 frames"):
        load_capture(video, cameras)
    with pytest.raises(InputError, match=r"v.mp4: a video needs cameras; pass --cameras"):
        load_capture(video)
    video, cameras = video_with_cameras(tmp_path, 4, 4, w=30, h=40)
    with pytest.raises(InputError, match=r"the camera of '000000' is 30x40 pixels, its picture is 40x30"):
        load_capture(video, cameras)


def test_refused_photos(tmp_path: Path):
    with pytest.raises(InputError, match=r"nothing: does not exist; pass a video or a folder"):
        load_capture(tmp_path / "nothing")
    photo_folder(tmp_path, 4)
    with pytest.raises(InputError, match=r"a00.png: is one photograph; pass the folder"):
        load_capture(tmp_path / "a00.png")
    Image.fromarray(plain(2, size=(30, 40))).save(tmp_path / "a02.png")
    with pytest.raises(InputError, match=r"a02.png: is 30x40 pixels, but .*a00.png is 40x30"):
        load_capture(tmp_path)
    Image.fromarray(plain(2)).save(tmp_path / "a02.png")
    content = (tmp_path / "a02.png").read_bytes()
    (tmp_path / "a02.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a02.png: could not be (decoded|read)"):
        load_capture(tmp_path)


def test_a_capture_beyond_the_memory_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capture_memory, "available_bytes", lambda: 4 * WIDTH * HEIGHT * 5 - 1)
    photo_folder(tmp_path, 4)
    with pytest.raises(InputError, match=r"4 frames of 40x30 pixels need .* GiB of memory, .* ask for a smaller size"):
        load_capture(tmp_path)
    assert load_capture(tmp_path, size=20).images.shape[0] == 4


def test_available_memory_is_plausible():
    available = capture_memory.available_bytes()
    assert available is not None
    assert 2**20 < available < 2**50


@pytest.mark.captures
def test_bronze_head(captures: Path):
    capture = load_capture(captures / "bronze_head", size=256)
    assert capture.images.shape == (66, 256, 256, 3)
    assert len(capture.test_indices) == 9
    assert capture.masks is not None
    # The object fills about a quarter of every photograph and is brighter than nothing.
    assert 0.1 < float(capture.masks.float().mean()) < 0.6
    assert capture.valid is None
    with (captures / "bronze_head" / "mesh.obj").open() as lines:
        verts = torch.tensor([[float(x) for x in line.split()[1:4]] for line in lines if line.startswith("v ")])
    for i in (0, 20, 40):
        pixels, _ = capture.cameras[i].project(verts)
        columns, rows = pixels.floor().long().clamp(0, 255).unbind(1)
        # The visual hull projects into the mask: poses, masks and pictures belong together. 95.5% or more.
        assert float(capture.masks[i, rows, columns].float().mean()) > 0.93


@pytest.mark.captures
def test_castle_facade(captures: Path):
    capture = load_capture(captures / "castle_facade", size=256)
    assert capture.images.shape == (10, 192, 256, 3)
    assert capture.test_indices.tolist() == [0, 8]
    assert capture.masks is None
    assert isinstance(capture.cameras, Camera)
