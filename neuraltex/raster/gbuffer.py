"""Fragments to the per-pixel surface buffers that shading reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from neuraltex.cameras.camera import Camera
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster.backends import pick_backend
from neuraltex.raster.fragments import Fragments
from neuraltex.raster.projection import edge_functions, edge_slopes, project_homogeneous
from neuraltex.raster.rasterize import NEAR, check_arguments, rasterize, scatter_pixels


@dataclass(frozen=True)
class GBuffer:
    """What each pixel sees of the surface; every buffer but `ray_dirs` is 0 on the background.

    Args:
        uv: `[B, H, W, 2]` texture coordinates, v up.
        ray_dirs: `[B, H, W, 3]` unit vectors from the camera through each pixel, world axes, on the background too.
        normals: `[B, H, W, 3]` unit interpolated normals, world axes, as the mesh has them (not turned to the camera).
        depth: `[B, H, W]` camera-space z, scene units.
        footprint: `[B, H, W]` extent of a pixel in texture coordinates, across which it is longest; without gradient.
        mask: `[B, H, W]` true where a face is seen.
        face_part_ids: `[F]` int64 index into the mesh's part names, a face.
        fragments: what the other buffers were interpolated with.
    """

    uv: Float[Tensor, "B H W 2"]
    ray_dirs: Float[Tensor, "B H W 3"]
    normals: Float[Tensor, "B H W 3"]
    depth: Float[Tensor, "B H W"]
    footprint: Float[Tensor, "B H W"]
    mask: Bool[Tensor, "B H W"]
    face_part_ids: Int[Tensor, "F"]
    fragments: Fragments

    @property
    def view_dirs(self) -> Float[Tensor, "B H W 3"]:
        """`[B, H, W, 3]` unit vectors from the camera to the surface, world axes. Differentiable in: ray_dirs."""
        # A surface point lies on its pixel's ray, so the view direction needs nothing but the camera.
        return self.ray_dirs * self.mask[..., None]

    def distances(self, cameras: Camera) -> Float[Tensor, "B H W"]:
        """`[B, H, W]` from the camera's centre to the surface along each pixel's ray, scene units.

        Args:
            cameras: a batch `[B]`, that the buffers were made with.

        Differentiable in: depth, ray_dirs, cameras' w2c.
        """
        forwards = cameras.w2c[:, None, None, 2, :3].to(self.depth)
        return self.depth / (self.ray_dirs * forwards).sum(dim=-1)

    @property
    def part_ids(self) -> Int[Tensor, "B H W"]:
        """`[B, H, W]` int64 index into the mesh's part names, -1 on the background."""
        seen = self.fragments.pix_to_face.clamp(min=0)
        if len(self.face_part_ids) == 0:
            return seen - 1
        parts = self.face_part_ids.index_select(0, seen.reshape(-1)).view(seen.shape)
        return torch.where(self.mask, parts, -1)


def concatenate(gbuffers: Sequence[GBuffer]) -> GBuffer:
    """Views of one surface in several poses as one batch, in their order.

    Args:
        gbuffers: of meshes with the same faces.
    """
    if len(gbuffers) == 1:
        return gbuffers[0]
    names = ("uv", "ray_dirs", "normals", "depth", "footprint", "mask")
    buffers = {name: torch.cat([getattr(gbuffer, name) for gbuffer in gbuffers]) for name in names}
    parts = [gbuffer.fragments for gbuffer in gbuffers]
    fragments = Fragments(*(torch.cat([getattr(p, name) for p in parts]) for name in ("pix_to_face", "bary", "zbuf")))
    return GBuffer(**buffers, face_part_ids=gbuffers[0].face_part_ids, fragments=fragments)


def make_gbuffer(mesh: Mesh, cameras: Camera, backend: str = "auto", *, near: float = NEAR) -> GBuffer:
    """Rasterize a mesh and interpolate its attributes.

    Args:
        mesh: the scene's flat buffers.
        cameras: a batch `[B]` of cameras.
        backend: as in `rasterize`.
        near: as in `rasterize`, in scene units.

    Returns:
        GBuffer `[B, H, W, ...]` at the cameras' size.

    Raises:
        ValueError: as `rasterize`.

    Differentiable in: mesh.verts, mesh.verts_uv, mesh.normals, K, w2c.
    """
    if pick_backend(backend, mesh.verts) == "triton":
        check_arguments(mesh.verts, mesh.faces, cameras, cameras.height, cameras.width, near)
        return _fused_gbuffer(mesh, cameras, near)
    return interpolate_gbuffer(mesh, cameras, rasterize(mesh.verts, mesh.faces, cameras, backend=backend, near=near))


