"""A trained run and a camera path to frames on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from neuraltex.cameras import Camera, CameraPath, orbit, read_path, spiral, spline_path, training_path
from neuraltex.capture import load_background, put_before, write_video
from neuraltex.errors import NeuraltexError, SettingError
from neuraltex.frames import FrameRenderer
from neuraltex.geometry import Motion, Poser
from neuraltex.training.run import Run
from neuraltex.training.workers import ALONE, Workers

# A frame to the mesh's vertices `[V, 3]` and the numbers `[E]` that its looks depend on beside its shape, if any.
PoseAt = Callable[[int], tuple[Tensor, Tensor | None]]
# About what a frame takes on a GPU, for telling how long a path will.
SECONDS_A_FRAME = 2e-3


def make_path(name: str, trained: Camera, *, num_frames: int, fps: float, smooth: bool = False) -> CameraPath:
    """A camera path by name or from a file.

    Args:
        name: "orbit", "spiral", "train" or "still", made from the training cameras; or a JSON file of cameras.
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
    if name == "still":
        return CameraPath(trained[torch.zeros(num_frames, dtype=torch.int64)], fps)
    if not Path(name).suffix:
        raise NeuraltexError(f"--path {name}: expected orbit, spiral, train, still, or a JSON file of cameras")
    path = read_path(Path(name))
    if not smooth:
        return path
    if len(path.cameras.K) < 2:
        raise NeuraltexError(f"--path {name}: expected at least 2 key poses to fly through, got {len(path.cameras.K)}")
    return CameraPath(spline_path(path.cameras, num_frames=num_frames), path.fps)


def render_frames(
    renderer: FrameRenderer,
    cameras: Camera,
    workers: Workers,
    pose_at: PoseAt | None = None,
) -> Iterator[UInt8[Tensor, "H W C"]]:
    """Render a path frame by frame.

    Args:
        renderer: of the scene.
        cameras: a batch `[N]`, on the scene's device.
        workers: the processes that share the frames: each renders every count-th, the first one gets them all.
        pose_at: the vertices in each frame and the surface's state, where the mesh moves.

    Yields:
        `[H, W, 3]` sRGB-encoded, or `[H, W, 4]` where the renderer makes alpha; in order, on the first worker alone.
    """
    for start in range(0, len(cameras.K), workers.count):
        index = min(start + workers.rank, len(cameras.K) - 1)
        if pose_at is not None:
            renderer.pose(*pose_at(index))
        frame = renderer(cameras[index : index + 1])[0]
        yield from workers.gather(frame)[: len(cameras.K) - start]


def render_run(
    run: Run,
    path: CameraPath,
    output: Path,
    device: torch.device,
    *,
    motion: Motion | None = None,
    loop: bool = False,
    freeze: int | None = None,
    size: int | None = None,
    alpha: bool = False,
    background: Path | None = None,
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0),
    finer: int = 1,
    execution: str = "auto",
    workers: Workers = ALONE,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Render a camera path through a trained run into a video or a folder of pictures.

    Args:
        run: a trained run.
        path: where to look from.
        output: a video file, or a folder of PNG files where the name has no suffix.
        device: where to compute.
        motion: of the mesh file's vertices: frame k of the path shows it at k / path.fps seconds. None for the one the
            run was trained on, if its mesh moved.
        loop: begin the motion anew where it ends before the path does; else its last frame is held.
        freeze: show this frame of the motion all along the path.
        size: longer side in pixels; None for the path's own.
        alpha: write the mesh alone, with alpha.
        background: a picture or a video to put the mesh in front of.
        gain: factors on red, green and blue light, on what the photographs' mean exposure shows.
        finer: render on so many times the rows and columns and average light over each pixel.
        execution: how frames run, as in `pick_execution`.
        workers: the processes that share the frames; the first one writes.
        report: told what will take long.

    Returns:
        The frames written.

    Raises:
        InputError: the run is not trained, the background cannot be used, or the output cannot be written.
        SettingError: an execution that cannot be had, alpha and a background at once, or a frame to freeze that the
            motion lacks.
    """
    if alpha and background is not None:
        raise SettingError("--alpha and --background: the one leaves out what the other puts behind; give one of them")
    cameras = path.cameras if size is None else resized(path.cameras, size)
    shader, _ = run.load_model(device)
    mesh = run.load_mesh(device)
    poser, pose_at = _poses(run, motion, path.fps, device, loop=loop, freeze=freeze)
    seconds = SECONDS_A_FRAME * len(cameras.K) * finer**2
    cut_out = alpha or background is not None
    renderer = FrameRenderer(
        mesh, shader, poser=poser, execution=execution, seconds=seconds, alpha=cut_out, gain=gain, finer=finer
    )
    if renderer.execution == "compile":
        report("compiling the network: the first frame takes 10 to 60 seconds")
    frames = render_frames(renderer, cameras.to(device), workers, pose_at)
    if workers.first:
        if background is not None:
            behind = load_background(background, len(cameras.K), cameras.width, cameras.height)
            frames = (put_before(frame, behind[i % len(behind)]) for i, frame in enumerate(frames))
        write_video(output, frames, path.fps, alpha=alpha)
    else:
        for _ in frames:
            pass
    return len(cameras.K)


def resized(cameras: Camera, size: int) -> Camera:
    """Cameras whose longer side has so many pixels.

    Args:
        cameras: a batch `[N]`.
        size: in pixels.
    """
    scale = size / max(cameras.width, cameras.height)
    return cameras.resize(max(round(cameras.width * scale), 1), max(round(cameras.height * scale), 1))


def _poses(
    run: Run, motion: Motion | None, fps: float, device: torch.device, *, loop: bool, freeze: int | None
) -> tuple[Poser | None, PoseAt | None]:
    """What poses the run's mesh, and its pose in each frame of a path; nothing where the mesh rests."""
    if motion is None:
        captured = run.load_motion()
        motion = None if captured is None else captured.motion
    if motion is None:
        if freeze is not None or loop:
            raise SettingError("--freeze, --loop: the run was trained on a mesh at rest; give a --motion to render")
        return None, None
    if freeze is not None and not 0 <= freeze < motion.num_frames:
        raise SettingError(f"--freeze {freeze}: expected a frame of the motion, 0 to {motion.num_frames - 1}")
    scene = run.load_scene()
    flat = motion.onto(scene)

    def pose_at(index: int) -> tuple[Tensor, Tensor | None]:
        # Frames are sent one by one: a long motion of a large mesh need not fit on the device.
        seconds = index / fps if freeze is None else freeze / flat.fps
        condition = flat.condition_at(seconds, loop=loop)
        return flat.at(seconds, loop=loop).to(device), None if condition is None else condition.to(device)

    return Poser(scene.flatten().to(device)), pose_at
