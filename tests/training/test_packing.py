"""Weights on disk: an eighth to a half of the bytes, nearly the same values."""

from __future__ import annotations

import torch

from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training.packing import SQUARE, pack, unpack


def num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def test_textures_come_back_within_half_a_step_of_their_square():
    torch.manual_seed(0)
    texels = torch.randn(1, 16, 90, 70)
    texels[:, :, :SQUARE, :SQUARE] *= 100.0  # loud here, and no coarser elsewhere for it
    texels[:, :, -SQUARE:] = 0.0
    back = unpack(pack({"texture.levels.0": texels}))["texture.levels.0"]
    assert back.shape == texels.shape
    error = (back - texels).abs()
    assert error[:, :, :SQUARE, :SQUARE].max() <= 100 * 5 / 127 / 2
    # The loudest of 256 normal values: 3 to 5; float16 scales add a thousandth of the value.
    assert error[:, :, SQUARE:, SQUARE:].max() < 5 / 127 / 2 + 5e-3
    assert not error[:, :, -(90 % SQUARE) :].any(), "what no photograph saw stays 0"


def test_a_shader_comes_back_and_takes_a_quarter():
    torch.manual_seed(0)
    shader = Shader(ShadingConfig(texture_size=256, decoder_width=8, environment_size=32, interreflections=True))
    with torch.no_grad():
        for parameter in shader.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    tensors = dict(shader.named_parameters())
    packed = pack(tensors)
    # 4 bytes a value become 1 in the textures and 2 elsewhere
    assert num_bytes(packed) < 0.3 * num_bytes(tensors)
    back = unpack(packed)
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        # A step is 1/127 of the loudest of 256: 0.45 of normal values of 0.1, measured 2e-3; float16 1e-3 of the value
        torch.testing.assert_close(back[name], tensor.detach(), atol=4e-3, rtol=1e-3)


def test_what_half_precision_cannot_hold_stays_whole():
    tensors = {"large": torch.tensor([1e6, 1.0]), "small": torch.tensor([0.25, -3.0])}
    packed = pack(tensors)
    assert packed["large"].dtype == torch.float32
    assert packed["small"].dtype == torch.float16
    back = unpack(packed)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_files_of_before_are_read_as_they_are():
    tensors = {"texture.levels.0": torch.randn(1, 16, 64, 64)}
    assert torch.equal(unpack(tensors)["texture.levels.0"], tensors["texture.levels.0"])
