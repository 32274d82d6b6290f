"""What training may move beside textures and network: cameras, lens, exposure, and the mesh itself."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import grid_sample, normalize

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.rotations import so3_exp
from neuraltex.geometry.mesh import Mesh
from neuraltex.training.config import TrainingConfig
from neuraltex.training.optimizer import Group

# Nodes along each side of the lattices that displacements are interpolated from, coarse to fine.
LATTICES = (4, 8, 16, 32, 64)


def move_cameras(
    cameras: Camera, twists: Float[Tensor, "B 6"], pivot: Float[Tensor, "3"], lens: Float[Tensor, "3"] | None = None
) -> Camera:
    """Cameras moved a little around a point of the scene.

    Turning about what the camera looks at, not about the camera, keeps turning and shifting apart: each changes the
    picture in a way that the other cannot.

    Args:
        cameras: a batch `[B]`.
        twists: `[B, 6]` turn about `pivot` as axis times angle in radians, in camera axes; then shift of the scene, in
            distances from the camera to `pivot`.
        pivot: `[3]` world.
        lens: `[3]` logarithm of a factor on both focal lengths, and shift of the principal point in focal lengths, the
            same for all cameras; None for the cameras' own.

    Differentiable in: twists, lens, w2c, K, pivot.
    """
    rotation, translation = cameras.w2c[:, :3, :3], cameras.w2c[:, :3, 3]
    middle = (rotation @ pivot) + translation
    turn = so3_exp(twists[:, :3])
    distance = middle.norm(dim=-1, keepdim=True)
    moved = torch.einsum("bij,bj->bi", turn, translation - middle) + middle + twists[:, 3:] * distance
    upper = torch.cat([turn @ rotation, moved[..., None]], dim=-1)
    w2c = torch.cat([upper, cameras.w2c[:, 3:]], dim=1)
    K = cameras.K
    if lens is not None:
        focal, across, down = lens.unbind()
        fx, fy = K[:, 0, 0] * focal.exp(), K[:, 1, 1] * focal.exp()
        zero = torch.zeros_like(fx)
        first = torch.stack([fx, K[:, 0, 1], K[:, 0, 2] + fx * across], dim=-1)
        second = torch.stack([zero, fy, K[:, 1, 2] + fy * down], dim=-1)
        K = torch.stack([first, second, K[:, 2]], dim=1)
    return replace(cameras, K=K, w2c=w2c)


class Refinement(nn.Module):
    """Corrections of a capture, learned with what it shows. All start at nothing.

    Args:
        config: which corrections are learned.
        mesh: the scene's flat buffers, as loaded.
        num_views: training photographs.
    """

    poses: nn.Parameter | None
    lens: nn.Parameter | None
    gains: nn.Parameter | None
    tilts: nn.Parameter | None
    pivot: Tensor
    extent: Tensor
    places: Tensor

    def __init__(self, config: TrainingConfig, mesh: Mesh, num_views: int) -> None:
        super().__init__()
        lowest, highest = mesh.verts.amin(0), mesh.verts.amax(0)
        self.register_buffer("pivot", (lowest + highest) / 2)
        self.register_buffer("extent", (highest - lowest).norm())
        # The same spacing along all axes: a displacement is as smooth one way as another.
        self.register_buffer("places", 2 * (mesh.verts - self.pivot) / (1.02 * (highest - lowest).amax()))
        self.config = config
        self.poses = nn.Parameter(torch.zeros(num_views, 6)) if config.refine_poses else None
        self.lens = nn.Parameter(torch.zeros(3)) if config.refine_lens else None
        self.steps_a_visit = num_views / config.batch
        self.gains = nn.Parameter(torch.zeros(num_views, 3)) if config.refine_exposure else None
        self.tilts = nn.Parameter(torch.zeros_like(mesh.normals)) if config.refine_normals else None
        self.lattices = nn.ParameterList(
            torch.zeros(1, 3, size, size, size) for size in (LATTICES if config.refine_shape else ())
        )

    def groups(self) -> list[Group]:
        """What to optimise, and how fast. What places pixels waits until the textures tell where they belong."""
        config = self.config
        wait = 2 * config.warmup_steps
        groups = [
            Group([parameter], rate, 0.0, steps, every)
            for parameter, rate, steps, every in (
                (self.poses, config.pose_rate, wait, self.steps_a_visit),
                (self.lens, config.lens_rate, wait, 1.0),
                (self.gains, config.exposure_rate, 0, self.steps_a_visit),
                (self.tilts, config.normal_rate, wait, 1.0),
            )
            if parameter is not None
        ]
        last = len(self.lattices) - 1
        for level, lattice in enumerate(self.lattices):
            groups.append(Group([lattice], config.shape_rate, config.shape_decay * level / last, wait))
        return groups

    def cameras(self, cameras: Camera, indices: Int[Tensor, "B"]) -> Camera:
        """The cameras of training photographs, where they are now thought to be.

        Args:
            cameras: a batch `[B]`, windows of photographs or whole ones.
            indices: `[B]` which photographs.

        Differentiable in: the corrections.
        """
        if self.poses is None and self.lens is None:
            return cameras
        twists = cameras.w2c.new_zeros(len(indices), 6) if self.poses is None else self.poses.index_select(0, indices)
        return move_cameras(cameras, twists, self.pivot, self.lens)

    def lens_only(self, cameras: Camera) -> Camera:
        """Any cameras of the same lens, at the poses that they have."""
        if self.lens is None:
            return cameras
        return move_cameras(cameras, cameras.w2c.new_zeros(len(cameras.w2c), 6), self.pivot, self.lens)

    def verts(self, verts: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """Vertices where they are now thought to be.

        Args:
            verts: `[V, 3]` of the mesh as it was loaded.

        Differentiable in: verts, the corrections.
        """
        total: Tensor | None = None
        for lattice in self.lattices:
            level = grid_sample(lattice, self.places[None, None, None], padding_mode="border", align_corners=True).view(
                3, -1
            )
            total = level if total is None else total + level
        return verts if total is None else verts + total.t() * self.extent

    def mesh(self, mesh: Mesh) -> Mesh:
        """The mesh where it is now thought to be, and with the normals it is now thought to have; of a mesh that moves,
        its resting pose, whose corrections `Poser.pose` takes along.

        Differentiable in: mesh.verts, the corrections. Highlights tell of normals, and so of vertices.
        """
        if self.lattices:
            mesh = mesh.with_verts(self.verts(mesh.verts))
        if self.tilts is not None:
            mesh = replace(mesh, normals=normalize(mesh.normals + self.tilts, dim=-1))
        return mesh

    def develop(self, rgb: Float[Tensor, "B H W 3"], indices: Int[Tensor, "B"]) -> Float[Tensor, "B H W 3"]:
        """Pictures at the exposure and white balance of their photographs.

        Args:
            rgb: `[B, H, W, 3]` sRGB-encoded, at the exposure that all share.
            indices: `[B]` which photographs.

        Differentiable in: rgb, the corrections.
        """
        if self.gains is None:
            return rgb
        # The mean of all photographs stays where it is, or the textures could drift one way and the gains the other.
        # It is taken as given: a photograph then moves its own gain alone.
        gains = self.gains.index_select(0, indices) - self.gains.detach().mean(dim=0)
        return rgb * gains.exp()[:, None, None, :]
