"""Checked access to the fields of a parsed JSON camera file, so that a wrong one is named and never crashes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.lookup import MOST_PIXELS_A_SIDE
from neuraltex.cameras.rotations import nearest_rotation
from neuraltex.errors import InputError

ROTATION_TOLERANCE = 1e-2


class Fields:
    """Fields of one JSON object, with defaults from the objects around it.

    Args:
        path: the file, for error messages.
        frame: 0-based position in the file's frame list, or None for its head.
        objects: looked up in this order.

    Raises:
        InputError: one of `objects` is not a JSON object.
    """

    def __init__(self, path: Path, frame: int | None, *objects: Any) -> None:
        self.path, self.frame = path, frame
        for candidate in objects:
            if not isinstance(candidate, dict):
                raise self.error(f"a JSON object was expected, found {_kind(candidate)}")
        self.objects: tuple[dict[str, Any], ...] = objects

    def error(self, problem: str, hint: str = "") -> InputError:
        """An InputError that names the file and the frame."""
        return InputError(self.path, problem, frame=self.frame, hint=hint)

    def value(self, name: str) -> Any:
        """The field as parsed, or None where it is absent or null."""
        for candidate in self.objects:
            if candidate.get(name) is not None:
                return candidate[name]
        return None

    def number(self, name: str) -> float | None:
        """A finite number, or None where the field is absent."""
        value = self.value(name)
        return None if value is None else self.finite(value, name)

    def positive(self, name: str) -> float | None:
        """A finite number above zero, or None where the field is absent."""
        value = self.number(name)
        if value is not None and value <= 0:
            raise self.error(f"{name} must be positive, found {value:g}")
        return value

    def pixels(self, name: str) -> int | None:
        """A number of pixels along a side, or None where the field is absent."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value) or not 1 <= value <= MOST_PIXELS_A_SIDE:
            raise self.error(f"{name} must be a whole number between 1 and {MOST_PIXELS_A_SIDE}, found {value:g}")
        return int(value)

    def index(self, name: str) -> int | None:
        """A whole number from 0 up, or None where the field is absent."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value) or value < 0:
            raise self.error(f"{name} must be a whole number from 0 up, found {value:g}")
        return int(value)

    def text(self, name: str) -> str | None:
        """A string that is not empty, or None where the field is absent."""
        value = self.value(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.error(f"{name} must be text, found {_kind(value)}")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings, or None where the field is absent."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self.error(f"{name} must be a list of text")
        return tuple(value)

    def items(self, name: str) -> list[Any]:
        """A list that is not empty."""
        value = self.value(name)
        if not isinstance(value, list) or not value:
            raise self.error(f"{name} must be a list that is not empty, found {_kind(value)}")
        return value

    def finite(self, value: Any, name: str) -> float:
        """`value` as a float, checked."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(f"{name} must be a number, found {_kind(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error(f"{name} must be a finite number, found {number}")
        return number

    def rigid(self, rows: Any, name: str) -> Float[Tensor, "4 4"]:
        """A rotation and translation given as 3 or 4 rows of 4 numbers, float64.

        The rotation is replaced by the nearest exact one; files round it.
        """
        if not isinstance(rows, list) or len(rows) not in (3, 4):
            raise self.error(f"{name} must be a 4x4 matrix, found {_kind(rows)}")
        if any(not isinstance(row, list) or len(row) != 4 for row in rows):
            raise self.error(f"{name} must be a 4x4 matrix, some rows do not have 4 numbers")
        values = [[self.finite(value, name) for value in row] for row in rows]
        if len(values) == 3:
            values.append([0.0, 0.0, 0.0, 1.0])
        matrix = torch.tensor(values, dtype=torch.float64)
        if not torch.allclose(matrix[3], matrix.new_tensor([0.0, 0.0, 0.0, 1.0]), atol=1e-6):
            raise self.error(f"the last row of {name} must be 0 0 0 1, found {matrix[3].tolist()}")
        matrix[:3, :3] = checked_rotation(matrix[:3, :3], self, name)
        return matrix


def checked_rotation(rotation: Float[Tensor, "3 3"], fields: Fields, name: str) -> Float[Tensor, "3 3"]:
    """The nearest exact rotation.

    Raises:
        InputError: `rotation` is further from it than rounding explains, or mirrors; tells by how much.
    """
    gram_error = (rotation.T @ rotation - torch.eye(3, dtype=rotation.dtype)).abs().max().item()
    if not gram_error <= ROTATION_TOLERANCE:
        raise fields.error(
            f"{name} does not hold a rotation: its columns are {gram_error:.2g} away from orthonormal",
            "remove scale and shear from the matrix",
        )
    if torch.linalg.det(rotation) < 0:
        raise fields.error(f"{name} mirrors the world, a rotation was expected", "check the handedness of the axes")
    return nearest_rotation(rotation)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return {dict: "an object", str: "text", bool: "true or false", int: "a number", float: "a number"}[type(value)]
