"""Texture pyramid, harmonics, environment and mirror lookup as one Triton kernel each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuraltex.kernels import features as kernels

VALUES_A_PROGRAM = 2048
# Sums of fixed-point gradients stay below 2^63 for 2^24 terms of at most the largest gradient.
FIXED_POINT_BITS = 37
# Texels of one level that gradients are spread over: neighbouring pixels look at the same few texels of a small one,
# and additions to one place wait for each other.
SPREAD_TEXELS, MOST_COPIES = 1 << 16, 32


@dataclass(frozen=True)
class Pyramids:
    """The texels that a pixel's features come from.

    Args:
        texture: levels `[1, C, H, W]` on the unit square.
        fading: of each of them, the texels along it where it fades by pixels' footprints, 0 where it does not.
        sky: levels `[1, C, S, S]` on the octahedron, looked up where no surface is seen; empty for none.
        mirror: levels `[1, M, S, S]` on the octahedron, looked up in mirror directions; empty for none, and then no
            directional features either.
        room: features to leave 0 behind directional ones, for others to fill.
    """

    texture: tuple[Tensor, ...]
    fading: tuple[int, ...]
    sky: tuple[Tensor, ...]
    mirror: tuple[Tensor, ...]
    room: int = 0

    @property
    def all(self) -> tuple[Tensor, ...]:
        """Every level, in one row."""
        return *self.texture, *self.sky, *self.mirror

    def split(self, levels: Sequence[Tensor]) -> Pyramids:
        """Others in the place of the levels of `all`."""
        first, second = len(self.texture), len(self.texture) + len(self.sky)
        parts = (tuple(levels[:first]), self.fading, tuple(levels[first:second]), tuple(levels[second:]))
        return Pyramids(*parts, self.room)

    @property
    def num_features(self) -> int:
        """Features a pixel; zeros after directional ones fill a multiple of 8, the rows that matrix units read."""
        return -(-(self.used_features + self.room) // 8) * 8 if self.mirror else self.used_features

    @property
    def used_features(self) -> int:
        """Those of them that are filled."""
        channels = self.texture[0].shape[1]
        return channels + 18 + self.mirror[0].shape[1] + 1 if self.mirror else channels

    def settings(self, *, near: bool) -> dict[str, int | bool]:
        """The kernels' compile-time arguments.

        Args:
            near: whether `mirror` is looked up where mirror rays meet a sphere around the scene, not by direction.
        """
        padded = triton.next_power_of_2(self.texture[0].shape[1])
        directed = triton.next_power_of_2(max(self.num_features - self.texture[0].shape[1], 1))
        return {
            "NUM_LEVELS": len(self.texture),
            "SKY_LEVELS": len(self.sky),
            "MIRROR_LEVELS": len(self.mirror),
            "CHANNELS": padded,
            "DIRECTIONAL": bool(self.mirror),
            "NEAR": near,
            "DIRECTED": directed,
            "BLOCK": max(VALUES_A_PROGRAM // max(padded, directed), 1),
        }

    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Heights and widths of the texture's levels, sides of the sky's and of the mirror's."""
        return (
            tuple(level.shape[2] for level in self.texture),
            tuple(level.shape[3] for level in self.texture),
            # Never read where there are no levels, but a kernel's tuple cannot be empty.
            tuple(level.shape[2] for level in self.sky) or (1,),
            tuple(level.shape[2] for level in self.mirror) or (1,),
        )


