"""Pictures of a mesh that nobody has photographed: which part is which."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from neuraltex.cameras import Camera, look_at
from neuraltex.capture import write_image
from neuraltex.errors import InputError, SettingError
from neuraltex.files import is_occupied, whole_folder
from neuraltex.geometry import Mesh, Scene
from neuraltex.raster import GBuffer, make_gbuffer

SIZE, FINER = 480, 3
FOV_DEG = 30.0
PLAIN, CHOSEN = (0.62, 0.62, 0.62), (1.0, 0.5, 0.1)


def write_part_pictures(scene: Scene, folder: Path) -> list[Path]:
    """One PNG file a part: the whole scene in grey from a three-quarter view, that part in colour.

    A part that others hide shows through them.

    Args:
        scene: its visible parts, with texture coordinates.
        folder: to make; all pictures appear in it, or none.

    Returns:
        The files, `00_name.png`, ..., in the order of the parts.

    Raises:
        InputError: the folder holds something already, or cannot be written.
        SettingError: a visible part lacks texture coordinates.
    """
    if is_occupied(folder):
        raise InputError(folder, "holds something already", hint="name a new folder for the pictures")
    try:
        mesh = scene.flatten()
    except ValueError as error:
        raise SettingError(f"--pictures: {error}") from error
    camera = _three_quarter(mesh)
    gbuffer = make_gbuffer(mesh, camera)
    shown = [(k, part.name) for k, part in enumerate(scene) if part.visible and len(part.faces)]
    names = [f"{k:02d}_{re.sub(r'[^0-9A-Za-z._-]+', '_', name)}.png" for k, name in shown]
    with whole_folder(folder) as (temporary, _):
        for (_, name), file in zip(shown, names, strict=True):
            alone = make_gbuffer(_only(scene, name), camera)
            write_image(temporary / file, _highlighted(gbuffer, alone).numpy())
    return [folder / name for name in names]


def _only(scene: Scene, name: str) -> Mesh:
    return Scene([scene[name]]).flatten()


def _three_quarter(mesh: Mesh) -> Camera:
    """Sees the whole mesh from in front, from the side and from above; z is taken for up."""
    lowest, highest = mesh.verts.amin(0), mesh.verts.amax(0)
    middle, radius = (lowest + highest) / 2, float((highest - lowest).norm().clamp(min=1e-6) / 2)
    direction = torch.nn.functional.normalize(torch.tensor([-0.6, -0.8, 0.6]), dim=0)
    distance = radius / torch.deg2rad(torch.tensor(FOV_DEG / 2)).sin()
    w2c = look_at((middle + distance * direction)[None], middle, torch.tensor([0.0, 0.0, 1.0]))
    return Camera.from_fov(w2c, FOV_DEG, SIZE * FINER, SIZE * FINER)


def _highlighted(everything: GBuffer, part: GBuffer) -> UInt8[Tensor, "H W 3"]:
    """The part in colour over the rest in grey, each shaded by how much it faces the viewer."""
    rest, chosen = (_facing(gbuffer)[..., None] * torch.tensor(colour) for gbuffer, colour in (
        (everything, PLAIN), (part, CHOSEN)))  # fmt: skip
    in_front = part.depth[0] <= everything.depth[0] * (1 + 1e-4)
    picture = torch.where(everything.mask[0][..., None], rest, 1.0)
    through = torch.where(in_front[..., None], chosen, 0.6 * picture + 0.4 * chosen)
    picture = torch.where(part.mask[0][..., None], through, picture)
    small = torch.nn.functional.avg_pool2d(picture.permute(2, 0, 1)[None], FINER)[0].permute(1, 2, 0)
    return (small.clamp(0, 1) * 255).round().to(torch.uint8)


def _facing(gbuffer: GBuffer) -> Tensor:
    cosine = (gbuffer.normals * gbuffer.view_dirs).sum(-1)[0].abs()
    return 0.3 + 0.7 * cosine
