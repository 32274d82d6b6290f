"""Which rasterizer runs where."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from neuraltex.errors import NeuraltexError
from neuraltex.optional import require

BACKENDS = ("auto", "triton", "torch", "pytorch3d")


def pick_backend(backend: str, verts: Tensor) -> str:
    """The backend that will run.

    Args:
        backend: "auto": kernels on CUDA for float32, plain PyTorch elsewhere; or one by name. "auto" never takes
            "pytorch3d": the others see the same faces, faster, and need nothing installed.
        verts: the vertices, for their device and dtype.

    Raises:
        ValueError: an unknown name, or "triton" for a dtype that it does not take.
        NeuraltexError: "pytorch3d" where PyTorch3D is not installed, or was built without the device.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "auto":
        usable = verts.is_cuda and verts.dtype == torch.float32 and importlib.util.find_spec("triton") is not None
        return "triton" if usable else "torch"
    if backend == "triton" and verts.dtype != torch.float32:
        raise ValueError(f"backend: 'triton' takes float32 vertices, got {verts.dtype}")
    if backend == "pytorch3d" and not pytorch3d_has_cuda() and verts.is_cuda:
        raise NeuraltexError(
            "backend: this PyTorch3D was built without CUDA; install a build with it (environment.yml does), move the "
            "mesh and the cameras to the CPU, or leave the choice to backend='auto'"
        )
    return backend


def pick_stages(backend: str, values: Tensor) -> str:
    """The backend of all that follows visibility: "triton" or "torch".

    PyTorch3D only finds the visible faces. What is computed on them is ours whichever backend found them, so
    "pytorch3d" means the same here as "auto".

    Args:
        backend: as in `pick_backend`.
        values: what is computed on, for its device and dtype.

    Raises:
        ValueError: as `pick_backend`.
    """
    return pick_backend("auto" if backend == "pytorch3d" else backend, values)


def pytorch3d_has_cuda() -> bool:
    """Whether the installed PyTorch3D was built with CUDA.

    Raises:
        NeuraltexError: it is not installed, or does not fit this torch.
    """
    # Its functions have the same names without CUDA and fail when called; this one exists only with it.
    return hasattr(require("pytorch3d._C"), "knn_check_version")
