"""A mesh with the texture of its own file, and unlit pictures of it from all around."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.capture.images import read_image
from neuraltex.errors import InputError, InputWarning
from neuraltex.geometry import load_scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.mtl import Material
from neuraltex.geometry.part import Part
from neuraltex.geometry.scene import Scene
from neuraltex.raster import make_gbuffer

NUM_VIEWS = 24
PICTURE_SIZE = 512
# Rays a pixel and direction, against aliasing.
SUPERSAMPLING = 2
VIEW_FOV_DEG = 40.0
# Longer side in texels; more than the pictures show would only alias in them.
TEXTURE_SIZE = 2048
BACKGROUND = 0.45


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh with the texture coordinates and the diffuse textures of its file.

    Args:
        mesh: texture coordinates as in the file, any range; 0 where a face has none.
        textures: `[3, H, W]` float32 in [0, 1], sRGB-encoded, row 0 on top.
        face_textures: `[F]` int64 index into `textures`, -1 where a face shows none.
    """

    mesh: Mesh
    textures: tuple[Float[Tensor, "3 H W"], ...]
    face_textures: Int[Tensor, "F"]


@dataclass(frozen=True)
class Picture:
    """The textured mesh seen by one camera.

    Args:
        rgb: `[H, W, 3]` uint8, sRGB-encoded, without light.
        depth: `[H, W]` camera z in scene units where all of a pixel shows a texture, 0 elsewhere.
        camera: one camera `[]`, world of the mesh.
    """

    rgb: npt.NDArray[np.uint8]
    depth: Float[Tensor, "H W"]
    camera: Camera


def read_textured(scene: Scene) -> TexturedMesh | None:
    """The mesh of a scene with the texture that its file names; a texture that cannot be read is warned of.

    Args:
        scene: as `load_scene` made it. Where it changed the texture coordinates, those of the file are read again.

    Returns:
        None where no face shows a texture: none is named, all are missing, or no textured face has coordinates.
    """
    if not any(material.diffuse_texture for material in scene.materials):
        return None
    if scene.uv_changes:
        with warnings.catch_warnings():
            # They were given when the scene was loaded.
            warnings.simplefilter("ignore", InputWarning)
            scene = load_scene(scene.source, unwrap="never")
    textures: list[Float[Tensor, "3 H W"]] = []
    slots = []
    for material in scene.materials:
        texture = _read_texture(material)
        slots.append(-1 if texture is None else len(textures))
        textures += [] if texture is None else [texture]
    slot_of = torch.tensor([*slots, -1])
    shown = [part for part in scene.parts if part.visible]
    faces = [torch.where((part.faces_uv >= 0).all(1), slot_of[part.face_materials], -1) for part in shown]
    face_textures = torch.cat(faces) if faces else torch.zeros(0, dtype=torch.int64)
    if not bool((face_textures >= 0).any()):
        return None
    mesh = replace(scene, parts=[_with_all_rows(part) for part in scene.parts]).flatten()
    return TexturedMesh(mesh, tuple(textures), face_textures)


def _read_texture(material: Material) -> Float[Tensor, "3 H W"] | None:
    import cv2

    if material.diffuse_texture is None:
        return None
    try:
        rgb = read_image(material.diffuse_texture).rgb
    except InputError as error:
        warnings.warn(
            f"{error}; material {material.name!r} is laid onto the photographs without its texture",
            InputWarning,
            stacklevel=3,
        )
        return None
    shrink = min(1.0, TEXTURE_SIZE / max(rgb.shape[:2]))
    if shrink < 1:
        size = (max(round(rgb.shape[1] * shrink), 1), max(round(rgb.shape[0] * shrink), 1))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)


def _with_all_rows(part: Part) -> Part:
    """The part with the first row of coordinates, any, on faces that have none: `flatten` wants some on each."""
    missing = part.verts_uv is None or len(part.verts_uv) == 0
    rows = torch.zeros(1, 2, dtype=torch.float64) if missing else part.verts_uv
    return replace(part, verts_uv=rows, faces_uv=part.faces_uv.clamp(min=0))


def cameras_around(mesh: Mesh, *, count: int = NUM_VIEWS, size: int = PICTURE_SIZE) -> Camera:
    """Cameras spread evenly over a sphere around a mesh, each of which sees all of it.

    Args:
        mesh: what to look at.
        count: how many.
        size: width and height in pixels.

    Returns:
        `[count]` cameras in the mesh's world.
    """
    low, high = mesh.verts.amin(0), mesh.verts.amax(0)
    middle, radius = 0.5 * (low + high), 0.5 * float((high - low).norm())
    k = torch.arange(count) + 0.5
    height = 1 - 2 * k / count
    around = k * (torch.pi * (3 - 5**0.5))
    flat = (1 - height**2).sqrt()
    directions = torch.stack([flat * around.cos(), flat * around.sin(), height], dim=-1)
    distance = radius / float(np.sin(np.radians(VIEW_FOV_DEG / 2)))
    up = torch.tensor([0.0, 0.0, 1.0])
    return Camera.from_fov(look_at(middle + distance * directions, middle, up), VIEW_FOV_DEG, size, size)


@torch.no_grad()
def pictures_of(textured: TexturedMesh, cameras: Camera) -> Iterator[Picture]:
    """Draw a textured mesh without light, one camera at a time for the memory.

    Args:
        textured: what to draw.
        cameras: `[N]` in the mesh's world.
    """
    extent = textured.mesh.verts.amax(0) - textured.mesh.verts.amin(0)
    near = 1e-3 * float(extent.norm())
    fine = cameras.resize(SUPERSAMPLING * cameras.width, SUPERSAMPLING * cameras.height)
    for k in range(len(cameras.w2c)):
        gbuffer = make_gbuffer(textured.mesh, fine[k : k + 1], near=near)
        face = gbuffer.fragments.pix_to_face[0]
        shown = torch.where(face >= 0, textured.face_textures[face.clamp(min=0)], -1)
        rgb = torch.full((3, *shown.shape), BACKGROUND)
        for slot in shown.unique().tolist():
            if slot >= 0:
                rgb[:, shown == slot] = _looked_up(textured.textures[slot], gbuffer.uv[0][shown == slot])
        small = torch.nn.functional.avg_pool2d(rgb[None], SUPERSAMPLING)[0].permute(1, 2, 0)
        # On a plane 1 / z is linear in the pixel; 0 wherever one ray of a pixel sees no texture.
        inverse = torch.where(shown >= 0, 1 / gbuffer.depth[0].clamp(min=near), torch.inf)
        depth = 1 / torch.nn.functional.avg_pool2d(inverse[None], SUPERSAMPLING)[0]
        yield Picture((small * 255).round().byte().numpy(), depth, cameras[k])


def _looked_up(texture: Float[Tensor, "3 H W"], uv: Float[Tensor, "N 2"]) -> Float[Tensor, "3 N"]:
    """Colours of a texture that repeats, at coordinates with v up."""
    grid = 2 * (uv - uv.floor()) - 1
    grid = grid * grid.new_tensor([1.0, -1.0])
    found = torch.nn.functional.grid_sample(texture[None], grid[None, None], align_corners=False, padding_mode="border")
    return found[0, :, 0]
