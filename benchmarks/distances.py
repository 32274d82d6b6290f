"""Held-out views from farther away: a run rendered at a fraction of its size against photographs averaged down to it.

python -m benchmarks.distances RUN [--finer 4] [--pictures FOLDER]

The photograph from so many times farther away (with a lens as much longer) is the mean of its pixels' light over
squares. Moving the camera by half a pixel changes what it shows; a renderer that shimmers changes more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor
from torch.nn.functional import avg_pool2d
from tyro.conf import Positional

import neuraltex  # noqa: F401 - before torch, so that threads are set up as in every command
from neuraltex.cameras import Camera
from neuraltex.capture import write_image
from neuraltex.colours import linear_to_srgb, srgb_to_linear
from neuraltex.evaluation.metrics import psnr
from neuraltex.evaluation.score import side_by_side
from neuraltex.frames import FrameRenderer
from neuraltex.raster import make_gbuffer
from neuraltex.training import Run, pick_device
from neuraltex.training.sampler import Batch, Photos

FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Distances:
    """Score a run on held-out views of 1, 1/2, 1/4 and 1/8 of their size.

    Args:
        run: a run folder.
        finer: as of neuraltex render.
        pictures: folder for photograph and rendering side by side, one picture a view and size.
        device: "auto", "cpu", "cuda", "cuda:1", ...
    """

    run: Positional[Path]
    finer: int = 1
    pictures: Path | None = None
    device: str = "auto"


@torch.no_grad()
def main(args: Distances) -> None:
    """Print a table: PSNR of the whole picture and on the mesh, and how steady it is, of each size."""
    device = pick_device(args.device)
    run = Run.open(args.run)
    mesh, (shader, _) = run.load_mesh(device), run.load_model(device)
    renderer = FrameRenderer(mesh, shader, execution="eager", finer=args.finer)
    capture = run.load_capture()
    photos = Photos(capture, capture.test_indices, device)

    def shown(cameras: Camera) -> tuple[Tensor, Tensor]:
        return renderer(cameras).float() / 255, make_gbuffer(mesh, cameras).mask

    print(f"{len(photos)} held-out views   whole  mesh   change by half a pixel, of the photographs'")
    for factor in FACTORS:
        folder = None if args.pictures is None else args.pictures / f"{factor}"
        whole, covered, change = score(photos, shown, factor, folder)
        # At full size half a pixel's step has no photograph.
        told = f"{change:.2f}" if factor > 1 else "-"
        print(f"1/{factor} of the size    {whole:6.2f} {covered:6.2f}   {told}")


def score(
    photos: Photos, shown: Callable[[Camera], tuple[Tensor, Tensor]], factor: int, pictures: Path | None
) -> tuple[float, float, float]:
    """Means over all views of PSNR in dB, whole and on the mesh; and the change, a ratio of root mean squares."""
    totals, changes = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for index in range(len(photos)):
        view = photos.view(index)
        steps = []
        for step in {0, factor // 2}:
            cameras, truth = farther(view, factor, step)
            rgb, mask = shown(cameras)
            steps.append((truth, rgb))
            if step == 0:
                totals += torch.tensor([psnr(rgb, truth, area) for area in (torch.ones_like(mask), mask)])
                if pictures is not None:
                    write_image(pictures / f"{index:03d}.png", side_by_side([truth[0], rgb[0]]))
        changes += torch.stack([(steps[0][i] - steps[-1][i]).square().mean() for i in range(2)]).cpu()
    ratio = float((changes[1] / changes[0]).sqrt())
    return *(totals / len(photos)).tolist(), ratio


def farther(view: Batch, factor: int, step: int) -> tuple[Camera, Tensor]:
    """A view from `factor` times farther away: its camera and its truth `[1, H, W, 3]`.

    Args:
        view: a whole photograph.
        factor: how much smaller.
        step: how far to the right and down the picture begins, in the photograph's pixels.
    """
    room = factor if factor > 1 else 0  # for every step within a pixel
    width, height = (size // factor * factor - room for size in (view.cameras.width, view.cameras.height))
    cameras = view.cameras.crop(step, step, width, height).resize(width // factor, height // factor)
    light = srgb_to_linear(view.target[:, step : step + height, step : step + width])
    return cameras, linear_to_srgb(avg_pool2d(light.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1))


if __name__ == "__main__":
    main(tyro.cli(Distances))
