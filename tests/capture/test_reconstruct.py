"""A mesh out of masks or points: as large and as round as the thing, in the cameras' world, ready to train on."""

from __future__ import annotations

import json
import math
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.colmap import read_colmap_points
from neuraltex.cameras.frames import CameraFrame
from neuraltex.cameras.nerfstudio import write_transforms
from neuraltex.capture import load_capture
from neuraltex.capture.reconstruct import ReconstructConfig, Reconstruction, command, reconstruct_mesh
from neuraltex.capture.reconstruct.cloud import find_points, turn_to_cameras
from neuraltex.capture.reconstruct.silhouettes import Silhouettes, outline_distance
from neuraltex.capture.reconstruct.surface import decimate, keep_largest
from neuraltex.capture.solve.similarity import Similarity
from neuraltex.capture.solve.solution import Solution, SolvedFrame, camera_frames, write_solution
from neuraltex.errors import InputError, InputWarning, NeuraltexError, SettingError
from neuraltex.geometry import load_scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.raster import make_gbuffer
from tests.scenes import uv_sphere

pytest.importorskip("skimage", reason="needs the extra reconstruct")
pytest.importorskip("fast_simplification", reason="needs the extra reconstruct")
spatial = pytest.importorskip("scipy.spatial", reason="needs the extra reconstruct")

WIDTH, HEIGHT = 160, 120
# Off the origin and long, so that neither a box about the origin nor a cube would do.
MIDDLE, AXES = torch.tensor([4.0, -2.0, 7.0]), torch.tensor([1.0, 0.5, 0.5])
VOLUME = 4 / 3 * math.pi * float(AXES.prod())
SMALL = ReconstructConfig(faces=3000, resolution=48)


def thing() -> Mesh:
    """An ellipsoid."""
    ball = uv_sphere(32, 48)
    return ball.with_verts(ball.verts * AXES + MIDDLE)


def all_around(count: int) -> Camera:
    """Cameras spread evenly over a sphere of directions, none of them looking at the very middle of the thing."""
    k = torch.arange(count, dtype=torch.float64) + 0.5
    height, angle = 1 - 2 * k / count, math.pi * (1 + math.sqrt(5)) * k
    flat = (1 - height**2).sqrt()
    eye = MIDDLE + 3.5 * torch.stack([flat * angle.cos(), flat * angle.sin(), height], dim=-1)
    up = torch.tensor([0.1, 0.2, 1.0], dtype=torch.float64)
    return Camera.from_fov(look_at(eye, MIDDLE + torch.tensor([0.1, 0.0, -0.1]), up), 48.0, WIDTH, HEIGHT)


def masks_of(mesh: Mesh, cameras: Camera) -> np.ndarray:
    """`[N, H, W]` bool."""
    return make_gbuffer(mesh, cameras.to(torch.float32)).mask.numpy()


def save_capture(folder: Path, cameras: Camera, masks: np.ndarray | None) -> Path:
    """A capture folder of gray photographs."""
    frames = []
    for k in range(len(cameras.w2c)):
        image, mask = folder / "images" / f"{k:02d}.png", folder / "masks" / f"{k:02d}.png"
        write_image_at(image, np.full((cameras.height, cameras.width, 3), 90, np.uint8))
        if masks is not None:
            write_image_at(mask, masks[k].astype(np.uint8) * 255)
        frames.append(CameraFrame(f"images/{k:02d}.png", image, None if masks is None else mask, cameras[k]))
    write_transforms(folder / "transforms.json", frames)
    return folder


