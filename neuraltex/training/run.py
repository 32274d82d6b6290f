"""The run folder: everything needed to go on training, to evaluate and to render, without the original mesh file.

config.json             settings, sources and device
scene.safetensors       the parts, with the texture coordinates that were trained on
motion.safetensors      how the mesh moved, where it did; motion_frames.safetensors which frame each photograph shows
cameras.safetensors     the photographs' cameras, which camera paths are made from
refinement.safetensors  where training moved cameras, exposures and vertices, where it was asked to
checkpoint.safetensors  state of the training, for --resume
model.safetensors       the weights to render with
log/                    tensorboard
metrics.json, report.html, held_out/, against/, steady/  written by the evaluation
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

import neuraltex
from neuraltex.cameras import Camera
from neuraltex.capture import Capture, load_capture, with_held_out
from neuraltex.errors import InputError, NeuraltexError
from neuraltex.files import read_json, write_json
from neuraltex.geometry import Scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training.checkpoint import load_parameters, load_tensors, save_tensors
from neuraltex.training.config import TrainingConfig
from neuraltex.training.moving import CapturedMotion, MovingMesh, read_captured_motion
from neuraltex.training.packing import pack, unpack
from neuraltex.training.refinement import Refinement
from neuraltex.training.settings import fits, read_settings


@dataclass(frozen=True)
class SourceConfig:
    """Where a run's data came from.

    Args:
        mesh: the mesh file.
        photos: a video, a folder of images, or a capture folder.
        cameras: camera file or model folder; None where the capture folder holds it.
        masks: folder of masks; None where there are none or the cameras name them.
        held_out: another capture folder to evaluate on, all of `photos` then being trained on; None to split `photos`.
        motion: how the mesh moves, as `read_motion` takes it; None for the capture folder's own or a mesh that rests.
        motion_fps: frames a second at which an animation is sampled; None for the video's own, or 30.
        size: longer side of the training images in pixels; None for the photographs' own.
        unwrap: which faces got new texture coordinates.
    """

    mesh: str
    photos: str
    cameras: str | None = None
    masks: str | None = None
    held_out: str | None = None
    motion: str | None = None
    motion_fps: float | None = None
    size: int | None = None
    unwrap: str = "missing"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run learns, but for how long.

    Args:
        source: where its data came from.
        shading: what is learned.
        training: how.
        seed: of the start and of the crops.
        version: of the package that began the run.
    """

    source: SourceConfig
    shading: ShadingConfig
    training: TrainingConfig
    seed: int = 0
    version: str = neuraltex.__version__


@dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
        folder: where it lies.
        config: its settings.
    """

    folder: Path
    config: RunConfig

    @property
    def checkpoint(self) -> Path:
        """File of the training's state."""
        return self.folder / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """File of the weights to render with."""
        return self.folder / "model.safetensors"

    @property
    def textured_mesh(self) -> Path:
        """File of the baseline that the evaluation fits."""
        return self.against("textured_mesh") / "model.safetensors"

    def against(self, name: str) -> Path:
        """Folder of a contender that the evaluation trained to compare with."""
        return self.folder / "against" / name

    @staticmethod
    def create(folder: Path, config: RunConfig, scene: Scene, motion: CapturedMotion | None = None) -> Run:
        """Lay out a new run folder.

        Args:
            folder: where.
            config: its settings.
            scene: of the mesh.
            motion: of the mesh while it was photographed; None where it rested.

        Raises:
            NeuraltexError: the folder holds a run already; nothing of it is touched.
            InputError: it cannot be written.
        """
        refuse_occupied(folder)
        scene.save(folder / "scene.safetensors")
        if motion is not None:
            motion.save(folder)
        write_json(folder / "config.json", asdict(config))
        return Run(folder, config)

    @staticmethod
    def open(folder: Path) -> Run:
        """Read a run's settings.

        Raises:
            InputError: there is no run, or its settings are broken.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise InputError(
                folder, "is not a run folder, config.json is missing", hint="make one with neuraltex train"
            )
        values = read_json(path)
        if not isinstance(values, dict) or set(values) != {f.name for f in fields(RunConfig)}:
            raise InputError(path, "does not hold the settings of a run", hint="restore it or train again")
        if not fits(values["seed"], int):
            raise InputError(path, f"seed: a whole number was expected, got {values['seed']!r}")
        config = RunConfig(
            source=read_settings(SourceConfig, values["source"], path, "source"),
            shading=read_settings(ShadingConfig, values["shading"], path, "shading"),
            training=read_settings(TrainingConfig, values["training"], path, "training"),
            seed=values["seed"],
            version=str(values["version"]),
        )
        return Run(folder, config)

    def load_scene(self) -> Scene:
        """The parts as they were trained on.

        Raises:
            InputError: the file is missing or broken.
        """
        return Scene.load(self.folder / "scene.safetensors")

    def load_motion(self) -> CapturedMotion | None:
        """How the mesh moved while it was photographed; None where it rested.

        Raises:
            InputError: a file is broken.
        """
        return CapturedMotion.load(self.folder)

    def load_moving(self, scene: Scene, rest: Mesh, photographs: Int[Tensor, "P"]) -> MovingMesh | None:
        """The mesh as some of the capture's photographs show it; None where it rested.

        Args:
            scene: from `load_scene`.
            rest: its flat buffers, as loaded, on the device to compute on.
            photographs: `[P]` which of the capture's.

        Raises:
            InputError: a file is broken, or the capture has grown.
        """
        captured = self.load_motion()
        return None if captured is None else captured.onto(scene, photographs, rest)

    def load_capture(self) -> Capture:
        """Decode the photographs anew, as they were trained on.

        Raises:
            InputError: they have moved or changed.
        """
        return load_source(self.config.source)

    def save_model(self, shader: Shader, state: dict[str, Any]) -> None:
        """Write the weights to render with, packed; `state` tells how they came about.

        Raises:
            InputError: they cannot be written; the ones before stay.
        """
        save_tensors(self.model, pack(dict(shader.named_parameters())), state)

    def load_model(self, device: torch.device) -> tuple[Shader, dict[str, Any]]:
        """The trained shader, and what `save_model` was told.

        Raises:
            InputError: there is none yet, or it is broken or of other settings.
        """
        if not self.model.is_file():
            raise InputError(self.folder, "holds no trained model yet", hint="finish it with neuraltex train --resume")
        tensors, state = load_tensors(self.model)
        shader = Shader(self.config.shading)
        load_parameters(shader, unpack(tensors), self.model)
        return shader.to(device).eval(), state

    def save_cameras(self, cameras: Camera) -> None:
        """Keep the training cameras `[N]`, from which paths are made.

        Raises:
            InputError: they cannot be written.
        """
        size = {"width": cameras.width, "height": cameras.height}
        save_tensors(self.folder / "cameras.safetensors", {"K": cameras.K, "w2c": cameras.w2c}, size)

    @property
    def refined(self) -> bool:
        """Whether training was asked to correct anything of the capture."""
        training = self.config.training
        return any(getattr(training, f.name) for f in fields(training) if f.name.startswith("refine_"))

    def save_refinement(self, refinement: Refinement, mesh: Mesh, cameras: Camera) -> None:
        """Write what training found out about the capture; `load_mesh` and `load_cameras` then give it.

        Args:
            refinement: the corrections.
            mesh: the scene's flat buffers, as they were loaded.
            cameras: the training cameras `[N]`, as they were loaded.

        Raises:
            InputError: a file cannot be written.
        """
        device = mesh.verts.device
        with torch.no_grad():
            moved = refinement.cameras(cameras.to(device), torch.arange(len(cameras.K), device=device))
            refined = refinement.mesh(mesh)
            tensors = {"verts": refined.verts, "normals": refined.normals, **dict(refinement.named_parameters())}
        save_tensors(self.folder / "refinement.safetensors", tensors, {})
        self.save_cameras(moved)

    def load_mesh(self, device: torch.device) -> Mesh:
        """The scene's flat buffers, with vertices and normals as training corrected them.

        Raises:
            InputError: a file is missing or broken.
        """
        mesh = self.load_scene().flatten().to(device)
        if self.config.shading.interreflections:
            mesh = mesh.with_field()  # before corrections, as it was when the shader learned to read it
        path = self.folder / "refinement.safetensors"
        if not self.refined:
            return mesh
        tensors, _ = load_tensors(path, device)
        for name, expected in (("verts", mesh.verts), ("normals", mesh.normals)):
            if name not in tensors or tensors[name].shape != expected.shape:
                raise InputError(path, f"does not hold {len(expected)} {name}", hint="train again")
        return replace(mesh, verts=tensors["verts"], normals=tensors["normals"])

    def load_refinement(self, mesh: Mesh, num_views: int) -> Refinement:
        """The corrections themselves.

        Args:
            mesh: the scene's flat buffers, as they were loaded, on the device to compute on.
            num_views: training photographs.

        Raises:
            InputError: the file is missing, broken or of other settings.
        """
        refinement = Refinement(self.config.training, mesh, num_views).to(mesh.verts.device)
        if self.refined:
            path = self.folder / "refinement.safetensors"
            load_parameters(refinement, load_tensors(path, mesh.verts.device)[0], path)
        return refinement

    def load_cameras(self) -> Camera:
        """The training cameras, as one batch.

        Raises:
            InputError: the file is missing or broken.
        """
        path = self.folder / "cameras.safetensors"
        tensors, size = load_tensors(path)
        try:
            return Camera(tensors["K"], tensors["w2c"], int(size["width"]), int(size["height"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(path, f"does not hold cameras ({error})", hint="train again") from error


def refuse_occupied(folder: Path) -> None:
    """Keep a run that is there already from being mixed with another.

    Raises:
        NeuraltexError: the folder holds a run.
    """
    if (folder / "config.json").exists():
        raise NeuraltexError(f"{folder} holds a run already; go on with it with --resume, or name another folder")


def load_source(source: SourceConfig) -> Capture:
    """Decode the photographs of a run.

    Raises:
        InputError: a file is missing or cannot be used.
    """
    capture = load_capture(
        Path(source.photos),
        Path(source.cameras) if source.cameras is not None else None,
        size=source.size,
        masks=Path(source.masks) if source.masks is not None else None,
    )
    if source.held_out is None:
        return capture
    return with_held_out(capture, load_capture(Path(source.held_out), size=source.size))


def load_motion(source: SourceConfig, capture: Capture, scene: Scene) -> CapturedMotion | None:
    """Read how the mesh moved while it was photographed; None where it rested.

    Args:
        source: of the run.
        capture: from `load_source`.
        scene: of the mesh file.

    Raises:
        InputError: the motion cannot be read, or does not fit the mesh or the photographs.
    """
    path = None if source.motion is None else Path(source.motion)
    held_out = None if source.held_out is None else Path(source.held_out)
    return read_captured_motion(path, capture, held_out, scene, fps=source.motion_fps)


def pick_device(name: str) -> torch.device:
    """The device to compute on.

    Args:
        name: "auto" for a GPU where there is one, or a name that torch knows.

    Raises:
        NeuraltexError: torch does not know it or cannot use it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise NeuraltexError(f"--device {name}: torch cannot use it ({reason}); try --device cpu") from error
    return device


def device_name(device: torch.device) -> str:
    """A name a reader can place: the GPU's own, or "cpu" with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"
