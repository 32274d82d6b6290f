"""The baseline without learning: photographs laid over the proxy and blended, each where it looks as the camera does.

Source: C. Buehler et al., "Unstructured Lumigraph Rendering", SIGGRAPH 2001: penalties by angle and resolution
(section 4.2 and 4.3), and blending weights that reach zero where a photograph drops out of the best k (section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, normalize

from neuraltex.cameras.camera import Camera
from neuraltex.evaluation.visibility import DEPTH_TOLERANCE, depth_edges, inverse_depth
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import antialias, make_gbuffer, opposite_corners, rasterize
from neuraltex.training.moving import MovingMesh
from neuraltex.training.sampler import Photos

# How far a photograph is trusted beside depth edges, where the proxy is not exact. Wider bands cost 0.3 dB and more.
EDGE_TRUST = 0.1
# Radians that half the resolution costs, and what is added to every penalty, so that the best of all is finite.
RESOLUTION_COST, LEAST_PENALTY = 0.1, 2e-3
# Where nothing of the mesh is seen, the photographs are looked up so far away, in distances from camera to scene.
FAR = 100.0
# Pixels, and pixels times photographs, that are worked on at a time.
CHUNK, PAIRS = 1 << 16, 1 << 21


@dataclass(frozen=True)
class _Points:
    """What some pixels of one view look at.

    Args:
        places: `[N, P, 3]` where each photograph has them, world; they differ where the mesh moves.
        seen: `[P]` true on the mesh, false far behind it.
        eye: `[3]` of the view.
        footprint: `[P]` width of the view's pixel there, scene units.
        spread: `[P]` factor on angles between rays to it.
    """

    places: Float[Tensor, "N P 3"]
    seen: Bool[Tensor, "P"]
    eye: Float[Tensor, "3"]
    footprint: Float[Tensor, "P"]
    spread: Float[Tensor, "P"]


class Lumigraph:
    """Renders a view as a blend of the photographs that see the same points from nearly there.

    Args:
        mesh: the proxy's flat buffers, on the photographs' device.
        photos: training photographs.
        num_views: photographs that are blended at a pixel.
        moving: the mesh as each of the photographs shows it, where it moves.
    """

    def __init__(self, mesh: Mesh, photos: Photos, *, num_views: int = 5, moving: MovingMesh | None = None) -> None:
        device, dtype = photos.images.device, mesh.verts.dtype
        self.images, self.num_views = photos.images.contiguous(), min(num_views, len(photos))
        self.cameras = photos.cameras.to(device).to(dtype)
        self.opposite = opposite_corners(mesh.faces)
        self.verts = mesh.verts.detach()[None]
        if moving is not None:
            indices = torch.arange(len(photos), device=device)
            self.verts = torch.stack([shown.verts.detach() for shown in moving.meshes(indices, mesh)])
        distance = (self.cameras.center - mesh.verts.detach().mean(dim=0)).norm(dim=-1)
        self.distance = float(distance.median())
        self._map_photos(mesh, photos)

    @torch.no_grad()
    def _map_photos(self, mesh: Mesh, photos: Photos) -> None:
        """What each photograph sees how far away, how far its pixels can be trusted, and their mean colour.

        `maps` is `[N, 2, H, W]`: `nearest / z`, 0 on the background, as half precision keeps it; and trust in [0, 1].
        """
        count, height, width = self.images.shape[:3]
        device, dtype = self.images.device, mesh.verts.dtype
        self.maps = torch.empty(count, 2, height, width, dtype=torch.float16, device=device)
        self.nearest = torch.ones(count, dtype=dtype, device=device)
        total, number = torch.zeros(3, dtype=torch.float64, device=device), 0.0
        for i in range(count):
            view = photos.view(i)
            fragments = rasterize(self.verts[i % len(self.verts)], mesh.faces, self.cameras[i : i + 1])
            inverse = inverse_depth(fragments)
            if bool(fragments.mask.any()):
                self.nearest[i] = 1 / inverse.max()
            counted = view.weight > 0
            self.maps[i, 0] = (inverse * self.nearest[i])[0]
            self.maps[i, 1] = (torch.where(depth_edges(inverse), EDGE_TRUST, 1.0) * counted)[0]
            total += view.target[counted].double().sum(dim=0)
            number += float(counted.sum())
        self.mean_colour = (total / max(number, 1.0)).to(dtype)

    def __call__(self, mesh: Mesh, cameras: Camera) -> Float[Tensor, "B H W 3"]:
        """Render `[B, H, W, 3]` sRGB-encoded colour.

        Args:
            mesh: the proxy, of the same faces as the one the photographs were laid on.
            cameras: a batch `[B]`.

        Differentiable in: K, w2c, through the points that are looked at; how they are blended carries nothing.
        """
        cameras = cameras.to(mesh.verts.dtype)
        return torch.cat([self._render(mesh, cameras[i : i + 1]) for i in range(len(cameras.K))])

    def _render(self, mesh: Mesh, camera: Camera) -> Float[Tensor, "1 H W 3"]:
        """One view, some pixels at a time."""
        gbuffer = make_gbuffer(mesh, camera)
        fragments = gbuffer.fragments
        flat = (fragments.pix_to_face.reshape(-1), fragments.bary.reshape(-1, 3), gbuffer.ray_dirs.reshape(-1, 3))
        depth = gbuffer.depth.reshape(-1)
        colours, found = [], []
        chunk = min(CHUNK, max(PAIRS // len(self.verts), 1))
        for start in range(0, len(depth), chunk):
            face, bary, ray = (values[start : start + chunk] for values in flat)
            points = self._points(mesh, camera, face, bary, ray, depth[start : start + chunk])
            index, weight = self._best(points)
            colours.append(self._blend(points, index, weight))
            found.append(weight.sum(dim=0) > 0.5)
        size = (1, camera.height, camera.width)
        rgb, known = torch.cat(colours).view(*size, 3), torch.cat(found).view(size)
        for part in (gbuffer.mask, ~gbuffer.mask):
            rgb = torch.where((part & ~known)[..., None], _spread(rgb, part & known, self.mean_colour), rgb)
        return antialias(rgb, fragments, mesh.verts, mesh.faces, self.opposite, camera).clamp(0, 1)

    def _points(
        self,
        mesh: Mesh,
        camera: Camera,
        face: Int[Tensor, "P"],
        bary: Float[Tensor, "P 3"],
        ray: Float[Tensor, "P 3"],
        depth: Float[Tensor, "P"],
    ) -> _Points:
        """The points of the mesh, or far behind it, that pixels look at."""
        seen, eye = face >= 0, camera.center[0]
        behind = eye + FAR * self.distance * ray
        corners = mesh.faces[face.clamp(min=0)]
        verts = self.verts if len(self.verts) > 1 else mesh.verts[None]
        places = torch.where(seen[:, None], (verts[:, corners] * bary[..., None]).sum(dim=-2), behind)
        depth = torch.where(seen, depth, FAR * self.distance)
        spread = torch.where(seen, 1.0, FAR)
        places = places.expand(len(self.images), -1, -1)
        return _Points(places, seen, eye, depth / camera.K[0, 0, 0], spread)

    @torch.no_grad()
    def _best(self, points: _Points) -> tuple[Int[Tensor, "K P"], Float[Tensor, "K P"]]:
        """The photographs to blend at each point, and their weights, which sum to 1, or to 0 where none sees it."""
        size, count = len(points.seen), len(self.images)
        kept = min(self.num_views + 1, count)
        penalty = points.footprint.new_full((kept, size), torch.inf)
        index = torch.zeros(kept, size, dtype=torch.int64, device=penalty.device)
        step = max(PAIRS // size, 1)
        for start in range(0, count, step):
            found = self._penalties(points, slice(start, start + step))
            ids = torch.arange(start, start + len(found), device=index.device)[:, None].expand(-1, size)
            penalty, order = torch.cat([penalty, found]).topk(kept, dim=0, largest=False, sorted=True)
            index = torch.cat([index, ids]).gather(0, order)
        last = penalty[-1] if kept > self.num_views else torch.full_like(penalty[0], torch.inf)
        penalty, index = penalty[: self.num_views], index[: self.num_views]
        weight = torch.where(penalty.isfinite(), (1 - penalty / last).clamp(min=1e-6) / penalty, 0.0)
        return index, weight / weight.sum(dim=0).clamp(min=1e-12)

    def _penalties(self, points: _Points, group: slice) -> Float[Tensor, "G P"]:
        """How badly each of some photographs shows each point; infinite where it does not."""
        cameras, eyes = self.cameras[group], self.cameras.center[group]
        places = points.places[group]
        pixel, depth = cameras.project(places)
        away, ours = normalize(eyes[:, None] - places, dim=-1), normalize(points.eye - places, dim=-1)
        angle = 2 * torch.asin(((away - ours).norm(dim=-1) / 2).clamp(max=1)) * points.spread
        coarser = (depth / cameras.K[:, :1, 0] / points.footprint - 1).clamp(min=0)
        grid = pixel / pixel.new_tensor([cameras.width, cameras.height]) * 2 - 1
        grid = torch.where((depth > 0)[..., None], grid, -2.0)
        maps = self.maps[group].to(pixel.dtype)
        inverse, trust = grid_sample(maps, grid[:, None], padding_mode="zeros", align_corners=False)[:, :, 0].unbind(1)
        # Linear, so that nothing pops where a surface turns out of sight.
        off = (inverse / self.nearest[group, None] * depth - 1).abs() / DEPTH_TOLERANCE
        agrees = torch.where(points.seen, (2 - 2 * off).clamp(0, 1), (inverse == 0).to(off))
        trust = torch.where(depth > 0, trust * agrees, 0.0)
        return (LEAST_PENALTY + angle + RESOLUTION_COST * coarser) / trust

    def _blend(self, points: _Points, index: Int[Tensor, "K P"], weight: Float[Tensor, "K P"]) -> Float[Tensor, "P 3"]:
        """The photographs' colours at each point; black where none sees it."""
        projections = self.cameras.K @ self.cameras.w2c[:, :3]
        rgb = torch.zeros(len(points.seen), 3, dtype=weight.dtype, device=weight.device)
        for rank in range(len(index)):
            photo = index[rank]
            places, matrix = points.places[photo, torch.arange(len(photo), device=photo.device)], projections[photo]
            homogeneous = (matrix[..., :3] * places[:, None]).sum(dim=-1) + matrix[..., 3]
            pixel = homogeneous[:, :2] / homogeneous[:, 2:]
            # Points that are not looked up may lie anywhere.
            pixel = torch.where((weight[rank] > 0)[:, None], pixel, 0.0)
            rgb = rgb + weight[rank, :, None] * _bicubic(self.images, photo, pixel)
        return rgb


