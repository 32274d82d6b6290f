"""`rasterize`: one contract over all backends."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.raster import torch_backend
from neuraltex.raster.backends import pick_backend
from neuraltex.raster.fragments import Fragments
from neuraltex.raster.projection import barycentrics, project_homogeneous

NEAR = 1e-4


def rasterize(
    verts: Float[Tensor, "*batch V 3"],
    faces: Int[Tensor, "F 3"],
    cameras: Camera,
    height: int | None = None,
    width: int | None = None,
    backend: str = "auto",
    *,
    near: float = NEAR,
) -> Fragments:
    """Find the face seen at every pixel centre, and the point of it that is seen.

    Args:
        verts: `[V, 3]` world positions shared by the batch, or `[B, V, 3]`.
        faces: `[F, 3]` int64 indices into `verts`. Both sides of a face are seen.
        cameras: a batch `[B]` of cameras.
        height, width: size of the buffers in pixels; the cameras' own size when left out. `K` must be meant for it.
        backend: "auto" takes the fastest for the device and dtype; else as in `pick_backend`.
        near: what lies closer than this camera-space z is cut away, in scene units. Faces that cross the plane keep
            the part in front of it.

    Returns:
        Fragments with buffers `[B, H, W, ...]`.

    Raises:
        ValueError: an argument's shape, device or value is not as above.
        NeuraltexError: `backend` is "pytorch3d", which is not installed or was built without the device.

    Differentiable in: verts, K, w2c, through `bary` and `zbuf`; which face is seen is discrete and carries nothing.
    """
    height = cameras.height if height is None else height
    width = cameras.width if width is None else width
    check_arguments(verts, faces, cameras, height, width, near)
    cameras = Camera(cameras.K.to(verts.dtype), cameras.w2c.to(verts.dtype), width, height)
    backend = pick_backend(backend, verts)
    if backend == "triton":
        from neuraltex.raster import triton_backend

        projected = triton_backend.project(verts, cameras)
        words = triton_backend.visible_words(projected.detach(), faces, height, width, near)
        return Fragments(*triton_backend.interpolate_surface(projected, words, faces))
    if backend == "pytorch3d":
        from neuraltex.raster import pytorch3d_backend

        pix_to_face = pytorch3d_backend.visible_faces(verts, faces, cameras, near)
    else:
        pix_to_face = torch_backend.visible_faces(verts, faces, cameras, near)
    return interpolate_fragments(verts, faces, cameras, pix_to_face)


def interpolate_fragments(
    verts: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], cameras: Camera, pix_to_face: Int[Tensor, "B H W"]
) -> Fragments:
    """Barycentrics and depth of faces already known to be seen.

    Args:
        verts: `[V, 3]` or `[B, V, 3]` world positions.
        faces: `[F, 3]` indices into `verts`.
        cameras: a batch `[B]` of the buffers' size.
        pix_to_face: `[B, H, W]`, -1 on the background.

    Returns:
        Fragments that hold `pix_to_face` itself.

    Differentiable in: verts, K, w2c.
    """
    num_views, height, width = pix_to_face.shape
    projected = project_homogeneous(verts, cameras)
    pixel = (pix_to_face.reshape(-1) >= 0).nonzero().squeeze(1)
    seen = faces.index_select(0, pix_to_face.reshape(-1).index_select(0, pixel))
    if num_views > 1:
        seen = seen + (pixel.div(height * width, rounding_mode="floor") * projected.shape[1])[:, None]
    # index_select, not indexing: its backward is an index_add, ten times faster than the scatter of the other.
    corners = projected.reshape(-1, 3).index_select(0, seen.reshape(-1)).view(-1, 3, 3)
    column = (pixel % width).to(verts.dtype) + 0.5
    row = (pixel.div(width, rounding_mode="floor") % height).to(verts.dtype) + 0.5
    bary, depth = barycentrics(corners, column, row)
    shape = (num_views, height, width)
    return Fragments(pix_to_face, scatter_pixels(bary, pixel, shape), scatter_pixels(depth, pixel, shape))


def scatter_pixels(values: Tensor, pixel: Int[Tensor, "M"], shape: tuple[int, int, int]) -> Tensor:
    """Spread values of the covered pixels into a zeroed image buffer.

    Args:
        values: `[M, ...]` one row a covered pixel.
        pixel: `[M]` flat indices into `[B, H, W]`, each at most once.
        shape: `(B, H, W)`.

    Returns:
        `[B, H, W, ...]`.

    Differentiable in: values.
    """
    num_pixels = shape[0] * shape[1] * shape[2]
    flat = values.new_zeros(num_pixels, *values.shape[1:]).index_copy(0, pixel, values)
    return flat.view(*shape, *values.shape[1:])


def check_arguments(verts: Tensor, faces: Tensor, cameras: Camera, height: int, width: int, near: float) -> None:
    """Raise `ValueError` where an argument of `rasterize` is not what it says."""
    if verts.shape[-1] != 3 or verts.ndim not in (2, 3):
        raise ValueError(f"verts: expected [V, 3] or [B, V, 3], got {list(verts.shape)}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
        raise ValueError(f"faces: expected int64 [F, 3], got {faces.dtype} {list(faces.shape)}")
    if cameras.K.ndim != 3:
        raise ValueError(f"cameras: expected a batch, K [B, 3, 3], got {list(cameras.K.shape)}")
    if verts.ndim == 3 and len(verts) != len(cameras.K):
        raise ValueError(f"verts: expected a batch of {len(cameras.K)}, one a camera, got {len(verts)}")
    if height < 1 or width < 1:
        raise ValueError(f"height, width: expected at least 1 pixel, got {height} x {width}")
    if near <= 0:
        raise ValueError(f"near: expected a distance above 0, got {near}")
    devices = {str(t.device) for t in (verts, faces, cameras.K, cameras.w2c)}
    if len(devices) != 1:
        raise ValueError(f"rasterize: expected all inputs on one device, got {', '.join(sorted(devices))}")
