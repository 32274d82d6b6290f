"""`transforms.json`, the camera file of nerfstudio and instant-ngp, read and written."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.distortion import Distortion
from neuraltex.cameras.fields import Fields
from neuraltex.cameras.frames import CameraFrame, CameraSet
from neuraltex.cameras.lookup import find_image, image_size, warn_missing
from neuraltex.files import read_json, write_json

PINHOLE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE")
BROWN_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV")
FISHEYE_MODELS = ("OPENCV_FISHEYE",)


def opengl_to_w2c(c2w: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """OpenGL camera-to-world (+x right, +y up, looking along -z) to our w2c (+y down, looking along +z).

    Args:
        c2w: `[..., 4, 4]` rigid matrices.

    Returns:
        `[..., 4, 4]` w2c.

    Differentiable in: c2w.
    """
    to_opencv = c2w.new_tensor([1.0, -1.0, -1.0])
    rotation = (c2w[..., :3, :3] * to_opencv).transpose(-1, -2)
    w2c = torch.zeros_like(c2w)
    w2c[..., :3, :3] = rotation
    w2c[..., :3, 3] = -(rotation @ c2w[..., :3, 3:]).squeeze(-1)
    w2c[..., 3, 3] = 1.0
    return w2c


def w2c_to_opengl(w2c: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Our w2c to OpenGL camera-to-world; the inverse of `opengl_to_w2c`. Differentiable in: w2c."""
    to_opengl = w2c.new_tensor([1.0, -1.0, -1.0])
    rotation = w2c[..., :3, :3].transpose(-1, -2)
    c2w = torch.zeros_like(w2c)
    c2w[..., :3, :3] = rotation * to_opengl
    c2w[..., :3, 3] = -(rotation @ w2c[..., :3, 3:]).squeeze(-1)
    c2w[..., 3, 3] = 1.0
    return c2w


def read_transforms(
    path: Path,
    *,
    images: Path | None = None,
    with_images: bool = True,
    video_size: tuple[int, int] | None = None,
) -> CameraSet:
    """Read a `transforms.json`.

    The world stays the file's own: `applied_transform` and `applied_scale`, which tell how the file's world came out
    of an earlier one, are neither applied nor undone, and nothing is re-centred.

    Args:
        path: the JSON file.
        images: a folder where the photographs are looked for before the file's own folder.
        with_images: whether photographs belong to the frames. They do not where the frames come from a video or are
            a path to render: none are looked for then, `file_path` may be absent, and a frame may say which one of
            the video it is by `frame_index`.
        video_size: width and height of the video, for frames that tell none.

    Returns:
        The frames in file order, without those whose photographs do not exist (one warning tells).

    Raises:
        InputError: the file is not JSON, a field is missing or wrong, or no photograph exists; names the frame.

    Source: the data conventions of nerfstudio, for the fields and their defaults.
    """
    path = Path(path)
    parsed = read_json(path)
    head = Fields(path, None, parsed)
    folders = [path.parent] if images is None else [images, path.parent]
    frames: list[CameraFrame] = []
    missing: list[str] = []
    seen: set[str] = set()
    entries = head.items("frames")
    for index, entry in enumerate(entries):
        own = Fields(path, index, entry)
        fields = Fields(path, index, entry, parsed)
        # A frame of a video without a name of its own is called by its place there, as its mask is.
        frame_index = own.index("frame_index")
        name = clean_name(own.text("file_path") or f"{index if frame_index is None else frame_index:06d}")
        if name in seen and not with_images:
            # Every frame of a video may name the video; which frame it is then tells them apart.
            name = f"{name}#{own.index('frame_index') or index}"
        if name in seen:
            raise own.error(f"file_path {name!r} is listed a second time")
        seen.add(name)
        image_path = None
        if with_images:
            if own.value("file_path") is None:
                raise own.error("file_path is missing", "name the photograph, or pass the video as the source")
            image_path = find_image(name, folders)
            if image_path is None:
                missing.append(name)
                continue
        frame = _frame(own, fields, name, image_path, folders, video_size)
        frames.append(replace(frame, place=index))
    warn_missing(path, missing, len(entries))
    train, test = _split_names(head, seen)
    return CameraSet(tuple(frames), train, test, path, len(entries))


def write_transforms(path: Path, frames: Sequence[CameraFrame], *, fps: float | None = None) -> None:
    """Write frames, or a camera path, as a `transforms.json` with intrinsics a frame.

    Args:
        path: the JSON file; photographs and masks are named relative to its folder.
        frames: cameras with their photographs where there are any.
        fps: frames a second, where the frames are a path to be rendered.

    Raises:
        ValueError: a lens model that the format does not have (rational coefficients, skew).
        InputError: the file cannot be written.
    """
    path = Path(path)
    value: dict[str, Any] = {} if fps is None else {"fps": fps}
    value["frames"] = [_frame_entry(frame, path.parent) for frame in frames]
    write_json(path, value)


