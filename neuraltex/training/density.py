"""How fine a texture photographs can fill."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster.rasterize import rasterize

SMALLEST, LARGEST = 256, 1024
# Few and small pictures tell the density of many large ones.
MOST_VIEWS, LONGER_SIDE = 16, 128
PIXELS_A_TEXEL = 1.5


@torch.no_grad()
def suitable_texture_size(mesh: Mesh, cameras: Camera) -> int:
    """Texels along each side, such that a texel is about as large as one and a half pixels of a photograph.

    Finer ones are seen by too few pixels to learn from: views held out of the path-traced scene, photographed with 895
    pixels a side of the texture, lose 0.15 dB from 512 to 1024.

    Args:
        mesh: what was photographed.
        cameras: a batch `[N]`, in the photographs' size.

    Returns:
        The power of two nearest to what the median pixel asks for, within 256 and 1024; the smallest where no
        view sees the mesh.
    """
    few = cameras[torch.linspace(0, len(cameras.K) - 1, min(MOST_VIEWS, len(cameras.K))).round().long()]
    shrunk = min(LONGER_SIDE / max(few.width, few.height), 1.0)
    small = few.resize(max(round(few.width * shrunk), 1), max(round(few.height * shrunk), 1))
    unfolded = _areas(mesh.verts_uv[mesh.faces_uv])
    pixels_a_side = []
    for index in range(len(few.K)):
        seen = rasterize(mesh.verts, mesh.faces, small[index : index + 1]).pix_to_face
        seen = seen[seen >= 0]
        seen = seen[unfolded[seen] > 0]
        places, _ = few[index].project(mesh.verts)
        pixels_a_side.append((_areas(places[mesh.faces[seen]]) / unfolded[seen]).sqrt())
    found = torch.cat(pixels_a_side)
    if not len(found):
        return SMALLEST
    wanted = max(float(found.median()) / PIXELS_A_TEXEL, 1.0)
    return int(min(max(2 ** round(math.log2(wanted)), SMALLEST), LARGEST))


def _areas(corners: Float[Tensor, "F 3 2"]) -> Float[Tensor, "F"]:
    return torch.linalg.det(corners[:, 1:] - corners[:, :1]).abs() / 2
