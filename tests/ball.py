"""A ball to train on, photographs of it, a run trained on them, and the command line as tests call it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuraltex.cameras.nerfstudio import w2c_to_opengl
from neuraltex.capture import write_image, write_video
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer
from tests.scenes import ring_cameras, uv_sphere

SMALL = ["--device", "cpu", "--shading.texture-size", "32", "--shading.decoder-width", "4", "--training.crop", "32"]
WIDTH, HEIGHT = 48, 36


def write_obj(path: Path, mesh: Mesh) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.verts.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh.verts_uv.tolist()]
    lines += ["o ball"]
    for face, face_uv in zip(mesh.faces.tolist(), mesh.faces_uv.tolist(), strict=True):
        lines.append("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(face, face_uv, strict=True)))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def thing(tmp_path_factory) -> Path:
    """A folder with a ball, 16 photographs of it with cameras, and the same as a video."""
    folder = tmp_path_factory.mktemp("thing")
    mesh, cameras = uv_sphere(10, 16), ring_cameras(16, WIDTH, HEIGHT)
    write_obj(folder / "ball.obj", mesh)
    gbuffer = make_gbuffer(mesh, cameras)
    stripes = 0.5 + 0.4 * torch.sin(gbuffer.uv[..., :1] * torch.tensor([12.0, 25.0, 40.0]))
    images = torch.where(gbuffer.mask[..., None], stripes, cameras.ray_dirs() * 0.4 + 0.5)
    pixels = (images * 255).round().to(torch.uint8).numpy()
    c2w = w2c_to_opengl(cameras.w2c.double()).tolist()
    K = cameras.K[0]
    head = {"w": WIDTH, "h": HEIGHT, "fl_x": float(K[0, 0]), "fl_y": float(K[1, 1])}
    head |= {"cx": float(K[0, 2]), "cy": float(K[1, 2])}
    frames = [{"file_path": f"images/{i:02d}.png", "transform_matrix": m} for i, m in enumerate(c2w)]
    (folder / "photos").mkdir()
    for i, image in enumerate(pixels):
        write_image(folder / "photos" / "images" / f"{i:02d}.png", image)
    (folder / "photos" / "transforms.json").write_text(json.dumps({**head, "frames": frames}))
    write_video(folder / "clip.mp4", pixels, 10.0)
    frames = [{"file_path": "clip.mp4", "frame_index": i, "transform_matrix": m} for i, m in enumerate(c2w)]
    (folder / "clip.json").write_text(json.dumps({**head, "frames": frames}))
    return folder


def run(*words: object) -> None:
    from neuraltex.cli import main  # here, as it takes longer than most files of tests

    main([str(word) for word in words])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must exit with 2 and one sentence; returns the sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("neuraltex: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture(scope="session")
def trained(thing, tmp_path_factory) -> Path:
    """A run of 30 steps; tests that write to a run folder copy it."""
    folder = tmp_path_factory.mktemp("runs") / "ball"
    run("train", thing / "ball.obj", thing / "photos", "-o", folder, "--steps", 30, *SMALL)
    return folder


@pytest.fixture
def few_lamps(monkeypatch) -> None:
    """Four lamps of those that may be, instead of the brightest: finding them is tested in tests/editing/test_light.py
    and takes longer than all that an edit does besides.
    """

    def few(lamps, *_, **__):
        return replace(lamps, positions=lamps.positions[:4], radiance=lamps.radiance[:4])

    monkeypatch.setattr("neuraltex.editing.memory.fit_light", few)
