"""Which rasterizer runs where."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

BACKENDS = ("auto", "triton", "torch")


def pick_backend(backend: str, verts: Tensor) -> str:
    """The backend that will run.

    Args:
        backend: "auto": kernels on CUDA for float32, plain PyTorch elsewhere; or one by name.
        verts: the vertices, for their device and dtype.

    Raises:
        ValueError: an unknown name, or "triton" where it cannot run.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "auto":
        usable = verts.is_cuda and verts.dtype == torch.float32 and importlib.util.find_spec("triton") is not None
        return "triton" if usable else "torch"
    if backend == "triton" and verts.dtype != torch.float32:
        raise ValueError(f"backend: 'triton' takes float32 vertices, got {verts.dtype}")
    return backend
