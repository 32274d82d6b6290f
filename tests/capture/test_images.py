"""Decoding photographs and masks of every kind, and refusing what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from neuraltex.capture.images import read_image, read_mask, upright_size, write_image
from neuraltex.capture.resize import fitted_size, shrink, shrink_mask
from neuraltex.errors import InputError

# 3 rows of 4 columns: rows, columns and channels cannot be mixed up unseen.
RGB = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def test_rgb_png_comes_back_exactly(tmp_path: Path):
    write_image(tmp_path / "a.png", RGB)
    decoded = read_image(tmp_path / "a.png")
    assert (decoded.rgb == RGB).all()
    assert decoded.alpha is None


def test_gray_and_16_bit_and_palette(tmp_path: Path):
    gray = RGB[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(gray > 100).save(tmp_path / "bits.png")
    for name, expected in (("gray", gray), ("deep", gray), ("bits", (gray > 100) * 255)):
        decoded = read_image(tmp_path / f"{name}.png").rgb
        assert decoded.shape == (3, 4, 3), name
        assert (decoded == expected[..., None]).all(), name
    flat = np.where(gray[..., None] > 100, [255, 0, 51], [0, 102, 204]).astype(np.uint8)
    Image.fromarray(flat).quantize(2).save(tmp_path / "palette.png")
    assert (read_image(tmp_path / "palette.png").rgb == flat).all()


def test_alpha_composites_over_black(tmp_path: Path):
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = read_image(tmp_path / "a.png")
    assert decoded.rgb.tolist() == [[[200, 100, 50], [100, 50, 25], [0, 0, 0]]]
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[255, 128, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int):
    # Each value tells how the stored picture must be changed to be upright (EXIF 2.3, tag 274).
    upright = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1],
        5: RGB.transpose(1, 0, 2), 6: np.rot90(RGB, -1), 7: np.rot90(RGB, 2).transpose(1, 0, 2), 8: np.rot90(RGB, 1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png").rgb == upright).all()
    assert upright_size(tmp_path / "a.png") == (upright.shape[1], upright.shape[0])
    # A camera of the stored size: the solver worked on the stored pixels.
    stored = read_image(tmp_path / "a.png", stored_size=(4, 3)).rgb
    assert (stored == (RGB if orientation >= 5 else upright)).all()
    assert upright_size(tmp_path / "a.png", stored_size=(4, 3)) == (4, 3)


def test_masks_of_every_kind(tmp_path: Path):
    expected = np.array([[True, False, False, True], [False, True, False, True], [True, True, False, False]])
    Image.fromarray(expected.astype(np.uint8) * 255).save(tmp_path / "gray.png")
    Image.fromarray(expected.astype(np.uint8)).save(tmp_path / "label.png")
    Image.fromarray(expected).save(tmp_path / "bits.png")
    Image.fromarray(np.where(expected[..., None], 200, [20, 0, 90]).astype(np.uint8)).save(tmp_path / "colour.png")
    cut_out = np.dstack([np.full((3, 4, 3), 90), expected * 255]).astype(np.uint8)
    Image.fromarray(cut_out).save(tmp_path / "alpha.png")
    for name in ("gray", "label", "bits", "colour", "alpha"):
        assert (read_mask(tmp_path / f"{name}.png") == expected).all(), name


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_broken_images(tmp_path: Path, read):
    with pytest.raises(InputError, match=r"none.png: the image does not exist"):
        read(tmp_path / "none.png")
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a.jpg: could not be decoded .*truncated"):
        read(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_text("hello")
    with pytest.raises(InputError, match=r"b.png: could not be"):
        read(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"c.png: could not be"):
        read(tmp_path / "c.png")
    Image.fromarray(np.zeros((3, 4), np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(InputError, match=r"f.tiff: could not be decoded .*floating-point"):
        read(tmp_path / "f.tiff")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(InputError, match=r"d.png"):
        read(tmp_path / "d.png")


def test_unknown_suffix_is_not_written(tmp_path: Path):
    with pytest.raises(InputError, match=r"a.xyz: cannot be written as an image"):
        write_image(tmp_path / "a.xyz", RGB)
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["png", "jpg", "tiff", "webp", "bmp"]))
def test_fuzz_images(tmp_path: Path, data: st.DataObject, suffix: str):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:at] + data.draw(st.binary(max_size=6)) + content[at + data.draw(st.integers(0, 6)) :])
    for read in (read_image, read_mask, upright_size):
        try:
            read(path)
        except InputError as error:
            assert str(path) in str(error)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 6000))
def test_fitted_size_keeps_the_shape_and_never_enlarges(width: int, height: int, size: int):
    new_width, new_height = fitted_size(width, height, size)
    assert max(new_width, new_height) == min(size, max(width, height))
    scale = min(1.0, size / max(width, height))
    for new, old in ((new_width, width), (new_height, height)):
        assert abs(new - old * scale) <= 0.5 + 1e-9 or new == 1


def test_shrink_averages_areas():
    # 6 columns onto 4: each new one covers one and a half.
    row = np.array([[0, 30, 60, 90, 120, 150]], dtype=np.uint8).repeat(3, axis=0)
    assert shrink(row, 4, 1).tolist() == [[10, 50, 100, 140]]
    checker = (np.indices((8, 12)).sum(0) % 2 * 255).astype(np.uint8)
    assert set(np.unique(shrink(checker, 6, 4))) <= {127, 128}
    mask = np.array([[True, True, False, False, True, False]])
    assert shrink_mask(mask, 3, 1).tolist() == [[True, False, True]]
    assert shrink_mask(mask, 3, 1, share=1.0).tolist() == [[True, False, False]]
