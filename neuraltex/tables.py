"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from neuraltex.doctor import Diagnosis
from neuraltex.geometry import Scene

MEASURES = {
    "psnr": ("PSNR, dB", "{:.2f}"),
    "psnr_covered": ("PSNR on the mesh", "{:.2f}"),
    "psnr_covered_corrected": ("the same, colour-corrected", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "ssim_covered": ("SSIM on the mesh", "{:.4f}"),
    "flip": ("FLIP", "{:.4f}"),
    "flip_covered": ("FLIP on the mesh", "{:.4f}"),
    "lpips": ("LPIPS", "{:.4f}"),
}
# What is told of a method itself: how to name it, and to write it where there is such a number.
EFFORTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "fps": ("frames/s", lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"),
    "train_seconds": ("training", "{:.0f} s".format),
    "model_bytes": ("model", lambda value: f"{value / 1e6:.1f} MB"),
    "train_peak_bytes": ("GPU memory", lambda value: f"{value / 1e9:.2f} GB"),
}


def metrics_table(metrics: dict[str, Any]) -> Table:
    """The held-out measures of an evaluation, one row a method."""
    held_out, methods = metrics["held_out"], metrics["methods"]
    shown = [name for name in MEASURES if any(scores.get(name) is not None for scores in held_out.values())]
    if not metrics["exposure_refined"]:
        shown.remove("psnr_covered_corrected")
    refined = ", their poses refined before they were scored" if metrics["held_out_poses_refined"] else ""
    table = Table(
        title=f"{metrics['num_test']} held-out views{refined}, decoder {metrics['decoder']}, trained on "
        f"{metrics['num_train']} views for {metrics['train_seconds']:.0f} s ({metrics['train_steps']} steps) on "
        f"{metrics['train_device']}"
    )
    table.add_column("", no_wrap=True)
    for name in shown:
        table.add_column(MEASURES[name][0], justify="right")
    for method, scores in held_out.items():
        cells = ["-" if scores[name] is None else MEASURES[name][1].format(scores[name]) for name in shown]
        table.add_row(methods[method]["title"], *cells)
    table.caption = "\n".join(f"{name} is left out: {reason}" for name, reason in metrics["left_out"].items()) or None
    return table


def efforts_table(metrics: dict[str, Any]) -> Table:
    """How fast and how large each method of an evaluation is, and what it took to get it, one row a method."""
    methods = metrics["methods"].values()
    told = [name for name in EFFORTS if any(method[name] is not None for method in methods)]
    steady = metrics.get("steady")
    table = Table(title=f"on {metrics['device']}")
    table.add_column("", no_wrap=True)
    for name in told:
        table.add_column(EFFORTS[name][0], justify="right")
    if steady is not None:
        table.add_column("flicker, truth's is 1", justify="right")
    for name, method in metrics["methods"].items():
        cells = ["-" if method[key] is None else EFFORTS[key][1](method[key]) for key in told]
        if steady is not None:
            ratio = steady["ratio"][name]
            cells.append("-" if ratio is None else f"{ratio:.2f}")
        table.add_row(method["title"], *cells)
    return table


def parts_table(scene: Scene) -> Table:
    """The parts of a scene, one row each."""
    table = Table(title=str(scene.source))
    for name in ("part", "triangles", "vertices", "size", "materials"):
        table.add_column(name, justify="left" if name in ("part", "materials") else "right")
    for part in scene:
        verts = part.world_verts
        size = (verts.amax(0) - verts.amin(0)).tolist() if len(verts) else [0.0, 0.0, 0.0]
        used = sorted(set(part.face_materials.tolist()))
        names = [scene.materials[i].name for i in used if 0 <= i < len(scene.materials)]
        extent = " x ".join(f"{side:.3g}" for side in size)
        table.add_row(part.name, f"{len(part.faces):,}", f"{len(verts):,}", extent, ", ".join(names))
    return table


def checks_table(diagnosis: Diagnosis) -> Table:
    """What was checked, one row each: what the main job needs above, what it does not below."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("checked", no_wrap=True)
    table.add_column("found")
    for checks, failed in ((diagnosis.required, Text("fails", "bold red")), (diagnosis.optional, Text("no", "yellow"))):
        for check in checks:
            # Texts, since brackets are markup in plain words.
            found = Text(check.finding)
            if check.advice:
                found.append(f"\n-> {check.advice}", "bold" if check.ok else failed.style)
            table.add_row(Text("ok", "green") if check.ok else failed, Text(check.name), found)
        table.add_section()
    return table
