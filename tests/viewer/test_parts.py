"""Parts are moved with the vertices that training found."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from neuraltex.editing.refined import with_refined_verts
from neuraltex.geometry import Motion, Part, Poser, Scene
from neuraltex.viewer.parts import MovableScene
from tests.geometry.test_motion import corner_normals
from tests.scenes import uv_sphere


def part(name: str, transform: torch.Tensor, *, visible: bool = True) -> Part:
    mesh = uv_sphere(4, 6, torch.float64)
    none = torch.full((len(mesh.faces),), -1)
    rows = torch.arange(len(mesh.verts))
    return Part(
        name, mesh.verts, mesh.faces, mesh.verts_uv, mesh.faces_uv, mesh.normals, mesh.faces_normals, none, rows,
        transform, visible,
    )  # fmt: skip


def placed(x: float, scale: tuple[float, float, float]) -> torch.Tensor:
    transform = torch.diag(torch.tensor([*scale, 1.0], dtype=torch.float64))
    transform[0, 3] = x
    return transform


def refined_scene() -> tuple[Scene, Scene]:
    """A scene of three parts, one of them mirrored, one hidden; and with what a training made of it."""
    parts = [part("left", placed(-2.0, (1.0, 2.0, 0.5))), part("hidden", placed(0.0, (1, 1, 1)), visible=False)]
    scene = Scene([*parts, part("right", placed(2.0, (-1.0, 1.0, 1.0)))])
    mesh = scene.flatten(dtype=torch.float64)
    torch.manual_seed(0)
    normals = torch.nn.functional.normalize(mesh.normals + 0.1 * torch.randn_like(mesh.normals), dim=-1)
    mesh = replace(mesh, verts=mesh.verts + 0.05 * torch.randn_like(mesh.verts), normals=normals)
    return scene, with_refined_verts(scene, mesh)


def test_the_refined_mesh_comes_back_from_its_parts():
    scene, refined = refined_scene()
    torch.manual_seed(0)
    given, found = scene.flatten(dtype=torch.float64), refined.flatten(dtype=torch.float64)
    expected = torch.nn.functional.normalize(given.normals + 0.1 * torch.randn_like(given.normals), dim=-1)
    torch.testing.assert_close(found.normals, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.verts, given.verts + 0.05 * torch.randn_like(given.verts), atol=1e-12, rtol=0)
    assert torch.equal(found.faces, given.faces)
    assert refined["hidden"].verts is scene["hidden"].verts


def posed(movable: MovableScene) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices, and normals of faces' corners, of what is rendered."""
    now = movable.placed()
    rest, shape = movable.surfaces(now.shown, torch.device("cpu"))
    mesh = Poser(rest).pose(now.verts, shape)
    return mesh.verts, corner_normals(mesh)


def test_a_part_turns_about_its_middle_and_the_others_stay():
    _, refined = refined_scene()
    before = refined.flatten(dtype=torch.float64)
    movable = MovableScene(refined)
    center = movable.center("right")
    assert torch.equal(movable.pose("right")[:3, 3], center)
    half = math.sqrt(0.5)
    movable.move("right", (half, 0.0, 0.0, half), (center + torch.tensor([1.0, 2.0, 3.0])).tolist())
    after, normals = posed(movable)
    assert movable.version == 1
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    count = len(refined["left"].verts)
    expected = (before.verts[count:] - center) @ quarter.T + center + torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(after[count:].double(), expected, atol=1e-6, rtol=0)  # measured 2e-7
    torch.testing.assert_close(after[:count].double(), before.verts[:count], atol=1e-6, rtol=0)
    turned = corner_normals(before)
    turned[before.part_ids == 2] @= quarter.T
    torch.testing.assert_close(normals.double(), turned, atol=1e-6, rtol=0)  # measured 2e-7
    pose = movable.pose("right")
    torch.testing.assert_close(pose[:3, :3], quarter, atol=1e-12, rtol=0)
    torch.testing.assert_close(pose[:3, 3], center + torch.tensor([1.0, 2.0, 3.0]), atol=1e-12, rtol=0)


def test_hiding_and_putting_back():
    _, refined = refined_scene()
    movable = MovableScene(refined)
    before = movable.placed()
    movable.show("left", False)
    movable.move("right", (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert movable.placed().shown == ("right",)
    assert not movable.is_visible("left")
    movable.reset()
    after = movable.placed()
    assert after.version == 3
    assert torch.equal(after.verts, before.verts)
    assert not movable.is_visible("hidden"), "it was hidden when it was trained"


def test_parts_are_moved_in_any_pose_of_a_motion_and_corrections_go_along():
    scene, refined = refined_scene()
    # Each part has the file's first vertices: `left` and `right` go the same way in their own frames.
    still = scene["left"].verts
    motion = Motion(torch.stack([still, still + torch.tensor([0.0, 0.0, 1.0])]).float(), conditions=torch.eye(2))
    movable = MovableScene(scene, corrected=refined, motion=motion)
    expected = refined.flatten()
    verts, normals = posed(movable)
    torch.testing.assert_close(verts, expected.verts, atol=1e-6, rtol=0)  # measured 3e-8
    torch.testing.assert_close(normals, corner_normals(expected), atol=1e-6, rtol=0)  # measured 9e-8
    movable.seek(1)
    assert movable.version == 1
    count = len(still)
    up = torch.tensor([[0.0, 0.0, 0.5]]).repeat(count, 1), torch.tensor([[0.0, 0.0, 1.0]]).repeat(count, 1)
    torch.testing.assert_close(posed(movable)[0], expected.verts + torch.cat(up), atol=1e-6, rtol=0)  # measured 1e-7
    assert movable.placed().condition.tolist() == [0, 1]
    assert torch.equal(movable.placed(0).verts, scene.flatten().verts), "another frame than the one that is sought"
    movable.move("left", (1.0, 0.0, 0.0, 0.0), (movable.center("left") + torch.tensor([1.0, 0.0, 0.0])).tolist())
    moved = expected.verts + torch.cat(up)
    moved[:count, 0] += 1
    torch.testing.assert_close(posed(movable)[0], moved, atol=1e-6, rtol=0)  # measured 1e-7
    assert scene["left"].transform[0, 3] == -2, "what was given stays"
