"""How steady pictures are while the camera moves slowly: what changes on the surface between one frame and the next.

A surface that shines changes with the view in truth, too, so a method's number means something beside that of true
pictures along the same path: twice as much is flicker, much less is blur or highlights that stick. The true pictures'
own noise counts as well, unless they were taken twice: what two independent pictures agree on is not noise.

Source: W.-S. Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 4.2 (the warping error), here
with the known geometry in place of optical flow.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

from neuraltex.cameras.camera import Camera
from neuraltex.evaluation.visibility import DEPTH_TOLERANCE, depth_edges, inverse_depth
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import rasterize

# Pixels around depth edges and outlines that are left out: the mesh is only near to what was photographed.
MARGIN = 2


@torch.no_grad()
def flicker(
    mesh: Mesh,
    cameras: Camera,
    frames: Float[Tensor, "T H W 3"],
    again: Float[Tensor, "T H W 3"] | None = None,
) -> float:
    """Root mean square change of the surface's colours from frame to frame, where both frames see it.

    Args:
        mesh: what is seen, the same in all frames.
        cameras: a batch `[T]`, in the frames' order and of their size.
        frames: `[T, H, W, 3]` sRGB-encoded in [0, 1], of any float type.
        again: the same pictures with other noise, which then does not count: the mean of the product of both changes
            takes the place of the mean square.

    Returns:
        In units of the frames; nan where no two frames see the same point.

    Raises:
        ValueError: there are fewer than 2 frames, or another number or size of them than of cameras.
    """
    expected = [len(cameras.K), cameras.height, cameras.width, 3]
    series = [frames] if again is None else [frames, again]
    for taken in series:
        if list(taken.shape) != expected or len(taken) < 2:
            raise ValueError(f"frames: expected 2 or more of the cameras' size, {expected}, got {list(taken.shape)}")
    cameras = cameras.to(mesh.verts.dtype)
    change, count = 0.0, 0
    before = _Sight(mesh, cameras[:1])
    for i in range(1, len(frames)):
        now = _Sight(mesh, cameras[i : i + 1])
        changes = []
        for taken in series:
            warped, valid = _warp(taken[i - 1].to(mesh.verts.dtype), before, now)
            changes.append((warped - taken[i].to(warped))[valid].double())
        change += float((changes[0] * changes[-1]).mean(dim=-1).sum())
        count += int(valid.sum())
        before = now
    return math.sqrt(max(change / count, 0.0)) if count else float("nan")


class _Sight:
    """What one camera sees: `inverse` 1/z and `safe`, the pixels away from edges, both `[1, H, W]`."""

    def __init__(self, mesh: Mesh, camera: Camera) -> None:
        self.camera = camera
        self.inverse = inverse_depth(rasterize(mesh.verts, mesh.faces, camera))
        unsafe = depth_edges(self.inverse) | (self.inverse == 0)
        size = 2 * MARGIN + 1
        self.safe = max_pool2d(unsafe[:, None].to(self.inverse), size, stride=1, padding=MARGIN)[:, 0] == 0

    def points(self) -> Float[Tensor, "1 N 3"]:
        """World points at the pixel centres; what lies on the background means nothing."""
        camera = self.camera
        row, column = torch.meshgrid(
            torch.arange(camera.height, dtype=camera.K.dtype, device=camera.K.device) + 0.5,
            torch.arange(camera.width, dtype=camera.K.dtype, device=camera.K.device) + 0.5,
            indexing="ij",
        )
        pixels = torch.stack([column, row], dim=-1).view(1, -1, 2)
        return camera.unproject(pixels, 1 / torch.where(self.inverse > 0, self.inverse, 1.0).flatten(1))


def _warp(
    frame: Float[Tensor, "H W 3"], before: _Sight, now: _Sight
) -> tuple[Float[Tensor, "H W 3"], Bool[Tensor, "H W"]]:
    """The frame before as the camera now would see it, and where that is known."""
    pixel, depth = before.camera.project(now.points())
    size = pixel.new_tensor([before.camera.width, before.camera.height])
    grid = (pixel / size * 2 - 1).view(1, *now.safe.shape[1:], 2)
    sampled = torch.cat([frame.permute(2, 0, 1)[None], before.inverse[:, None], before.safe[:, None].to(frame)], dim=1)
    sampled = grid_sample(sampled, grid, padding_mode="zeros", align_corners=False)[0]
    depth = depth.view(now.safe.shape[1:])
    agrees = (sampled[3] * depth - 1).abs() < DEPTH_TOLERANCE
    # Safe in all four pixels that are interpolated, all of them inside the picture.
    valid = now.safe[0] & agrees & (depth > 0) & (sampled[4] > 1 - 1e-4)
    return sampled[:3].permute(1, 2, 0), valid
