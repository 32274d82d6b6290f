"""The page in the browser: clients come, look around and go; one thread renders for all of them."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import socket
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from neuraltex.cameras.survey import survey_cameras
from neuraltex.editing.refined import with_refined_verts
from neuraltex.errors import NeuraltexError, SettingError
from neuraltex.evaluation.textured_mesh import load_textured_mesh
from neuraltex.optional import require
from neuraltex.training.run import Run
from neuraltex.viewer.cameras import BrowserCamera, camera_to_viser, forward_of, orbit_up, viser_to_camera
from neuraltex.viewer.keys import KeyPoses
from neuraltex.viewer.painter import Mode, Painter, View
from neuraltex.viewer.panels import MotionPanel, PartsPanel, PathPanel, PicturePanel
from neuraltex.viewer.parts import MovableScene
from neuraltex.viewer.photographs import Photographs
from neuraltex.viewer.schedule import Job, Pace, RenderLoop, Schedule

# Moving pictures may be coarse, a picture at rest is looked at; 4:2:0 colour is JPEG's own limit.
MOVING_QUALITY, RESTING_QUALITY = 80, 92
LEAST_SIZE = 64
DEFAULT_SIZES = (512, 1024)


def default_size(run: Run) -> int:
    """Longer side at rest: half as much again as the training images', between 512 and 1024."""
    cameras = run.load_cameras()
    return min(max(round(1.5 * max(cameras.width, cameras.height)), DEFAULT_SIZES[0]), DEFAULT_SIZES[1])


def make_painter(run: Run, device: torch.device, *, execution: str = "auto") -> Painter:
    """Everything that makes pictures of a run.

    Raises:
        InputError: the run is not trained, or a file of it is broken.
    """
    shader, _ = run.load_model(device)
    scene, captured = run.load_scene(), run.load_motion()
    corrected = with_refined_verts(scene, run.load_mesh(torch.device("cpu")))
    # At rest what training found is the surface itself; a motion is one of the file's vertices.
    movable = MovableScene(corrected)
    if captured is not None:
        movable = MovableScene(scene, corrected=corrected, motion=captured.motion)
    textured = load_textured_mesh(run.textured_mesh, device) if run.textured_mesh.is_file() else None
    photographs = Photographs(run.load_cameras(), run.load_capture, None if captured is None else captured.frames)
    return Painter(movable, shader.requires_grad_(False), photographs, textured=textured, execution=execution)


def warmed_up(painter: Painter, size: int, camera: BrowserCamera) -> Pace:
    """What pictures take here, by a few small ones: the first client does not wait for what only runs once."""
    pace = Pace(size, fixed=painter.device.type == "cuda")
    for _ in range(3):
        start = time.perf_counter()
        painter(View(camera), pace.sizes[0])
        seconds = time.perf_counter() - start
    pace.learn(pace.sizes[0], seconds)
    return pace