def write_image_at(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def volume_of(mesh: Mesh) -> float:
    """By the divergence theorem; below 0 where faces are wound inwards."""
    a, b, c = mesh.verts.double()[mesh.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def load(path: Path) -> Mesh:
    return load_scene(path, unwrap="never").flatten()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photographs of the ellipsoid, with masks."""
    cameras = all_around(24)
    return save_capture(tmp_path_factory.mktemp("capture"), cameras, masks_of(thing(), cameras))


@pytest.fixture(scope="module")
def made(capture: Path) -> tuple[Path, Reconstruction]:
    """The mesh file."""
    output = capture / "made" / "egg.obj"
    return output, reconstruct_mesh(capture, output, config=SMALL)


def test_hull_is_as_large_and_as_round_as_the_thing(made: tuple[Path, Reconstruction]):
    mesh = load(made[0])
    assert mesh.part_names == ("egg",)
    assert (made[1].num_masks, made[1].num_points, made[1].num_faces) == (24, 0, len(mesh.faces))
    assert 2900 <= len(mesh.faces) <= 3000
    # The hull of perfect masks would be larger than the thing; masks of 160x120 pixels cost it more. 0.989.
    assert 0.98 < volume_of(mesh) / volume_of(thing()) < 1.0
    # Of a thing whose length is 2, and where a pixel is 0.019 wide. 0.0112 out of the ellipsoid, 0.0102 within it.
    local = mesh.verts - MIDDLE
    out = local.norm(dim=1) * (1 - 1 / (local / AXES).norm(dim=1))
    assert float(out.abs().max()) < 0.014
    # And from the thing to the nearest of 45 points on each of the mesh's faces, which are 0.06 wide.
    back = spatial.cKDTree(points_on(mesh)).query(thing().verts.numpy())[0]
    assert float(back.max()) < 0.016  # 0.0129


def points_on(mesh: Mesh) -> torch.Tensor:
    """45 points on each face."""
    weights = torch.tensor([[i, j, 8 - i - j] for i in range(9) for j in range(9 - i)]) / 8
    return torch.einsum("kc,fcd->fkd", weights, mesh.verts[mesh.faces]).reshape(-1, 3)


def test_surface_is_closed(made: tuple[Path, Reconstruction]):
    faces = load(made[0]).faces
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forth = {tuple(edge) for edge in edges.tolist()}
    assert len(forth) == len(edges)
    assert all((b, a) in forth for a, b in forth)


def test_texture_coordinates_are_ready_to_train_on(made: tuple[Path, Reconstruction]):
    report = load_scene(made[0]).uv_report
    assert report is not None
    assert report.is_usable
    assert load_scene(made[0]).uv_changes == []
    mesh = load(made[0])
    corners = mesh.verts_uv[mesh.faces_uv].double()
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    # Half of the texture is used: 0.52.
    assert float((ax * by - ay * bx).abs().sum()) / 2 > 0.45


def test_silhouettes_are_the_masks(capture: Path, made: tuple[Path, Reconstruction]):
    given = load_capture(capture)
    assert given.masks is not None
    drawn = make_gbuffer(load(made[0]), given.cameras).mask
    iou = (drawn & given.masks).sum((1, 2)) / (drawn | given.masks).sum((1, 2))
    # 0.9879 and 0.9922.
    assert float(iou.min()) > 0.984
    assert float(iou.mean()) > 0.99


def test_wrong_masks_are_forgiven_in_the_number_asked_for(capture: Path, tmp_path: Path):
    cameras = all_around(24)
    masks = masks_of(thing(), cameras)
    masks[7, :, : WIDTH // 2] = False  # a mask that lost half of the thing
    save_capture(tmp_path, cameras, masks)
    volumes = []
    for misses in (0, 1):
        config = ReconstructConfig(faces=1000, resolution=32, misses=misses)
        reconstruct_mesh(tmp_path, tmp_path / "a.obj", config=config)
        volumes.append(volume_of(load(tmp_path / "a.obj")) / VOLUME)
    # 0.51 and 1.00.
    assert volumes[0] < 0.6
    assert 0.97 < volumes[1] < 1.03


def test_outline_lies_half_a_pixel_before_the_first_pixel():
    mask = np.zeros((9, 12), bool)
    mask[:, 5:] = True
    distance = outline_distance(mask)
    assert np.allclose(distance, np.arange(12) + 0.5 - 5, atol=1e-5)
    # What was never photographed says what its neighbour says.
    valid = np.ones_like(mask)
    mask[:, 10:], valid[:, 10:] = False, False
    assert np.allclose(outline_distance(mask, valid), distance, atol=1e-5)
    assert not np.allclose(outline_distance(mask), distance, atol=1e-5)


def facing_z() -> Camera:
    """One camera at the origin that looks along +z, 100 pixels a unit at distance 1."""
    K = torch.tensor([[100.0, 0.0, 40.0], [0.0, 100.0, 30.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return Camera(K[None], torch.eye(4, dtype=torch.float64)[None], 80, 60)


def test_distances_are_in_scene_units_and_go_on_beside_the_picture():
    mask = np.zeros((60, 80), bool)
    mask[:, 40:60] = True
    one = Silhouettes(torch.from_numpy(outline_distance(mask))[None], facing_z())
    points = torch.tensor([[0.05, 0, 1], [0.4, 0, 2], [-0.1, 0, 1], [-1.0, 0, 1], [0.05, 5, 1], [0.1, 0, -1]]).double()
    inside = one.inside(points)
    # Five pixels deep; the border of the mask; ten pixels beside it; 100 pixels beside it, 60 of them off the picture;
    # below the picture, whose border shows the thing; behind the camera, of which there is only this one.
    expected = torch.tensor([0.05, 0.0, -0.1, -math.hypot(0.6, 0.395), 0.05, -math.inf])
    torch.testing.assert_close(inside, expected, atol=1e-5, rtol=0)


def test_least_of_the_views_counts_and_misses_pass_over_the_least():
    cameras = Camera.stack([facing_z()[0]] * 3)
    distance = torch.tensor([3.0, -2.0, 1.0])[:, None, None].expand(3, 60, 80).contiguous()
    views = Silhouettes(distance, cameras)
    point = torch.tensor([[0.0, 0.0, 10.0]], dtype=torch.float64)
    found = [float(views.inside(point, misses=k)) for k in range(3)]
    assert found == pytest.approx([-0.2, 0.1, 0.3])


def test_a_thing_cut_off_by_some_pictures_stays_whole(tmp_path: Path):
    cameras = all_around(24)
    # Every third camera is a close-up of which the frame cuts the thing's ends.
    close = cameras.crop(40, 30, 80, 60).resize(WIDTH, HEIGHT)
    chosen = (torch.arange(24) % 3 == 0)[:, None, None]
    mixed = Camera(torch.where(chosen, close.K, cameras.K), cameras.w2c, WIDTH, HEIGHT)
    masks = masks_of(thing(), mixed)
    cut = masks[:, 0].any(1) | masks[:, -1].any(1) | masks[:, :, 0].any(1) | masks[:, :, -1].any(1)
    assert cut.sum() >= 4
    save_capture(tmp_path, mixed, masks)
    reconstruct_mesh(tmp_path, tmp_path / "a.obj", config=SMALL)
    assert 0.97 < volume_of(load(tmp_path / "a.obj")) / VOLUME < 1.03


def test_largest_piece_is_kept_and_faces_are_as_many_as_asked_for():
    ball = uv_sphere(24, 32)
    verts, faces = ball.verts.double().numpy(), ball.faces.numpy()
    # More faces, less surface.
    both = np.concatenate([0.1 * verts + 5, verts]), np.concatenate([faces, faces[:500] + len(verts)])
    kept = keep_largest(*both)
    assert (len(kept[0]), len(kept[1])) == (len(np.unique(faces[:500])), 500)
    assert np.abs(kept[0]).max() <= 1
    few = decimate(verts + 1e5, faces, 400)
    assert 380 <= len(few[1]) <= 400
    assert np.allclose(np.linalg.norm(few[0] - 1e5, axis=1), 1, atol=0.02)
    assert decimate(verts, faces, len(faces))[0] is verts


def refused(tmp_path: Path, kind: type[NeuraltexError], match: str, *words: Path, **options) -> None:
    with pytest.raises(kind, match=match):
        reconstruct_mesh(*words, **options)
    assert not list(tmp_path.rglob("*.obj"))


def test_refused_captures(tmp_path: Path):
    out = tmp_path / "a.obj"
    cameras = all_around(24)
    masks = masks_of(thing(), cameras)
    bare = save_capture(tmp_path / "bare", cameras, None)
    refused(tmp_path, InputError, r"bare: has neither masks nor sparse points.*--masks.*points3D", bare, out)
    refused(tmp_path, InputError, r"nowhere: the masks do not exist", bare, out, masks=tmp_path / "nowhere")
    masks[:, :, :] = False
    masks[0, 10, 10] = masks[1, 10, 10] = True
    apart = save_capture(tmp_path / "apart", cameras, masks)
    with pytest.warns(InputWarning, match=r"22 of 24 masks are empty and tell nothing, the first is .*02.png"):
        refused(tmp_path, InputError, r"apart: the cones of the 2 masks do not meet", apart, out)
    masks[1] = False
    one = save_capture(tmp_path / "one", cameras, masks)
    refused(tmp_path, InputError, r"one: 1 of 24 masks show an object, and a hull needs at least two", one, out)


def test_cameras_on_one_side(tmp_path: Path):
    w2c = all_around(1).w2c.repeat(4, 1, 1)
    spot = Camera(all_around(1).K.repeat(4, 1, 1), w2c.clone(), WIDTH, HEIGHT)
    masks = masks_of(thing(), spot)
    still = save_capture(tmp_path / "still", spot, masks)
    with pytest.warns(InputWarning, match=r"the cameras go round 0 degrees of the object only"):
        refused(tmp_path, InputError, r"still: all cameras stand in one place; photograph", still, tmp_path / "a.obj")
    # Side by side, with a thing that every frame cuts off on all sides.
    w2c[:, 0, 3] += 0.1 * torch.arange(4)
    masks[:] = True
    masks[:, 0, 0] = False
    wide = save_capture(tmp_path / "wide", Camera(spot.K, w2c, WIDTH, HEIGHT), masks)
    with pytest.warns(InputWarning, match=r"the hull is drawn out"):
        refused(tmp_path, InputError, r"wide: the masks do not close a volume.*from all", wide, tmp_path / "a.obj")


def test_refused_settings(capture: Path, tmp_path: Path):
    refused(
        tmp_path, SettingError, r"--output .*a.ply: expected a file name that ends in .obj", capture, tmp_path / "a.ply"
    )
    (tmp_path / "b.obj").mkdir()
    with pytest.raises(SettingError, match=r"b.obj: is a folder"):
        reconstruct_mesh(capture, tmp_path / "b.obj")
    (tmp_path / "b.obj").rmdir()
    many = ReconstructConfig(misses=23)
    refused(tmp_path, SettingError, r"--misses 23: expected at most 22", capture, tmp_path / "a.obj", config=many)
    for name, value in (("faces", 99), ("resolution", 15), ("resolution", 513), ("misses", -1), ("size", 15)):
        with pytest.raises(SettingError, match=rf"--{name} {value}: expected"):
            ReconstructConfig(**{name: value})


def test_a_failure_leaves_the_old_mesh(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.obj").write_text("old")
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(NeuraltexError, match=r"needs the package skimage .*neuraltex\[reconstruct\]"):
        reconstruct_mesh(capture, tmp_path / "a.obj", config=SMALL)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.obj", "old")]


def test_colmap_points_in_both_forms(tmp_path: Path):
    text = "# a comment\n3 1.5 -2 0.25 10 20 30 0.5 1 7 2 8 3 9\n4 0 0 1 1 2 3 0.1 1 1\n"
    (tmp_path / "points3D.txt").write_text(text)
    found = read_colmap_points(tmp_path)
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == ([[1.5, -2.0, 0.25], [0.0, 0.0, 1.0]], [3, 1])
    content = struct.pack("<Q", 1) + struct.pack("<Q3d3Bd", 3, 2.5, -2, 0.25, 1, 2, 3, 0.5)
    content += struct.pack("<Q6i", 3, 1, 7, 2, 8, 3, 9)
    (tmp_path / "points3D.bin").write_bytes(content)
    found = read_colmap_points(tmp_path)
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == ([[2.5, -2.0, 0.25]], [3])
    (tmp_path / "points3D.bin").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"points3D.bin: the file is cut off.*at byte"):
        read_colmap_points(tmp_path)
    (tmp_path / "points3D.bin").unlink()
    (tmp_path / "points3D.txt").write_text(text + "5 0 0\n")
    with pytest.raises(InputError, match=r"points3D.txt, line 4: expected POINT3D_ID"):
        read_colmap_points(tmp_path)
    (tmp_path / "points3D.txt").write_text(text)
    points = find_points(tmp_path)
    assert points is not None
    assert points.tolist() == [[1.5, -2.0, 0.25]]  # seen by three
    (tmp_path / "points3D.txt").unlink()
    assert find_points(tmp_path) is None


TURN = Similarity(2.5, np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]]), np.array([1.0, 2.0, 3.0]))


def solved_capture(folder: Path, points: np.ndarray, cameras: Camera) -> Path:
    """A folder as `neuraltex prepare` leaves it: the solve in a frame of its own, the cameras in the mesh's."""
    save_capture(folder, cameras, None)
    back = TURN.inverse()
    solver = back.move_cameras(cameras.w2c.double().numpy())
    frames = tuple(
        SolvedFrame(f"images/{k:02d}.png", cameras.K[k].double().numpy(), solver[k], WIDTH, HEIGHT)
        for k in range(len(solver))
    )
    angles = np.where(np.arange(len(points)) % 10 == 0, 0.5, 10.0)
    seen = np.zeros((0, 2), np.int64)
    write_solution(folder, Solution(frames, back.apply(points), angles, seen, len(frames), 0.5))
    assert camera_frames(folder, frames, solver)[0].image_path == folder / "images" / "00.png"
    return folder


def sphere_points(count: int, *, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (directions * AXES.numpy() + noise * rng.normal(size=(count, 3))) + MIDDLE.numpy()


def test_points_of_a_solve_are_moved_to_the_cameras_world(tmp_path: Path):
    points = sphere_points(100)
    solved_capture(tmp_path, points, all_around(5))
    found = find_points(tmp_path / "transforms.json")
    assert found is not None
    # Every tenth has no certain depth. Stored as float32, in a frame whose coordinates reach 5.
    assert np.allclose(found, np.delete(points, np.s_[::10], axis=0), atol=5e-6)
    value = json.loads((tmp_path / "transforms.json").read_text())
    for frame in value["frames"]:
        frame["file_path"] = "other/" + frame["file_path"]
    (tmp_path / "transforms.json").write_text(json.dumps(value))
    shutil.copytree(tmp_path / "images", tmp_path / "other" / "images")
    with pytest.raises(InputError, match=r"transforms.json: has 0 cameras in common with the solve.json"):
        find_points(tmp_path / "transforms.json")


def test_cloud_that_a_transforms_file_names(tmp_path: Path):
    header = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "sparse_pc.ply").write_text(header + "0 1 2\n3 4 5\n")
    (tmp_path / "transforms.json").write_text(json.dumps({"ply_file_path": "sparse_pc.ply"}))
    found = find_points(tmp_path / "transforms.json")
    assert found is not None
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "sparse_pc.ply").write_text("ply\nformat junk")
    with pytest.raises(InputError, match=r"sparse_pc.ply: is not a readable cloud"):
        find_points(tmp_path / "transforms.json")


def test_normals_turn_to_the_cameras():
    points = sphere_points(300)
    outward = (points - MIDDLE.numpy()) / AXES.numpy() ** 2
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    mixed = np.where(np.arange(300)[:, None] % 2 == 0, outward, -outward)
    assert np.array_equal(turn_to_cameras(points, mixed, all_around(24)), outward)
    # Of two cameras the one that holds the point in its picture counts, not the nearer one, which looks away.
    near = look_at(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 0.0]))
    far = look_at(torch.tensor([0.0, 0.0, -3.0]), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    two = Camera.from_fov(torch.stack([near, far]), 48.0, WIDTH, HEIGHT)
    turned = turn_to_cameras(np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]]), two)
    assert turned.tolist() == [[0.0, 0.0, -1.0]]


