"""Similarities: scale, rotation, translation; fitted to point pairs, and by trimmed ICP to a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuraltex.capture.solve.surface import Surface

Array = npt.NDArray[np.float64]

KEPT_SHARE = 0.6
# Of the surface's size: where the noise that a refinement allows for begins, and where it ends at the least.
WIDEST, NARROWEST = 0.04, 3e-4


@dataclass(frozen=True)
class Similarity:
    """`x -> scale * rotation @ x + translation`.

    Args:
        scale: above 0.
        rotation: `[3, 3]`, determinant +1.
        translation: `[3]`.
    """

    scale: float
    rotation: Array
    translation: Array

    @staticmethod
    def identity() -> Similarity:
        """The one that moves nothing."""
        return Similarity(1.0, np.eye(3), np.zeros(3))

    def apply(self, points: Array) -> Array:
        """`[N, 3]` points moved."""
        return self.scale * points @ self.rotation.T + self.translation

    def inverse(self) -> Similarity:
        """The way back."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -rotation @ self.translation / self.scale)

    def after(self, first: Similarity) -> Similarity:
        """This one applied to the result of `first`."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )

    def move_cameras(self, w2c: Array) -> Array:
        """`[N, 4, 4]` w2c of the same cameras in the world that this similarity leads to.

        Camera space is scaled along, so that the matrices stay rigid and every picture stays the same.
        """
        moved = np.zeros_like(w2c)
        moved[:, :3, :3] = w2c[:, :3, :3] @ self.rotation.T
        moved[:, :3, 3] = self.scale * w2c[:, :3, 3] - moved[:, :3, :3] @ self.translation
        moved[:, 3, 3] = 1.0
        return moved


def angle_deg(a: Array, b: Array) -> float:
    """Angle between two rotations in degrees."""
    # From the chord, which is accurate near 0 where the arc cosine of the trace is not.
    chord = np.linalg.norm(a - b) / np.sqrt(8.0)
    return float(np.degrees(2 * np.arcsin(min(chord, 1.0))))


def fit_similarity(source: Array, target: Array, weights: Array | None = None) -> Similarity:
    """The similarity that takes `source` to `target` with the least squared error.

    Args:
        source: `[N, 3]`, N at least 3, not all on a line.
        target: `[N, 3]`.
        weights: `[N]`, not negative.

    Raises:
        ValueError: the points do not span a plane.

    Source: Umeyama 1991, equations 39 to 42.
    """
    w = np.ones(len(source)) if weights is None else weights
    w = w / w.sum()
    a, b = source - w @ source, target - w @ target
    u, spread, vt = np.linalg.svd((w[:, None] * b).T @ a)
    if len(source) < 3 or spread[1] <= 1e-12 * max(spread[0], 1e-300):
        raise ValueError("source, target: expected at least 3 points that are not on one line")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((spread * sign).sum() / (w @ (a * a).sum(1)))
    return Similarity(scale, rotation, w @ target - scale * rotation @ (w @ source))


def trimmed_icp(
    points: Array,
    surface: Surface,
    start: Similarity,
    *,
    kept_share: float = KEPT_SHARE,
    iterations: int = 60,
    tolerance: float = 1e-7,
) -> Similarity:
    """Move points onto a surface, scale included, although a part of them does not belong to it.

    Each round pairs every point with its nearest sample of the surface, keeps the closest share of the pairs, and
    takes rotation and translation from these. The scale is the ratio of the spreads of both sides: the least-squares
    scale shrinks with every wrong pair, until all points sit on one spot of the surface.

    Args:
        points: `[N, 3]`.
        surface: what to move them to.
        start: where to begin.
        kept_share: of the points, the closest ones that count.
        iterations: at most.
        tolerance: of the change of a round, relative to the surface's size, below which it ends.

    Returns:
        points to surface.

    Source: Chetverikov et al. 2002 (trimmed ICP); Horn 1987, section 2.4, for the symmetric scale.
    """
    current = start
    count = max(int(kept_share * len(points)), 4)
    for _ in range(iterations):
        moved = current.apply(points)
        distance, nearest = surface.nearest(moved)
        kept = np.argpartition(distance, count - 1)[:count]
        source, target = points[kept], surface.points[nearest[kept]]
        a, b = source - source.mean(0), target - target.mean(0)
        u, _, vt = np.linalg.svd(b.T @ a)
        rotation = (u * np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])) @ vt
        spread = float((a * a).sum())
        if spread <= 0:
            break
        scale = float(np.sqrt((b * b).sum() / spread))
        if scale < 1e-9 * start.scale:
            break
        updated = Similarity(scale, rotation, target.mean(0) - scale * rotation @ source.mean(0))
        change = float(np.abs(updated.apply(source) - moved[kept]).max()) / surface.size
        current = updated
        if change < tolerance:
            break
    return current


def refine_to_planes(points: Array, surface: Surface, start: Similarity, *, iterations: int = 40) -> Similarity:
    """Slide points along a surface they already lie on to where the distances to its tangent planes are least.

    Robust: a point counts by Tukey's weight. Its width begins large and shrinks to the noise, estimated from the
    median: on a scene that is mostly floor, the few points that stand on it are what keeps it from sliding, and they
    would be the outliers of a narrow beginning.

    Args:
        points: `[N, 3]`.
        surface: what they lie on.
        start: points to surface, right to a few percent of its size.
        iterations: Gauss-Newton steps at most.

    Source: Chen and Medioni 1991 (distance to planes); Tukey's biweight with the usual tuning constant 4.685.
    """
    current = start
    for k in range(iterations):
        moved = current.apply(points)
        _, nearest = surface.nearest(moved)
        normals = surface.normals[nearest]
        residual = (normals * (moved - surface.points[nearest])).sum(1)
        annealed = WIDEST * 0.85**k * surface.size
        sigma = max(1.4826 * float(np.median(np.abs(residual))), annealed, NARROWEST * surface.size)
        weight = np.maximum(1 - (residual / (4.685 * sigma)) ** 2, 0.0) ** 2
        # The tangent distance of a far point is meaningless.
        weight *= np.linalg.norm(moved - surface.points[nearest], axis=1) < 4.685 * sigma + surface.spacing
        if (weight > 0).sum() < 20:
            return current
        center = (weight[:, None] * moved).sum(0) / weight.sum()
        arm = moved - center
        jacobian = np.column_stack([np.cross(arm, normals), normals, (arm * normals).sum(1)])
        normal = (weight[:, None] * jacobian).T @ jacobian
        # Directions that the surface does not decide (a plane's own) stay where they are.
        normal += np.diag(1e-4 * np.maximum(normal.diagonal(), 1e-300))
        step = -np.linalg.solve(normal, jacobian.T @ (weight * residual))
        turn = _small_rotation(step[:3])
        growth = float(np.exp(np.clip(step[6], -0.1, 0.1)))
        update = Similarity(growth, turn, center + step[3:6] - growth * turn @ center)
        current = update.after(current)
    return current


def _small_rotation(vector: Array) -> Array:
    """Rodrigues' formula, the angle held to half a radian."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = min(angle, 0.5)
    return np.asarray(np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew)
