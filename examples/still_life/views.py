"""Where the cameras stand: a video that sweeps a band of the upper hemisphere, and views between its frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neuraltex.cameras.camera import Camera, look_at

FOCAL_PER_WIDTH = 1.34
TARGET = (0.03, -0.02, 0.22)
UP = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def orbit_camera(
    azimuth_deg: float, elevation_deg: float, distance: float, target: tuple[float, ...], size: int
) -> Camera:
    """A camera on a sphere around `target`, looking at it; azimuth 0 is +x and elevation 90 is straight above."""
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    outwards = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    centre = torch.tensor(target, dtype=torch.float64)
    eye = centre + distance * torch.tensor(outwards, dtype=torch.float64)
    focal = FOCAL_PER_WIDTH * size
    K = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], dtype=torch.float64)
    return Camera(K, look_at(eye, centre, UP), size, size)


def video_cameras(count: int, size: int) -> list[Camera]:
    """One and a half turns while the elevation swings between 15 and 55 degrees.

    The half turn that is passed twice is passed at opposite phases of the swing, once high and once low.
    """
    cameras = []
    for t in np.linspace(0.0, 1.0, count):
        swing = np.sin(2 * np.pi * 2.25 * t)
        distance = 2.45 + 0.2 * np.sin(2 * np.pi * 1.4 * t + 0.6)
        cameras.append(orbit_camera(-125.0 + 540.0 * t, 35.0 + 20.0 * swing, distance, TARGET, size))
    return cameras


def other_cameras(count: int, size: int, *, seed: int, avoid: list[Camera], apart_deg: float) -> list[Camera]:
    """Cameras of the same band, spread over the azimuth, none within `apart_deg` of a direction in `avoid`."""
    rng = np.random.default_rng(seed)
    centre = torch.tensor(TARGET, dtype=torch.float64)
    taken = torch.nn.functional.normalize(torch.stack([camera.center - centre for camera in avoid]), dim=-1)
    cameras: list[Camera] = []
    while len(cameras) < count:
        azimuth = 360.0 * (len(cameras) + rng.uniform()) / count
        target = tuple(np.asarray(TARGET) + rng.uniform(-0.05, 0.05, 3))
        camera = orbit_camera(azimuth, rng.uniform(19.0, 51.0), rng.uniform(2.35, 2.65), target, size)
        direction = torch.nn.functional.normalize(camera.center - centre, dim=-1)
        angle_deg = torch.rad2deg(torch.arccos((taken @ direction).clamp(-1, 1))).min()
        if angle_deg > apart_deg:
            cameras.append(camera)
    return cameras


def slow_cameras(count: int, size: int) -> list[Camera]:
    """A move of 0.4 degrees a frame at the height between the video's two passes, 9 degrees and more from both.

    The first 24 frames stay there; later ones go on around the scene, past the video's cameras.
    """
    elevation_deg, step_deg = 35.0, 0.4
    turn_deg = step_deg / np.cos(np.deg2rad(elevation_deg))
    return [orbit_camera(-104.0 + turn_deg * i, elevation_deg, 2.45, TARGET, size) for i in range(count)]


def transforms(cameras: list[Camera], frames: list[dict[str, Any]]) -> dict[str, Any]:
    """The nerfstudio `transforms.json` of cameras that share their intrinsics.

    Args:
        cameras: single cameras of one size.
        frames: for each camera, what identifies its picture: `file_path`, and `frame_index` within a video.
    """
    K = cameras[0].K
    opencv_to_opengl = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    listed = []
    for camera, frame in zip(cameras, frames, strict=True):
        camera_to_world = torch.linalg.inv(camera.w2c) @ opencv_to_opengl
        listed.append({**frame, "transform_matrix": camera_to_world.tolist()})
    return {
        "camera_model": "PINHOLE",
        "w": cameras[0].width,
        "h": cameras[0].height,
        "fl_x": float(K[0, 0]),
        "fl_y": float(K[1, 1]),
        "cx": float(K[0, 2]),
        "cy": float(K[1, 2]),
        "frames": listed,
    }
