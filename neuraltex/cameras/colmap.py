"""COLMAP models: what the text and the binary form have in common, and the text form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import Distortion
from neuraltex.cameras.frames import CameraFrame, CameraSet
from neuraltex.cameras.lookup import MOST_PIXELS_A_SIDE, find_image, warn_missing
from neuraltex.cameras.nerfstudio import clean_name
from neuraltex.cameras.rotations import matrix_from_quaternion, quaternion_from_matrix
from neuraltex.errors import InputError
from neuraltex.files import whole_file

# Name and number of parameters by model id, in COLMAP's order; those after FULL_OPENCV are named in errors only.
MODELS: tuple[tuple[str, int], ...] = (
    ("SIMPLE_PINHOLE", 3), ("PINHOLE", 4), ("SIMPLE_RADIAL", 4), ("RADIAL", 5),
    ("OPENCV", 8), ("OPENCV_FISHEYE", 8), ("FULL_OPENCV", 12),
    ("FOV", 5), ("SIMPLE_RADIAL_FISHEYE", 4), ("RADIAL_FISHEYE", 5), ("THIN_PRISM_FISHEYE", 12),
)  # fmt: skip
SUPPORTED = tuple(name for name, _ in MODELS[:7])
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")


@dataclass(frozen=True)
class ColmapCamera:
    """One line of cameras.txt: a lens, shared by the images taken with it."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """One entry of images.txt: `quaternion` (w, x, y, z) and `translation` take world to camera."""

    name: str
    camera_id: int
    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]


class Place:
    """A file with a line or byte position, for error messages."""

    def __init__(self, path: Path, *, line: int | None = None, offset: int | None = None) -> None:
        self.path, self.line, self.offset = path, line, offset

    def error(self, problem: str, hint: str = "") -> InputError:
        """An InputError that names the place."""
        suffix = "" if self.offset is None else f" (at byte {self.offset})"
        return InputError(self.path, problem + suffix, line=self.line, hint=hint)


def is_colmap_model(folder: Path) -> bool:
    """Whether `folder` holds cameras and images in text or binary form."""
    return any((folder / f"cameras{end}").is_file() and (folder / f"images{end}").is_file() for end in (".bin", ".txt"))


def read_colmap(folder: Path, *, images: Path | None = None, video_size: tuple[int, int] | None = None) -> CameraSet:
    """Read a COLMAP model; the binary form is preferred where both are there.

    Args:
        folder: holds `cameras.bin` and `images.bin`, or the same with `.txt`.
        images: where the photographs are; else `images` beside the model or up to two folders above it.
        video_size: given when the frames come from a video: no photographs are looked for then.

    Returns:
        The images sorted by name, without those whose photographs do not exist (one warning tells).

    Raises:
        InputError: files are missing, cut off or malformed (names the line or byte), or a lens model is not
            supported (names it).

    Source: COLMAP's documentation, "Output Format" and "Camera Models".
    """
    from neuraltex.cameras.colmap_binary import read_cameras_binary, read_images_binary

    folder = Path(folder)
    if (folder / "cameras.bin").is_file() and (folder / "images.bin").is_file():
        cameras, entries = read_cameras_binary(folder / "cameras.bin"), read_images_binary(folder / "images.bin")
    elif is_colmap_model(folder):
        cameras, entries = read_cameras_text(folder / "cameras.txt"), read_images_text(folder / "images.txt")
    else:
        raise InputError(folder, "is no COLMAP model: cameras.bin and images.bin (or .txt) were expected in it")
    if not entries:
        raise InputError(folder, "the COLMAP model holds no images", hint="choose a model that COLMAP could solve")
    folders = [images] if images is not None else []
    folders += [base / "images" for base in (folder, folder.parent, folder.parent.parent)]
    frames: list[CameraFrame] = []
    missing: list[str] = []
    lenses = {key: pinhole_part(camera) for key, camera in cameras.items()}
    for place, entry in enumerate(sorted(entries, key=lambda image: image.name)):
        if entry.camera_id not in lenses:
            raise InputError(
                folder, f"image {entry.name!r} uses camera {entry.camera_id}, which the model does not hold"
            )
        image_path = None if video_size is not None else find_image(entry.name, folders)
        if video_size is None and image_path is None:
            missing.append(entry.name)
            continue
        K, width, height, distortion = lenses[entry.camera_id]
        camera = Camera(K, _w2c(entry), width, height)
        frames.append(CameraFrame(clean_name(entry.name), image_path, None, camera, distortion, place=place))
    warn_missing(folder, missing, len(entries))
    return CameraSet(tuple(frames), None, None, folder, len(entries))


def write_colmap_text(folder: Path, frames: Sequence[CameraFrame]) -> None:
    """Write `cameras.txt`, `images.txt` and an empty `points3D.txt`; frames with equal lenses share a camera.

    Raises:
        InputError: the folder cannot be written.
    """
    ids: dict[str, int] = {}
    image_lines: list[str] = []
    for number, frame in enumerate(frames, start=1):
        lens = _camera_line(frame)
        camera_id = ids.setdefault(lens, len(ids) + 1)
        w2c = frame.camera.w2c.double()
        pose = [*quaternion_from_matrix(w2c[:3, :3]).tolist(), *w2c[:3, 3].tolist()]
        image_lines.append(f"{number} {' '.join(map(repr, pose))} {camera_id} {frame.name}\n\n")
    with whole_file(folder / "cameras.txt") as temporary:
        temporary.write_text("".join(f"{key} {lens}\n" for lens, key in ids.items()), encoding="utf-8")
    with whole_file(folder / "images.txt") as temporary:
        temporary.write_text("".join(image_lines), encoding="utf-8")
    with whole_file(folder / "points3D.txt") as temporary:
        temporary.write_text("", encoding="utf-8")


def read_cameras_text(path: Path) -> dict[int, ColmapCamera]:
    """Cameras by id out of `cameras.txt`."""
    cameras: dict[int, ColmapCamera] = {}
    for number, line in _lines(path):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        place = Place(path, line=number)
        if len(words) < 5:
            raise place.error(f"expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS, found {len(words)} words")
        key, width, height = (_whole(word, place) for word in (words[0], words[2], words[3]))
        cameras[key] = checked_camera(words[1], width, height, [_real(word, place) for word in words[4:]], place)
    return cameras


def read_images_text(path: Path) -> list[ColmapImage]:
    """Images out of `images.txt`; every second line, which lists points and may be empty, is passed over."""
    entries: list[ColmapImage] = []
    lines = _lines(path)
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = Place(path, line=number)
        words = line.split(maxsplit=9)
        if len(words) < 10:
            raise place.error(f"expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found {len(words)} words")
        pose = [_real(word, place) for word in words[1:8]]
        entries.append(checked_image(words[9].strip(), _whole(words[8], place), pose, place))
        next(lines, None)
    return entries


def read_points_text(path: Path) -> list[tuple[float, float, float, int]]:
    """x, y, z and the number of observations of each point in `points3D.txt`."""
    points: list[tuple[float, float, float, int]] = []
    for number, line in _lines(path):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        place = Place(path, line=number)
        if len(words) < 8 or len(words) % 2:
            raise place.error(f"expected POINT3D_ID X Y Z R G B ERROR and a track, found {len(words)} words")
        x, y, z = (_real(word, place) for word in words[1:4])
        points.append((x, y, z, (len(words) - 8) // 2))
    return points


def read_colmap_points(folder: Path) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The sparse cloud of a COLMAP model; the binary form is preferred where both are there.

    Args:
        folder: holds `points3D.bin` or `points3D.txt`.

    Returns:
        `[P, 3]` float64 points in the model's world and `[P]` int64 photographs that see each; None without a file.

    Raises:
        InputError: the file is cut off or malformed (names the line or byte).
    """
    from neuraltex.cameras.colmap_binary import read_points_binary

    folder = Path(folder)
    if (path := folder / "points3D.bin").is_file():
        points = read_points_binary(path)
    elif (path := folder / "points3D.txt").is_file():
        points = read_points_text(path)
    else:
        return None
    rows = torch.tensor(points, dtype=torch.float64).reshape(-1, 4)
    if not bool((rows.abs() < 1e30).all()):
        raise InputError(path, "a point is not finite", hint="solve the photographs again")
    return rows[:, :3].contiguous(), rows[:, 3].long()


