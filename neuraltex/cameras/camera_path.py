"""Files that hold a path to render: nerfstudio's `camera_path.json`, and our own, which is a `transforms.json`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.fields import Fields
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.nerfstudio import opengl_to_w2c, read_transforms, w2c_to_opengl, write_transforms
from neuraltex.files import read_json, write_json

DEFAULT_FPS = 24.0


@dataclass(frozen=True)
class CameraPath:
    """Cameras to render one after the other.

    Args:
        cameras: batch `[N]`.
        fps: frames a second.
    """

    cameras: Camera
    fps: float

    @property
    def seconds(self) -> float:
        """How long the path takes."""
        return self.cameras.batch_shape[0] / self.fps


def read_path(path: Path) -> CameraPath:
    """Read a path in either format; nerfstudio's is known by its `camera_path` field.

    Raises:
        InputError: neither format, or something wrong in it; names the frame.
    """
    parsed = read_json(path)
    fields = Fields(Path(path), None, parsed)
    if fields.value("camera_path") is not None:
        return _read_nerfstudio(fields)
    if fields.value("frames") is None:
        raise fields.error("is no camera path", "expected nerfstudio's camera_path or a transforms.json's frames")
    frames = read_transforms(Path(path), with_images=False).frames
    sizes = {(frame.camera.width, frame.camera.height) for frame in frames}
    if len(sizes) > 1:
        raise fields.error(f"the frames of a path must have one size, found {sorted(sizes)}")
    return CameraPath(Camera.stack([frame.camera for frame in frames]), fields.positive("fps") or DEFAULT_FPS)


def write_path(path: Path, camera_path: CameraPath) -> None:
    """Write a path in our own format: a `transforms.json` with full intrinsics a frame, and `fps`.

    Raises:
        InputError: the file cannot be written.
    """
    frames = [
        CameraFrame(f"{i:06d}", None, None, camera, seconds=i / camera_path.fps)
        for i, camera in enumerate(_singles(camera_path.cameras))
    ]
    write_transforms(path, frames, fps=camera_path.fps)


def write_nerfstudio_path(path: Path, camera_path: CameraPath) -> None:
    """Write a nerfstudio `camera_path.json`.

    The world is ours, that is the mesh's; a model that nerfstudio trained with its own re-centring does not share it.

    Raises:
        ValueError: cameras that the format cannot hold: it has one vertical field of view a frame, square pixels and
            a centred principal point.
        InputError: the file cannot be written.
    """
    cameras = camera_path.cameras
    K = cameras.K.double()
    middle = K.new_tensor([0.5 * cameras.width, 0.5 * cameras.height])
    if not torch.allclose(K[:, 0, 0], K[:, 1, 1], rtol=1e-4) or not torch.allclose(K[:, :2, 2], middle, atol=1e-2):
        raise ValueError(
            "camera_path: expected square pixels and a centred principal point, camera_path.json has no other; "
            "write_path keeps them"
        )
    fovs = torch.rad2deg(2 * torch.atan(0.5 * cameras.height / K[:, 1, 1])).tolist()
    matrices = w2c_to_opengl(cameras.w2c.double()).flatten(1).tolist()
    value: dict[str, Any] = {
        "camera_type": "perspective",
        "render_width": cameras.width,
        "render_height": cameras.height,
        "fps": camera_path.fps,
        "seconds": camera_path.seconds,
        "keyframes": [],
        "camera_path": [
            {"camera_to_world": matrix, "fov": fov, "aspect": cameras.width / cameras.height}
            for matrix, fov in zip(matrices, fovs, strict=True)
        ],
    }
    write_json(path, value)


def centered_lens(cameras: Camera) -> Camera:
    """The nearest cameras that `camera_path.json` can hold: the principal point moves to the middle, pixels to square.

    The vertical field of view is kept. This changes the picture, so it is never done unasked.
    """
    K = cameras.K.clone()
    K[..., 0, 0] = K[..., 1, 1]
    K[..., 0, 2], K[..., 1, 2] = 0.5 * cameras.width, 0.5 * cameras.height
    return Camera(K, cameras.w2c, cameras.width, cameras.height)


def _read_nerfstudio(head: Fields) -> CameraPath:
    kind = head.text("camera_type") or "perspective"
    if kind != "perspective":
        raise head.error(f"camera_type {kind!r} is not supported", "only perspective paths are")
    width, height = head.pixels("render_width"), head.pixels("render_height")
    if width is None or height is None:
        raise head.error("render_width and render_height are missing")
    entries = head.items("camera_path")
    frames = [_nerfstudio_frame(Fields(head.path, i, entry), height) for i, entry in enumerate(entries)]
    K = torch.zeros(len(frames), 3, 3, dtype=torch.float64)
    K[:, 0, 0] = K[:, 1, 1] = torch.tensor([focal for _, focal in frames], dtype=torch.float64)
    K[:, 0, 2], K[:, 1, 2], K[:, 2, 2] = 0.5 * width, 0.5 * height, 1.0
    w2c = opengl_to_w2c(torch.stack([c2w for c2w, _ in frames]))
    fps = head.positive("fps")
    duration = head.positive("seconds")
    if fps is None:
        fps = len(frames) / duration if duration is not None else DEFAULT_FPS
    return CameraPath(Camera(K.float(), w2c.float(), width, height), fps)


def _nerfstudio_frame(fields: Fields, height: int) -> tuple[Float[Tensor, "4 4"], float]:
    """Camera-to-world (OpenGL) and focal length; the frame's `aspect` repeats the render size and is not needed."""
    numbers = fields.items("camera_to_world")
    if len(numbers) != 16:
        raise fields.error(f"camera_to_world must hold 16 numbers, row by row, found {len(numbers)}")
    c2w = fields.rigid([numbers[i : i + 4] for i in (0, 4, 8, 12)], "camera_to_world")
    fov = fields.positive("fov")
    if fov is None:
        raise fields.error("fov is missing", "the vertical field of view in degrees was expected")
    if fov >= 179.9:
        raise fields.error(f"fov must be below 180 degrees, found {fov:g}")
    return c2w, 0.5 * height / math.tan(math.radians(0.5 * fov))


def _singles(cameras: Camera) -> list[Camera]:
    return [cameras[i] for i in range(cameras.batch_shape[0])]
