"""RUN/report.html: everything that an evaluation found on one page, which needs nothing beside it."""

from __future__ import annotations

import base64
import io
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from neuraltex.capture import read_image, read_video, write_video
from neuraltex.evaluation.page import Crop, Page, View, as_html
from neuraltex.evaluation.score import GAP
from neuraltex.files import whole_file
from neuraltex.training.run import Run

PHOTO, PHOTO_TITLE = "photo", "photograph"
# Views that can be looked at, fewer where the page would get too large; and those of them that are looked at closely.
NUM_VIEWS, NUM_CLOSE = (8, 5, 3), 3
LARGEST_PAGE = 20_000_000
# Longer sides in pixels, quality of JPEG, and H.264's of videos.
VIEW_SIZE, VIDEO_SIZE, QUALITY, CRF = 720, 400, 85, 27
# Side of a close-up, as a share of the shorter side of the picture, and how many pixels it is at least.
CLOSE_SHARE, CLOSE_LEAST = 1 / 5, 24
# The absolute error that is drawn brightest.
WORST_ERROR = 0.25
# Points of a training curve, each the mean of what was logged around it.
CURVE_POINTS = 150

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Looked:
    """One held-out view: its number, its name, and its pictures `[H, W, 3]` by method, the photograph's first."""

    index: int
    name: str
    pictures: dict[str, Picture]


def write_report(run: Run, metrics: dict[str, Any]) -> Path:
    """Write the report of an evaluation into the run folder.

    Args:
        run: with the pictures of `held_out` and, where steadiness was scored, the videos of `steady`.
        metrics: what `metrics.json` holds.

    Returns:
        The file.

    Raises:
        InputError: a picture or a video is missing or broken, or the report cannot be written.
    """
    titles = {PHOTO: PHOTO_TITLE, **{name: told["title"] for name, told in metrics["methods"].items()}}
    order = _from_worst_to_best(metrics)
    videos = _videos(run, metrics)
    curve = read_curve(run.folder / "log")
    close = [_looked(run, metrics, index) for index in spread(order, NUM_CLOSE)]
    crops = [_crop(looked, titles) for looked in close]
    html = ""
    for count in NUM_VIEWS:
        looked = (_looked(run, metrics, index) for index in spread(order, count))
        views = [View(view.name, {name: _jpeg(picture) for name, picture in view.pictures.items()}) for view in looked]
        page = Page(run.folder.resolve().name, metrics, titles, order, curve, views, crops, videos)
        html = as_html(page)
        if len(html) < LARGEST_PAGE:
            break
    path = run.folder / "report.html"
    with whole_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def _from_worst_to_best(metrics: dict[str, Any]) -> list[int]:
    """The numbers of the views, by how well the run itself renders them."""
    scores = [view["ours"]["psnr"] for view in metrics["per_view"]]
    return sorted(range(len(scores)), key=lambda i: -math.inf if scores[i] is None else scores[i])


def spread(order: list[int], count: int) -> list[int]:
    """Some of a list, evenly from its first to its last; of one, the middle."""
    count = min(count, len(order))
    if count <= 1:
        return [order[len(order) // 2]] if order and count else []
    return [order[round(i * (len(order) - 1) / (count - 1))] for i in range(count)]


def _looked(run: Run, metrics: dict[str, Any], index: int) -> _Looked:
    """Take the pictures of one view apart, which the evaluation wrote side by side."""
    row = read_image(run.folder / "held_out" / f"{index:03d}.png").rgb
    width = metrics["image_size"][0]
    names = [PHOTO, *metrics["methods"]]
    pictures = {name: row[:, i * (width + GAP) : i * (width + GAP) + width] for i, name in enumerate(names)}
    return _Looked(index, metrics["per_view"][index]["name"], pictures)


def _crop(looked: _Looked, titles: dict[str, str]) -> Crop:
    """The part of a view where the middle one of the methods is worst, and how wrong each one is there."""
    photo = looked.pictures[PHOTO].astype(np.float32) / 255
    errors = {
        name: np.abs(picture.astype(np.float32) / 255 - photo).mean(axis=-1)
        for name, picture in looked.pictures.items()
        if name != PHOTO
    }
    # The median: one method that fails everywhere must not choose for all.
    top, left, side = worst_window(np.median(list(errors.values()), axis=0))
    window = (slice(top, top + side), slice(left, left + side))
    return Crop(
        looked.name,
        {titles[name]: _jpeg(picture[window], quality=95) for name, picture in looked.pictures.items()},
        {titles[name]: _jpeg(heat(error[window]), quality=95) for name, error in errors.items()},
    )


def worst_window(error: npt.NDArray[np.float32]) -> tuple[int, int, int]:
    """Top, left and side of the square of a picture with the largest mean error.

    Args:
        error: `[H, W]`, at least 0.
    """
    height, width = error.shape
    side = min(max(round(min(height, width) * CLOSE_SHARE), CLOSE_LEAST), height, width)
    total = np.pad(error.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), side


def heat(error: npt.NDArray[np.float32]) -> Picture:
    """`[H, W]` errors as colours: black, purple, orange, white at `WORST_ERROR`."""
    stops = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], dtype=np.float32)
    place = np.clip(error / WORST_ERROR, 0, 1) * (len(stops) - 1)
    colours = [np.interp(place, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return np.stack(colours, axis=-1).round().astype(np.uint8)


def _jpeg(picture: Picture, *, quality: int = QUALITY) -> str:
    """A picture as a data URI, shrunk where it is large."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((VIEW_SIZE, VIEW_SIZE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _videos(run: Run, metrics: dict[str, Any]) -> dict[str, str]:
    """The videos of the slow move as data URIs by method, small enough for a page."""
    if "steady" not in metrics:
        return {}
    videos = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in metrics["steady"]["flicker"]:
            frames = read_video(run.folder / "steady" / f"{name}.mp4").frames
            shrunk = []
            for frame in frames:
                image = Image.fromarray(np.asarray(frame))
                image.thumbnail((VIDEO_SIZE, VIDEO_SIZE), Image.Resampling.LANCZOS)
                shrunk.append(np.asarray(image))
            small = Path(folder) / f"{name}.mp4"
            write_video(small, shrunk, metrics["steady"]["fps"], crf=CRF)
            videos[name] = f"data:video/mp4;base64,{base64.b64encode(small.read_bytes()).decode()}"
    return videos


def read_curve(log: Path) -> dict[str, list[tuple[float, float]]]:
    """What training logged, as points (step, dB): of held-out views and of its own; empty where nothing is left."""
    if not log.is_dir():
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(log), size_guidance={"scalars": 0})
    events.Reload()
    curve = {}
    for tag, name in (("psnr/held_out", "two held-out views"), ("psnr/train", "crops that are trained on")):
        if tag in events.Tags()["scalars"]:
            points = [(float(event.step), float(event.value)) for event in events.Scalars(tag)]
            size = math.ceil(len(points) / CURVE_POINTS)
            bins = [points[i : i + size] for i in range(0, len(points), size)]
            curve[name] = [(np.mean([x for x, _ in b]).item(), np.mean([y for _, y in b]).item()) for b in bins]
    return curve
