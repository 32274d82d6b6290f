"""What takes part in a comparison: other ways to render the same scene, given the same and trained as long."""

from __future__ import annotations

import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neuraltex
from neuraltex.cameras.camera import Camera
from neuraltex.errors import InputError
from neuraltex.execution import forget_peak, peak_bytes
from neuraltex.files import read_json, whole_folder, write_json
from neuraltex.geometry.mesh import Mesh
from neuraltex.training.config import Budget
from neuraltex.training.moving import MovingMesh
from neuraltex.training.refinement import Refinement
from neuraltex.training.run import Run, device_name
from neuraltex.training.sampler import Photos

# A mesh and a batch of cameras to `[B, H, W, 3]` sRGB-encoded colour, not clamped.
Renderer = Callable[[Mesh, Camera], Tensor]
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Task:
    """What every contender is given.

    Args:
        run: that it is compared with.
        mesh: the scene's flat buffers as the run's training corrected them, on the device to compute on.
        photos: training photographs, their cameras as the run's training corrected them.
        refinement: what that found out beside; photographs of several exposures are learned through its `develop`.
        budget: for how long to train.
        asked: whether somebody asked for that budget; else it is what the run took.
        baseline_steps: of the textured mesh's optimiser.
        moving: the mesh as each of the photographs shows it, where it moves.
        masked: whether what does not count in a photograph is not the object, rather than unknown.
        photographed: `[N, H, W]` false where undistortion left a border; None where all pixels were photographed.
    """

    run: Run
    mesh: Mesh
    photos: Photos
    refinement: Refinement
    budget: Budget
    baseline_steps: int
    moving: MovingMesh | None = None
    asked: bool = True
    masked: bool = False
    photographed: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.mesh.verts.device

    def fingerprint(self) -> str:
        """A short text that differs where mesh, cameras, photographs or what counts of them do."""
        digest = hashlib.sha256()
        tensors = [self.mesh.verts, self.mesh.faces, self.photos.cameras.K, self.photos.cameras.w2c, self.photos.images]
        tensors += [buffer for buffer in (self.photos.counted,) if buffer is not None]
        tensors += [self.moving.verts, self.moving.rows] if self.moving is not None else []
        for tensor in tensors:
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Effort:
    """What it took to get a model.

    Args:
        steps: of training; None where nothing is trained.
        seconds: of training or preparation, files read and written not counted.
        model_bytes: of what has to be kept to render.
        peak_bytes: of a GPU's memory at most while training; None on a CPU, or where it was not recorded.
    """

    steps: int | None
    seconds: float
    model_bytes: int
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Method:
    """A contender that is ready to be scored.

    Args:
        title: its name in tables.
        renderer: of the scene; differentiable in the cameras.
        effort: what it took.
        frames: cameras to 8-bit pictures `[B, H, W, 3]`, as fast as the method can; None for what `renderer` gives.
    """

    title: str
    renderer: Renderer
    effort: Effort
    frames: Callable[[Camera], Tensor] | None = None


class Contender(ABC):
    """One way to render a scene. What it learned is kept in a folder of its own, with the settings it learned by."""

    name: str
    title: str

    def refusal(self, task: Task) -> str | None:
        """Why it cannot take part here; None where it can."""
        return None

    @abstractmethod
    def settings(self, task: Task) -> dict[str, Any]:
        """Everything but the data, the seed and the device that decides what is learned, as JSON holds it."""

    @abstractmethod
    def fit(self, task: Task, folder: Path, report: Callable[[str], None]) -> Effort:
        """Learn, and leave in `folder` what `load` reads."""

    @abstractmethod
    def load(self, task: Task, folder: Path, effort: Effort) -> Method:
        """Make ready what `fit` left."""


def prepared(contender: Contender, task: Task, report: Callable[[str], None]) -> Method:
    """A contender's model: the one that lies in the run folder, or where its settings were others a new one.

    Args:
        contender: of which.
        task: what it is given.
        report: told what is being done.

    Raises:
        InputError: the folder cannot be written, or what lies there is broken.
        NeuraltexError: training diverged.
    """
    folder = task.run.against(contender.name)
    settings: dict[str, Any] = {
        "version": neuraltex.__version__,
        "data": task.fingerprint(),
        "seed": task.run.config.seed,
        "device": device_name(task.device),
        **contender.settings(task),
    }
    effort = _kept(folder, settings)
    if effort is not None:
        report(f"{contender.title}: as it was trained before")
        return contender.load(task, folder, effort)
    report(f"{contender.title}: training")
    with whole_folder(folder) as (temporary, _):
        forget_peak(task.device)
        torch.manual_seed(task.run.config.seed)
        effort = replace(contender.fit(task, temporary, report), peak_bytes=peak_bytes(task.device))
        write_json(temporary / SETTINGS_FILE, {"settings": settings, "effort": asdict(effort)})
        shutil.rmtree(folder, ignore_errors=True)
    return contender.load(task, folder, effort)


def _kept(folder: Path, settings: dict[str, Any]) -> Effort | None:
    """What an earlier comparison spent on the same; None where it has to be done."""
    if not (folder / SETTINGS_FILE).is_file():
        return None
    kept = read_json(folder / SETTINGS_FILE)
    try:
        same = kept["settings"] == json.loads(json.dumps(settings))  # as a file has them, lists for tuples
        return Effort(**kept["effort"]) if same else None
    except (KeyError, TypeError) as error:
        raise InputError(
            folder / SETTINGS_FILE, f"does not hold the settings of a contender ({error})", hint=f"delete {folder}"
        ) from error


def model_file_bytes(*paths: Path) -> int:
    """Bytes of the files that a model is kept in."""
    return sum(path.stat().st_size for path in paths)
