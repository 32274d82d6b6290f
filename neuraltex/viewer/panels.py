"""The controls beside the picture: what is shown, the parts, and the camera path. Handles are viser's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuraltex.cameras.rotations import quaternion_from_matrix
from neuraltex.errors import NeuraltexError
from neuraltex.viewer.keys import FPS, KeyPoses
from neuraltex.viewer.painter import DIFFERENCE_GAIN, Mode
from neuraltex.viewer.parts import MovableScene

NO_PART = "none"
# A gizmo as large as its part hides it less than one that is larger.
GIZMO_SHARE = 0.5
STATISTICS_SECONDS = 0.2


class PicturePanel:
    """One client's choice of what is shown, and what is said about it.

    Args:
        gui: the client's.
        has_textured: whether the evaluation stored the textured mesh.
        num_photographs: to compare with.
        chosen: told the mode when it changes.
        jump: takes the client to a photograph, by its number from 0, the nearest one for None; returns which.
    """

    def __init__(
        self,
        gui: Any,
        *,
        has_textured: bool,
        num_photographs: int,
        chosen: Callable[[Mode], None],
        jump: Callable[[int | None], int],
    ) -> None:
        texture = "textured mesh" if has_textured else "texture colours"
        self.modes: dict[str, Mode] = {"neuraltex": "neuraltex", "photograph": "photograph", texture: "texture"}
        self.modes[f"difference x {DIFFERENCE_GAIN}"] = "difference"
        self._said, self._said_at = "", float("-inf")
        with gui.add_folder("picture", order=0):
            self.statistics = gui.add_markdown("")
            self.mode = gui.add_dropdown("show", tuple(self.modes), initial_value="neuraltex")
            self.number = gui.add_number("photograph", 1, min=1, max=num_photographs, step=1)
            nearest = gui.add_button("go to the nearest photograph")

        def to_nearest() -> None:
            self.number.value = jump(None) + 1

        @self.mode.on_update
        def _(_: Any) -> None:
            mode = self.modes[self.mode.value]
            if mode in ("photograph", "difference"):
                to_nearest()
            chosen(mode)

        @self.number.on_update
        def _(event: Any) -> None:
            if event.client is not None:  # typed, not set above
                jump(int(self.number.value) - 1)

        nearest.on_click(lambda _: to_nearest())

    def say(self, text: str, *, now: bool) -> None:
        """Statistics of a picture; not more often than they can be read, but for the last one."""
        if text != self._said and (now or time.monotonic() - self._said_at >= STATISTICS_SECONDS):
            self._said, self._said_at, self.statistics.content = text, time.monotonic(), text


class PartsPanel:
    """Which parts are seen, and a gizmo to move one of them; the same for all clients.

    Args:
        server: viser's.
        scene: the parts.
        changed: told when a part moved, came or went.
    """

    def __init__(self, server: Any, scene: MovableScene, changed: Callable[[], None]) -> None:
        self._server, self._scene, self._changed = server, scene, changed
        self.gizmo: Any = None
        self.shown: dict[str, Any] = {}
        with server.gui.add_folder("parts", order=1):
            for name in scene.names:
                self.shown[name] = server.gui.add_checkbox(name, scene.is_visible(name))
                self.shown[name].on_update(lambda event, name=name: self._show(name, event.target.value))
            self.moving = server.gui.add_dropdown("move", (NO_PART, *scene.names), initial_value=NO_PART)
            back = server.gui.add_button("put all parts back")
        self.moving.on_update(lambda _: self._place_gizmo())
        back.on_click(lambda _: self._reset())

    def _show(self, name: str, visible: bool) -> None:
        if self._scene.is_visible(name) != visible:
            self._scene.show(name, visible)
            self._changed()

    def _reset(self) -> None:
        self._scene.reset()
        for name, box in self.shown.items():
            box.value = self._scene.is_visible(name)
        self._place_gizmo()
        self._changed()

    def _place_gizmo(self) -> None:
        if self.gizmo is not None:
            self.gizmo.remove()
            self.gizmo = None
        name = self.moving.value
        if name == NO_PART:
            return
        pose = self._scene.pose(name)
        self.gizmo = self._server.scene.add_transform_controls(
            "/move",
            scale=max(GIZMO_SHARE * self._scene.extent(name), 1e-6),
            wxyz=quaternion_from_matrix(pose[:3, :3]).numpy(),
            position=pose[:3, 3].numpy(),
            depth_test=False,
        )

        # On the event loop, where a gesture's updates stay in order.
        @self.gizmo.on_update
        async def _(event: Any) -> None:
            self._scene.move(name, event.target.wxyz, event.target.position)
            self._changed()


class MotionPanel:
    """Which frame of the motion is seen; the same for all clients. Nothing where the mesh rests.

    Args:
        server: viser's.
        scene: the parts.
        changed: told when another frame is to be seen.
    """

    def __init__(self, server: Any, scene: MovableScene, changed: Callable[[], None]) -> None:
        self.frame: Any = None
        if scene.motion is None or scene.motion.num_frames < 2:
            return
        with server.gui.add_folder("motion", order=2):
            # Whole frames: photographs show those, and `neuraltex render --freeze` takes their numbers.
            last = scene.motion.num_frames - 1
            self.frame = server.gui.add_slider("frame", min=0, max=last, step=1, initial_value=scene.frame)

        # On the event loop, where a gesture's updates stay in order.
        @self.frame.on_update
        async def _(event: Any) -> None:
            scene.seek(int(event.target.value))
            changed()


class PathPanel:
    """Key poses, the path through them, and its file; the same for all clients.

    Args:
        server: viser's.
        keys: the key poses.
        folder: where paths are saved.
        pose_of: a client's camera now.
        place: puts a client's camera somewhere.
    """

    def __init__(
        self,
        server: Any,
        keys: KeyPoses,
        folder: Path,
        *,
        pose_of: Callable[[Any], Any],
        place: Callable[[Any, Any], None],
    ) -> None:
        self._keys, self._folder, self._place = keys, folder, place
        self._playing: threading.Event | None = None
        with server.gui.add_folder("camera path", order=3):
            self.listed = server.gui.add_markdown("")
            add = server.gui.add_button("add key pose")
            self.number = server.gui.add_number("key pose", 1, min=1, step=1)
            self.keyed = server.gui.add_button_group("", ("go to it", "remove it", "clear"))
            self.seconds = server.gui.add_number("seconds", 4.0, min=0.1, max=600.0, step=0.1)
            self.time = server.gui.add_slider("time", min=0.0, max=1.0, step=0.001, initial_value=0.0)
            self.play = server.gui.add_button("play")
            save = server.gui.add_button("save path")
        add.on_click(lambda event: self._edit(lambda: keys.add(pose_of(event.client))))
        self.keyed.on_click(lambda event: self._keyed(event.client, event.target.value))
        self.time.on_update(lambda event: self._scrub(event.client) if event.client else None)
        self.play.on_click(lambda event: self._play(event.client))
        save.on_click(lambda event: self._save(event.client))
        self._edit(lambda: None)

    @property
    def num_frames(self) -> int:
        """Of the path, at `FPS` frames a second."""
        return max(round(float(self.seconds.value) * FPS), 2)

    def _edit(self, action: Callable[[], None]) -> None:
        action()
        count = len(self._keys)
        self.listed.content = f"{count} key pose{'' if count == 1 else 's'}" if count else "no key poses yet"

    def _keyed(self, client: Any, what: str) -> None:
        """What a button does with the key pose that is chosen, or with all of them."""
        index = int(self.number.value) - 1
        if what == "clear":
            self._edit(self._keys.clear)
        elif what == "remove it":
            self._edit(lambda: self._keys.remove(index))
        elif index < len(self._keys):
            self._place(client, self._keys[index])

    def _scrub(self, client: Any) -> None:
        if len(self._keys):
            self._place(client, self._keys.at(float(self.time.value), self.num_frames))

    def _play(self, client: Any) -> None:
        """From the beginning to the end, or until it is asked for again."""
        if self._playing is not None:
            self._playing.set()
            return
        if len(self._keys) < 2:
            _tell(client, "no path yet", "add two key poses at least")
            return
        self._playing, self.play.label = threading.Event(), "stop"
        frames, start = self.num_frames, time.monotonic()
        try:
            while (share := (time.monotonic() - start) * FPS / (frames - 1)) < 1:
                self.time.value = round(share, 3)
                self._place(client, self._keys.at(share, frames))
                if self._playing.wait(1 / FPS):
                    return
            self.time.value = 1.0
            self._place(client, self._keys.at(1.0, frames))
        except ValueError:  # cleared meanwhile
            return
        finally:
            self._playing, self.play.label = None, "play"

    def _save(self, client: Any) -> None:
        if not len(self._keys):
            _tell(client, "no path yet", "add key poses first")
            return
        try:
            path = self._keys.save(self._folder, self.num_frames)
        except NeuraltexError as error:
            _tell(client, "not saved", str(error))
            return
        self.listed.content += f", saved as {path.name}"
        _tell(client, "saved", f"now: neuraltex render {self._folder} --path {path} -o path.mp4")


def _tell(client: Any, title: str, body: str) -> None:
    client.add_notification(title, body, auto_close_seconds=None)
