"""`report.html`: what was solved, and the mesh drawn over the photographs, for a human eye to judge."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.survey import survey_cameras
from neuraltex.capture.solve.consistency import Views
from neuraltex.capture.solve.register import LEAST_SCORE, Registration
from neuraltex.capture.solve.similarity import Similarity
from neuraltex.capture.solve.solution import Solution
from neuraltex.files import whole_file
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

OVERVIEW_SIZE = 640
NUM_THUMBNAILS = 8


def write_report(
    path: Path, mesh: Mesh, solution: Solution, views: Views, registration: Registration, *, problem: str | None = None
) -> None:
    """Write a page of figures and pictures, all inside one file.

    Args:
        path: the HTML file.
        mesh: what was registered to.
        solution: cameras and cloud in the solver's frame.
        views: photographs to show.
        registration: how the solve lies on the mesh.
        problem: why the registration was refused, where it was.

    Raises:
        InputError: the file cannot be written.
    """
    moved = registration.similarity.move_cameras(solution.w2c)
    rows = [
        ("photographs registered", f"{len(solution.frames)} of {solution.num_given}"),
        ("mean reprojection error", f"{solution.error_px:.2f} pixels"),
        ("points", f"{len(solution.points):,}"),
        ("laid onto the mesh by", registration.way),
        ("score", f"{registration.score}; at least {LEAST_SCORE} is needed"),
    ]
    if registration.runner_up is not None:
        rows.append(("score of the best other way", str(registration.runner_up)))
    table = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    step = max(len(views.which) // NUM_THUMBNAILS, 1)
    thumbnails = "".join(
        _figure(drawn_over(mesh, views, registration.similarity, k), solution.frames[views.which[k]].name)
        for k in range(0, len(views.which), step)
    )
    verdict = "" if problem is None else f'<p class="bad">{html.escape(problem)}</p>'
    page = (
        '<!doctype html><meta charset="utf-8"><title>Capture</title><style>'
        "body{font:16px system-ui,sans-serif;margin:2rem auto;max-width:1100px;color:#222}"
        "th{text-align:left;padding-right:2rem;font-weight:500}.bad{background:#fdd;padding:1rem}"
        "figure{display:inline-block;margin:.5rem}figcaption{font-size:13px;color:#666}"
        "</style><h1>Capture</h1>"
        f"{verdict}<table>{table}</table><h2>Cameras around the mesh</h2>"
        f"{_figure(draw_cameras(mesh, moved), 'each line goes from a camera to where it looks')}"
        f"<h2>The mesh over the photographs</h2><p>Its outlines must follow those in the pictures.</p>{thumbnails}\n"
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


@torch.no_grad()
def drawn_over(mesh: Mesh, views: Views, similarity: Similarity, index: int) -> Picture:
    """A photograph with the creases and outlines of the mesh drawn over it.

    Args:
        mesh: in its own frame.
        views: photographs.
        similarity: solver's frame to the mesh's.
        index: which of the views.

    Returns:
        `[H, W, 3]` uint8.
    """
    cameras = views.cameras(similarity.move_cameras(views.w2c))[index : index + 1]
    gbuffer = make_gbuffer(mesh, cameras)
    mask, normals, depth = gbuffer.mask[0].numpy(), gbuffer.normals[0].numpy(), gbuffer.depth[0].numpy()
    picture = views.pictures[index].copy()
    edge = np.zeros(mask.shape, np.bool_)
    for axis in (0, 1):
        ahead = np.roll(mask, -1, axis)
        turned = (normals * np.roll(normals, -1, axis)).sum(-1) < 0.7
        nearer = np.minimum(depth, np.roll(depth, -1, axis))
        jump = np.abs(depth - np.roll(depth, -1, axis)) > 0.03 * nearer
        edge |= (mask != ahead) | (mask & ahead & (turned | jump))
    edge[-1], edge[:, -1] = False, False
    tint = mask & ~edge
    picture[tint] = (0.85 * picture[tint] + 0.15 * np.array([0, 200, 255])).astype(np.uint8)
    picture[edge] = (255, 40, 90)
    return picture


@torch.no_grad()
def draw_cameras(mesh: Mesh, w2c: Array) -> Picture:
    """The mesh shaded, from aside and above, with the cameras around it.

    Args:
        mesh: in its own frame.
        w2c: `[N, 4, 4]` cameras in that frame.

    Returns:
        `[640, 640, 3]` uint8.
    """
    import cv2

    extrinsics = torch.from_numpy(w2c).float()
    captured = Camera(torch.eye(3).expand(len(w2c), 3, 3), extrinsics, 1, 1)
    middle = 0.5 * (mesh.verts.amin(0) + mesh.verts.amax(0))
    survey = survey_cameras(captured, center=middle.double())
    size = float((mesh.verts.amax(0) - mesh.verts.amin(0)).norm())
    centers = captured.center
    extent = max(float((centers - middle).norm(dim=-1).median()) * 1.3, size)
    aside = survey.azimuth_axes[0] * 0.75 + survey.azimuth_axes[1] * 0.6 + survey.up * 0.9
    eye = middle + (aside / aside.norm()).float() * 2.4 * extent
    view = Camera.from_fov(look_at(eye, middle, survey.up.float()), 50.0, OVERVIEW_SIZE, OVERVIEW_SIZE)
    gbuffer = make_gbuffer(mesh, Camera.stack([view]))
    facing = (gbuffer.normals[0] * gbuffer.view_dirs[0]).sum(-1).abs().numpy()
    picture = np.full((OVERVIEW_SIZE, OVERVIEW_SIZE, 3), 255, np.uint8)
    mask = gbuffer.mask[0].numpy()
    picture[mask] = (60 + 160 * facing[mask])[:, None].astype(np.uint8)
    ahead = centers + extrinsics[:, 2, :3] * 0.18 * extent
    start, z = view.project(centers)
    end, z_end = view.project(ahead)
    for k in range(len(w2c)):
        if float(z[k]) > 0 and float(z_end[k]) > 0 and float(start[k].abs().max()) < 1e4:
            at, to = (tuple(int(v) for v in place[k].round().tolist()) for place in (start, end))
            cv2.line(picture, at, to, (255, 150, 40), 1, cv2.LINE_AA)
            cv2.circle(picture, at, 3, (200, 30, 60), -1, cv2.LINE_AA)
    return picture


def _figure(picture: Picture, caption: str) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<figure><img src="data:image/jpeg;base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>'
