"""How well cameras and a mesh agree: does every view see the same colour at the same point of the surface?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import undistort
from neuraltex.capture.images import read_image
from neuraltex.capture.solve.solution import SolvedFrame
from neuraltex.capture.solve.surface import Surface
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import rasterize

Array = npt.NDArray[np.float64]

Seen = npt.NDArray[np.bool_]

VIEW_SIZE = 320
MOST_VIEWS = 24
NUM_SAMPLES = 4000
# A surface seen flatter than this mixes too much into one pixel.
LEAST_COSINE = 0.25
FEWEST_SEEN = 200
# Of the size of the mesh: how far a point may lie from it and still be on it.
DEPTH_SLACK = 0.015


@dataclass(frozen=True)
class Views:
    """A few photographs of a capture, small and reduced to their texture.

    Args:
        K: `[N, 3, 3]` for the small pictures.
        w2c: `[N, 4, 4]` in the solver's frame.
        textures: `[N, H, W, 3]` float32, band-passed colour.
        pictures: `[N, H, W, 3]` uint8, as photographed.
        which: `[N]` positions among the solved frames.
    """

    K: Array
    w2c: Array
    textures: npt.NDArray[np.float32]
    pictures: npt.NDArray[np.uint8]
    which: tuple[int, ...]

    def cameras(self, w2c: Array) -> Camera:
        """Their cameras with other extrinsics, float32."""
        height, width = self.pictures.shape[1:3]
        return Camera(torch.from_numpy(self.K).float(), torch.from_numpy(w2c).float(), width, height)


def load_views(folder: Path, frames: Sequence[SolvedFrame], *, most: int = MOST_VIEWS, size: int = VIEW_SIZE) -> Views:
    """Read evenly spread frames of a capture folder, without distortion and small.

    Raises:
        InputError: a photograph is missing or broken.
    """
    which = evenly_spread(len(frames), most=most)
    pictures, K = read_pictures(folder, [frames[k] for k in which], size=size)
    textures = np.stack([_band_pass(picture) for picture in pictures])
    return Views(K, np.stack([frames[k].w2c for k in which]), textures, pictures, which)


def evenly_spread(count: int, *, most: int) -> tuple[int, ...]:
    """Positions among `count` frames, the first and the last included."""
    return tuple(sorted({round(k * (count - 1) / max(most - 1, 1)) for k in range(most)}))


def read_pictures(folder: Path, frames: Sequence[SolvedFrame], *, size: int) -> tuple[npt.NDArray[np.uint8], Array]:
    """Read photographs of a capture folder, without distortion and small.

    Args:
        folder: the capture folder.
        frames: which; all of one size.
        size: longer side in pixels; smaller photographs stay as they are.

    Returns:
        `[N, H, W, 3]` uint8 pictures and `[N, 3, 3]` their `K`.

    Raises:
        InputError: a photograph is missing or broken.
    """
    import cv2

    first = frames[0]
    scale = min(1.0, size / max(first.width, first.height))
    width, height = max(round(first.width * scale), 1), max(round(first.height * scale), 1)
    pictures, intrinsics = [], []
    for frame in frames:
        rgb = read_image(folder / frame.name, stored_size=(frame.width, frame.height)).rgb
        camera = Camera(torch.from_numpy(frame.K), torch.eye(4).double(), frame.width, frame.height)
        if frame.distortion is not None:
            rgb = undistort(rgb, camera.resize(rgb.shape[1], rgb.shape[0]), frame.distortion)
        pictures.append(np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
        intrinsics.append(camera.resize(width, height).K.numpy())
    return np.stack(pictures), np.stack(intrinsics)


def _band_pass(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Colour without what is smooth over the whole object, which agrees with anything, and without noise."""
    import cv2

    colour = picture.astype(np.float32) / 255
    reach = max(picture.shape) / VIEW_SIZE
    return np.asarray(cv2.GaussianBlur(colour, (0, 0), 1.2 * reach) - cv2.GaussianBlur(colour, (0, 0), 12.0 * reach))


def mesh_depths(mesh: Mesh, cameras: Camera, *, near: float) -> Float[Tensor, "N H W"]:
    """`[N, H, W]` camera z of the mesh in each view, 0 where there is none; one view at a time for the memory."""
    views = range(len(cameras.w2c))
    return torch.cat([rasterize(mesh.verts, mesh.faces, cameras[k : k + 1], near=near).zbuf for k in views])


