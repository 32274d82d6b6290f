"""A trained run and a camera path to frames on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras import Camera, CameraPath, orbit, read_path, spiral, spline_path, training_path
from neuraltex.capture import write_video
from neuraltex.errors import NeuraltexError
from neuraltex.geometry.mesh import Mesh
from neuraltex.pipeline import render
from neuraltex.raster import opposite_corners
from neuraltex.shading import Shader
from neuraltex.training.run import Run


def make_path(name: str, trained: Camera, *, num_frames: int, fps: float, smooth: bool = False) -> CameraPath:
    """A camera path by name or from a file.

    Args:
        name: "orbit", "spiral" or "train", made from the training cameras; or a JSON file of cameras.
        trained: the training cameras, a batch `[N]`.
        num_frames: frames of a path that is made here.
        fps: frames a second of a path that does not say.
        smooth: take the file's cameras for key poses and fly through them at constant speed, in `num_frames`.

    Raises:
        InputError: the file cannot be read.
        NeuraltexError: there is no path of that name.
    """
    if name == "orbit":
        return CameraPath(orbit(trained, num_frames=num_frames), fps)
    if name == "spiral":
        return CameraPath(spiral(trained, num_frames=num_frames), fps)
    if name == "train":
        return CameraPath(training_path(trained, num_frames=num_frames), fps)
    if not Path(name).suffix:
        raise NeuraltexError(f"--path {name}: expected orbit, spiral, train, or a JSON file of cameras")
    path = read_path(Path(name))
    if not smooth:
        return path
    if len(path.cameras.K) < 2:
        raise NeuraltexError(f"--path {name}: expected at least 2 key poses to fly through, got {len(path.cameras.K)}")
    return CameraPath(spline_path(path.cameras, num_frames=num_frames), path.fps)


@torch.no_grad()
def render_frames(mesh: Mesh, cameras: Camera, shader: Shader) -> Iterator[Float[Tensor, "H W 3"]]:
    """Render a path frame by frame.

    Args:
        mesh: the scene's flat buffers, on the shader's device.
        cameras: a batch `[N]`.
        shader: what was learned.

    Yields:
        `[H, W, 3]` sRGB-encoded colour in [0, 1], black where nothing was learned: behind the mesh of a run that was
        trained with masks.
    """
    opposite = opposite_corners(mesh.faces)
    for index in range(len(cameras.K)):
        rendering = render(mesh, cameras[index : index + 1], shader, opposite=opposite)
        rgb = rendering.rgb[0].clamp(0, 1)
        if shader.environment is None:
            rgb = rgb * rendering.gbuffer.mask[0, ..., None]
        yield rgb


def render_run(run: Run, path: CameraPath, output: Path, device: torch.device, *, size: int | None = None) -> int:
    """Render a camera path through a trained run into a video or a folder of pictures.

    Args:
        run: a trained run.
        path: where to look from.
        output: a video file, or a folder of PNG files where the name has no suffix.
        device: where to compute.
        size: longer side in pixels; None for the path's own.

    Returns:
        The frames written.

    Raises:
        InputError: the run is not trained, or the output cannot be written.
    """
    cameras = path.cameras
    if size is not None:
        scale = size / max(cameras.width, cameras.height)
        cameras = cameras.resize(max(round(cameras.width * scale), 1), max(round(cameras.height * scale), 1))
    shader, _ = run.load_model(device)
    mesh = run.load_scene().flatten().to(device)
    write_video(output, render_frames(mesh, cameras.to(device), shader), path.fps)
    return len(cameras.K)
