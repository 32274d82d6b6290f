"""What a client looks at, as a picture: ours, a photograph, the ordinary texture, or how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.evaluation.textured_mesh import TexturedMesh
from neuraltex.frames import FrameRenderer
from neuraltex.geometry import Poser
from neuraltex.pipeline import look
from neuraltex.shading import Shader
from neuraltex.viewer.cameras import BrowserCamera, camera_to_viser, picture_size, viser_to_camera
from neuraltex.viewer.parts import MovableScene, Placed
from neuraltex.viewer.photographs import Photographs
from neuraltex.viewer.schedule import SupersededError

Mode = Literal["neuraltex", "photograph", "texture", "difference"]
# Differences are small: a mean of 26 dB is a twentieth of white.
DIFFERENCE_GAIN = 3
NO_TEXTURED_MESH = "the neural texture's first three channels, as learned; neuraltex eval fits a textured mesh"
# Canvases of nearly one shape share a picture size on a GPU, where each is captured once: 19% from one to the next.
ASPECTS_AN_OCTAVE = 4
GPU_MULTIPLE = 16
# Captured frames keep their memory.
MOST_CAPTURED = 8


@dataclass(frozen=True)
class View:
    """What a client wishes to see.

    Args:
        camera: the browser's.
        mode: "photograph" and "difference" stand where the nearest photograph was taken, not where the camera is.
    """

    camera: BrowserCamera
    mode: Mode = "neuraltex"


@dataclass(frozen=True)
class Picture:
    """A picture and what is to be said about it.

    Args:
        rgb: `[H, W, 3]` uint8, sRGB-encoded, to be stretched over the canvas.
        note: what else there is to know: which photograph it is, say.
    """

    rgb: npt.NDArray[np.uint8]
    note: str = ""


class Painter:
    """Makes pictures of a scene whose parts may be moved meanwhile; to be used from one thread.

    Args:
        scene: the parts.
        shader: what was learned; on the device to compute on.
        photographs: to compare with.
        textured: the baseline that the evaluation fitted; None for the neural texture's first three channels.
        execution: how frames run, as in `pick_execution`.
    """

    def __init__(
        self,
        scene: MovableScene,
        shader: Shader,
        photographs: Photographs,
        *,
        textured: TexturedMesh | None = None,
        execution: str = "auto",
    ) -> None:
        self.scene, self.shader, self.photographs, self.textured = scene, shader, photographs, textured
        self.device = next(shader.parameters()).device
        self._execution = execution
        self._renderer: FrameRenderer | None = None
        self._placed: Placed | None = None
        self._sizes: set[tuple[int, int]] = set()
        self._give_up: Callable[[], bool] = bool

    def __call__(self, view: View, longer: int, give_up: Callable[[], bool] = bool) -> Picture:
        """Render.

        Args:
            view: what.
            longer: longer side in pixels.
            give_up: asked between layers of the network where it runs eagerly on a CPU.

        Raises:
            SupersededError: it was told to give up.
            InputError: the photographs cannot be loaded.
        """
        # Streams and graphs belong to a thread's current GPU, which in a new thread is the first one.
        here = torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
        with torch.no_grad(), here:
            return self._paint(view, longer, give_up)

    def _paint(self, view: View, longer: int, give_up: Callable[[], bool]) -> Picture:
        browser, index = view.camera, 0
        if view.mode in ("photograph", "difference"):
            index = self.photographs.nearest(viser_to_camera(browser, 16, 16))
            there = camera_to_viser(self.photographs.cameras[index])
            browser = replace(browser, wxyz=there.wxyz, position=there.position)
        camera = viser_to_camera(browser, *self._size(longer, browser.aspect))
        if view.mode == "texture":
            return Picture(self._texture(camera), "" if self.textured is not None else NO_TEXTURED_MESH)
        if view.mode == "neuraltex":
            return Picture(self._frame(camera, give_up))
        photo, counted = self.photographs.seen_by(index, camera)
        note, pose = self.photographs.name(index), self.photographs.pose(index)
        if pose is not None:
            note = f"{note}, frame {pose} of the motion"
        if view.mode == "photograph":
            return Picture(photo, note)
        apart = np.abs(self._frame(camera, give_up, pose).astype(np.int16) - photo) * DIFFERENCE_GAIN
        return Picture((apart.clip(0, 255) * counted[..., None]).astype(np.uint8), note)

    def _size(self, longer: int, aspect: float) -> tuple[int, int]:
        if self.device.type != "cuda":
            return picture_size(longer, aspect)
        steps = round(ASPECTS_AN_OCTAVE * float(np.log2(aspect)))
        return picture_size(longer, 2 ** (steps / ASPECTS_AN_OCTAVE), multiple=GPU_MULTIPLE)

    def _frame(self, camera: Camera, give_up: Callable[[], bool], pose: int | None = None) -> npt.NDArray[np.uint8]:
        size = (camera.width, camera.height)
        if self.device.type == "cuda" and size not in self._sizes and len(self._sizes) >= MOST_CAPTURED:
            self._renderer = None
        renderer = self._current(pose)
        self._sizes.add(size)
        with self._giving_up(give_up):
            frame = renderer(Camera.stack([camera]).to(self.device))[0]
        return frame.cpu().numpy()

    def _texture(self, camera: Camera) -> npt.NDArray[np.uint8]:
        """The ordinary texture; without one, what the neural texture holds where training pulls it towards colour."""
        mesh, cameras = self._current().mesh, Camera.stack([camera]).to(self.device)
        if self.textured is not None:
            rgb = self.textured(mesh, cameras)
        else:
            _, colour, gbuffer = look(mesh, cameras, self.shader)
            rgb = colour.permute(0, 2, 3, 1)
            if self.shader.environment is None:
                rgb = rgb * gbuffer.mask[..., None]
        return (rgb[0].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()

    def _current(self, frame: int | None = None) -> FrameRenderer:
        """The renderer, with every part where it is now.

        Args:
            frame: of the motion; None for the one that all clients look at.
        """
        frame = self.scene.frame if frame is None else frame
        before, renderer = self._placed, self._renderer
        if (
            renderer is not None
            and before is not None
            and (before.version, before.frame) == (self.scene.version, frame)
        ):
            return renderer
        self._placed = now = self.scene.placed(frame)
        if renderer is None or before is None or before.shown != now.shown:
            renderer = self._renew(now.shown)
        renderer.pose(now.verts, now.condition)
        return renderer

    def _renew(self, shown: tuple[str, ...]) -> FrameRenderer:
        rest, shape = self.scene.surfaces(shown, self.device)
        self._renderer = FrameRenderer(shape, self.shader, poser=Poser(rest), execution=self._execution)
        self._sizes.clear()
        if self._renderer.execution == "eager":
            for layer in self._renderer.shader.decoder.modules():
                layer.register_forward_pre_hook(self._check)
        return self._renderer

    def _check(self, *_: Any) -> None:
        if self._give_up():
            raise SupersededError

    @contextmanager
    def _giving_up(self, give_up: Callable[[], bool]) -> Iterator[None]:
        self._give_up = give_up
        try:
            yield
        finally:
            self._give_up = bool
