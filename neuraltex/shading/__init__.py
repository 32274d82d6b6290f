"""Shading: surface buffers come in, colour goes out.

A neural texture is looked up at each pixel's UV, modulated by spherical harmonics of its view direction, and turned
into RGB by an image network; where no surface is seen, an environment texture is looked up by direction.
"""

from neuraltex.shading.decoders import PaperUNet, UNet, make_decoder
from neuraltex.shading.shader import Shader, ShadingConfig
from neuraltex.shading.spherical_harmonics import sh_basis
from neuraltex.shading.surroundings import coloured, look_around
from neuraltex.shading.texture import EnvironmentTexture, NeuralTexture, direction_to_square

__all__ = [
    "EnvironmentTexture",
    "NeuralTexture",
    "PaperUNet",
    "Shader",
    "ShadingConfig",
    "UNet",
    "coloured",
    "direction_to_square",
    "look_around",
    "make_decoder",
    "sh_basis",
]
