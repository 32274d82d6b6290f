"""`neuraltex prepare` and `neuraltex align`: a mesh and photographs without cameras to a capture folder with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from neuraltex.cameras.lookup import IMAGE_SUFFIXES, image_size, list_photographs
from neuraltex.cameras.nerfstudio import write_transforms
from neuraltex.capture.solve.consistency import load_views
from neuraltex.capture.solve.correspondences import fit_correspondences, read_correspondences
from neuraltex.capture.solve.ingest import Picture, add_masks, ingest_photos, ingest_video
from neuraltex.capture.solve.mapping import MappingConfig, map_photographs
from neuraltex.capture.solve.register import (
    LEAST_SCORE,
    Registration,
    RegistrationError,
    Scorer,
    register,
)
from neuraltex.capture.solve.report import write_report
from neuraltex.capture.solve.solution import (
    SOLVE_FILE,
    Solution,
    camera_frames,
    read_solution,
    write_solution,
)
from neuraltex.errors import InputError, InputWarning, NeuraltexError
from neuraltex.files import is_occupied, whole_folder
from neuraltex.geometry import load_scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.scene import Scene
from neuraltex.optional import require

Report = Callable[[str, int, int], None]

FEW_REGISTERED = 0.95
MOST_FRAMES = 300


@dataclass(frozen=True)
class Prepared:
    """What `prepare_capture` and `align_capture` made.

    Args:
        folder: the capture folder: `images/`, `transforms.json` in the mesh's frame, `report.html`, and the solve in
            its own frame, `solve.json` and `points.npz`.
        num_registered: photographs with a camera.
        num_given: photographs that were to get one.
        error_px: mean reprojection error in pixels.
        registration: how the cameras were laid onto the mesh.
    """

    folder: Path
    num_registered: int
    num_given: int
    error_px: float
    registration: Registration


def _silent(stage: str, done: int, total: int) -> None:
    pass


def prepare_capture(
    mesh_path: Path,
    photos: Path,
    output: Path,
    *,
    masks: Path | None = None,
    points: Path | None = None,
    most_frames: int = MOST_FRAMES,
    config: MappingConfig | None = None,
    report: Report = _silent,
) -> Prepared:
    """Solve a video or photographs for their cameras, and register these to a mesh.

    Args:
        mesh_path: an OBJ, GLB, glTF, PLY, STL or OFF file of what was photographed, or of a part of it.
        photos: a video, or a folder of photographs of one size.
        output: the capture folder to make.
        masks: a folder of masks, or a video of them; what they exclude is not looked at.
        points: a JSON file of pixels and the vertices they show, instead of the search for a registration.
        most_frames: of a video, how many to use at most.
        config: how the photographs are solved.
        report: called with a stage, how much of it is done, and of how much.

    Raises:
        InputError: something is missing or broken, or the photographs cannot be solved; nothing is left behind. Where
            only `points` is unusable, the solve is kept.
        RegistrationError: the solve cannot be laid onto the mesh. `output` then holds the solve and a report with a
            picture of the best attempt, but no `transforms.json`, so nothing can be trained on it; `align_capture`
            goes on from there.
        NeuraltexError: `output` holds something, or pycolmap or SciPy is not installed.
    """
    photos, output = Path(photos), Path(output)
    for module in ("pycolmap", "scipy.spatial"):
        require(module, "poses")
    if is_occupied(output):
        raise NeuraltexError(
            f"{output} exists already; name another folder, or go on with the solve in it with neuraltex align"
        )
    scene, mesh = _load_mesh(mesh_path)
    with whole_folder(output) as (folder, keep):
        solution = _solve(photos, folder, masks, most_frames, config, report)
        keep()
        prepared = _register(mesh, scene, solution, folder, points, report)
    _warn_of_lost(photos, solution)
    return replace(prepared, folder=output)


def align_capture(mesh_path: Path, folder: Path, *, points: Path | None = None, report: Report = _silent) -> Prepared:
    """Register a capture folder that `prepare_capture` solved to a mesh, anew.

    Args:
        mesh_path: the mesh.
        folder: holds `solve.json` and `points.npz`; `transforms.json` and `report.html` are written anew.
        points: a JSON file of pixels and the vertices they show, instead of the search for a registration.
        report: called with a stage, how much of it is done, and of how much.

    Raises:
        InputError: the folder holds no solve, or a file is broken.
        RegistrationError: the solve cannot be laid onto the mesh. `report.html` shows the best attempt; no
            `transforms.json` is left.
    """
    folder = Path(folder)
    if not (folder / SOLVE_FILE).is_file():
        raise InputError(folder, f"holds no {SOLVE_FILE}", hint="make one with neuraltex prepare")
    scene, mesh = _load_mesh(mesh_path)
    return _register(mesh, scene, read_solution(folder), folder, points, report)


def solve_capture(
    photos: Path,
    output: Path,
    *,
    masks: Path | None = None,
    most_frames: int = MOST_FRAMES,
    config: MappingConfig | None = None,
    report: Report = _silent,
) -> None:
    """Solve a video or photographs for their cameras where there is no mesh; its world is the solver's own.

    Args:
        photos: a video, or a folder of photographs of one size.
        output: the capture folder to make, as `prepare_capture` does but for the report of a registration.
        masks: a folder of masks, or a video of them; what they exclude is not looked at.
        most_frames: of a video, how many to use at most.
        config: how the photographs are solved.
        report: called with a stage, how much of it is done, and of how much.

    Raises:
        InputError: something is missing or broken, or the photographs cannot be solved; nothing is left behind.
        NeuraltexError: `output` holds something, or pycolmap is not installed.
    """
    photos, output = Path(photos), Path(output)
    require("pycolmap", "poses")
    if is_occupied(output):
        raise NeuraltexError(f"{output} exists already; use it in place of {photos}, or move it away to solve anew")
    with whole_folder(output) as (folder, _):
        solution = _solve(photos, folder, masks, most_frames, config, report)
        write_transforms(folder / "transforms.json", camera_frames(folder, solution.frames, solution.w2c))
    _warn_of_lost(photos, solution)


def _solve(
    photos: Path, folder: Path, masks: Path | None, most_frames: int, config: MappingConfig | None, report: Report
) -> Solution:
    """Pictures, masks and the solve in a folder."""
    report("reading frames", 0, 1)
    pictures, originals, ordered = _ingest(photos, folder, most_frames)
    if masks is not None:
        size = image_size(folder / pictures[0].name)
        pictures = add_masks(pictures, masks, folder, size, originals)
    report("reading frames", 1, 1)
    names = [picture.name for picture in pictures]
    solved = map_photographs(
        folder,
        names,
        masks=[picture.mask for picture in pictures],
        ordered=ordered,
        source=photos,
        config=config or MappingConfig(),
        report=report,
    )
    solution = _with_pictures(solved, pictures)
    write_solution(folder, solution)
    return solution


def _register(
    mesh: Mesh, scene: Scene, solution: Solution, folder: Path, points: Path | None, report: Report
) -> Prepared:
    transforms = folder / "transforms.json"
    views = load_views(folder, solution.frames)
    try:
        if points is not None:
            registration = _register_by_points(mesh, solution, Scorer(mesh, solution, views), points)
        else:
            registration = register(mesh, solution, views, scene=scene, folder=folder, report=report)
    except RegistrationError as error:
        # Cameras of an earlier attempt belong to another mesh.
        transforms.unlink(missing_ok=True)
        write_report(folder / "report.html", mesh, solution, views, error.attempt, problem=str(error))
        raise
    moved = registration.similarity.move_cameras(solution.w2c)
    write_report(folder / "report.html", mesh, solution, views, registration)
    write_transforms(transforms, camera_frames(folder, solution.frames, moved))
    return Prepared(folder, len(solution.frames), solution.num_given, solution.error_px, registration)


def _register_by_points(mesh: Mesh, solution: Solution, scorer: Scorer, points: Path) -> Registration:
    given = read_correspondences(points, solution, mesh.verts.double().numpy())
    similarity = fit_correspondences(given, solution, path=points)
    score = scorer(similarity)
    if score.total < LEAST_SCORE:
        # The user's word counts, but not in silence: a mesh may be too coarse for the score.
        warnings.warn(
            f"{points}: the registration by these points scores {score}, at least {LEAST_SCORE} is usual; look at "
            "report.html before training",
            InputWarning,
            stacklevel=2,
        )
    return Registration(similarity, score, "points")


def _load_mesh(mesh_path: Path) -> tuple[Scene, Mesh]:
    scene = load_scene(mesh_path)
    mesh = scene.flatten()
    if not bool((mesh.verts[mesh.faces].amax(1) > mesh.verts[mesh.faces].amin(1)).any()):
        raise InputError(mesh_path, "the mesh has no area")
    return scene, mesh


def _ingest(photos: Path, folder: Path, most_frames: int) -> tuple[list[Picture], list[str], bool]:
    """Pictures, what masks call them, and whether they were taken one after the other."""
    if not photos.exists():
        raise InputError(photos, "does not exist", hint="pass a video or a folder of photographs")
    if photos.is_dir():
        pictures = ingest_photos(photos, folder)
        found = list_photographs(photos)
        return pictures, [path.name for path in found], False
    if photos.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(photos, "is one photograph", hint="pass the folder of all photographs, or a video")
    pictures = ingest_video(photos, folder, most=most_frames)
    return pictures, [Path(picture.name).name for picture in pictures], True


def _with_pictures(solution: Solution, pictures: list[Picture]) -> Solution:
    """The solved frames with their masks and times."""
    by_name = {picture.name: picture for picture in pictures}
    frames = tuple(
        replace(
            frame,
            mask=by_name[frame.name].mask,
            frame_index=by_name[frame.name].frame_index,
            seconds=by_name[frame.name].seconds,
        )
        for frame in solution.frames
    )
    return replace(solution, frames=frames)


def _warn_of_lost(photos: Path, solution: Solution) -> None:
    share = len(solution.frames) / solution.num_given
    if share < FEW_REGISTERED:
        warnings.warn(
            f"{photos}: {len(solution.frames)} of {solution.num_given} frames got a camera; the others are left out",
            InputWarning,
            stacklevel=3,
        )
