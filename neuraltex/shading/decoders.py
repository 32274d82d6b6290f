"""Image networks that turn a feature image into RGB: the 2019 U-Net, and ours."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

DECODERS = ("default", "paper")


def make_decoder(name: str, in_channels: int, width: int, num_levels: int) -> nn.Module:
    """A decoder by name.

    Args:
        name: "default" or "paper".
        in_channels: features a pixel.
        width: channels at the finest level of "default".
        num_levels: resolutions of "default"; "paper" is as it was published, whatever these say.

    Raises:
        ValueError: an unknown name.
    """
    if name == "default":
        return UNet(in_channels, width=width, num_levels=num_levels)
    if name == "paper":
        return PaperUNet(in_channels)
    raise ValueError(f"decoder: expected one of {', '.join(DECODERS)}, got {name!r}")


class WideConv2d(nn.Conv2d):
    """A convolution that takes images with more channels than it has weights for; the others must be 0.

    Rows of a multiple of eight channels are what matrix units read; the model need not know.
    """

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """As the convolution of the first channels. Differentiable in: image."""
        weight, more = self.weight, image.shape[1] - self.in_channels
        if more > 0:
            weight = pad(weight, (0, 0, 0, 0, 0, more))
        return conv2d(image, weight, self.bias, self.stride, self.padding)


class UNet(nn.Module):
    """Our decoder: convolutions at full resolution, no normalisation, bilinear upsampling.

    Normalisation over the image ties every pixel's brightness to what else is in view, and strided first layers throw
    away the sub-pixel detail that the texture holds; both cost about 4 dB on views not trained on. With a fourth
    resolution the network sees so much at once that it recognises photographs: 1 dB less on other views.

    Args:
        in_channels: features a pixel.
        width: channels at the finest level; doubled at each of the following.
        num_levels: resolutions, each half the one before.
    """

    def __init__(self, in_channels: int, *, width: int = 32, num_levels: int = 3) -> None:
        super().__init__()
        widths = [width << level for level in range(num_levels)]
        self.stride = 1 << (num_levels - 1)
        self.down = nn.ModuleList(
            _conv_pair(before, after) for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        # Narrowed before upsampling: the same function as after it, at a quarter of the cost.
        self.narrow = nn.ModuleList(nn.Conv2d(wide, wide // 2, 1) for wide in widths[1:])
        self.up = nn.ModuleList(_conv_pair(2 * narrow, narrow) for narrow in widths[:-1])
        self.to_rgb = nn.Conv2d(width, 3, 1)

    def forward(self, features: Float[Tensor, "B C H W"], colour: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """`[B, C, H, W]` features to `[B, 3, H, W]` sRGB-encoded colour, not clamped.

        Channels beyond those that the network was made for must be 0. The network adds what `colour` lacks: training
        then starts from a textured mesh.

        Differentiable in: features, colour.
        """
        image = _pad_to(features, self.stride).to(self.to_rgb.weight.dtype)
        skips = []
        for level, block in enumerate(self.down):
            image = block(image if level == 0 else avg_pool2d(image, 2))
            skips.append(image)
        for level in range(len(self.up) - 1, -1, -1):
            image = interpolate(self.narrow[level](image), scale_factor=2, mode="bilinear", align_corners=False)
            image = self.up[level](torch.cat([image, skips[level]], dim=1))
        # The sum in full precision, whatever the network computed in.
        return colour + self.to_rgb(image).to(colour.dtype)[..., : features.shape[2], : features.shape[3]]


class PaperUNet(nn.Module):
    """The 2019 renderer: five stride-2 levels, instance normalisation except at the output, skip connections.

    Args:
        in_channels: features a pixel.
        width: channels of the first level, 64 as published; the levels have 1, 2, 4, 8 and 8 times as many.

    Source: J. Thies, M. Zollhöfer, M. Nießner, "Deferred Neural Rendering", SIGGRAPH 2019, section 4.2, after
    P. Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, appendix 6.1.1.
    """

    stride = 32

    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2))
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        inputs = [widths[4], *(2 * wide for wide in widths[3::-1])]
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1), nn.InstanceNorm2d(after), nn.ReLU())
            for before, after in zip(inputs[:-1], widths[3::-1], strict=True)
        )
        self.to_rgb = nn.ConvTranspose2d(inputs[-1], 3, 4, 2, 1)

    def forward(self, features: Float[Tensor, "B C H W"], colour: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """`[B, C, H, W]` features to `[B, 3, H, W]` sRGB-encoded colour within (0, 1); `colour` is not used.

        Differentiable in: features.
        """
        # A single texel has no variance to normalise by: the image is padded to two texels at the coarsest level.
        image = _pad_to(features, self.stride, least=2 * self.stride).to(self.to_rgb.weight.dtype)
        skips = []
        for block in self.down:
            image = block(image)
            skips.append(image)
        for block, skip in zip(self.up, skips[3::-1], strict=True):
            image = torch.cat([block(image), skip], dim=1)
        image = 0.5 + 0.5 * torch.tanh(self.to_rgb(image).to(features.dtype))
        return image[..., : features.shape[2], : features.shape[3]]


def _conv_pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        WideConv2d(before, after, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.SiLU(),
    )


def _pad_to(features: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Repeat the last row and column until both sides are multiples of the network's stride."""
    height, width = features.shape[2:]
    rows = max(-(-height // multiple) * multiple, least) - height
    columns = max(-(-width // multiple) * multiple, least) - width
    return pad(features, (0, columns, 0, rows), mode="replicate") if rows or columns else features
