"""Path-trace two people who do not exist, and what one of them would look like with the other's expressions.

    python examples/make_actors.py --rig face_rig --output actors

Needs the extra `dev`, and LLVM's shared library (on Debian the package libllvm19; set DRJIT_LIBLLVM_PATH if another
version is found first). The folder `face_rig` holds a rig `blendshapes.npz` (see `neuraltex.reenactment.load_rig`) and
`vertex_indices.json` with the vertices of the usual 68 landmarks, `idx_to_landmark_verts`.

Written: `target/` and `driving/` with `video.mp4`, the same frames as PNG files and `truth.npz` (identity `[I]`,
expression `[N, E]`, pose `[N, 4, 4]` head to world, landmarks `[N, 68, 2]` in pixels); `reenacted/`, the target at its
own poses with the driving actor's expressions, every fifth frame, named by the frame. What is there already is not
rendered again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import mitsuba as mi
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image

from neuraltex.capture import write_video
from neuraltex.files import read_json, whole_file
from neuraltex.reenactment.rig import Rig, load_rig

NAMES = ("target", "driving")
REENACTED_EVERY = 5


@dataclass(frozen=True)
class Options:
    """What to make.

    Args:
        rig: folder of the rig.
        output: the folder to fill.
        size: width and height of the pictures, in pixels.
        frames: of each video.
        spp: light paths a pixel.
        texture: texels along each side of the skin.
        variant: Mitsuba's back end.
    """

    rig: Path
    output: Path
    size: int = 256
    frames: int = 200
    spp: int = 100
    texture: int = 1536
    variant: str = "llvm_ad_rgb"


@dataclass(frozen=True)
class Actor:
    """One person's face and performance.

    Args:
        identity: `[I]`.
        expression: `[N, E]`.
        pose: `[N, 4, 4]` head to world.
        albedo, wrinkles: as `skin.paint` gives them.
    """

    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    pose: NDArray[np.float64]
    albedo: NDArray[np.float64]
    wrinkles: NDArray[np.float64]


def main(options: Options) -> None:
    mi.set_variant(options.variant)
    from actors import performance, render, skin

    rig = load_rig(options.rig / "blendshapes.npz")
    marks = np.array(read_json(options.rig / "vertex_indices.json")["idx_to_landmark_verts"])
    people = {}
    for k, name in enumerate(NAMES):
        albedo, wrinkles = skin.paint(rig, rig.neutral.double().numpy()[marks], skin.LOOKS[name], options.texture)
        people[name] = Actor(
            identity=performance.identity(rig, seed=11 + k),
            expression=performance.expressions(rig.expression_names, options.frames, seed=21 + k),
            pose=performance.poses(options.frames, seed=31 + k),
            albedo=albedo,
            wrinkles=wrinkles,
        )
    head = render.Head(rig, options.texture)
    behind = {name: render.backdrop(options.size, seed=41 + k) for k, name in enumerate(NAMES)}
    for name, person in people.items():
        folder = options.output / name
        write_truth(folder, rig, marks, person, options.size)
        for k in range(options.frames):
            shoot(options, rig, head, person, behind[name], folder / "frames" / f"{k:03d}.png", k, person.expression[k])
        pictures = (torch.from_numpy(read_png(folder / "frames" / f"{k:03d}.png")) for k in range(options.frames))
        write_video(folder / "video.mp4", pictures, performance.FPS, crf=8)
        Image.fromarray(render.encode_srgb(behind[name])).save(folder / "background.png")
    for k in range(0, options.frames, REENACTED_EVERY):
        path = options.output / "reenacted" / f"{k:03d}.png"
        shoot(options, rig, head, people["target"], behind["target"], path, k, people["driving"].expression[k])


def shoot(
    options: Options,
    rig: Rig,
    head: object,
    person: Actor,
    behind: NDArray[np.float64],
    path: Path,
    index: int,
    expression: NDArray[np.float64],
) -> None:
    """One frame, unless it is there."""
    from actors import render, skin

    if path.exists():
        return
    assert isinstance(head, render.Head)
    start = time.perf_counter()
    verts = posed(rig, person, expression, person.pose[index])
    albedo = skin.wrinkled(person.albedo, person.wrinkles, dict(zip(rig.expression_names, expression, strict=True)))
    rgba = head.render(verts, albedo, render.webcam(options.size), options.spp, seed=index)
    linear = rgba[..., :3] + (1 - rgba[..., 3:]) * behind
    with whole_file(path) as temporary:
        Image.fromarray(render.encode_srgb(linear)).save(temporary)
    with whole_file(path.parent.with_name(path.parent.name + "_alpha") / path.name) as temporary:
        Image.fromarray(np.round(255 * rgba[..., 3].clip(0, 1)).astype(np.uint8)).save(temporary)
    print(f"{path}: {time.perf_counter() - start:.1f} s", flush=True)


def posed(rig: Rig, person: Actor, expression: NDArray[np.float64], pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[V, 3]` in the world."""
    still = rig.verts(torch.from_numpy(person.identity).float(), torch.from_numpy(expression).float()).double().numpy()
    return still @ pose[:3, :3].T + pose[:3, 3]


def write_truth(folder: Path, rig: Rig, marks: NDArray[np.int64], person: Actor, size: int) -> None:
    """What a tracker should find."""
    from actors import render

    camera = render.webcam(size)
    K, w2c = camera.K.double().numpy(), camera.w2c.double().numpy()
    landmarks = []
    for expression, pose in zip(person.expression, person.pose, strict=True):
        seen = posed(rig, person, expression, pose)[marks] @ w2c[:3, :3].T + w2c[:3, 3]
        pixels = seen @ K.T
        landmarks.append(pixels[:, :2] / pixels[:, 2:])
    with whole_file(folder / "truth.npz") as temporary:
        np.savez(
            temporary,
            identity=person.identity,
            expression=person.expression,
            pose=person.pose,
            landmarks=np.stack(landmarks),
            landmark_verts=marks,
            K=K,
            w2c=w2c,
        )


def read_png(path: Path) -> NDArray[np.uint8]:
    """`[H, W, 3]`."""
    return np.array(Image.open(path).convert("RGB"))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
