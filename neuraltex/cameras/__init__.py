"""Cameras: files of other programs come in, `Camera` (K, w2c, size) in the package's one convention goes out.

Readers return a `CameraSet`, writers take one back to the file; paths make new cameras out of the captured ones.
"""

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.cameras.camera_path import CameraPath, read_path, write_path
from neuraltex.cameras.distortion import Distortion
from neuraltex.cameras.frames import CameraFrame, CameraSet
from neuraltex.cameras.paths import default_path, orbit, spiral, training_path
from neuraltex.cameras.read import read_cameras
from neuraltex.cameras.spline import spline_path

__all__ = [
    "Camera",
    "CameraFrame",
    "CameraPath",
    "CameraSet",
    "Distortion",
    "default_path",
    "look_at",
    "orbit",
    "read_cameras",
    "read_path",
    "spiral",
    "spline_path",
    "training_path",
    "write_path",
]
