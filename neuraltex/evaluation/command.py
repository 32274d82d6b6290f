"""`neuraltex eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from neuraltex.errors import SettingError
from neuraltex.evaluation.contenders import named
from neuraltex.evaluation.evaluate import evaluate
from neuraltex.tables import efforts_table, metrics_table
from neuraltex.training import Budget, Run, pick_device


@dataclass(frozen=True)
class Eval:
    """Score a run on the views that were held out, beside other ways to render the same scene.

    Each of them is given the same mesh, photographs, cameras, seed and time, and scored on the same views; what it
    learned is kept in RUN/against and used again until a setting changes.

    Args:
        run: a run folder.
        against: whom to compare with, commas between: "paper" is the decoder of 2019, "lumigraph" blends the
            photographs themselves, "splats" are 3D Gaussians, "all" is whoever can run here. The mesh with an optimised
            ordinary texture always takes part.
        minutes: minutes of training that each of them gets; as many as the run where left out, but for splats, which
            then get the 30,000 steps that they are published with.
        steps: steps of training, instead of minutes.
        steady: a folder of frames of a slow camera move that was held out, with their cameras: tells how much each
            method flickers beside the true pictures, and keeps videos of all in RUN/steady.
        steady_again: another folder of the same move, rendered or photographed a second time: noise of the true
            pictures then does not count as their flicker.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        baseline_steps: steps of the textured mesh's optimisation, one photograph each.
    """

    run: Positional[Path]
    against: str = ""
    minutes: float | None = None
    steps: int | None = None
    steady: Path | None = None
    steady_again: Path | None = None
    device: str = "auto"
    baseline_steps: int = 600

    def __call__(self) -> None:
        console = Console(stderr=True)
        if self.steady_again is not None and self.steady is None:
            raise SettingError("--steady-again: give the first folder of the move as --steady")
        named(self.against)  # before anything is read
        given = self.minutes is not None or self.steps is not None
        budget = Budget(steps=self.steps, minutes=self.minutes) if given else None
        metrics = evaluate(
            Run.open(self.run),
            pick_device(self.device),
            baseline_steps=self.baseline_steps,
            against=self.against,
            budget=budget,
            steady=self.steady,
            steady_again=self.steady_again,
            report=lambda text: console.print(text),
        )
        out = Console()
        out.print(metrics_table(metrics))
        out.print(efforts_table(metrics))
        console.print(
            f"numbers: {self.run / 'metrics.json'}; pictures: {self.run / 'held_out'}; "
            f"all on one page: {self.run / 'report.html'}"
        )
