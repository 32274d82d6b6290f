"""A headless Chromium, spoken to by its DevTools protocol: opens a page, moves the mouse, takes pictures."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--force-color-profile=srgb", "--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


def find_chromium() -> str | None:
    """The program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page.

    Args:
        url: to open.
        folder: for the browser's profile.
        width, height: of the window, in pixels.
    """

    def __init__(self, url: str, folder: Path, *, width: int, height: int) -> None:
        from websockets.sync.client import connect

        program = find_chromium()
        assert program is not None, "tests that use it are marked: browser"
        words = [program, *FLAGS, f"--window-size={width},{height}", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = folder / "DevToolsActivePort"
        wait_for(lambda: told.is_file() and len(told.read_text().splitlines()) == 2, "Chromium to start")
        port = told.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(entry for entry in json.load(answer) if entry["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=2**26)
        self.count = 0
        self.call("Page.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events in between are passed over."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == self.count:
                assert "error" not in message, message
                return message["result"]

    def screenshot(self) -> np.ndarray:
        """`[H, W, 3]` uint8."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def drag(self, start: tuple[int, int], end: tuple[int, int], steps: int = 10) -> None:
        """Press the left button, move, and let go."""
        self.mouse("mousePressed", start)
        for step in range(1, steps + 1):
            self.mouse("mouseMoved", tuple(round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True)))
            time.sleep(0.03)
        self.mouse("mouseReleased", end)

    def mouse(self, kind: str, place: tuple[int, ...]) -> None:
        """One event of the left button."""
        self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=1, clickCount=1)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def click(self, text: str) -> None:
        """Press the button that says this."""
        button = f"[...document.querySelectorAll('button')].find(b => b.innerText.trim() == {json.dumps(text)})"
        assert self.run(f"{button} && ({button}.click(), true)"), f"no button says {text}"

    def close(self) -> None:
        """End the browser that was started."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=10)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Until it holds."""
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, f"waited {seconds} s for {what}"
        time.sleep(0.02)
