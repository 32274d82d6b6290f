"""How the network runs on a GPU: as written, as a captured graph, or compiled and captured."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path
from typing import Literal

import torch

from neuraltex.errors import SettingError

Execution = Literal["auto", "eager", "graph", "compile"]
# Compiling a network takes 10 to 30 s and saves 15 to 40% of each step or frame.
SECONDS_WORTH_COMPILING = 180.0


def pick_execution(choice: str, device: torch.device, *, seconds: float) -> str:
    """How to run.

    Args:
        choice: "auto", or one by name: "eager" as written; "graph" captured once and replayed; "compile" with the
            network compiled by torch first.
        device: where.
        seconds: about how long the device will be busy, which says whether compiling pays.

    Returns:
        "eager", "graph" or "compile"; "auto" is "eager" where there is no GPU or no Triton.

    Raises:
        SettingError: a graph was asked for where none can be captured.
    """
    able = device.type == "cuda" and importlib.util.find_spec("triton") is not None
    if choice == "auto":
        return "eager" if not able else ("compile" if seconds >= SECONDS_WORTH_COMPILING else "graph")
    if choice != "eager" and not able:
        raise SettingError(f"--execution {choice}: needs a CUDA device and Triton; use auto or eager")
    return choice


def compile_in_place(network: torch.nn.Module) -> None:
    """Let torch compile a network at its next call, and keep what was compiled for other processes.

    The cache lies in `~/.cache/neuraltex/inductor` unless TORCHINDUCTOR_CACHE_DIR names a folder.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache" / "neuraltex" / "inductor"))
    # The network computes in bfloat16; advice on float32 products is not for it.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    network.compile(dynamic=False)


def forget_peak(device: torch.device) -> None:
    """Begin to measure memory anew, for `peak_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most memory that tensors took on a GPU at once since `forget_peak`; None elsewhere, where nobody counts."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
