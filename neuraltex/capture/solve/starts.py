"""Where registration may begin: rotations all around, scales and places from the cloud's own extent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.survey import estimate_center
from neuraltex.capture.solve.similarity import Similarity, angle_deg, refine_to_planes, trimmed_icp
from neuraltex.capture.solve.solution import Solution
from neuraltex.capture.solve.surface import Surface

Array = npt.NDArray[np.float64]

NUM_ROTATIONS = 180
COARSE_POINTS = 250
# Results of the coarse search, a part of the cloud, that are looked at more closely.
NUM_PROMISING = 40
FINE_POINTS = 4000
# Of the size of the mesh: where the distance of a point begins to say that it does not belong to it.
FAR = 0.03
# Rays that meet at less than this have no certain depth, so their points are left out.
LEAST_POINT_ANGLE_DEG = 3.0
# How far around what the cameras look at the cloud is taken, as a share of the cameras' median distance.
REACHES = (0.8, 0.45, 0.25)
FEWEST_IN_PART = 100
# Registrations closer together than this are the same one.
SAME_ANGLE_DEG = 4.0
SAME_SHIFT = 0.03
SAME_GROWTH = 0.06


@dataclass(frozen=True)
class Candidate:
    """One way to lay the cloud onto the mesh.

    Args:
        similarity: solver's frame to the mesh's.
        distance: `distance_both_ways`.
    """

    similarity: Similarity
    distance: float


def find_candidates(solution: Solution, coarse: Surface, fine: Surface, *, most: int) -> list[Candidate]:
    """Lay the sparse cloud onto a surface from many starts.

    Args:
        solution: cameras and cloud.
        coarse: a few thousand points of the mesh.
        fine: tens of thousands.
        most: how many to return for each part of the cloud that may be what the mesh shows.

    Returns:
        Different registrations. Their distances compare within a part of the cloud only, so they are in no order.
    """
    rng = np.random.default_rng(0)
    candidates: list[Candidate] = []
    for cloud in clouds(solution):
        shuffled = cloud[rng.permutation(len(cloud))]
        points = shuffled[:FINE_POINTS]
        tree = Surface(points, np.zeros((0, 3)))
        for start in _coarse(shuffled[:COARSE_POINTS], tree, coarse)[:most]:
            closer = trimmed_icp(points, fine, start, iterations=40, tolerance=1e-5)
            closer = refine_to_planes(points, fine, closer)
            if np.isfinite(closer.scale) and closer.scale > 0:
                candidates.append(Candidate(closer, distance_both_ways(points[:1000], tree, coarse, closer)))
    kept: list[Candidate] = []
    for candidate in candidates:
        if not any(same_place(candidate.similarity, other.similarity, coarse) for other in kept):
            kept.append(candidate)
    return kept


def clouds(solution: Solution) -> list[Array]:
    """Parts of the sparse cloud that may be what the mesh shows: all of it, and what the cameras look at."""
    certain = solution.points[solution.angles_deg >= LEAST_POINT_ANGLE_DEG]
    certain = certain if len(certain) >= FEWEST_IN_PART else solution.points
    cameras = Camera(torch.eye(3).double().expand(len(solution.frames), 3, 3), torch.from_numpy(solution.w2c), 1, 1)
    center = estimate_center(cameras).numpy()
    distance = np.linalg.norm(certain - center, axis=1)
    reach = float(np.median(np.linalg.norm(solution.centers - center, axis=1)))
    parts = [certain[distance < np.quantile(distance, 0.97)]]
    for share in REACHES:
        part = certain[distance < share * reach]
        if FEWEST_IN_PART <= len(part) < 0.9 * len(parts[-1]):
            parts.append(part)
    return parts


def start_rotations(cloud: Array, surface: Array) -> list[Array]:
    """Principal axes onto principal axes, in the four ways that keep hands, then rotations spread over all."""
    _, _, from_axes = np.linalg.svd(_robustly_centered(cloud), full_matrices=False)
    _, _, to_axes = np.linalg.svd(surface - surface.mean(0), full_matrices=False)
    rotations = []
    for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
        rotation = to_axes.T @ np.diag(np.array(signs, dtype=np.float64)) @ from_axes
        if np.linalg.det(rotation) < 0:
            rotation = to_axes.T @ np.diag(-np.array(signs, dtype=np.float64)) @ from_axes
        rotations.append(rotation)
    # Turned about the axis of least spread: flat things lie right by then, but may be turned on their face.
    normal = to_axes[2]
    turns = [_turn(normal, angle) for angle in np.arange(1, 12) * np.pi / 6]
    rotations += [turn @ rotation for turn in turns for rotation in rotations[:4]]
    return rotations + spread_rotations(NUM_ROTATIONS)


def spread_rotations(count: int) -> list[Array]:
    """Rotations spread evenly.

    Source: Alexa 2022, "Super-Fibonacci spirals", algorithm 1.
    """
    psi = 1.533751168755204288118041
    k = np.arange(count) + 0.5
    r, big = np.sqrt(k / count), np.sqrt(1 - k / count)
    alpha, beta = 2 * np.pi * k / np.sqrt(2.0), 2 * np.pi * k / psi
    x, y, z, w = r * np.sin(alpha), r * np.cos(alpha), big * np.sin(beta), big * np.cos(beta)
    matrices = np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], axis=1).reshape(-1, 3, 3)  # fmt: skip
    return list(matrices)


def distance_both_ways(points: Array, cloud: Surface, surface: Surface, similarity: Similarity) -> float:
    """Mean distance of the cloud from the surface and of the surface from the cloud; far is far, however far.

    Both ways, because a cloud shrunk to a dot lies perfectly on any surface. Not trimmed: on a scene that is mostly
    floor, the part that is trimmed away is the part that tells.
    """
    outward, _ = surface.nearest(similarity.apply(points))
    back, _ = cloud.nearest(similarity.inverse().apply(surface.points[::4]))
    return _saturated(outward / surface.size) + _saturated(similarity.scale * back / surface.size)


def same_place(a: Similarity, b: Similarity, surface: Surface) -> bool:
    """Whether two registrations differ by no more than the last digit."""
    middle = surface.points.mean(0)
    shift = float(np.linalg.norm(a.apply(b.inverse().apply(middle[None])) - middle))
    turned = angle_deg(a.rotation, b.rotation)
    grown = abs(math.log(a.scale / b.scale))
    return turned < SAME_ANGLE_DEG and shift < SAME_SHIFT * surface.size and grown < SAME_GROWTH


def _saturated(distances: Array) -> float:
    """Mean of 0 for near to 1 for far (Geman and McClure's function)."""
    squared = (distances / FAR) ** 2
    return float((squared / (1 + squared)).mean())


def _coarse(points: Array, cloud: Surface, surface: Surface) -> list[Similarity]:
    """A few points laid onto the surface from all starts: the different results, the closest first."""
    found = []
    for rotation in start_rotations(cloud.points, surface.points):
        start = _placed(rotation, cloud.points, surface.points)
        similarity = trimmed_icp(points, surface, start, kept_share=0.75, iterations=12, tolerance=1e-3)
        found.append((distance_both_ways(points, cloud, surface, similarity), similarity))
    promising = [similarity for _, similarity in sorted(found, key=lambda entry: entry[0])]
    refined = []
    for similarity in _different(promising, surface)[:NUM_PROMISING]:
        closer = refine_to_planes(points, surface, similarity, iterations=12)
        if np.isfinite(closer.scale) and closer.scale > 0:
            refined.append((distance_both_ways(points, cloud, surface, closer), closer))
    return _different([similarity for _, similarity in sorted(refined, key=lambda entry: entry[0])], surface)


def _different(similarities: list[Similarity], surface: Surface) -> list[Similarity]:
    different: list[Similarity] = []
    for similarity in similarities:
        if not any(same_place(similarity, other, surface) for other in different):
            different.append(similarity)
    return different


def _placed(rotation: Array, cloud: Array, surface: Array) -> Similarity:
    """Middle onto middle, spread onto spread, both robust."""
    from_middle, to_middle = np.median(cloud, axis=0), surface.mean(0)
    from_spread = float(np.median(np.linalg.norm(cloud - from_middle, axis=1)))
    scale = float(np.median(np.linalg.norm(surface - to_middle, axis=1))) / max(from_spread, 1e-300)
    return Similarity(scale, rotation, to_middle - scale * rotation @ from_middle)


def _robustly_centered(cloud: Array) -> Array:
    centered = cloud - np.median(cloud, axis=0)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    # Far points count by their direction only.
    return np.asarray(centered * np.minimum(1.0, 2 * np.median(length) / np.maximum(length, 1e-300)))


def _turn(axis: Array, angle: float) -> Array:
    x, y, z = axis / np.linalg.norm(axis)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew)
