"""A run whose ball stands out from what is behind it, which a few steps of training do not achieve."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from neuraltex.training import Run


@pytest.fixture(scope="session")
def painted(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "ball"
    shutil.copytree(trained, folder)
    paint(folder)
    return folder


def paint(folder: Path) -> None:
    """Checks in the coarsest texels of a run."""
    run = Run.open(folder)
    shader, state = run.load_model(torch.device("cpu"))
    torch.manual_seed(3)
    with torch.no_grad():
        coarsest = shader.texture.levels[-1]
        coarsest[:, :3] = torch.where(torch.rand(1, 3, *coarsest.shape[2:]) < 0.5, -0.4, 0.4)
    run.save_model(shader, state)
