"""One training step, everything included: crop, rasterizer, network, losses, backward, optimiser, running average.

    python -m benchmarks.train_step [--device cuda] [--output train_step.json]
    torchrun --nproc-per-node 2 -m benchmarks.train_step --batch 2

Noise photographs of 100,000 faces, default sizes of everything. Milliseconds of wall time a step over
hundreds of steps, and the device memory that training takes in all.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.scenes import as_mesh, camera_at, floor, sphere
from benchmarks.timing import kernels, machine, markdown, show
from neuraltex.cameras import Camera
from neuraltex.capture import Capture
from neuraltex.shading import Shader
from neuraltex.training import Budget, Trainer, Workers, defaults_for
from neuraltex.training.sampler import Photos

NUM_PHOTOS = 24
# A sphere on 15% of the picture; a floor on 62% of it, whose pixels all mirror about the same directions.
SCENES = {"sphere": sphere, "floor": floor}


def noise_photos(size: int, device: torch.device) -> Photos:
    """Photographs of nothing, which cost as much to learn as any."""
    generator = torch.Generator().manual_seed(0)
    one = camera_at(size)
    cameras = Camera(one.K.repeat(NUM_PHOTOS, 1, 1), one.w2c.repeat(NUM_PHOTOS, 1, 1), size, size)
    images = torch.randint(0, 256, (NUM_PHOTOS, size, size, 3), generator=generator, dtype=torch.uint8)
    indices, names = torch.arange(NUM_PHOTOS), tuple(f"{i}" for i in range(NUM_PHOTOS))
    capture = Capture(
        images=images,
        cameras=cameras,
        names=names,
        masks=None,
        valid=None,
        train_indices=indices,
        test_indices=indices[:0],
        fps=None,
        source=Path("noise"),
    )
    return Photos(capture, indices, device)


def measure(
    decoder: str,
    size: int,
    texture_size: int,
    batch: int,
    execution: str,
    scene: str,
    device: torch.device,
    workers: Workers,
) -> dict[str, Any]:
    """One row of the table."""
    shading, training = defaults_for(device)
    shading = replace(
        shading, decoder=decoder, texture_size=texture_size, environment=True, fade_levels=True,
        interreflections=decoder == "default",
    )  # type: ignore[arg-type]  # fmt: skip
    training = replace(training, batch=batch, crop=size, save_minutes=1e9)
    mesh = as_mesh(*(buffer.to(device) for buffer in SCENES[scene](100_000))).with_field()
    torch.manual_seed(0)
    gc.collect()  # the trainer of the row before
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps = 400 if device.type == "cuda" else 12
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            mesh, noise_photos(size, device), Shader(shading).to(device), training, Budget(steps=10 * steps),
            seed=0, checkpoint=Path(folder) / "checkpoint.safetensors", workers=workers, execution=execution,
        )  # fmt: skip

        def run(count: int) -> float:
            start = time.perf_counter()
            for _ in range(count):
                loss, _ = trainer._train_step(0.1)
            float(loss)
            return time.perf_counter() - start

        first = run(5)
        run(steps // 10)
        row: dict[str, Any] = {
            "scene": scene,
            "decoder": decoder,
            "crop": size,
            "texture": texture_size,
            "batch": batch,
        }
        row |= {"processes": workers.count, "execution": execution, "first 5 steps, s": first}
        row["ms"] = 1e3 * run(steps) / steps
        if device.type == "cuda":
            row["GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
            row["kernels"] = kernels(lambda: run(1))
    return row


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512])
    parser.add_argument("--texture", type=int, default=1024)
    parser.add_argument("--decoders", nargs="+", default=["paper", "default"])
    parser.add_argument("--executions", nargs="+", default=None)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    arguments = parser.parse_args()
    workers, device = Workers.join(torch.device(arguments.device))
    executions = arguments.executions or (("eager", "graph", "compile") if device.type == "cuda" else ("eager",))
    result: dict[str, Any] = {**machine(device), "rows": []}
    for scene, decoder, size, execution in product(arguments.scenes, arguments.decoders, arguments.sizes, executions):
        row = measure(decoder, size, arguments.texture, arguments.batch, execution, scene, device, workers)
        result["rows"].append(row)
        if workers.first:
            show(row)
    if workers.first:
        if arguments.output is not None:
            arguments.output.write_text(json.dumps(result, indent=2) + "\n")
        print(markdown([{k: v for k, v in row.items() if k != "kernels"} for row in result["rows"]]))


if __name__ == "__main__":
    main()
