"""Frames of one scene after another, as 8-bit pictures: on a GPU captured once and replayed."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from neuraltex.cameras.camera import Camera
from neuraltex.colours import linear_to_srgb, srgb_to_linear
from neuraltex.execution import compile_in_place, pick_execution
from neuraltex.geometry import Mesh, Poser
from neuraltex.pipeline import render
from neuraltex.raster import opposite_corners, rasterize
from neuraltex.shading import Shader, coloured

# Coverage is counted on so many times the rows and columns.
FINER = 4


class FrameRenderer:
    """Renders a trained scene from one camera after another.

    On a GPU a frame is a CUDA graph, from projecting the vertices to the 8-bit picture; a graph is captured for each
    picture size and batch size that comes. The scene must not be changed meanwhile, but by `pose`; mirror images stay
    where they were. `mesh` is what frames show, in the pose that it is in.

    Args:
        mesh: the scene's flat buffers, on the shader's device.
        poser: of the mesh before training corrected it, where the mesh will be put into poses; None where it rests.
        shader: what was learned; it is copied.
        execution: as in `pick_execution`.
        seconds: about how long the device will be busy with frames, which says whether compiling pays.
        alpha: pictures of the mesh alone, with a fourth channel that says how much of each pixel it covers.
        gain: factors on red, green and blue light.
        finer: render on so many times the rows and columns and average light over each pixel.

    Raises:
        SettingError: an execution that cannot be had.
        ValueError: `finer` is below 1.
    """

    @torch.no_grad()
    def __init__(
        self,
        mesh: Mesh,
        shader: Shader,
        *,
        poser: Poser | None = None,
        execution: str = "auto",
        seconds: float = 0.0,
        alpha: bool = False,
        gain: tuple[float, float, float] = (1.0, 1.0, 1.0),
        finer: int = 1,
    ) -> None:
        if finer < 1:
            raise ValueError(f"finer: expected 1 or more, got {finer}")
        device = mesh.verts.device
        if shader.interreflections and mesh.field is None:
            mesh = mesh.with_field()
        self.shape, self.poser = mesh, poser
        wanted = shader.config.num_conditions if shader.detail is not None else 0
        condition = torch.zeros(wanted, device=device) if wanted else None
        # Captured frames read these buffers, so a pose is copied into them; they are nobody else's.
        posed = mesh if poser is None else poser.pose(poser.rest.verts.clone(), mesh)
        field = coloured(mesh.field, shader.texture) if shader.interreflections and mesh.field is not None else None
        self.mesh = replace(posed, condition=condition, field=field)
        self.shader = copy.deepcopy(shader).requires_grad_(False).eval()
        if shader.config.fade_levels:
            self.shader.texture.keep_bands()
        self.execution = pick_execution(execution, device, seconds=seconds)
        self.opposite, self.alpha, self.finer = opposite_corners(mesh.faces), alpha, finer
        if device.type == "cuda":
            # What the network computes in anyway, cast and laid out once instead of in every frame.
            self.shader.decoder.to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.execution == "compile":
            compile_in_place(self.shader.decoder)
        # What is rendered is encoded, about as the 2.2th root of light.
        self.gain = torch.tensor(gain, device=device) ** (1 / 2.2)
        self._graphs: dict[tuple[int, int, int], _Graph] = {}

    @torch.no_grad()
    def pose(self, verts: Float[Tensor, "V 3"], condition: Float[Tensor, "E"] | None = None) -> None:
        """Put the mesh into another pose, for all frames to come; those captured are replayed all the same.

        Args:
            verts: `[V, 3]` world positions, of the vertices of the mesh before training corrected it; on any device.
            condition: `[E]` the surface's state, where detail was learned that depends on it; zeros where None.

        Raises:
            ValueError: the renderer was made without a poser.
        """
        if self.poser is None:
            raise ValueError("poser: expected one, got None; a renderer without one keeps its mesh at rest")
        # Once, not within each frame: one pose may be seen from many sides.
        posed = self.poser.pose(verts.to(self.mesh.verts, non_blocking=True), self.shape)
        self.mesh.verts.copy_(posed.verts)
        self.mesh.normals.copy_(posed.normals)
        if self.mesh.condition is not None:
            told = torch.zeros_like(self.mesh.condition) if condition is None else condition
            self.mesh.condition.copy_(told, non_blocking=True)

    @torch.no_grad()
    def __call__(self, cameras: Camera) -> UInt8[Tensor, "B H W C"]:
        """Render.

        Args:
            cameras: a batch `[B]`.

        Returns:
            `[B, H, W, 3]` sRGB-encoded, 0 to 255; black where nothing was learned: behind the mesh of a run that was
            trained with masks. With alpha `[B, H, W, 4]`, colour not multiplied by it. On a GPU the next frame of the
            same size overwrites it.
        """
        if self.execution == "eager":
            return self._frame(cameras)
        size = (len(cameras.K), cameras.height, cameras.width)
        if size not in self._graphs:
            self._graphs[size] = _Graph(self, cameras)
        return self._graphs[size](cameras)

    def _frame(self, cameras: Camera) -> Tensor:
        fine = cameras.resize(cameras.width * self.finer, cameras.height * self.finer) if self.finer > 1 else cameras
        rendering = render(self.mesh, fine, self.shader, opposite=self.opposite)
        rgb, mask = (rendering.rgb * self.gain).clamp(0, 1), rendering.gbuffer.mask
        if self.shader.environment is None and not self.alpha:
            rgb = rgb * mask[..., None]
        if self.finer > 1:
            counted = mask.float() if self.alpha else torch.ones_like(rgb[..., 0])
            rgb, mask = _mean_light(rgb, counted, self.finer)
        if self.alpha:
            rgb = torch.cat([_beyond_the_edge(rgb, mask), self._coverage(cameras)], dim=-1)
        return (rgb * 255).round().to(torch.uint8)

    def _coverage(self, cameras: Camera) -> Tensor:
        """`[B, H, W, 1]` how much of each pixel the mesh covers, counted on a finer grid.

        Blending silhouettes between neighbours, which is what gives the network's input its soft edges, is off by 0.13
        of a pixel there in the mean, a count of 16 by 0.02.
        """
        fine = cameras.resize(cameras.width * FINER, cameras.height * FINER)
        seen = rasterize(self.mesh.verts, self.mesh.faces, fine).pix_to_face >= 0
        return avg_pool2d(seen[:, None].float(), FINER).permute(0, 2, 3, 1)


def _mean_light(rgb: Tensor, counted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Colour of squares of pixels, by the mean of the light of those that count; and where any does."""
    light = srgb_to_linear(rgb) * counted[..., None]
    share = avg_pool2d(counted[:, None], size)
    mean = avg_pool2d(light.permute(0, 3, 1, 2), size) / share.clamp(min=1e-6)
    return linear_to_srgb(mean).permute(0, 2, 3, 1), share[:, 0] > 0


def _beyond_the_edge(rgb: Tensor, mask: Tensor) -> Tensor:
    """Colour of the mesh for pixels whose centre it misses but whose corner it may cover: that of their neighbours."""
    seen = mask[:, None].float()
    colour = avg_pool2d(rgb.permute(0, 3, 1, 2) * seen, 3, stride=1, padding=1)
    share = avg_pool2d(seen, 3, stride=1, padding=1)
    spread = (colour / share.clamp(min=1e-6)).permute(0, 2, 3, 1)
    return torch.where(mask[..., None], rgb, spread)


class _Graph:
    """One captured frame."""

    def __init__(self, renderer: FrameRenderer, cameras: Camera) -> None:
        self.cameras = replace(cameras, K=cameras.K.clone(), w2c=cameras.w2c.clone())
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                renderer._frame(self.cameras)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.rgb = renderer._frame(self.cameras)

    def __call__(self, cameras: Camera) -> Tensor:
        self.cameras.K.copy_(cameras.K, non_blocking=True)
        self.cameras.w2c.copy_(cameras.w2c, non_blocking=True)
        self.graph.replay()
        return self.rgb
