"""A pinhole camera with batch dimensions, in OpenCV axes and pixel units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """One camera or a batch of them that share an image size.

    Args:
        K: `[..., 3, 3]` intrinsics in pixels; the pixel in column j, row i has its centre at (j + 0.5, i + 0.5).
        w2c: `[..., 4, 4]` world to camera, column vectors; camera axes are +x right, +y down, +z forward.
        width: columns of the image, in pixels.
        height: rows of the image, in pixels.
    """

    K: Float[Tensor, "*batch 3 3"]
    w2c: Float[Tensor, "*batch 4 4"]
    width: int
    height: int

    @staticmethod
    def from_fov(w2c: Float[Tensor, "*batch 4 4"], fov_x_deg: float, width: int, height: int) -> Camera:
        """A camera with square pixels and a centred principal point.

        Args:
            w2c: `[..., 4, 4]` world to camera.
            fov_x_deg: horizontal field of view in degrees, between 0 and 180.
            width: columns, in pixels.
            height: rows, in pixels.

        Raises:
            ValueError: `fov_x_deg` lies outside (0, 180).
        """
        if not 0 < fov_x_deg < 180:
            raise ValueError(f"fov_x_deg: expected an angle between 0 and 180 degrees, got {fov_x_deg}")
        focal = 0.5 * width / torch.tan(torch.deg2rad(torch.tensor(0.5 * fov_x_deg, dtype=torch.float64)))
        K = w2c.new_zeros(*w2c.shape[:-2], 3, 3)
        K[..., 0, 0] = K[..., 1, 1] = focal.to(w2c)
        K[..., 0, 2], K[..., 1, 2], K[..., 2, 2] = 0.5 * width, 0.5 * height, 1.0
        return Camera(K, w2c, width, height)

    @staticmethod
    def stack(cameras: Sequence[Camera]) -> Camera:
        """Join single cameras of one image size into a batch.

        Raises:
            ValueError: the list is empty or the sizes differ.
        """
        sizes = {(camera.width, camera.height) for camera in cameras}
        if len(sizes) != 1:
            raise ValueError(f"cameras: expected one image size for the whole batch, got {sorted(sizes)}")
        K = torch.stack([camera.K for camera in cameras])
        w2c = torch.stack([camera.w2c for camera in cameras])
        return Camera(K, w2c, cameras[0].width, cameras[0].height)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions of `K` and `w2c`."""
        return tuple(self.w2c.shape[:-2])

    @property
    def center(self) -> Float[Tensor, "*batch 3"]:
        """`[..., 3]` camera position in world coordinates. Differentiable in: w2c."""
        rotation, translation = self.w2c[..., :3, :3], self.w2c[..., :3, 3:]
        return -(rotation.transpose(-1, -2) @ translation).squeeze(-1)

    def __getitem__(self, index: int | slice | Tensor) -> Camera:
        return replace(self, K=self.K[index], w2c=self.w2c[index])

    def to(self, target: torch.device | torch.dtype | str) -> Camera:
        """Both matrices moved to a device or cast to a dtype."""
        return replace(self, K=self.K.to(target), w2c=self.w2c.to(target))

    def project(
        self, points: Float[Tensor, "*batch N 3"]
    ) -> tuple[Float[Tensor, "*batch N 2"], Float[Tensor, "*batch N"]]:
        """World points to pixels.

        Args:
            points: `[..., N, 3]` world coordinates.

        Returns:
            Pixel coordinates `[..., N, 2]` and camera-space z `[..., N]`; the pixel of a point with z <= 0 means
            nothing.

        Differentiable in: points, w2c, K.
        """
        camera_space = points @ self.w2c[..., :3, :3].transpose(-1, -2) + self.w2c[..., None, :3, 3]
        homogeneous = camera_space @ self.K.transpose(-1, -2)
        return homogeneous[..., :2] / homogeneous[..., 2:], camera_space[..., 2]

    def unproject(
        self, pixels: Float[Tensor, "*batch N 2"], depth: Float[Tensor, "*batch N"]
    ) -> Float[Tensor, "*batch N 3"]:
        """Pixels and camera-space z back to world points; the inverse of `project`.

        Differentiable in: pixels, depth, w2c, K.
        """
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
        camera_space = (homogeneous @ torch.linalg.inv(self.K).transpose(-1, -2)) * depth[..., None]
        return (camera_space - self.w2c[..., None, :3, 3]) @ self.w2c[..., :3, :3]

    def ray_dirs(self) -> Float[Tensor, "*batch H W 3"]:
        """`[..., H, W, 3]` unit vectors in world axes from the camera through each pixel centre.

        Differentiable in: w2c, K.
        """
        like: dict[str, Any] = {"dtype": self.K.dtype, "device": self.K.device}
        rows, columns = torch.meshgrid(
            torch.arange(self.height, **like) + 0.5, torch.arange(self.width, **like) + 0.5, indexing="ij"
        )
        pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).reshape(-1, 3)
        to_world = torch.linalg.inv(self.K).transpose(-1, -2) @ self.w2c[..., :3, :3]
        directions = torch.nn.functional.normalize(pixels @ to_world, dim=-1)
        return directions.reshape(*self.batch_shape, self.height, self.width, 3)

    def resize(self, width: int, height: int) -> Camera:
        """The same view on an image of another size; `K` is scaled, nothing is cropped."""
        # Row by row: a tensor of factors would have to be sent to a GPU, and a captured graph cannot wait for it.
        across, down, depth = self.K.unbind(-2)
        K = torch.stack([across * (width / self.width), down * (height / self.height), depth], dim=-2)
        return replace(self, K=K, width=width, height=height)

    def crop(self, left: float, top: float, width: int, height: int) -> Camera:
        """The window of `width` x `height` pixels whose top-left outer corner is at pixel (left, top)."""
        shift = torch.zeros_like(self.K)
        shift[..., 0, 2], shift[..., 1, 2] = left, top
        return replace(self, K=self.K - shift, width=width, height=height)


def look_at(
    eye: Float[Tensor, "*#batch 3"], target: Float[Tensor, "*#batch 3"], up: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """World-to-camera matrices of cameras at `eye` that look at `target` with `up` towards the top of the image.

    Args:
        eye: `[..., 3]` camera positions, world. The three arguments are broadcast.
        target: `[..., 3]` points on the optical axis, world.
        up: `[..., 3]` directions, world; need not be unit or orthogonal to the axis, only not parallel to it.

    Returns:
        `[..., 4, 4]` w2c.

    Raises:
        ValueError: `eye` equals `target`, or `up` is parallel to the viewing direction.

    Differentiable in: all arguments.
    """
    eye, target, up = torch.broadcast_tensors(eye, target, up)
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    right = torch.linalg.cross(forward, up)
    if bool((right.norm(dim=-1) <= 1e-6 * up.norm(dim=-1)).any()):
        raise ValueError("look_at: eye must differ from target and up must not be parallel to the viewing direction")
    right = torch.nn.functional.normalize(right, dim=-1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    w2c = torch.zeros(*eye.shape[:-1], 4, 4, dtype=eye.dtype, device=eye.device)
    w2c[..., :3, :3] = rotation
    w2c[..., :3, 3] = -(rotation @ eye[..., None]).squeeze(-1)
    w2c[..., 3, 3] = 1.0
    return w2c
