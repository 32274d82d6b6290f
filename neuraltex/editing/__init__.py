"""A trained run and a script in; pictures of a scene whose parts were moved, removed, copied or deformed out.

A script says at each time what differs from the scene as it was photographed (`Stage`). Texels that no photograph
shows are filled from those around them, and the light that the photographs tell of falls anew on what was moved and on
what it darkened (`Light`), so that shadows and contacts follow.
"""

from neuraltex.editing.light import Light, fit_light
from neuraltex.editing.memory import SurfaceMemory, remember_surface
from neuraltex.editing.picture import EditRenderer
from neuraltex.editing.script import Edit, load_edit
from neuraltex.editing.stage import Actor, Stage, Staged

__all__ = [
    "Actor",
    "Edit",
    "EditRenderer",
    "Light",
    "Stage",
    "Staged",
    "SurfaceMemory",
    "fit_light",
    "load_edit",
    "remember_surface",
]
