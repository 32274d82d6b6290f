"""FLIP: the difference that is seen when one flips between two pictures on a screen.

Source: P. Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", HPG 2020, sections 4.1 to 4.4; for
pictures of low dynamic range.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from neuraltex.colours import srgb_to_linear

# A screen of 0.7 m and 3840 pixels, seen from 0.7 m.
PIXELS_PER_DEGREE = 0.7 * 3840 / 0.7 * math.pi / 180
# Contrast sensitivity of the achromatic, red-green and blue-yellow channel: (a, b) of sums of Gaussians, table 1.
SENSITIVITY = (((1.0, 0.0047),), ((1.0, 0.0053),), ((34.1, 0.04), (13.5, 0.025)))
FEATURE_WIDTH_DEG = 0.082
COLOUR_EXPONENT, FEATURE_EXPONENT = 0.7, 0.5
# Colour differences below the first share of the largest fill the range up to the second.
KNEE, KNEE_HEIGHT = 0.4, 0.95
LINEAR_TO_XYZ = (
    (10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794),
    (2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897),
    (1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382),
)


@torch.no_grad()
def flip(
    rgb: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"], mask: Bool[Tensor, "B H W"] | None = None
) -> float:
    """Mean difference over the pixels that count: 0 for equal pictures, 1 at most.

    Args:
        rgb: `[B, H, W, 3]` rendered, sRGB-encoded; clamped to [0, 1] first.
        target: `[B, H, W, 3]` photographed.
        mask: `[B, H, W]` pixels that count; all where left out. The others are made equal, so that they do not reach
            into those that do.

    Returns:
        The mean; nan where no pixel counts.
    """
    seen = torch.ones_like(rgb[..., 0], dtype=torch.bool) if mask is None else mask
    values = flip_map(rgb * seen[..., None], target * seen[..., None])[seen]
    return float(values.double().mean()) if values.numel() else float("nan")


def flip_map(rgb: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B H W"]:
    """The difference at each pixel, in [0, 1]; arguments as for `flip`."""
    opponent = [_to_opponent(srgb_to_linear(image.float().clamp(0, 1)).permute(0, 3, 1, 2)) for image in (rgb, target)]
    first, second = (_hunt_adjusted(_as_the_eye_filters(image)) for image in opponent)
    colour = _redistributed(_hyab(first, second))
    edges, points = zip(*(_features((image[:, :1] + 16) / 116) for image in opponent), strict=True)
    feature = torch.maximum((edges[0] - edges[1]).abs(), (points[0] - points[1]).abs())
    return colour ** (1 - (feature / math.sqrt(2)) ** FEATURE_EXPONENT)


def _to_opponent(linear: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Linear RGB to YCxCz, whose channels the eye filters separately."""
    x, y, z = _to_xyz(linear).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _from_opponent(opponent: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """YCxCz to linear RGB, clamped to what a screen shows."""
    y = (opponent[:, 0] + 16) / 116
    xyz = torch.stack([y + opponent[:, 1] / 500, y, y - opponent[:, 2] / 200], dim=1)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(_relative_xyz(opponent)), xyz).clamp(0, 1)


def _to_xyz(linear: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    return torch.einsum("ij,bjhw->bihw", _relative_xyz(linear), linear)


def _relative_xyz(like: Tensor) -> Float[Tensor, "3 3"]:
    """The matrix from linear RGB to XYZ, each in units of white's."""
    matrix = like.new_tensor(LINEAR_TO_XYZ)
    return matrix / matrix.sum(dim=1, keepdim=True)


def _as_the_eye_filters(opponent: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """What is left of a picture at the distance it is looked at from, as linear RGB."""
    widest = max(b for channel in SENSITIVITY for _, b in channel)
    radius = math.ceil(3 * math.sqrt(widest / (2 * math.pi**2)) * PIXELS_PER_DEGREE)
    steps = torch.arange(-radius, radius + 1, device=opponent.device) / PIXELS_PER_DEGREE
    filtered = []
    for channel, gaussians in zip(opponent.split(1, dim=1), SENSITIVITY, strict=True):
        total, sums = torch.zeros_like(channel), channel.new_zeros(())
        for a, b in gaussians:
            line = torch.exp(-(math.pi**2) * steps**2 / b)
            total = total + a * math.sqrt(math.pi / b) * _convolved(channel, line, line)
            sums += a * math.sqrt(math.pi / b) * line.sum() ** 2
        filtered.append(total / sums)
    return _from_opponent(torch.cat(filtered, dim=1))


def _hunt_adjusted(linear: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """CIE L*a*b* with colours that fade in the dark, as they do to the eye."""
    ratio = _to_xyz(linear)
    limit = 6 / 29
    x, y, z = torch.where(ratio > limit**3, ratio.clamp(min=0) ** (1 / 3), ratio / (3 * limit**2) + 4 / 29).unbind(1)
    lightness = 116 * y - 16
    return torch.stack([lightness, 5 * lightness * (x - y), 2 * lightness * (y - z)], dim=1)


def _hyab(first: Float[Tensor, "B 3 H W"], second: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
    """Distance that suits large differences: along lightness plus across colour."""
    apart = first - second
    return apart[:, 0].abs() + _length(apart[:, 1:])


def _redistributed(difference: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """Colour differences to [0, 1], the largest being that of green and blue."""
    green, blue = (
        _hunt_adjusted(difference.new_tensor(c).view(1, 3, 1, 1)) for c in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    )
    largest = _hyab(green, blue) ** COLOUR_EXPONENT
    knee, power = KNEE * largest, difference**COLOUR_EXPONENT
    above = KNEE_HEIGHT + (power - knee) / (largest - knee) * (1 - KNEE_HEIGHT)
    return torch.where(power < knee, KNEE_HEIGHT / knee * power, above)


def _features(luminance: Float[Tensor, "B 1 H W"]) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W"]]:
    """How strong an edge, and how strong a point or line, each pixel lies on."""
    deviation = 0.5 * FEATURE_WIDTH_DEG * PIXELS_PER_DEGREE
    radius = math.ceil(3 * deviation)
    steps = torch.arange(-radius, radius + 1, device=luminance.device, dtype=luminance.dtype)
    gaussian = torch.exp(-(steps**2) / (2 * deviation**2))
    smooth = gaussian / gaussian.sum()
    edge, point = -steps * gaussian, (steps**2 / deviation**2 - 1) * gaussian
    strengths = []
    for line in (edge, point):
        line = torch.where(line > 0, line / line.clamp(min=0).sum(), line / -line.clamp(max=0).sum())
        both = torch.cat([_convolved(luminance, line, smooth), _convolved(luminance, smooth, line)], dim=1)
        strengths.append(_length(both))
    return strengths[0], strengths[1]


def _length(vectors: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
    # On a CPU five times as fast as `norm` over few channels.
    return vectors.square().sum(dim=1).sqrt()


def _convolved(
    image: Float[Tensor, "B 1 H W"], across: Float[Tensor, "S"], down: Float[Tensor, "S"]
) -> Float[Tensor, "B 1 H W"]:
    """A separable filter, the border repeated."""
    radius = len(across) // 2
    padded = pad(image, (radius,) * 4, mode="replicate")
    return conv2d(conv2d(padded, across.view(1, 1, 1, -1)), down.view(1, 1, -1, 1))
