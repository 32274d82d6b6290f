"""Pictures of an edited scene: what a part looks like goes with it, what falls on it is found anew."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, normalize

from neuraltex.cameras.camera import Camera
from neuraltex.colours import linear_to_srgb, srgb_to_linear
from neuraltex.editing.clone import Patch, fill_by_patches, find_patches
from neuraltex.editing.light import Shadows
from neuraltex.editing.memory import SurfaceMemory, texel_features
from neuraltex.editing.stage import Staged
from neuraltex.editing.unfold import unfold, widened
from neuraltex.geometry.distance_field import DistanceField
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import GBuffer, antialias, make_gbuffer, opposite_corners
from neuraltex.raster.gbuffer import interpolate as on_faces
from neuraltex.shading import Shader, coloured, look_around

# Light that an edit adds or takes is a factor on what was photographed, and not trusted beyond this.
LEAST_FACTOR, MOST_FACTOR = 0.1, 3.0
# Where a moved part stood: texels that it hid, and those beside them that its foot was blended with.
OPENED, FOOT = 0.05, 8 / 512


class EditRenderer:
    """Renders edited states of one run.

    Args:
        mesh: the run's corrected mesh as photographed, on the device to compute on.
        shader: what was learned; it is copied.
        memory: what the photographs told of the surface.
        moved: names of parts that any state moves, hides or deforms: what they hid is filled from around.
        relight: let shadows and contacts follow the edit.
    """

    def __init__(
        self, mesh: Mesh, shader: Shader, memory: SurfaceMemory, *, moved: Collection[str] = (), relight: bool = True
    ) -> None:
        self.memory, self.relight = memory, relight
        self.shader = copy.deepcopy(shader).requires_grad_(False).eval()
        with torch.no_grad():
            self.before = Shadows(mesh.verts, mesh.faces, memory.light)
            texels = unfold(mesh, len(memory.seen))
            received = self.before.received(texels.points, texels.normals)
            light = received @ memory.light.radiance + memory.light.ambient
            # Texels beside the surface that photographs were blended with, too: seams are made of them.
            self.known = memory.seen.clone()
            self.patches: list[Patch] = []
            if moved:
                kept = torch.tensor([name not in moved for name in mesh.part_names], device=mesh.verts.device)
                stays = kept[mesh.part_ids]
                opened = Shadows(mesh.verts, mesh.faces[stays], memory.light)
                gain = (opened.received(texels.points, texels.normals) - received).mean(dim=1)
                uncovered = texels.image((gain > OPENED * received.mean(dim=1).amax()).float()[:, None])[0] > 0
                hidden = uncovered & ~memory.seen
                self.known &= ~(widened(hidden, round(FOOT * texels.size)) & uncovered)
                owners = texels.image(mesh.part_ids[texels.faces].float()[:, None] + 1)[0].long() - 1
                paint = _paint(self.shader, texels.image(light))
                self.patches = find_patches(paint, uncovered & ~self.known, self.known & memory.covered, owners)
            self.light = fill_by_patches(texels.image(light), self.known & memory.covered, self.patches)
            self._fill_texture()
        self._after: tuple[Staged, Shadows] | None = None
        self.field = None if mesh.field is None else coloured(mesh.field, self.shader.texture)
        self._field_after: tuple[Staged, DistanceField] | None = None

    @property
    def filled_share(self) -> float:
        """Share of the surface's texels that are filled from those around."""
        return 1 - float((self.known & self.memory.covered).sum() / self.memory.covered.sum().clamp(min=1))

    def _fill_texture(self) -> None:
        """Texels that nobody saw show what lies around them."""
        finest = self.shader.texture.levels[0]
        size = finest.shape[-1]
        known = interpolate(self.known[None, None].float(), size=(size, size))[0, 0] > 0
        features = texel_features(self.shader, size)
        finest[0] += (fill_by_patches(features, known, self.patches) - features) * ~known

    @torch.no_grad()
    def __call__(self, staged: Staged, camera: Camera) -> UInt8[Tensor, "H W 3"]:
        """One picture, sRGB-encoded.

        Args:
            staged: an edited state, on the renderer's device.
            camera: a batch of one, on the same device.
        """
        gbuffer = make_gbuffer(staged.mesh, camera)
        around = None
        if self.shader.interreflections:
            around = look_around(self._field(staged), self.shader.texture, gbuffer, camera)
        places = self.shader.places(gbuffer, camera)
        features, _ = self.shader.features(_as_photographed(gbuffer, staged), around=around, places=places)
        mesh, opposite = staged.mesh, opposite_corners(staged.mesh.faces)
        features = antialias(features.permute(0, 2, 3, 1), gbuffer.fragments, mesh.verts, mesh.faces, opposite, camera)
        rgb = self.shader.decode(features.permute(0, 3, 1, 2))[0].clamp(0, 1)
        if self.relight:
            # Before the first change, too: what was filled from around would else jump when something moves.
            factors = self._factors(gbuffer, staged)
            relit = linear_to_srgb(srgb_to_linear(rgb) * factors).clamp(0, 1)
            rgb = torch.where(factors == 1, rgb, relit)
        if self.shader.environment is None:
            rgb = rgb * gbuffer.mask[0][..., None]
        return (rgb * 255).round().to(torch.uint8)

    def _factors(self, gbuffer: GBuffer, staged: Staged) -> Float[Tensor, "H W 3"]:
        """Light that falls on each pixel's surface after the edit, relative to that before."""
        mask = gbuffer.mask[0]
        face, bary = gbuffer.fragments.pix_to_face[0][mask], gbuffer.fragments.bary[0][mask]
        now = _irradiance(self._shadows(staged), staged.mesh, face, bary)
        then = _irradiance(self.before, staged.rest, face, bary)
        u, v = gbuffer.uv[0][mask].unbind(-1)
        places = torch.stack([2 * u - 1, 1 - 2 * v], dim=-1)[None, None]
        filled = grid_sample(self.light[None], places, align_corners=False, padding_mode="border")[0, :, 0].t()
        known: Bool[Tensor, "M"] = self._known_at(u, v)
        factors = now / torch.where(known[:, None], then, filled)
        picture = torch.ones(*mask.shape, 3, device=mask.device)
        picture[mask] = factors.clamp(LEAST_FACTOR, MOST_FACTOR)
        return picture

    def _known_at(self, u: Tensor, v: Tensor) -> Bool[Tensor, "M"]:
        size = len(self.known)
        row, column = ((places * size).long().clamp(0, size - 1) for places in (1 - v, u))
        return self.known[row, column]

    def _field(self, staged: Staged) -> DistanceField:
        """The space around an edited state; kept while the state stays."""
        if not staged.changed and self.field is not None:
            return self.field
        if self._field_after is None or not _same_shape(self._field_after[0], staged):
            mesh = staged.mesh.with_field()
            assert mesh.field is not None
            self._field_after = (staged, coloured(mesh.field, self.shader.texture))
        return self._field_after[1]

    def _shadows(self, staged: Staged) -> Shadows:
        """What the lamps see of an edited state; kept while the state stays."""
        if not staged.changed:
            return self.before
        if self._after is None or not _same_shape(self._after[0], staged):
            self._after = (staged, Shadows(staged.mesh.verts, staged.mesh.faces, self.memory.light))
        return self._after[1]


