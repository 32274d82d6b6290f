"""PyTorch3D's own objects in and out: meshes, cameras and fragments.

`rasterize(..., backend="pytorch3d")` needs none of this; it is for code that already works with PyTorch3D on the other
side. Each function imports it when called and says how to install it where it is missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.pytorch3d import from_pytorch3d, to_pytorch3d
from neuraltex.geometry.mesh import Mesh
from neuraltex.optional import require
from neuraltex.raster.fragments import Fragments

if TYPE_CHECKING:
    from pytorch3d.renderer import PerspectiveCameras
    from pytorch3d.renderer.cameras import CamerasBase
    from pytorch3d.renderer.mesh.rasterizer import Fragments as TheirFragments
    from pytorch3d.structures import Meshes


def mesh_from_pytorch3d(meshes: Meshes) -> Mesh:
    """One of PyTorch3D's meshes as ours, of one part named "mesh".

    The faces keep their order, and v points up on both sides. Normals are those the mesh was made with, or else the
    smooth ones.

    Args:
        meshes: one mesh with `TexturesUV`. Its texture map is left behind; `meshes.textures.maps_padded()` is it.

    Raises:
        ValueError: several meshes, other textures, several maps, or UVs that lie outside the unit square.
        NeuraltexError: PyTorch3D is not installed.

    Differentiable in: its vertices, UVs and normals.
    """
    textures_uv = require("pytorch3d.renderer").TexturesUV
    if len(meshes) != 1:
        raise ValueError(f"meshes: expected one mesh, got {len(meshes)}; convert them one at a time, as meshes[i]")
    textures = meshes.textures
    if not isinstance(textures, textures_uv):
        raise ValueError(f"meshes: expected textures of type TexturesUV, got {type(textures).__name__}")
    if textures.maps_ids_padded() is not None:
        raise ValueError("meshes: expected one texture map, got several; join them to an atlas first")
    verts, verts_uv = meshes.verts_list()[0], textures.verts_uvs_list()[0]
    low, high = verts_uv.aminmax() if verts_uv.numel() else (verts_uv.new_zeros(()), verts_uv.new_zeros(()))
    if float(low) < 0 or float(high) > 1:
        raise ValueError(
            f"meshes: expected UVs inside the unit square, got {float(low):.3g} to {float(high):.3g}; repeated texture "
            "has to be laid out first, as neuraltex.geometry.load_scene does for files"
        )
    faces = meshes.faces_list()[0]
    mesh = Mesh(
        verts=verts,
        faces=faces,
        verts_uv=verts_uv,
        faces_uv=textures.faces_uvs_list()[0],
        normals=torch.zeros_like(verts),
        faces_normals=faces,
        part_ids=torch.zeros_like(faces[:, 0]),
        part_names=("mesh",),
    )
    if meshes.has_verts_normals():
        return replace(mesh, normals=normalize(meshes.verts_normals_list()[0], dim=-1))
    return mesh.with_verts(verts)


def mesh_to_pytorch3d(mesh: Mesh, texture_map: Float[Tensor, "H W C"] | None = None) -> Meshes:
    """Our mesh as one of PyTorch3D's; `.extend(num_views)` makes a batch of it.

    Parts and normals are left behind: it has no parts, and makes its own smooth normals.

    Args:
        mesh: the scene's flat buffers.
        texture_map: `[H, W, C]`, row 0 on top, looked up as ours are: `align_corners=False`, borders repeated. White
            where left out.

    Raises:
        ValueError: `texture_map` has another shape.
        NeuraltexError: PyTorch3D is not installed.

    Differentiable in: mesh.verts, mesh.verts_uv, texture_map.
    """
    if texture_map is None:
        texture_map = mesh.verts_uv.new_ones(1, 1, 3)
    if texture_map.ndim != 3:
        raise ValueError(f"texture_map: expected [H, W, C], got {list(texture_map.shape)}")
    textures = require("pytorch3d.renderer").TexturesUV(
        maps=[texture_map],
        faces_uvs=[mesh.faces_uv],
        verts_uvs=[mesh.verts_uv],
        padding_mode="border",
        align_corners=False,
    )
    return require("pytorch3d.structures").Meshes(verts=[mesh.verts], faces=[mesh.faces], textures=textures)


def cameras_from_pytorch3d(cameras: CamerasBase, *, height: int | None = None, width: int | None = None) -> Camera:
    """PyTorch3D's perspective cameras as ours, whichever way they were made: in NDC or pixels, by `K` or field of view.

    Args:
        cameras: a batch of `PerspectiveCameras` or `FoVPerspectiveCameras`.
        height, width: size of the images in pixels, where the cameras do not hold it.

    Raises:
        ValueError: another kind of camera, no image size, or several.

    Differentiable in: R, T, and what the projection is made of.
    """
    height, width = _image_size(cameras, height, width)
    to_ndc = cameras.get_projection_transform().compose(cameras.get_ndc_camera_transform())
    matrix = to_ndc.get_matrix().transpose(1, 2)
    if not torch.equal(matrix[:, 3], matrix.new_tensor([0.0, 0.0, 1.0, 0.0]).expand(len(matrix), 4)):
        raise ValueError(f"cameras: expected a perspective projection, got {type(cameras).__name__}")
    camera = from_pytorch3d(
        cameras.R,
        cameras.T,
        matrix[:, :2, :2].diagonal(dim1=1, dim2=2),
        matrix[:, :2, 2],
        width=width,
        height=height,
        in_ndc=True,
    )
    skew = torch.zeros_like(camera.K)
    skew[:, 0, 1] = matrix[:, 0, 1] * (0.5 * min(height, width))
    return replace(camera, K=camera.K + skew)


def _image_size(cameras: CamerasBase, height: int | None, width: int | None) -> tuple[int, int]:
    """Rows and columns, from the cameras or from the caller."""
    known = cameras.get_image_size()
    if known is None:
        if height is None or width is None:
            raise ValueError("cameras: they hold no image size; expected height and width")
        return height, width
    sizes = {(int(rows), int(columns)) for rows, columns in known.tolist()}
    asked = (height, width)
    if len(sizes) != 1:
        raise ValueError(f"cameras: expected one image size for the whole batch, got {sorted(sizes)}")
    rows, columns = sizes.pop()
    if asked not in ((None, None), (rows, columns)):
        raise ValueError(f"height, width: expected those of the cameras, {rows} x {columns}, got {height} x {width}")
    return rows, columns


def cameras_to_pytorch3d(cameras: Camera, *, in_ndc: bool = False) -> PerspectiveCameras:
    """Our cameras as PyTorch3D's, in float32 as it wants them.

    Args:
        cameras: batch `[N]`, without skew.
        in_ndc: as in `neuraltex.cameras.pytorch3d.to_pytorch3d`.

    Raises:
        ValueError: not a batch, or a camera with skew.
        NeuraltexError: PyTorch3D is not installed.

    Differentiable in: K, w2c.
    """
    arrays = to_pytorch3d(cameras.to(torch.float32), in_ndc=in_ndc)
    return require("pytorch3d.renderer").PerspectiveCameras(**arrays, device=cameras.K.device)


def fragments_from_pytorch3d(fragments: TheirFragments, num_faces: int) -> Fragments:
    """PyTorch3D's fragments of views of one mesh as ours.

    Args:
        fragments: `[B, H, W, 1]` of a mesh that was extended to the B views, so that its faces are numbered on.
        num_faces: faces of the mesh.

    Raises:
        ValueError: several faces a pixel, or numbers that do not belong to the view's copy of the mesh.

    Differentiable in: fragments.bary_coords, fragments.zbuf.
    """
    packed = fragments.pix_to_face
    if packed.shape[-1] != 1:
        raise ValueError(f"fragments: expected one face a pixel, got {packed.shape[-1]}; set faces_per_pixel=1")
    packed = packed[..., 0]
    mask = packed >= 0
    face = torch.where(mask, packed - _first_faces(packed, num_faces), -1)
    if bool(((face < 0) & mask).any()) or bool((face >= num_faces).any()):
        raise ValueError(
            f"fragments: expected the same {num_faces} faces in every view, numbered through the batch; "
            "extend one mesh to all views"
        )
    return Fragments(
        pix_to_face=face,
        bary=torch.where(mask[..., None], fragments.bary_coords[..., 0, :], 0),
        zbuf=torch.where(mask, fragments.zbuf[..., 0], 0),
    )


def fragments_to_pytorch3d(fragments: Fragments, num_faces: int) -> TheirFragments:
    """Our fragments as PyTorch3D's, of a mesh extended to all views, for its shaders.

    `dists` is None, as its OpenGL rasterizer leaves it: shaders that blend by it stop instead of blending wrongly.

    Args:
        fragments: buffers `[B, H, W, ...]`.
        num_faces: faces of the mesh.

    Raises:
        NeuraltexError: PyTorch3D is not installed.

    Differentiable in: fragments.bary, fragments.zbuf.
    """
    mask = fragments.mask
    packed = fragments.pix_to_face + _first_faces(fragments.pix_to_face, num_faces)
    return require("pytorch3d.renderer.mesh.rasterizer").Fragments(
        pix_to_face=torch.where(mask, packed, -1)[..., None],
        zbuf=torch.where(mask, fragments.zbuf, -1)[..., None],
        bary_coords=torch.where(mask[..., None], fragments.bary, -1)[..., None, :],
        dists=None,
    )


def _first_faces(pix_to_face: Tensor, num_faces: int) -> Tensor:
    """`[B, 1, 1]` number of each view's first face where faces are numbered through the batch."""
    views = torch.arange(len(pix_to_face), device=pix_to_face.device)
    return (views * num_faces)[:, None, None]
