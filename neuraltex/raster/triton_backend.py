"""The rasterizer as Triton kernels: visibility, and the surface buffers that follow from it, without host waits."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

from neuraltex.cameras.camera import Camera
from neuraltex.geometry.mesh import Mesh
from neuraltex.kernels import surface, visibility

EMPTY = torch.iinfo(torch.int64).max
# Boxes of up to so many pixels are drawn by the lane that found them, or by a warp; larger ones are cut into tiles.
SMALL_BOX, MIDDLE_BOX = 16, 2048
FACES_A_PROGRAM, VERTS_A_PROGRAM, PIXELS_A_PROGRAM = 128, 256, 128
# A warp's, a tile's.
MIDDLE_LANES, LARGE_LANES = 128, 256
MIDDLE_PROGRAMS, LARGE_PROGRAMS = 32, 8  # for each multiprocessor
# A queue's counter holds records above bit 36, and the queue holds faces as int32.
MAX_RECORDS = 1 << 27

_compact: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def compact(indices: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """The same indices as contiguous int32, half the traffic; kept for as long as the tensor lives unchanged."""
    known = _compact.get(indices)
    if known is None or known[0] != indices._version:
        known = (indices._version, indices.to(torch.int32).contiguous())
        _compact[indices] = known
    return known[1]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, verts: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
        verts, matrix, offset = verts.contiguous(), matrix.contiguous(), offset.contiguous()
        num_views, num_verts = len(matrix), verts.shape[-2]
        projected = verts.new_empty(num_views, num_verts, 3)
        grid = (-(-num_verts // VERTS_A_PROGRAM), num_views)
        with torch.cuda.device_of(verts):
            visibility.project_kernel[grid](
                verts, matrix, offset, projected, num_verts, num_verts * 3 if verts.ndim == 3 else 0,
                BLOCK=VERTS_A_PROGRAM, enable_fp_fusion=False,
            )  # fmt: skip
        ctx.save_for_backward(verts, matrix)
        return projected

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        verts, matrix = ctx.saved_tensors
        grad_verts = grad @ matrix
        grad_matrix = grad.transpose(-1, -2) @ verts
        return grad_verts.sum(0) if verts.ndim == 2 else grad_verts, grad_matrix, grad.sum(1)


def project(verts: Float[Tensor, "*batch V 3"], cameras: Camera) -> Float[Tensor, "B V 3"]:
    """As `project_homogeneous`, in one pass.

    Differentiable in: verts, K, w2c.
    """
    to_pixels = cameras.K @ cameras.w2c[:, :3, :]
    return _Project.apply(verts, to_pixels[:, :, :3], to_pixels[:, :, 3])


@torch.no_grad()
def visible_words(
    projected: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, near: float
) -> Int[Tensor, "B H W"]:
    """What wins each pixel.

    Args:
        projected: `[B, V, 3]` homogeneous pixels of the vertices.
        faces: `[F, 3]` indices.
        height, width: of the buffers.
        near: what lies closer is cut away, in scene units.

    Returns:
        `[B, H, W]` int64: depth bits above face index, the largest int64 where nothing is seen. The lower half read as
        int32 is the face, or -1.
    """
    num_views, num_verts, _ = projected.shape
    num_faces = len(faces)
    words = torch.full((num_views, height, width), EMPTY, dtype=torch.int64, device=projected.device)
    if num_faces == 0 or num_views == 0:
        return words
    projected, faces = projected.contiguous(), compact(faces)
    views = max(MAX_RECORDS // num_faces, 1)
    for first in range(0, num_views, views):
        part = slice(first, min(first + views, num_views))
        _draw(projected[part], faces, words[part], num_faces, num_verts, height, width, near)
    return words


def _draw(
    projected: Tensor,
    faces: Tensor,
    words: Tensor,
    num_faces: int,
    num_verts: int,
    height: int,
    width: int,
    near: float,
) -> None:
    num_views, device = len(projected), projected.device
    capacity = num_views * num_faces
    counters = torch.zeros(2, dtype=torch.int64, device=device)
    middle_face, large_face = torch.empty(2, capacity, dtype=torch.int32, device=device)
    large_tile = torch.empty(capacity, dtype=torch.int64, device=device)
    sizes = (num_faces, num_verts, width, height, near)
    processors = torch.cuda.get_device_properties(device).multi_processor_count if projected.is_cuda else 1
    with torch.cuda.device_of(projected):
        visibility.small_kernel[(-(-num_faces // FACES_A_PROGRAM), num_views)](
            projected, faces, words, counters, middle_face, large_face, large_tile, *sizes,
            BLOCK=FACES_A_PROGRAM, SMALL=SMALL_BOX, MIDDLE=MIDDLE_BOX, enable_fp_fusion=False,
        )  # fmt: skip
        visibility.middle_kernel[(processors * MIDDLE_PROGRAMS,)](
            projected, faces, words, counters, middle_face, *sizes,
            LANES=MIDDLE_LANES, num_warps=1, enable_fp_fusion=False,
        )  # fmt: skip
        visibility.large_kernel[(processors * LARGE_PROGRAMS,)](
            projected, faces, words, counters, large_face, large_tile, *sizes,
            LANES=LARGE_LANES, enable_fp_fusion=False,
        )  # fmt: skip


class _Surface(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        verts_uv: Tensor,
        normals: Tensor,
        words: Tensor,
        faces: Tensor,
        mesh: Mesh | None,
    ) -> tuple[Tensor, ...]:
        _, height, width = words.shape
        projected = projected.contiguous()
        pix_to_face = torch.empty_like(words)
        bary = projected.new_empty(*words.shape, 3)
        zbuf = projected.new_empty(words.shape)
        outputs = [pix_to_face, bary, zbuf]
        verts_uv, normals = verts_uv.contiguous(), normals.contiguous()
        faces_uv = faces_normals = faces
        if mesh is not None:
            faces_uv, faces_normals = compact(mesh.faces_uv), compact(mesh.faces_normals)
            outputs += [projected.new_empty(*words.shape, 2), projected.new_empty(*words.shape, 3)]
            outputs += [projected.new_empty(words.shape), torch.empty_like(words, dtype=torch.bool)]
        # A buffer that is not asked for is never written: any pointer stands in for it.
        uv, normal_map, footprint, mask = outputs[3:] if mesh is not None else (zbuf, zbuf, zbuf, zbuf)
        with torch.cuda.device_of(words):
            surface.surface_kernel[(-(-words.numel() // PIXELS_A_PROGRAM),)](
                words, projected, faces, verts_uv, faces_uv, normals, faces_normals,
                pix_to_face, bary, zbuf, uv, normal_map, footprint, mask,
                words.numel(), projected.shape[1], width, height,
                UV=mesh is not None, NORMALS=mesh is not None, BLOCK=PIXELS_A_PROGRAM,
            )  # fmt: skip
        saved = [pix_to_face, projected, faces]
        if mesh is not None:
            saved += [verts_uv, faces_uv, normals, faces_normals]
        ctx.save_for_backward(*saved)
        ctx.mark_non_differentiable(pix_to_face, *outputs[5:])
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        pix_to_face, projected, faces, *attributes = ctx.saved_tensors
        to_projected, to_uv, to_normals = ctx.needs_input_grad[:3]
        verts_uv, faces_uv, normals, faces_normals = attributes or (projected, faces, projected, faces)
        _, height, width = pix_to_face.shape
        grad_bary, grad_zbuf = (_or_zeros(grads[1], pix_to_face, 3), _or_zeros(grads[2], pix_to_face))
        grad_uv, grad_normal_map = (*grads[3:5], None, None)[:2]
        grad_projected = torch.zeros_like(projected)
        grad_verts_uv = torch.zeros_like(verts_uv) if to_uv else projected
        grad_normals = torch.zeros_like(normals) if to_normals else projected
        with torch.cuda.device_of(projected):
            surface.surface_backward_kernel[(-(-pix_to_face.numel() // PIXELS_A_PROGRAM),)](
                pix_to_face, projected, faces, verts_uv, faces_uv, normals, faces_normals,
                grad_bary, grad_zbuf, grad_zbuf if grad_uv is None else grad_uv.contiguous(),
                grad_zbuf if grad_normal_map is None else grad_normal_map.contiguous(),
                grad_projected, grad_verts_uv, grad_normals,
                pix_to_face.numel(), projected.shape[1], width, height,
                UV=grad_uv is not None, NORMALS=grad_normal_map is not None,
                TO_PROJECTED=to_projected, TO_UV=to_uv, TO_NORMALS=to_normals, BLOCK=PIXELS_A_PROGRAM,
            )  # fmt: skip
        return (
            grad_projected if to_projected else None,
            grad_verts_uv if to_uv else None,
            grad_normals if to_normals else None,
            None,
            None,
            None,
        )


def _or_zeros(grad: Tensor | None, like: Tensor, *channels: int) -> Tensor:
    if grad is None:
        return torch.zeros(*like.shape, *channels, device=like.device)
    return grad.contiguous()


def interpolate_surface(
    projected: Float[Tensor, "B V 3"], words: Int[Tensor, "B H W"], faces: Int[Tensor, "F 3"], mesh: Mesh | None = None
) -> tuple[Tensor, ...]:
    """What is seen at each pixel of the face that is seen there.

    Args:
        projected: `[B, V, 3]` homogeneous pixels of the vertices.
        words: `[B, H, W]` int64 from `visible_words`, or face indices with -1 on the background.
        faces: `[F, 3]` indices.
        mesh: its other attributes are interpolated too.

    Returns:
        `pix_to_face` `[B, H, W]`, `bary` `[B, H, W, 3]`, `zbuf` `[B, H, W]`; with `mesh` also `uv` `[B, H, W, 2]`,
        `normals` `[B, H, W, 3]`, `footprint` and `mask` `[B, H, W]`.

    Differentiable in: projected, mesh.verts_uv, mesh.normals.
    """
    # Attributes that are not asked for are never read: any pointer stands in for them.
    verts_uv, normals = (mesh.verts_uv, mesh.normals) if mesh is not None else (faces, faces)
    return _Surface.apply(projected, verts_uv, normals, words, compact(faces), mesh)


class _Rays(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, K: Tensor, w2c: Tensor, height: int, width: int) -> Tensor:
        K, w2c = K.contiguous(), w2c.contiguous()
        dirs = K.new_empty(len(K), height, width, 3)
        with torch.cuda.device_of(K):
            surface.ray_kernel[(-(-height * width // PIXELS_A_PROGRAM), len(K))](
                K, w2c, dirs, height * width, width, BLOCK=PIXELS_A_PROGRAM
            )
        ctx.save_for_backward(K, w2c)
        return dirs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        K, w2c = ctx.saved_tensors
        num_pixels, width = grad.shape[1] * grad.shape[2], grad.shape[2]
        grad_matrix = torch.zeros_like(K)
        with torch.cuda.device_of(K):
            surface.ray_backward_kernel[(-(-num_pixels // PIXELS_A_PROGRAM), len(K))](
                K, w2c, grad.contiguous(), grad_matrix, num_pixels, width, BLOCK=PIXELS_A_PROGRAM
            )
        with torch.enable_grad():
            K, w2c = K.detach().requires_grad_(), w2c.detach().requires_grad_()
            matrix = w2c[:, :3, :3].transpose(-1, -2) @ _inverse(K)
        return *torch.autograd.grad(matrix, (K, w2c), grad_matrix), None, None


def _inverse(K: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """By cofactors: the library's inverse waits for the device."""
    first, second, third = K.unbind(-2)
    cofactors = torch.stack(
        [torch.linalg.cross(second, third), torch.linalg.cross(third, first), torch.linalg.cross(first, second)], dim=-1
    )
    return cofactors / (first * cofactors[..., 0]).sum(-1)[..., None, None]


def ray_dirs(cameras: Camera) -> Float[Tensor, "B H W 3"]:
    """As `Camera.ray_dirs`, in one pass.

    Differentiable in: K, w2c.
    """
    return _Rays.apply(cameras.K, cameras.w2c, cameras.height, cameras.width)


def covered(words: Int[Tensor, "B H W"]) -> Bool[Tensor, "B H W"]:
    """Where a face is seen."""
    return words != EMPTY