def clean_name(name: str) -> str:
    """Forward slashes and no leading `./`, so that two spellings of a path compare equal."""
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _frame(
    own: Fields,
    fields: Fields,
    name: str,
    image_path: Path | None,
    folders: Sequence[Path],
    video_size: tuple[int, int] | None,
) -> CameraFrame:
    width, height = fields.pixels("w"), fields.pixels("h")
    if width is None or height is None:
        width, height = video_size if video_size is not None else _size(fields, image_path)
    if own.value("transform_matrix") is None:
        raise own.error("transform_matrix is missing")
    w2c = opengl_to_w2c(own.rigid(own.value("transform_matrix"), "transform_matrix"))
    mask_name = own.text("mask_path")
    mask_path = None if mask_name is None else find_image(clean_name(mask_name), folders[::-1])
    if mask_name is not None and mask_path is None:
        raise own.error(f"the mask {mask_name!r} does not exist")
    return CameraFrame(
        name=name,
        image_path=image_path,
        mask_path=mask_path,
        camera=Camera(_intrinsics(fields, width, height).float(), w2c.float(), width, height),
        distortion=_distortion(fields),
        seconds=own.number("seconds") if own.value("seconds") is not None else own.number("time"),
        frame_index=own.index("frame_index"),
    )


def _size(fields: Fields, image_path: Path | None) -> tuple[int, int]:
    if image_path is None:
        raise fields.error("w and h are missing")
    return image_size(image_path)


def _intrinsics(fields: Fields, width: int, height: int) -> Float[Tensor, "3 3"]:
    fl_x = fields.positive("fl_x") or _focal(fields, "camera_angle_x", width)
    fl_y = fields.positive("fl_y") or _focal(fields, "camera_angle_y", height)
    fl_x = fl_y if fl_x is None else fl_x
    fl_y = fl_x if fl_y is None else fl_y
    if fl_x is None or fl_y is None:
        raise fields.error("no focal length", "give fl_x (pixels) or camera_angle_x (radians)")
    cx, cy = fields.number("cx"), fields.number("cy")
    K = torch.eye(3, dtype=torch.float64)
    K[0, 0], K[1, 1] = fl_x, fl_y
    K[0, 2] = 0.5 * width if cx is None else cx
    K[1, 2] = 0.5 * height if cy is None else cy
    if K[0, 0] < 1e-3 or K[1, 1] < 1e-3 or K.abs().max() > 1e9:
        raise fields.error("the focal length or principal point is absurd", "both are in pixels")
    return K


def _focal(fields: Fields, name: str, pixels: int) -> float | None:
    angle = fields.positive(name)
    if angle is None:
        return None
    if angle >= math.pi:
        raise fields.error(f"{name} must be an angle in radians below pi, found {angle:g}")
    return 0.5 * pixels / math.tan(0.5 * angle)


def _distortion(fields: Fields) -> Distortion | None:
    model = (fields.text("camera_model") or "OPENCV").upper()
    known = (*PINHOLE_MODELS, *BROWN_MODELS, *FISHEYE_MODELS)
    if model not in known:
        raise fields.error(f"camera_model {model!r} is not supported", f"supported are {', '.join(known)}")
    if model in PINHOLE_MODELS:
        return None
    k1, k2, k3, k4, p1, p2 = (fields.number(name) or 0.0 for name in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if model in FISHEYE_MODELS or fields.value("is_fisheye") is True:
        return Distortion.equidistant(k1, k2, k3, k4)
    if k4 != 0:
        raise fields.error(f"k4 = {k4:g} has no meaning in camera_model {model}", "undistort the photographs first")
    return Distortion.brown(k1, k2, p1, p2, k3)


def _split_names(head: Fields, known: set[str]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    train = head.texts("train_filenames")
    test = head.texts("test_filenames")
    if test is None:
        test = head.texts("val_filenames")
    cleaned = [None if names is None else tuple(clean_name(name) for name in names) for names in (train, test)]
    for names in cleaned:
        strangers = [name for name in names or () if name not in known]
        if strangers:
            raise head.error(f"the split lists {strangers[0]!r}, which is no frame's file_path")
    shared = set(cleaned[0] or ()) & set(cleaned[1] or ())
    if shared:
        raise head.error(f"{min(shared)!r} is listed both for training and for testing")
    return cleaned[0], cleaned[1]


def _frame_entry(frame: CameraFrame, folder: Path) -> dict[str, Any]:
    camera, K = frame.camera, frame.camera.K.double()
    if K[0, 1] != 0:
        raise ValueError(f"frames: expected no skew, got {K[0, 1].item():g} in {frame.name!r}")
    entry: dict[str, Any] = {"file_path": frame.name}
    if frame.image_path is not None:
        entry["file_path"] = _relative(frame.image_path, folder)
    if frame.mask_path is not None:
        entry["mask_path"] = _relative(frame.mask_path, folder)
    if frame.seconds is not None:
        entry["seconds"] = frame.seconds
    if frame.frame_index is not None:
        entry["frame_index"] = frame.frame_index
    entry |= {"w": camera.width, "h": camera.height}
    entry |= {"fl_x": K[0, 0].item(), "fl_y": K[1, 1].item(), "cx": K[0, 2].item(), "cy": K[1, 2].item()}
    entry |= _lens_entry(frame.distortion)
    entry["transform_matrix"] = w2c_to_opengl(camera.w2c.double()).tolist()
    return entry


def _lens_entry(distortion: Distortion | None) -> dict[str, Any]:
    if distortion is None:
        return {"camera_model": "PINHOLE"}
    if distortion.fisheye:
        names: tuple[str, ...] = ("k1", "k2", "k3", "k4")
    else:
        names = ("k1", "k2", "p1", "p2", "k3")
        if any(distortion.coefficients[5:]):
            raise ValueError("frames: transforms.json has no rational distortion (k4, k5, k6); undistort first")
    model = "OPENCV_FISHEYE" if distortion.fisheye else "OPENCV"
    return {"camera_model": model, **dict(zip(names, distortion.coefficients, strict=False))}


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()
