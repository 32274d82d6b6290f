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
from tests.test_cli import HEIGHT, WIDTH

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


def apart(one: np.ndarray, other: np.ndarray) -> float:
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
    torch.manual_seed(0)
    for longer in (320, 40):
        camera = viser_to_camera(browser, longer, round(longer / 1.6))
        picture, counted = photographs.seen_by(2, camera)
        points = camera.unproject(torch.rand(200, 2) * torch.tensor([longer, longer / 1.6]), torch.ones(200))
        here, there = camera.project(points)[0], own.project(points)[0]
        inside = ((there > 2) & (there < torch.tensor([WIDTH - 2.0, HEIGHT - 2.0]))).all(-1)
        assert 10 < int(inside.sum()) < 190
        found = picture[here[inside, 1].long(), here[inside, 0].long()]
        # Half a pixel of either picture: measured 0.6 of the photograph's pixels
        pixel = max(1.0, float(own.K[0, 0] / camera.K[0, 0]))
        assert np.abs(found[:, 0] / 5 - there[inside, 0].numpy()).max() < 0.75 * pixel
        assert np.abs(found[:, 1] / 6 - there[inside, 1].numpy()).max() < 0.75 * pixel
        margin = 2 * pixel
        beyond = ((there < -margin) | (there > torch.tensor([WIDTH + margin, HEIGHT + margin]))).any(-1)
        assert not counted[here[beyond, 1].long(), here[beyond, 0].long()].any()
        assert (picture[here[beyond, 1].long(), here[beyond, 0].long()] == 128).all()


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


def test_the_ordinary_texture_is_the_stored_one_or_says_that_it_is_not(run, painter, tmp_path):
    view = View(camera_to_viser(run.load_cameras()[0]), "texture")
    without = Painter(painter.scene, painter.shader)(view, WIDTH)
    assert without.note == NO_TEXTURED_MESH
    model = TexturedMesh(32, 16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.12 if name.startswith("texture") else 0.05)
    save_textured_mesh(tmp_path / "t.safetensors", model)
    stored = load_textured_mesh(tmp_path / "t.safetensors", CPU)
    picture = Painter(painter.scene, painter.shader, textured=stored)(view, WIDTH)
    assert picture.note == ""
    # 5 levels of 0.12, and 4 of 0.05 behind
    assert set(np.unique(picture.rgb)) == {153, 51}
    with pytest.raises(ValueError, match="photographs"):
        Painter(painter.scene, painter.shader)(replace(view, mode="difference"), WIDTH)
