"""Imports of packages that only some commands need."""

from __future__ import annotations

import importlib
from types import ModuleType

from neuraltex.errors import NeuraltexError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        NeuraltexError: the module is not installed, or its system libraries are missing.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise NeuraltexError(
            f"this needs the package {module} ({error}); install it with: pip install 'neuraltex[{extra}]'"
        ) from error
