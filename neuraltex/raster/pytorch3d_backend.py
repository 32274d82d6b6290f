"""Visibility by PyTorch3D, without the faces and pixels that it loses silently.

Only `pix_to_face` comes from it. Vertices are projected here, as for the other backends, so any `K` will do, skew
included. What its rasterizer (0.7.9) would get wrong without a word, and what is done about it:

- A pixel centre on the border between two faces lies inside neither: a line of holes along the diagonal of a wall.
  Faces are widened by `WIDENED`.
- A face with a corner behind the camera vanishes. `z_clip_value` cuts it there instead, but a cut near the camera lies
  thousands of screens away, where float32 leaves holes along shared edges: 141 of 640 x 400 pixels on a floor of two
  triangles; and a corner just on the camera plane fills the picture. Faces that reach behind `near`, or far off the
  screen, are drawn by the plain-PyTorch backend.
- A face of at most half of 1e-8 square units vanishes, so a fine mesh far away vanishes whole. A corner that is not a
  number fills the picture. The plain-PyTorch backend draws the former and not the latter.
- Depths below 1e-8 count as behind the camera, so a scene in a tiny unit vanishes: here depths are in units of `near`.
- On CUDA, a bin of pixels that more than `max_faces_per_bin` faces touch loses whole groups of them. Each bin has room
  for all faces, or there are no bins.
- Faces are numbered on through the meshes of a batch: views are drawn one by one.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.optional import require
from neuraltex.raster import torch_backend
from neuraltex.raster.projection import project_homogeneous
from neuraltex.raster.rasterize import interpolate_fragments

# Screen units below are PyTorch3D's: half the shorter side of the image.
# Eight rounding steps of float32 at the border of the screen, or 1/4000 pixel where it is 1000 pixels wide.
WIDENED = 5e-7
# PyTorch3D skips what has no more than 1e-8, and a face must be much wider than it is widened.
SMALLEST_AREA, THINNEST = 2e-8, 2e-5
# Corners farther out than this many times the longer side are too coarse in float32.
FARTHEST = 4.0
# 16 x 16 bins of 4 bytes a face: half a gigabyte.
MOST_BINNED_FACES = 1 << 19


@torch.no_grad()
def visible_faces(
    verts: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], cameras: Camera, near: float
) -> Int[Tensor, "B H W"]:
    """The face seen at each pixel centre, -1 for none; as `torch_backend.visible_faces`.

    Two faces that meet within `WIDENED` of a pixel centre both see it, and the nearer one takes it.

    Args:
        verts: `[V, 3]` or `[B, V, 3]` world positions.
        faces: `[F, 3]` indices into `verts`.
        cameras: a batch `[B]`.
        near: surfaces closer than this camera-space z are cut away, in scene units.

    Returns:
        `[B, H, W]` int64, numbered within `faces`, not through the batch.

    Raises:
        NeuraltexError: PyTorch3D is not installed.
    """
    pix_to_face = faces.new_full((len(cameras.K), cameras.height, cameras.width), -1)
    for view, projected in enumerate(project_homogeneous(verts, cameras)):
        camera, view_verts = cameras[view : view + 1], verts if verts.ndim == 2 else verts[view]
        screen = _to_screen(projected, cameras.height, cameras.width, near)
        safe = _safe_faces(screen, projected[:, 2] >= near, faces, cameras.height, cameras.width)
        theirs, ours = safe.nonzero().squeeze(1), (~safe).nonzero().squeeze(1)
        from_theirs = _draw(screen, faces[theirs], cameras.height, cameras.width)
        from_ours = torch_backend.visible_faces(view_verts, faces[ours], camera, near)
        found = (_renumber(from_theirs, theirs), _renumber(from_ours, ours))
        pix_to_face[view : view + 1] = _nearer(found, view_verts, faces, camera)
    return pix_to_face


def _to_screen(projected: Float[Tensor, "V 3"], height: int, width: int, near: float) -> Float[Tensor, "V 3"]:
    """Homogeneous pixels as PyTorch3D's rasterizer takes them: +x left, +y up, and depth, here in units of `near`."""
    middle = projected.new_tensor([0.5 * width, 0.5 * height])
    depth = projected[:, 2:]
    xy = (middle - projected[:, :2] / depth) / (0.5 * min(height, width))
    return torch.cat([xy, depth / near], dim=1).to(torch.float32)


def _safe_faces(
    screen: Float[Tensor, "V 3"], ahead: Bool[Tensor, "V"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Bool[Tensor, "F"]:
    """Which faces PyTorch3D draws without loss. Comparisons with what is not a number are false."""
    corners = screen[:, :2].index_select(0, faces.reshape(-1)).view(-1, 3, 2)
    edges = corners.roll(-1, dims=1) - corners
    doubled_area = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).abs()
    wide = doubled_area > (THINNEST * edges.norm(dim=2).amax(1)).clamp(min=SMALLEST_AREA)
    close = corners.abs().amax((1, 2)) <= FARTHEST * max(height, width) / min(height, width)
    return ahead[faces].all(1) & wide & close


def _draw(screen: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], height: int, width: int) -> Int[Tensor, "1 H W"]:
    """One view by PyTorch3D's rasterizer, of faces that it draws without loss."""
    if len(faces) == 0:
        return faces.new_full((1, height, width), -1)
    rasterize_meshes = require("pytorch3d.renderer.mesh").rasterize_meshes
    meshes = require("pytorch3d.structures").Meshes(verts=[screen], faces=[faces])
    pix_to_face, _, _, _ = rasterize_meshes(
        meshes,
        image_size=(height, width),
        blur_radius=WIDENED**2,  # in spite of its name the square of a distance
        faces_per_pixel=1,
        bin_size=None if len(faces) <= MOST_BINNED_FACES else 0,
        max_faces_per_bin=len(faces),
        perspective_correct=True,
        # Beside a face its depth is the border's; going on past the border a steep face could come nearer than any.
        clip_barycentric_coords=True,
        cull_backfaces=False,
    )
    return pix_to_face[..., 0]


def _renumber(found: Int[Tensor, "1 H W"], chosen: Int[Tensor, "N"]) -> Int[Tensor, "1 H W"]:
    """Indices into `chosen` as the numbers that stand there; -1 stays -1."""
    return torch.cat([chosen, chosen.new_tensor([-1])])[found]


def _nearer(
    found: tuple[Int[Tensor, "1 H W"], Int[Tensor, "1 H W"]],
    verts: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
) -> Int[Tensor, "1 H W"]:
    """Of two faces a pixel the one in front."""
    depths = []
    for ids in found:
        depth = interpolate_fragments(verts, faces, camera, ids).zbuf
        # Beside a face seen edge-on its plane may pass behind the camera.
        depths.append(torch.where(depth > 0, depth, torch.inf))
    nearest = torch.where(depths[0] <= depths[1], *found)
    return torch.where(torch.minimum(*depths).isfinite(), nearest, -1)
