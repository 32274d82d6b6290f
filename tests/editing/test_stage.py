"""Laws of moving parts, and one sentence for each mistake."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from neuraltex.editing import Stage
from neuraltex.geometry import Scene
from neuraltex.geometry.mesh import Mesh
from neuraltex.geometry.mtl import Material
from tests.editing.scenes import box_part, floor_part, room

# Rounding to float32: measured 1.2e-7.
CLOSE = {"atol": 1e-6, "rtol": 0.0}


def corners(mesh: Mesh) -> Tensor:
    """`[F, 3, 8]` position, texture coordinate and normal of each face's corners, whatever rows hold them."""
    pairs = ((mesh.verts, mesh.faces), (mesh.verts_uv, mesh.faces_uv), (mesh.normals, mesh.faces_normals))
    return torch.cat([values[rows] for values, rows in pairs], dim=-1)


def points(stage: Stage, name: str) -> Tensor:
    """`[F, 3, 3]` where the corners of a part come to lie."""
    mesh = stage.finish().mesh
    return mesh.verts[mesh.faces[mesh.part_ids == mesh.part_names.index(name)]].double()


def turned(degrees: float) -> Tensor:
    """A turn about z."""
    angle = torch.tensor(degrees).double().deg2rad()
    c, s = angle.cos(), angle.sin()
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]).double()


