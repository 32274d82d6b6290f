"""A mesh where there is none: photographs with cameras and masks come in, an OBJ file with UVs goes out.

Masks are carved to their visual hull; without masks a rough surface is laid through the sparse points of a solve. The
result is one piece in the cameras' world, smoothed, decimated and unwrapped, good enough for the renderer to learn on.
"""

from neuraltex.capture.reconstruct.build import ReconstructConfig, Reconstruction, reconstruct_mesh

__all__ = ["ReconstructConfig", "Reconstruction", "reconstruct_mesh"]
