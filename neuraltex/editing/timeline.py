"""Keyframes in JSON: what each part does at which time, eased in between.

    {"copies": {"duck_2": "duck"},
     "attach": {"pear": "block"},
     "parts": {"duck": [{"t": 0}, {"t": 2, "move": [0.4, 0, 0], "degrees": 90, "ease": "in_out"}],
               "vase": [{"t": 0, "visible": false}]}}

A key says how far a part is from where it was photographed: `move` in scene units, `degrees` about `axis` ("z" where
left out) through its centre, `scale`, `visible`. What a key leaves out is as photographed. `ease` tells how the key is
reached: "linear", "in", "out", "in_out", or "hold" for a jump when its time has come. Before its first key a part is as
that key says, so one that is to vanish later needs a key at t 0, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from neuraltex.editing.stage import AXES, Stage
from neuraltex.errors import InputError
from neuraltex.files import read_json

EASES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "in": lambda share: share * share,
    "out": lambda share: share * (2 - share),
    "in_out": lambda share: share * share * (3 - 2 * share),
    "hold": lambda share: float(share >= 1),
}
FIELDS = ("t", "move", "degrees", "axis", "scale", "visible", "ease")


@dataclass(frozen=True)
class Key:
    """Where a part is at a time, relative to where it was photographed.

    Args:
        t: seconds.
        move: scene units, world.
        degrees: of a turn about `axis` through the part's centre.
        axis: name or direction; that of the key before is kept on the way to a key of another axis.
        scale: factor about the part's centre, above 0.
        visible: whether it is seen, from this key on; None for as photographed.
        ease: how the key is reached.
    """

    t: float
    move: tuple[float, float, float] = (0.0, 0.0, 0.0)
    degrees: float = 0.0
    axis: str | tuple[float, float, float] = "z"
    scale: float = 1.0
    visible: bool | None = None
    ease: str = "linear"


def read_timeline(path: Path) -> Callable[[Stage, float], None]:
    """What a timeline does to a stage at a time.

    Raises:
        InputError: not such a file; names the line or the key at fault.
    """
    stored = read_json(path)
    if not isinstance(stored, dict) or not set(stored) <= {"parts", "copies", "attach"}:
        raise InputError(path, "expected a table with parts, copies, attach, or some of them")
    copies, attached = (_names(path, stored.get(kind, {}), kind) for kind in ("copies", "attach"))
    parts = stored.get("parts", {})
    if not isinstance(parts, dict):
        raise InputError(path, "parts: expected a table of part names")
    tracks = {name: _track(path, name, keys) for name, keys in parts.items()}

    def change(stage: Stage, seconds: float) -> None:
        for name, source in copies.items():
            stage[source].copy(name)
        for name, keys in tracks.items():
            _put(stage, name, keys, seconds)
        for name, parent in attached.items():
            stage[name].attach(parent)

    return change


def _put(stage: Stage, name: str, keys: list[Key], seconds: float) -> None:
    """A part where its keys say that it is."""
    actor = stage[name]
    before = next((key for key in reversed(keys) if key.t <= seconds), keys[0])
    after = next((key for key in keys if key.t > seconds), before)
    span = after.t - before.t
    share = EASES[after.ease](min(max((seconds - before.t) / span, 0.0), 1.0)) if span > 0 else 0.0
    blend = [a + share * (b - a) for a, b in zip((*before.move, before.degrees, before.scale),
                                                 (*after.move, after.degrees, after.scale), strict=True)]  # fmt: skip
    axis = after.axis if before.degrees == 0 else before.axis
    actor.visible = actor.part.visible if before.visible is None else before.visible
    if blend[4] != 1:
        actor.scale(blend[4])
    if blend[3] != 0:
        actor.rotate(blend[3], axis)
    if any(blend[:3]):
        actor.move(blend[:3])


def _names(path: Path, stored: Any, kind: str) -> dict[str, str]:
    if not isinstance(stored, dict) or not all(isinstance(value, str) for value in stored.values()):
        raise InputError(path, f"{kind}: expected a table of names")
    return stored


def _track(path: Path, name: str, stored: Any) -> list[Key]:
    if not isinstance(stored, list) or not stored:
        raise InputError(path, f"parts, {name}: expected a list of keys")
    keys = [_key(path, f"parts, {name}, key {number}", key) for number, key in enumerate(stored)]
    if any(second.t <= first.t for first, second in pairwise(keys)):
        raise InputError(
            path, f"parts, {name}: expected keys in the order of their times, each later than the one before"
        )
    return keys


def _key(path: Path, place: str, stored: Any) -> Key:
    if not isinstance(stored, dict) or "t" not in stored:
        raise InputError(path, f"{place}: expected a table with a time t in seconds")
    for field, value in stored.items():
        if field not in FIELDS:
            raise InputError(path, f"{place}: expected {', '.join(FIELDS)}, got {field!r}")
        expected = _unlike(field, value)
        if expected:
            raise InputError(path, f"{place}: expected {expected} for {field}, got {value!r}")
    listed: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value for field, value in stored.items()
    }
    return Key(**listed)


def _unlike(field: str, value: Any) -> str:
    """What a field should be, where it is something else."""
    three = isinstance(value, list) and len(value) == 3 and all(_is_number(number) for number in value)
    if field == "move":
        return "" if three else "three numbers"
    if field == "axis":
        named = isinstance(value, str) and value in AXES
        return "" if named or (three and any(value)) else "x, y, z or a direction"
    if field == "ease":
        return "" if isinstance(value, str) and value in EASES else f"one of {', '.join(EASES)}"
    if field == "visible":
        return "" if isinstance(value, bool) else "true or false"
    if field == "scale":
        return "" if _is_number(value) and value > 0 else "a number above 0"
    return "" if _is_number(value) else "a number"


def _is_number(value: Any) -> bool:
    # JSON as Python reads it has NaN, infinity and whole numbers without end.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