def outward(mesh: Mesh) -> Tensor:
    """Cosines between what winding and what normals say is outside."""
    first, second, third = mesh.verts[mesh.faces].unbind(1)
    wound = torch.nn.functional.normalize(torch.linalg.cross(second - first, third - first), dim=-1)
    return (wound[:, None] * mesh.normals[mesh.faces_normals]).sum(-1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_untouched_is_the_scene_as_it_was(mirrored):
    scene = room()
    if mirrored:
        scene["box"].transform = torch.diag(torch.tensor([-1.0, 2, 1, 1]))
    staged = Stage(scene).finish()
    assert not staged.changed
    flat = corners(scene.flatten())
    assert torch.equal(corners(staged.mesh), flat)
    assert torch.equal(corners(staged.rest), flat)
    assert torch.equal(staged.turns, torch.eye(3).expand(2, 3, 3))


def test_motions_add_up_in_the_order_of_their_calls():
    stage, before = Stage(room()), points(Stage(room()), "box")
    stage["box"].move([1, 0, 0]).rotate(90, "z", about=[0, 0, 0]).scale(2, about=[0, 0, 0])
    assert torch.allclose(points(stage, "box"), 2 * ((before + torch.tensor([1.0, 0, 0])) @ turned(90).T), **CLOSE)
    assert stage["box"].center.tolist() == pytest.approx([0, 2, 1])
    assert stage.moved == {"box"}
    assert stage.finish().changed


def test_turns_and_scales_are_about_the_centre_unless_told():
    stage, before = Stage(room()), points(Stage(room()), "box")
    stage["box"].move([3, 2, 1]).rotate(30, [0, 0, 1e-200]).scale([1, 2, 3])
    middle = torch.tensor([0.0, 0, 0.5]).double()
    grown = (before - middle) @ turned(30).T * torch.tensor([1.0, 2, 3])
    assert torch.allclose(points(stage, "box"), grown + middle + torch.tensor([3.0, 2, 1]), **CLOSE)
    assert stage["box"].center.tolist() == pytest.approx([3, 2, 1.5])
    assert isinstance(stage["box"].center, np.ndarray), "scripts add lists to it"
    back = Stage(room())
    back["box"].rotate(50, "x").rotate(-50, "x").scale(np.float32(4)).scale(0.25)
    assert torch.allclose(points(back, "box"), before, **CLOSE)


@pytest.mark.parametrize("own", [False, True])
def test_mirroring_keeps_winding_and_normals_of_one_mind(own):
    scene = room()
    if own:
        scene["box"].transform = torch.diag(torch.tensor([1.0, -1, 1, 1]))
    stage = Stage(scene)
    stage["box"].scale([-1, 1, 1]).rotate(40, "y")
    stage["floor"].deform(lambda verts: 1.5 * verts).scale([1, -1, 1])
    staged = stage.finish()
    assert torch.allclose(outward(staged.mesh), torch.ones(14, 3), atol=1e-5)
    # The same corners on both sides of a factor of light.
    assert torch.equal(staged.mesh.verts_uv[staged.mesh.faces_uv], staged.rest.verts_uv[staged.rest.faces_uv])
    assert torch.allclose(outward(staged.rest).abs(), torch.ones(14, 3), atol=1e-5)


@pytest.mark.parametrize("first", ["child", "parent"])
def test_attached_parts_go_along_whatever_was_said_first(first):
    stage = Stage(room())
    orders = [lambda: stage["floor"].move([0, 0, 5]).rotate(90, about=[0, 0, 0]), lambda: stage["box"].move([1, 0, 0])]
    stage["box"].attach("floor")
    for order in orders if first == "parent" else reversed(orders):
        order()
    before = points(Stage(room()), "box")
    assert torch.allclose(points(stage, "box"), (before + torch.tensor([1.0, 0, 5])) @ turned(90).T, **CLOSE)
    assert stage.moved == {"box", "floor"}
    with pytest.raises(ValueError, match="attach: 'box' hangs on 'floor' already"):
        stage["floor"].attach("box")


def test_copies_show_the_same_and_move_alone():
    stage = Stage(room())
    stage["box"].move([1, 0, 0])
    stage["box"].copy("twin").move([1, 0, 0])
    before = points(Stage(room()), "box")
    assert torch.allclose(points(stage, "box"), before + torch.tensor([1.0, 0, 0]), **CLOSE)
    assert torch.allclose(points(stage, "twin"), before + torch.tensor([2.0, 0, 0]), **CLOSE)
    staged = stage.finish()
    twin = staged.rest.part_ids == 2
    assert torch.allclose(staged.rest.verts[staged.rest.faces[twin]].double(), before, **CLOSE)
    assert torch.equal(
        staged.mesh.verts_uv[staged.mesh.faces_uv[2:14]], staged.mesh.verts_uv[staged.mesh.faces_uv[14:]]
    )
    assert stage.moved == {"box"}
    assert [actor.name for actor in stage] == ["floor", "box", "twin"] == list(stage.names)
    with pytest.raises(ValueError, match="expected a new name, 'box' is taken"):
        stage["twin"].copy("box")


def test_hidden_parts_are_left_out_and_shown_again():
    scene = room()
    stage = Stage(scene)
    stage["box"].hide()
    staged = stage.finish()
    assert staged.mesh.part_names == ("floor",)
    assert staged.changed
    assert not Stage(scene)["box"].show().changed
    stage["floor"].hide()
    with pytest.raises(ValueError, match="at least one visible part, all are hidden"):
        stage.finish()


def test_deforming_moves_vertices_first_and_tilts_normals():
    stage = Stage(room())
    stage["floor"].move([0, 0, 1]).deform(lambda verts: verts + np.outer(verts[:, 0], [0, 0, 1]))
    assert points(stage, "floor")[..., 2].flatten().tolist() == pytest.approx([-1, 3, 3, -1, 3, -1])
    mesh = stage.finish().mesh
    expected = torch.tensor([-1.0, 0, 1]) / 2**0.5
    assert torch.allclose(mesh.normals[mesh.faces_normals[:2]], expected.expand(2, 3, 3), **CLOSE)
    with pytest.raises(ValueError, match=r"deform: expected \[8, 3\] positions of 'box' back, got \[7, 3\]"):
        stage["box"].deform(lambda verts: verts[1:])
    with pytest.raises(ValueError, match="finite positions, got others for 8 vertices of 'box'"):
        stage["box"].deform(lambda verts: verts * np.nan)
    with pytest.raises(ValueError, match="got None; does it return them"):
        stage["box"].deform(lambda verts: None)


def test_a_deformation_that_moves_nothing_leaves_a_placed_part_where_it_is():
    scene = room()
    transform = torch.diag(torch.tensor([-2.0, 1, 3, 1]))
    transform[:3, 3] = torch.tensor([1.0, 2, 3])
    scene["box"].transform = transform
    stage = Stage(scene)
    stage["box"].deform(lambda verts: verts)
    assert stage.finish().changed
    assert torch.allclose(corners(stage.finish().mesh), corners(scene.flatten()), **CLOSE)


def test_a_swapped_texture_takes_its_light_along():
    other = box_part("other", low=3.0, side=2.0)
    other.verts_uv = 0.5 * other.verts_uv
    scene = Scene([floor_part(), box_part(), other])
    stage = Stage(scene)
    stage["box"].swap_texture("other")
    staged, flat = stage.finish(), scene.flatten()
    assert torch.equal(staged.mesh.verts_uv[staged.mesh.faces_uv[2:14]], flat.verts_uv[flat.faces_uv[14:]])
    assert torch.equal(staged.mesh.verts[staged.mesh.faces], flat.verts[flat.faces])
    # What was baked into those texels fell onto the part that they were photographed on.
    assert torch.equal(corners(staged.rest)[2:14], corners(flat)[14:])
    assert stage.moved == {"box"}
    with pytest.raises(ValueError, match="expected a part of the 12 triangles of 'box', 'floor' has 2"):
        stage["box"].swap_texture("floor")


def test_splitting_by_each_rule():
    def faces(**rule) -> int:
        stage = Stage(scene)
        new = stage.split("box", "piece", **rule)
        assert len(new.part.faces) + len(stage["box"].part.faces) == len(scene["box"].faces)
        assert not stage.finish().changed
        return len(new.part.faces)

    low, high = box_part(), box_part("high", low=2.0)
    both = replace(low, verts=torch.cat([low.verts, high.verts[:6]]), source_verts=torch.arange(14),
                   faces=torch.cat([low.faces, torch.tensor([[8, 9, 10]])]),
                   faces_uv=torch.cat([low.faces_uv, low.faces_uv[:1]]), face_materials=torch.arange(13) % 2,
                   faces_normals=torch.cat([low.faces_normals, low.faces_normals[:1]]))  # fmt: skip
    scene = Scene([floor_part(), both], materials=(Material("wood"), Material("tin")))
    assert faces(box=([-1, -1, 0.9], [1, 1, 1.1])) == 2
    assert faces(plane=([0, 0, 1.5], [0, 0, 1])) == 1
    assert faces(component=0) == 12
    assert faces(component=1) == 1
    assert faces(material="tin") == 6
    for rule, message in (
        ({}, "one of box, plane, component and material, got none"),
        ({"component": 0, "material": "tin"}, "got component, material"),
        ({"component": 2}, "a component of 'box', 0 to 1, got 2"),
        ({"material": "gold"}, "one of wood, tin; got 'gold'"),
        ({"plane": ([0, 0, 9], [0, 0, 1])}, "some faces of 'box' by plane, got none of 13"),
        ({"box": ([-9] * 3, [9] * 3)}, "some faces of 'box' by box, got all of 13"),
        ({"box": ([-9] * 2, [9] * 3)}, "split: box: expected three finite numbers"),
        ({"plane": ([0, 0, 9], [0, 0, float("nan")])}, "split: plane: expected three finite numbers"),
        ({"plane": [[0, 0, 9]]}, "a point and a normal, for plane, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Stage(scene).split("box", "piece", **rule)
    with pytest.raises(ValueError, match="'floor' is taken"):
        Stage(scene).split("box", "floor", component=1)
    stage = Stage(scene)
    stage["box"].move([1, 0, 0])
    with pytest.raises(ValueError, match="split parts before moving them"):
        stage.split("box", "piece", component=1)


def test_what_hangs_on_a_part_stays_with_it_when_it_is_split():
    stage = Stage(room())
    held = stage["box"]
    stage["floor"].attach(held)
    top = stage.split("box", "top", plane=([0, 0, 0.9], [0, 0, 1]))
    held.move([0, 0, 4])
    assert stage["box"] is held
    assert float(points(stage, "floor")[..., 2].max()) == 4
    assert float(points(stage, "top")[..., 2].max()) == 1
    assert stage.moved == {"box", "floor"}
    assert top.origin == "box"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stage: stage["boxx"], "expected one of floor, box; got 'boxx'; did you mean 'box'"),
        (lambda stage: stage[3], "got 3"),
        (lambda stage: stage["box"].attach("bix"), "did you mean 'box'"),
        (lambda stage: stage["box"].move([1, 2]), r"move: expected three finite numbers, got \[1.0, 2.0\]"),
        (lambda stage: stage["box"].move("far"), "move: expected three finite numbers, got 'far'"),
        (lambda stage: stage["box"].move([0, 0, np.inf]), "move: expected three finite numbers"),
        (lambda stage: stage["box"].rotate(float("nan")), "a finite angle, got nan"),
        (lambda stage: stage["box"].rotate(3, "w"), "an axis x, y, z or a direction, got 'w'"),
        (lambda stage: stage["box"].rotate(3, [0, 0, 0]), "an axis with a length"),
        (lambda stage: stage["box"].scale(0), "factors other than 0"),
        (lambda stage: stage["box"].scale([1, 1]), "scale: expected three finite numbers"),
        (lambda stage: stage["box"].transform(np.diag([1, 1, 0, 1])), "flattens the part"),
        (lambda stage: stage["box"].transform(np.full((4, 4), np.nan)), "finite numbers"),
        (lambda stage: stage["box"].transform(np.eye(3)), "4 by 4"),
        (lambda stage: stage["box"].move([1e39, 0, 0]), "below 3e38"),
        (lambda stage: setattr(stage["box"], "view_dependence", "wold"), "part or world for 'box', got 'wold'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(change, message):
    def edit(stage: Stage) -> None:
        change(stage)
        stage.finish()

    with pytest.raises(ValueError, match=message):
        edit(Stage(room()))
