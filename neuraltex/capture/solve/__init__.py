"""Structure from motion: a video or photographs without cameras and a mesh come in, a capture folder goes out.

Frames are chosen by sharpness and motion, solved by COLMAP, and the solve is laid onto the mesh's frame: by features of
the texture that the mesh's file names, else by its sparse cloud from many starts, with the photographs to decide, or by
points given by hand. What cannot be laid on for certain is refused.
"""

from neuraltex.capture.solve.mapping import MappingConfig
from neuraltex.capture.solve.prepare import Prepared, align_capture, prepare_capture, solve_capture
from neuraltex.capture.solve.register import Registration, RegistrationError, Score

__all__ = [
    "MappingConfig",
    "Prepared",
    "Registration",
    "RegistrationError",
    "Score",
    "align_capture",
    "prepare_capture",
    "solve_capture",
]
