"""Build, path-trace and encode the still life that neuraltex ships in `meshes/still_life`.

    python examples/make_still_life.py --output meshes/still_life --cache runs/still_life_cache

Needs the extra `dev`. The default variant of Mitsuba needs LLVM's shared library (on Debian the package libllvm19; set
DRJIT_LIBLLVM_PATH if another version is found first); `--variant scalar_rgb` needs nothing and is several times slower.
A run that was stopped goes on where it was: pictures in the cache that were rendered from the same sources, camera and
settings are not rendered again.

    python examples/make_still_life.py --slow 24 --spp 2048 --output runs/still_life_slow

makes a slow camera move between the video's two passes instead, which tells how steady a method's pictures are. Noise
of the light paths counts as flicker of the true pictures: at 256 samples it makes it a quarter more. A second time with
`--seed 1` and another folder, the noise is another one, and `neuraltex eval --steady FIRST --steady-again SECOND` takes
it out.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import mitsuba as mi
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from neuraltex.cameras.camera import Camera
from neuraltex.files import whole_file, write_json


@dataclass(frozen=True)
class Options:
    """What to make.

    Args:
        output: the folder to fill.
        cache: where finished pictures are kept.
        spp: light paths a pixel.
        size: width and height of the pictures, in pixels.
        frames: frames of the video.
        crf: H.264 quality, lower is better.
        variant: Mitsuba's back end.
        slow: frames of a slow camera move that is made instead of the scene's files; 0 for those.
        seed: another number, another noise of the slow move's light paths.
    """

    output: Path
    cache: Path = Path("runs/still_life_cache")
    spp: int = 256
    size: int = 384
    frames: int = 120
    crf: int = 10
    variant: str = "llvm_ad_rgb"
    slow: int = 0
    seed: int = 0


FPS = 24
HELD_OUT_VIEWS = 16
EDITED_VIEWS = 8


def main(options: Options) -> None:
    mi.set_variant(options.variant)
    # These read the variant when imported.
    from still_life import checks, objects, proxy, render, video, views

    items = objects.items()
    surfaces = {item.name: item.surface() for item in items}
    shapes = {"table": render.table_shape()}
    shapes |= {item.name: render.item_shape(item, surfaces[item.name]) for item in items}
    scene = render.build_scene(shapes)
    if options.slow:
        write_slow_move(options, scene)
        return
    parts = proxy.build_proxy(surfaces, items)
    print("proxy:", checks.proxy_summary(parts, surfaces))
    proxy.write_obj(options.output / "still_life.obj", parts)
    colours = {item.name: surfaces[item.name].colours.mean(axis=0) * item.material.tint for item in items}
    proxy.write_mtl(options.output / "still_life.mtl", {"table": objects.rgb("#8a9088"), **colours})

    video_cameras = views.video_cameras(options.frames, options.size)
    held_out_cameras = views.other_cameras(HELD_OUT_VIEWS, options.size, seed=1, avoid=video_cameras, apart_deg=5.0)
    edited_cameras = views.other_cameras(EDITED_VIEWS, options.size, seed=2, avoid=video_cameras, apart_deg=5.0)
    write_cameras(options.output, video_cameras, held_out_cameras, edited_cameras)

    print("projection:", checks.projection_error(scene, video_cameras[:: max(1, options.frames // 4)]))
    frames = render_views(options, scene, video_cameras, "video", first_seed=0)
    video.write_video(options.output / "video.mp4", frames, fps=FPS, crf=options.crf)
    print("video:", checks.video_summary(options.output / "video.mp4", frames))
    held_out = render_views(options, scene, held_out_cameras, "held-out", first_seed=1000)
    write_pictures(options.output / "held_out", held_out)

    edit = objects.edit()
    edited_item = next(item for item in items if item.name == objects.EDITED_ITEM)
    write_json(options.output / "edited" / "edit.json", {"object": edited_item.name, "transform": edit.tolist()})
    after = render.item_shape(edited_item, objects.moved(surfaces[edited_item.name], edit))
    edited_scene = render.build_scene(shapes | {edited_item.name: after})
    edited = render_views(options, edited_scene, edited_cameras, "edited", first_seed=2000)
    write_pictures(options.output / "edited", edited)

    total = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file())
    print(f"total: {total / 2**20:.2f} MiB")


def render_views(
    options: Options, scene: mi.Scene, cameras: list[Camera], name: str, *, first_seed: int
) -> list[NDArray[np.uint8]]:
    """A picture a camera, each with a seed of its own."""
    return [picture(options, scene, camera, f"{name} {i}", first_seed + i) for i, camera in enumerate(cameras)]


def write_pictures(folder: Path, pictures: list[NDArray[np.uint8]]) -> None:
    """Write numbered pictures."""
    for i, encoded in enumerate(pictures):
        write_png(folder / f"{i:03d}.png", encoded)


def write_cameras(output: Path, video: list[Camera], held_out: list[Camera], edited: list[Camera]) -> None:
    """Write the three camera files, each beside the pictures it describes."""
    from still_life import views

    of_video = [{"file_path": "video.mp4", "frame_index": i} for i in range(len(video))]
    write_json(output / "transforms.json", views.transforms(video, of_video))
    for folder, cameras in (("held_out", held_out), ("edited", edited)):
        write_folder_cameras(output / folder, cameras)


def write_folder_cameras(folder: Path, cameras: list[Camera]) -> None:
    """Write the cameras of numbered pictures."""
    from still_life import views

    pictures = [{"file_path": f"{i:03d}.png"} for i in range(len(cameras))]
    write_json(folder / "transforms.json", views.transforms(cameras, pictures))


def write_slow_move(options: Options, scene: mi.Scene) -> None:
    """Path-trace the slow camera move."""
    from still_life import views

    cameras = views.slow_cameras(options.slow, options.size)
    write_folder_cameras(options.output, cameras)
    write_pictures(options.output, render_views(options, scene, cameras, "slow", first_seed=3000 + 1000 * options.seed))


def picture(options: Options, scene: mi.Scene, camera: Camera, label: str, seed: int) -> NDArray[np.uint8]:
    """One picture, from the cache if it is there."""
    from still_life import render

    digest = hashlib.sha1(f"{label} {seed} {options.spp} {options.variant}".encode())
    digest.update(camera.w2c.numpy().tobytes() + camera.K.numpy().tobytes())
    for source in ("shapes.py", "objects.py", "render.py"):
        digest.update((Path(__file__).with_name("still_life") / source).read_bytes())
    path = options.cache / f"{digest.hexdigest()[:20]}.png"
    if path.exists():
        return np.array(Image.open(path))
    start = time.perf_counter()
    linear = render.render_linear(scene, camera, options.spp, seed)
    clipped = float((render.EXPOSURE * linear > 1).any(axis=-1).mean())
    encoded = render.encode_srgb(linear)
    write_png(path, encoded)
    print(f"{label}: {time.perf_counter() - start:.1f} s, {100 * clipped:.2f}% of the pixels clipped", flush=True)
    return encoded


def write_png(path: Path, encoded: NDArray[np.uint8]) -> None:
    """Write an 8-bit picture without loss."""
    with whole_file(path) as temporary:
        Image.fromarray(encoded).save(temporary, optimize=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
