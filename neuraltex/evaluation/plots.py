"""Line plots as SVG, to be put into a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

# Distinct to the colour-blind (M. Okabe and K. Ito, 2008); the first is ours.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 2")
WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44

Points = Sequence[tuple[float, float]]


def line_plot(
    series: Mapping[str, Points], *, title: str, across: str, up: str, marks: bool, names: Sequence[str] = ()
) -> str:
    """A plot of some lines with a legend below.

    Args:
        series: points by the name that the legend shows; those that are no number are left out.
        title: read to those who cannot see it.
        across, up: what the axes show.
        marks: whether to mark the points.
        names: of the places across, 0 to len - 1, shown where a pointer rests on a point.
    """
    series = {name: [p for p in points if math.isfinite(p[1])] for name, points in series.items()}
    every = [point for points in series.values() for point in points]
    if not every:
        return ""
    x_ticks = _ticks(min(x for x, _ in every), max(x for x, _ in every), whole=bool(names))
    y_ticks = _ticks(min(y for _, y in every), max(y for _, y in every))
    frame = _Frame((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        *(_horizontal(frame, y) for y in y_ticks),
        *(f'<text class="tick" x="{frame.x(x):.1f}" y="{HEIGHT - BOTTOM + 18}">{x:g}</text>' for x in x_ticks),
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(across)}</text>',
        f'<text class="axis" transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">{escape(up)}</text>',
    ]
    for index, (name, points) in enumerate(series.items()):
        parts.append(_line(frame, name, points, index, names, marks=marks))
    return "".join([*parts, "</svg>", _legend(list(series))])


class _Frame:
    """Where numbers lie in the picture."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (value - low) / ((high - low) or 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.up
        return HEIGHT - BOTTOM - (value - low) / ((high - low) or 1.0) * (HEIGHT - TOP - BOTTOM)


def _line(frame: _Frame, name: str, points: Points, index: int, names: Sequence[str], *, marks: bool) -> str:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    places = [(frame.x(x), frame.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" stroke="{colour}" stroke-dasharray="{dash}"/>']
    if marks:
        for (x, y), (across, up) in zip(places, points, strict=True):
            place = names[int(across)] if names else f"{across:g}"
            told = f"<title>{escape(name)}, {escape(place)}: {up:.2f}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}">{told}</circle>')
    return "".join(parts)


def _horizontal(frame: _Frame, value: float) -> str:
    y = frame.y(value)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick up" x="{LEFT - 7}" y="{y + 4:.1f}">{value:g}</text>'
    )


def _legend(names: Sequence[str]) -> str:
    entries = [
        f'<li><svg class="key" viewBox="0 0 34 8" aria-hidden="true"><line x1="0" x2="34" y1="4" y2="4" '
        f'stroke="{COLOURS[i % len(COLOURS)]}" stroke-dasharray="{DASHES[i % len(DASHES)]}"/></svg>{escape(name)}</li>'
        for i, name in enumerate(names)
    ]
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers that enclose a range, 3 to 8 of them."""
    span = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-9)
    step = 10 ** math.floor(math.log10(span / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    if whole:
        step = max(round(step), 1)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]
