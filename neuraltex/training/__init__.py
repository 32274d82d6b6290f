"""Training: a mesh, photographs and cameras come in; a run folder with a fitted shader goes out.

Checkpoints are safetensors files that appear whole or not at all; training resumes from them.
"""

from neuraltex.training.choices import defaults_for
from neuraltex.training.config import Budget, TrainingConfig
from neuraltex.training.run import Run, RunConfig, SourceConfig, pick_device, refuse_occupied
from neuraltex.training.session import learn, train
from neuraltex.training.trainer import Trainer
from neuraltex.training.workers import Workers

__all__ = [
    "Budget",
    "Run",
    "RunConfig",
    "SourceConfig",
    "Trainer",
    "TrainingConfig",
    "Workers",
    "defaults_for",
    "learn",
    "pick_device",
    "refuse_occupied",
    "train",
]
