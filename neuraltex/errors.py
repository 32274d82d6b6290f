"""The one exception type for input that cannot be used, so that a caller can tell it from a bug."""

from __future__ import annotations

from pathlib import Path


class NeuraltexError(Exception):
    """Something the user can mend; its text is one sentence that says what and how.

    The command line prints the text and exits with code 2, without a traceback.
    """


class SettingError(NeuraltexError):
    """A setting of a configuration that cannot be; the text names it, what was expected and what came."""


class InputError(NeuraltexError):
    """A file, frame or setting that cannot be used.

    Args:
        path: the file at fault.
        problem: what was found and what was expected there.
        line: 1-based line in a text file.
        frame: 0-based frame of a video or of a camera list.
        hint: what to do about it.
    """

    def __init__(
        self, path: str | Path, problem: str, *, line: int | None = None, frame: int | None = None, hint: str = ""
    ) -> None:
        place = str(path)
        if line is not None:
            place += f", line {line}"
        if frame is not None:
            place += f", frame {frame}"
        super().__init__(f"{place}: {problem}" + (f"; {hint}" if hint else ""))
        self.path = Path(path)
        self.line = line
        self.frame = frame


class InputWarning(UserWarning):
    """Something in the input was left out or guessed; the text says what."""
