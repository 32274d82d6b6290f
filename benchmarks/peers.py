"""The same picture by other rasterizers, where they are installed: face and interpolated UV of every pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuraltex.cameras import Camera
from neuraltex.cameras.pytorch3d import to_pytorch3d
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster.projection import project_homogeneous

Peer = Callable[[], tuple[Tensor, Tensor]]


def pytorch3d(mesh: Mesh, cameras: Camera) -> Peer | None:
    """`MeshRasterizer` with its own settings but for the near plane, and `interpolate_face_attributes`.

    None where PyTorch3D is not installed.
    """
    try:
        from pytorch3d.ops import interpolate_face_attributes
        from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings
        from pytorch3d.structures import Meshes
    except ImportError:
        return None
    p3d_cameras = PerspectiveCameras(**to_pytorch3d(cameras), device=mesh.verts.device)
    settings = RasterizationSettings(image_size=(cameras.height, cameras.width), z_clip_value=1e-4)
    rasterizer, meshes = MeshRasterizer(p3d_cameras, settings), Meshes([mesh.verts], [mesh.faces])
    corners_uv = mesh.verts_uv[mesh.faces_uv]

    def draw() -> tuple[Tensor, Tensor]:
        fragments = rasterizer(meshes)
        uv = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners_uv)
        return fragments.pix_to_face[..., 0], uv[..., 0, :]

    return draw


def nvdiffrast(mesh: Mesh, cameras: Camera, *, near: float = 0.05, far: float = 50.0) -> Peer | None:
    """`rasterize` and `interpolate`, or None where nvdiffrast is not installed or there is no GPU.

    Its faces are floats that count from 1, with 0 for the background.

    Clip-space positions are made outside of what is timed, in its favour.
    """
    if not mesh.verts.is_cuda:
        return None
    try:
        import nvdiffrast.torch as dr
    except ImportError:
        return None
    context = dr.RasterizeCudaContext(mesh.verts.device)
    x, y, z = project_homogeneous(mesh.verts, cameras).unbind(-1)
    depth = ((far + near) * z - 2 * far * near) / (far - near)
    clip = torch.stack([2 * x / cameras.width - z, 2 * y / cameras.height - z, depth, z], dim=-1).contiguous()
    faces, faces_uv = mesh.faces.int(), mesh.faces_uv.int()
    verts_uv = mesh.verts_uv[None].contiguous()
    size = (cameras.height, cameras.width)

    def draw() -> tuple[Tensor, Tensor]:
        raster, _ = dr.rasterize(context, clip, faces, resolution=size, grad_db=False)
        uv, _ = dr.interpolate(verts_uv, raster, faces_uv)
        return raster[..., 3], uv

    return draw
