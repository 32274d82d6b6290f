"""The rival without a surface: 3D Gaussians that start on the mesh, through gsplat, on a CUDA GPU.

Source: B. Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", SIGGRAPH 2023; step sizes and
schedule are those of gsplat's own trainer.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from neuraltex.cameras.camera import Camera
from neuraltex.errors import NeuraltexError
from neuraltex.geometry.mesh import Mesh
from neuraltex.optional import require
from neuraltex.raster import make_gbuffer
from neuraltex.training.checkpoint import load_tensors, save_tensors
from neuraltex.training.config import Budget
from neuraltex.training.losses import photometric_loss
from neuraltex.training.refinement import Refinement
from neuraltex.training.sampler import Photos

NUM_STEPS, SH_DEGREE, STEPS_A_DEGREE, STRUCTURAL_WEIGHT = 30_000, 3, 1000, 0.2
# Share of training after which splats are no longer split, copied and removed.
DENSIFIED_SHARE = 0.5
# Splats to begin with: on the mesh, and on a sphere far around the scene for what is photographed behind it.
NUM_ON_MESH, NUM_FAR = 100_000, 10_000
# Radius of that sphere, in the largest of the scene's extents.
FAR = 8.0
FIRST_OPACITY = 0.1
# Step sizes of Adam; that of positions is in scene extents and falls to a hundredth.
RATES = {"means": 1.6e-4, "scales": 5e-3, "quats": 1e-3, "opacities": 5e-2, "sh0": 2.5e-3, "shN": 2.5e-3 / 20}
LAST_RATE = 0.01
# Scene extents before a camera within which nothing is drawn.
NEAR = 0.01
# Share of its depth by which a point may lie behind what a camera sees of the mesh, and still be seen.
DEPTH_TOLERANCE = 0.01
SH_CONSTANT = 0.28209479177387814


@dataclass(frozen=True)
class Extent:
    """How large a scene is.

    Args:
        middle: `[3]` of the mesh's box, world.
        cameras: 1.1 times the largest distance of a camera from the mean of all, which step sizes are relative to.
        whole: distance from the middle within which all cameras and all of the mesh lie.
    """

    middle: Float[Tensor, "3"]
    cameras: float
    whole: float


def measure_extent(mesh: Mesh, cameras: Camera) -> Extent:
    """The extent of a scene.

    Args:
        mesh: its flat buffers.
        cameras: of the training photographs, a batch `[N]`.
    """
    lowest, highest = mesh.verts.amin(0), mesh.verts.amax(0)
    middle, eyes = (lowest + highest) / 2, cameras.center.to(mesh.verts)
    radius = float((highest - lowest).norm()) / 2
    spread = 1.1 * float((eyes - eyes.mean(0)).norm(dim=-1).max())
    # One camera has no extent; splats must move all the same.
    return Extent(middle, max(spread, 0.1 * radius), max(radius, float((eyes - middle).norm(dim=-1).max())))


def points_on_mesh(mesh: Mesh, count: int, generator: torch.Generator) -> Float[Tensor, "N 3"]:
    """Points drawn evenly by area.

    Args:
        mesh: flat buffers.
        count: points to draw.
        generator: of random numbers, on the CPU.
    """
    corners = mesh.verts[mesh.faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    # By the running sum: `multinomial` takes no more than 2^24 faces.
    total = area.double().cumsum(0).cpu()
    face = torch.searchsorted(total, torch.rand(count, dtype=torch.float64, generator=generator) * total[-1])
    face = face.clamp(max=len(area) - 1).to(area.device)
    first, second = torch.rand(2, count, generator=generator).to(mesh.verts)
    # Square root, or points would gather at the first corner.
    root = first.sqrt()
    bary = torch.stack([1 - root, root * (1 - second), root * second], dim=-1)
    return (corners[face] * bary[..., None]).sum(dim=1)


def points_around(extent: Extent, count: int) -> Float[Tensor, "N 3"]:
    """Points spread evenly over a sphere far around the scene.

    Source: the Fibonacci lattice, A. Gonzalez, Mathematical Geosciences 2010.
    """
    index = torch.arange(count, dtype=torch.float64) + 0.5
    height, angle = 1 - 2 * index / count, index * math.pi * (1 + math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    sphere = torch.stack([ring * angle.cos(), height, ring * angle.sin()], dim=-1).to(extent.middle)
    return extent.middle + FAR * extent.whole * sphere


@torch.no_grad()
def photographed_colours(
    points: Float[Tensor, "N 3"], mesh: Mesh, photos: Photos, *, behind: bool
) -> Float[Tensor, "N 3"]:
    """The mean colour that the photographs show at points; that of all seen points where no photograph shows one.

    Args:
        points: `[N, 3]` world.
        mesh: what hides them from cameras.
        photos: the photographs.
        behind: the points lie behind everything; else they lie on the mesh.
    """
    total, count = torch.zeros_like(points), points.new_zeros(len(points), 1)
    for i in range(len(photos)):
        view = photos.view(i)
        gbuffer = make_gbuffer(mesh, view.cameras)
        pixel, depth = view.cameras[0].project(points)
        size = pixel.new_tensor([view.cameras.width, view.cameras.height])
        grid = torch.where((depth > 0)[:, None], pixel / size * 2 - 1, -2.0)[None, None]
        looked_up = torch.cat([view.target, view.weight[..., None]], dim=-1).permute(0, 3, 1, 2)
        colour = grid_sample(looked_up, grid, align_corners=False)[0, :, 0].t()
        nearest = torch.stack([gbuffer.depth, gbuffer.mask.to(depth)], dim=1)
        seen_depth, covered = grid_sample(nearest, grid, mode="nearest", align_corners=False)[0, :, 0]
        on_mesh = (covered > 0.5) & (depth < seen_depth * (1 + DEPTH_TOLERANCE))
        seen = (colour[:, 3] > 0.99) & ((covered < 0.5) if behind else on_mesh)
        total += colour[:, :3] * seen[:, None]
        count += seen[:, None]
    known = count[:, 0] > 0
    mean = total[known].sum(0) / count[known].sum() if bool(known.any()) else total.new_full((3,), 0.5)
    return torch.where(known[:, None], total / count.clamp(min=1), mean)


def neighbour_distances(points: Float[Tensor, "N 3"], chunk: int = 256) -> Float[Tensor, "N"]:
    """Root of the mean squared distance of each point to its three nearest others."""
    parts = []
    for start in range(0, len(points), chunk):
        distance = torch.cdist(points[start : start + chunk], points)
        nearest = distance.topk(min(4, len(points)), largest=False).values[:, 1:]
        parts.append(nearest.square().mean(dim=-1).sqrt())
    return torch.cat(parts).clamp(min=1e-7)


def starting_splats(
    mesh: Mesh, photos: Photos, extent: Extent, *, num_on_mesh: int, num_far: int, seed: int
) -> dict[str, Tensor]:
    """The tensors that training begins with, by the names that gsplat has for them.

    Args:
        mesh: flat buffers, on the device to train on.
        photos: training photographs.
        extent: of the scene.
        num_on_mesh, num_far: splats on the mesh and on the far sphere.
        seed: of where they lie.
    """
    generator = torch.Generator().manual_seed(seed)
    points = points_on_mesh(mesh, num_on_mesh, generator)
    colours, size = photographed_colours(points, mesh, photos, behind=False), neighbour_distances(points)
    if num_far:
        far = points_around(extent, num_far)
        colours = torch.cat([colours, photographed_colours(far, mesh, photos, behind=True)])
        points, size = torch.cat([points, far]), torch.cat([size, neighbour_distances(far)])
    count, opacity = len(points), math.log(FIRST_OPACITY / (1 - FIRST_OPACITY))
    return {
        "means": points,
        "scales": size.log()[:, None].repeat(1, 3),
        "quats": torch.rand(count, 4, generator=generator).to(points),
        "opacities": points.new_full((count,), opacity),
        "sh0": ((colours - 0.5) / SH_CONSTANT)[:, None],
        "shN": points.new_zeros(count, (SH_DEGREE + 1) ** 2 - 1, 3),
    }


class Splats(nn.Module):
    """Gaussians in space, each with a colour by direction.

    Args:
        tensors: as `starting_splats` makes them.
        near: distance before a camera within which nothing is drawn, scene units.
    """

    def __init__(self, tensors: dict[str, Tensor], near: float) -> None:
        super().__init__()
        self.near = near
        self.values = nn.ParameterDict({name: nn.Parameter(tensor.clone()) for name, tensor in tensors.items()})

    def rasterized(
        self, cameras: Camera, *, degree: int = SH_DEGREE, behind: Float[Tensor, "B 3"] | None = None
    ) -> tuple[Float[Tensor, "B H W 3"], dict[str, Any]]:
        """Render, and tell gsplat's strategy what it wants to know.

        Args:
            cameras: a batch `[B]` without skew.
            degree: of the harmonics that are used.
            behind: `[B, 3]` colour where nothing is; black where None.

        Differentiable in: the splats, w2c.
        """
        values = self.values
        rgb, _, told = require("gsplat", "splats").rasterization(
            means=values["means"],
            quats=values["quats"],
            scales=values["scales"].exp(),
            opacities=values["opacities"].sigmoid(),
            colors=torch.cat([values["sh0"], values["shN"]], dim=1),
            viewmats=cameras.w2c,
            Ks=cameras.K,
            width=cameras.width,
            height=cameras.height,
            near_plane=self.near,
            sh_degree=degree,
            backgrounds=behind,
            packed=False,
        )
        return rgb, told

    def forward(self, mesh: Mesh, cameras: Camera) -> Float[Tensor, "B H W 3"]:
        """Render `[B, H, W, 3]` sRGB-encoded colour; the mesh is not asked."""
        return self.rasterized(cameras)[0]


def save_splats(path: Path, splats: Splats) -> None:
    """Write the splats, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    save_tensors(path, dict(splats.values.items()), {"near": splats.near})


