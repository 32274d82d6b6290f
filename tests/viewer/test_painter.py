"""Pictures of views: the same as the renderer makes, of parts where they are, beside photographs through any lens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuraltex.cameras.camera import Camera
from neuraltex.evaluation import TexturedMesh, load_textured_mesh, save_textured_mesh
from neuraltex.frames import FrameRenderer
from neuraltex.training import Run
from neuraltex.viewer.cameras import camera_to_viser, viser_to_camera
from neuraltex.viewer.painter import DIFFERENCE_GAIN, NO_TEXTURED_MESH, Painter, View
from neuraltex.viewer.schedule import SupersededError
from neuraltex.viewer.server import make_painter
from tests.ball import HEIGHT, WIDTH

CPU = torch.device("cpu")


@pytest.fixture
def run(painted) -> Run:
    return Run.open(painted)


@pytest.fixture
def painter(run) -> Painter:
    return make_painter(run, CPU)


def rendered(run: Run, camera: Camera, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    mesh = run.load_mesh(CPU)
    mesh = replace(mesh, verts=mesh.verts + torch.tensor(shift))
    return FrameRenderer(mesh, run.load_model(CPU)[0])(Camera.stack([camera]))[0].numpy()


def apart(one: np.ndarray, other: np.ndarray | float) -> float:
    return float(np.abs(one.astype(float) - other).max())


def test_a_picture_is_the_renderers_own(run, painter):
    browser = camera_to_viser(run.load_cameras()[3])
    picture = painter(View(browser), WIDTH)
    assert picture.rgb.shape == (HEIGHT, WIDTH, 3)
    # The scene's parts are kept in float64 and put back: measured 0
    assert apart(picture.rgb, rendered(run, viser_to_camera(browser, WIDTH, HEIGHT))) <= 1


def test_a_moved_part_is_drawn_where_it_is_by_the_same_renderer(run, painter):
    browser = camera_to_viser(run.load_cameras()[0])
    view = View(browser)
    still = painter(view, WIDTH).rgb
    renderer = painter._renderer
    (name,) = painter.scene.names
    painter.scene.move(name, (1.0, 0.0, 0.0, 0.0), (painter.scene.center(name) + 0.4).tolist())
    moved = painter(view, WIDTH).rgb
    camera = viser_to_camera(browser, WIDTH, HEIGHT)
    # measured 0 but for rounding of vertices: one pixel of an edge may differ
    differing = np.abs(moved.astype(int) - rendered(run, camera, (0.4, 0.4, 0.4))).max(-1) > 2
    assert differing.mean() < 0.005
    assert apart(moved, still) > 30
    assert painter._renderer is renderer, "captured frames are kept"
    painter.scene.show(name, False)
    gone = painter(view, WIDTH).rgb
    assert painter._renderer is not renderer
    painter.scene.reset()
    assert apart(painter(view, WIDTH).rgb, still) <= 1
    assert apart(gone, still) > 30


def test_a_picture_nobody_waits_for_is_given_up_between_layers(run, painter):
    view = View(camera_to_viser(run.load_cameras()[0]))
    expected = painter(view, WIDTH).rgb
    asked = []

    def third_time() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(SupersededError):
        painter(view, WIDTH, third_time)
    assert len(asked) == 3
    assert apart(painter(view, WIDTH).rgb, expected) == 0


def test_a_photograph_through_its_own_lens_is_the_photograph(run, painter):
    capture, photographs = run.load_capture(), painter.photographs
    assert len(photographs) == 14
    for index in (0, 5):
        photo, counted = photographs.seen_by(index, photographs.cameras[index])
        assert apart(photo, capture.images[capture.train_indices[index]].numpy()) == 0
        assert counted.all()
        assert photographs.nearest(photographs.cameras[index]) == index


def test_a_photograph_through_another_lens_shows_the_same_directions(run, painter):
    """A field twice as high and wide, on a canvas of another shape and size: what lies in one direction stays there."""
    photographs = painter.photographs
    own = photographs.cameras[2]
    browser = replace(camera_to_viser(own), fov=1.5, aspect=1.6)
    # A smooth picture, so that resampling it loses nothing: red across, green down.
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    ramp = np.stack([columns * 5, rows * 6, 0 * rows], axis=-1).round().astype(np.uint8)
    capture = run.load_capture()
    capture.images[capture.train_indices[2]] = torch.from_numpy(ramp)
    photographs._capture = capture
    for longer in (320, 40):
        camera = viser_to_camera(browser, longer, round(longer / 1.6))
        picture, counted = photographs.seen_by(2, camera)
        down, across = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
        centers = torch.from_numpy(np.stack([across, down], axis=-1).reshape(-1, 2)).float()
        there = own.project(camera.unproject(centers, torch.ones(len(centers))))[0].numpy()
        pixel = max(1.0, float(own.K[0, 0] / camera.K[0, 0]))
        found = picture.reshape(-1, 3)
        inside = ((there > pixel) & (there < [WIDTH - pixel, HEIGHT - pixel])).all(-1)
        assert 50 < inside.sum() < 0.5 * len(there)
        # Levels are rounded twice: measured 0.18 pixels of the photograph
        assert np.abs(found[inside, :2] / [5, 6] - there[inside]).max() < 0.25
        beyond = ((there < -pixel) | (there > [WIDTH + pixel, HEIGHT + pixel])).any(-1)
        assert not counted.reshape(-1)[beyond].any()
        assert (found[beyond] == 128).all()


def test_the_difference_is_of_the_nearest_photograph(run, painter):
    cameras = run.load_cameras()
    near = replace(camera_to_viser(cameras[4]), position=tuple((cameras[4].center + 0.02).tolist()))
    photo = painter(View(near, "photograph"), WIDTH)
    assert photo.note == f"photograph 5 of 14: {run.load_capture().names[5]}"
    shown = painter(View(near, "difference"), WIDTH)
    own = painter(View(camera_to_viser(cameras[4])), WIDTH).rgb.astype(int)
    expected = (np.abs(own - photo.rgb) * DIFFERENCE_GAIN).clip(0, 255)
    inside = (slice(2, -2), slice(2, -2))  # beyond the photograph's border nothing is compared
    assert apart(shown.rgb[inside], expected[inside]) <= DIFFERENCE_GAIN
    assert shown.note == photo.note
    wide = replace(near, aspect=3.0)
    beside = (slice(None), slice(0, 8))
    assert apart(painter(View(wide, "difference"), WIDTH).rgb[beside], 0.0) == 0, "no photograph there"
    capture = run.load_capture()
    painter.photographs._capture = replace(capture, masks=torch.zeros(capture.images.shape[:3], dtype=torch.bool))
    assert apart(painter(View(near, "difference"), WIDTH).rgb, 0.0) == 0, "no object there"


def test_the_ordinary_texture_is_the_stored_one_or_says_that_it_is_not(run, painter, tmp_path):
    view = View(camera_to_viser(run.load_cameras()[0]), "texture")
    without = Painter(painter.scene, painter.shader, painter.photographs)(view, WIDTH)
    assert without.note == NO_TEXTURED_MESH
    model = TexturedMesh(32, 16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.12 if name.startswith("texture") else 0.05)
    save_textured_mesh(tmp_path / "t.safetensors", model)
    stored = load_textured_mesh(tmp_path / "t.safetensors", CPU)
    picture = Painter(painter.scene, painter.shader, painter.photographs, textured=stored)(view, WIDTH)
    assert picture.note == ""
    # 5 levels of 0.12, and 4 of 0.05 behind
    assert set(np.unique(picture.rgb)) == {153, 51}