def photo_consistency(surface: Surface, views: Views, cameras: Camera, depths: Float[Tensor, "N H W"]) -> float:
    """How much of the texture seen at points of the surface is the same from all sides.

    Args:
        surface: points on the mesh.
        views: photographs.
        cameras: theirs, `[N]`, in the mesh's frame.
        depths: `mesh_depths` of these, which tell what hides what.

    Returns:
        1 where every point looks the same in all views that see it; 0 where points of one view are as alike as the
        same point in several, as they are for cameras that have nothing to do with the mesh. Below 0 at worst.
    """
    colours, seen = _colours(surface, views, cameras, depths)
    counted = seen.sum(0) >= 3
    if counted.sum() < FEWEST_SEEN * min(1.0, len(surface.points) / NUM_SAMPLES):
        return 0.0
    colours, seen = colours[:, counted], seen[:, counted]
    within = _spread(colours, seen)
    rng = np.random.default_rng(0)
    shuffled = []
    for _ in range(3):
        mixed = colours.copy()
        for view in range(len(mixed)):
            visible = np.flatnonzero(seen[view])
            mixed[view, visible] = colours[view, rng.permutation(visible)]
        shuffled.append(_spread(mixed, seen))
    apart = float(np.mean(shuffled))
    return 1.0 - within / apart if apart > 1e-9 else 0.0


def depth_agreement(
    surface: Surface, cameras: Camera, depths: Float[Tensor, "N H W"], points: Array, seen: Seen
) -> float:
    """Of the solved points that a view sees where it sees the mesh: the share that lies on the mesh.

    A flat piece fits onto any other flat piece, and colours agree on it; what stands on it then floats before it.

    Args:
        surface: points on the mesh.
        cameras: of the views, `[N]`, in the mesh's frame.
        depths: `mesh_depths` of these.
        points: `[P, 3]` the solved points in the mesh's frame.
        seen: `[N, P]` which view sees which.

    Returns:
        Between 0 and 1; 0 where hardly any point falls onto the mesh.
    """
    cloud = torch.from_numpy(points).float()
    height, width = depths.shape[1:]
    on, hit = 0, 0
    for view in range(len(depths)):
        depth = depths[view]
        pixels, z = cameras[view].project(cloud)
        cell = pixels.nan_to_num(-1.0).clamp(-1.0, 1e6).floor().long()
        inside = (cell >= 0).all(-1) & (cell[:, 0] < width) & (cell[:, 1] < height) & (z > 0)
        mesh_depth = depth[cell[:, 1].clamp(0, height - 1), cell[:, 0].clamp(0, width - 1)]
        counted = inside & (mesh_depth > 0) & torch.from_numpy(seen[view])
        hit += int(counted.sum())
        on += int((counted & ((z - mesh_depth).abs() < DEPTH_SLACK * surface.size)).sum())
    return on / hit if hit >= 50 else 0.0


def _spread(colours: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]) -> float:
    """Mean over the points of the variance over the views that see each."""
    weight = seen[..., None].astype(np.float64)
    count = weight.sum(0)
    mean = (weight * colours).sum(0) / count
    return float(((weight * (colours - mean) ** 2).sum(0) / (count - 1)).sum(1).mean())


def _colours(
    surface: Surface, views: Views, cameras: Camera, depths: Float[Tensor, "N H W"]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """`[N, S, 3]` texture of each view at each point, and `[N, S]` whether it sees the point."""
    points, normals = torch.from_numpy(surface.points).float(), torch.from_numpy(surface.normals).float()
    height, width = views.pictures.shape[1:3]
    colours = np.zeros((len(depths), len(points), 3), np.float32)
    seen = np.zeros((len(depths), len(points)), np.bool_)
    for view in range(len(depths)):
        camera, depth = cameras[view], depths[view]
        pixels, z = camera.project(points)
        grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
        in_front = (z > 1e-3 * surface.size) & (grid.abs() < 0.98).all(-1)
        cell = pixels.nan_to_num(0.0).long()
        column, row = cell[:, 0].clamp(0, width - 1), cell[:, 1].clamp(0, height - 1)
        to_camera = torch.nn.functional.normalize(camera.center - points, dim=-1)
        cosine = (normals * to_camera).sum(-1).abs()
        # A pixel's depth is that of its centre: half a pixel aside on a slanted surface it differs by this much.
        slack = 5e-3 * surface.size + z / camera.K[0, 0] / cosine.clamp_min(0.05)
        visible = in_front & (cosine > LEAST_COSINE) & (z <= depth[row, column] + slack) & (depth[row, column] > 0)
        texture = torch.from_numpy(views.textures[view]).permute(2, 0, 1)[None]
        sampled = torch.nn.functional.grid_sample(
            texture, grid.nan_to_num(0.0)[None, None], align_corners=False, padding_mode="border"
        )
        colours[view] = sampled[0, :, 0].T.numpy()
        seen[view] = visible.numpy()
    return colours, seen
