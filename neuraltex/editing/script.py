"""Edits from files: a Python script with `edit(scene, t)`, or a timeline of keyframes in JSON."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from neuraltex.editing.stage import Stage, Staged
from neuraltex.editing.timeline import read_timeline
from neuraltex.errors import InputError
from neuraltex.geometry.scene import Scene


class Edit:
    """What a file does to a scene at each time.

    Args:
        path: the file, for messages.
        change: puts a stage into its state at a time in seconds.
    """

    def __init__(self, path: Path, change: Callable[[Stage, float], object]) -> None:
        self.path, self.change = path, change

    def at(self, scene: Scene, frame: int, fps: float) -> tuple[Staged, set[str]]:
        """The state of one frame, and the names of the photographed parts that are not as they were.

        Args:
            scene: as photographed.
            frame: counted from 0.
            fps: frames a second.

        Raises:
            InputError: the script failed in this frame; says where, and why.
        """
        stage = Stage(scene)
        seconds = frame / fps
        try:
            self.change(stage, seconds)
            staged = stage.finish()
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise InputError(
                self.path,
                f"edit failed at t = {seconds:.3f} s: {reason}",
                line=_line(error, self.path),
                frame=frame,
                hint="nothing was written",
            ) from error
        return staged, stage.moved


def load_edit(path: Path) -> Edit:
    """Read an edit: `.py` with a function `edit(scene, t)`, t in seconds, or `.json` with a timeline.

    The function is called once for each frame, with the scene as it was photographed: what it does must depend on t
    alone.

    Raises:
        InputError: the file is missing, of another kind, or cannot be used; names the line.
    """
    if not path.is_file():
        raise InputError(path, "does not exist", hint="name a script with edit(scene, t), or a JSON timeline")
    if path.suffix == ".json":
        return Edit(path, read_timeline(path))
    if path.suffix != ".py":
        raise InputError(path, f"expected a .py script or a .json timeline, got {path.suffix or 'no suffix'}")
    # A module like any other, so that dataclasses and the like work in it, and of a name that hides none.
    module = ModuleType(f"neuraltex_edit_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise InputError(path, f"is not Python: {error.msg}", line=error.lineno) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            path, f"could not be loaded: {type(error).__name__}: {error}", line=_line(error, path)
        ) from error
    change = module.__dict__.get("edit")
    if not callable(change) or not _takes_two(change):
        raise InputError(path, "expected a function edit(scene, t)", hint="t is the time in seconds")
    return Edit(path, change)


def _takes_two(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None, 0.0)
    except TypeError:
        return False
    return True


def _line(error: BaseException, path: Path) -> int | None:
    """The line of a script that an error came from."""
    lines = [found.lineno for found in traceback.extract_tb(error.__traceback__) if found.filename == str(path)]
    return lines[-1] if lines else None
