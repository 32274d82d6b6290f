"""Training learns, resumes bit for bit, and stops with its last good checkpoint intact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neuraltex.errors import InputError, NeuraltexError, SettingError
from neuraltex.pipeline import render
from neuraltex.shading import Shader, ShadingConfig
from neuraltex.training import checkpoint as checkpoint_module
from neuraltex.training.checkpoint import load_tensors, save_tensors
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.sampler import Photos
from neuraltex.training.trainer import Trainer
from neuraltex.training.workers import ALONE, Workers
from tests.scenes import uv_sphere
from tests.training.test_sampler import direction_capture

SHADING = ShadingConfig(decoder_width=4, decoder_levels=2, texture_size=16, texture_levels=2, environment_size=16)


def make_trainer(
    folder: Path,
    *,
    steps: int = 12,
    num_views: int = 9,
    shading: ShadingConfig = SHADING,
    workers: Workers = ALONE,
    device: str = "cpu",
    execution: str = "auto",
    **changes,
) -> Trainer:
    capture = direction_capture(num_views)
    torch.manual_seed(0)
    config = TrainingConfig(**{"batch": 2, "crop": 24, "save_minutes": 1e9, "warmup_steps": 3, **changes})
    return Trainer(
        uv_sphere().to(device),
        Photos(capture, capture.train_indices, torch.device(device)),
        Shader(shading).to(device),
        config,
        Budget(steps=steps),
        seed=4,
        checkpoint=folder / "checkpoint.safetensors",
        workers=workers,
        execution=execution,
    )


def test_training_lowers_the_error_on_views_it_has_not_seen(tmp_path):
    trainer = make_trainer(tmp_path, steps=150, num_views=24, decoder_rate=5e-3)
    capture = direction_capture(24)
    view = Photos(capture, capture.test_indices, torch.device("cpu")).view(1)

    def error():
        with torch.no_grad():
            rgb = render(trainer.mesh, view.cameras, trainer.averaged_shader()).rgb
        return float((rgb - view.target).square().mean())

    before = error()
    trainer.fit()
    assert error() < 0.3 * before  # measured 0.14


def test_a_strong_decay_leaves_the_background_to_coarse_texels(tmp_path):
    shares = []
    for decay in (0.0, 10.0):
        trainer = make_trainer(tmp_path / str(decay), steps=120, environment_decay=decay)
        trainer.fit()
        levels = [level.detach() for level in trainer.averaged_shader().environment.levels]
        shares.append(float(levels[0].square().mean() / levels[-1].square().mean()))
    # measured 0.0037 and 0.0173
    assert shares[1] < 0.5 * shares[0]


@pytest.mark.parametrize("decoder", ["default", "paper"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, decoder):
    shading = ShadingConfig(**{**SHADING.__dict__, "decoder": decoder})
    whole = make_trainer(tmp_path / "whole", shading=shading)
    whole.fit()

    killed = make_trainer(tmp_path / "parts", shading=shading, save_minutes=0.0)

    def kill(progress):
        if progress.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.fit(kill)
    resumed = make_trainer(tmp_path / "parts", shading=shading)
    resumed.restore()
    assert resumed.step == 7
    resumed.fit()
    first, state = load_tensors(whole.checkpoint)
    second, again = load_tensors(resumed.checkpoint)
    assert state["step"] == again["step"] == 12
    assert first.keys() == second.keys()
    assert len(first) > 30
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def _poison_at(trainer, step, value):
    def report(progress):
        if progress.step == step:
            with torch.no_grad():
                trainer.shader.texture.levels[0].fill_(value)

    return report


def test_a_loss_that_is_no_number_names_step_and_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path, steps=4)
    trainer.fit()
    trainer.budget = Budget(steps=9)
    with pytest.raises(NeuraltexError, match=r"stopped at step 7: the loss is nan.*checkpoint\.safetensors, of step 4"):
        trainer.fit(_poison_at(trainer, 6, torch.nan))
    _, state = load_tensors(trainer.checkpoint)
    assert state["step"] == 4


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    trainer = make_trainer(tmp_path, save_minutes=0.0)
    with pytest.raises(NeuraltexError, match=r"stopped at step 5: a weight is no longer a number.*of step 4"):
        trainer.fit(_poison_at(trainer, 5, torch.inf))
    tensors, state = load_tensors(trainer.checkpoint)
    assert state["step"] == 4
    assert all(values.isfinite().all() for values in tensors.values())


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, steps=4)
    trainer.fit()
    good = trainer.checkpoint.read_bytes()

    def full(tensors, path, metadata=None):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    trainer.budget = Budget(steps=8)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: could not be written \(No space left on device\)"):
        trainer.fit()
    assert trainer.checkpoint.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"], "no half file is left behind"


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
def test_broken_checkpoints_are_named(tmp_path, damage):
    path = tmp_path / "checkpoint.safetensors"
    save_tensors(path, {"a": torch.zeros(100)}, {"step": 1})
    whole = path.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a checkpoint at all",
        "header": b"\xff" * 8 + whole[8:],
    }
    path.write_bytes(broken[damage])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: is not a checkpoint of neuraltex or was cut short"):
        load_tensors(path)


def test_a_checkpoint_of_other_settings_names_the_tensor(tmp_path):
    make_trainer(tmp_path, steps=2).fit()
    wider = make_trainer(tmp_path, shading=ShadingConfig(**{**SHADING.__dict__, "texture_size": 32}))
    with pytest.raises(InputError, match=r"raw\.texture\.levels\.0 is of shape \[1, 16, 16, 16\]"):
        wider.restore()


@pytest.mark.parametrize("given", [{}, {"steps": 3, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}])
def test_budgets_that_cannot_be_are_refused(given):
    with pytest.raises(SettingError, match="budget"):
        Budget(**given)
