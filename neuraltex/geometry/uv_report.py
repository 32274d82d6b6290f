"""What is wrong with the texture coordinates of a scene, as shares of its surface."""

from __future__ import annotations

from dataclasses import dataclass

# Below this a share is the noise of the grid that overlaps are measured on.
NOISE = 0.002


@dataclass(frozen=True)
class UvReport:
    """Shares are of surface area, 0 to 1.

    Args:
        num_faces: faces looked at.
        area: surface area in squared scene units.
        missing: share without texture coordinates.
        degenerate: share whose faces have a surface but no area in the texture.
        overlapping: share that lies in the texture where another face lies too. Tiles count as apart; coordinates
            that repeat the texture are wrapped.
        shared: the part of `overlapping` where faces of different materials meet.
        outside: share with coordinates outside the unit square.
        repeating: share of materials that repeat their texture: some face reaches over a tile's border.
        tiles: integer tiles `(u, v)` in use; more than `(0, 0)` are UDIM tiles.
        grid: texels a side of the grid on which overlaps were measured.
    """

    num_faces: int
    area: float
    missing: float
    degenerate: float
    overlapping: float
    shared: float
    outside: float
    repeating: float
    tiles: tuple[tuple[int, int], ...]
    grid: int

    @property
    def is_usable(self) -> bool:
        """Whether one texture can serve the whole scene as it is."""
        wrong = (self.missing, self.degenerate, self.overlapping, self.outside)
        return self.num_faces > 0 and max(wrong) <= NOISE

    def lines(self) -> list[str]:
        """One line a finding, for a terminal."""
        if self.num_faces == 0:
            return ["no faces"]
        found = [
            (self.missing, "of the surface has no texture coordinates"),
            (self.degenerate, "of the surface has no area in the texture"),
            (self.overlapping, "of the surface shares texels with other surface"),
            (self.shared, "of the surface shares texels with another material"),
            (self.outside, "of the surface lies outside the unit square"),
            (self.repeating, "of the surface belongs to materials that repeat their texture"),
        ]
        lines = [f"{share:6.1%} {text}" for share, text in found if share > NOISE]
        if len(self.tiles) > 1:
            shown = ", ".join(_tile_name(u, v) for u, v in self.tiles[:12])
            lines.append(f"{len(self.tiles)} tiles are in use: {shown}{', ...' if len(self.tiles) > 12 else ''}")
        return lines or ["texture coordinates: every face has texels of its own in the unit square"]


def _tile_name(u: int, v: int) -> str:
    """The UDIM number where there is one."""
    return str(1001 + u + 10 * v) if 0 <= u < 10 and v >= 0 else f"({u}, {v})"
