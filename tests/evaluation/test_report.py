"""The report is one page that needs nothing beside it, tells what metrics.json holds, and can be worked by hand."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from neuraltex.evaluation.page import Crop, Page, View, as_html
from neuraltex.evaluation.plots import line_plot
from neuraltex.evaluation.report import heat, spread, worst_window

VOID = {"meta", "img", "input", "br"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and keeps what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] in ("td", "b"):
            self.cells.append(("bold " if self.open[-1] == "b" else "") + data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def page_of(**changes) -> Page:
    """A page of two made-up methods."""
    score = {"psnr": 30.0, "psnr_covered": 29.0, "psnr_covered_corrected": 29.0, "ssim": 0.9, "ssim_covered": 0.9}
    score |= {"flip": 0.1, "flip_covered": 0.1, "lpips": None}
    took = {"fps": 10.0, "train_seconds": 5.0, "model_bytes": 2_000_000, "train_peak_bytes": None}
    methods = {"ours": {"title": "neuraltex", **took}, "other": {"title": "<other>", **took, "fps": 20.0}}
    better = {**score, "flip": 0.2, "psnr": 31.0}
    metrics = {
        "held_out": {"ours": score, "other": better},
        "methods": methods,
        "left_out": {"splats": "no GPU"},
        "per_view": [{"name": f"</script>{i}", "ours": score, "other": better} for i in range(3)],
        "num_train": 5, "num_test": 3, "image_size": [8, 6], "covered_share": 0.5, "device": "cpu",
        "train_device": "cpu", "held_out_poses_refined": False, "exposure_refined": False,
    }  # fmt: skip
    titles = {"photo": "photograph", "ours": "neuraltex", "other": "<other>"}
    pictures = dict.fromkeys(titles, "data:image/jpeg;base64,AAAA")
    crops = [Crop("a", dict.fromkeys(titles.values(), "data:,"), {"neuraltex": "data:,", "<other>": "data:,"})]
    values = {"name": "run", "metrics": metrics, "titles": titles, "order": [2, 0, 1], "curve": {}, "crops": crops}
    return Page(**{**values, "views": [View("</script>", pictures)], "videos": {}, **changes})


def test_the_best_of_each_column_is_bold_and_names_are_harmless():
    html = as_html(page_of())
    reader = read(html)
    assert "bold 31.00" in reader.cells
    assert "30.00" in reader.cells
    assert "bold 0.1000" in reader.cells, "less FLIP is better"
    assert "bold 20" in reader.cells
    assert html.count("<script") == html.count("</script>") == 2
    assert "splats is left out: no GPU." in html
    assert "&lt;other&gt;" in html
    assert not any(tag == "other" for tag, _ in reader.seen)


def test_everything_on_the_page_has_a_name_for_those_who_cannot_see_it():
    reader = read(as_html(page_of(curve={"held out": [(0.0, 10.0), (5.0, 20.0)]})))
    for tag, attributes in reader.seen:
        if tag == "img":
            assert attributes.get("alt") is not None
        if tag == "svg" and attributes.get("aria-hidden") is None:
            assert attributes["aria-label"]
    labels = [tag for tag, _ in reader.seen if tag == "label"]
    inputs = [tag for tag, _ in reader.seen if tag in ("select", "input")]
    assert len(labels) == len(inputs) == 4


def test_plots_place_points_where_their_numbers_say():
    drawn = line_plot({"a": [(0, 10.0), (1, 20.0), (2, 15.0)]}, title="t", across="x", up="y", marks=True, names="abc")
    ticks = {
        float(text): float(y) for y, text in re.findall(r'class="tick up" x="[\d.]+" y="([\d.]+)">([\d.]+)<', drawn)
    }
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    # The labels of ticks are 4 below their lines.
    known = sorted(ticks)
    expected = np.interp([10, 20, 15], known, [ticks[value] - 4 for value in known])
    assert heights == pytest.approx(expected.tolist(), abs=0.2)
    assert heights[1] < heights[2] < heights[0]
    assert line_plot({"a": []}, title="t", across="x", up="y", marks=True) == ""
    assert "polyline" in line_plot({"a": [(0, 5.0)]}, title="t", across="x", up="y", marks=False)


def test_the_worst_part_is_found():
    error = np.zeros((60, 90), dtype=np.float32)
    error[30:40, 50:60] = 1
    top, left, side = worst_window(error)
    assert side == 24
    assert top <= 30
    assert top + side >= 40
    assert left <= 50
    assert left + side >= 60
    colours = heat(np.array([[0, 0.125, 0.25, 1]], dtype=np.float32)).astype(int).sum(-1)[0]
    assert (np.diff(colours[:3]) > 0).all()
    assert colours[3] == colours[2]
    assert spread([5, 3, 1, 0, 2], 3) == [5, 1, 2]
    assert spread([4], 3) == [4]
    assert spread([], 3) == []
