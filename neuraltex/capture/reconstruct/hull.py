"""The visual hull: the largest body that casts all silhouettes, carved out of a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.survey import estimate_center
from neuraltex.capture.reconstruct.silhouettes import Silhouettes
from neuraltex.errors import InputError
from neuraltex.optional import require

Report = Callable[[str, int, int], None]

# Cells along the longest side of the box while it is sought.
COARSE = 48
# Voxels along a side of a block that is carved only where the surface may pass through it.
BLOCK = 4
# Distances in a picture grow faster than in the world off the optical axis; 1.5 covers views of 96 degrees.
SAFETY = 1.5
MOST_GROWTHS, MOST_SHRINKS = 4, 8


@dataclass(frozen=True)
class Box:
    """A box along the world's axes.

    Args:
        low: `[3]` corner with the least coordinates, world, float64.
        high: `[3]` the opposite corner.
    """

    low: Float[Tensor, "3"]
    high: Float[Tensor, "3"]

    @property
    def size(self) -> Float[Tensor, "3"]:
        """`[3]` lengths of the sides."""
        return self.high - self.low


@dataclass(frozen=True)
class Grid:
    """Samples at the centres of cubes.

    Args:
        origin: `[3]` the first sample, world, float64.
        step: distance of neighbours in scene units.
        shape: samples along x, y and z.
    """

    origin: Float[Tensor, "3"]
    step: float
    shape: tuple[int, int, int]

    @staticmethod
    def over(box: Box, cells: int, *, multiple: int = 1) -> Grid:
        """`cells` cubes along the longest side; their numbers are rounded up to a multiple."""
        step = float(box.size.max()) / cells
        counts = [multiple * max(1, int(np.ceil(length / step / multiple - 1e-9))) for length in box.size.tolist()]
        extent = torch.tensor(counts, dtype=torch.float64) * step
        origin = 0.5 * (box.low + box.high - extent) + 0.5 * step
        return Grid(origin, step, (counts[0], counts[1], counts[2]))

    def points(self) -> Float[Tensor, "P 3"]:
        """`[P, 3]` float64 positions of all samples, x slowest."""
        axes = [float(self.origin[k]) + self.step * torch.arange(self.shape[k], dtype=torch.float64) for k in range(3)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def carve(
    silhouettes: Silhouettes, *, resolution: int, misses: int, source: Path, report: Report
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """The surface of the visual hull.

    Args:
        silhouettes: of the object.
        resolution: voxels along the longest side of the hull's box.
        misses: how many masks may be wrong about a point of the object.
        source: what to name in an error.
        report: called with a stage, how much of it is done, and of how much.

    Returns:
        `[V, 3]` float64 vertices, world, and `[F, 3]` int64 faces, counterclockwise seen from outside.

    Raises:
        InputError: the masks' cones do not meet, or do not close.
        NeuraltexError: scikit-image is not installed.
    """
    measure = require("skimage.measure", "reconstruct")
    box = find_box(silhouettes, misses=misses, source=source, report=report)
    grid = Grid.over(box, resolution, multiple=BLOCK)
    field = sample_field(silhouettes, grid, misses=misses, report=report)
    if not bool((field > 0).any()):
        raise _nothing_meets(silhouettes, source)
    report("surface", 0, 1)
    # A border of outside closes the surface where it touches the box.
    padded = np.pad(field.numpy(), 1, constant_values=-grid.step)
    verts, faces, _, _ = measure.marching_cubes(padded, 0.0, gradient_direction="ascent")
    report("surface", 1, 1)
    placed = (verts.astype(np.float64) - 1.0) * grid.step + grid.origin.numpy()
    return placed, faces.astype(np.int64)


def find_box(silhouettes: Silhouettes, *, misses: int, source: Path, report: Report) -> Box:
    """The box of the visual hull, found from nothing but the cameras and their masks.

    A coarse grid around the point that the cameras look at is carved, conservatively: a cell goes only where no part
    of it can be inside. The box shrinks to what is left, or grows where that touches its border.

    Raises:
        InputError: nothing is left, it reaches out of every box, or all cameras stand in one place.
    """
    stand = silhouettes.cameras.center
    if float((stand - stand.mean(0)).abs().max()) <= 1e-6 * float(stand.abs().max()):
        raise InputError(source, "all cameras stand in one place", hint="photograph the object from all around")
    center = estimate_center(_towards_masks(silhouettes))
    half = float((stand - center).norm(dim=1).median())
    box = Box(center - half, center + half)
    for growth in range(MOST_GROWTHS):
        report("box", growth, MOST_GROWTHS + MOST_SHRINKS)
        kept, grid = _coarse_cells(silhouettes, box, misses)
        if not bool(kept.any()):
            raise _nothing_meets(silhouettes, source)
        inner = torch.zeros_like(kept)
        inner[1:-1, 1:-1, 1:-1] = True
        if not bool((kept & ~inner).any()):
            break
        half *= 2
        box = Box(center - half, center + half)
    else:
        raise InputError(
            source,
            "the masks do not close a volume: the cones they cut out of space go on without an end",
            hint="photograph the object from all around, whole in every picture, and check that masks are white on "
            "the object only",
        )
    for shrink in range(MOST_SHRINKS):
        report("box", MOST_GROWTHS + shrink, MOST_GROWTHS + MOST_SHRINKS)
        tight = _box_of(kept, grid)
        settled = bool((tight.size > 0.9 * box.size).all())
        box = tight
        if settled:
            break
        kept, grid = _coarse_cells(silhouettes, box, misses)
        if not bool(kept.any()):
            raise _nothing_meets(silhouettes, source)
    report("box", 1, 1)
    return box


def sample_field(silhouettes: Silhouettes, grid: Grid, *, misses: int, report: Report) -> Float[Tensor, "X Y Z"]:
    """The depth inside the hull at every sample of a grid.

    Blocks that the surface cannot pass through get their centre's value throughout, which is right in sign and about
    right in size; marching cubes looks at nothing else.

    Args:
        silhouettes: of the object.
        grid: its shape is a multiple of `BLOCK`.
        misses: as in `Silhouettes.inside`.
        report: called with a stage, how much of it is done, and of how much.
    """
    blocks = Grid(
        grid.origin + 0.5 * (BLOCK - 1) * grid.step,
        grid.step * BLOCK,
        (grid.shape[0] // BLOCK, grid.shape[1] // BLOCK, grid.shape[2] // BLOCK),
    )
    centers = blocks.points()
    coarse = silhouettes.inside(centers, misses=misses)
    # One voxel more than the block: neighbours across its border must agree on where the surface is.
    reach = SAFETY * 0.5 * (BLOCK + 2) * np.sqrt(3.0) * grid.step
    active = (coarse.abs() < reach).nonzero().squeeze(1)
    offsets = Grid(torch.full((3,), -0.5 * (BLOCK - 1) * grid.step).double(), grid.step, (BLOCK, BLOCK, BLOCK)).points()
    values = coarse[:, None].repeat(1, BLOCK**3)
    chunks = active.split(1 << 14)
    for number, chunk in enumerate(chunks):
        report("carving", number, len(chunks))
        points = (centers[chunk, None] + offsets).reshape(-1, 3)
        values[chunk] = silhouettes.inside(points, misses=misses).reshape(len(chunk), -1)
    report("carving", 1, 1)
    values = values.clamp(-reach, reach)
    shaped = values.reshape(*blocks.shape, BLOCK, BLOCK, BLOCK).permute(0, 3, 1, 4, 2, 5)
    return shaped.reshape(grid.shape).contiguous()


def _coarse_cells(silhouettes: Silhouettes, box: Box, misses: int) -> tuple[Bool[Tensor, "X Y Z"], Grid]:
    """Which cells of a coarse grid over a box may hold a part of the hull."""
    grid = Grid.over(box, COARSE)
    inside = silhouettes.inside(grid.points(), misses=misses)
    return (inside > -SAFETY * 0.5 * np.sqrt(3.0) * grid.step).reshape(grid.shape), grid


def _box_of(kept: Bool[Tensor, "X Y Z"], grid: Grid) -> Box:
    """The box around kept cells and one cell more."""
    cells = kept.nonzero().double()
    low = grid.origin + (cells.amin(0) - 1.5) * grid.step
    return Box(low, grid.origin + (cells.amax(0) + 1.5) * grid.step)


def _towards_masks(silhouettes: Silhouettes) -> Camera:
    """The cameras, turned to look at the middle of their masks instead of that of their pictures."""
    cameras = silhouettes.cameras
    _, height, width = silhouettes.distance.shape
    shown = (silhouettes.distance > 0).double()
    total = shown.sum((1, 2))
    column = shown.sum(1) @ (torch.arange(width).double() + 0.5) / total
    row = shown.sum(2) @ (torch.arange(height).double() + 0.5) / total
    middle = torch.stack([column, row], dim=-1)[:, None]
    target = cameras.unproject(middle, torch.ones(len(total), 1).double())[:, 0]
    return replace(cameras, w2c=look_at(cameras.center, target, -cameras.w2c[:, 1, :3]))


def _nothing_meets(silhouettes: Silhouettes, source: Path) -> InputError:
    return InputError(
        source,
        f"the cones of the {len(silhouettes.distance)} masks do not meet anywhere",
        hint="check that the masks belong to the photographs and show one object, and the cameras; a few wrong masks "
        "are forgiven with --misses",
    )
