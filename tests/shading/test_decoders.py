"""Decoders keep the size, any size; ours ties no pixel's brightness to what else is in view."""

from __future__ import annotations

import pytest
import torch

from neuraltex.shading import PaperUNet, UNet, make_decoder


@pytest.mark.parametrize("name", ["default", "paper"])
@pytest.mark.parametrize(("height", "width"), [(32, 64), (37, 51), (1, 9)])
def test_any_size_comes_back_with_gradients(name, height, width):
    torch.manual_seed(0)
    decoder = make_decoder(name, 5, 4, 3)
    features = torch.randn(2, 5, height, width, requires_grad=True)
    rgb = decoder(features, features[:, :3])
    assert rgb.shape == (2, 3, height, width)
    rgb.square().sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())


def test_paper_decoder_is_as_published():
    decoder = PaperUNet(16)
    widths = [block[0].out_channels for block in decoder.down]
    assert widths == [64, 128, 256, 512, 512]
    assert all(block[0].stride == (2, 2) for block in decoder.down)
    assert sum(isinstance(m, torch.nn.InstanceNorm2d) for m in decoder.modules()) == 9
    assert [block[0].out_channels for block in decoder.up] == [512, 256, 128, 64]


def test_far_pixels_reach_ours_nowhere_and_the_paper_s_everywhere():
    """What normalisation over the image does: a bright spot in one corner changes the other."""
    torch.manual_seed(1)
    features = torch.randn(1, 4, 256, 256)
    spotted = features.clone()
    spotted[:, :, :8, :8] += 30
    changes = {}
    for name, decoder in (("ours", UNet(4, width=4, num_levels=3)), ("paper", PaperUNet(4, width=8))):
        with torch.no_grad():
            changes[name] = float(
                (decoder(spotted, spotted[:, :3]) - decoder(features, features[:, :3]))[:, :, 200:, 200:].abs().max()
            )
    assert changes["ours"] == 0.0
    assert changes["paper"] > 1e-3


def test_unknown_decoder_is_refused():
    with pytest.raises(ValueError, match="decoder: expected one of default, paper"):
        make_decoder("transformer", 16, 8, 3)
