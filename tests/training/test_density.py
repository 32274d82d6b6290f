"""Texture sizes that photographs can fill."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neuraltex.training.density import LARGEST, SMALLEST, suitable_texture_size
from tests.scenes import ring_cameras, uv_sphere


@pytest.mark.parametrize(("width", "size"), [(700, 512), (800, 512), (1400, 1024)])
def test_a_texel_is_about_one_and_a_half_pixels(width, size):
    """A sheet of the whole texture that fills the picture."""
    sphere = uv_sphere(4, 4)
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    sheet = replace(
        sphere, verts=verts, faces=faces, verts_uv=verts[:, :2], faces_uv=faces,
        faces_normals=sphere.faces_normals[:2], part_ids=sphere.part_ids[:2],
    )  # fmt: skip
    K = torch.tensor([[width, 0.0, 0.0], [0.0, width, 0.0], [0.0, 0.0, 1.0]])
    w2c = torch.eye(4)
    w2c[2, 3] = 1.0
    cameras = replace(ring_cameras(2, 8, 8), K=K.expand(2, 3, 3), w2c=w2c.expand(2, 4, 4), width=width, height=width)
    assert suitable_texture_size(sheet, cameras) == size
    assert suitable_texture_size(replace(sheet, verts_uv=sheet.verts_uv / 2), cameras) == min(2 * size, LARGEST)
    farther = replace(cameras, w2c=cameras.w2c + 3 * torch.eye(4)[2][:, None] * torch.eye(4)[3])
    assert suitable_texture_size(sheet, farther) == SMALLEST


def test_where_nothing_is_seen_the_smallest_will_do():
    mesh = uv_sphere(4, 4)
    away = ring_cameras(2, 16, 16)
    away = replace(away, w2c=away.w2c * torch.tensor([1.0, 1.0, -1.0, 1.0])[:, None])
    assert suitable_texture_size(mesh, away) == SMALLEST