def load_splats(path: Path, device: torch.device) -> Splats:
    """Read back what `save_splats` wrote.

    Raises:
        InputError: the file is missing or broken.
    """
    tensors, state = load_tensors(path, device)
    return Splats(tensors, float(state["near"])).requires_grad_(False)


def make_optimizers(splats: Splats, extent: Extent) -> dict[str, torch.optim.Optimizer]:
    """One Adam a tensor, as gsplat's strategy wants them."""
    return {
        name: torch.optim.Adam(
            [{"params": splats.values[name], "lr": rate * (extent.cameras if name == "means" else 1.0), "name": name}],
            eps=1e-15,
            fused=True,
        )
        for name, rate in RATES.items()
    }


class SplatTrainer:
    """Fits splats to photographs.

    Args:
        mesh: flat buffers, where splats begin.
        photos: training photographs, on the same device.
        masked: pixels of the photographs that do not count are not the object: splats are then to be transparent
            there, before any background. Else there is something everywhere, and far splats show it.
        photographed: `[N, H, W]` false where undistortion left a border that was never photographed; None where all
            pixels were.
        refinement: what is known of each photograph's exposure.
        seed: of where splats begin and of the order of the photographs.
        num_on_mesh, num_far: splats to begin with.
    """

    def __init__(
        self,
        mesh: Mesh,
        photos: Photos,
        *,
        masked: bool,
        photographed: Bool[Tensor, "N H W"] | None,
        refinement: Refinement,
        seed: int,
        num_on_mesh: int = NUM_ON_MESH,
        num_far: int = NUM_FAR,
    ) -> None:
        self.photos, self.masked, self.photographed, self.refinement = photos, masked, photographed, refinement
        self.seed, self.step, self.seconds = seed, 0, 0.0
        self.extent = measure_extent(mesh, photos.cameras)
        far = 0 if masked else num_far
        start = starting_splats(mesh, photos, self.extent, num_on_mesh=num_on_mesh, num_far=far, seed=seed)
        self.splats = Splats(start, NEAR * self.extent.cameras)
        self.optimizers = make_optimizers(self.splats, self.extent)
        self.strategy = require("gsplat", "splats").DefaultStrategy()
        if far:
            # Or the far ones would be removed for being large.
            largest = float(start["scales"][-far:].exp().max()) / self.extent.cameras
            self.strategy.prune_scale3d = max(self.strategy.prune_scale3d, 1.5 * largest)
        self.state = self.strategy.initialize_state(scene_scale=self.extent.cameras)

    def fit(self, budget: Budget) -> None:
        """Train for the budget, of minutes for `NUM_STEPS` at most; schedules follow the share that is used up."""
        start, limit = time.monotonic(), budget.steps or NUM_STEPS
        while (share := max(self.step / limit, budget.progress(self.step, self.seconds))) < 1:
            self.train_step(share)
            self.step += 1
            self.seconds = time.monotonic() - start
        if self.photos.images.is_cuda:
            torch.cuda.synchronize(self.photos.images.device)
        self.seconds = time.monotonic() - start

    def train_step(self, share: float) -> Tensor:
        """One photograph, at a share of the budget; returns the loss."""
        batch = self.photos.crops(self.seed, self.step, batch=1, crop=max(self.photos.images.shape[1:3]))
        values, degree = self.splats.values, min(self.step // STEPS_A_DEGREE, SH_DEGREE)
        target, weight, behind = batch.target, batch.weight, None
        if self.masked:
            behind = torch.rand(1, 3, device=target.device)
            shown = self.refinement.develop(behind[:, None, None], batch.indices)
            target = torch.where(weight[..., None] > 0, target, shown)
            weight = torch.ones_like(weight)
            if self.photographed is not None:
                weight = self.photographed[batch.indices.cpu()].to(weight)
        rgb, told = self.splats.rasterized(batch.cameras, degree=degree, behind=behind)
        rgb = self.refinement.develop(rgb, batch.indices)
        self.strategy.step_pre_backward(values, self.optimizers, self.state, self.step, told)
        loss = photometric_loss(rgb, target, weight, STRUCTURAL_WEIGHT)
        loss.backward()
        self.optimizers["means"].param_groups[0]["lr"] = RATES["means"] * self.extent.cameras * LAST_RATE**share
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if share < DENSIFIED_SHARE:
            self.strategy.step_post_backward(values, self.optimizers, self.state, self.step, told, packed=False)
        return loss.detach()


def why_not(cameras: Camera, device: torch.device, *, moves: bool) -> str | None:
    """Why splats cannot be trained here; None where they can.

    Args:
        cameras: of the photographs, a batch `[N]`.
        device: to compute on.
        moves: whether the mesh moves.

    Raises:
        NeuraltexError: gsplat is not installed.
    """
    require("gsplat", "splats")
    if device.type != "cuda":
        return f"gsplat needs a CUDA GPU, this is {device.type}; use --device cuda"
    if moves:
        return "splats do not follow a mesh that moves"
    if float(cameras.K[..., 0, 1].abs().max()) > 1e-6:
        return "gsplat knows no cameras with skew"
    try:
        built = require("gsplat.cuda._backend", "splats")._C is not None  # which takes minutes the first time
        reason = "there is no nvcc"
    except (NeuraltexError, RuntimeError) as error:
        built, reason = False, str(error).splitlines()[0]
    advice = "install the CUDA toolkit of torch's version, and ninja"
    return None if built else f"gsplat cannot build its kernels here ({reason}); {advice}"
