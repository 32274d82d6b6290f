"""Surface buffers to RGB: neural texture, spherical harmonics, environment, image network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tyro import conf
from tyro.conf import arg

from neuraltex.cameras.camera import Camera
from neuraltex.errors import SettingError
from neuraltex.raster.backends import pick_stages
from neuraltex.raster.gbuffer import GBuffer
from neuraltex.shading.decoders import make_decoder
from neuraltex.shading.detail import Detail
from neuraltex.shading.gloss import GLOSS, facing_of, glossed, mirrored
from neuraltex.shading.parallax import met_on_sphere, places_in_sphere
from neuraltex.shading.spherical_harmonics import sh_basis
from neuraltex.shading.surroundings import CHANNELS as AROUND_CHANNELS
from neuraltex.shading.texture import EnvironmentTexture, NeuralTexture, fading_sizes

# The channels that the paper multiplies by the nine functions of the view direction; the first three stay colour.
MODULATED = slice(3, 12)
# Where nobody decides, and there are no photographs to decide by.
TEXTURE_SIZE = 1024
ENVIRONMENT_LEVELS = 4
# What is mirrored is blurred by the surfaces' roughness and shared by all of them: few channels and texels hold it.
REFLECTION_CHANNELS, REFLECTION_LEVELS = 8, 3


@dataclass(frozen=True)
class ShadingConfig:
    """What is learned.

    Args:
        decoder: "default" is ours; "paper" is the renderer published in 2019, for comparison.
        decoder_width: channels of the finest level of "default"; "paper" has those it was published with.
        decoder_levels: resolutions of "default", each half the one before.
        texture_size: texels along each side of the finest level of the neural texture. None for as many as the
            photographs can fill, by their pixels on the mesh, 1024 at most.
        texture_levels: levels of the texture pyramid.
        texture_channels: features a texel, at least 12.
        environment: learn what is seen behind the mesh, by direction; without it the background is black. None for
            yes where the photographs have no masks.
        environment_size: texels along each side of the environment's finest level.
        reflection_size: texels along each side of what "default" learns to see in mirror directions.
        interreflections: see the rest of the scene in mirror directions: the colour of what is there, and how much of
            the view it blocks, for "default". None for yes where the mesh does not move. Textures then tell how much
            is mirrored, and the network only what is missing.
        fade_levels: leave levels of the texture out where their texels are smaller than a pixel, so that things seen
            from afar neither shimmer nor change. None for yes.
        detail: learn what shows in some states of a moving mesh only, by the numbers that its motion tells of each
            frame, such as expression coefficients. Where each state is seen in few frames it learns those frames.
        detail_size: texels along each side of that.
        detail_bases: textures that it is blended from.
        near_surroundings: learn how near the surroundings are that "default" sees in mirror directions, as the radius
            and the centre of a sphere, instead of leaving them infinitely far. None for yes.
        num_conditions: how many numbers the motion tells; found by itself.
        box: centre and diagonal of the scene; found by itself.

    Raises:
        SettingError: a size or number of levels that cannot be.
    """

    # On the command line simply --decoder, not --shading.decoder: it is the choice people compare.
    decoder: Annotated[Literal["default", "paper"], arg(prefix_name=False)] = "default"
    decoder_width: int = 32
    decoder_levels: int = 3
    texture_size: int | None = None
    texture_levels: int = 4
    texture_channels: int = 16
    environment: bool | None = None
    environment_size: int = 128
    reflection_size: int = 32
    interreflections: bool | None = None
    fade_levels: bool | None = None
    detail: bool = False
    detail_size: int = 128
    detail_bases: int = 8
    near_surroundings: bool | None = None
    num_conditions: Annotated[int, conf.Suppress] = 0
    box: Annotated[tuple[float, float, float, float] | None, conf.Suppress] = None

    def __post_init__(self) -> None:
        if self.box is not None and not self.box[3] > 0:
            raise SettingError(f"box: expected a diagonal above 0 behind the centre, got {self.box}")
        if self.texture_channels < MODULATED.stop:
            raise SettingError(f"texture_channels: expected {MODULATED.stop} or more, got {self.texture_channels}")
        for name, size, levels in (
            ("texture", self.texture_size or TEXTURE_SIZE, self.texture_levels),
            ("environment", self.environment_size, ENVIRONMENT_LEVELS),
            ("reflection", self.reflection_size, REFLECTION_LEVELS),
        ):
            if levels < 1 or size >> (levels - 1) < 1:
                raise SettingError(f"{name}_size: expected a size that can be halved {levels - 1} times, got {size}")
        if self.detail_size < 1 or self.detail_bases < 1:
            raise SettingError(
                f"detail: expected a size and a number of textures of 1 or more, got {self.detail_size}, "
                f"{self.detail_bases}"
            )
        if self.interreflections and (self.decoder != "default" or self.texture_channels < GLOSS.stop):
            raise SettingError(
                f'interreflections: expected the decoder "default" and {GLOSS.stop} texture_channels or more, got '
                f'"{self.decoder}" and {self.texture_channels}'
            )
        if self.decoder_width < 1 or self.decoder_levels < 1:
            raise SettingError(
                f"decoder: expected a width and levels of 1 or more, got {self.decoder_width}, {self.decoder_levels}"
            )


class Shader(nn.Module):
    """The learned half of the renderer.

    Args:
        config: sizes and choices.

    Raises:
        SettingError: a size that cannot be.
    """

    box: Float[Tensor, "4"]

    def __init__(self, config: ShadingConfig) -> None:
        super().__init__()
        self.config = config
        channels, size = config.texture_channels, config.texture_size or TEXTURE_SIZE
        self.texture = NeuralTexture(size, size, channels=channels, num_levels=config.texture_levels)
        self.environment = (
            EnvironmentTexture(config.environment_size, channels=channels, num_levels=ENVIRONMENT_LEVELS)
            if config.environment is not False
            else None
        )
        self.reflections = (
            EnvironmentTexture(config.reflection_size, channels=REFLECTION_CHANNELS, num_levels=REFLECTION_LEVELS)
            if config.decoder == "default"
            else None
        )
        if config.decoder == "default":  # which adds to the first three channels: it starts from mid-grey
            with torch.no_grad():
                for texture in (self.texture, self.environment):
                    if texture is not None:
                        texture.levels[-1][:, :3] += 0.5
        # Undecided is what runs were before there was the choice.
        self.interreflections = bool(config.interreflections)
        if self.interreflections and self.reflections is not None:
            with torch.no_grad():  # or neither what is mirrored nor how much would have a slope
                self.reflections.levels[-1][:, :3] += 0.5
        self.detail = (
            Detail(config.num_conditions, config.detail_size, channels=channels, num_bases=config.detail_bases)
            if config.detail and config.num_conditions
            else None
        )
        nears = config.near_surroundings and config.box is not None and self.reflections is not None
        self.sphere = nn.Parameter(torch.zeros(4)) if nears else None
        self.register_buffer("box", torch.tensor(config.box or (0.0, 0.0, 0.0, 1.0)), persistent=False)
        directional = REFLECTION_CHANNELS + 1 + (AROUND_CHANNELS if self.interreflections else 2 * 9)
        directional = directional if config.decoder == "default" else 0
        self.decoder = make_decoder(config.decoder, channels + directional, config.decoder_width, config.decoder_levels)

    def features(
        self,
        gbuffer: GBuffer,
        backend: str = "auto",
        condition: Float[Tensor, "E"] | None = None,
        around: Float[Tensor, "B H W 5"] | None = None,
        places: Float[Tensor, "B H W 3"] | None = None,
    ) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B 3 H W"]]:
        """The decoder's input.

        Args:
            gbuffer: surface buffers `[B, H, W, ...]`.
            backend: as in `pick_stages`.
            condition: `[E]` the state of the surface, the same in all views; needed where detail was learned.
            around: `[B, H, W, 5]` from `look_around`; needed where the shader has interreflections.
            places: `[B, H, W, 3]` from `places`; None where the surroundings are infinitely far.

        Returns:
            `[B, C, H, W]` features, on the fast path followed by zeros up to a multiple of 8; and the `[B, 3, H, W]`
            first channels before modulation, which training pulls towards colour.

        Raises:
            ValueError: detail was learned, and there is no condition; or interreflections, and nothing around.

        Differentiable in: gbuffer's uv, view_dirs, ray_dirs and normals, condition, the texels.
        """
        if self.interreflections and around is None:
            raise ValueError("around: expected what the surface mirrors, which interreflections need, got None")
        more = self._more_levels(condition)
        if pick_stages(backend, gbuffer.uv) == "triton":
            return self._fused_features(gbuffer, more, around, places)
        covered = gbuffer.mask[:, None]
        texels = self.texture(gbuffer.uv, more, gbuffer.footprint if self.config.fade_levels else None)
        view_dirs = gbuffer.view_dirs
        view_basis = sh_basis(view_dirs).permute(0, 3, 1, 2)
        before, modulated, after = texels[:, :3], texels[:, MODULATED], texels[:, MODULATED.stop :]
        surface = torch.cat([before, modulated * view_basis, after], dim=1)
        behind = torch.zeros_like(surface)
        if self.environment is not None and not bool(gbuffer.mask.all()):
            behind = self.environment(gbuffer.ray_dirs)
        features = torch.where(covered, surface, behind)
        colour = torch.where(covered, before, behind[:, :3])
        if self.reflections is not None:
            dirs, _ = mirrored(view_dirs, gbuffer.normals)
            met = dirs if places is None else met_on_sphere(places, dirs)
            # Highlights follow the mirror direction, not the view direction: harmonics of it, and a learned picture of
            # what is mirrored there, carry over to views that were never photographed.
            harmonics = [view_basis, sh_basis(dirs).permute(0, 3, 1, 2)]
            directional = torch.cat([*harmonics, self.reflections(met)], dim=1)
            features = torch.cat([features, directional * covered, covered.to(features.dtype)], dim=1)
        if around is not None:
            features = torch.cat([features, around.permute(0, 3, 1, 2)], dim=1)
        return features, colour

    def places(self, gbuffer: GBuffer, cameras: Camera) -> Float[Tensor, "B H W 3"] | None:
        """Where surfaces lie among the surroundings, as `features` asks for it.

        Args:
            gbuffer: surface buffers `[B, H, W, ...]`.
            cameras: a batch `[B]`, that the buffers were made with.

        Differentiable in: gbuffer's depth and ray_dirs, cameras' w2c, the sphere.
        """
        return None if self.sphere is None else places_in_sphere(gbuffer, cameras, self.box, self.sphere)

    def _more_levels(self, condition: Tensor | None) -> tuple[Tensor, ...]:
        if self.detail is None:
            return ()
        if condition is None:
            raise ValueError("condition: expected the state of the surface, which detail was learned for, got None")
        return (self.detail(condition),)

    def _fused_features(
        self, gbuffer: GBuffer, more: tuple[Tensor, ...], around: Tensor | None, places: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        from neuraltex.shading.triton_features import Pyramids, surface_features

        sky, mirror = (
            tuple(texture.levels) if texture is not None else () for texture in (self.environment, self.reflections)
        )
        room = 0 if around is None else AROUND_CHANNELS
        fades = bool(self.config.fade_levels)
        levels = (*(self.texture.bands() if fades else self.texture.levels), *more)
        fading = fading_sizes(levels, len(self.texture.levels)) if fades else (0,) * len(levels)
        pyramids = Pyramids(levels, fading, sky, mirror, room)
        buffers = (gbuffer.uv, gbuffer.footprint, gbuffer.ray_dirs, gbuffer.normals, gbuffer.mask)
        features = surface_features(*buffers, pyramids, places)
        if around is not None:
            first = pyramids.used_features
            features[..., first : first + room] = around
        features = features.permute(0, 3, 1, 2)
        return features, features[:, :3]

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is given of the features, and the colour that it adds to.

        With interreflections the mirror image is in the colour already, and the network is not given the directions:
        it would learn by heart what each photograph showed. 0.13 dB are won on views held out, and 18 channels.
        """
        if not self.interreflections:
            return features, features[:, :3]
        texels = self.config.texture_channels
        sizes = [texels, 9, 9, REFLECTION_CHANNELS, 1, AROUND_CHANNELS]
        texel, view, mirror, sky, covered, around = features[:, : sum(sizes)].split(sizes, dim=1)
        colour = glossed(texel[:, :3], texel[:, GLOSS], facing_of(view, mirror), sky[:, :3], around)
        seen = [texel, sky, covered, around]
        filling = -sum(part.shape[1] for part in seen) % 8  # rows that matrix units read
        seen.append(texel.new_zeros(len(texel), filling, *texel.shape[2:]))
        return torch.cat(seen, dim=1), torch.where(covered > 0.5, colour, texel[:, :3])

    def decode(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W 3"]:
        """Features to sRGB-encoded colour, not clamped; on CUDA the network computes in bfloat16.

        Differentiable in: features, the network's weights.
        """
        features = features.contiguous(memory_format=torch.channels_last)
        # Only the network: positions and directions lose their meaning at 8 bits of mantissa.
        narrow = features.is_cuda and features.dtype == torch.float32
        given, colour = self._split(features)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=narrow):
            rgb: Tensor = self.decoder(given, colour)
        return rgb.to(features.dtype).permute(0, 2, 3, 1)
