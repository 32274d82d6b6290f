"""Registration of a solve to the frame of a mesh: never silently wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neuraltex.capture.solve.consistency import NUM_SAMPLES, Views, depth_agreement, mesh_depths, photo_consistency
from neuraltex.capture.solve.similarity import Similarity
from neuraltex.capture.solve.solution import Solution
from neuraltex.capture.solve.starts import Candidate, find_candidates, same_place
from neuraltex.capture.solve.surface import Surface, sample_mesh
from neuraltex.capture.solve.texture import find_by_texture
from neuraltex.capture.solve.textured import read_textured
from neuraltex.errors import NeuraltexError
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.scene import Scene

Array = npt.NDArray[np.float64]
Report = Callable[[str, int, int], None]

LEAST_SCORE = 0.35
# The best must beat every different one by this share of its own score.
MARGIN = 0.15
NUM_SCORED = 5
COARSE_SAMPLES, FINE_SAMPLES = 3000, 60_000


@dataclass(frozen=True)
class Score:
    """How well cameras and mesh agree.

    Args:
        photo: `photo_consistency`.
        depth: `depth_agreement`.
    """

    photo: float
    depth: float

    @property
    def total(self) -> float:
        """Both must be good: their product, 0 at least."""
        return max(self.photo, 0.0) * self.depth

    def __str__(self) -> str:
        return f"{self.total:.2f} (colours agree {self.photo:.2f}, depths agree {self.depth:.2f})"


@dataclass(frozen=True)
class Registration:
    """A solve laid onto a mesh.

    Args:
        similarity: solver's frame to the mesh's.
        score: how well it fits.
        way: how it was found: "given", "points", "texture" or "geometry".
        runner_up: score of the best different way to lay it, or None.
    """

    similarity: Similarity
    score: Score
    way: str
    runner_up: Score | None = None


class RegistrationError(NeuraltexError):
    """The solve could not be laid onto the mesh; carries the best attempt, for a picture.

    Args:
        text: one sentence.
        attempt: the best that was found.
    """

    def __init__(self, text: str, attempt: Registration) -> None:
        super().__init__(text)
        self.attempt = attempt


class Scorer:
    """Scores registrations of one solve to one mesh.

    Args:
        mesh: on the CPU.
        solution: cameras and cloud.
        views: photographs of some of the cameras.
    """

    def __init__(self, mesh: Mesh, solution: Solution, views: Views) -> None:
        self.mesh, self.solution, self.views = mesh, solution, views
        self.surface = sample_mesh(mesh, NUM_SAMPLES)
        self.seen = np.zeros((len(views.which), len(solution.points)), np.bool_)
        for row, frame in enumerate(views.which):
            self.seen[row, solution.observations[solution.observations[:, 1] == frame, 0]] = True

    def __call__(self, similarity: Similarity) -> Score:
        """Score of a registration."""
        cameras = self.views.cameras(similarity.move_cameras(self.views.w2c))
        depths = mesh_depths(self.mesh, cameras, near=1e-3 * self.surface.size)
        photo = photo_consistency(self.surface, self.views, cameras, depths)
        depth = 1.0
        if len(self.solution.points):
            moved = similarity.apply(self.solution.points)
            depth = depth_agreement(self.surface, cameras, depths, moved, self.seen)
        return Score(photo, depth)


@torch.no_grad()
def register(
    mesh: Mesh, solution: Solution, views: Views, *, scene: Scene, folder: Path, report: Report
) -> Registration:
    """Find the similarity that takes a solve to the frame of a mesh.

    First it is checked whether they share a frame already. Then, where the mesh's file names a texture, features of it
    are looked for in the photographs. At last the sparse cloud is laid onto the surface from many starts, and the
    photographs decide between the results.

    Args:
        mesh: what was photographed, or a part of it.
        solution: cameras and cloud.
        views: photographs of some of the cameras.
        scene: what the mesh was made from, with its materials and its file.
        folder: the capture folder, where the photographs lie.
        report: called with a stage, how much of it is done, and of how much.

    Raises:
        RegistrationError: nothing fits, the mesh is a mirror image, or several ways fit alike.
        InputError: a photograph is missing or broken.
        NeuraltexError: SciPy is not installed.
    """
    scorer = Scorer(mesh, solution, views)
    report("registering", 0, 3)
    given = scorer(Similarity.identity())
    coarse, fine = sample_mesh(mesh, COARSE_SAMPLES), sample_mesh(mesh, FINE_SAMPLES, seed=1)
    if given.total >= LEAST_SCORE:
        return Registration(Similarity.identity(), given, "given")
    textured = read_textured(scene)
    if textured is not None:
        ways = find_by_texture(textured, solution, fine, folder=folder, report=report)
        scored = sorted(((scorer(way), way) for way in ways), key=lambda entry: -entry[0].total)
        if scored and scored[0][0].total >= LEAST_SCORE:
            return Registration(scored[0][1], scored[0][0], "texture")
    report("registering", 1, 3)
    ranked = _ranked(find_candidates(solution, coarse, fine, most=NUM_SCORED), scorer)
    report("registering", 2, 3)
    mirror = _mirrored(mesh)
    reflected = _ranked(
        find_candidates(
            solution, sample_mesh(mirror, COARSE_SAMPLES), sample_mesh(mirror, FINE_SAMPLES, seed=1), most=NUM_SCORED
        ),
        Scorer(mirror, solution, views),
    )
    report("registering", 3, 3)
    if not ranked:
        ranked = [(given, Similarity.identity())]
    return _decided(ranked, reflected, scorer.surface, scene.source)


def _ranked(candidates: list[Candidate], scorer: Scorer) -> list[tuple[Score, Similarity]]:
    scored = [(scorer(candidate.similarity), candidate.similarity) for candidate in candidates]
    return sorted(scored, key=lambda entry: -entry[0].total)


def _decided(
    ranked: list[tuple[Score, Similarity]],
    reflected: list[tuple[Score, Similarity]],
    surface: Surface,
    mesh_path: Path,
) -> Registration:
    best, similarity = ranked[0]
    second = next((score for score, other in ranked[1:] if not same_place(other, similarity, surface)), None)
    found = Registration(similarity, best, "geometry", second)
    mirror = reflected[0][0] if reflected else Score(0.0, 0.0)
    advice = "give correspondences with --points, or a mesh of what the photographs show"
    if mirror.total >= LEAST_SCORE and mirror.total * (1 - MARGIN) > best.total:
        raise RegistrationError(
            f"{mesh_path}: the mesh is a mirror image of what was photographed: it fits with a score of "
            f"{best}, its reflection with {mirror}; negate one coordinate when exporting it",
            found,
        )
    if best.total < LEAST_SCORE:
        raise RegistrationError(
            f"{mesh_path}: the mesh could not be laid onto what was photographed: the best fit scores {best}, at least "
            f"{LEAST_SCORE} is needed; {advice}",
            found,
        )
    if second is not None and second.total > (1 - MARGIN) * best.total:
        raise RegistrationError(
            f"{mesh_path}: the mesh fits what was photographed in several ways: the best scores {best}, another "
            f"{second}; {advice}",
            found,
        )
    return found


def _mirrored(mesh: Mesh) -> Mesh:
    """The mesh with x negated about its middle, wound the other way round."""
    verts = mesh.verts.clone()
    verts[:, 0] = verts[:, 0].amin() + verts[:, 0].amax() - verts[:, 0]
    flipped = replace(
        mesh, faces=mesh.faces.flip(1), faces_uv=mesh.faces_uv.flip(1), faces_normals=mesh.faces_normals.flip(1)
    )
    return flipped.with_verts(verts)
