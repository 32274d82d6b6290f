"""A whole frame, world vertices to 8-bit picture, by decoder, size and execution.

    python -m benchmarks.frame [--device cuda] [--output frame.json]

100,000 faces on 15% of the picture, the environment on the rest, default sizes of everything; what is learned is
random, which costs the same. Medians in milliseconds; on a GPU also what its kernels take, the longest ones first.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.scenes import as_mesh, camera_at, sphere
from benchmarks.timing import kernels, machine, markdown, median_ms, peak_mib, show
from neuraltex.frames import FrameRenderer
from neuraltex.shading import Shader, ShadingConfig

SIZES = ((512, 512), (1080, 1920))


def measure(decoder: str, height: int, width: int, execution: str, device: torch.device) -> dict[str, Any]:
    """One row of the table."""
    mesh = as_mesh(*(buffer.to(device) for buffer in sphere(100_000)))
    cameras = camera_at(512).resize(width, height).to(device)
    torch.manual_seed(0)
    shading = ShadingConfig(decoder=decoder, environment=True, fade_levels=True, interreflections=decoder == "default")  # type: ignore[arg-type]
    shader = Shader(shading).to(device)
    renderer = FrameRenderer(mesh, shader, execution=execution)
    start = time.perf_counter()
    renderer(cameras).cpu()
    row: dict[str, Any] = {"decoder": decoder, "picture": f"{width} x {height}", "execution": execution}
    row["first frame, s"] = time.perf_counter() - start
    row["ms"] = median_ms(lambda: renderer(cameras), device=device)
    row["frames a second"] = 1e3 / row["ms"]
    if device.type == "cuda":
        row["MiB"] = peak_mib(lambda: FrameRenderer(mesh, shader, execution="eager")(cameras))
        row["kernels"] = kernels(lambda: renderer(cameras))
    return row


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    result: dict[str, Any] = {**machine(device), "rows": []}
    for decoder in ("paper", "default"):
        for height, width in SIZES:
            for execution in ("eager", "graph", "compile") if device.type == "cuda" else ("eager",):
                row = measure(decoder, height, width, execution, device)
                result["rows"].append(row)
                show(row)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(markdown([{k: v for k, v in row.items() if k != "kernels"} for row in result["rows"]]))


if __name__ == "__main__":
    main()
