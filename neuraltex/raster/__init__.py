"""Rasterization: mesh buffers and a batch of cameras come in, per-pixel faces, barycentrics and surface buffers go out.

`rasterize` finds the face each pixel sees, `make_gbuffer` interpolates UV, view direction, normal, depth and part on
it, `antialias` blends features over silhouettes. All of it is differentiable in the vertices and the cameras.
"""

from neuraltex.raster.antialias import antialias, opposite_corners
from neuraltex.raster.fragments import Fragments
from neuraltex.raster.gbuffer import GBuffer, concatenate, interpolate_gbuffer, make_gbuffer
from neuraltex.raster.rasterize import interpolate_fragments, rasterize

__all__ = [
    "Fragments",
    "GBuffer",
    "antialias",
    "concatenate",
    "interpolate_fragments",
    "interpolate_gbuffer",
    "make_gbuffer",
    "opposite_corners",
    "rasterize",
]