def checked_camera(model: str, width: int, height: int, params: Sequence[float], place: Place) -> ColmapCamera:
    """A ColmapCamera whose fields make sense, or an InputError."""
    if model not in SUPPORTED:
        raise place.error(
            f"the lens model {model} is not supported",
            f"supported are {', '.join(SUPPORTED)}; or let COLMAP undistort the images (image_undistorter)",
        )
    expected = dict(MODELS)[model]
    if len(params) != expected:
        raise place.error(f"{model} has {expected} parameters, found {len(params)}")
    if not (1 <= width <= MOST_PIXELS_A_SIDE and 1 <= height <= MOST_PIXELS_A_SIDE):
        raise place.error(f"an image of {width}x{height} pixels cannot be")
    focals = params[: 1 if model in ONE_FOCAL else 2]
    if not all(math.isfinite(value) and abs(value) < 1e9 for value in params) or min(focals) < 1e-3:
        raise place.error("the focal length must be positive and all parameters finite")
    return ColmapCamera(model, width, height, tuple(params))


def checked_image(name: str, camera_id: int, pose: Sequence[float], place: Place) -> ColmapImage:
    """A ColmapImage whose fields make sense, or an InputError; `pose` is quaternion and translation."""
    if not name:
        raise place.error("the image has no name")
    if not all(math.isfinite(value) and abs(value) < 1e30 for value in pose):
        raise place.error(f"the pose of {name!r} is not finite")
    qw, qx, qy, qz, tx, ty, tz = pose
    length = math.hypot(qw, qx, qy, qz)
    if abs(length - 1) > 1e-2:
        raise place.error(f"the rotation of {name!r} is no unit quaternion, its length is {length:.3g}")
    return ColmapImage(name, camera_id, (qw, qx, qy, qz), (tx, ty, tz))


