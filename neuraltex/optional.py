"""Imports of packages that only some commands need."""

from __future__ import annotations

import importlib
from types import ModuleType

from neuraltex.errors import NeuraltexError

# What no extra can bring, because the package index has no wheel of it.
BY_HAND = {
    "pytorch3d": "conda install -c conda-forge pytorch3d, or build it: pip install --no-build-isolation "
    "'git+https://github.com/facebookresearch/pytorch3d.git@v0.7.9'",
}
# What must be there before a package is loaded. pycolmap brings a zlib of its own; Pillow, bound to that one because it
# came later, crashes when it writes a PNG.
LOADED_BEFORE = {"pycolmap": ("PIL.Image",)}


def require(module: str, extra: str | None = None) -> ModuleType:
    """Import `module`, or say what brings it.

    Args:
        module: what to import, a package or a part of one.
        extra: the extra of this package that installs it; None where `BY_HAND` tells how.

    Raises:
        NeuraltexError: the module is not installed, or its system libraries are missing.
    """
    for earlier in LOADED_BEFORE.get(module, ()):
        importlib.import_module(earlier)
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        package = module.partition(".")[0]
        how = BY_HAND[package] if extra is None else f"pip install 'neuraltex[{extra}]'"
        raise NeuraltexError(f"this needs the package {package} ({error}); install it with: {how}") from error
