"""Motions: sampling, reading, and poses whose normals go along with the surface."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from neuraltex.cameras.rotations import so3_exp
from neuraltex.errors import InputError
from neuraltex.geometry import Motion, Poser, Scene, load_scene, read_motion
from neuraltex.geometry.obj_writer import write_obj
from tests.geometry.shapes import CUBE, quad_part, save, scene_of
from tests.scenes import uv_sphere

TURN = so3_exp(torch.tensor([[0.4, -0.9, 0.3]], dtype=torch.float64))[0]


def bent(verts: torch.Tensor, amount: float) -> torch.Tensor:
    """Twisted around the vertical, the more the higher."""
    angle = amount * verts[:, 1]
    x, y, z = verts.unbind(-1)
    return torch.stack([x * angle.cos() - z * angle.sin(), y, x * angle.sin() + z * angle.cos()], dim=-1)


def odd_normals(mesh):
    """The mesh with normals that its faces would not give, as an artist may set them."""
    generator = torch.Generator().manual_seed(2)
    tilted = mesh.normals + 0.3 * torch.randn(mesh.normals.shape, generator=generator, dtype=mesh.normals.dtype)
    return replace(mesh, normals=normalize(tilted, dim=-1))


def corner_normals(mesh):
    return mesh.normals[mesh.faces_normals]


def test_a_motion_is_linear_between_frames_and_held_or_looped_beyond_them():
    motion = Motion(torch.tensor([0.0, 1.0, 3.0])[:, None, None].expand(3, 2, 3), fps=10.0)
    values = [float(motion.at(t)[0, 0]) for t in (-1.0, 0.0, 0.025, 0.1, 0.175, 0.2, 7.0)]
    assert values == pytest.approx([0.0, 0.0, 0.25, 1.0, 2.5, 3.0, 3.0])
    looped = [float(motion.at(t, loop=True)[0, 0]) for t in (0.2, 0.225, 0.3, 0.325, -0.1)]
    assert looped == pytest.approx([3.0, 2.25, 0.0, 0.25, 3.0], abs=1e-5)
    assert torch.equal(motion.at(0.1), motion.frame(1))
    with pytest.raises(ValueError, match="frame: expected 0 to 2, got 3"):
        motion.frame(3)


def test_a_resting_pose_is_the_mesh_itself_with_its_own_normals():
    mesh = odd_normals(uv_sphere(dtype=torch.float64))
    posed = Poser(mesh).pose(mesh.verts)
    assert torch.equal(posed.verts, mesh.verts)
    # measured 7e-16
    assert (corner_normals(posed) - corner_normals(mesh)).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_normals_and_corrections_turn_with_a_rigid_motion(scale):
    mesh = odd_normals(uv_sphere(dtype=torch.float64))
    generator = torch.Generator().manual_seed(4)
    offsets = 0.02 * torch.randn(mesh.verts.shape, generator=generator, dtype=torch.float64)
    shape = odd_normals(mesh.with_verts(mesh.verts + offsets))
    moved = scale * mesh.verts @ TURN.T + 5.0
    posed = Poser(mesh).pose(moved)
    # measured 1e-15
    assert (corner_normals(posed) - corner_normals(mesh) @ TURN.T).abs().max() < 1e-12
    corrected = Poser(mesh).pose(moved, shape)
    assert (corrected.verts - (moved + offsets @ TURN.T)).abs().max() < 1e-12
    if scale == 1.0:
        assert (corner_normals(corrected) - corner_normals(shape) @ TURN.T).abs().max() < 1e-12


def test_normals_of_a_bent_mesh_are_those_of_the_bent_surface():
    mesh = uv_sphere(40, 60, dtype=torch.float64)
    # The sphere's own normals: its positions.
    mesh = replace(mesh, normals=normalize(mesh.verts, dim=-1), faces_normals=mesh.faces)
    verts = bent(mesh.verts, 0.8)
    point = mesh.verts.clone().requires_grad_()
    # n^T J^-1 of the bend at each vertex, row by row.
    jacobian = torch.stack([torch.autograd.grad(bent(point, 0.8)[:, k].sum(), point)[0] for k in range(3)], dim=1)
    truth = normalize(torch.einsum("vi,vij->vj", mesh.normals, torch.linalg.inv(jacobian)), dim=-1)
    found = torch.zeros_like(truth)
    posed = Poser(mesh).pose(verts)
    found[posed.faces.reshape(-1)] = corner_normals(posed).reshape(-1, 3)
    angle_deg = torch.rad2deg((found * truth).sum(-1).clamp(-1, 1).acos())[mesh.faces.unique()]
    assert angle_deg.max() < 0.2  # measured 0.107 in faces of 4.5 by 6 degrees, 0.027 in ones of half that


def test_creases_stay_and_repeated_corner_normals_stay_smooth(tmp_path):
    cube = load_scene(save(tmp_path / "cube.obj", CUBE)).flatten()
    assert Poser(cube).num_normals == 24
    ball = uv_sphere()
    split = replace(
        ball, normals=corner_normals(ball).reshape(-1, 3), faces_normals=torch.arange(3 * len(ball.faces)).view(-1, 3)
    )
    assert Poser(split).num_normals == len(ball.faces.unique())
    verts = bent(ball.verts, 0.5)
    smooth, again = (corner_normals(Poser(mesh).pose(verts)) for mesh in (ball, split))
    assert (smooth - again).abs().max() < 1e-5  # measured 6e-7


def test_gradients_reach_the_vertices_of_a_motion_and_the_corrections():
    mesh = uv_sphere(4, 6, dtype=torch.float64)
    poser = Poser(mesh)
    generator = torch.Generator().manual_seed(0)
    moved = (bent(mesh.verts, 0.7) + 0.05).requires_grad_()
    shaped = (mesh.verts + 0.03 * torch.randn(mesh.verts.shape, generator=generator, dtype=torch.float64)).detach()
    shaped.requires_grad_()
    normals = mesh.normals.clone().requires_grad_()

    def values(moved, shaped, normals):
        posed = poser.pose(moved, replace(mesh, verts=shaped, normals=normals))
        return posed.verts, posed.normals

    assert torch.autograd.gradcheck(values, (moved, shaped, normals), eps=1e-6, atol=1e-6)


def test_a_motion_reaches_parts_where_their_transforms_put_them():
    left, right = quad_part("left", (0, 0), (0.4, 1)), quad_part("right", (0.5, 0), (1, 1), at=2.0)
    right.source_verts = torch.tensor([7, 6, 5, 4])
    right.transform = torch.tensor([[0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    scene = scene_of(left, right)
    verts = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    flat = Motion(verts, 12.0).onto(scene)
    assert flat.fps == 12.0
    assert torch.equal(flat.verts[:, :4], verts[:, :4])
    first = verts[1, 7]
    expected = torch.stack([3 - first[1], first[0], first[2]])
    assert (flat.verts[1, 4] - expected).abs().max() < 1e-6
    flat.verts[1, 4].sum().backward()
    assert verts.grad[1, 7].abs().min() == 1
    right.visible = False
    assert Motion(verts).onto(scene).verts.shape == (2, 4, 3)
    with pytest.raises(ValueError, match=r"more than 3 vertices for the part 'left', got 2"):
        Motion(torch.zeros(1, 2, 3)).onto(scene)


@pytest.fixture
def cube(tmp_path) -> Scene:
    return load_scene(save(tmp_path / "cube.obj", CUBE), unwrap="never")


def cube_frames() -> np.ndarray:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float64)
    return np.stack([corners * [1, 1, 1 + 0.5 * k] for k in range(3)])


def write_frames(folder: Path, frames: np.ndarray, names: list[str] | None = None) -> Path:
    folder.mkdir()
    faces = CUBE[CUBE.index("f") :]
    for k, verts in enumerate(frames):
        text = "".join(f"v {x} {y} {z}\n" for x, y, z in verts.tolist())
        save(folder / (names[k] if names else f"cube_{k + 1:03d}.obj"), text + faces)
    return folder


def test_a_folder_of_objs_an_npz_and_our_own_file_hold_the_same_motion(cube, tmp_path):
    frames = cube_frames()
    names = ["v2_9.obj", "v2_10.obj", "v2_11.obj"]  # by number, not by name
    folder = write_frames(tmp_path / "objs", frames, names)
    np.savez(tmp_path / "a.npz", verts=frames, fps=12.0)
    motion = read_motion(tmp_path / "a.npz", cube)
    motion.save(tmp_path / "a.safetensors")
    for path, fps in ((folder, 25.0), (tmp_path / "a.npz", 12.0), (tmp_path / "a.safetensors", 12.0)):
        found = read_motion(path, cube, fps=25.0)
        assert found.fps == fps
        assert np.array_equal(found.verts.numpy(), frames.astype(np.float32))


def test_polygons_cut_along_another_diagonal_are_the_same_faces(cube, tmp_path):
    frames = cube_frames()
    # A corner pushed into the middle of the top makes it concave, and so be cut along the other diagonal.
    frames[:, 5, :2] = 0.3
    assert read_motion(write_frames(tmp_path / "objs", frames), cube).num_frames == 3
    turned = load_scene(tmp_path / "objs" / "cube_001.obj", unwrap="never")
    assert not torch.equal(turned.parts[0].faces, cube.parts[0].faces)


def test_a_scene_keeps_the_number_of_its_files_vertices(cube, tmp_path):
    cube.save(tmp_path / "scene.safetensors")
    assert Scene.load(tmp_path / "scene.safetensors").num_source_verts == 8
    np.savez(tmp_path / "more.npz", verts=np.zeros((2, 9, 3)))
    with pytest.raises(InputError, match=r"more.npz: holds 9 vertices, the mesh cube.obj has 8; "):
        read_motion(tmp_path / "more.npz", Scene.load(tmp_path / "scene.safetensors"))


def test_a_mesh_whose_vertices_were_split_at_seams_moves_by_its_files_vertices(tmp_path):
    # v == vt at every corner: the reader joins what lies at one place.
    ball = uv_sphere(4, 6)
    scene = load_scene(_split_obj(tmp_path / "split.obj", ball))
    assert len(scene.parts[0].verts) < scene.num_source_verts
    frames = tmp_path / "frames"
    frames.mkdir()
    for k in range(2):
        _split_obj(frames / f"{k}.obj", ball.with_verts(bent(ball.verts, 0.4 * k)))
    motion = read_motion(frames, scene)
    flat = motion.onto(scene)
    rest = scene.flatten().verts
    assert (flat.frame(0) - rest).abs().max() < 1e-6
    assert (flat.frame(1) - bent(rest, 0.4)).abs().max() < 1e-5


def _split_obj(path: Path, mesh) -> Path:
    corners = mesh.verts.new_zeros(len(mesh.verts_uv), 3)
    corners[mesh.faces_uv.reshape(-1)] = mesh.verts[mesh.faces.reshape(-1)]
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in corners.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh.verts_uv.tolist()]
    lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in face) for face in mesh.faces_uv.tolist()]
    return save(path, "\n".join(lines) + "\n")


def _npz(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


def _broken(case: str, folder: Path) -> Path:
    frames = cube_frames()
    path = folder / "bad"
    if case == "nan":
        frames[2, 3, 1] = np.nan
        return _npz(folder / "bad.npz", verts=frames)
    if case == "fewer":
        return _npz(folder / "bad.npz", verts=frames[:, :5])
    if case == "no verts":
        return _npz(folder / "bad.npz", vertices=frames)
    if case == "integers":
        return _npz(folder / "bad.npz", verts=frames.astype(np.int64))
    if case == "flat":
        return _npz(folder / "bad.npz", verts=frames[0])
    if case == "rate":
        return _npz(folder / "bad.npz", verts=frames, fps=0.0)
    if case == "no archive":
        return save(folder / "bad.npz", "hello")
    if case == "no file of ours":
        return save(folder / "bad.safetensors", "hello")
    if case == "unknown":
        return save(folder / "bad.abc", "hello")
    if case == "gap":
        return write_frames(path, frames, ["f1.obj", "f2.obj", "f4.obj"])
    if case == "twice":
        return write_frames(path, frames, ["a1.obj", "b1.obj", "f4.obj"])
    if case == "no number":
        return write_frames(path, frames, ["a1.obj", "a2.obj", "last.obj"])
    write_frames(path, frames)
    text = (path / "cube_002.obj").read_text()
    if case == "empty":
        for file in path.iterdir():
            file.unlink()
    elif case == "more":
        save(path / "cube_002.obj", "v 0 0 0\n" + text)
    elif case == "other faces":
        save(path / "cube_002.obj", text.replace("f 1 3 4 2", "f 1 4 3 2"))
    elif case == "fewer faces":
        save(path / "cube_002.obj", text.replace("f 1 3 4 2\n", ""))
    elif case == "other mesh":
        for file in path.iterdir():
            save(file, file.read_text().replace("f 1 3 4 2", "f 1 4 3 2"))
    elif case == "smaller mesh":
        for file in path.iterdir():
            save(file, file.read_text().replace("f 1 3 4 2\n", ""))
    elif case == "not finite":
        save(path / "cube_002.obj", text.replace("v 1.0 0.0 0.0", "v nan 0 0"))
    return path


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("nan", r"bad.npz, frame 2: a vertex is not finite; "),
        ("fewer", r"bad.npz: holds 5 vertices, the mesh cube.obj has 8; "),
        ("no verts", r"bad.npz: holds no array verts, only vertices"),
        ("integers", r"bad.npz: verts: floating-point numbers were expected, found int64"),
        ("flat", r"bad.npz: verts: numbers \[frames, vertices, 3\] were expected, found \[8, 3\]"),
        ("rate", r"bad.npz: fps: frames a second above 0 were expected, found 0"),
        ("no archive", r"bad.npz: is not a readable NumPy archive"),
        ("no file of ours", r"bad.safetensors: is not a motion file"),
        ("unknown", r"bad.abc: is of an unknown format, suffix '.abc'; a motion is a folder"),
        ("gap", r"bad: frame 3 is missing: f4.obj follows f2.obj; "),
        ("twice", r"b1.obj: is frame 1, and so is a1.obj"),
        ("no number", r"last.obj: has no number in its name; "),
        ("empty", r"bad: holds no OBJ files; "),
        ("more", r"cube_002.obj: holds 9 vertices, the mesh cube.obj has 8; "),
        ("other faces", r"cube_002.obj: its faces name other vertices than those of cube_001.obj; "),
        ("fewer faces", r"cube_002.obj: has 5 faces, cube_001.obj has 6; "),
        ("other mesh", r"cube_001.obj: its faces join other vertices than those of the mesh cube.obj; "),
        ("smaller mesh", r"cube_001.obj: has faces of 10 triangles, the mesh cube.obj has 12; "),
        ("not finite", r"cube_002.obj, line \d: coordinates must be finite"),
    ],
)
def test_motions_that_cannot_be_are_named(cube, tmp_path, case, expected):
    with pytest.raises(InputError, match=expected) as caught:
        read_motion(_broken(case, tmp_path), cube)
    assert "\n" not in str(caught.value)


def test_a_motion_that_is_not_there_is_named(cube, tmp_path):
    with pytest.raises(InputError, match=r"none.npz: does not exist; a motion is a folder of OBJ files"):
        read_motion(tmp_path / "none.npz", cube)


def test_what_was_written_as_an_obj_moves_by_it(cube, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    write_obj(cube, folder / "0.obj")
    assert read_motion(folder, cube).num_frames == 1