def _rows(levels: tuple[Tensor, ...], stand_in: Tensor) -> tuple[Tensor, ...]:
    """Levels as `[H, W, C]`: no copy where the texels lie channels-last."""
    return tuple(level.detach()[0].permute(1, 2, 0).contiguous() for level in levels) or (stand_in,)


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        uv: Tensor,
        footprint: Tensor,
        dirs: Tensor,
        normals: Tensor,
        places: Tensor | None,
        mask: Tensor,
        like: Pyramids,
        exact: bool,
        *levels: Tensor,
    ) -> Tensor:
        pyramids = like.split(levels)
        inside = normals if places is None else places  # a stand-in that is not read
        pixels = tuple(buffer.contiguous() for buffer in (uv, footprint, dirs, normals, inside, mask))
        rows = [_rows(part, uv) for part in (pyramids.texture, pyramids.sky, pyramids.mirror)]
        heights, widths, sky_sizes, mirror_sizes = pyramids.sizes()
        features = uv.new_empty(*mask.shape, pyramids.num_features)
        settings = pyramids.settings(near=places is not None)
        channels = pyramids.texture[0].shape[1]
        mirror_channels = pyramids.mirror[0].shape[1] if pyramids.mirror else 0
        with torch.cuda.device_of(uv):
            kernels.features_kernel[(-(-mask.numel() // settings["BLOCK"]),)](
                *pixels, rows[0], heights, widths, like.fading, rows[1], sky_sizes, rows[2], mirror_sizes,
                features, mask.numel(), channels, mirror_channels, pyramids.num_features, **settings,
            )  # fmt: skip
        ctx.save_for_backward(*pixels, *levels)
        ctx.like, ctx.near, ctx.exact = like, places is not None, exact
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pixels, levels = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
        pyramids = ctx.like.split(levels)
        grad = grad.contiguous()
        needs = ctx.needs_input_grad
        grad_uv, grad_dirs, grad_normals, grad_places = None, None, None, None
        if needs[0] or any(needs[2:5]):
            grad_uv, grad_dirs, grad_normals, grad_places = _inputs_backward(pixels, pyramids, grad, near=ctx.near)
        texels: tuple[Tensor | None, ...] = (None,) * len(levels)
        if any(needs[8:]):
            texels = _texels_backward(pixels, pyramids, grad, near=ctx.near, exact=ctx.exact)
        return grad_uv, None, grad_dirs, grad_normals, grad_places, None, None, None, *texels


def _inputs_backward(
    pixels: tuple[Tensor, ...], pyramids: Pyramids, grad: Tensor, *, near: bool
) -> tuple[Tensor | None, ...]:
    uv, _, dirs, normals, places, mask = pixels
    rows = [_rows(part, uv) for part in (pyramids.texture, pyramids.sky, pyramids.mirror)]
    heights, widths, sky_sizes, mirror_sizes = pyramids.sizes()
    settings = pyramids.settings(near=near)
    mirror_channels = pyramids.mirror[0].shape[1] if pyramids.mirror else 0
    grads = torch.empty_like(uv), torch.empty_like(dirs), torch.zeros_like(normals)
    grad_places = torch.zeros_like(places) if near else None
    with torch.cuda.device_of(uv):
        kernels.inputs_backward_kernel[(-(-mask.numel() // settings["BLOCK"]),)](
            *pixels, rows[0], heights, widths, pyramids.fading, rows[1], sky_sizes, rows[2], mirror_sizes,
            grad, *grads, uv if grad_places is None else grad_places,
            mask.numel(), pyramids.texture[0].shape[1], mirror_channels, pyramids.num_features,
            **settings,
        )  # fmt: skip
    return *grads, grad_places


def _texels_backward(
    pixels: tuple[Tensor, ...], pyramids: Pyramids, grad: Tensor, *, near: bool, exact: bool
) -> tuple[Tensor, ...]:
    uv, mask = pixels[0], pixels[-1]
    dtype = torch.int64 if exact else torch.float32
    copies = [min(max(SPREAD_TEXELS // level[0, 0].numel(), 1), MOST_COPIES) for level in pyramids.all]
    sums = pyramids.split(
        [
            torch.zeros(count, level.shape[2], level.shape[3], level.shape[1], dtype=dtype, device=uv.device)
            for count, level in zip(copies, pyramids.all, strict=True)
        ]
    )
    first, second = len(pyramids.texture), len(pyramids.texture) + len(pyramids.sky)
    scale = uv.new_ones(1)
    if exact:
        scale = torch.exp2(FIXED_POINT_BITS - torch.log2(grad.abs().amax().clamp(min=1e-30)).ceil()).reshape(1)
    heights, widths, sky_sizes, mirror_sizes = pyramids.sizes()
    settings = pyramids.settings(near=near)
    mirror_channels = pyramids.mirror[0].shape[1] if pyramids.mirror else 0
    with torch.cuda.device_of(uv):
        kernels.texels_backward_kernel[(-(-mask.numel() // settings["BLOCK"]),)](
            *pixels, heights, widths, pyramids.fading, sky_sizes, mirror_sizes,
            grad, sums.texture, tuple(copies[:first]), sums.sky or (uv,), tuple(copies[first:second]) or (1,),
            sums.mirror or (uv,), tuple(copies[second:]) or (1,), scale,
            mask.numel(), pyramids.texture[0].shape[1], mirror_channels, pyramids.num_features,
            EXACT=exact, **settings,
        )  # fmt: skip
    grads = []
    for level, total in zip(pyramids.all, sums.all, strict=True):
        total = total.sum(dim=0) if len(total) > 1 else total[0]
        if exact:
            total = (total.double() / scale.double()).float()
        grads.append(total.permute(2, 0, 1)[None].to(level.dtype))
    return tuple(grads)


def surface_features(
    uv: Float[Tensor, "B H W 2"],
    footprint: Float[Tensor, "B H W"],
    dirs: Float[Tensor, "B H W 3"],
    normals: Float[Tensor, "B H W 3"],
    mask: Tensor,
    pyramids: Pyramids,
    places: Float[Tensor, "B H W 3"] | None = None,
    *,
    deterministic: bool = False,
) -> Float[Tensor, "B H W N"]:
    """Features of every pixel, channels last.

    Args:
        uv: `[B, H, W, 2]`, v up.
        footprint: `[B, H, W]` extent of each pixel in texture coordinates.
        dirs: `[B, H, W, 3]` unit, world, camera to surface or background.
        normals: `[B, H, W, 3]` unit, world.
        mask: `[B, H, W]` true where a surface is seen.
        pyramids: float32 or bfloat16 levels of any sizes and channels.
        places: `[B, H, W, 3]` from `places_in_sphere`; None to look the mirror up by direction alone.
        deterministic: add texel gradients up in fixed point, the same at every run whatever the order; slower.

    Returns:
        `[B, H, W, N]`: the texture's (or the sky's) channels, those from 3 to 11 multiplied by harmonics of the view
        direction on the surface; with a mirror pyramid also 9 harmonics of the view direction, 9 of the mirror
        direction, the mirror's channels, 1 where a surface is seen, and zeros up to a multiple of 8.

    Differentiable in: uv, dirs, normals, places, the texels.
    """
    return _Features.apply(uv, footprint, dirs, normals, places, mask, pyramids, deterministic, *pyramids.all)
