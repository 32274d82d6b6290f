"""The whole path, geometry to RGB, on one screen; one differentiable graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import GBuffer, antialias, concatenate, make_gbuffer, opposite_corners
from neuraltex.shading import Shader, look_around


@dataclass(frozen=True)
class Rendering:
    """A batch of rendered views.

    Args:
        rgb: `[B, H, W, 3]` sRGB-encoded colour, not clamped.
        colour: `[B, 3, H, W]` the first three texture channels as they were looked up.
        gbuffer: the surface that was shaded.
    """

    rgb: Float[Tensor, "B H W 3"]
    colour: Float[Tensor, "B 3 H W"]
    gbuffer: GBuffer


def render(
    mesh: Mesh | Sequence[Mesh],
    cameras: Camera,
    shader: Shader,
    *,
    opposite: Int[Tensor, "F 3"] | None = None,
    backend: str = "auto",
) -> Rendering:
    """Render a mesh through a learned shader.

    Args:
        mesh: the scene's flat buffers; or one mesh a camera, all with the same faces, where it moves.
        cameras: a batch `[B]` of cameras.
        shader: what was learned for this mesh.
        opposite: `[F, 3]` from `opposite_corners(mesh.faces)`, which depends on the faces alone: pass it where the
            same mesh is rendered many times.
        backend: as in `rasterize`.

    Raises:
        ValueError: as `rasterize`, or another number of meshes than of cameras.

    Differentiable in: mesh.verts, mesh.verts_uv, mesh.normals, K, w2c, and the shader's parameters.
    """
    if isinstance(mesh, Mesh):
        features, colour, gbuffer = look(mesh, cameras, shader, opposite, backend)
        return Rendering(rgb=shader.decode(features), colour=colour, gbuffer=gbuffer)
    if len(mesh) != len(cameras.K) or not len(mesh):
        raise ValueError(f"mesh: expected one for each of the {len(cameras.K)} cameras, got {len(mesh)}")
    if opposite is None:
        opposite = opposite_corners(mesh[0].faces)
    looks = [look(posed, cameras[i : i + 1], shader, opposite, backend) for i, posed in enumerate(mesh)]
    rgb = shader.decode(torch.cat([features for features, _, _ in looks]))
    colour = torch.cat([colour for _, colour, _ in looks])
    return Rendering(rgb=rgb, colour=colour, gbuffer=concatenate([gbuffer for _, _, gbuffer in looks]))


def look(
    mesh: Mesh,
    cameras: Camera,
    shader: Shader,
    opposite: Int[Tensor, "F 3"] | None = None,
    backend: str = "auto",
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B 3 H W"], GBuffer]:
    """All of `render` but the network: its input, the colour of the texture alone, and the buffers.

    Arguments, errors and what it is differentiable in are those of `render`, of one mesh.
    """
    gbuffer = make_gbuffer(mesh, cameras, backend)
    around = None
    if shader.interreflections:
        if mesh.field is None:
            raise ValueError(
                "mesh.field: expected the space around the mesh, which this shader mirrors; mesh.with_field() has it"
            )
        around = look_around(mesh.field, shader.texture, gbuffer, cameras, backend)
    features, colour = shader.features(gbuffer, backend, mesh.condition, around, shader.places(gbuffer, cameras))
    if opposite is None:
        opposite = opposite_corners(mesh.faces)
    features = antialias(
        features.permute(0, 2, 3, 1), gbuffer.fragments, mesh.verts, mesh.faces, opposite, cameras, backend=backend
    ).permute(0, 3, 1, 2)
    return features, colour, gbuffer
