"""Masks by chroma key against masks that are known, and every way such a job can fail."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from neuraltex import cli
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.nerfstudio import write_transforms
from neuraltex.capture import load_capture, mask_photographs, read_mask, write_video
from neuraltex.capture.chroma import key_mask, parse_colour, screen_colour
from neuraltex.capture.solve.ingest import add_masks, ingest_photos
from neuraltex.errors import InputError, InputWarning, NeuraltexError
from tests.capture.test_dataset import frames_of, ring

WIDTH, HEIGHT = 320, 240
GREEN, BLUE = "#00b140", "#0047bb"
GRAY, DARK, SKIN = (128, 128, 128), (14, 13, 15), (200, 150, 120)


def stage(
    colour: str = GREEN, paint: tuple[int, int, int] = SKIN, *, at: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture `[H, W, 3]` of a speckled ring before a screen, and where the ring is.

    The screen is lit by 1 at the left and 0.25 at the right, in linear light, with a soft shadow of half of that below
    the ring. The ring's outline is smoothed over a pixel; three pixels along it are lit by half of the screen's light,
    of which they reflect what they reflect of white light, and 4% more as gloss.
    """
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid((np.arange(4 * WIDTH) + 0.5) / 4, (np.arange(4 * HEIGHT) + 0.5) / 4)
    radius = np.hypot((x - at * WIDTH) / 1.3, y - 0.45 * HEIGHT)
    share = cv2.resize(
        ((radius < 70) & (radius > 25)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA
    )
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    light = 1 - 0.75 * x
    light *= 1 - 0.5 * np.exp(-np.square((x - at) / 0.3) - np.square((y - 0.8) / 0.1))
    screen = np.square(parse_colour(colour) / 255.0) * light[..., None]  # gamma 2 will do
    speckle = cv2.resize(rng.uniform(0.5, 1.3, (24, 32)).astype(np.float32), (WIDTH, HEIGHT))
    thing = np.square(np.array(paint) / 255.0) * speckle[..., None]
    inner = cv2.erode((share > 0.5).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    thing = np.where(inner[..., None], thing, thing + 0.5 * (thing + 0.04) * screen)
    linear = share[..., None] * thing + (1 - share[..., None]) * screen
    noisy = 255 * np.sqrt(linear) + rng.normal(0, 4, linear.shape)
    return np.clip(noisy.round(), 0, 255).astype(np.uint8), share > 0.5


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


# Measured: 0.985, 0.990, 0.986 on green, 0.983, 0.986, 0.989 on blue; the rest are pixels that the outline halves.
@pytest.mark.parametrize("colour", [GREEN, BLUE])
@pytest.mark.parametrize("paint", [SKIN, GRAY, DARK])
def test_a_shaded_noisy_screen_is_told_from_the_object(colour: str, paint: tuple[int, int, int]):
    picture, truth = stage(colour, paint)
    found = key_mask(picture, parse_colour(colour))
    assert iou(found, truth) > 0.975
    near = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not (found & ~near).any(), "shadows and noise on the screen are screen"
    deep = cv2.erode(truth.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert found[deep].all(), "the object has no holes"


@pytest.mark.parametrize("colour", [GREEN, BLUE])
def test_the_screen_is_measured_on_the_border(colour: str):
    picture, truth = stage(colour, GRAY, at=0.0)  # the object crosses the border
    found = screen_colour(picture)
    assert found is not None
    # The middle of the border has 0.6 of the light, less in the shadow: 0.74 to 0.75 of the colour was measured.
    np.testing.assert_allclose(found, 0.745 * parse_colour(colour), atol=4)
    assert iou(key_mask(picture, found), truth) > 0.98  # measured 0.993, 0.989


def test_thin_parts_stay_and_specks_go():
    picture, truth = np.full((HEIGHT, WIDTH, 3), parse_colour(GREEN)), np.zeros((HEIGHT, WIDTH), np.bool_)
    truth[100:140, 100:180] = True
    truth[40:100, 130:133] = True
    picture[truth] = SKIN
    picture[20:22, 20:24] = GRAY
    picture[120:122, 140:143] = parse_colour(GREEN)
    found = key_mask(picture, parse_colour(GREEN))
    assert (found != truth).sum() <= 8  # measured 8: corners, which the median rounds
    assert not found[:30, :30].any()
    assert found[110:130, 110:170].all()


def test_tolerance_moves_the_edge_towards_gray():
    weak = np.full((40, 60, 3), (100, 150, 110), np.uint8)
    weak[:, :30] = parse_colour(GREEN)
    assert key_mask(weak, parse_colour(GREEN))[:, 32:].all()
    assert not key_mask(weak, parse_colour(GREEN), tolerance=0.9).any()


def photo_folder(folder: Path, *, count: int = 3) -> tuple[Path, np.ndarray]:
    """Photographs of the ring as it moves, and its masks."""
    folder.mkdir(parents=True)
    scenes = [stage(at=0.4 + 0.1 * k, seed=k) for k in range(count)]
    for k, (picture, _) in enumerate(scenes):
        Image.fromarray(picture).save(folder / f"my photo {k}.jpg", quality=92)
    return folder, np.stack([truth for _, truth in scenes])


def test_masks_of_photographs_are_found_by_training_and_solving(tmp_path: Path):
    photos, truth = photo_folder(tmp_path / "photos")
    made = mask_photographs(photos, tmp_path / "masks")
    assert [path.name for path in sorted((tmp_path / "masks").iterdir())] == [f"my photo {k}.png" for k in range(3)]
    assert made.num_frames == 3
    assert made.share == pytest.approx(truth.mean(), rel=0.03)
    assert made.least <= made.share <= made.most
    frames = [replace(f, name=f"my photo {k}.jpg", image_path=photos / f"my photo {k}.jpg") for k, f in wide_frames(3)]
    write_transforms(photos / "transforms.json", frames)
    capture = load_capture(photos, masks=tmp_path / "masks")
    pictures = ingest_photos(photos, tmp_path / "capture")
    names = [frame.name for frame in frames]
    solved = add_masks(pictures, tmp_path / "masks", tmp_path / "capture", (WIDTH, HEIGHT), names)
    assert capture.masks is not None
    for k in range(3):
        assert iou(capture.masks[k].numpy(), truth[k]) > 0.97  # measured 0.980 to 0.982 after JPEG
        mask = solved[k].mask
        assert mask is not None
        np.testing.assert_array_equal(read_mask(tmp_path / "capture" / mask), capture.masks[k].numpy())


def wide_frames(count: int) -> list[tuple[int, CameraFrame]]:
    """Cameras of the pictures' size."""
    return [(k, replace(f, camera=f.camera.resize(WIDTH, HEIGHT))) for k, f in enumerate(frames_of(ring(count)))]


def test_masks_of_a_video_are_found_by_training(tmp_path: Path):
    scenes = [stage(at=0.35 + 0.05 * k, seed=k) for k in range(5)]
    write_video(tmp_path / "v.mp4", [picture for picture, _ in scenes], 10)
    made = mask_photographs(tmp_path / "v.mp4", tmp_path / "masks", colour=GREEN)
    assert (made.colour, made.num_frames) == (GREEN, 5)
    assert [path.name for path in sorted((tmp_path / "masks").iterdir())] == [f"{k:06d}.png" for k in range(5)]
    value = json.loads(write_transforms_of(tmp_path).read_text())
    for frame, index in zip(value["frames"], (1, 3, 4), strict=True):
        del frame["file_path"]
        frame["frame_index"] = index
    (tmp_path / "cams.json").write_text(json.dumps(value))
    capture = load_capture(tmp_path / "v.mp4", tmp_path / "cams.json", masks=tmp_path / "masks")
    assert capture.masks is not None
    assert capture.names == ("000001", "000003", "000004")
    for k, index in enumerate((1, 3, 4)):
        assert iou(capture.masks[k].numpy(), scenes[index][1]) > 0.97  # measured 0.976 to 0.978 in H.264


def write_transforms_of(folder: Path) -> Path:
    write_transforms(folder / "cams.json", [frame for _, frame in wide_frames(3)])
    return folder / "cams.json"


def test_photographs_of_one_stem_get_masks_of_their_own(tmp_path: Path):
    for name, at in (("a.jpg", 0.4), ("a.png", 0.6)):
        Image.fromarray(stage(at=at)[0]).save(tmp_path / name)
    mask_photographs(tmp_path, tmp_path / "m")
    assert [path.name for path in sorted((tmp_path / "m").iterdir())] == ["a.jpg.png", "a.png.png"]


def test_transparent_pixels_are_not_the_object(tmp_path: Path):
    picture, _ = stage()
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :160] = 0
    (tmp_path / "p").mkdir()
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "p" / "a.png")
    mask_photographs(tmp_path / "p", tmp_path / "m", colour=GREEN)
    mask = read_mask(tmp_path / "m" / "a.png")
    assert not mask[:, :160].any()
    assert mask[:, 160:].any()


def failing(photos: Path, **options: Any) -> str:
    output = photos.parent / "failed"
    with pytest.raises(NeuraltexError) as caught:
        mask_photographs(photos, output, **options)
    assert not output.exists()
    assert not list(output.parent.glob(".*"))
    return str(caught.value)


def test_refused_jobs(tmp_path: Path):
    photos, _ = photo_folder(tmp_path / "p")
    assert "'#00b14': expected six hexadecimal digits" in failing(photos, colour="#00b14")
    assert "'#808080': expected a saturated colour" in failing(photos, colour="#808080")
    assert "--tolerance 1.0: expected a share between 0 and 1" in failing(photos, tolerance=1.0)
    assert "everything is masked as the object: nothing in the 3 frames is a screen of #0047bb" in failing(
        photos, colour=BLUE
    )
    assert "my photo 0.jpg: is one photograph" in failing(photos / "my photo 0.jpg")
    assert "nowhere: does not exist" in failing(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no photographs" in failing(tmp_path / "empty")
    (tmp_path / "v.mp4").write_bytes(b"not a video" * 100)
    assert "could not be decoded as a video" in failing(tmp_path / "v.mp4")
    (photos / "my photo 2.jpg").write_bytes((photos / "my photo 2.jpg").read_bytes()[:3000])
    assert "my photo 2.jpg: could not be decoded" in failing(photos)
    with pytest.raises(InputError, match="p: exists already; remove it or choose another name"):
        mask_photographs(photos, photos)


def test_borders_without_a_screen(tmp_path: Path):
    half = np.full((60, 80, 3), parse_colour(GREEN))
    half[:, 44:] = parse_colour(BLUE)  # 55% is green
    for name, picture in (("gray", np.full((60, 80, 3), 128, np.uint8)), ("two", half)):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "a.png")
        assert "the border of a.png is not of one saturated colour" in failing(tmp_path / name)


def test_empty_frames(tmp_path: Path):
    (tmp_path / "p").mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), parse_colour(GREEN))).save(tmp_path / "p" / "a.png")
    assert "nothing is masked as the object: all of the 1 frames is a screen of #00b140" in failing(tmp_path / "p")
    Image.fromarray(stage()[0]).save(tmp_path / "p" / "b.png")
    with pytest.warns(InputWarning, match=r"in 1 of 2 frames nothing or everything .* the first is a.png"):
        mask_photographs(tmp_path / "p", tmp_path / "m")


def test_the_command_says_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, truth = photo_folder(tmp_path / "p", count=2)
    cli.main(["mask", str(photos), "-o", str(tmp_path / "m"), "--tolerance", "0.45"])
    told = " ".join(capsys.readouterr().err.split())
    assert re.search(r"screen: #0[0-9a-f]{5} \(measured on the border of the first picture\)", told)
    share = re.search(r"the object covers ([0-9.]+)% of the pixels", told)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * truth.mean(), rel=0.03)
    with pytest.raises(SystemExit) as caught:
        cli.main(["mask", str(photos), "-o", str(tmp_path / "n"), "--color", "green"])
    assert caught.value.code == 2
    assert "neuraltex: --colour 'green': expected six hexadecimal digits" in capsys.readouterr().err
