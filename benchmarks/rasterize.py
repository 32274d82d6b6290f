"""Rasterization and interpolation of UV: ours against PyTorch3D and nvdiffrast, where they are installed, in one run.

    python -m benchmarks.rasterize [--faces 10000 100000] [--sizes 512] [--device cuda]

Medians in milliseconds, and how many pixels have another face than ours. On a GPU ours is timed twice: as a caller
launches it, and replayed as the CUDA graph that rendering and training use. Ours starts from world vertices and makes
the whole G-buffer (face, barycentrics, depth, UV, normal, mask, ray directions); nvdiffrast starts from clip-space
vertices and makes its raster and the UV.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.scenes import as_mesh, camera_at, middle_sized, screens_behind, sphere
from benchmarks.timing import machine, markdown, median_ms, peak_mib, replay, show
from neuraltex.raster import make_gbuffer

FACES, SIZES = (10_000, 100_000, 1_000_000, 4_000_000), (512, 1024, 2048)


def scenes(faces: list[int], sizes: list[int]) -> Iterator[tuple[str, int, tuple[Tensor, Tensor]]]:
    """Spheres of each number of faces, then the two that are hard in other ways."""
    for num_faces in faces:
        for size in sizes:
            yield f"sphere {num_faces:,}", size, sphere(num_faces)
    for size in sizes:
        yield "100,000 before 2 that fill the picture", size, screens_behind(100_000)
    for size in sizes:
        yield "20,000 of 50 to 500 pixels", size, middle_sized(20_000, size)


def measure(name: str, size: int, buffers: tuple[Tensor, Tensor], device: torch.device, slow: bool) -> dict[str, Any]:
    """One row of the table."""
    mesh, cameras = as_mesh(*(buffer.to(device) for buffer in buffers)), camera_at(size).to(device)
    row: dict[str, Any] = {"scene": name, "size": size}

    def ours() -> object:
        return make_gbuffer(mesh, cameras)

    face = make_gbuffer(mesh, cameras).fragments.pix_to_face
    row["ours"] = median_ms(ours, device=device, seconds=0.5)
    if device.type == "cuda":
        row["ours, graph"] = median_ms(replay(ours), device=device, seconds=0.5)
        row["MiB"] = peak_mib(ours)
    best = row.get("ours, graph", row["ours"])
    nvdiffrast = peers.nvdiffrast(mesh, cameras)
    if nvdiffrast is not None:
        row["nvdiffrast"] = median_ms(nvdiffrast, device=device, seconds=0.5)
        row["x nvdiffrast"] = row["nvdiffrast"] / best
        row["faces other than nvdiffrast's"] = int((nvdiffrast()[0].long() - 1 != face).sum())
    pytorch3d = peers.pytorch3d(mesh, cameras) if slow else None
    if pytorch3d is not None:
        row["PyTorch3D"] = median_ms(pytorch3d, device=device, seconds=1.0, most=20)
        row["x PyTorch3D"] = row["PyTorch3D"] / best
        row["faces other than PyTorch3D's"] = int((pytorch3d()[0] != face).sum())
    return row


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=list(FACES))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pytorch3d-faces", type=int, default=4_000_000, help="largest mesh to give to PyTorch3D")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    result: dict[str, Any] = {**machine(device), "rows": []}
    show({"machine": result["machine"], **result["versions"]})
    with torch.no_grad():
        for name, size, buffers in scenes(arguments.faces, arguments.sizes):
            row = measure(name, size, buffers, device, slow=len(buffers[1]) <= 1.1 * arguments.pytorch3d_faces)
            result["rows"].append(row)
            show(row)
            if arguments.output is not None:
                arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(markdown(result["rows"]))


if __name__ == "__main__":
    main()
