"""Rasterization: our `torch` backend against PyTorch3D, where it is installed, in one run.

    python -m benchmarks.rasterize [--faces 10000 100000] [--sizes 512] [--device cpu]

A UV sphere that covers 15% of the picture. Medians of wall time in milliseconds, transforms and barycentrics included;
pixels whose face differs are counted. Prints a table and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from neuraltex.cameras import Camera, look_at
from neuraltex.cameras.pytorch3d import to_pytorch3d
from neuraltex.raster import rasterize


def sphere(num_faces: int) -> tuple[Tensor, Tensor]:
    """A UV sphere of about that many faces: vertices `[V, 3]`, faces `[F, 3]`."""
    side = int(math.sqrt(num_faces / 2))
    polar, azimuth = torch.meshgrid(
        torch.linspace(0, math.pi, side + 1), torch.linspace(0, 2 * math.pi, side + 1)[:-1], indexing="ij"
    )
    verts = torch.stack([polar.sin() * azimuth.cos(), polar.cos(), polar.sin() * azimuth.sin()], dim=-1)
    i, j = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    a, b = i * side + j, i * side + (j + 1) % side
    quads = [torch.stack(corners, dim=-1).reshape(-1, 3) for corners in ((a, a + side, b), (b, a + side, b + side))]
    return verts.reshape(-1, 3), torch.cat(quads)


def camera_at(size: int) -> Camera:
    """A camera that sees the unit sphere on 15% of its picture."""
    w2c = look_at(torch.tensor([[0.0, 1.0, 4.0]]), torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.0]]))
    return Camera.from_fov(w2c, 60.0, size, size)


def with_pytorch3d(verts: Tensor, faces: Tensor, cameras: Camera) -> Callable[[], Tensor] | None:
    """The same picture with PyTorch3D, or None where it is not installed."""
    try:
        from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings
        from pytorch3d.structures import Meshes
    except ImportError:
        return None
    p3d_cameras = PerspectiveCameras(**to_pytorch3d(cameras), device=verts.device)
    settings = RasterizationSettings(image_size=(cameras.height, cameras.width), z_clip_value=1e-4)
    rasterizer, meshes = MeshRasterizer(p3d_cameras, settings), Meshes([verts], [faces])
    return lambda: rasterizer(meshes).pix_to_face[..., 0]


def median_ms(action: Callable[[], Tensor], *, seconds: float) -> float:
    """Median wall time of one call in milliseconds, over about `seconds` of them after one to warm up."""

    def timed() -> float:
        start = time.perf_counter()
        result = action()
        if result.is_cuda:
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    first = timed()
    if first > 1e3 * seconds:
        return first
    times = [timed() for _ in range(max(5, min(50, int(1e3 * seconds / first))))]
    return statistics.median(times)


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer-faces", type=int, default=100_000, help="largest mesh to give to PyTorch3D")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    arguments = parser.parse_args()
    rows = []
    for num_faces in arguments.faces:
        verts, faces = (t.to(arguments.device) for t in sphere(num_faces))
        for size in arguments.sizes:
            cameras = camera_at(size).to(arguments.device)
            ours = rasterize(verts, faces, cameras).pix_to_face
            row = {"faces": len(faces), "size": size}
            row["ours_ms"] = median_ms(lambda v=verts, f=faces, c=cameras: rasterize(v, f, c).zbuf, seconds=2.0)
            peer = with_pytorch3d(verts, faces, cameras) if num_faces <= arguments.peer_faces else None
            if peer is not None:
                row["differing_pixels"] = int((peer() != ours).sum())
                row["pytorch3d_ms"] = median_ms(peer, seconds=2.0)
                row["ratio"] = row["pytorch3d_ms"] / row["ours_ms"]
            rows.append(row)
            print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
