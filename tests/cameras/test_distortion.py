"""Undistortion against the lens formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import Distortion, sampling_maps, undistort, valid_pixels

WIDTH, HEIGHT = 48, 36


def wide_camera() -> Camera:
    K = torch.tensor([[30.0, 0.0, 25.0], [0.0, 28.0, 17.0], [0.0, 0.0, 1.0]])
    return Camera(K, torch.eye(4), WIDTH, HEIGHT)


def ref_maps(camera: Camera, lens: Distortion) -> tuple[np.ndarray, np.ndarray]:
    """Our pixel coordinates (centres at +0.5) in the photograph of each undistorted pixel.

    Source: OpenCV's documentation, "Camera Calibration and 3D Reconstruction" and "Fisheye camera model".
    """
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    K = camera.K.double().numpy()
    x, y = (columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]
    r = np.hypot(x, y)
    padded = (*lens.coefficients, *([0.0] * 8))
    if lens.fisheye:
        angle = np.arctan(r)
        bent = angle * (1 + sum(k * angle ** (2 * i + 2) for i, k in enumerate(padded[:4])))
        scale = np.divide(bent, r, out=np.ones_like(r), where=r > 0)
        x, y = x * scale, y * scale
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = padded[:8]
        scale = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
        x, y = (
            x * scale + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
            y * scale + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
        )
    return K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]


LENSES = [
    Distortion(False, (-0.1, 0.02, 0.003, -0.002, 0.001)),
    Distortion(False, (0.1, 0.02, 0.003, -0.002, 0.001, 0.05, 0.01, 0.002)),
    Distortion(True, (0.02, -0.01, 0.003, 0.001)),
    Distortion(True, ()),
]


@pytest.mark.parametrize("lens", LENSES)
def test_maps_follow_the_lens_formula(lens: Distortion):
    columns, rows = sampling_maps(wide_camera(), lens)
    ref_columns, ref_rows = ref_maps(wide_camera(), lens)
    # OpenCV counts from the first pixel's centre. Measured: 2e-6 pixels.
    np.testing.assert_allclose(columns, ref_columns - 0.5, atol=1e-4)
    np.testing.assert_allclose(rows, ref_rows - 0.5, atol=1e-4)


@pytest.mark.parametrize("lens", LENSES)
def test_undistort_samples_the_photograph_there(lens: Distortion):
    ramp = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8) * 5, (HEIGHT, WIDTH))
    photograph = np.stack([ramp, ramp, ramp], axis=-1)
    expected = 5 * (ref_maps(wide_camera(), lens)[0] - 0.5)
    valid = valid_pixels(wide_camera(), lens)
    inner = valid & (expected > 10) & (expected < 220)
    assert inner.sum() > 400
    got = undistort(photograph, wide_camera(), lens)
    # Measured: 0.6 of 255, rounding and OpenCV's 1/32-pixel interpolation table.
    assert np.abs(got[inner][:, 1] - expected[inner]).max() < 1.0


def test_borders_of_a_pincushion_lens_are_not_valid():
    valid = valid_pixels(wide_camera(), Distortion(False, (0.3,)))
    columns, rows = ref_maps(wide_camera(), Distortion(False, (0.3,)))
    inside = (columns >= 0) & (columns <= WIDTH) & (rows >= 0) & (rows <= HEIGHT)
    assert (valid == inside).all()
    assert not valid[0, 0]
    assert valid[17, 25]


def test_pixels_beyond_the_fold_of_the_polynomial_are_not_valid():
    # r (1 - 0.6 r^2) grows up to r = 1 / sqrt(1.8) = 0.745 only; further out it returns to the middle.
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    r = np.hypot((columns - 25) / 30, (rows - 17) / 28)
    valid = valid_pixels(wide_camera(), Distortion(False, (-0.6,)))
    assert not valid[r > 1 / math.sqrt(1.8) + 0.05].any()
    assert valid[r < 1 / math.sqrt(1.8) - 0.05].all()


def test_no_lens_is_none():
    assert Distortion.brown(0.0, 0.0, 0.0) is None
    assert Distortion.brown(0.1, 0.0) == Distortion(False, (0.1,))
    assert Distortion.equidistant(0.0) == Distortion(True, ())


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="coefficients: expected at most 4, got 5"):
        Distortion(True, (1.0,) * 5)
    with pytest.raises(ValueError, match="image: expected"):
        undistort(np.zeros((WIDTH, HEIGHT, 3), np.uint8), wide_camera(), LENSES[0])
