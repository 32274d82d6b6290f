"""Key poses that a user sets, and the path through them."""

from __future__ import annotations

import threading
from pathlib import Path

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.camera_path import CameraPath, write_nerfstudio_path
from neuraltex.cameras.spline import spline_path
from neuraltex.viewer.cameras import BrowserCamera, camera_to_viser, viser_to_camera

FPS = 30.0


class KeyPoses:
    """Cameras to fly through, in order; may be used from several threads.

    Args:
        height: rows of the path's pictures; as wide as the first key's canvas.
    """

    def __init__(self, height: int) -> None:
        self.height = 2 * max(height // 2, 1)
        self._keys: list[BrowserCamera] = []
        self._lock = threading.Lock()
        self._path: tuple[int, Camera] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> BrowserCamera:
        return self._keys[index]

    def add(self, key: BrowserCamera) -> None:
        """One more at the end."""
        with self._lock:
            self._keys.append(key)
            self._path = None

    def remove(self, index: int) -> None:
        """Without that one; nothing where there is none."""
        with self._lock:
            del self._keys[index : index + 1]
            self._path = None

    def clear(self) -> None:
        """Without any."""
        with self._lock:
            self._keys.clear()
            self._path = None

    def path(self, num_frames: int) -> Camera:
        """The path at constant speed, as `neuraltex render --smooth` makes it.

        Args:
            num_frames: cameras on it.

        Returns:
            batch `[num_frames]`, with square pixels and the keys' vertical fields of view.

        Raises:
            ValueError: there are no key poses.
        """
        with self._lock:
            if self._path is None or self._path[0] != num_frames:
                if not self._keys:
                    raise ValueError("keys: expected one key pose at least, got none")
                # Even numbers of pixels are what video formats take.
                width = 2 * max(round(self.height * self._keys[0].aspect / 2), 1)
                square = [BrowserCamera(key.wxyz, key.position, key.fov, width / self.height) for key in self._keys]
                keys = Camera.stack([viser_to_camera(key, width, self.height) for key in square])
                self._path = num_frames, spline_path(keys, num_frames=num_frames)
            return self._path[1]

    def at(self, share: float, num_frames: int) -> BrowserCamera:
        """Where the path is after a share, 0 to 1, of its time."""
        index = round(min(max(share, 0.0), 1.0) * (num_frames - 1))
        return camera_to_viser(self.path(num_frames)[index])

    def save(self, folder: Path, num_frames: int) -> Path:
        """Write the path as the first `camera_path_NNN.json` that the folder does not have yet.

        Returns:
            The file.

        Raises:
            ValueError: there are no key poses.
            InputError: the file cannot be written.
        """
        cameras = self.path(num_frames)
        with self._lock:
            number = 1
            while (path := folder / f"camera_path_{number:03d}.json").exists():
                number += 1
            write_nerfstudio_path(path, CameraPath(cameras, FPS))
        return path
