"""The baseline everybody has: the same surface with an ordinary RGB texture, as good as optimisation makes it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuraltex.cameras.camera import Camera
from neuraltex.errors import InputError
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer
from neuraltex.shading import EnvironmentTexture, NeuralTexture
from neuraltex.training.checkpoint import load_parameters, load_tensors, save_tensors
from neuraltex.training.losses import masked_mean
from neuraltex.training.moving import MovingMesh
from neuraltex.training.refinement import Refinement
from neuraltex.training.sampler import Photos


class TexturedMesh(nn.Module):
    """RGB on the surface and, behind it, RGB by direction.

    The texture is a summed pyramid like the neural one, so texels no view saw take the colour around them.

    Args:
        texture_size: texels along each side.
        environment_size: texels along each side of the environment; None for black.
    """

    def __init__(self, texture_size: int, environment_size: int | None) -> None:
        super().__init__()
        self.sizes = {"texture_size": texture_size, "environment_size": environment_size}
        self.texture = NeuralTexture(texture_size, texture_size, channels=3, num_levels=5)
        self.environment = EnvironmentTexture(environment_size, channels=3, num_levels=4) if environment_size else None
        with torch.no_grad():
            for texture in (self.texture, self.environment):
                if texture is not None:
                    texture.levels[-1].fill_(0.5)

    def forward(self, mesh: Mesh, cameras: Camera) -> Float[Tensor, "B H W 3"]:
        """Render `[B, H, W, 3]` sRGB-encoded colour. Differentiable in: the texels, mesh.verts, K, w2c."""
        gbuffer = make_gbuffer(mesh, cameras)
        rgb = self.texture(gbuffer.uv).permute(0, 2, 3, 1)
        behind = torch.zeros_like(rgb)
        if self.environment is not None and not bool(gbuffer.mask.all()):
            behind = self.environment(cameras.ray_dirs()).permute(0, 2, 3, 1)
        return torch.where(gbuffer.mask[..., None], rgb, behind)


def save_textured_mesh(path: Path, model: TexturedMesh) -> None:
    """Write the textures, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    save_tensors(path, dict(model.named_parameters()), model.sizes)


def load_textured_mesh(path: Path, device: torch.device) -> TexturedMesh:
    """Read back what `save_textured_mesh` wrote.

    Raises:
        InputError: the file is missing or broken.
    """
    tensors, sizes = load_tensors(path)
    try:
        model = TexturedMesh(int(sizes["texture_size"]), sizes["environment_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"does not hold a textured mesh ({error})", hint="run neuraltex eval again") from error
    load_parameters(model, tensors, path)
    return model.to(device).requires_grad_(False)


def fit_textured_mesh(
    mesh: Mesh,
    photos: Photos,
    *,
    texture_size: int,
    environment_size: int | None,
    steps: int,
    seed: int,
    moving: MovingMesh | None = None,
    refinement: Refinement | None = None,
) -> TexturedMesh:
    """Optimise the texture against training photographs by squared error, the best a texture can do for PSNR.

    Args:
        mesh: the scene's flat buffers, on the photographs' device.
        photos: training photographs.
        texture_size, environment_size: as for `TexturedMesh`.
        steps: of the optimiser, one whole photograph each.
        seed: of the order of the photographs.
        moving: the mesh as each of the photographs shows it, where it moves.
        refinement: what is known of each photograph's exposure; it stays as it is.
    """
    model = TexturedMesh(texture_size, environment_size).to(photos.images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, betas=(0.9, 0.95), eps=1e-12, fused=True)
    whole = max(photos.cameras.height, photos.cameras.width)
    for step in range(steps):
        batch = photos.crops(seed, step, batch=1, crop=whole)
        shown = mesh if moving is None else moving.meshes(batch.indices, mesh)[0]
        rgb = model(shown, batch.cameras)
        if refinement is not None:
            rgb = refinement.develop(rgb, batch.indices)
        error = (rgb - batch.target).square()
        loss = masked_mean(error, batch.weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        optimizer.step()
    return model
