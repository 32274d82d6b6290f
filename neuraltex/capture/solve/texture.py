"""Registration by the mesh's own texture: what only its colours tell apart, its shape need not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuraltex.capture.solve.consistency import evenly_spread, read_pictures
from neuraltex.capture.solve.similarity import Similarity, fit_similarity, refine_to_planes
from neuraltex.capture.solve.solution import Solution
from neuraltex.capture.solve.starts import LEAST_POINT_ANGLE_DEG, same_place
from neuraltex.capture.solve.surface import Surface
from neuraltex.capture.solve.textured import Picture, TexturedMesh, cameras_around, pictures_of
from neuraltex.optional import require

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Report = Callable[[str, int, int], None]

MOST_PHOTOS = 16
PHOTO_SIZE = 800
MOST_FEATURES = 3000
# Half of OpenCV's: smooth objects under soft light have weak features only.
CONTRAST = 0.02
# A feature this near to a solved point, in pixels of the photograph as read, is that point.
NEAR_PX = 1.5
# A match must be nearer than the second best by this factor.
RATIO = 0.8
# Of the size of the mesh: how far a pair may be apart and still agree.
AGREEING = 0.015
NUM_TRIPLES = 60_000
MOST_FITS = 1500
# Three pairs may differ this much in the scale they tell before they are not worth a fit.
SCALE_SPREAD = 0.15
# So many different points must agree; and a different place must have at most this share of them.
LEAST_SUPPORT = 12
RIVAL_SHARE = 0.5
# Of the size of the mesh: solved points this near to it after the first fit take part in the refinement.
REFINED_REACH = 0.05


@dataclass(frozen=True)
class Features:
    """Features of one picture with the points they show.

    Args:
        descriptors: `[K, 128]` float32 unit vectors.
        points: `[K, 3]` in the solver's frame for photographs, in the mesh's for its pictures.
        ids: `[K]` which solved point, for photographs; 0 for pictures of the mesh.
    """

    descriptors: npt.NDArray[np.float32]
    points: Array
    ids: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Solved points and the points of the mesh that look like them, many of them wrong.

    Args:
        solved: `[N, 3]` in the solver's frame.
        on_mesh: `[N, 3]` in the mesh's.
        ids: `[N]` which solved point; one may be in several pairs.
    """

    solved: Array
    on_mesh: Array
    ids: npt.NDArray[np.int64]

    def __getitem__(self, kept: Flags) -> Pairs:
        return Pairs(self.solved[kept], self.on_mesh[kept], self.ids[kept])


def find_by_texture(
    textured: TexturedMesh, solution: Solution, surface: Surface, *, folder: Path, report: Report
) -> list[Similarity]:
    """Lay a solve onto a mesh by features that its texture shares with the photographs.

    Args:
        textured: the mesh with the texture of its file.
        solution: cameras and cloud.
        surface: tens of thousands of points of the mesh.
        folder: the capture folder, where the photographs lie.
        report: called with a stage, how much of it is done, and of how much.

    Returns:
        The solver's frame to the mesh's as the features have it, and the same slid along the surface to where the
        cloud fits best: on a smooth surface the first may be the better one. Empty where too few features agree, or
        where they agree on several places.

    Raises:
        InputError: a photograph is missing or broken.
        NeuraltexError: SciPy is not installed.
    """
    pairs = match_texture(textured, solution, folder=folder, report=report)
    similarity = agree(pairs, surface)
    if similarity is None:
        return []
    cloud = solution.points[solution.angles_deg >= LEAST_POINT_ANGLE_DEG]
    distance, _ = surface.nearest(similarity.apply(cloud))
    near = cloud[distance < REFINED_REACH * surface.size]
    refined = refine_to_planes(near, surface, similarity) if len(near) else similarity
    return [similarity, refined]


