"""Settings as they lie in a run's config.json, checked against the dataclasses that they are read into."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from neuraltex.errors import InputError, SettingError

Config = TypeVar("Config")


def read_settings(kind: type[Config], values: object, path: Path, name: str) -> Config:
    """A dataclass of settings from a table of a JSON file; what the table lacks is as the dataclass has it.

    Args:
        kind: the dataclass.
        values: the table.
        path: of the file, for messages.
        name: of the table in it.

    Raises:
        InputError: the table holds what the dataclass does not, or of another kind.
    """
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or not set(values) <= known:
        unknown = sorted(set(values) - known) if isinstance(values, dict) else values
        raise InputError(path, f"{name}: unknown settings {unknown}", hint="was it written by another version?")
    for key, hint in get_type_hints(kind).items():
        if key in values and not fits(values[key], hint):
            raise InputError(path, f"{name}.{key}: {_describe(hint)} was expected, got {values[key]!r}")
    try:
        # JSON has lists where settings have tuples.
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except (TypeError, SettingError) as error:
        raise InputError(path, f"{name}: {error}") from error


def fits(value: object, hint: Any) -> bool:
    """Whether a value read from JSON is of the annotated kind; an int will do for a float, a bool for neither."""
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        return isinstance(value, list) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if get_args(hint):
        return any(fits(value, choice) for choice in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _describe(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return f"[{', '.join(_describe(kind) for kind in get_args(hint))}]"
    if get_args(hint):
        return " or ".join(_describe(choice) for choice in get_args(hint))
    return names[hint]
