"""Texels to surface points and back, and what fills those nobody saw."""

from __future__ import annotations

import pytest
import torch

from neuraltex.editing.unfold import fill_unknown, seen_texels, unfold, widened
from neuraltex.geometry.mesh import Mesh
from tests.editing.scenes import camera_above, room


@pytest.fixture
def mesh() -> Mesh:
    return room().flatten()


def test_points_of_texels_lie_where_their_coordinates_say(mesh):
    size = 40
    texels = unfold(mesh, size)
    # Half the texture is the floor, 0.46 wide and 0.96 high; the box has six faces of 0.21 x 0.293.
    assert len(texels.places) == pytest.approx(size**2 * (0.46 * 0.96 + 6 * 0.21 * 0.2935), rel=0.05)
    assert texels.places.unique(dim=0).shape == texels.places.shape
    row, column = texels.places.unbind(-1)
    uv = torch.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], dim=-1)
    # The point's barycentrics on its face, from the world, give the texture coordinate again.
    a, b, c = mesh.verts[mesh.faces[texels.faces]].unbind(1)
    edges = torch.stack([b - a, c - a], dim=-1)
    share = torch.linalg.lstsq(edges, (texels.points - a)[..., None]).solution[..., 0]
    assert torch.allclose(torch.einsum("nij,nj->ni", edges, share), texels.points - a, atol=1e-5)
    bary = torch.cat([1 - share.sum(-1, keepdim=True), share], dim=-1)
    back = torch.einsum("nk,nkc->nc", bary, mesh.verts_uv[mesh.faces_uv[texels.faces]])
    # measured 2.1e-7
    assert torch.allclose(back, uv, atol=2e-6)
    floor = texels.faces < 2
    assert torch.equal(texels.normals[floor], torch.tensor([0.0, 0, 1]).expand(int(floor.sum()), 3))
    picture = texels.image(texels.points)
    assert torch.equal(picture[:, row, column].t(), texels.points)
    assert float(picture[:, 0, 0].abs().max()) == 0


def test_seen_texels_are_those_before_a_camera(mesh):
    size = 80
    seen = seen_texels(mesh, camera_above(90, 70), size)
    texels = unfold(mesh, size)
    at = seen[texels.places[:, 0], texels.places[:, 1]]
    away, flat = texels.points[:, :2].abs().amax(dim=1), texels.points[:, 2] == 0
    # The box is 1 wide, and hides a little more of the floor from above; texels beside seen ones count as seen.
    assert bool(at[flat & (away > 0.7) & (away < 1.9)].all())
    assert not bool(at[flat & (away < 0.3)].any())
    assert bool(at[texels.faces // 2 == 2].all()), "the top of the box"
    down = texels.faces // 2 == 1
    assert not bool(at[down].any())


@pytest.mark.parametrize("size", [16, 21])
def test_known_texels_stay_and_constants_are_filled_exactly(size):
    torch.manual_seed(0)
    values, known = torch.rand(3, size, size), torch.rand(size, size) < 0.1
    filled = fill_unknown(values, known)
    assert torch.equal(filled[:, known], values[:, known])
    assert filled.min() >= values[:, known].min() - 1e-6
    assert filled.max() <= values[:, known].max() + 1e-6
    constant = torch.where(known, 0.3, values)
    # rounding of sums: measured 6e-8
    assert torch.allclose(fill_unknown(constant, known), torch.full_like(values, 0.3), atol=5e-7, rtol=0)
    one = torch.zeros(size, size, dtype=torch.bool)
    one[3, 5] = True
    assert int(widened(one, 1).sum()) == 9
    assert int(widened(one, 4).sum()) == 8 * 9