def match_texture(textured: TexturedMesh, solution: Solution, *, folder: Path, report: Report) -> Pairs:
    """Match features of the photographs with those of pictures of the mesh.

    Args:
        textured: the mesh with the texture of its file.
        solution: cameras and cloud.
        folder: the capture folder, where the photographs lie.
        report: called with a stage, how much of it is done, and of how much.

    Returns:
        Pairs of all photographs with all pictures.

    Raises:
        InputError: a photograph is missing or broken.
        NeuraltexError: SciPy is not installed.
    """
    which = evenly_spread(len(solution.frames), most=MOST_PHOTOS)
    pictures, K = read_pictures(folder, [solution.frames[k] for k in which], size=PHOTO_SIZE)
    photos = [
        _of_photo(picture, K[row], solution, frame)
        for row, (picture, frame) in enumerate(zip(pictures, which, strict=True))
    ]
    cameras = cameras_around(textured.mesh)
    count = len(cameras.w2c)
    found = [Pairs(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, np.int64))]
    for k, picture in enumerate(pictures_of(textured, cameras)):
        report("matching texture", k, count)
        drawn = _of_mesh(picture)
        for photo in photos:
            a, b = match_descriptors(photo.descriptors, drawn.descriptors)
            found.append(Pairs(photo.points[a], drawn.points[b], photo.ids[a]))
    report("matching texture", count, count)
    return Pairs(
        np.concatenate([pairs.solved for pairs in found]),
        np.concatenate([pairs.on_mesh for pairs in found]),
        np.concatenate([pairs.ids for pairs in found]),
    )


def _detect(rgb: npt.NDArray[np.uint8]) -> tuple[Array, npt.NDArray[np.float32]]:
    """`[K, 2]` pixels and `[K, 128]` unit descriptors of the SIFT features of a picture `[H, W, 3]`.

    Source: Lowe 2004 (SIFT); Arandjelovic and Zisserman 2012, section 3, for the square root of the descriptors.
    """
    import cv2

    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    # Its type stubs lack it.
    library: Any = cv2
    detector = library.SIFT_create(nfeatures=MOST_FEATURES, contrastThreshold=CONTRAST)
    keypoints, found = detector.detectAndCompute(gray, None)
    if not keypoints:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    descriptors = np.asarray(found, np.float32)
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    # OpenCV counts from the centre of the first pixel.
    return np.array([keypoint.pt for keypoint in keypoints]) + 0.5, descriptors


def _of_photo(rgb: npt.NDArray[np.uint8], K: Array, solution: Solution, frame: int) -> Features:
    """The features of a photograph that are solved points."""
    pixels, descriptors = _detect(rgb)
    ids = np.unique(solution.observations[solution.observations[:, 1] == frame, 0])
    w2c = solution.frames[frame].w2c
    in_camera = solution.points[ids] @ w2c[:3, :3].T + w2c[:3, 3]
    ids, in_camera = ids[in_camera[:, 2] > 0], in_camera[in_camera[:, 2] > 0]
    if len(ids) == 0 or len(pixels) == 0:
        return Features(descriptors[:0], np.zeros((0, 3)), np.zeros(0, np.int64))
    projected = in_camera @ K.T
    tree = require("scipy.spatial", "poses").cKDTree(projected[:, :2] / projected[:, 2:])
    distance, nearest = tree.query(pixels)
    kept = distance < NEAR_PX
    ids = ids[nearest[kept]]
    return Features(descriptors[kept], solution.points[ids], ids)


def _of_mesh(picture: Picture) -> Features:
    """The features of a picture of the mesh, lifted to its surface; those beside a texture are left out."""
    pixels, descriptors = _detect(picture.rgb)
    height, width = picture.depth.shape
    cell = torch.from_numpy(pixels).floor().long()
    depth = picture.depth[cell[:, 1].clamp(0, height - 1), cell[:, 0].clamp(0, width - 1)]
    points = picture.camera.unproject(torch.from_numpy(pixels).float(), depth).double().numpy()
    kept = (depth > 0).numpy()
    return Features(descriptors[kept], points[kept], np.zeros(int(kept.sum()), np.int64))


