"""A glTF or GLB file as its JSON and its numbers: no more of the format than animations need."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from neuraltex.errors import InputError

_MAGIC, _JSON, _BIN = b"glTF", b"JSON", b"BIN\0"
_TYPES: dict[int, Any] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Gltf:
    """A parsed file.

    Args:
        path: a .glb or .gltf.

    Raises:
        InputError: it is no such file, or a buffer is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(path, f"could not be read ({error.strerror or error})") from error
        binary: bytes | None = None
        if data[:4] == _MAGIC:
            data, binary = self._chunks(data)
        try:
            self.json = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self.error(f"is not a glTF file ({error})") from error
        if not isinstance(self.json, dict):
            raise self.error("is not a glTF file, its JSON is no table")
        self._buffers = [self._buffer(entry, binary) for entry in self.items("buffers")]

    def error(self, problem: str, hint: str = "export it again") -> InputError:
        """Something about this file that cannot be used."""
        return InputError(self.path, problem, hint=hint)

    def items(self, name: str) -> list[Any]:
        """One of the file's lists; empty where it has none."""
        found = self.json.get(name, [])
        return found if isinstance(found, list) else []

    def read(self, index: int) -> Float[np.ndarray, "N C"]:
        """An accessor's rows as float64, normalised integers in [0, 1] or [-1, 1].

        Raises:
            InputError: it lies outside its buffer.
        """
        accessor = self.items("accessors")[index]
        count, width = int(accessor["count"]), _WIDTHS[accessor["type"]]
        kind = np.dtype(_TYPES[accessor["componentType"]]).newbyteorder("<")
        values = np.zeros((count, width), kind)
        if "bufferView" in accessor:
            values = self._rows(accessor["bufferView"], accessor.get("byteOffset", 0), count, width, kind)
        sparse = accessor.get("sparse")
        if sparse is not None:
            num, where, what = int(sparse["count"]), sparse["indices"], sparse["values"]
            index_kind = np.dtype(_TYPES[where["componentType"]]).newbyteorder("<")
            rows = self._rows(where["bufferView"], where.get("byteOffset", 0), num, 1, index_kind)[:, 0]
            values = values.copy()
            values[rows] = self._rows(what["bufferView"], what.get("byteOffset", 0), num, width, kind)
        if accessor.get("normalized", False) and kind.kind in "iu":
            return np.maximum(values.astype(np.float64) / np.iinfo(_TYPES[accessor["componentType"]]).max, -1.0)
        return values.astype(np.float64)

    def _rows(self, view: int, offset: int, count: int, width: int, kind: np.dtype[Any]) -> NDArray[Any]:
        entry = self.items("bufferViews")[view]
        stride = int(entry.get("byteStride", 0)) or width * kind.itemsize
        start = int(entry.get("byteOffset", 0)) + int(offset)
        buffer = self._buffers[entry["buffer"]]
        end = start + (count - 1) * stride + width * kind.itemsize if count else start
        if start < 0 or end > len(buffer):
            raise self.error(f"is cut off: {end} bytes are spoken of, its buffer has {len(buffer)}", "copy it again")
        return np.ndarray((count, width), kind, buffer, start, (stride, kind.itemsize))

    def _chunks(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The JSON and the binary chunk of a GLB."""
        found: dict[bytes, bytes] = {}
        at = 12
        while at + 8 <= len(data):
            length, kind = struct.unpack_from("<I4s", data, at)
            found.setdefault(kind, data[at + 8 : at + 8 + length])
            at += 8 + length
        if _JSON not in found or at > len(data):
            raise self.error("is a GLB that was cut off", "copy it again")
        return found[_JSON], found.get(_BIN)

    def _buffer(self, entry: dict[str, Any], binary: bytes | None) -> bytes:
        uri = entry.get("uri")
        if uri is None:
            if binary is None:
                raise self.error("lacks its binary chunk")
            return binary
        if str(uri).startswith("data:"):
            try:
                return base64.b64decode(str(uri).partition(",")[2], validate=True)
            except binascii.Error as error:
                raise self.error(f"a buffer is no base64 ({error})") from error
        file = self.path.parent / str(uri)
        try:
            return file.read_bytes()
        except (OSError, ValueError) as error:
            raise self.error(f"its buffer {uri} could not be read ({error})", "keep it beside the .gltf") from error
