"""Texture lookups against a hand-written bilinear sum, on rectangular textures."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.shading import EnvironmentTexture, NeuralTexture, direction_to_square
from neuraltex.shading.texture import fade, fading_sizes


def random_texture(height: int, width: int, **sizes: int) -> NeuralTexture:
    texture = NeuralTexture(height, width, **sizes).double()
    for level in texture.levels:
        torch.nn.init.normal_(level)
    return texture


def ref_lookup(texture: NeuralTexture, u: float, v: float) -> torch.Tensor:
    """One point, texel by texel: row 0 is the top of the image, v points up, texel centres at (k + 0.5) / size."""
    total = torch.zeros(texture.channels, dtype=torch.float64)
    for level in texture.levels:
        image = level[0].double()
        height, width = image.shape[1:]
        x, y = u * width - 0.5, (1 - v) * height - 0.5
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                weight = (1 - abs(x - column)) * (1 - abs(y - row))
                total += weight * image[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return total


@pytest.mark.parametrize("batch", [1, 3])
def test_lookup_equals_the_sum_of_bilinear_levels(batch):
    torch.manual_seed(0)
    texture = random_texture(12, 20, channels=5, num_levels=3)
    uv = torch.rand(batch, 4, 6, 2, dtype=torch.float64) * 1.1 - 0.05
    values = texture(uv)
    assert values.shape == (batch, 5, 4, 6)
    for b in range(batch):
        for row in range(4):
            for column in range(6):
                expected = ref_lookup(texture, *uv[b, row, column].tolist())
                # measured 2e-16
                torch.testing.assert_close(values[b, :, row, column], expected, atol=1e-12, rtol=0)


def test_gradients_reach_texels_and_uv():
    torch.manual_seed(1)
    texture = random_texture(8, 12, channels=3, num_levels=2)
    uv = (torch.rand(1, 3, 4, 2, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    levels = [level.detach().clone().requires_grad_() for level in texture.levels]

    def lookup(uv, *values):
        return torch.func.functional_call(texture, {f"levels.{i}": value for i, value in enumerate(values)}, (uv,))

    assert torch.autograd.gradcheck(lookup, (uv, *levels))


def test_levels_halve_start_at_zero_and_decay_most_where_finest():
    texture = NeuralTexture(32, 64, num_levels=4)
    assert [tuple(level.shape) for level in texture.levels] == [(1, 16, 32 >> k, 64 >> k) for k in range(4)]
    assert all(bool((level == 0).all()) for level in texture.levels)
    decay = texture.decay_weights()
    assert decay == sorted(decay, reverse=True)
    assert decay[-1] == 0.0
    assert decay[0] == 1.0


def test_levels_fade_where_their_texels_are_smaller_than_a_pixel():
    footprint = torch.tensor([0.0, 1.5, 2.25, 3.0, 50.0], dtype=torch.float64) / 20
    # measured 1e-16
    torch.testing.assert_close(fade(footprint, 20), torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0]).double(), atol=1e-9, rtol=0)
    texture = random_texture(12, 20, channels=3, num_levels=3)
    detail = torch.randn(1, 3, 6, 4, dtype=torch.float64)
    sizes = fading_sizes((*texture.levels, detail), 3)
    assert sizes == (20, 10, 0, 6)  # the coarsest of the pyramid stays at any distance
    assert (fade(footprint, 0) == 1).all()


def test_a_faded_lookup_is_the_weighted_sum_of_bands():
    torch.manual_seed(3)
    texture = random_texture(12, 20, channels=3, num_levels=3)
    uv = torch.rand(1, 4, 6, 2, dtype=torch.float64)
    footprint = torch.rand(1, 4, 6, dtype=torch.float64) * 0.3
    values, expected = texture(uv, (), footprint), 0.0
    for band, size in zip(texture.bands(), (20, 10, 0), strict=True):
        alone = NeuralTexture(*band.shape[2:], channels=3, num_levels=1).double()
        alone.levels[0].data.copy_(band)
        expected = expected + alone(uv) * fade(footprint, size)[:, None]
    # measured 9e-16
    torch.testing.assert_close(values, expected, atol=1e-12, rtol=0)
    assert (values - texture(uv)).abs().max() > 0.5


def test_bands_hold_the_same_texture_and_no_mean():
    """Wherever the mean was learned, from afar it is seen whole."""
    torch.manual_seed(4)
    texture = random_texture(16, 24, channels=3, num_levels=2)
    with torch.no_grad():
        texture.levels[0].add_(0.7)
    bands = texture.bands()
    assert [band.shape for band in bands] == [level.shape for level in texture.levels]
    means = torch.stack([band.mean(dim=(2, 3)) for band in bands[:-1]])
    assert means.abs().max() < 0.02  # measured 4e-3, from the border; 0.7 in the levels
    middles = (torch.stack(torch.meshgrid(torch.arange(24), torch.arange(16), indexing="xy"), -1) + 0.5).double()
    uv = (middles / torch.tensor([24, 16]))[None]
    alone = NeuralTexture(16, 24, channels=3, num_levels=2).double()
    for level, band in zip(alone.levels, bands, strict=True):
        level.data.copy_(band)
    # measured 9e-16
    torch.testing.assert_close(alone(uv), texture(uv), atol=1e-12, rtol=0)


def test_kept_bands_are_those_made_anew():
    texture = random_texture(8, 8, channels=2, num_levels=2)
    expected = texture.bands()
    texture.keep_bands()
    for kept, band in zip(texture.bands(), expected, strict=True):
        assert torch.equal(kept, band)
        assert not kept.requires_grad
    assert texture.bands()[0] is texture.bands()[0]
    assert texture.float().bands()[0].dtype == torch.float32  # moved or cast, they are made anew


def test_gradients_of_a_faded_lookup_reach_uv_and_each_level_by_its_band():
    torch.manual_seed(5)
    texture = random_texture(8, 12, channels=3, num_levels=3)
    uv = (torch.rand(1, 3, 4, 2, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    footprint = torch.rand(1, 3, 4, dtype=torch.float64) * 0.4
    bands = [band.detach().clone().requires_grad_() for band in texture.bands()]
    texture(uv, (), footprint).sin().sum().backward()

    def lookup(uv, *values):
        kept = NeuralTexture(8, 12, channels=3, num_levels=3)
        kept._kept_bands = values
        return kept(uv, (), footprint)

    assert torch.autograd.gradcheck(lookup, (uv, *bands))
    lookup(uv.detach(), *bands).sin().sum().backward()
    for level, band in zip(texture.levels, bands, strict=True):
        # measured 2e-16
        torch.testing.assert_close(level.grad, band.grad, atol=1e-12, rtol=0)


def test_the_environment_has_no_seam():
    """Steps of a hundredth of a texel change little wherever they are taken, across every fold of the octahedron."""
    torch.manual_seed(2)
    environment = EnvironmentTexture(16, channels=4, num_levels=3).double()
    for level in environment.levels:
        torch.nn.init.normal_(level)
    angle = torch.arange(20000, dtype=torch.float64) * (2 * math.pi / 20000)
    for axis in ([0.0, 0.0, 1.0], [0.3, 0.1, 1.0], [1.0, 0.2, -0.1], [0.5, 1.0, 0.3]):
        normal = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
        first = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.tensor([0.1, 1.0, 2.0]).double()), dim=0)
        second = torch.linalg.cross(normal, first)
        circle = angle.cos()[:, None] * first + angle.sin()[:, None] * second
        # Below the middle, where the folds are, and above it.
        values = environment((circle - 0.4 * normal)[None, None])[0, :, 0]
        step = (values - values.roll(1, dims=1)).abs().max()
        assert step < 0.05  # measured 0.02; 3 where the border is repeated instead


@pytest.mark.parametrize("sizes", [{"height": 0}, {"num_levels": 5}, {"channels": 0}])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(ValueError, match="texture: expected"):
        NeuralTexture(**{"height": 8, "width": 16, "channels": 4, "num_levels": 2, **sizes})


@settings(max_examples=60, deadline=None)
@given(st.floats(-1, 1), st.floats(-math.pi, math.pi))
def test_directions_fill_the_square_and_come_back(z, azimuth):
    radius = math.sqrt(max(1 - z * z, 0))
    direction = torch.tensor([radius * math.cos(azimuth), radius * math.sin(azimuth), z], dtype=torch.float64)
    square = direction_to_square(direction)
    assert (square >= 0).all()
    assert (square <= 1).all()
    x, y = (2 * square - 1).tolist()
    height = 1 - abs(x) - abs(y)
    if height < 0:
        x, y = math.copysign(1 - abs(y), x), math.copysign(1 - abs(x), y)
    back = torch.nn.functional.normalize(torch.tensor([x, y, height], dtype=torch.float64), dim=0)
    if min(abs(direction[0]), abs(direction[1])) > 1e-9:  # on the folds two points of the square are one direction
        # measured 3e-16
        torch.testing.assert_close(back, direction, atol=1e-9, rtol=0)


def test_a_single_texel_is_rough_and_a_plain_sky_is_not():
    sky = EnvironmentTexture(8, channels=1, num_levels=1)
    with torch.no_grad():
        sky.levels[0].fill_(0.3)
    assert sky.roughness() < 1e-12
    with torch.no_grad():
        sky.levels[0][0, 0, 0, 2] += 1.0
    # On the outline, too, a texel has eight texels around it, three of them across the fold: 8/9 of a step for itself,
    # 1/9 for each of them.
    rough = sky.roughness()
    rough.backward()
    assert 64 * float(rough.detach()) == pytest.approx((8 / 9) ** 2 + 8 / 81, abs=1e-6)
    assert sky.levels[0].grad is not None
    assert sky.levels[0].grad[0, 0, 0, 2] == sky.levels[0].grad.max()
