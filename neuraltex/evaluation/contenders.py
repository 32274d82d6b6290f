"""The contenders, by name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.errors import NeuraltexError, SettingError
from neuraltex.evaluation.contender import Contender, Effort, Method, Task, model_file_bytes
from neuraltex.evaluation.lumigraph import Lumigraph
from neuraltex.evaluation.splats import NUM_FAR, NUM_ON_MESH, NUM_STEPS, SplatTrainer, load_splats, save_splats, why_not
from neuraltex.evaluation.textured_mesh import fit_textured_mesh, load_textured_mesh, save_textured_mesh
from neuraltex.frames import FrameRenderer
from neuraltex.geometry.mesh import Mesh
from neuraltex.pipeline import render
from neuraltex.raster import opposite_corners
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training.checkpoint import load_parameters, load_tensors, save_tensors
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.packing import pack, unpack
from neuraltex.training.session import learn

MODEL_FILE = "model.safetensors"
EVERY = "all"


def shaded(title: str, mesh: Mesh, shader: Shader, effort: Effort) -> Method:
    """Ours, with whichever decoder."""
    opposite = opposite_corners(mesh.faces)

    def renderer(shown: Mesh, cameras: Camera) -> Tensor:
        return render(shown, cameras, shader, opposite=opposite).rgb

    return Method(title, renderer, effort, FrameRenderer(mesh, shader))


class AgainstTexturedMesh(Contender):
    """The same surface with an ordinary texture; it takes no part in the race for time, it ends far earlier."""

    name, title = "textured_mesh", "textured mesh"

    def settings(self, task: Task) -> dict[str, Any]:
        shading = task.run.config.shading
        return {
            "texture_size": shading.texture_size,
            "environment_size": shading.environment_size if shading.environment else None,
            "steps": task.baseline_steps,
        }

    def fit(self, task: Task, folder: Path, report: Callable[[str], None]) -> Effort:
        start = time.monotonic()
        settings, seed = self.settings(task), task.run.config.seed
        model = fit_textured_mesh(
            task.mesh, task.photos, **settings, seed=seed, moving=task.moving, refinement=task.refinement
        )
        seconds = time.monotonic() - start
        save_textured_mesh(folder / MODEL_FILE, model)
        return Effort(task.baseline_steps, seconds, model_file_bytes(folder / MODEL_FILE))

    def load(self, task: Task, folder: Path, effort: Effort) -> Method:
        return Method(self.title, load_textured_mesh(folder / MODEL_FILE, task.device), effort)


class Paper(Contender):
    """The renderer published in 2019, learned by the same loop as ours."""

    name, title = "paper", "decoder of 2019"

    def settings(self, task: Task) -> dict[str, Any]:
        return {
            "shading": asdict(self.shading(task)),
            "training": asdict(self.training(task)),
            "budget": asdict(task.budget),
        }

    def shading(self, task: Task) -> ShadingConfig:
        """Ours, as far as the paper has the same."""
        return replace(task.run.config.shading, decoder="paper", interreflections=False, detail=False)

    def training(self, task: Task) -> TrainingConfig:
        """Nothing is corrected anew: the corrected capture is given. Exposures, which are not, are learned again."""
        ours = task.run.config.training
        return replace(ours, refine_poses=False, refine_lens=False, refine_shape=False, refine_normals=False)

    def fit(self, task: Task, folder: Path, report: Callable[[str], None]) -> Effort:
        trainer = learn(
            task.mesh,
            task.photos,
            self.shading(task),
            self.training(task),
            task.budget,
            seed=task.run.config.seed,
            moving=task.moving,
        )
        save_tensors(folder / MODEL_FILE, pack(dict(trainer.averaged_shader().named_parameters())), {})
        return Effort(trainer.step, trainer.seconds, model_file_bytes(folder / MODEL_FILE))

    def load(self, task: Task, folder: Path, effort: Effort) -> Method:
        shader = Shader(self.shading(task))
        load_parameters(shader, unpack(load_tensors(folder / MODEL_FILE)[0]), folder / MODEL_FILE)
        return shaded(self.title, task.mesh, shader.to(task.device).requires_grad_(False).eval(), effort)


class AgainstLumigraph(Contender):
    """Photographs laid over the mesh and blended; nothing is learned, and all photographs are kept."""

    name, title = "lumigraph", "unstructured lumigraph"

    def settings(self, task: Task) -> dict[str, Any]:
        return {}

    def fit(self, task: Task, folder: Path, report: Callable[[str], None]) -> Effort:
        start = time.monotonic()
        lumigraph = self._lay(task)
        kept = (lumigraph.images, lumigraph.maps)
        return Effort(None, time.monotonic() - start, sum(tensor.nbytes for tensor in kept))

    def load(self, task: Task, folder: Path, effort: Effort) -> Method:
        return Method(self.title, self._lay(task), effort)

    def _lay(self, task: Task) -> Lumigraph:
        return Lumigraph(task.mesh, task.photos, moving=task.moving)


class AgainstSplats(Contender):
    """3D Gaussians, which may leave the mesh that they begin on."""

    name, title = "splats", "3D Gaussian splats"

    def refusal(self, task: Task) -> str | None:
        try:
            return why_not(task.photos.cameras, task.device, moves=task.moving is not None)
        except NeuraltexError as error:
            return str(error)

    def settings(self, task: Task) -> dict[str, Any]:
        return {"num_on_mesh": NUM_ON_MESH, "num_far": NUM_FAR, "budget": asdict(self.budget(task))}

    def budget(self, task: Task) -> Budget:
        """The steps that splats are published with, though they take longer than the run; or what was asked for."""
        return task.budget if task.asked else Budget(steps=NUM_STEPS)

    def fit(self, task: Task, folder: Path, report: Callable[[str], None]) -> Effort:
        trainer = SplatTrainer(
            task.mesh,
            task.photos,
            masked=task.masked,
            photographed=task.photographed,
            refinement=task.refinement,
            seed=task.run.config.seed,
        )
        trainer.fit(self.budget(task))
        report(f"{len(trainer.splats.values['means']):,} splats after {trainer.step} steps")
        save_splats(folder / MODEL_FILE, trainer.splats)
        return Effort(trainer.step, trainer.seconds, model_file_bytes(folder / MODEL_FILE))

    def load(self, task: Task, folder: Path, effort: Effort) -> Method:
        return Method(self.title, load_splats(folder / MODEL_FILE, task.device), effort)


CONTENDERS: dict[str, Contender] = {
    contender.name: contender for contender in (AgainstTexturedMesh(), Paper(), AgainstLumigraph(), AgainstSplats())
}
# Which takes part in every comparison.
ALWAYS = "textured_mesh"


def named(text: str) -> list[str]:
    """The contenders that a comma-separated list names, each once, `ALWAYS` first.

    Args:
        text: names; "all"; or nothing.

    Raises:
        SettingError: a name that no contender has.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in (*CONTENDERS, EVERY)]
    if unknown:
        raise SettingError(f"--against {unknown[0]}: expected {', '.join(CONTENDERS)}, or {EVERY}")
    return list(CONTENDERS) if EVERY in names else list(dict.fromkeys([ALWAYS, *names]))


def admitted(text: str, task: Task) -> tuple[list[Contender], dict[str, str]]:
    """Who takes part, and why others do not.

    Args:
        text: as in `named`.
        task: that they are given.

    Returns:
        The contenders, and the reason by name of each that "all" meant and that cannot run here.

    Raises:
        NeuraltexError: one that was asked for by name cannot run here.
    """
    asked = [name.strip() for name in text.split(",")]
    able, left_out = [], {}
    for name in named(text):
        contender = CONTENDERS[name]
        reason = contender.refusal(task)
        if reason is None:
            able.append(contender)
        elif name in asked:
            raise NeuraltexError(f"--against {name}: {reason}")
        else:
            left_out[name] = reason
    return able, left_out
