"""Texture coordinates for faces that have none, by xatlas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from neuraltex.errors import InputError

_RESOLUTION, _PADDING = 1024, 4


def unwrap_faces(
    verts: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], *, source: Path
) -> tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
    """Cut faces into charts and lay them out flat, four texels of a 1024 texture apart.

    Args:
        verts: `[V, 3]` positions.
        faces: `[F, 3]` rows of `verts`.
        source: the file to name in an error.

    Returns:
        `[T, 2]` coordinates whose larger side is 1, and `[F, 3]` rows of it. Faces without area sit in a corner.

    Raises:
        InputError: xatlas fails, or the faces have no surface.
    """
    import xatlas

    used, compacted = np.unique(faces, return_inverse=True)
    points = verts[used]
    # Centred and scaled: xatlas works in float32, and its thresholds are absolute.
    points = points - points.min(0)
    points = (points / max(float(points.max()), 1e-300)).astype(np.float32)
    atlas = xatlas.Atlas()
    options = xatlas.PackOptions()
    options.resolution, options.padding = _RESOLUTION, _PADDING
    try:
        atlas.add_mesh(np.ascontiguousarray(points), compacted.reshape(-1, 3).astype(np.uint32))
        atlas.generate(pack_options=options)
        if atlas.chart_count == 0:
            raise InputError(source, "cannot be unwrapped: its faces have no surface", hint="check the mesh's scale")
        _, indices, uv = atlas.get_mesh(0)
    except (RuntimeError, ValueError) as error:
        raise InputError(source, f"cannot be unwrapped ({error})", hint="unwrap it in a modelling program") from error
    size = np.array([atlas.width, atlas.height], np.float64)
    flat = np.asarray(uv, np.float64) * size / size.max()
    if len(indices) != len(faces) or not np.isfinite(flat).all():
        raise InputError(source, "cannot be unwrapped: xatlas lost faces", hint="unwrap it in a modelling program")
    return np.clip(flat, 0.0, 1.0), np.asarray(indices, np.int64).reshape(-1, 3)
