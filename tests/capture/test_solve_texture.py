"""Registration by the mesh's own texture, on a scene whose shape has four sides alike; and what falls through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neuraltex.cameras import Camera, read_cameras
from neuraltex.capture.solve import Prepared, RegistrationError, align_capture, prepare_capture, starts
from neuraltex.capture.solve.similarity import Similarity, angle_deg
from neuraltex.capture.solve.solution import SOLVE_FILE
from neuraltex.capture.solve.surface import sample_mesh
from neuraltex.capture.solve.texture import LEAST_SUPPORT, Pairs, agree, match_descriptors
from neuraltex.capture.solve.textured import cameras_around, pictures_of, read_textured
from neuraltex.errors import InputWarning
from neuraltex.geometry import load_scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer
from tests.capture.studio import around, blotches, photograph, save
from tests.scenes import make_mesh

pytest.importorskip("pycolmap", reason="needs the extra poses")
pytest.importorskip("scipy", reason="needs the extra poses")

SIZE = float(np.linalg.norm([2.4, 2.4, 0.9]))
NUM_PHOTOS = 14
NUM_PLATE_FACES = 2


def cube_on_plate() -> Mesh:
    """A cube in the middle of a square plate: four ways to lay it that only the texture tells apart.

    The plate has the upper half of the texture, the sides of the cube the lower one.
    """
    low, high = [-0.45, -0.45, 0.0], [0.45, 0.45, 0.9]
    corners = [[[-1.2, -1.2, 0.0], [1.2, -1.2, 0.0], [1.2, 1.2, 0.0], [-1.2, 1.2, 0.0]]]
    places = [(0.0, 0.5, 0.5, 1.0)]
    for axis, side in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 1)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        quad = []
        for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
            point = [0.0, 0.0, 0.0]
            point[axis], point[a], point[b] = (low, high)[side][axis], (low, high)[u][a], (low, high)[v][b]
            quad.append(point)
        k = len(corners) - 1
        corners.append(quad)
        places.append((k / 5, 0.0, (k + 1) / 5, 0.25))
    uv = [[[left, down], [right, down], [right, top], [left, top]] for left, down, right, top in places]
    faces = torch.cat([torch.tensor([[0, 1, 2], [0, 2, 3]]) + 4 * k for k in range(len(corners))])
    return make_mesh(torch.tensor(corners).reshape(-1, 3), faces, torch.tensor(uv).reshape(-1, 2), faces)


def write_textured(folder: Path, texture: np.ndarray, *, images: tuple[str, ...] = ("plate", "cube")) -> Path:
    """The scene as an OBJ of two materials, each with one half of the texture as an image; `images` are written."""
    folder.mkdir(parents=True, exist_ok=True)
    mesh, half = cube_on_plate(), len(texture) // 2
    # `photograph` has the first row of the texture at v = 0, an image has it on top.
    for name, rows in (("plate", texture[half:][::-1]), ("cube", texture[:half][::-1])):
        if name in images:
            Image.fromarray((rows * 255).round().astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "thing.mtl").write_text("newmtl plate\nmap_Kd plate.png\nnewmtl cube\nmap_Kd cube.png\n")
    lines = ["mtllib thing.mtl"]
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in mesh.verts.tolist()]
    lines += [f"vt {u:.6g} {2 * v - (1 if v >= 0.5 else 0):.6g}" for u, v in mesh.verts_uv.tolist()]
    for k, face in enumerate(mesh.faces.tolist()):
        lines += [f"usemtl {'plate' if k < NUM_PLATE_FACES else 'cube'}"] if k in (0, NUM_PLATE_FACES) else []
        lines.append("f " + " ".join(f"{v + 1}/{v + 1}" for v in face))
    (folder / "thing.obj").write_text("\n".join(lines) + "\n")
    return folder / "thing.obj"


@dataclass(frozen=True)
class Solved:
    """One solve that many tests look at."""

    prepared: Prepared
    truth: Camera
    stages: list[str]


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Solved:
    folder = tmp_path_factory.mktemp("plate")
    truth = around(NUM_PHOTOS)
    # Photographs are darker than the texture and have another contrast.
    photos = save(folder / "photos", photograph(cube_on_plate(), truth, 0.8 * blotches() ** 1.4))
    stages: list[str] = []
    prepared = prepare_capture(
        write_textured(folder / "mesh", blotches()),
        photos,
        folder / "capture",
        report=lambda stage, done, total: stages.append(stage),
    )
    return Solved(prepared, truth, stages)


def copy_of_solve(solved: Solved, folder: Path) -> Path:
    """A capture folder of its own, with pictures shared."""
    folder.mkdir()
    (folder / "images").symlink_to(solved.prepared.folder / "images")
    for name in (SOLVE_FILE, "points.npz"):
        (folder / name).write_bytes((solved.prepared.folder / name).read_bytes())
    return folder


def errors(folder: Path, truth: Camera) -> tuple[float, float, float]:
    """Largest rotation error in degrees, largest position error as a share of the scene's size, and how far the
    corners of the mesh are drawn from where they are, in pixels: all of them in all photographs, at most.
    """
    found = Camera.stack([frame.camera for frame in read_cameras(folder / "transforms.json").frames]).to(torch.float64)
    truth = truth.to(torch.float64)
    turned = [angle_deg(a.numpy(), b.numpy()) for a, b in zip(found.w2c[:, :3, :3], truth.w2c[:, :3, :3], strict=True)]
    corners = cube_on_plate().verts.double().expand(NUM_PHOTOS, -1, 3)
    missed = (found.project(corners)[0] - truth.project(corners)[0]).norm(dim=-1)
    return max(turned), float((found.center - truth.center).norm(dim=-1).max()) / SIZE, float(missed.max())


def check_errors(folder: Path, truth: Camera) -> None:
    """Measured 0.66 degrees, 2.2 % and 1.7 pixels of 240, of which the solve has its share: its own focal length is
    1.9 % too short, and the similarity fitted to the true camera centers errs by 0.65 degrees.
    """
    angle, position, pixels = errors(folder, truth)
    assert angle < 1.0
    assert position < 0.035
    assert pixels < 2.5


@pytest.fixture
def fewer_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of the rotations, for the time it takes."""
    monkeypatch.setattr(starts, "NUM_ROTATIONS", 12)


