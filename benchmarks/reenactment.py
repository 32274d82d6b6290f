"""Reenactment against path-traced truth, beside the same performance on a textured mesh.

    python examples/make_actors.py --rig face_rig --output actors
    neuraltex track face_rig/blendshapes.npz actors/target/video.mp4 -o tracks/target --fov 22
    neuraltex track face_rig/blendshapes.npz actors/driving/video.mp4 -o tracks/driving --fov 22
    neuraltex train tracks/target/mesh.obj tracks/target -o runs/target
    python -m benchmarks.reenactment runs/target tracks/driving actors [--output reenactment.json] [--pictures FOLDER]

First how far the vertices of the face are from where the driving actor's true expressions put them, in shares of the
face's width, pose and identity left out (both are the same on both sides); then the PSNR of reenacted frames against
the target path-traced under those expressions. The textured mesh has the run's own, corrected geometry, the same
tracks, and the same blending.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.timing import markdown
from neuraltex.capture import read_image, write_image
from neuraltex.evaluation.metrics import psnr
from neuraltex.evaluation.score import side_by_side
from neuraltex.evaluation.textured_mesh import fit_textured_mesh
from neuraltex.geometry.motion import Motion
from neuraltex.geometry.poser import Poser
from neuraltex.reenactment.reenact import Backdrop, carry_over, composite, render_performance
from neuraltex.reenactment.rig import Rig
from neuraltex.reenactment.track_files import Track
from neuraltex.training import Run
from neuraltex.training.sampler import Photos

FACE_MATERIAL = "M_Face"
BASELINE_STEPS = 600


def expression_errors(track: Track, rig: Rig, truth: Float[Tensor, "N E"]) -> dict[str, float]:
    """How far the face's vertices are off, in percent of its width; and how far they are from the neutral face."""
    part = rig.scene.parts[0]
    names = [material.name for material in rig.scene.materials]
    faces = part.faces[part.face_materials == names.index(FACE_MATERIAL)]
    rows = faces.unique()
    width = float(rig.neutral[rows, 0].max() - rig.neutral[rows, 0].min())
    deltas = rig.expression_deltas[:, rows].flatten(1)
    found = track.expression - track.neutral
    off, moved = (
        100 / width * (values @ deltas).unflatten(1, (-1, 3)).norm(dim=-1) for values in (found - truth, truth)
    )
    # Most of a face hardly moves: what does is told by itself.
    moving = moved > 1.0
    return {
        "mean": float(off.mean()),
        "mean, worst frame": float(off.mean(1).max()),
        "mean where the truth moves over 1%": float(off[moving].mean()),
        "neutral face instead: mean": float(moved.mean()),
        "neutral face instead: where it moves": float(moved[moving].mean()),
    }


def reenactment_errors(
    run: Run, driving: Track, actors: Path, device: torch.device, pictures: Path | None
) -> dict[str, dict[str, float]]:
    """PSNR of every reenacted frame that there is truth of: the whole picture, and where the head is in it."""
    target = Track.open(Path(run.config.source.photos))
    rig = target.load_rig()
    performance = carry_over(target, driving)
    backdrop = Backdrop(target, "rim")
    baseline = _textured(run, device)
    poser, shape = Poser(run.load_scene().flatten().to(device)), run.load_mesh(device)
    cameras = run.load_cameras()[:1].to(device)
    files = {int(path.stem): path for path in sorted((actors / "reenacted").glob("*.png"))}
    scores: dict[str, list[tuple[float, float]]] = {"neuraltex": [], "textured mesh": []}
    for index, rgba in enumerate(render_performance(run, target, rig, performance, device)):
        if index not in files:
            continue
        verts = target.verts(rig, performance.expression[index][None], performance.matrices[index][None])
        flat = Motion(verts).onto(run.load_scene()).frame(0).to(device)
        with torch.no_grad():
            painted = baseline(poser.pose(flat, shape), cameras)[0].clamp(0, 1)
        textured = torch.cat([(255 * painted).round().to(torch.uint8), rgba[..., 3:]], dim=-1)
        truth = torch.from_numpy(read_image(files[index]).rgb)
        head = torch.from_numpy(read_image(actors / "reenacted_alpha" / files[index].name).rgb[..., 0] > 127)
        shown = [truth]
        for name, frame in (("neuraltex", rgba), ("textured mesh", textured)):
            blended = composite(frame.cpu(), backdrop(index, rgba.cpu()))
            scores[name].append(_psnrs(blended, truth, head))
            shown.append(blended)
        if pictures is not None:
            write_image(pictures / f"{index:03d}.png", side_by_side([picture / 255 for picture in shown]))
    return {
        name: {"picture": float(np.mean([s[0] for s in rows])), "head": float(np.mean([s[1] for s in rows]))}
        for name, rows in scores.items()
    }


def _psnrs(picture: Tensor, truth: Tensor, head: Bool[Tensor, "H W"]) -> tuple[float, float]:
    ours, theirs = picture[None].float() / 255, truth[None].float() / 255
    return psnr(ours, theirs), psnr(ours, theirs, head[None])


def _textured(run: Run, device: torch.device) -> torch.nn.Module:
    capture, scene = run.load_capture(), run.load_scene()
    return fit_textured_mesh(
        run.load_mesh(device),
        Photos(capture, capture.train_indices, device),
        texture_size=run.load_model(device)[0].texture.size,
        environment_size=None,
        steps=BASELINE_STEPS,
        seed=run.config.seed,
        moving=run.load_moving(scene, scene.flatten().to(device), capture.train_indices),
    )


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="trained on the target's track")
    parser.add_argument("driving", type=Path, help="track folder of the driving actor")
    parser.add_argument("actors", type=Path, help="folder that examples/make_actors.py filled")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for truth, neuraltex and textured mesh")
    arguments = parser.parse_args()
    driving = Track.open(arguments.driving)
    truth = np.load(arguments.actors / "driving" / "truth.npz")["expression"]
    off = expression_errors(driving, driving.load_rig(), torch.from_numpy(truth).float())
    print(markdown([{"vertices off, % of the face's width": name, "": value} for name, value in off.items()]))
    scores = reenactment_errors(
        Run.open(arguments.run), driving, arguments.actors, torch.device(arguments.device), arguments.pictures
    )
    print(markdown([{"PSNR, dB": name, **values} for name, values in scores.items()]))
    if arguments.output is not None:
        result: dict[str, Any] = {"vertices": off, "psnr": scores}
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
