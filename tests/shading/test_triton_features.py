"""The feature kernel against textures, harmonics and mirror lookup in plain PyTorch: values and every gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from neuraltex.shading import EnvironmentTexture, NeuralTexture, sh_basis

pytest.importorskip("triton", reason="needs Triton")
from neuraltex.shading.parallax import met_on_sphere
from neuraltex.shading.texture import fading_sizes
from neuraltex.shading.triton_features import Pyramids, surface_features

# The interpreter computes with numpy, which warns where a GPU quietly yields what is not a number.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _inputs(shape=(3, 7, 9)):
    generator = torch.Generator().manual_seed(5)
    uv = torch.rand(*shape, 2, generator=generator) * 1.2 - 0.1  # some beyond the border
    dirs, normals = (normalize(torch.randn(*shape, 3, generator=generator), dim=-1) for _ in range(2))
    mask = torch.rand(shape, generator=generator) < 0.7
    # From pixels that see every level whole to such that see the coarsest alone.
    footprint = torch.rand(shape, generator=generator) * 0.4
    return [t.to(DEVICE) for t in (uv, footprint, dirs, normals, mask)]


def _textures(channels: int, num_levels: int, *, sky: bool, mirror: bool):
    torch.manual_seed(11)
    textures = [NeuralTexture(16, 24, channels=channels, num_levels=num_levels)]
    textures.append(EnvironmentTexture(8, channels=channels, num_levels=2) if sky else None)
    textures.append(EnvironmentTexture(8, channels=5, num_levels=3) if mirror else None)
    for texture in textures:
        for level in texture.levels if texture is not None else []:
            torch.nn.init.normal_(level)
    return [texture.to(DEVICE) if texture is not None else None for texture in textures]


def _places(shape):
    """Places in the unit sphere, some so near to it that they are held back."""
    generator = torch.Generator().manual_seed(6)
    away = torch.rand(*shape, 1, generator=generator) * 1.2
    return (normalize(torch.randn(*shape, 3, generator=generator), dim=-1) * away).to(DEVICE)


def ref_features(uv, footprint, dirs, normals, mask, texture, sky, mirror, places=None):
    """The same features, one thing after the other."""
    texels, basis = texture(uv, (), footprint), sh_basis(dirs).permute(0, 3, 1, 2)
    surface = torch.cat([texels[:, :3], texels[:, 3:12] * basis, texels[:, 12:]], dim=1)
    behind = sky(dirs) if sky is not None else torch.zeros_like(surface)
    features = torch.where(mask[:, None], surface, behind)
    if mirror is not None:
        mirrored = dirs - 2 * (dirs * normals).sum(-1, keepdim=True) * normals
        met = mirrored if places is None else met_on_sphere(places, mirrored)
        more = [basis, sh_basis(mirrored).permute(0, 3, 1, 2), mirror(met), torch.ones_like(basis[:, :1])]
        features = torch.cat([features, torch.cat(more, dim=1) * mask[:, None]], dim=1)
    return features.permute(0, 2, 3, 1)


def _kernel_features(uv, footprint, dirs, normals, mask, texture, sky, mirror, places=None, **options):
    far = [tuple(part.levels) if part is not None else () for part in (sky, mirror)]
    bands = texture.bands()
    pyramids = Pyramids(bands, fading_sizes(bands, len(bands)), *far)
    return surface_features(uv, footprint, dirs, normals, mask, pyramids, places, **options)


@pytest.mark.parametrize(
    ("channels", "num_levels", "sky", "mirror", "near"),
    [
        (16, 4, True, True, False),
        (16, 4, True, True, True),
        (16, 1, False, False, False),
        (13, 2, True, True, True),
    ],
)
def test_values_and_gradients_equal_those_of_plain_torch(channels, num_levels, sky, mirror, near):
    results = []
    for function in (ref_features, _kernel_features):
        uv, footprint, dirs, normals, mask = _inputs()
        places = _places(mask.shape) if near else None
        leaves = [t.requires_grad_() for t in (uv, dirs, normals, places) if t is not None]
        textures = _textures(channels, num_levels, sky=sky, mirror=mirror)
        features = function(uv, footprint, dirs, normals, mask, *textures, places)
        num_features = channels + (2 * 9 + 5 + 1 if mirror else 0)
        assert not features[..., num_features:].any()
        features = features[..., :num_features]
        weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(7)).to(DEVICE)
        (features * weights).sum().backward()
        levels = [level.grad for texture in textures if texture is not None for level in texture.levels]
        results.append([features.detach(), *(leaf.grad for leaf in leaves), *levels])
    for expected, found in zip(*results, strict=True):
        if expected is None:
            assert not found.any()
            continue
        # measured 2e-6 of the largest entry
        torch.testing.assert_close(found, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


def test_texels_may_be_bfloat16():
    inputs = _inputs()
    textures = _textures(16, 3, sky=True, mirror=True)
    rounded = _textures(16, 3, sky=True, mirror=True)
    for texture in rounded:
        texture.to(torch.bfloat16)
    found = _kernel_features(*inputs, *rounded)
    for texture in textures:
        for level in texture.levels:
            level.data = level.data.bfloat16().float()
    # The same texels: bfloat16 is how they are stored, not how they are summed. Measured 2e-6.
    torch.testing.assert_close(found, _kernel_features(*inputs, *textures), atol=2e-5, rtol=0)
    found.square().sum().backward()
    assert rounded[0].levels[0].grad.dtype == torch.bfloat16


def test_fixed_point_gradients_are_those_of_floats_and_the_same_in_any_order():
    grads = []
    for order, exact in ((slice(None), False), (slice(None), True), (None, True)):
        uv, footprint, dirs, normals, mask = _inputs((1, 8, 8))
        uv = uv * 0.05 + 0.4  # many pixels a texel
        if order is None:  # the same pixels from last to first
            uv, footprint, dirs, normals, mask = (t.flip(1, 2) for t in (uv, footprint, dirs, normals, mask))
        textures = _textures(16, 3, sky=True, mirror=True)
        features = _kernel_features(uv, footprint, dirs, normals, mask, *textures, deterministic=exact)
        weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(7)).to(DEVICE)
        (features * (weights if order is not None else weights.flip(1, 2))).sum().backward()
        grads.append([level.grad for texture in textures for level in texture.levels])
    for expected, exact, reordered in zip(*grads, strict=True):
        assert (exact == reordered).all()
        # measured 5e-7
        torch.testing.assert_close(exact, expected, atol=1e-5, rtol=1e-5)
