"""Edits against the truth: a run of the bundled still life, its duck moved as in `edited/`, 8 path-traced views.

python -m benchmarks.edits RUN [--baseline-steps 600] [--pictures FOLDER]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor
from torch.nn.functional import max_pool2d
from tyro.conf import Positional

import neuraltex  # noqa: F401 - before torch, so that threads are set up as in every command
from neuraltex.cameras import Camera
from neuraltex.capture import load_capture, write_image
from neuraltex.demo import bundled_scene
from neuraltex.editing import EditRenderer, Stage, Staged, remember_surface
from neuraltex.editing.refined import with_refined_verts
from neuraltex.evaluation.metrics import psnr
from neuraltex.evaluation.score import side_by_side
from neuraltex.evaluation.textured_mesh import fit_textured_mesh
from neuraltex.raster import make_gbuffer
from neuraltex.training import Run, pick_device
from neuraltex.training.sampler import Photos

# What counts as around the object: so many pixels about where it was and where it is now, at 384 pixels.
AROUND = 20


@dataclass(frozen=True)
class Edits:
    """Score edits of a run of the bundled scene against path-traced pictures of the edited scene.

    Args:
        run: a run folder.
        baseline_steps: of the textured mesh's optimisation.
        pictures: folder for truth and methods side by side, one picture a view.
        device: "auto", "cpu", "cuda", "cuda:1", ...
    """

    run: Positional[Path]
    baseline_steps: int = 600
    pictures: Path | None = None
    device: str = "auto"


def main(args: Edits) -> None:
    """Print a table: PSNR of the whole picture, on the mesh, and around the moved object, of each way to edit."""
    device = pick_device(args.device)
    run = Run.open(args.run)
    mesh, (shader, _) = run.load_mesh(device), run.load_model(device)
    scene = with_refined_verts(run.load_scene(), mesh)
    truth = Photos(load_capture(bundled_scene() / "edited"), torch.arange(8), device)
    told = json.loads((bundled_scene() / "edited" / "edit.json").read_text(encoding="utf-8"))
    memory = remember_surface(run, mesh, shader, report=print)

    def staged(frame: str | None) -> Staged:
        stage = Stage(scene)
        if frame is not None:
            stage[told["object"]].view_dependence = frame
            stage[told["object"]].transform(told["transform"])
        return stage.finish().to(device)

    moved = {told["object"]}
    plain, blind, full = (
        EditRenderer(mesh, shader, memory, moved=names, relight=relight)
        for names, relight in ((set(), False), (moved, False), (moved, True))
    )
    here, world, part = staged(None), staged("world"), staged("part")
    photos = Photos(run.load_capture(), run.load_capture().train_indices, device)
    size = run.config.shading.environment_size if run.config.shading.environment else None
    texture = fit_textured_mesh(
        mesh, photos, texture_size=shader.texture.size, environment_size=size,
        steps=args.baseline_steps, seed=run.config.seed,
    )  # fmt: skip

    def pasted(camera: Camera) -> Tensor:
        index = world.mesh.part_names.index(told["object"])
        object_here = make_gbuffer(world.mesh, camera).part_ids[0] == index
        return torch.where(object_here[..., None], plain(world, camera), plain(here, camera))

    methods: dict[str, Callable[[Camera], Tensor]] = {
        "not edited": lambda camera: plain(here, camera),
        "object pasted": pasted,
        "textured mesh, edited": lambda camera: (texture(world.mesh, camera)[0].clamp(0, 1) * 255).to(torch.uint8),
        "edited, nothing filled or relit": lambda camera: plain(world, camera),
        "edited, hidden texels filled": lambda camera: blind(world, camera),
        "edited and relit": lambda camera: full(world, camera),
        "the same, view dependence of the part": lambda camera: full(part, camera),
    }
    score(methods, truth, here, world, told["object"], args.pictures)
    held_out = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["held_out"]["ours"]
    print(f"held out, not edited: {held_out['psnr']:.2f} / {held_out['psnr_covered']:.2f} dB")


@torch.no_grad()
def score(
    methods: dict[str, Callable[[Camera], Tensor]],
    truth: Photos,
    here: Staged,
    there: Staged,
    name: str,
    pictures: Path | None,
) -> None:
    """Print the means over all views."""
    totals = {method: torch.zeros(4, dtype=torch.float64) for method in methods}
    for index in range(len(truth)):
        view = truth.view(index)
        masks = [make_gbuffer(staged.mesh, view.cameras) for staged in (here, there)]
        at_object = [m.part_ids == s.mesh.part_names.index(name) for m, s in zip(masks, (here, there), strict=True)]
        near = torch.stack(at_object).any(dim=0).float()
        around = max_pool2d(near, 2 * AROUND + 1, 1, AROUND) > 0
        covered = masks[1].mask
        shown = [view.target]
        for method, renderer in methods.items():
            rgb = renderer(view.cameras)[None].float() / 255
            areas = (torch.ones_like(covered), covered, around, covered & ~around)
            totals[method] += torch.tensor([psnr(rgb, view.target, area) for area in areas])
            shown.append(rgb)
        if pictures is not None:
            write_image(pictures / f"{index:03d}.png", side_by_side([image[0] for image in shown]))
    print(f"{'PSNR in dB, 8 views':40} whole  mesh  around  elsewhere")
    for method, total in totals.items():
        print(f"{method:40}" + "  ".join(f"{value:5.2f}" for value in (total / len(truth)).tolist()))


if __name__ == "__main__":
    main(tyro.cli(Edits))