def _fused_gbuffer(mesh: Mesh, cameras: Camera, near: float) -> GBuffer:
    """One pass from the visibility words to all buffers."""
    from neuraltex.raster import triton_backend

    projected = triton_backend.project(mesh.verts, cameras)
    words = triton_backend.visible_words(projected.detach(), mesh.faces, cameras.height, cameras.width, near)
    buffers = triton_backend.interpolate_surface(projected, words, mesh.faces, mesh)
    pix_to_face, bary, zbuf, uv, normals, footprint, mask = buffers
    return GBuffer(
        uv=uv,
        ray_dirs=triton_backend.ray_dirs(cameras),
        normals=normals,
        depth=zbuf,
        footprint=footprint,
        mask=mask,
        face_part_ids=mesh.part_ids,
        fragments=Fragments(pix_to_face, bary, zbuf),
    )


def interpolate_gbuffer(mesh: Mesh, cameras: Camera, fragments: Fragments) -> GBuffer:
    """The mesh's attributes at fragments of any origin.

    Args:
        mesh: the scene's flat buffers.
        cameras: the batch `[B]` that the fragments were made with.
        fragments: as `rasterize` returns them.

    Differentiable in: mesh.verts_uv, mesh.normals, fragments.bary, fragments.zbuf, K, w2c.
    """
    mask = fragments.mask
    num_views, height, width = fragments.pix_to_face.shape
    shape = (num_views, height, width)
    pixel = mask.reshape(-1).nonzero().squeeze(1)
    face = fragments.pix_to_face.reshape(-1).index_select(0, pixel)
    bary = fragments.bary.reshape(-1, 3).index_select(0, pixel)
    uv = interpolate(mesh.verts_uv, mesh.faces_uv, face, bary)
    normals = normalize(interpolate(mesh.normals, mesh.faces_normals, face, bary), dim=-1)
    return GBuffer(
        uv=scatter_pixels(uv, pixel, shape),
        ray_dirs=cameras.ray_dirs(),
        normals=scatter_pixels(normals, pixel, shape),
        depth=fragments.zbuf,
        footprint=scatter_pixels(_footprints(mesh, cameras, pixel, face), pixel, shape),
        mask=mask,
        face_part_ids=mesh.part_ids,
        fragments=fragments,
    )


@torch.no_grad()
def _footprints(mesh: Mesh, cameras: Camera, pixel: Int[Tensor, "M"], face: Int[Tensor, "M"]) -> Float[Tensor, "M"]:
    """Lengths in texture coordinates of the longest step of one pixel on the faces seen there.

    Args:
        mesh: the scene's flat buffers.
        cameras: a batch `[B]`.
        pixel: `[M]` flat indices into `[B, H, W]`.
        face: `[M]` what is seen there.

    Source: P. Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 3.5: the larger singular
    value of the mapping's Jacobian.
    """
    height, width = cameras.height, cameras.width
    projected = project_homogeneous(mesh.verts, cameras.to(mesh.verts.dtype))
    view = pixel.div(height * width, rounding_mode="floor")
    corners = projected[view[:, None], mesh.faces[face]]
    column = (pixel % width).to(corners.dtype) + 0.5
    row = (pixel.div(width, rounding_mode="floor") % height).to(corners.dtype) + 0.5
    x, y, z = corners.permute(2, 1, 0)
    edges = torch.stack(edge_functions(x, y, z, column, row))
    total = edges.sum(0)
    uv = mesh.verts_uv[mesh.faces_uv[face]].permute(2, 1, 0)
    away = uv - (uv * edges).sum(1, keepdim=True) / total
    right, down = ((slopes * away).sum(1) / total for slopes in edge_slopes(x, y, z, column, row))
    squares = right.square().sum(0) + down.square().sum(0)
    area = right[0] * down[1] - right[1] * down[0]
    return (0.5 * (squares + (squares.square() - 4 * area.square()).clamp(min=0).sqrt())).sqrt()


def interpolate(
    values: Float[Tensor, "N C"],
    indices: Int[Tensor, "F 3"],
    face: Int[Tensor, "M"],
    bary: Float[Tensor, "M 3"],
) -> Float[Tensor, "M C"]:
    """An attribute of the mesh at points of its faces.

    Args:
        values: `[N, C]` the attribute.
        indices: `[F, 3]` each face's rows of `values`.
        face: `[M]` faces.
        bary: `[M, 3]` barycentrics on them.

    Differentiable in: values, bary.
    """
    corners = values.index_select(0, indices.index_select(0, face).reshape(-1)).view(len(face), 3, values.shape[1])
    return torch.einsum("mk,mkc->mc", bary, corners)
