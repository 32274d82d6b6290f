"""From a capture with cameras to a mesh file that can be trained on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.lookup import list_photographs
from neuraltex.cameras.read import ACCEPTED, find_cameras
from neuraltex.cameras.survey import survey_cameras
from neuraltex.capture.dataset import load_capture
from neuraltex.capture.reconstruct.cloud import find_points, surface_through
from neuraltex.capture.reconstruct.hull import Report, carve
from neuraltex.capture.reconstruct.silhouettes import find_silhouettes
from neuraltex.capture.reconstruct.surface import finish_surface
from neuraltex.errors import InputError, InputWarning, SettingError
from neuraltex.geometry import Scene
from neuraltex.geometry.obj_writer import write_obj

# A mask in so many may be wrong where nothing else is asked for.
VIEWS_A_MISS = 32
# Seen from less of a circle than this, a ball's hull has more than 1.5 times its volume.
FEW_SIDES_DEG = 60.0


@dataclass(frozen=True)
class ReconstructConfig:
    """How a mesh is made of photographs.

    Args:
        faces: triangles of the mesh, at most.
        resolution: voxels along the longest side of the hull.
        misses: how many masks may wrongly cut a point away; one in 32 of them where left out.
        size: longer side in pixels at which masks are looked at.
    """

    faces: int = 20_000
    resolution: int = 192
    misses: int | None = None
    size: int = 1024

    def __post_init__(self) -> None:
        if self.faces < 100:
            raise SettingError(f"--faces {self.faces}: expected at least 100")
        if not 16 <= self.resolution <= 512:
            raise SettingError(f"--resolution {self.resolution}: expected 16 to 512 voxels")
        if self.misses is not None and self.misses < 0:
            raise SettingError(f"--misses {self.misses}: expected 0 or more masks")
        if self.size < 16:
            raise SettingError(f"--size {self.size}: expected at least 16 pixels")


@dataclass(frozen=True)
class Reconstruction:
    """What `reconstruct_mesh` made.

    Args:
        scene: as it was written.
        num_masks: masks that the visual hull was carved with; 0 where the surface goes through sparse points.
        num_points: sparse points that it goes through, else 0.
    """

    scene: Scene
    num_masks: int = 0
    num_points: int = 0

    @property
    def num_faces(self) -> int:
        """Triangles of the mesh."""
        return sum(len(part.faces) for part in self.scene.parts)


def _silent(stage: str, done: int, total: int) -> None:
    pass


@torch.no_grad()
def reconstruct_mesh(
    photos: Path,
    output: Path,
    *,
    cameras: Path | None = None,
    masks: Path | None = None,
    config: ReconstructConfig | None = None,
    report: Report = _silent,
) -> Reconstruction:
    """Write a mesh of what photographs with cameras show, in the cameras' world, with texture coordinates.

    With masks it is their visual hull: closed, and right in outline, with every hollow filled that no view sees
    through. Without, it is a rough surface through the sparse points that a solve left beside the cameras.

    Args:
        photos: as for `load_capture`.
        output: an OBJ file, written whole or not at all.
        cameras: as for `load_capture`.
        masks: as for `load_capture`.
        config: how.
        report: called with a stage, how much of it is done, and of how much.

    Raises:
        InputError: something is missing or broken, there are neither masks nor points, or they make no surface.
        SettingError: `output` is no OBJ file, or more misses are allowed than there are masks.
        NeuraltexError: a package of the extra `reconstruct` is not installed.
    """
    photos, output, config = Path(photos), Path(output), config or ReconstructConfig()
    check_output(output)
    report("reading frames", 0, 1)
    capture = load_capture(photos, cameras, size=config.size, masks=masks)
    report("reading frames", 1, 1)
    if capture.masks is not None:
        silhouettes = find_silhouettes(capture, source=masks or photos)
        num_masks, num_points = len(silhouettes.distance), 0
        misses = num_masks // VIEWS_A_MISS if config.misses is None else config.misses
        if misses > num_masks - 2:
            raise SettingError(f"--misses {misses}: expected at most {num_masks - 2}, {num_masks} masks show something")
        _warn_of_few_sides(capture.cameras, photos)
        verts, faces = carve(
            silhouettes, resolution=config.resolution, misses=misses, source=masks or photos, report=report
        )
    else:
        points = find_points(_camera_file(photos, cameras))
        if points is None:
            raise InputError(
                photos,
                "has neither masks nor sparse points, and a mesh needs one of them",
                hint="pass --masks with a folder that holds a mask of the object for every photograph, or --cameras "
                "with a COLMAP model folder that holds points3D",
            )
        num_masks, num_points = 0, len(points)
        report("surface", 0, 1)
        verts, faces = surface_through(points, capture.cameras, source=photos)
        report("surface", 1, 1)
    report("faces and UVs", 0, 1)
    scene = finish_surface(verts, faces, num_faces=config.faces, name=output.stem, source=masks or photos)
    write_obj(scene, output)
    report("faces and UVs", 1, 1)
    return Reconstruction(scene, num_masks, num_points)


def _warn_of_few_sides(cameras: Camera, photos: Path) -> None:
    sweep = survey_cameras(cameras).sweep_deg
    if sweep < FEW_SIDES_DEG:
        warnings.warn(
            f"{photos}: the cameras go round {sweep:.0f} degrees of the object only, so the hull is drawn out towards "
            "them and away from them; photographs from other sides would end it",
            InputWarning,
            stacklevel=3,
        )


def check_output(output: Path) -> None:
    """Refuse what cannot be written before minutes are spent on it.

    Raises:
        SettingError: the name does not end in .obj, or is that of a folder.
    """
    if output.suffix.lower() != ".obj":
        raise SettingError(f"--output {output}: expected a file name that ends in .obj")
    if output.is_dir():
        raise SettingError(f"--output {output}: is a folder, a file name was expected")


def lacks_cameras(photos: Path) -> bool:
    """Whether there are photographs or a video, but no cameras beside them."""
    if photos.is_dir():
        pictures = list_photographs(photos)
        return bool(pictures) and find_cameras(photos) is None
    return photos.is_file()


def _camera_file(photos: Path, cameras: Path | None) -> Path:
    """Where `load_capture` has found the cameras."""
    found = find_cameras(photos) if cameras is None else find_cameras(cameras) if cameras.is_dir() else cameras
    if found is None:
        raise InputError(photos, "holds no cameras", hint=f"pass --cameras with {ACCEPTED}")
    return found
