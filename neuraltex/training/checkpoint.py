"""Named tensors and a few numbers in one safetensors file; nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuraltex.errors import InputError
from neuraltex.files import whole_file


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a JSON-able state, whole or not at all.

    Raises:
        InputError: the file cannot be written, a full disk included; what stood there before stays.
    """
    # Cloned where two names share storage, which the format refuses.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"state": json.dumps(state)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `save_tensors` wrote.

    Raises:
        InputError: the file is missing, cut short, or not a safetensors file of this package.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
            metadata = stored.metadata() or {}
        state = json.loads(metadata["state"])
        if not isinstance(state, dict):
            raise ValueError("state is not a table")
    except OSError as error:
        raise InputError(path, f"could not be read ({error.strerror or error})") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            path, f"is not a checkpoint of neuraltex or was cut short ({error})", hint="train again or use a backup"
        ) from error
    return tensors, state


def load_parameters(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path, prefix: str = "") -> None:
    """Copy stored tensors into a module's parameters, which must match by name and shape.

    Raises:
        InputError: a tensor is missing or has another shape; names it.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            stored = tensors.get(prefix + name)
            if stored is None or stored.shape != parameter.shape:
                found = "missing" if stored is None else f"of shape {list(stored.shape)}"
                raise InputError(
                    path,
                    f"{prefix + name} is {found}, {list(parameter.shape)} was expected",
                    hint="the checkpoint belongs to other settings than config.json beside it",
                )
            parameter.copy_(stored)
