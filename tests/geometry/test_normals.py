"""Computed normals: smooth on round things, sharp on edges, shared over split vertices."""

from itertools import pairwise

import numpy as np

from neuraltex.geometry.components import connected_components, number_rows, weld
from neuraltex.geometry.normals import smooth_normals
from tests.scenes import uv_sphere


def cube() -> tuple[np.ndarray, np.ndarray]:
    verts = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float64)
    quads = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
    return verts, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def face_normals(verts: np.ndarray, faces: np.ndarray) -> np.ndarray:
    normals = np.cross(verts[faces[:, 1]] - verts[faces[:, 0]], verts[faces[:, 2]] - verts[faces[:, 0]])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_cube_keeps_its_edges() -> None:
    verts, faces = cube()
    normals, index = smooth_normals(verts, faces)
    assert len(normals) == 24
    # Measured error 0.
    np.testing.assert_allclose(normals[index], np.repeat(face_normals(verts, faces)[:, None], 3, axis=1), atol=1e-12)


def test_cube_corners_are_diagonal_when_no_edge_is_a_crease() -> None:
    verts, faces = cube()
    normals, index = smooth_normals(verts, faces, crease_deg=100.0)
    assert len(normals) == 8
    expected = (verts[faces] - 0.5) / np.linalg.norm(verts[faces] - 0.5, axis=2, keepdims=True)
    # Weighing by angle makes the two triangles of a side count as one: measured error 1e-16.
    np.testing.assert_allclose(normals[index], expected, atol=1e-12)


def test_sphere_is_smooth_across_split_vertices() -> None:
    mesh = uv_sphere(24, 36)
    verts, faces = mesh.verts.double().numpy(), mesh.faces.numpy()
    split_verts, split_faces = verts[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3)
    for points, index in ((verts, faces), (split_verts, split_faces)):
        normals, rows = smooth_normals(points, index)
        assert len(normals) == len(np.unique(faces))
        # Measured 7e-6: the sphere is coarse, and float32.
        assert np.abs(np.abs((normals[rows] * points[index]).sum(2)) - 1).max() < 1e-4


def test_faces_without_area_have_unit_normals() -> None:
    verts = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [5, 5, 5], [6, 6, 6], [7, 7, 7]])
    normals, index = smooth_normals(verts, np.array([[0, 2, 3], [0, 1, 2], [4, 5, 6]]))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-12)
    assert index.shape == (3, 3)


def test_tiny_and_huge_meshes_have_normals() -> None:
    verts, faces = cube()
    for scale in (1e-120, 1e14):
        normals, index = smooth_normals(verts * scale, faces)
        np.testing.assert_allclose(normals[index][:, 0], face_normals(verts, faces), atol=1e-12)


def test_components() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, 2000)
    order = np.argsort(labels, kind="stable")
    links = [(a, b) for a, b in pairwise(order) if labels[a] == labels[b]]
    a, b = np.array(links).T
    found = connected_components(2000, b, a)
    assert found.max() == 39
    assert len(np.unique(np.stack([labels, found]), axis=1).T) == 40
    assert found[0] == 0
    shuffled = rng.permutation(3000)
    assert connected_components(3000, shuffled[:-1], shuffled[1:]).max() == 0
    assert connected_components(3, np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == [0, 1, 2]


def test_weld_keeps_first_rows_in_order() -> None:
    first, inverse = weld(np.array([[1.0, 0], [0, 0], [1, 0], [-0.0, 0], [2, 2]]))
    assert first.tolist() == [0, 1, 4]
    assert inverse.tolist() == [0, 1, 0, 1, 2]


def test_number_rows_orders_like_sorting() -> None:
    rng = np.random.default_rng(1)
    for high in (3, 10**15):
        columns = rng.integers(-high, high, (3, 500))
        labels, example = number_rows(*columns)
        distinct, expected = np.unique(columns, axis=1, return_inverse=True)
        assert labels.tolist() == expected.reshape(-1).tolist()
        assert (columns[:, example] == distinct).all()
