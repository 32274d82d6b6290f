"""What a run does where its settings leave the choice to the device, the photographs and the mesh."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.capture import Capture
from neuraltex.errors import SettingError
from neuraltex.geometry import Scene
from neuraltex.shading import ShadingConfig
from neuraltex.training.config import TrainingConfig
from neuraltex.training.density import suitable_texture_size
from neuraltex.training.moving import CapturedMotion

VIEWS_TO_CORRECT_BY = 20


def defaults_for(device: torch.device) -> tuple[ShadingConfig, TrainingConfig]:
    """Settings that suit a device: what a CPU can fit in minutes, or what a GPU can."""
    if device.type == "cpu":
        return (
            ShadingConfig(decoder_width=16, texture_size=512, environment_size=64),
            # Steps from farther away show all of a photograph where crops show a part: held out they gain 0.7 dB.
            TrainingConfig(batch=1, crop=160, decoder_rate=3e-3, far_share=0.3),
        )
    return ShadingConfig(reflection_size=128), TrainingConfig()


def choose_corrections(config: TrainingConfig, decoder: str, num_views: int) -> TrainingConfig:
    """Decide what the settings leave open.

    Held out, vertices and normals gain 0.5 to 1.9 dB on captures of 57 and 120 photographs and lose 0.2 dB on one of 8,
    which they let the renderer memorise.

    Args:
        config: as asked for.
        decoder: "paper" stays as it was published.
        num_views: training photographs.
    """
    many = decoder == "default" and num_views >= VIEWS_TO_CORRECT_BY
    return replace(
        config,
        refine_poses=bool(config.refine_poses),
        refine_lens=bool(config.refine_lens),
        refine_exposure=bool(config.refine_exposure),
        refine_shape=many if config.refine_shape is None else config.refine_shape,
        refine_normals=many if config.refine_normals is None else config.refine_normals,
    )


def choose_shading(
    shading: ShadingConfig, scene: Scene, capture: Capture, motion: CapturedMotion | None
) -> ShadingConfig:
    """Decide what the settings leave open.

    Args:
        shading: as asked for.
        scene: of the mesh.
        capture: the photographs.
        motion: of the mesh while they were taken; None where it rested.

    Raises:
        SettingError: something was asked for that the mesh's motion, or its absence, does not allow.
    """
    if shading.interreflections and motion is not None:
        raise SettingError("--shading.interreflections: a mesh that moves cannot have them; leave the setting out")
    conditions = None if motion is None else motion.motion.conditions
    count = 0 if conditions is None else conditions.shape[1]
    if shading.detail and not count:
        raise SettingError("--shading.detail: the motion tells nothing of the surface's state that it could depend on")
    mirrors = shading.decoder == "default" and motion is None
    size, mesh = shading.texture_size, scene.flatten()
    if size is None:
        size = suitable_texture_size(mesh, capture.cameras[capture.train_indices])
    return replace(
        shading,
        texture_size=size,
        environment=capture.masks is None if shading.environment is None else shading.environment,
        interreflections=mirrors if shading.interreflections is None else shading.interreflections,
        fade_levels=True if shading.fade_levels is None else shading.fade_levels,
        near_surroundings=True if shading.near_surroundings is None else shading.near_surroundings,
        num_conditions=count,
        box=_box(mesh.verts),
    )


def _box(verts: Float[Tensor, "V 3"]) -> tuple[float, float, float, float] | None:
    """Centre and diagonal of a scene; None where it has no extent."""
    if not len(verts):
        return None
    lowest, highest = verts.amin(dim=0), verts.amax(dim=0)
    x, y, z = ((lowest + highest) / 2).tolist()
    diagonal = float((highest - lowest).norm())
    return (x, y, z, diagonal) if diagonal > 0 else None
