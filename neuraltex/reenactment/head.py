"""One person in one video as numbers: identity, surface colour, light, and a pose and an expression a frame."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.rotations import so3_exp
from neuraltex.raster import antialias, make_gbuffer, opposite_corners, rasterize
from neuraltex.reenactment.rig import Rig
from neuraltex.shading import NeuralTexture
from neuraltex.shading.spherical_harmonics import sh_basis

# The coarse ones know hair from skin, not a nose from a cheek.
TEXTURE_LEVELS, COARSE = 6, 3
DARKEST = 2e-3
# Cosine between view and normal.
GRAZING = 0.2


class Head(nn.Module):
    """A rig's head, posed in front of a still camera and a still background.

    The camera stands at the origin of the world and looks along -z with +y up; light and background stay with it, and
    the head moves. Colour is albedo times the light that arrives at a normal, nine harmonics of it.

    Args:
        rig: on the device to compute on.
        background: `[H, W, 3]` sRGB-encoded, of the pictures' size.
        num_frames: of the video.
        fov_deg: horizontal field of view in degrees.
        texture_size: texels along each side of the albedo.
    """

    pivot: Tensor
    background: Tensor

    def __init__(
        self, rig: Rig, background: Float[Tensor, "H W 3"], num_frames: int, fov_deg: float, texture_size: int
    ) -> None:
        super().__init__()
        device = rig.neutral.device
        self.rig = rig
        self.mesh = rig.scene.flatten().to(device)
        self.opposite = opposite_corners(self.mesh.faces)
        self.materials = rig.scene.parts[0].face_materials.to(device)
        lowest, highest = self.mesh.verts.amin(0), self.mesh.verts.amax(0)
        self.register_buffer("pivot", (lowest + highest) / 2)
        self.size = float((highest - lowest).norm())
        self.identity = nn.Parameter(torch.zeros(len(rig.identity_deltas)))
        self.expression = nn.Embedding.from_pretrained(
            torch.zeros(num_frames, len(rig.expression_deltas)), freeze=False, sparse=True
        )
        # Turn as axis times angle in radians, then shift in sizes of the head.
        self.pose = nn.Embedding.from_pretrained(torch.zeros(num_frames, 6), freeze=False, sparse=True)
        # The same for all frames: what is wrong with all poses alike is mended in one step, not in one a frame.
        self.shared_pose = nn.Parameter(torch.zeros(6))
        self.given_log_focal = math.log(0.5 / math.tan(math.radians(fov_deg) / 2))
        self.log_focal = nn.Parameter(torch.tensor(self.given_log_focal))
        self.tones = nn.Parameter(torch.full((len(rig.scene.materials), 3), -1.0))
        self.texture = NeuralTexture(texture_size, texture_size, channels=3, num_levels=TEXTURE_LEVELS)
        self.light = nn.Parameter(torch.cat([torch.full((1, 3), 3.0), torch.zeros(8, 3)]))
        self.register_buffer("background", background.clone())
        self.to(device)

    def unknowns(self, name: str) -> list[nn.Parameter]:
        """The parameters of a kind; "coarse" and "fine" are the texture's."""
        if name in ("coarse", "fine"):
            levels = list(self.texture.levels)
            return levels[COARSE:] if name == "coarse" else levels[:COARSE]
        owned = getattr(self, name)
        return [owned] if isinstance(owned, nn.Parameter) else list(owned.parameters())

    def camera(self, height: int, width: int) -> Camera:
        """A batch of one, `[1]`. Differentiable in: log_focal."""
        flip = torch.diag(self.pivot.new_tensor([1.0, -1.0, -1.0, 1.0]))
        focal = self.log_focal.exp() * width
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        rows = [focal, zero, one * width / 2, zero, focal, one * height / 2, zero, zero, one]
        return Camera(torch.stack(rows).view(1, 3, 3), flip[None], width, height)

    def matrices(self, frames: Int[Tensor, "B"]) -> Float[Tensor, "B 4 4"]:
        """Head to world. Differentiable in: pose, shared_pose, log_focal."""
        twist = self.pose(frames) + self.shared_pose
        turn, middle = so3_exp(twist[:, :3]), self.pivot + twist[:, 3:] * self.size
        # A longer lens sees the head as large from further away: the two are kept apart.
        further = (self.log_focal - self.given_log_focal).exp()
        middle = torch.cat([middle[:, :2], middle[:, 2:] * further], dim=1)
        moved = middle - (turn @ self.pivot[:, None]).squeeze(-1)
        upper = torch.cat([turn, moved[..., None]], dim=-1)
        last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(upper), 1, 4)
        return torch.cat([upper, last], dim=1)

    def verts(self, frames: Int[Tensor, "B"]) -> Float[Tensor, "B V 3"]:
        """Posed vertices, world. Differentiable in: identity, expression, pose, shared_pose."""
        still = self.rig.verts(self.identity, self.expression(frames))
        matrices = self.matrices(frames)
        return still @ matrices[:, :3, :3].transpose(1, 2) + matrices[:, None, :3, 3]

    def forward(
        self, verts: Float[Tensor, "V 3"], height: int, width: int, background: Float[Tensor, "H W 3"]
    ) -> tuple[Float[Tensor, "H W 3"], Bool[Tensor, "H W"]]:
        """The picture of a head at `verts`, sRGB-encoded, and where the head is seen.

        Args:
            verts: `[V, 3]` world.
            height, width: in pixels.
            background: of that size.

        Differentiable in: verts, log_focal, tones, texture, light.
        """
        mesh = self.mesh.with_verts(verts)
        camera = self.camera(height, width)
        gbuffer = make_gbuffer(mesh, camera)
        face = gbuffer.fragments.pix_to_face.clamp(min=0)
        tone = self.tones.index_select(0, self.materials[face.reshape(-1)]).view(*face.shape, 3)
        texels = self.texture(gbuffer.uv).permute(0, 2, 3, 1)
        # What is seen at a grazing angle may be background, as long as the outline is off: little is learned there.
        facing = -(gbuffer.view_dirs * gbuffer.normals).sum(-1, keepdim=True).detach()
        share = ((facing - GRAZING) / (0.5 - GRAZING)).clamp(0, 1)
        texels = texels.detach() + share * (texels - texels.detach())
        albedo = (tone + texels).sigmoid()
        shade = (sh_basis(gbuffer.normals) @ self.light).clamp(min=0)
        colour = encode(albedo * shade)
        colour = torch.where(gbuffer.mask[..., None], colour, background[None])
        colour = antialias(colour, gbuffer.fragments, verts, mesh.faces, self.opposite, camera)
        return colour[0], gbuffer.mask[0]

    def project(self, verts: Float[Tensor, "B V 3"], height: int, width: int) -> Float[Tensor, "B V 2"]:
        """Pixels of points in the world. Differentiable in: verts, log_focal."""
        K = self.camera(height, width).K[0]
        seen = (verts * verts.new_tensor([1.0, -1.0, -1.0])) @ K.T
        return seen[..., :2] / seen[..., 2:].clamp(min=1e-6)


def encode(linear: Tensor) -> Tensor:
    """Linear light to about sRGB, with a slope that stays finite."""
    return linear.clamp(min=DARKEST) ** (1 / 2.2)


@torch.no_grad()
def silhouettes(head: Head, height: int, width: int) -> Bool[Tensor, "N H W"]:
    """`[N, H, W]` where the head is seen in each frame."""
    camera = head.camera(height, width)
    seen = []
    for index in range(head.pose.num_embeddings):
        verts = head.verts(torch.tensor([index], device=head.pivot.device))[0]
        seen.append(rasterize(verts, head.mesh.faces, camera).mask[0].cpu())
    return torch.stack(seen)
