"""Damaged run files raise the package's own error and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuraltex.errors import InputError
from neuraltex.shading import ShadingConfig
from neuraltex.training.checkpoint import load_tensors, save_tensors
from neuraltex.training.config import TrainingConfig
from neuraltex.training.run import Run, RunConfig, SourceConfig

CONFIG = asdict(RunConfig(SourceConfig("a.obj", "b.mp4"), ShadingConfig(), TrainingConfig()))
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(data=st.data())
def test_mutated_checkpoints(tmp_path, data):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.arange(12.0).view(3, 4), "b": torch.ones(2)}, {"step": 3})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        tensors, state = load_tensors(path)
    except InputError as error:
        assert "a.safetensors" in str(error)
    else:
        assert isinstance(state, dict)
        assert all(isinstance(values, torch.Tensor) for values in tensors.values())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@QUICK
@given(part=st.sampled_from(["source", "shading", "training", "seed", "version", None]), data=st.data(), value=JSON)
def test_mutated_settings(tmp_path, part, data, value):
    config = json.loads(json.dumps(CONFIG))
    if part is None:
        config = value
    elif isinstance(config[part], dict) and data.draw(st.booleans()):
        config[part][data.draw(st.sampled_from(sorted(config[part])))] = value
    else:
        config[part] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    try:
        assert isinstance(Run.open(tmp_path).config, RunConfig)
    except InputError as error:
        assert "config.json" in str(error)


def test_a_setting_of_the_wrong_kind_is_named(tmp_path):
    config = {**CONFIG, "shading": {**CONFIG["shading"], "texture_size": "large"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=r"config\.json: shading\.texture_size: a whole number or null was expected, got 'large'"
    ):
        Run.open(tmp_path)
