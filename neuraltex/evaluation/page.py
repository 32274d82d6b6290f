"""The report of an evaluation as one page of HTML: nothing is fetched, pictures and videos lie within it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from neuraltex.evaluation.plots import line_plot
from neuraltex.tables import EFFORTS, MEASURES

# Where more or less is better; the other columns have no winner.
BEST: dict[str, Callable[[list[float]], float]] = {
    "psnr": max,
    "psnr_covered": max,
    "psnr_covered_corrected": max,
    "ssim": max,
    "ssim_covered": max,
    "flip": min,
    "flip_covered": min,
    "lpips": min,
    "fps": max,
    "model_bytes": min,
    "train_peak_bytes": min,
    "flicker": lambda ratios: min(ratios, key=lambda ratio: abs(math.log(max(ratio, 1e-9)))),
}
STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))


@dataclass(frozen=True)
class View:
    """A held-out view: its name, and its pictures as data URIs by method."""

    name: str
    pictures: dict[str, str]


@dataclass(frozen=True)
class Crop:
    """A close-up of the view of that name: pictures, and maps of the error, as data URIs by the methods' titles."""

    name: str
    pictures: dict[str, str]
    errors: dict[str, str]


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Args:
        name: of the run.
        metrics: what `metrics.json` holds.
        titles: of the photograph and the methods, by name.
        order: the numbers of the views, from the run's worst to its best.
        curve: of the run's training, points (step, dB) by what they are of.
        views: to look at.
        crops: to look at closely.
        videos: of the slow move, as data URIs by method.
    """

    name: str
    metrics: dict[str, Any]
    titles: dict[str, str]
    order: list[int]
    curve: dict[str, list[tuple[float, float]]]
    views: list[View]
    crops: list[Crop]
    videos: dict[str, str]


def as_html(page: Page) -> str:
    """The page."""
    title = f"{escape(page.name)}: held-out views"
    sections = [_summary(page), _table(page), _slider(page), _close_ups(page), _plots(page), _steady(page)]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head>\n<body><main>\n<h1>{title}</h1>\n"
        + "\n".join(section for section in sections if section)
        + f"\n</main><script>{SCRIPT.read_text(encoding='utf-8')}</script></body></html>\n"
    )


def _summary(page: Page) -> str:
    told = page.metrics
    width, height = told["image_size"]
    lines = [
        f"{told['num_test']} photographs of {width} x {height} pixels that no method has seen; each was trained on "
        f"the same {told['num_train']} others, on {told['device']}. The mesh covers {told['covered_share']:.0%} of the "
        "pixels."
    ]
    if told["train_device"] != told["device"]:
        lines.append(f"The run itself was trained on {told['train_device']}, so times differ for that, too.")
    if told["held_out_poses_refined"]:
        lines.append("The poses of the photographs were refined for each method before it was scored.")
    lines += [f"{name} is left out: {reason}." for name, reason in told["left_out"].items()]
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _table(page: Page) -> str:
    """One row a method; the best of each column is bold."""
    told = page.metrics
    scores, methods = told["held_out"], told["methods"]
    columns: list[tuple[str, str, Callable[[float], str], dict[str, float | None]]] = []
    for key, (title, form) in MEASURES.items():
        if key != "psnr_covered_corrected" or told["exposure_refined"]:
            columns.append((key, title, form.format, {name: scores[name][key] for name in methods}))
    for key, (title, write) in EFFORTS.items():
        columns.append((key, title, write, {name: methods[name][key] for name in methods}))
    if "steady" in told:
        ratios = {name: told["steady"]["ratio"][name] for name in methods}
        columns.append(("flicker", "flicker, truth's is 1", "{:.2f}".format, ratios))
    columns = [column for column in columns if any(value is not None for value in column[3].values())]
    head = "".join(f'<th scope="col">{escape(title)}</th>' for _, title, _, _ in columns)
    rows = []
    for name in methods:
        cells = "".join(_cell(key, write, values, name) for key, _, write, values in columns)
        rows.append(f'<tr><th scope="row">{escape(page.titles[name])}</th>{cells}</tr>')
    return (
        '<h2>In numbers</h2><div class="wide" tabindex="0" role="region" aria-label="In numbers"><table>'
        "<caption>Means over the held-out views; the best of a column is bold</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(key: str, write: Callable[[float], str], values: dict[str, float | None], name: str) -> str:
    value = values[name]
    if value is None:
        return "<td>-</td>"
    known = [other for other in values.values() if other is not None]
    text = escape(write(value))
    best = key in BEST and len(known) > 1 and value == BEST[key](known)
    return f"<td><b>{text}</b></td>" if best else f"<td>{text}</td>"


def _slider(page: Page) -> str:
    """Any two of a view's pictures, one over the other."""
    if not page.views:
        return ""
    views = "".join(f'<option value="{i}">{escape(view.name)}</option>' for i, view in enumerate(page.views))
    methods = "".join(f'<option value="{escape(name)}">{escape(text)}</option>' for name, text in page.titles.items())
    data = {"titles": page.titles, "views": [{"name": view.name, "pictures": view.pictures} for view in page.views]}
    within = json.dumps(data).replace("</", "<\\/")  # or a name could end the script
    return (
        "<h2>Side by side</h2><p>From the view that the run renders worst to the one that it renders best.</p>"
        '<figure class="compare"><div class="choices">'
        f'<label>view <select id="view">{views}</select></label>'
        f'<label>left <select id="left">{methods}</select></label>'
        f'<label>right <select id="right">{methods}</select></label></div>'
        '<div class="stage" id="stage"><img id="below" alt=""><img id="above" alt=""><span class="cut"></span></div>'
        '<label class="slide">where the left one ends '
        '<input type="range" id="cut" min="0" max="100" value="50" step="0.5"></label></figure>'
        f'<script type="application/json" id="data">{within}</script>'
    )


