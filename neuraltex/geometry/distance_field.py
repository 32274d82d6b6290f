"""How far each point of space is from a mesh, and which point of it is near: for rays that ask what they meet."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

RESOLUTION = 128
# Room around the mesh, in nodes: rays leave the grid where nothing is near any more.
MARGIN = 3
# Nodes so far from the surface, in spacings, know which texel lies nearest.
SHELL = 2.0
SAMPLES_A_SPACING = 2.5
# Nodes along a line at most, and a squared distance above all that they can have.
PLACES, UNKNOWN = 256, 1 << 20


@dataclass(frozen=True)
class DistanceField:
    """Distances to a mesh on a regular grid of nodes.

    Args:
        distances: `[D, H, W]` scene units, along z, y and x; within about a spacing of the truth.
        shell: `[K]` int64 flat indices of the nodes near the surface.
        shell_uv: `[K, 2]` texture coordinates of the surface point nearest to each of them.
        origin: `[3]` world position of the first node.
        spacing: `[1]` scene units between neighbouring nodes.
        colours: `[N, 4]` of all nodes, as `look_around` reads them, for a texture that changes no more; None to look
            them up each time.
    """

    distances: Float[Tensor, "D H W"]
    shell: Int[Tensor, "K"]
    shell_uv: Float[Tensor, "K 2"]
    origin: Float[Tensor, "3"]
    spacing: Float[Tensor, "1"]
    colours: Float[Tensor, "N 4"] | None = None

    def to(self, device: torch.device | str) -> DistanceField:
        """The same field on `device`."""
        buffers = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: buffer.to(device) for name, buffer in buffers.items() if buffer is not None})


@torch.no_grad()
def distance_field(
    verts: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    verts_uv: Float[Tensor, "T 2"],
    faces_uv: Int[Tensor, "F 3"],
    *,
    resolution: int = RESOLUTION,
) -> DistanceField:
    """Measure the space around a mesh.

    Args:
        verts, faces, verts_uv, faces_uv: of the mesh, as in `Mesh`; infinitely far where there are no faces.
        resolution: nodes along the longest side of the mesh's box, 240 at most.
    """
    if not len(faces):
        return DistanceField(
            verts.new_full((2, 2, 2), torch.inf),
            faces.new_zeros(0),
            verts_uv[:0],
            verts.new_zeros(3),
            verts.new_ones(1),
        )
    lowest, highest = verts.amin(0), verts.amax(0)
    spacing = float((highest - lowest).amax().clamp(min=1e-9)) / (resolution - 1)
    width, height, depth = (math.ceil(side / spacing) + 1 + 2 * MARGIN for side in (highest - lowest).tolist())
    origin = lowest - MARGIN * spacing
    corners = verts.index_select(0, faces.reshape(-1)).view(-1, 3, 3)
    coordinates = verts_uv.index_select(0, faces_uv.reshape(-1)).view(-1, 3, 2)
    points, uv = _sample(corners, coordinates, spacing / SAMPLES_A_SPACING)
    places = (points - origin) / spacing
    x, y, z = places.round().long().unbind(-1)
    # Of the samples around a node the one nearest to it, which a minimum over (distance, sample) finds in any order.
    apart = ((places - places.round()).square().sum(-1) * (1 << 20)).long()
    word = (apart << 32) | torch.arange(len(points), device=points.device)
    words = torch.full((depth * height * width,), 1 << 62, dtype=torch.int64, device=points.device)
    words = words.scatter_reduce(0, (z * height + y) * width + x, word, "amin")
    nearest = torch.where(words < 1 << 62, words & 0xFFFFFFFF, -1)
    nearest = _spread(nearest.view(depth, height, width))
    axes = (torch.arange(size, device=points.device) for size in (depth, height, width))
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flip(-1) * spacing + origin
    distances = (nodes - points.index_select(0, nearest.reshape(-1)).view(nodes.shape)).norm(dim=-1)
    shell = (distances.reshape(-1) < SHELL * spacing).nonzero().squeeze(1)
    shell_uv = uv.index_select(0, nearest.reshape(-1).index_select(0, shell))
    return DistanceField(distances, shell, shell_uv, origin, torch.full_like(origin[:1], spacing))


def _sample(corners: Float[Tensor, "F 3 3"], coordinates: Float[Tensor, "F 3 2"], step: float) -> tuple[Tensor, Tensor]:
    """Points all over the surface, about `step` apart, and their texture coordinates."""
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1) / 2
    counts = (area / step**2).ceil().long() + 1
    face = torch.repeat_interleave(torch.arange(len(counts), device=area.device), counts)
    index = torch.arange(len(face), device=area.device) - (counts.cumsum(0) - counts).index_select(0, face)
    # Each face's points fill its parallelogram evenly; those of its far half are folded back.
    first, second = ((index * share + 0.5) % 1.0 for share in (0.7548776662466927, 0.5698402909980532))
    far = first + second > 1
    first, second = torch.where(far, 1 - first, first), torch.where(far, 1 - second, second)
    bary = torch.stack([1 - first - second, first, second], dim=-1).to(corners.dtype)
    points, uv = (torch.einsum("nk,nkc->nc", bary, values.index_select(0, face)) for values in (corners, coordinates))
    return points, uv


def _spread(nearest: Int[Tensor, "D H W"]) -> Int[Tensor, "D H W"]:
    """For each node the sample of the nearest node that has one, exactly: one axis after the other.

    Source: P. Felzenszwalb, D. Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing 2012; the
    minimum over a line is taken by trying all of it, which suits wide machines.
    """
    # What fits a cache on a CPU, what fills a GPU.
    slab = 1 << (17 if nearest.device.type == "cpu" else 24)
    cost = torch.where(nearest >= 0, 0, UNKNOWN).to(torch.int32)
    for axis in range(3):
        cost, nearest = cost.transpose(axis, 2).contiguous(), nearest.transpose(axis, 2).contiguous()
        size = cost.shape[2]
        places = torch.arange(size, device=cost.device, dtype=torch.int32)
        # Squared distance and place in one word: their minimum tells both.
        words = (places[:, None] - places[None]).square() * PLACES | places[None]
        lines = cost.view(-1, size) * PLACES
        best = torch.cat([(part[:, None] + words).amin(dim=-1) for part in lines.split(max(slab // size**2, 1))])
        cost = (best // PLACES).view(cost.shape)
        nearest = nearest.view(-1, size).gather(1, (best % PLACES).long()).view(nearest.shape)
        cost, nearest = cost.transpose(axis, 2), nearest.transpose(axis, 2)
    return nearest
