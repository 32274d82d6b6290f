"""Refusing at once what would not fit into memory after minutes of decoding."""

from __future__ import annotations

import os
from pathlib import Path

from neuraltex.errors import InputError


def available_bytes() -> int | None:
    """Memory that programs can still take, or None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # not Linux: all there is, since nothing tells how much of it is taken
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def require_memory(source: Path, num_frames: int, width: int, height: int, bytes_a_pixel: int) -> None:
    """Check that a capture fits before it is decoded.

    Raises:
        InputError: it does not; tells both amounts and what to do.
    """
    needed = num_frames * width * height * bytes_a_pixel
    available = available_bytes()
    if available is not None and needed > available:
        raise InputError(
            source,
            f"{num_frames} frames of {width}x{height} pixels need {needed / 2**30:.1f} GiB of memory, "
            f"{available / 2**30:.1f} GiB are available",
            hint="ask for a smaller size, or use fewer frames",
        )