def match_descriptors(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows that are each other's nearest, by far.

    Args:
        first: `[N, D]` unit vectors.
        second: `[M, D]`.

    Returns:
        Row of `first` and row of `second` of each match.

    Source: Lowe 2004, section 7.1, for the ratio test.
    """
    if len(first) == 0 or len(second) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    alike = first @ second.T
    rows = np.arange(len(first))
    best = alike.argmax(1)
    back = alike.argmax(0)[best] == rows
    nearest = alike[rows, best]
    alike[rows, best] = -1.0
    squared, squared_second = 2 - 2 * nearest, 2 - 2 * alike.max(1)
    kept = np.flatnonzero(back & (squared < RATIO**2 * squared_second))
    return kept, best[kept]


def agree(pairs: Pairs, surface: Surface) -> Similarity | None:
    """The similarity that most pairs agree on.

    The pairs that do not are searched again: where they agree on another place half as well, the texture repeats, or
    chance was at work in both, and neither is believed.

    Args:
        pairs: solved points and points of the mesh.
        surface: of the mesh, for its size.

    Returns:
        The solver's frame to the mesh's, or None.
    """
    rng = np.random.default_rng(0)
    found = _consensus(pairs, surface.size, rng)
    if found is None or (support := _support(pairs, found, surface.size)) < LEAST_SUPPORT:
        return None
    others = pairs[~_agreeing(pairs, found, surface.size)]
    rival = _consensus(others, surface.size, rng)
    if rival is None or same_place(rival, found, surface):
        return found
    return found if _support(others, rival, surface.size) <= RIVAL_SHARE * support else None


def _consensus(pairs: Pairs, size: float, rng: np.random.Generator) -> Similarity | None:
    """The best similarity of many triples of pairs, fitted to all that agree with it.

    Source: Fischler and Bolles 1981.
    """
    if len(pairs.ids) < 3:
        return None
    triples = _promising(pairs, size, rng)
    best: Similarity | None = None
    most = 0
    for triple in triples:
        try:
            trial = fit_similarity(pairs.solved[triple], pairs.on_mesh[triple])
        except ValueError:
            continue
        support = _support(pairs, trial, size) if trial.scale > 0 else 0
        if support > most:
            best, most = trial, support
    for _ in range(10 if best is not None else 0):
        assert best is not None
        kept = pairs[_agreeing(pairs, best, size)]
        try:
            closer = fit_similarity(kept.solved, kept.on_mesh)
        except ValueError:
            break
        if closer.scale <= 0 or _support(pairs, closer, size) < 0.9 * most:
            break
        best = closer
    return best


def _promising(pairs: Pairs, size: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`[T, 3]` triples of pairs that are wide enough and whose three sides tell about the same scale."""
    triples = rng.integers(0, len(pairs.ids), (NUM_TRIPLES, 3))
    turned = np.roll(triples, 1, axis=1)
    before = np.linalg.norm(pairs.solved[triples] - pairs.solved[turned], axis=2)
    after = np.linalg.norm(pairs.on_mesh[triples] - pairs.on_mesh[turned], axis=2)
    wide = (before.min(1) > 0) & (after.min(1) > 3 * AGREEING * size)
    triples, before, after = triples[wide], before[wide], after[wide]
    scales = np.log(after / before)
    return triples[np.ptp(scales, axis=1) < SCALE_SPREAD][:MOST_FITS]


def _agreeing(pairs: Pairs, similarity: Similarity, size: float) -> Flags:
    misses = ((similarity.apply(pairs.solved) - pairs.on_mesh) ** 2).sum(1)
    return np.asarray(misses < (AGREEING * size) ** 2)


def _support(pairs: Pairs, similarity: Similarity, size: float) -> int:
    """How many places agree: different solved points, on different spots of the mesh.

    A cloud shrunk to a dot agrees with any spot of the mesh that many points look like.
    """
    kept = _agreeing(pairs, similarity, size)
    if kept.sum() < 3:
        return 0
    spots = np.floor(pairs.on_mesh[kept] / (2 * AGREEING * size)).astype(np.int64)
    spots -= spots.min(0)
    across = spots.max(0) + 1
    numbers = (spots[:, 0] * across[1] + spots[:, 1]) * across[2] + spots[:, 2]
    return min(len(np.unique(pairs.ids[kept])), len(np.unique(numbers)))