def test_a_symmetric_shape_is_laid_by_its_texture(solved: Solved):
    assert solved.prepared.registration.way == "texture"
    assert solved.prepared.num_registered == NUM_PHOTOS
    assert "matching texture" in solved.stages
    check_errors(solved.prepared.folder, solved.truth)
    assert "texture" in (solved.prepared.folder / "report.html").read_text()


def refused(mesh: Path, folder: Path) -> None:
    with pytest.raises(RegistrationError, match="fits what was photographed in several ways") as caught:
        align_capture(mesh, folder)
    assert caught.value.attempt.way == "geometry"


@pytest.mark.usefixtures("fewer_starts")
def test_without_its_texture_it_is_refused(solved: Solved, tmp_path: Path):
    folder = copy_of_solve(solved, tmp_path / "capture")
    with pytest.warns(InputWarning, match="the texture '(plate|cube).png' is missing"):
        refused(write_textured(tmp_path / "mesh", blotches(), images=()), folder)


@pytest.mark.usefixtures("fewer_starts")
def test_a_texture_of_something_else_falls_through(solved: Solved, tmp_path: Path):
    folder = copy_of_solve(solved, tmp_path / "capture")
    refused(write_textured(tmp_path / "mesh", blotches(seed=5)), folder)


def test_one_of_two_materials_is_enough(solved: Solved, tmp_path: Path):
    folder = copy_of_solve(solved, tmp_path / "capture")
    mesh = write_textured(tmp_path / "mesh", blotches(), images=("plate",))
    (tmp_path / "mesh" / "cube.png").write_bytes(b"no picture")
    with pytest.warns(InputWarning, match=r"cube\.png.*material 'cube' is laid onto the photographs without"):
        aligned = align_capture(mesh, folder)
    assert aligned.registration.way == "texture"
    check_errors(folder, solved.truth)