def test_rough_surface_through_sparse_points(tmp_path: Path):
    pytest.importorskip("open3d", reason="needs Open3D", exc_type=ImportError)
    folder = solved_capture(tmp_path / "capture", sphere_points(3000, noise=0.005), all_around(24))
    made = reconstruct_mesh(folder, tmp_path / "rough.obj", config=SMALL)
    assert (made.num_masks, made.num_points) == (0, 2700)
    mesh = load(tmp_path / "rough.obj")
    local = mesh.verts - MIDDLE
    out = local.norm(dim=1) * (1 - 1 / (local / AXES).norm(dim=1))
    # 0.0090 and 1.0006, with noise of 0.005 in the points.
    assert float(out.abs().max()) < 0.015
    assert 0.98 < volume_of(mesh) / VOLUME < 1.02
    few = solved_capture(tmp_path / "few", sphere_points(100), all_around(24))
    with pytest.raises(InputError, match=r"few: has \d+ sparse points on the object, and a surface needs at least 200"):
        reconstruct_mesh(few, tmp_path / "few.obj")


def test_missing_open3d_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    folder = solved_capture(tmp_path, sphere_points(300), all_around(5))
    refused(
        tmp_path, NeuraltexError, r"needs the package open3d .*neuraltex\[reconstruct\]", folder, tmp_path / "a.obj"
    )


