"""Structure from motion: photographs to cameras and a sparse cloud, by COLMAP on the CPU."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuraltex.cameras.distortion import Distortion
from neuraltex.capture.solve.pairs import (
    EXHAUSTIVE_PHOTOS,
    Pair,
    exhaustive_pairs,
    loop_pairs,
    pairs_around,
    sequential_pairs,
)
from neuraltex.capture.solve.solution import Solution, SolvedFrame
from neuraltex.errors import InputError
from neuraltex.optional import require

Report = Callable[[str, int, int], None]

# Below these the frames hold nothing to hold on to.
FEWEST_FEATURES = 80
# Pairs that share fewer points than this do not carry the solve on.
FEWEST_MATCHES = 15
# A cloud whose rays meet at less than this has no depth.
LEAST_ANGLE_DEG = 2.0
# The share of frames that must come out in one model.
LEAST_SHARE = 0.5
# A pinhole is kept where a lens with distortion explains the points no better than by this factor.
PINHOLE_FACTOR = 1.02
# An off-centre principal point is kept where it lowers the error to this share.
SHIFTED_FACTOR = 0.985
CHUNK = 16


@dataclass(frozen=True)
class MappingConfig:
    """How photographs are solved.

    Args:
        lens: SIMPLE_RADIAL has one distortion coefficient; OPENCV four, for wide lenses; PINHOLE none.
        max_size: longer side in pixels at which features are found; larger photographs are shrunk for it.
        max_features: a photograph.
        one_camera: all photographs come from one lens at one zoom.
        seed: of everything random.
    """

    lens: str = "SIMPLE_RADIAL"
    max_size: int = 1600
    max_features: int = 4096
    one_camera: bool = True
    seed: int = 0


def map_photographs(
    folder: Path,
    names: Sequence[str],
    *,
    masks: Sequence[str | None],
    ordered: bool,
    source: Path,
    config: MappingConfig,
    report: Report,
) -> Solution:
    """Solve photographs for their cameras.

    Args:
        folder: where the photographs lie.
        names: paths below it, in order.
        masks: of each photograph, the path of its mask below the folder, or None; what a mask excludes is not looked
            at, so that a thing on a turntable is followed and not the room behind it.
        ordered: whether neighbours in the list were taken one after the other, as in a video.
        source: what the user gave, for messages.
        config: how.
        report: called with a stage, how much of it is done, and of how much.

    Returns:
        The largest model, its cameras in the order of `names`; frames that were not registered are left out.

    Raises:
        InputError: there is nothing to solve: too few features, no overlap, no baseline; says which.
        NeuraltexError: pycolmap is not installed.
    """
    colmap = require("pycolmap", "poses")
    with tempfile.TemporaryDirectory(prefix="neuraltex-") as temporary, _quiet(colmap):
        work = Path(temporary)
        _extract(colmap, work, folder, names, masks, config, report, source)
        matches = _match(colmap, work, names, ordered, config, report)
        if not matches:
            raise InputError(
                source,
                "no two frames see the same thing",
                hint="neighbouring photographs must overlap by two thirds; film slowly around the object",
            )
        model = _map(colmap, work, folder, len(names), config, report)
        if model is None:
            raise _why_unsolvable(source, matches, len(names))
        return _checked(_solution(_choose_lens(colmap, model, config), names), source)


@contextmanager
def _quiet(colmap: Any) -> Iterator[None]:
    """COLMAP talks to the terminal otherwise."""
    before = colmap.logging.minloglevel
    colmap.logging.minloglevel = 3
    try:
        yield
    finally:
        colmap.logging.minloglevel = before


def _extract(
    colmap: Any,
    work: Path,
    folder: Path,
    names: Sequence[str],
    masks: Sequence[str | None],
    config: MappingConfig,
    report: Report,
    source: Path,
) -> None:
    colmap.set_random_seed(config.seed)
    options = colmap.FeatureExtractionOptions()
    options.max_image_size = config.max_size
    options.use_gpu = False
    options.sift.max_num_features = config.max_features
    # Half of COLMAP's: smooth objects under soft light have weak features only.
    options.sift.peak_threshold = 0.0033
    reader = colmap.ImageReaderOptions()
    reader.camera_model = config.lens
    if any(masks):
        reader.mask_path = _gather_masks(work, folder, names, masks)
    database = work / "database.db"
    mode = colmap.CameraMode.SINGLE if config.one_camera else colmap.CameraMode.PER_IMAGE
    for first in range(0, len(names), CHUNK):
        report("features", first, len(names))
        if first and config.one_camera:
            reader.existing_camera_id = 1
        colmap.extract_features(
            database,
            folder,
            image_names=list(names[first : first + CHUNK]),
            camera_mode=mode,
            reader_options=reader,
            extraction_options=options,
        )
    report("features", len(names), len(names))
    with _database(colmap, database) as opened:
        counts = [opened.num_keypoints_for_image(image.image_id) for image in opened.read_all_images()]
    if not counts or np.median(counts) < FEWEST_FEATURES:
        found = int(np.median(counts)) if counts else 0
        raise InputError(
            source,
            f"the frames are blurred or show nothing distinct: {found} points a frame, at least {FEWEST_FEATURES} "
            "are needed",
            hint="film slower and in more light, with something textured around the object"
            + (", and no masks over it" if any(masks) else ""),
        )


def _gather_masks(work: Path, folder: Path, names: Sequence[str], masks: Sequence[str | None]) -> Path:
    """The masks under the names by which COLMAP looks for them."""
    gathered = work / "masks"
    for name, mask in zip(names, masks, strict=True):
        if mask is not None:
            (gathered / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / mask, gathered / f"{name}.png")
    return gathered


@dataclass(frozen=True)
class _Match:
    """Two photographs that see the same.

    Args:
        pair: their positions.
        count: points both see.
        turned_only: whether a rotation of the camera or a flat scene explains these.
    """

    pair: Pair
    count: int
    turned_only: bool


def _match(
    colmap: Any, work: Path, names: Sequence[str], ordered: bool, config: MappingConfig, report: Report
) -> list[_Match]:
    count = len(names)
    if not ordered or count <= EXHAUSTIVE_PHOTOS // 2:
        pairs = exhaustive_pairs(count)
        _match_pairs(colmap, work, names, pairs, config, report, "matching")
        return _matches(colmap, work, names)
    pairs = sequential_pairs(count)
    _match_pairs(colmap, work, names, pairs, config, report, "matching")
    coarse = loop_pairs(count)
    _match_pairs(colmap, work, names, coarse, config, report, "looking for loops")
    known = pairs + coarse
    again = [match.pair for match in _matches(colmap, work, names) if match.pair in set(coarse)]
    closing = pairs_around(again, count, known)
    _match_pairs(colmap, work, names, closing, config, report, "closing loops")
    return _matches(colmap, work, names)


def _match_pairs(
    colmap: Any, work: Path, names: Sequence[str], pairs: list[Pair], config: MappingConfig, report: Report, stage: str
) -> None:
    matching = colmap.FeatureMatchingOptions()
    matching.use_gpu = False
    verification = colmap.TwoViewGeometryOptions()
    # Photographs of different things would otherwise cost ten thousand trials each.
    verification.ransac.max_num_trials = 2000
    verification.ransac.random_seed = config.seed
    pairing = colmap.ImportedPairingOptions()
    pairing.match_list_path = work / "pairs.txt"
    step = 4 * CHUNK
    for first in range(0, len(pairs), step):
        report(stage, first, len(pairs))
        lines = [f"{names[i]} {names[j]}\n" for i, j in pairs[first : first + step]]
        (work / "pairs.txt").write_text("".join(lines), encoding="utf-8")
        colmap.match_image_pairs(
            work / "database.db",
            matching_options=matching,
            pairing_options=pairing,
            verification_options=verification,
        )
    report(stage, len(pairs), len(pairs))


def _matches(colmap: Any, work: Path, names: Sequence[str]) -> list[_Match]:
    kinds = colmap.TwoViewGeometryConfiguration
    flat = (kinds.PLANAR, kinds.PANORAMIC, kinds.PLANAR_OR_PANORAMIC)
    position = {name: i for i, name in enumerate(names)}
    with _database(colmap, work / "database.db") as opened:
        at = {image.image_id: position[image.name] for image in opened.read_all_images()}
        pair_ids, geometries = opened.read_two_view_geometries()
    matches = []
    for pair_id, geometry in zip(pair_ids, geometries, strict=True):
        ids = colmap.pair_id_to_image_pair(pair_id)
        count = len(geometry.inlier_matches)
        if count >= FEWEST_MATCHES:
            i, j = sorted((at[ids[0]], at[ids[1]]))
            matches.append(_Match((i, j), count, geometry.config in flat))
    return matches


def _map(colmap: Any, work: Path, folder: Path, count: int, config: MappingConfig, report: Report) -> Any:
    options = colmap.IncrementalPipelineOptions()
    options.random_seed = config.seed
    options.min_model_size = min(3, count)
    options.multiple_models = True
    options.extract_colors = False
    if count < 10:
        options.mapper.init_min_num_inliers = 50
    done = 0

    def first_pair() -> None:
        nonlocal done
        done = 2
        report("mapping", done, count)

    def next_image() -> None:
        nonlocal done
        done = min(done + 1, count)
        report("mapping", done, count)

    report("mapping", 0, count)
    models = colmap.incremental_mapping(
        work / "database.db",
        folder,
        work,
        options=options,
        initial_image_pair_callback=first_pair,
        next_image_callback=next_image,
    )
    report("mapping", count, count)
    # Not the first: pieces that could not be joined come out as models of their own.
    return max(models.values(), key=lambda model: model.num_reg_images(), default=None)


def _choose_lens(colmap: Any, model: Any, config: MappingConfig) -> Any:
    """The simplest lens that explains the points: distortion and an off-centre axis must earn their place.

    Undistorting photographs for a distortion that is not there would only blur them, and a principal point that few
    views pin down would only wander.
    """
    chosen = model
    if config.lens != "PINHOLE":
        pinhole = _adjusted(colmap, model, distortion=False, principal_point=False)
        if _error(pinhole) <= PINHOLE_FACTOR * _error(model):
            chosen = pinhole
    distorted = chosen is model and config.lens != "PINHOLE"
    shifted = _adjusted(colmap, chosen, distortion=distorted, principal_point=True)
    return shifted if _error(shifted) <= SHIFTED_FACTOR * _error(chosen) else chosen


def _adjusted(colmap: Any, model: Any, *, distortion: bool, principal_point: bool) -> Any:
    """A copy of the model, bundle-adjusted under another idea of the lens."""
    copied = copy.deepcopy(model)
    if not distortion:
        for camera in copied.cameras.values():
            params = camera.params.copy()
            params[list(camera.extra_params_idxs())] = 0.0
            camera.params = params
    options = colmap.BundleAdjustmentOptions()
    options.refine_extra_params = distortion
    options.refine_principal_point = principal_point
    options.print_summary = False
    adjusted = colmap.BundleAdjustmentConfig()
    for image_id in copied.reg_image_ids():
        adjusted.add_image(image_id)
    adjusted.fix_gauge(colmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # Not `bundle_adjustment`, which turns COLMAP's messages on again.
    colmap.create_default_bundle_adjuster(options, adjusted, copied).solve()
    copied.update_point_3d_errors()
    return copied


def _error(model: Any) -> float:
    return float(model.compute_mean_reprojection_error())


def _solution(model: Any, names: Sequence[str]) -> Solution:
    by_name = {image.name: image for image in model.images.values() if image.has_pose}
    frames = []
    for name in names:
        if name in by_name:
            image = by_name[name]
            w2c = np.eye(4)
            w2c[:3] = image.cam_from_world().matrix()
            K, distortion = _lens(model.cameras[image.camera_id])
            camera = model.cameras[image.camera_id]
            frames.append(SolvedFrame(name, K, w2c, int(camera.width), int(camera.height), distortion))
    points = list(model.points3D.values())
    position = {by_name[frame.name].image_id: k for k, frame in enumerate(frames)}
    observations = [
        (p, position[image_id])
        for p, point in enumerate(points)
        for image_id in {element.image_id for element in point.track.elements}
    ]
    centers = {image.image_id: image.projection_center() for image in by_name.values()}
    xyz = np.array([point.xyz for point in points]).reshape(-1, 3)
    angles = np.array([_widest_angle(point, centers) for point in points])
    seen = np.array(observations, dtype=np.int64).reshape(-1, 2)
    return Solution(tuple(frames), xyz, angles, seen, len(names), _error(model))


def _widest_angle(point: Any, centers: dict[int, npt.NDArray[np.float64]]) -> float:
    rays = np.array([centers[element.image_id] - point.xyz for element in point.track.elements])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return float(np.degrees(np.arccos(np.clip(rays @ rays.T, -1.0, 1.0).min())))


def _lens(camera: Any) -> tuple[npt.NDArray[np.float64], Distortion | None]:
    K = np.asarray(camera.calibration_matrix(), dtype=np.float64)
    extra = [float(camera.params[i]) for i in camera.extra_params_idxs()]
    return K, Distortion.brown(*extra)


def _checked(solution: Solution, source: Path) -> Solution:
    """Refuse a model that only looks like one."""
    if len(solution.points) == 0 or float(np.median(solution.angles_deg)) < LEAST_ANGLE_DEG:
        raise _no_baseline(source)
    share = len(solution.frames) / solution.num_given
    if share < LEAST_SHARE:
        raise InputError(
            source,
            f"only {len(solution.frames)} of {solution.num_given} frames could be joined, the others do not overlap "
            "with them enough",
            hint="photograph in smaller steps, or leave out what shows another place",
        )
    return solution


def _why_unsolvable(source: Path, matches: list[_Match], count: int) -> InputError:
    if np.mean([match.turned_only for match in matches]) > 0.5:
        return _no_baseline(source)
    return InputError(
        source,
        f"the {count} frames could not be joined: {len(matches)} pairs of them overlap, none by enough points",
        hint="neighbouring photographs must overlap by two thirds; film slowly around the object",
    )


def _no_baseline(source: Path) -> InputError:
    return InputError(
        source,
        "the camera only turned and did not move, so nothing has a depth",
        hint="walk around the object while filming",
    )


@contextmanager
def _database(colmap: Any, path: Path) -> Iterator[Any]:
    opened = colmap.Database.open(path)
    try:
        yield opened
    finally:
        opened.close()
