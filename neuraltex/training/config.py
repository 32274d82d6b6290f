"""Settings of a training run, one frozen dataclass a stage."""

from __future__ import annotations

from dataclasses import dataclass

from neuraltex.errors import SettingError


@dataclass(frozen=True)
class TrainingConfig:
    """How the learned part is fitted.

    Args:
        batch: crops a step.
        crop: side of a training crop in pixels; photos smaller than it are taken whole.
        zoom_share: share of the crops taken at another scale, through the camera.
        zoom_range: how far those crops zoom in and out at most, a factor of 1 or more.
        far_share: share of the steps whose crops are taken from farther away than the photographs were: they show the
            whole photograph averaged down, and beyond it nothing is compared.
        far_range: how many times farther at most, 1 or more.
        texture_rate: step size of the neural texture and the environment.
        decoder_rate: step size of the image network.
        sphere_rate: step size of how near the mirrored surroundings are, and where, in their radius.
        texture_decay: pull of the finest texture level to zero, relative to its step size; coarser levels are pulled
            less, the coarsest not at all.
        environment_decay: the same of the environment. Strong, since what lies far behind is mostly smooth: directions
            that no view saw then show their surroundings instead of stains.
        environment_smoothness: pull of the texels of the environment, and of what is mirrored, to those around them.
        detail_decay: the same of detail that depends on a motion's numbers. Strong, since each state is seen rarely.
        structural_weight: share of the structural term in the loss, within [0, 1].
        colour_weight: pull of the first three texture channels to the photographed colour.
        refine_poses: learn a correction of each photograph's camera pose; None for yes where the cameras were solved
            here, not given.
        refine_lens: learn a correction of focal length and principal point, the same for all photographs; None for no.
        refine_exposure: learn each photograph's exposure and white balance, relative to the mean of all; None for no.
        refine_shape: move the mesh's vertices, smoothly: displacements come from lattices of several spacings. None for
            yes with the decoder "default" and 20 training photographs or more.
        refine_normals: tilt the mesh's normals, one by one: mirror directions follow them, and highlights with those.
            None as for `refine_shape`.
        pose_rate: step size of poses, in radians and in distances to the scene; a pose steps when its photograph is
            seen. 5e-3 suits poses that are off by a degree and more, 5e-4 poses that are nearly right.
        lens_rate: step size of the lens, in focal lengths.
        exposure_rate: step size of exposure, as a logarithm.
        normal_rate: step size of normals, in their length.
        shape_rate: step size of displacements, in diagonals of the scene's box.
        shape_decay: pull of the finest displacements to zero, relative to their step size; coarser ones are pulled
            less, the coarsest not at all.
        outlier_share: share of the pixels that may be wrong in a photograph, passers-by or blur: where the error is
            largest over a neighbourhood, it is not learned from.
        warmup_steps: steps over which the step sizes rise from zero.
        ema_decay: memory of the running average of the weights that is kept for rendering.
        save_minutes: minutes between checkpoints.
    """

    batch: int = 4
    crop: int = 512
    zoom_share: float = 0.25
    zoom_range: float = 1.5
    far_share: float = 0.0
    far_range: float = 8.0
    texture_rate: float = 4e-3
    decoder_rate: float = 2e-3
    sphere_rate: float = 1e-2
    texture_decay: float = 0.5
    environment_decay: float = 10.0
    environment_smoothness: float = 0.1
    detail_decay: float = 10.0
    structural_weight: float = 0.2
    colour_weight: float = 0.1
    refine_poses: bool | None = None
    refine_lens: bool | None = None
    refine_exposure: bool | None = None
    refine_shape: bool | None = None
    refine_normals: bool | None = None
    pose_rate: float = 1.5e-3
    lens_rate: float = 5e-4
    exposure_rate: float = 5e-2
    normal_rate: float = 1e-2
    shape_rate: float = 1e-4
    shape_decay: float = 2.0
    outlier_share: float = 0.0
    warmup_steps: int = 100
    ema_decay: float = 0.998
    save_minutes: float = 2.0


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes of wall time; exactly one.

    Raises:
        SettingError: both or none given, or not above 0.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.minutes) if value is not None]
        if len(given) != 1:
            raise SettingError("budget: give either --steps or --minutes, not both and not neither")
        if not given[0] > 0:
            raise SettingError(f"budget: expected more than 0 steps or minutes, got {given[0]}")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the budget is used up, 0 to 1, after `step` steps and `seconds` of training."""
        if self.steps is not None:
            return min(step / self.steps, 1.0)
        assert self.minutes is not None
        return min(seconds / (60 * self.minutes), 1.0)
