"""The command `neuraltex reconstruct`, for the command line to take up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from neuraltex.capture.reconstruct.build import ReconstructConfig, check_output, lacks_cameras, reconstruct_mesh
from neuraltex.capture.solve.command import StageBars
from neuraltex.capture.solve.mapping import MappingConfig
from neuraltex.capture.solve.prepare import MOST_FRAMES, solve_capture
from neuraltex.optional import require

_DEFAULTS = ReconstructConfig()


@dataclass(frozen=True)
class Reconstruct:
    """Make a mesh to train on where there is none, out of photographs with masks of the object.

    With masks it is their visual hull: right in outline, but every hollow that no view sees through is filled (eye
    sockets, the inside of a cup). The renderer forgives that: it learns what the surface looks like, not where it is.
    Without masks it is a rough surface through the sparse points of the solve, made up where there are none. It is no
    photogrammetry; for a good mesh use a program for that, and export mesh and cameras in one frame.

    Where the photographs have no cameras, these are solved first, into the folder OUTPUT_capture beside the mesh
    (output.obj: output_capture), to train with.

    Args:
        photos: a video, a folder of images, or a capture folder that holds its own cameras.
        output: the OBJ file to write, in the cameras' world, with texture coordinates.
        cameras: transforms.json, COLMAP model folder or poses_bounds.npy; not needed where `photos` holds them.
        masks: folder of masks of the object, one an image, or a video of masks; not needed where the camera file or an
            alpha channel tells them. White is object. The object must be whole in most pictures, seen from all around.
        faces: triangles of the mesh, at most.
        resolution: voxels along the longest side of the hull.
        misses: how many masks may wrongly cut a point away; one in 32 of them where left out. More keeps thin things
            where masks or cameras are a little off; fewer cuts closer.
        size: longer side in pixels at which masks are looked at.
        seed: of the solve, where cameras are missing.
    """

    photos: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    cameras: Path | None = None
    masks: Path | None = None
    faces: int = _DEFAULTS.faces
    resolution: int = _DEFAULTS.resolution
    misses: int | None = _DEFAULTS.misses
    size: int = _DEFAULTS.size
    seed: int = 0

    def __call__(self) -> None:
        config = ReconstructConfig(self.faces, self.resolution, self.misses, self.size)
        check_output(self.output)
        console = Console(stderr=True)
        photos, masks = self.photos, self.masks
        with StageBars(console) as bars:
            if self.cameras is None and lacks_cameras(photos):
                # Before minutes are spent on solving cameras.
                require("open3d" if masks is None else "skimage.measure", "reconstruct")
                photos, masks = self.output.with_name(f"{self.output.stem}_capture"), None
                solve_capture(
                    self.photos,
                    photos,
                    masks=self.masks,
                    most_frames=MOST_FRAMES,
                    config=MappingConfig(seed=self.seed),
                    report=bars,
                )
            made = reconstruct_mesh(photos, self.output, cameras=self.cameras, masks=masks, config=config, report=bars)
        if made.num_masks:
            console.print(f"visual hull of {made.num_masks} masks, {made.num_faces} faces; hollows are filled")
        else:
            console.print(
                f"rough surface through {made.num_points} sparse points, {made.num_faces} faces: look at it before "
                "training; masks of the object give a better one (--masks)"
            )
        given = "" if self.cameras is None else f" --cameras {self.cameras}"
        given += "" if masks is None else f" --masks {masks}"
        console.print(f"mesh: {self.output}; now: neuraltex train {self.output} {photos}{given} -o RUN")
