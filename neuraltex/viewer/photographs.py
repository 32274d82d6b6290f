"""The training photographs, to be compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from neuraltex.cameras.camera import Camera
from neuraltex.cameras.survey import survey_cameras
from neuraltex.capture import Capture


class Photographs:
    """Training photographs by place; decoded when the first one is asked for.

    Args:
        cameras: batch `[N]`, the training cameras where training put them.
        load: decodes the capture; its training photographs are those of `cameras`.
        poses: `[P]` of all photographs of the capture, which frame of the motion each shows; None where the mesh rests.
    """

    def __init__(self, cameras: Camera, load: Callable[[], Capture], poses: Int[Tensor, "P"] | None = None) -> None:
        self.cameras = cameras.to("cpu")
        self._load, self._poses, self._lock = load, poses, threading.Lock()
        self._capture: Capture | None = None
        self._centers, self._forward = self.cameras.center.double(), self.cameras.w2c[:, 2, :3].double()
        self._radius = survey_cameras(self.cameras).radius

    def __len__(self) -> int:
        return len(self.cameras.K)

    def nearest(self, camera: Camera) -> int:
        """Which photograph was taken nearest to a single camera; the scene's distance counts as much as a radian."""
        apart = (self._centers - camera.center.double().cpu()).norm(dim=-1) / self._radius
        turned = torch.acos((self._forward @ camera.w2c[2, :3].double().cpu()).clamp(-1, 1))
        return int((apart.square() + turned.square()).argmin())

    def name(self, index: int) -> str:
        """Which one a photograph is, counted from 1, and what the camera file calls it.

        Raises:
            InputError: the photographs have moved or changed.
        """
        capture = self.decode()
        return f"photograph {index + 1} of {len(self)}: {capture.names[int(capture.train_indices[index])]}"

    def pose(self, index: int) -> int | None:
        """Which frame of the motion a photograph shows; None where the mesh rests.

        Raises:
            InputError: the photographs have moved or changed.
        """
        return None if self._poses is None else int(self._poses[self.decode().train_indices[index]])

    def decode(self) -> Capture:
        """The capture, decoded the first time.

        Raises:
            InputError: the photographs have moved or changed.
        """
        with self._lock:
            if self._capture is None:
                self._capture = self._load()
            return self._capture

    def seen_by(self, index: int, camera: Camera) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """A photograph as another lens in the same place would have taken it.

        Args:
            index: which one.
            camera: a single camera; only its K and size count.

        Returns:
            `[H, W, 3]` uint8 of the camera's size, grey where nothing was photographed; and `[H, W]` where training
            compares with it: photographed, and not excluded by a mask.

        Raises:
            InputError: the photographs have moved or changed.
        """
        capture = self.decode()
        row = int(capture.train_indices[index])
        photo, counted = capture.images[row].numpy(), np.ones(capture.images.shape[1:3], np.uint8)
        for mask in (capture.masks, capture.valid):
            if mask is not None:
                counted &= mask[row].numpy().astype(np.uint8)
        K = self.cameras.K[index].double().numpy()
        scale = min(float(camera.K[0, 0]) / K[0, 0], 1.0)
        if scale < 0.7:  # averaged first: bilinear sampling would skip pixels
            size = (max(round(photo.shape[1] * scale), 1), max(round(photo.shape[0] * scale), 1))
            factors = np.array([[size[0] / photo.shape[1]], [size[1] / photo.shape[0]], [1.0]])
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
            counted = cv2.resize(counted, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
            K = K * factors
        return _through(photo, K, camera, grey=128), _through(counted, K, camera, grey=0) > 0


def _through(image: npt.NDArray[np.uint8], K: npt.NDArray[np.float64], camera: Camera, *, grey: int) -> npt.NDArray:
    """An image of intrinsics `K` as a camera sees it. Our pixel centres lie at halves, OpenCV's at whole numbers."""
    to_image = K @ np.linalg.inv(camera.K.double().cpu().numpy())
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = (np.linalg.inv(half) @ to_image @ half)[:2]
    size = (camera.width, camera.height)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = (grey,) * 3
    return cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border)
