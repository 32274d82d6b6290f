"""The command `neuraltex view`, for the command line to take up."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from neuraltex.optional import require
from neuraltex.training.run import Run, pick_device


@dataclass(frozen=True)
class ViewRun:
    """Look around in a trained run with the browser, move its parts, and set key poses of a camera path.

    The page is served on this machine alone unless --host says otherwise: whoever can reach it can move the parts and
    save camera paths into the run folder, and there is no password.

    Args:
        run: a run folder.
        host: address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 every network that it is in.
        port: of that address; 0 takes one that is free.
        size: longer side of the picture at rest, in pixels; 1.5 times the training images', from 512 to 1024, where
            left out. While the camera moves, a CPU renders smaller ones.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        open: open the page in a browser, where there is a screen.
    """

    run: Positional[Path]
    host: str = "127.0.0.1"
    port: int = 8080
    size: int | None = None
    device: str = "auto"
    open: bool = True

    def __call__(self) -> None:
        require("viser", "view")
        from neuraltex.viewer.server import Viewer, is_loopback

        console = Console(stderr=True)
        run, device = Run.open(self.run), pick_device(self.device)
        viewer = Viewer(run, device, host=self.host, port=self.port, size=self.size, report=console.print)
        try:
            if not is_loopback(self.host):
                console.print(
                    f"[yellow]{self.host} can be reached from other machines: whoever connects can move parts and "
                    "write camera paths into the run folder; there is no password[/yellow]"
                )
            console.print(f"{self.run}: {viewer.url} (end with Ctrl-C)")
            if self.open and has_screen():
                webbrowser.open(viewer.url)
            wait_for_end()
        except KeyboardInterrupt:
            pass  # how a viewer is closed
        finally:
            viewer.stop()


def wait_for_end() -> None:
    """Until Ctrl-C."""
    threading.Event().wait()


def has_screen() -> bool:
    """Whether a browser would open a window here, not take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