def test_photographs_without_cameras_are_solved_first(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked = []

    def solve(photos: Path, output: Path, *, masks: Path | None, **_: object) -> None:
        asked.append((photos, output, masks))
        cameras = all_around(24)
        save_capture(output, cameras, masks_of(thing(), cameras))

    monkeypatch.setattr(command, "solve_capture", solve)
    words = {"faces": 500, "resolution": 24}
    command.Reconstruct(capture / "images", tmp_path / "egg.obj", masks=capture / "masks", **words)()
    assert asked == [(capture / "images", tmp_path / "egg_capture", capture / "masks")]
    printed = "".join(capsys.readouterr().err.split())
    assert "visualhullof24masks" in printed
    assert f"neuraltextrain{tmp_path}/egg.obj{tmp_path}/egg_capture-oRUN" in printed
    # Where there are cameras nothing is solved.
    command.Reconstruct(capture, tmp_path / "again.obj", **words)()
    assert len(asked) == 1
    assert len(load(tmp_path / "again.obj").faces) <= 500


@pytest.mark.captures
def test_bronze_head(captures: Path, tmp_path: Path):
    config = ReconstructConfig(faces=5000, resolution=64, size=250)
    reconstruct_mesh(captures / "bronze_head", tmp_path / "head.obj", config=config)
    ours, theirs = load(tmp_path / "head.obj"), load(captures / "bronze_head" / "mesh.obj")
    given = load_capture(captures / "bronze_head", size=250)
    assert given.masks is not None
    scores = []
    for mesh in (ours, theirs):
        drawn = torch.cat([make_gbuffer(mesh, given.cameras[k : k + 1]).mask for k in range(0, 66, 11)])
        known = given.masks[::11]
        scores.append(float(((drawn & known).sum((1, 2)) / (drawn | known).sum((1, 2))).mean()))
    # 0.9831; the hull of 20,000 faces that comes with the photographs has 0.9838, and this one 1.001 of its volume.
    assert scores[0] > 0.98
    assert scores[0] > scores[1] - 0.003
    assert 0.98 < volume_of(ours) / volume_of(theirs) < 1.02
