"""What a run's photographs told of its surface beside the textures: which texels they show, and the light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuraltex.colours import srgb_to_linear
from neuraltex.editing.light import Light, Shadows, fit_light, lamps_around
from neuraltex.editing.unfold import Unfolded, seen_texels, unfold
from neuraltex.errors import InputError
from neuraltex.geometry.mesh import Mesh
from neuraltex.shading import Shader
from neuraltex.training.checkpoint import load_tensors, save_tensors
from neuraltex.training.run import Run

FILE = "surface.safetensors"
# Light and sight are known on so many texels a side: shadows are softer than the finest texels.
SIZE = 512
BUFFERS = ("positions", "radiance", "ambient", "middle")


@dataclass(frozen=True)
class SurfaceMemory:
    """What editing a run needs beside the run.

    Args:
        seen: `[S, S]` texels that a photograph shows.
        covered: `[S, S]` texels that lie on the surface.
        light: the lamps that the photographs' shadows tell of.
    """

    seen: Bool[Tensor, "S S"]
    covered: Bool[Tensor, "S S"]
    light: Light

    @property
    def unseen_share(self) -> float:
        """Share of the surface's texels that no photograph shows."""
        return 1 - float((self.seen & self.covered).sum() / self.covered.sum().clamp(min=1))


def remember_surface(
    run: Run, mesh: Mesh, shader: Shader, *, report: Callable[[str], None] = lambda _: None
) -> SurfaceMemory:
    """Find out what editing needs of a run, or read it where that was done before; kept in the run folder.

    Args:
        run: a trained run.
        mesh: its corrected mesh, on the device to compute on.
        shader: its shader.
        report: told what takes long.

    Raises:
        InputError: a file of the run cannot be read.
    """
    path = run.folder / FILE
    device = mesh.verts.device
    kept = _read(path, device) if path.exists() and path.stat().st_mtime >= run.model.stat().st_mtime else None
    if kept is not None:
        return kept
    size = min(SIZE, shader.texture.size)
    report("finding out which texels the photographs show")
    seen = seen_texels(mesh, run.load_cameras().to(device), size)
    texels = unfold(mesh, size)
    covered = torch.zeros_like(seen)
    covered[texels.places[:, 0], texels.places[:, 1]] = True
    report("finding the light in the texture's shadows")
    light = _find_light(mesh, shader, texels, seen)
    tensors = {name: getattr(light, name) for name in BUFFERS}
    tensors |= {"seen": seen.to(torch.uint8), "covered": covered.to(torch.uint8)}
    try:
        save_tensors(path, tensors, {"radius": light.radius})
    except InputError as error:
        report(f"{error}; the next edit will find both out again")
    return SurfaceMemory(seen, covered, light)


def _read(path: Path, device: torch.device) -> SurfaceMemory | None:
    """What was kept; None where it cannot be used, since it can be found out again."""
    try:
        tensors, state = load_tensors(path, device)
        light = Light(**{name: tensors[name] for name in BUFFERS}, radius=float(state["radius"]))
        return SurfaceMemory(tensors["seen"].bool(), tensors["covered"].bool(), light)
    except (InputError, KeyError, TypeError, ValueError):
        return None


def _find_light(mesh: Mesh, shader: Shader, texels: Unfolded, seen: Bool[Tensor, "S S"]) -> Light:
    with torch.no_grad():
        colour = srgb_to_linear(texel_features(shader, texels.size)[:3].clamp(0, 1))
        rows, columns = texels.places.unbind(-1)
        shown = seen[rows, columns].nonzero().squeeze(1)
        lamps = lamps_around(mesh)
        points = texels.points.index_select(0, shown)
        received = Shadows(mesh.verts, mesh.faces, lamps).received(points, texels.normals.index_select(0, shown))
        places = texels.places.index_select(0, shown)
    return fit_light(
        lamps,
        received,
        places,
        colour[:, places[:, 0], places[:, 1]].t(),
        mesh.part_ids.index_select(0, texels.faces.index_select(0, shown)),
        points,
        size=texels.size,
    )


def texel_features(shader: Shader, size: int) -> Float[Tensor, "C S S"]:
    """The summed texture pyramid at the middles of `size` x `size` texels."""
    device = shader.texture.levels[0].device
    middles = (torch.arange(size, device=device) + 0.5) / size
    v, u = torch.meshgrid(1 - middles, middles, indexing="ij")
    features: Tensor = shader.texture(torch.stack([u, v], dim=-1)[None])
    return features[0]