def encode_as_viser(rgb: npt.NDArray[np.uint8], quality: int) -> bytes:
    """A picture as viser's `set_background_image` encodes it for the browser, which takes no encoded ones."""
    _, data = cv2.imencode(".jpeg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def check_address(host: str, port: int) -> None:
    """See that a server could listen there.

    Raises:
        SettingError: no such address, or the port is taken or forbidden.
    """
    if not 0 <= port <= 65535:
        raise SettingError(f"--port {port}: expected a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingError(f"--host {host}: there is no such address ({error.strerror or error})") from error
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason, other = error.strerror or str(error), "port" if error.errno in (EADDRINUSE, EACCES) else "host"
        raise SettingError(f"--port {port}: cannot listen on {host} ({reason}); choose another --{other}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class _Client:
    """What the server keeps of a connected browser."""

    handle: Any
    panel: PicturePanel
    mode: Mode = "neuraltex"


class Viewer:
    """Serves a run until it is stopped.

    Args:
        run: a trained run.
        device: where to render.
        host: address to listen on.
        port: of it; 0 for any that is free.
        size: longer side of a picture at rest, in pixels.
        report: told what goes wrong while serving.

    Raises:
        NeuraltexError: the run is not trained, the port is taken, or viser is not installed.
    """

    def __init__(
        self,
        run: Run,
        device: torch.device,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        size: int | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        viser = require("viser", "view")
        # Somebody may go while a picture is made for them.
        warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")
        if size is not None and size < LEAST_SIZE:
            raise SettingError(f"--size {size}: expected at least {LEAST_SIZE} pixels")
        check_address(host, port)
        self.painter, self._report = make_painter(run, device), report
        self.photographs, self.trained = self.painter.photographs, run.load_cameras()
        self._survey = survey_cameras(self.trained)
        self._start = camera_to_viser(self.trained[0])
        self.schedule: Schedule[View] = Schedule(warmed_up(self.painter, size or default_size(run), self._start))
        self._loop = RenderLoop(self.schedule, self._render, self._failed)
        self._clients: dict[int, _Client] = {}
        # What viser prints about itself is said by the command.
        with contextlib.redirect_stdout(io.StringIO()):
            self.server = viser.ViserServer(host=host, port=port, label="neuraltex", verbose=False)
        if port and self.server.get_port() != port:  # somebody took it since it was tried
            self.server.stop()
            raise SettingError(f"--port {port}: was taken just now; choose another --port")
        shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server.get_port()}"
        self._lay_out(run)
        self._loop.start()

    def stop(self) -> None:
        """Let go of all clients and of the port."""
        self._loop.stop()
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def _lay_out(self, run: Run) -> None:
        """The world, its first camera, and the controls that all clients share."""
        server, radius = self.server, self._survey.radius
        # Sharing opens a tunnel through somebody else's machine.
        server.gui.configure_theme(show_logo=False, show_share_button=False)
        server.scene.set_up_direction(tuple(self._survey.up.tolist()))
        server.scene.world_axes.visible = False
        first = server.initial_camera
        first.position, first.fov = self._start.position, self._start.fov
        first.look_at, first.up = self._target(self._start), tuple(orbit_up(self._start, self._survey.up).tolist())
        first.near, first.far = 1e-3 * radius, 1e3 * radius
        self.parts = PartsPanel(server, self.painter.scene, self.schedule.ask_again)
        self.motion = MotionPanel(server, self.painter.scene, self.schedule.ask_again)
        self.keys = KeyPoses(self.trained.height)
        self.path = PathPanel(server, self.keys, run.folder, pose_of=_camera_of, place=self._place)
        server.on_client_connect(self._connect)
        server.on_client_disconnect(self._disconnect)

    async def _connect(self, handle: Any) -> None:
        """A browser came, and told its first camera; on the event loop, so that its cameras come in order."""
        identity = handle.client_id
        panel = PicturePanel(
            handle.gui,
            has_textured=self.painter.textured is not None,
            num_photographs=len(self.photographs),
            chosen=lambda mode: self._choose(identity, mode),
            jump=lambda index: self._jump(handle, index),
        )
        self._clients[identity] = _Client(handle, panel)

        @handle.camera.on_update
        async def _(_: Any) -> None:
            self._ask(identity)

        self._ask(identity)

    async def _disconnect(self, handle: Any) -> None:
        self._clients.pop(handle.client_id, None)
        self.schedule.forget(handle.client_id)

    def _ask(self, identity: int) -> None:
        client = self._clients.get(identity)
        if client is not None and client.handle.camera.image_height > 0:
            self.schedule.ask(identity, View(_camera_of(client.handle), client.mode))

    def _choose(self, identity: int, mode: Mode) -> None:
        client = self._clients.get(identity)
        if client is None:
            return
        if mode in ("photograph", "difference"):
            # Here, on a thread of its own: other clients' pictures need not wait. What fails is told by the picture.
            client.panel.say("decoding the photographs", now=True)
            with contextlib.suppress(NeuraltexError):
                self.photographs.decode()
        client.mode = mode
        self._ask(identity)

    def _jump(self, handle: Any, index: int | None) -> int:
        """Take a client to a photograph, the nearest one for None; returns which."""
        camera = _camera_of(handle)
        if index is None:
            index = self.photographs.nearest(viser_to_camera(camera, 16, 16))
        self._place(handle, camera_to_viser(self.photographs.cameras[index], aspect=camera.aspect))
        return index

    def _target(self, camera: BrowserCamera) -> tuple[float, float, float]:
        """What a camera turns round while orbiting: the point on its axis that is as far as the scene's middle."""
        forward, position = forward_of(camera), torch.tensor(camera.position, dtype=torch.float64)
        depth = float(forward @ (self._survey.center - position))
        depth = depth if depth > 0.05 * self._survey.radius else self._survey.radius
        x, y, z = (position + depth * forward).tolist()
        return x, y, z

    def _place(self, handle: Any, camera: BrowserCamera) -> None:
        """Put a client's camera somewhere; nothing where it has gone."""
        if handle.client_id not in self._clients:
            return
        with handle.atomic():
            handle.camera.up_direction = tuple(orbit_up(camera, self._survey.up).tolist())
            handle.camera.position = camera.position
            handle.camera.look_at = self._target(camera)
            handle.camera.fov = camera.fov
        # The browser tells where it is after its next frame; its picture need not wait for that.
        self._ask(handle.client_id)

    def _render(self, job: Job[View], give_up: Callable[[], bool]) -> None:
        client = self._clients.get(job.client)  # type: ignore[call-overload]
        if client is None:
            return
        start = time.perf_counter()
        picture = self.painter(job.view, job.size, give_up)
        quality = RESTING_QUALITY if job.refines else MOVING_QUALITY
        client.handle.scene.set_background_image(picture.rgb, format="jpeg", jpeg_quality=quality)
        client.handle.flush()
        height, width = picture.rgb.shape[:2]
        text = f"{width} x {height}, {1e3 * (time.perf_counter() - start):.0f} ms a frame"
        client.panel.say(f"{text}  \n{picture.note}" if picture.note else text, now=job.refines)

    def _failed(self, job: Job[View], error: Exception) -> None:
        client = self._clients.get(job.client)  # type: ignore[call-overload]
        if not isinstance(error, NeuraltexError):
            self._report("".join(traceback.format_exception(error)))
        if client is not None:
            text = str(error) if isinstance(error, NeuraltexError) else f"{error!r}, see the terminal"
            client.panel.say(f"**{text}**", now=True)


def _camera_of(handle: Any) -> BrowserCamera:
    """A client's camera as viser holds it."""
    camera = handle.camera
    w, x, y, z = (float(value) for value in camera.wxyz)
    east, north, high = (float(value) for value in camera.position)
    return BrowserCamera((w, x, y, z), (east, north, high), float(camera.fov), float(camera.aspect))