def _close_ups(page: Page) -> str:
    rows = []
    for crop in page.crops:
        pictures = "".join(_captioned(uri, title, f"{title}, {crop.name}") for title, uri in crop.pictures.items())
        blank = '<div class="none"></div>' * (len(crop.pictures) - len(crop.errors))
        errors = "".join(_captioned(uri, "", f"error of {title}, {crop.name}") for title, uri in crop.errors.items())
        rows.append(
            f'<h3>{escape(crop.name)}</h3><div class="crops" style="--columns:{len(crop.pictures)}">'
            f"{pictures}{blank}{errors}</div>"
        )
    if not rows:
        return ""
    return (
        "<h2>Close up</h2><p>The part of a view where the middle one of the methods is worst. Below it the absolute "
        "error, black where there is none and nearly white from a quarter of full brightness.</p>" + "".join(rows)
    )


def _captioned(uri: str, caption: str, alternative: str) -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{uri}" alt="{escape(alternative)}">{below}</figure>'


def _plots(page: Page) -> str:
    views = page.metrics["per_view"]
    lines = {}
    for name in page.metrics["methods"]:
        scores = [views[i][name]["psnr"] for i in page.order]
        lines[page.titles[name]] = [(float(i), score) for i, score in enumerate(scores) if score is not None]
    names = [views[i]["name"] for i in page.order]
    across = "view, from the run's worst to its best"
    each = line_plot(lines, title="PSNR of each view", across=across, up="PSNR in dB", marks=True, names=names)
    parts = [f"<h2>View by view</h2><figure>{each}</figure>"] if each else []
    if page.curve:
        title = "PSNR while the run was trained"
        curve = line_plot(page.curve, title=title, across="step", up="PSNR in dB", marks=False)
        parts.append(f"<h2>Training of the run</h2><figure>{curve}</figure>")
    return "".join(parts)


def _steady(page: Page) -> str:
    if not page.videos:
        return ""
    steady, figures = page.metrics["steady"], []
    for name, uri in page.videos.items():
        title = page.titles.get(name, "photographs")
        ratio = steady["ratio"][name]
        told = title if ratio is None or name not in page.titles else f"{title}: {ratio:.2f}"
        figures.append(
            f'<figure><video src="{uri}" muted loop playsinline controls aria-label="{escape(title)}, slow move">'
            f"</video><figcaption>{escape(told)}</figcaption></figure>"
        )
    noise = "not counted" if steady["without_noise"] else "counted as well"
    return (
        f"<h2>A slow move</h2><p>{steady['num_frames']} frames that no method has seen. The number is how much the "
        "surface's colours change from frame to frame, relative to the photographs: more is flicker, much less is blur "
        f'or highlights that stick. Noise of the photographs is {noise}.</p><p><button id="play">Play all</button></p>'
        f'<div class="videos">{"".join(figures)}</div>'
    )
