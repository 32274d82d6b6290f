"""Measurements that tell whether the data are what they claim: cameras, texture charts, video quality."""

from __future__ import annotations

from pathlib import Path

import mitsuba as mi
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray

from neuraltex.cameras.camera import Camera
from still_life import proxy, render, video
from still_life.proxy import ProxyPart
from still_life.shapes import Array, Surface

# A pixel whose samples spread more than this many scene units apart straddles a silhouette.
SAME_SURFACE = 0.02
LARGEST_PIXEL_ERROR = 0.02
# A face folded over its neighbour inside a chart claims a few texels twice; two charts that overlap claim thousands.
SLIVER_SHARE = 1e-5


def projection_error(scene: mi.Scene, cameras: list[Camera], samples: int = 256) -> str:
    """Compare where Mitsuba sees surface points with where the cameras project them.

    The mean position of a pixel's samples must project to the pixel's centre; pixels on silhouettes are left out.

    Raises:
        RuntimeError: the mean error exceeds `LARGEST_PIXEL_ERROR`.
    """
    integrator = mi.load_dict({"type": "aov", "aovs": "where:position,name:shape_index"})
    errors, offsets = [], []
    for camera in cameras:
        view = mi.load_dict(render.sensor(camera, samples))
        buffers = np.asarray(mi.render(scene, integrator=integrator, sensor=view, spp=samples, seed=mi.UInt32(7)))
        position, shape = buffers[..., -4:-1], buffers[..., -1]
        whole = np.isclose(shape, np.round(shape), atol=1e-4) & (position != 0).any(axis=-1)
        flat = torch.from_numpy(position.reshape(-1, 3).astype(np.float64))
        pixels, depth = camera.project(flat)
        steep = np.hypot(*np.gradient(depth.reshape(shape.shape).numpy())) > SAME_SURFACE
        rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
        delta = pixels.reshape(*shape.shape, 2).numpy() - np.stack([columns, rows], axis=-1)
        kept = delta[whole & ~steep]
        errors.append(np.linalg.norm(kept, axis=-1))
        offsets.append(kept.mean(axis=0))
    every = np.concatenate(errors)
    offset = np.mean(offsets, axis=0)
    if every.mean() > LARGEST_PIXEL_ERROR:
        raise RuntimeError(f"the cameras are off by {every.mean():.4f} pixels, mean offset {offset}")
    return (
        f"mean error {every.mean():.4f} px, 99% below {np.quantile(every, 0.99):.4f} px, "
        f"mean offset ({offset[0]:+.5f}, {offset[1]:+.5f}) px over {len(every)} pixels"
    )


def distance_to_proxy(surface: Surface, part: ProxyPart, count: int = 2000) -> Array:
    """`[count]` distances of path-traced vertices from the plane of the proxy's triangle nearest to them."""
    mesh = trimesh.Trimesh(part.verts, part.faces, process=False)
    samples, triangles = trimesh.sample.sample_surface(mesh, 20 * count, seed=0)
    chosen = surface.verts[np.random.default_rng(0).choice(len(surface.verts), count)]
    nearest = torch.cdist(torch.from_numpy(chosen), torch.from_numpy(np.asarray(samples))).argmin(dim=1).numpy()
    return np.abs(((chosen - samples[nearest]) * mesh.face_normals[triangles[nearest]]).sum(axis=-1))


def proxy_summary(parts: list[ProxyPart], surfaces: dict[str, Surface]) -> str:
    """Triangles, distance from the path-traced surface and use of the texture square.

    Raises:
        RuntimeError: charts overlap.
    """
    lines = []
    for part in parts:
        line = f"{part.name} {len(part.faces)} triangles"
        if part.name in surfaces:
            distance = distance_to_proxy(surfaces[part.name], part)
            line += f" of {len(surfaces[part.name].faces)}, off by {distance.mean():.5f}, at most {distance.max():.4f}"
        lines.append(line)
    size = 2048
    claimed, twice = proxy.texels_claimed_twice(parts, size)
    if twice > SLIVER_SHARE * claimed:
        raise RuntimeError(f"the texture charts overlap: {twice} of {claimed} texels are claimed twice")
    total = sum(len(part.faces) for part in parts)
    lines += [f"{total} in all", f"{100 * claimed / size**2:.0f}% of the square used, {twice} texels claimed twice"]
    return "; ".join(lines)


def video_summary(path: Path, frames: list[NDArray[np.uint8]]) -> str:
    """What encoding cost, in dB."""
    decoded = video.read_video(path)
    if len(decoded) != len(frames):
        raise RuntimeError(f"{path}: {len(decoded)} frames came back of {len(frames)}")
    pairs = list(zip(decoded, frames, strict=True))
    colour = [video.psnr(first, second) for first, second in pairs]
    luma = [video.psnr(video.luma(first), video.luma(second)) for first, second in pairs]
    return (
        f"{len(decoded)} frames, {path.stat().st_size / 2**20:.2f} MiB, PSNR of the luma {np.mean(luma):.2f} dB "
        f"(least {min(luma):.2f}), of RGB after halving the chroma {np.mean(colour):.2f} dB (least {min(colour):.2f})"
    )
