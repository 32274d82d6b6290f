"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuraltex.errors import InputError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes that name when the block ends without an exception.

    Args:
        path: the file to write; its folder is made when missing.

    Raises:
        InputError: the folder cannot be written or the disk is full. What `path` held before is untouched.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept because image and video writers choose their format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            path, f"could not be written ({reason})", hint="check the folder and the free space"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def is_occupied(folder: Path) -> bool:
    """Whether something stands where a folder is to be made; an empty folder does not count."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


@contextmanager
def whole_folder(path: str | Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield a temporary folder beside `path`, which takes that name when the block ends well, and `keep`.

    Args:
        path: the folder to make; nothing or an empty folder is there.

    Returns:
        The temporary folder, and a function: after it was called the folder is kept even where the block fails.

    Raises:
        InputError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise InputError(path, f"could not be written ({error.strerror or error})") from error
    kept = False

    def keep() -> None:
        nonlocal kept
        kept = True

    try:
        yield folder, keep
        kept = True
    finally:
        try:
            if kept:
                folder.chmod(path.parent.stat().st_mode & 0o777)
                folder.replace(path)
        except OSError as error:
            raise InputError(path, f"could not be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN is refused: JSON has none."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, is not UTF-8 text or is not JSON; names the line.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"could not be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8 text, JSON was expected") from error
    except json.JSONDecodeError as error:
        raise InputError(path, f"is not valid JSON ({error.msg})", line=error.lineno) from error
    except RecursionError as error:
        raise InputError(path, "is nested too deeply to be a camera or settings file") from error