def _paint(shader: Shader, light: Float[Tensor, "3 S S"]) -> Float[Tensor, "3 S S"]:
    """The texture's colour without the light that fell on it, sRGB-encoded."""
    colour = srgb_to_linear(texel_features(shader, light.shape[-1])[:3].clamp(0, 1))
    paint = colour / light.clamp(min=0.1 * float(light.mean()))
    return linear_to_srgb(paint / paint.mean() * 0.2)


def _irradiance(shadows: Shadows, mesh: Mesh, face: Tensor, bary: Tensor) -> Float[Tensor, "M 3"]:
    """Light at points of a mesh's faces. The same for both sides of a factor, so that 1 comes out as exactly 1."""
    normals = normalize(on_faces(mesh.normals, mesh.faces_normals, face, bary), dim=-1)
    return shadows.irradiance(on_faces(mesh.verts, mesh.faces, face, bary), normals)


def _same_shape(first: Staged, second: Staged) -> bool:
    one, other = first.mesh, second.mesh
    return torch.equal(one.faces, other.faces) and torch.equal(one.verts, other.verts)


def _as_photographed(gbuffer: GBuffer, staged: Staged) -> GBuffer:
    """Directions and normals as the photographs saw them, for parts whose view dependence goes along with them."""
    still = torch.eye(3, device=staged.turns.device).expand_as(staged.turns)
    if torch.equal(still, staged.turns):
        return gbuffer
    back = staged.turns.index_select(0, gbuffer.part_ids.clamp(min=0).reshape(-1)).view(*gbuffer.mask.shape, 3, 3)
    back = torch.where(gbuffer.mask[..., None, None], back, torch.eye(3, device=back.device))
    # Rows times the rotation: the inverse turn.
    directions, normals = (torch.einsum("bhwi,bhwij->bhwj", d, back) for d in (gbuffer.ray_dirs, gbuffer.normals))
    return replace(gbuffer, ray_dirs=directions, normals=normals)