def _spread(
    rgb: Float[Tensor, "B H W 3"], known: Bool[Tensor, "B H W"], mean_colour: Float[Tensor, "3"]
) -> Float[Tensor, "B H W 3"]:
    """Colours for all pixels from those that are known: means over ever larger squares, smoothly joined.

    Source: S. J. Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4 (pull and push).
    """
    number = known[:, None].to(rgb)
    levels = [(rgb.permute(0, 3, 1, 2) * number, number)]
    while max(levels[-1][1].shape[2:]) > 1:
        total, number = (avg_pool2d(values, 2, ceil_mode=True) for values in levels[-1])
        levels.append((total, number))
    filled = mean_colour[:, None, None].expand_as(levels[-1][0])
    for total, number in reversed(levels):
        coarse = interpolate(filled, total.shape[2:], mode="bilinear", align_corners=False)
        filled = torch.where(number > 0, total / number.clamp(min=1e-12), coarse)
    return filled.permute(0, 2, 3, 1)


def _bicubic(images: Tensor, photo: Int[Tensor, "P"], pixel: Float[Tensor, "P 2"]) -> Float[Tensor, "P 3"]:
    """Colours of 8-bit photographs between pixel centres, by Catmull and Rom's cubic; the border's beyond it.

    Args:
        images: `[N, H, W, 3]` uint8.
        photo: `[P]` which one.
        pixel: `[P, 2]` column and row.

    Differentiable in: pixel.
    """
    height, width = images.shape[1:3]
    limit = pixel.new_tensor([width, height])
    pixel = torch.minimum(pixel.clamp(min=0), limit) - 0.5
    first = pixel.detach().floor()
    across, down = _cubic_weights(pixel - first).unbind(dim=-1)
    column, row = first.long().unbind(dim=-1)
    flat, rgb = images.view(-1, 3), torch.zeros(len(pixel), 3, dtype=pixel.dtype, device=pixel.device)
    for i in range(4):
        line = (photo * height + (row + i - 1).clamp(0, height - 1)) * width
        for j in range(4):
            texel = flat.index_select(0, line + (column + j - 1).clamp(0, width - 1)).to(pixel.dtype)
            rgb = rgb + (down[i] * across[j])[:, None] * texel
    return rgb / 255


def _cubic_weights(t: Float[Tensor, "*shape"]) -> Float[Tensor, "4 *shape"]:
    """Weights of the four samples around a place that lies `t` after the second of them. Differentiable in: t."""
    squared, cubed = t * t, t * t * t
    return 0.5 * torch.stack(
        [2 * squared - t - cubed, 3 * cubed - 5 * squared + 2, 4 * squared + t - 3 * cubed, cubed - squared]
    )
