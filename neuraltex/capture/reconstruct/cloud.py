"""The sparse points that a solve left beside its cameras, and the rough surface through them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.colmap import read_colmap_points
from neuraltex.cameras.frames import CameraSet
from neuraltex.cameras.read import read_cameras
from neuraltex.cameras.survey import survey_cameras
from neuraltex.capture.solve.similarity import Similarity
from neuraltex.capture.solve.solution import POINTS_FILE, SOLVE_FILE, Solution, read_solution
from neuraltex.errors import InputError
from neuraltex.files import read_json
from neuraltex.optional import require

Points = Float[np.ndarray, "P 3"]

FEWEST_POINTS = 200
# Points that fewer photographs agree on, or whose rays meet at less, are too uncertain.
FEWEST_VIEWS, LEAST_ANGLE_DEG = 3, 2.0
# Cameras that go round this much of a circle look at what stands between them.
AROUND_DEG = 200.0
NEIGHBOURS = 16
OUTLIER_SPREAD = 2.0
# The octree is as fine as a sparse cloud carries. Surface further from all points than so many times the radius around
# a point that holds `NEIGHBOURS` others is made up, and left out.
POISSON_DEPTH, FURTHEST = 7, 3.0


def find_points(cameras: Path) -> Points | None:
    """The sparse cloud that belongs to a camera file, in that file's world.

    Args:
        cameras: a COLMAP model folder with `points3D`; or a `transforms.json` that names its cloud (`ply_file_path`),
            or beside which `neuraltex prepare` left its solve.

    Returns:
        `[P, 3]` float64, points too uncertain left out; None where there is no cloud.

    Raises:
        InputError: the cloud is there, but broken.
    """
    if cameras.is_dir():
        found = read_colmap_points(cameras)
        return None if found is None else found[0][found[1] >= FEWEST_VIEWS].numpy()
    if cameras.suffix.lower() != ".json":
        return None
    content = read_json(cameras)
    named = content.get("ply_file_path") if isinstance(content, dict) else None
    if isinstance(named, str) and (cameras.parent / named).is_file():
        return _read_ply(cameras.parent / named)
    folder = cameras.parent
    if (folder / SOLVE_FILE).is_file() and (folder / POINTS_FILE).is_file():
        solution = read_solution(folder)
        certain = solution.points[solution.angles_deg >= LEAST_ANGLE_DEG]
        return _between(solution, read_cameras(cameras), cameras).apply(certain)
    return None


def surface_through(
    points: Points, cameras: Camera, *, source: Path
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """A surface near sparse points, by Poisson reconstruction: rough, open where points are few, made up in between.

    Args:
        points: `[P, 3]` world.
        cameras: batch `[N]` that saw them; normals are turned to them.
        source: what to name in an error.

    Returns:
        `[V, 3]` float64 vertices and `[F, 3]` int64 faces, counterclockwise seen from outside.

    Raises:
        InputError: there are too few points.
        NeuraltexError: Open3D is not installed, or lacks its system libraries.
    """
    o3d, spatial = require("open3d", "reconstruct"), require("scipy.spatial", "reconstruct")
    survey = survey_cameras(cameras)
    if survey.sweep_deg >= AROUND_DEG:
        points = points[np.linalg.norm(points - survey.center.numpy(), axis=1) < survey.radius]
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    if len(points) > NEIGHBOURS:
        cloud, _ = cloud.remove_statistical_outlier(NEIGHBOURS, OUTLIER_SPREAD)
    kept = np.asarray(cloud.points)
    if len(kept) < FEWEST_POINTS:
        raise InputError(
            source,
            f"has {len(kept)} sparse points on the object, and a surface needs at least {FEWEST_POINTS}",
            hint="pass --masks with a mask of the object for every photograph",
        )
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(NEIGHBOURS))
    normals = turn_to_cameras(kept, np.asarray(cloud.normals), cameras)
    cloud.normals = o3d.utility.Vector3dVector(normals)
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=POISSON_DEPTH, n_threads=1)
    verts, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.triangles, np.int64)
    tree = spatial.cKDTree(kept)
    reach = FURTHEST * np.median(tree.query(kept, NEIGHBOURS + 1)[0][:, -1])
    near = tree.query(verts)[0] < reach
    return verts, faces[near[faces].all(1)]


def turn_to_cameras(points: Points, normals: Points, cameras: Camera) -> Points:
    """Normals with the sign that faces the nearest camera whose picture holds the point.

    Args:
        points: `[P, 3]` world.
        normals: `[P, 3]` of either sign.
        cameras: batch `[N]`.

    Returns:
        `[P, 3]`; a point that no picture holds turns to the nearest camera.
    """
    where = torch.from_numpy(points)
    best = torch.full((len(points),), torch.inf, dtype=torch.float64)
    towards = torch.zeros(len(points), 3, dtype=torch.float64)
    for camera in (cameras[k].to(torch.float64) for k in range(len(cameras.w2c))):
        pixels, depth = camera.project(where)
        held = (depth > 0) & (pixels >= 0).all(1) & (pixels[:, 0] <= camera.width) & (pixels[:, 1] <= camera.height)
        ray = camera.center - where
        # Whatever a picture holds comes before everything that none does.
        distance = torch.where(held, 1.0 - 1.0 / (1.0 + ray.norm(dim=1)), 1.0 + ray.norm(dim=1))
        nearer = distance < best
        best = torch.where(nearer, distance, best)
        towards = torch.where(nearer[:, None], ray, towards)
    away = np.einsum("pk,pk->p", normals, towards.numpy()) < 0
    return np.where(away[:, None], -normals, normals)


def _read_ply(path: Path) -> Points:
    import trimesh

    try:
        loaded: Any = trimesh.load(path, process=False)
        points = np.asarray(loaded.vertices, np.float64).reshape(-1, 3)
    except Exception as error:  # trimesh raises whatever its parsers run into
        raise InputError(path, f"is not a readable cloud of points ({type(error).__name__}: {error})") from error
    if not np.isfinite(points).all():
        raise InputError(path, "has points that are not finite")
    return points


def _between(solution: Solution, moved: CameraSet, path: Path) -> Similarity:
    """The similarity from the solver's world to that of the same cameras in another file."""
    w2c = {frame.name: frame.w2c for frame in solution.frames}
    pairs = [(w2c[frame.name], frame.camera.w2c.double().numpy()) for frame in moved.frames if frame.name in w2c]
    if len(pairs) < 2:
        raise InputError(
            path,
            f"has {len(pairs)} cameras in common with the {SOLVE_FILE} beside it, so that its {POINTS_FILE} cannot be "
            "placed",
            hint="lay the solve on a mesh anew with neuraltex align, or pass --masks",
        )
    first, second = (np.stack(side) for side in zip(*pairs, strict=True))
    u, _, vt = np.linalg.svd(np.einsum("nki,nkj->ij", second[:, :3, :3], first[:, :3, :3]))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    from_centers, to_centers = (-np.einsum("nji,nj->ni", w[:, :3, :3], w[:, :3, 3]) for w in (first, second))
    spread = np.linalg.norm(from_centers - from_centers.mean(0))
    scale = float(np.linalg.norm(to_centers - to_centers.mean(0)) / max(float(spread), 1e-300))
    return Similarity(scale, rotation, to_centers.mean(0) - scale * rotation @ from_centers.mean(0))
