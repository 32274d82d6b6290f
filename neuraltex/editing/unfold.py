"""A mesh's surface laid out texel by texel: which are seen, where they lie, and what fills those nobody saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, normalize

from neuraltex.cameras.camera import Camera
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer, rasterize
from neuraltex.raster.gbuffer import interpolate as on_faces


@dataclass(frozen=True)
class Unfolded:
    """The texels whose middle lies on a face.

    Args:
        size: texels along the texture's side.
        places: `[N, 2]` row and column.
        faces: `[N]` face of the mesh.
        points: `[N, 3]` world.
        normals: `[N, 3]` unit, world.
    """

    size: int
    places: Int[Tensor, "N 2"]
    faces: Int[Tensor, "N"]
    points: Float[Tensor, "N 3"]
    normals: Float[Tensor, "N 3"]

    def image(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "C S S"]:
        """Values of the texels as a picture, 0 where there is no surface."""
        picture = values.new_zeros(values.shape[1], self.size, self.size)
        picture[:, self.places[:, 0], self.places[:, 1]] = values.t()
        return picture


def unfold(mesh: Mesh, size: int) -> Unfolded:
    """Find the surface point of every texel.

    Args:
        mesh: the scene's flat buffers.
        size: texels along the texture's side.
    """
    u, v = mesh.verts_uv.unbind(-1)
    flat = torch.stack([u, 1 - v, torch.ones_like(u)], dim=1)  # a plane, seen from one unit above
    K = torch.diag(flat.new_tensor([size, size, 1.0]))
    fragments = rasterize(flat, mesh.faces_uv, Camera(K[None], torch.eye(4, device=flat.device)[None], size, size))
    places = fragments.mask[0].nonzero()
    faces = fragments.pix_to_face[0][fragments.mask[0]]
    bary = fragments.bary[0][fragments.mask[0]]
    points = on_faces(mesh.verts, mesh.faces, faces, bary)
    normals = normalize(on_faces(mesh.normals, mesh.faces_normals, faces, bary), dim=-1)
    return Unfolded(size, places, faces, points, normals)


@torch.no_grad()
def seen_texels(mesh: Mesh, cameras: Camera, size: int) -> Bool[Tensor, "S S"]:
    """Texels that any of the photographs shows, and those beside them.

    Args:
        mesh: the scene's flat buffers.
        cameras: of the photographs, a batch `[N]`, on the mesh's device.
        size: texels along the texture's side.
    """
    seen = torch.zeros(size * size, dtype=torch.bool, device=mesh.verts.device)
    for index in range(len(cameras.K)):
        gbuffer = make_gbuffer(mesh, cameras[index : index + 1])
        column, row = (gbuffer.uv[gbuffer.mask] * size).long().clamp(0, size - 1).unbind(-1)
        seen[(size - 1 - row) * size + column] = True
    # Photographs of fewer pixels than the texture has texels hit every other one.
    return widened(seen.view(size, size), 1)


def widened(marked: Bool[Tensor, "S S"], texels: int) -> Bool[Tensor, "S S"]:
    """Marked texels and all within some texels of them."""
    return max_pool2d(marked[None].float(), 2 * texels + 1, 1, texels)[0] > 0


def fill_unknown(values: Float[Tensor, "C S S"], known: Bool[Tensor, "S S"]) -> Float[Tensor, "C S S"]:
    """Known texels as they are; the others smoothly from those around, the nearest counting most.

    Args:
        values: `[C, S, S]` of a texture.
        known: `[S, S]` texels to keep.

    Source: S. Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4, pull-push.
    """
    return _filled(values, known.to(values.dtype)[None])


def _filled(values: Tensor, weight: Tensor) -> Tensor:
    side = values.shape[-1]
    if side == 1:
        return values
    odd = side % 2
    half = avg_pool2d((values * weight)[None], 2, ceil_mode=bool(odd))[0]
    share = avg_pool2d(weight[None], 2, ceil_mode=bool(odd))[0]
    coarse = _filled(half / share.clamp(min=1e-8), (share > 0).to(values.dtype))
    up = interpolate(coarse[None], size=(side, side), mode="bilinear", align_corners=False)[0]
    return values * weight + up * (1 - weight)
