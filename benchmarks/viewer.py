"""The viewer's loop from a moving camera to JPEG files, without a browser: schedule, renderer, encoder.

    python -m benchmarks.viewer [--run RUN] [--device cuda] [--sizes 512 1024] [--seconds 5] [--output viewer.json]

One client whose camera is somewhere else whenever a picture was shown, then rests. Square pictures, encoded as the
viewer has them encoded. Without a run, 100,000 faces on 15% of the picture, the environment on the rest, and random
weights of the device's default sizes, which cost the same. Columns: the longer side that pictures have in motion and
how many a second were shown; the slowest of them; how long the full picture takes; how long a client that comes waits
for its first picture once the run is loaded, and for the full one.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.scenes import as_mesh, camera_at, sphere
from benchmarks.timing import machine, markdown, show
from neuraltex.cameras.paths import orbit
from neuraltex.capture import Capture
from neuraltex.errors import NeuraltexError
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training import Run, defaults_for
from neuraltex.viewer.cameras import BrowserCamera, camera_to_viser
from neuraltex.viewer.painter import Painter, View
from neuraltex.viewer.parts import MovableScene
from neuraltex.viewer.photographs import Photographs
from neuraltex.viewer.schedule import Job, RenderLoop, Schedule
from neuraltex.viewer.server import MOVING_QUALITY, RESTING_QUALITY, encode_as_viser, make_painter, warmed_up

NUM_CAMERAS = 240


@dataclass
class Screen:
    """In a browser's place: takes encoded pictures, and moves the camera as long as it is told to."""

    schedule: Schedule[View]
    painter: Painter
    cameras: list[BrowserCamera]
    moving: bool = False
    shown: list[tuple[float, Job[View], float, int]] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    error: Exception | None = None

    def render(self, job: Job[View], give_up: Callable[[], bool]) -> None:
        """As the server does, up to the socket."""
        start = time.perf_counter()
        picture = self.painter(job.view, job.size, give_up)
        data = encode_as_viser(picture.rgb, RESTING_QUALITY if job.refines else MOVING_QUALITY)
        with self.news:
            self.shown.append((time.perf_counter(), job, time.perf_counter() - start, len(data)))
            if self.moving:
                self.schedule.ask(0, View(self.cameras[len(self.shown) % len(self.cameras)]))
            self.news.notify_all()

    def failed(self, job: Job[View], error: Exception) -> None:
        """No picture came of it."""
        del job
        with self.news:
            self.error = error
            self.news.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until a picture that was shown makes it true."""
        with self.news:
            if not self.news.wait_for(lambda: self.error is not None or condition(), timeout=600):
                raise TimeoutError("no picture for ten minutes")
            if self.error is not None:
                raise self.error


def made_up(device: torch.device) -> tuple[Painter, list[BrowserCamera]]:
    """A scene as large as others are measured on, and cameras around it."""
    mesh = as_mesh(*sphere(100_000))
    none = torch.full((len(mesh.faces),), -1)
    verts, normals = mesh.verts.double(), mesh.normals.double()
    rows = torch.arange(len(verts))
    part = Part(
        "sphere", verts, mesh.faces, mesh.verts_uv.double(), mesh.faces_uv, normals, mesh.faces_normals, none, rows
    )
    torch.manual_seed(0)
    shading = replace(defaults_for(device)[0], environment=True, fade_levels=True, interreflections=True)
    shader = Shader(shading).to(device).requires_grad_(False)
    middle = torch.zeros(3)
    ring = orbit(camera_at(512), num_frames=NUM_CAMERAS, center=middle, up=torch.tensor([0.0, 1.0, 0.0]), sweep_deg=360)
    painter = Painter(MovableScene(Scene([part])), shader, Photographs(ring, no_photographs))
    return painter, [camera_to_viser(ring[i]) for i in range(NUM_CAMERAS)]


def no_photographs() -> Capture:
    """In a made-up scene's place of photographs."""
    raise NeuraltexError("a made-up scene was never photographed")


def around(run: Run, device: torch.device) -> tuple[Painter, list[BrowserCamera]]:
    """A trained run, and its orbit on a square canvas."""
    ring = orbit(run.load_cameras(), num_frames=NUM_CAMERAS)
    cameras = [replace(camera_to_viser(ring[i]), aspect=1.0) for i in range(NUM_CAMERAS)]
    return make_painter(run, device), cameras


def measure(painter: Painter, cameras: list[BrowserCamera], size: int, seconds: float) -> dict[str, Any]:
    """One row of the table."""
    schedule: Schedule[View] = Schedule(warmed_up(painter, size, cameras[0]))
    screen = Screen(schedule, painter, cameras)
    loop = RenderLoop(schedule, screen.render, screen.failed)
    loop.start()
    try:
        asked = time.perf_counter()
        schedule.ask(0, View(cameras[0]))
        screen.wait(lambda: screen.shown[-1][1].size == size if screen.shown else False)
        first, full = screen.shown[0][0] - asked, screen.shown[-1][0] - asked
        sharp = [took for _, job, took, _ in screen.shown if job.size == size]
        screen.moving = True
        begun = len(screen.shown)
        schedule.ask(0, View(cameras[1]))
        time.sleep(seconds)
        screen.moving = False
        moved = screen.shown[begun:]
        if moved[-1][1].size < size:
            count = len(screen.shown)
            screen.wait(lambda: len(screen.shown) > count and screen.shown[-1][1].size == size)
            sharp.append(screen.shown[-1][2])
    finally:
        loop.stop()
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(moved)]
    return {
        "picture": f"{size} x {size}",
        "in motion": f"{statistics.median_low([job.size for _, job, _, _ in moved])}",
        "frames a second": (len(moved) - 1) / (moved[-1][0] - moved[0][0]) if len(moved) > 1 else math.nan,
        "slowest, ms": 1e3 * max(gaps, default=math.nan),
        "full, ms": 1e3 * statistics.median(sharp),
        "first picture, s": first,
        "first full picture, s": full,
        "kB": statistics.median([size for _, _, _, size in moved]) / 1e3,
    }


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=None, help="a trained run folder")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="longer sides at rest, in pixels")
    parser.add_argument("--seconds", type=float, default=5.0, help="of motion")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    painter, cameras = made_up(device) if arguments.run is None else around(Run.open(arguments.run), device)
    shading: ShadingConfig = painter.shader.config
    result: dict[str, Any] = {**machine(device), "decoder": shading.decoder, "width": shading.decoder_width, "rows": []}
    for size in arguments.sizes:
        row = measure(painter, cameras, size, arguments.seconds)
        result["rows"].append(row)
        show(row)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(markdown(result["rows"]))


if __name__ == "__main__":
    main()
