"""The binary form of COLMAP models; every read is checked against the end of the file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from neuraltex.cameras.colmap import MODELS, ColmapCamera, ColmapImage, Place, checked_camera, checked_image
from neuraltex.errors import InputError

BYTES_A_POINT = 24  # x and y as doubles, the id of the 3D point as an int64


def read_cameras_binary(path: Path) -> dict[int, ColmapCamera]:
    """Cameras by id out of `cameras.bin`."""
    reader = _Reader(path)
    cameras: dict[int, ColmapCamera] = {}
    for _ in range(reader.count(least_bytes_each=24)):
        place = reader.place()
        key, model_id, width, height = reader.take("<iiQQ")
        if not 0 <= model_id < len(MODELS):
            raise place.error(f"the lens model with id {model_id} is not known")
        name, num_params = MODELS[model_id]
        cameras[key] = checked_camera(name, width, height, reader.take(f"<{num_params}d"), place)
    reader.finish()
    return cameras


def read_images_binary(path: Path) -> list[ColmapImage]:
    """Images out of `images.bin`; their 2D points are passed over."""
    reader = _Reader(path)
    entries: list[ColmapImage] = []
    for _ in range(reader.count(least_bytes_each=73)):
        place = reader.place()
        _, *pose, camera_id = reader.take("<i7di")
        name = reader.text()
        entries.append(checked_image(name, camera_id, pose, place))
        reader.skip(reader.count(least_bytes_each=BYTES_A_POINT) * BYTES_A_POINT)
    reader.finish()
    return entries


def read_points_binary(path: Path) -> list[tuple[float, float, float, int]]:
    """x, y, z and the number of observations of each point in `points3D.bin`."""
    reader = _Reader(path)
    points: list[tuple[float, float, float, int]] = []
    for _ in range(reader.count(least_bytes_each=51)):
        _, x, y, z, _, _, _, _ = reader.take("<Q3d3Bd")
        length = reader.count(least_bytes_each=8)
        reader.skip(8 * length)
        points.append((x, y, z, length))
    reader.finish()
    return points


class _Reader:
    """Little-endian fields out of a file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        try:
            self.content = path.read_bytes()
        except OSError as error:
            raise InputError(path, f"could not be read ({error.strerror or error})") from error

    def place(self) -> Place:
        return Place(self.path, offset=self.offset)

    def take(self, layout: str) -> tuple[Any, ...]:
        """Fields in `struct` notation."""
        start = self.offset
        self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self.content, start)

    def skip(self, num_bytes: int) -> None:
        if self.offset + num_bytes > len(self.content):
            raise self.place().error(
                f"the file is cut off: {num_bytes} bytes were expected, {len(self.content) - self.offset} are left",
                "copy it again",
            )
        self.offset += num_bytes

    def count(self, *, least_bytes_each: int) -> int:
        """A number of entries, refused at once where the rest of the file cannot hold them."""
        place = self.place()
        number: int = self.take("<Q")[0]
        left = len(self.content) - self.offset
        if number * least_bytes_each > left:
            raise place.error(
                f"the file is cut off: {number} entries do not fit into the {left} bytes left", "copy it again"
            )
        return number

    def text(self) -> str:
        """A string that a zero byte ends."""
        end = self.content.find(b"\0", self.offset)
        if end < 0:
            raise self.place().error("the file is cut off within a name", "copy it again")
        raw, place = self.content[self.offset : end], self.place()
        self.offset = end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise place.error("an image name is not UTF-8") from error

    def finish(self) -> None:
        if self.offset != len(self.content):
            raise self.place().error(
                f"{len(self.content) - self.offset} bytes follow the last entry; none were expected"
            )
