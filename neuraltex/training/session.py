"""One training run from files to a trained model: loading, progress, tensorboard, resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from torch.utils.tensorboard import SummaryWriter

from neuraltex.capture import Capture
from neuraltex.errors import NeuraltexError
from neuraltex.execution import forget_peak, peak_bytes
from neuraltex.geometry import Mesh, load_scene
from neuraltex.pipeline import render
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training.choices import choose_corrections, choose_shading
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.losses import masked_mean
from neuraltex.training.moving import MovingMesh
from neuraltex.training.run import Run, RunConfig, device_name, load_motion, load_source, refuse_occupied
from neuraltex.training.sampler import Photos
from neuraltex.training.trainer import Progress, Trainer
from neuraltex.training.workers import ALONE, Workers

# Looks at held-out views while training: how many times, and how many views.
NUM_LOOKS, VIEWS_A_LOOK = 10, 2


def train(
    folder: Path,
    config: RunConfig,
    budget: Budget,
    device: torch.device,
    console: Console,
    *,
    resume: bool,
    execution: str = "auto",
    workers: Workers = ALONE,
) -> Run:
    """Train, or go on training, and leave a run folder that can be rendered from.

    Args:
        folder: of the run.
        config: settings; with `resume` they must be those the run began with.
        budget: how long in all, earlier parts included.
        device: where to compute.
        console: progress is shown here.
        resume: go on with the run in `folder` if there is one.
        execution: how steps run, as in `pick_execution`.
        workers: the processes that train together; the first one writes the run folder.

    Raises:
        SettingError: an execution that cannot be had, or a batch that the workers cannot share.
        InputError: a file of the mesh, the photographs or the cameras cannot be used.
        NeuraltexError: the folder holds another run, or training diverged.
    """
    workers.share_of(config.training.batch)  # refused before anything is decoded or written
    if workers.first:
        run, capture = _open_or_begin(folder, config, console, resume=resume)
    workers.wait()
    if not workers.first:
        run = Run.open(folder)
        capture = run.load_capture()
    scene = run.load_scene()
    mesh = scene.flatten().to(device)
    held_out = Photos(capture, capture.test_indices, device) if workers.first else None

    def fit(trainer: Trainer) -> None:
        if held_out is None:
            return trainer.fit()
        console.print(
            f"training on {len(trainer.photos)} views of {capture.cameras.width} x {capture.cameras.height} "
            f"({len(held_out)} held out), {len(mesh.faces):,} faces"
            f"{'' if trainer.moving is None else f' in {len(trainer.moving.verts)} poses'}, {device_name(device)}"
        )
        _fit(trainer, held_out, run.load_moving(scene, mesh, capture.test_indices), run, console)

    forget_peak(device)
    trainer = learn(
        mesh,
        Photos(capture, capture.train_indices, device),
        run.config.shading,
        run.config.training,
        budget,
        seed=run.config.seed,
        checkpoint=run.checkpoint,
        moving=run.load_moving(scene, mesh, capture.train_indices),
        workers=workers,
        execution=execution,
        fit=fit,
    )
    state = {"step": trainer.step, "seconds": trainer.seconds, "device": device_name(device)}
    state["peak_bytes"] = peak_bytes(device)
    if workers.first:
        run.save_model(trainer.averaged_shader(), state)
        if run.refined:
            run.save_refinement(trainer.averaged_refinement(), mesh, trainer.photos.cameras)
    workers.wait()
    return run


def learn(
    mesh: Mesh,
    photos: Photos,
    shading: ShadingConfig,
    training: TrainingConfig,
    budget: Budget,
    *,
    seed: int,
    checkpoint: Path | None = None,
    moving: MovingMesh | None = None,
    workers: Workers = ALONE,
    execution: str = "auto",
    fit: Callable[[Trainer], None] = Trainer.fit,
) -> Trainer:
    """Fit a new shader to photographs, or go on from a checkpoint; whatever is trained is trained by this.

    Args:
        mesh: the scene's flat buffers, on the training device.
        photos: training photographs, on the same device.
        shading: what to learn, with nothing left open.
        training: how.
        budget: for how long in all.
        seed: of the shader's start and of the crops.
        checkpoint: file of the training's state, gone on from where it exists; None to keep none.
        moving: the mesh as each of the photographs shows it, where it moves.
        workers: the processes that train together.
        execution: how steps run, as in `pick_execution`.
        fit: runs the trainer's loop, and shows what goes on meanwhile.

    Raises:
        SettingError: an execution that cannot be had, or a batch that the workers cannot share.
        NeuraltexError: training diverged.
    """
    torch.manual_seed(seed)
    shader = Shader(shading).to(mesh.verts.device)
    if shader.interreflections and mesh.field is None:
        mesh = mesh.with_field()
    trainer = Trainer(
        mesh,
        photos,
        shader,
        training,
        budget,
        seed=seed,
        checkpoint=checkpoint,
        moving=moving,
        workers=workers,
        execution=execution,
    )
    if checkpoint is not None and checkpoint.exists():
        trainer.restore()
    fit(trainer)
    return trainer


def _open_or_begin(folder: Path, config: RunConfig, console: Console, *, resume: bool) -> tuple[Run, Capture]:
    if not resume:
        refuse_occupied(folder)  # before anything is decoded
    if not resume or not (folder / "config.json").exists():
        return _begin(folder, config, console)
    run = Run.open(folder)
    _refuse_changes(run.config, config, folder)
    return run, run.load_capture()


def _begin(folder: Path, config: RunConfig, console: Console) -> tuple[Run, Capture]:
    """Read everything before the first file is written, so that bad input leaves no run folder behind."""
    source = config.source
    scene = load_scene(source.mesh, unwrap=source.unwrap)  # type: ignore[arg-type]
    for line in scene.uv_changes:
        console.print(f"[yellow]{line}[/yellow]")
    capture = load_source(source)
    motion = load_motion(source, capture, scene)
    config = replace(
        config,
        shading=choose_shading(config.shading, scene, capture, motion),
        training=choose_corrections(config.training, config.shading.decoder, len(capture.train_indices)),
    )
    run = Run.create(folder, config, scene, motion)
    run.save_cameras(capture.cameras[capture.train_indices])
    return run, capture


def _refuse_changes(before: RunConfig, now: RunConfig, folder: Path) -> None:
    old, new = asdict(before), asdict(now)
    changed = [
        f"{part}.{name} (was {value}, now {new[part][name]})"
        for part in ("source", "shading", "training")
        for name, value in old[part].items()
        # None left the choice to the photographs.
        if new[part][name] not in (value, None) and name not in ("save_minutes", "num_conditions")
    ]
    if before.seed != now.seed:
        changed.append(f"seed (was {before.seed}, now {now.seed})")
    if changed:
        raise NeuraltexError(
            f"--resume: {folder} was begun with other settings: {'; '.join(changed)}; give the same ones or name "
            "another folder"
        )


def _fit(trainer: Trainer, held_out: Photos, moving: MovingMesh | None, run: Run, console: Console) -> None:
    """Run the loop under a progress bar and tensorboard."""
    if trainer.step:
        console.print(f"going on from step {trainer.step}")
    if trainer.execution == "compile":
        console.print("compiling the network: the first step takes 10 to 60 seconds")
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f}%"), TextColumn("{task.description}"))
    with Bar(*columns, console=console) as bar, SummaryWriter(str(run.folder / "log")) as writer:
        task = bar.add_task("starting", total=1.0)
        looks = {"next": 0.0, "psnr": math.nan}

        def report(progress: Progress) -> None:
            if progress.fraction >= looks["next"]:
                looks["next"] = (math.floor(progress.fraction * NUM_LOOKS) + 1) / NUM_LOOKS
                looks["psnr"] = _look(trainer, held_out, moving)
                writer.add_scalar("psnr/held_out", looks["psnr"], progress.step)
            if progress.step % 20 == 0:
                writer.add_scalar("loss/train", progress.loss, progress.step)
                writer.add_scalar("psnr/train", progress.psnr, progress.step)
            left = progress.seconds / max(progress.fraction, 1e-9) * (1 - progress.fraction)
            bar.update(
                task,
                completed=progress.fraction,
                description=f"step {progress.step}, training {progress.psnr:.1f} dB, held out {looks['psnr']:.1f} dB, "
                f"{int(left) // 60}:{int(left) % 60:02d} left",
            )

        trainer.fit(report)
        bar.update(task, completed=1.0)


@torch.no_grad()
def _look(trainer: Trainer, held_out: Photos, moving: MovingMesh | None) -> float:
    """PSNR of the first few held-out views, for the eye only: the evaluation takes all of them."""
    shader, refinement = trainer.averaged_shader(), trainer.averaged_refinement()
    mesh = refinement.mesh(trainer.mesh)
    errors = []
    for index in range(min(VIEWS_A_LOOK, len(held_out))):
        view = held_out.view(index)
        shown = mesh if moving is None else moving.meshes(view.indices, mesh)
        rgb = render(shown, refinement.lens_only(view.cameras), shader, opposite=trainer.opposite).rgb.clamp(0, 1)
        errors.append(float(masked_mean((rgb - view.target).square(), view.weight)))
    return -10 * math.log10(max(sum(errors) / max(len(errors), 1), 1e-10)) if errors else math.nan
