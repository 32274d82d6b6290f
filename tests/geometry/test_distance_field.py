"""Distances around a mesh against those that are known, and what the nodes near it know of the texture."""

from __future__ import annotations

import torch

from neuraltex.geometry.distance_field import MARGIN, distance_field
from tests.scenes import uv_sphere


def _nodes(field):
    depth, height, width = field.distances.shape
    axes = (torch.arange(size) for size in (depth, height, width))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flip(-1) * field.spacing + field.origin


def test_distances_are_those_to_a_sphere():
    mesh = uv_sphere(24, 48)
    field = distance_field(mesh.verts, mesh.faces, mesh.verts_uv, mesh.faces_uv, resolution=40)
    truth = (_nodes(field).norm(dim=-1) - 1.0).abs()
    error = (field.distances - truth) / field.spacing
    # 1.02 spacings at worst: a node is told the sample of the nearest node that has one, not the nearest sample.
    assert error.abs().max() < 1.1
    assert error[truth > 3 * field.spacing].mean().abs() < 0.15  # 0.11 measured


def test_nodes_at_the_surface_know_their_texels():
    mesh = uv_sphere(24, 48)
    field = distance_field(mesh.verts, mesh.faces, mesh.verts_uv, mesh.faces_uv, resolution=40)
    at = _nodes(field).reshape(-1, 3).index_select(0, field.shell)
    assert torch.allclose(at.norm(dim=-1), torch.tensor(1.0), atol=2.5 * float(field.spacing))
    height = field.shell_uv[:, 1]
    latitude = (at[:, 1] / at.norm(dim=-1)).asin()
    # v runs along the meridians of this sphere; a spacing is 0.05 of the radius: 0.9997 measured.
    assert torch.corrcoef(torch.stack([height, latitude]))[0, 1].abs() > 0.999


def test_the_same_field_at_every_run():
    mesh = uv_sphere(6, 8)
    first, second = (
        distance_field(mesh.verts, mesh.faces, mesh.verts_uv, mesh.faces_uv, resolution=20) for _ in range(2)
    )
    assert torch.equal(first.distances, second.distances)
    assert torch.equal(first.shell_uv, second.shell_uv)


def test_there_is_room_around_the_mesh():
    mesh = uv_sphere(6, 8)
    field = distance_field(mesh.verts, mesh.faces, mesh.verts_uv, mesh.faces_uv, resolution=20)
    assert field.distances[0].min() >= (MARGIN - 1) * field.spacing


def test_without_faces_nothing_is_near():
    mesh = uv_sphere(6, 8)
    field = distance_field(mesh.verts, mesh.faces[:0], mesh.verts_uv, mesh.faces_uv[:0])
    assert (field.distances == torch.inf).all()
    assert not len(field.shell)