def test_pictures_show_the_texture_where_the_file_has_it(tmp_path: Path):
    texture = blotches()
    textured = read_textured(load_scene(write_textured(tmp_path / "mesh", texture)))
    assert textured is not None
    assert [tuple(image.shape) for image in textured.textures] == [(3, 512, 1024)] * 2
    cameras = cameras_around(textured.mesh, count=5, size=160)
    truth = photograph(cube_on_plate(), cameras, texture)
    mask = make_gbuffer(cube_on_plate(), cameras)
    for k, picture in enumerate(pictures_of(textured, cameras)):
        seen = picture.depth > 0
        # Measured 0.7 levels of 255 at most: 2x2 rays a pixel instead of 3x3.
        assert np.abs(picture.rgb.astype(int) - truth[k]).mean() < 2
        # All but the outline. Measured 0.5 %.
        missing = mask.mask[k] & ~seen
        assert not bool((seen & ~mask.mask[k]).any())
        assert float(missing.float().mean()) < 0.01
        # Measured 5e-7.
        assert float((picture.depth - mask.depth[k]).abs()[seen].median()) < 5e-6


def test_scenes_without_a_texture_of_their_own(tmp_path: Path):
    path = write_textured(tmp_path / "mesh", blotches())
    text = path.read_text()
    path.write_text(text.replace("mtllib thing.mtl\n", "").replace("usemtl", "# usemtl"))
    assert read_textured(load_scene(path)) is None
    # Texture coordinates that were unwrapped here have nothing to do with the image.
    lines = [line for line in text.split("\n") if not line.startswith("vt")]
    bare = [" ".join(word.split("/")[0] for word in line.split(" ")) for line in lines]
    path.write_text("\n".join(bare))
    assert read_textured(load_scene(path)) is None


def made_up_pairs(count: int, wrong: int, *, turns: tuple[float, ...] = (0.0,)) -> tuple[Pairs, Similarity]:
    """Pairs under a known similarity, noisy; `wrong` more at random; and as many turned ones for each of `turns`."""
    rng = np.random.default_rng(3)
    on_mesh = sample_mesh(cube_on_plate(), count + wrong, seed=2).points
    on_mesh = on_mesh[rng.permutation(len(on_mesh))]
    rotation = starts.spread_rotations(7)[3]
    truth = Similarity(3.0, rotation, np.array([0.3, -1.0, 2.0]))
    solved = truth.inverse().apply(on_mesh + rng.normal(0, 0.002 * SIZE, on_mesh.shape))
    solved[count:] = solved[count + rng.permutation(wrong)]
    sides = [np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1.0]]) for t in turns]
    ids = np.arange(len(solved))
    pairs = Pairs(
        np.concatenate([solved] * len(sides)),
        np.concatenate([on_mesh @ side.T for side in sides]),
        np.concatenate([ids] * len(sides)),
    )
    return pairs, truth


@pytest.mark.parametrize(("count", "wrong"), [(60, 0), (40, 160)])
def test_agreement_is_found_among_wrong_pairs(count: int, wrong: int):
    pairs, truth = made_up_pairs(count, wrong)
    surface = sample_mesh(cube_on_plate(), 5000)
    found = agree(pairs, surface)
    assert found is not None
    back = found.after(truth.inverse())
    # Measured 0.18 degrees and 0.18 %.
    assert angle_deg(back.rotation, np.eye(3)) < 0.5
    assert abs(back.scale - 1) < 0.01


def test_agreement_on_two_places_or_by_chance_is_none():
    surface = sample_mesh(cube_on_plate(), 5000)
    assert agree(made_up_pairs(60, 0, turns=(0.0, np.pi / 2))[0], surface) is None
    assert agree(made_up_pairs(0, 300)[0], surface) is None
    assert agree(made_up_pairs(LEAST_SUPPORT - 4, 0)[0], surface) is None
    assert agree(made_up_pairs(2, 0)[0], surface) is None


def test_matches_are_mutual_and_distinct():
    eye = np.eye(4, dtype=np.float32)
    a, b = match_descriptors(eye[[2, 0]], eye[[0, 1, 2]])
    assert (a.tolist(), b.tolist()) == ([0, 1], [2, 0])
    # Two that are alike tell nothing, nor does a second row that is no one's nearest.
    assert len(match_descriptors(eye[[0]], eye[[0, 0, 1]])[0]) == 0
    turned = np.array([[0.95, 0.3122499, 0, 0], [0.94, 0, 0.3411744, 0]], np.float32)
    assert len(match_descriptors(eye[[0]], turned)[0]) == 0
    assert match_descriptors(np.stack([eye[0], (eye[0] + 0.1 * eye[1]) / 1.005**0.5]), eye[:2])[0].tolist() == [0]
    assert len(match_descriptors(eye[:0], eye)[0]) == len(match_descriptors(eye, eye[:1])[0]) == 0
