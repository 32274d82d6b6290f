"""Processes that train together end where one alone does, and render one video between them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from neuraltex.errors import SettingError
from neuraltex.frames import FrameRenderer
from neuraltex.rendering import render_frames
from neuraltex.training.checkpoint import load_tensors
from neuraltex.training.workers import ALONE, Workers
from tests.scenes import ring_cameras
from tests.training.test_trainer import make_trainer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def work(rank: int, port: int, folder: Path) -> None:
    """One of two processes: trains, then renders its share of a path; the first keeps what came of both."""
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    workers, _device = Workers.join(torch.device("cpu"))
    trainer = make_trainer(folder, workers=workers)
    trainer.fit()
    renderer = FrameRenderer(trainer.mesh, trainer.averaged_shader())
    frames = list(render_frames(renderer, ring_cameras(5, 24, 16), workers))
    if workers.first:
        torch.save(torch.stack(frames), folder / "frames.pt")
    else:
        assert not frames
    workers.wait()
    distributed.destroy_process_group()


def test_two_processes_end_where_one_does(tmp_path):
    alone = make_trainer(tmp_path / "alone")
    alone.fit()
    together = tmp_path / "together"
    together.mkdir()
    multiprocessing.start_processes(work, args=(free_port(), together), nprocs=2, start_method="spawn")
    expected, _ = load_tensors(alone.checkpoint)
    found, state = load_tensors(together / "checkpoint.safetensors")
    assert state["step"] == 12
    for name, values in expected.items():
        if name.startswith("average."):
            # Sums of two halves are rounded otherwise than whole ones, and Adam divides by their size. Measured 2e-4.
            torch.testing.assert_close(found[name], values, atol=2e-3, rtol=0)
    renderer = FrameRenderer(alone.mesh, alone.averaged_shader())
    frames = torch.stack(list(render_frames(renderer, ring_cameras(5, 24, 16), ALONE)))
    joined = torch.load(together / "frames.pt", weights_only=True)
    assert joined.shape == (5, 16, 24, 3)
    # measured: no value differs
    assert (joined.int() - frames.int()).abs().max() <= 1
    assert (frames[0].int() - frames[1].int()).abs().max() > 4


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(SettingError, match="batch 3: 2 processes share a batch"):
        make_trainer(tmp_path, batch=3, workers=Workers(0, 2))


def test_alone_nothing_is_sent():
    value = torch.ones(3)
    assert ALONE.sum(value) is value
    assert ALONE.gather(value) == [value]
    assert ALONE.agree(1.5, torch.device("cpu")) == 1.5
    assert Workers.join(torch.device("cpu")) == (ALONE, torch.device("cpu"))