def pinhole_part(camera: ColmapCamera) -> tuple[torch.Tensor, int, int, Distortion | None]:
    """`K` (float32), width, height and what remains of the lens."""
    fx, *rest = camera.params
    fy = fx if camera.model in ONE_FOCAL else rest.pop(0)
    cx, cy, *lens = rest
    K = torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    if camera.model == "OPENCV_FISHEYE":
        return K, camera.width, camera.height, Distortion.equidistant(*lens)
    # The simple models end early, and what is missing counts as 0: SIMPLE_RADIAL has k1, RADIAL k1 and k2.
    return K, camera.width, camera.height, Distortion.brown(*lens)


def _w2c(entry: ColmapImage) -> torch.Tensor:
    w2c = torch.eye(4, dtype=torch.float64)
    w2c[:3, :3] = matrix_from_quaternion(torch.tensor(entry.quaternion, dtype=torch.float64))
    w2c[:3, 3] = torch.tensor(entry.translation, dtype=torch.float64)
    return w2c.float()


def _camera_line(frame: CameraFrame) -> str:
    K = frame.camera.K.double()
    intrinsics = [K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item()]
    model, lens = "PINHOLE", []
    if frame.distortion is not None:
        given = list(frame.distortion.coefficients)
        model = "OPENCV_FISHEYE" if frame.distortion.fisheye else "FULL_OPENCV" if len(given) > 4 else "OPENCV"
        count = dict(MODELS)[model] - 4
        lens = (given + [0.0] * count)[:count]
    return f"{model} {frame.camera.width} {frame.camera.height} {' '.join(map(repr, intrinsics + lens))}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(path, f"could not be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not UTF-8 text") from error
    return iter(list(enumerate(text.split("\n"), start=1)))


def _whole(word: str, place: Place) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise place.error(f"expected a whole number, found {word[:40]!r}") from error


def _real(word: str, place: Place) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise place.error(f"expected a number, found {word[:40]!r}") from error
