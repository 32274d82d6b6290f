"""Which photographs are compared with which."""

from __future__ import annotations

from collections.abc import Iterable

# Up to here every photograph is compared with every other.
EXHAUSTIVE_PHOTOS = 60
# Neighbours of a video frame that it is compared with: the near ones for tracks, the far ones against drift.
OFFSETS = (1, 2, 3, 4, 6, 8, 12)
# Frames that are all compared with each other to find where a video comes back to what it saw.
LOOP_KEYS = 36

Pair = tuple[int, int]


def exhaustive_pairs(count: int) -> list[Pair]:
    """Every pair of `count` photographs."""
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def sequential_pairs(count: int) -> list[Pair]:
    """Pairs of neighbours in a video of `count` frames."""
    return [(i, i + offset) for i in range(count) for offset in OFFSETS if i + offset < count]


def loop_pairs(count: int) -> list[Pair]:
    """Evenly spread key frames, each with each, where they are not neighbours anyway."""
    keys = sorted({round(k * (count - 1) / (LOOP_KEYS - 1)) for k in range(LOOP_KEYS)})
    known = set(sequential_pairs(count))
    return [(i, j) for n, i in enumerate(keys) for j in keys[n + 1 :] if (i, j) not in known]


def pairs_around(found: Iterable[Pair], count: int, compared: Iterable[Pair]) -> list[Pair]:
    """The neighbours of pairs that turned out to see the same, without those compared already."""
    known = set(compared)
    around = set()
    for i, j in found:
        for di, dj in ((-1, -1), (1, 1), (-1, 1), (1, -1)):
            a, b = i + di, j + dj
            if 0 <= a < b < count and (a, b) not in known:
                around.add((a, b))
    return sorted(around)
