"""Shares the result of a trajectory among the models that took part in it, so that routing can learn from it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import fsum

from ...engine.errors import InvalidOption
from .payloads import Trajectory, TrajectoryStep, check_trajectory


@dataclass(frozen=True, slots=True)
class Credit:
    """What one model is credited with."""

    model: str
    reward: float
    """From 0 to 1: the mean quality of its steps × the factor of the verdict, less what a user corrected."""
    steps: int
    share: float
    """The share of the trajectory's steps that were its own: how much the reward should count."""


def credit(trajectory: Trajectory, *, correction: float = 0.0, wrong_step: int | None = None) -> tuple[Credit, ...]:
    """Returns what each model of a complete trajectory is credited with, in order of first use.

    `correction` is how sure it is, from 0 to 1, that the user corrected what came out, as a feedback verdict says it
    later. It falls on the model of `wrong_step` alone where that is known, else on all alike. Only steps that name
    their model count, and nobody is credited with the steps of another. An unfinished trajectory credits nobody.
    """
    check_trajectory(trajectory)
    if isinstance(correction, bool) or not isinstance(correction, (int, float)) or not 0 <= correction <= 1:
        raise InvalidOption("correction", correction, "a number from 0 to 1")
    if wrong_step is not None and not 0 <= wrong_step < len(trajectory.steps):
        raise InvalidOption("wrong_step", wrong_step, f"the index of one of its {len(trajectory.steps)} steps")
    if not trajectory.is_finished:
        return ()
    by_model: dict[str, list[TrajectoryStep]] = defaultdict(list)
    for step in trajectory.steps:
        if step.metadata.model is not None:
            by_model[step.metadata.model].append(step)
    blamed = None if wrong_step is None else trajectory.steps[wrong_step].metadata.model
    credits = []
    for model, steps in by_model.items():
        mean = fsum(step.quality for step in steps) / len(steps)
        is_blamed = wrong_step is None or model == blamed
        reward = mean * trajectory.verdict.factor * (1 - correction if is_blamed else 1.0)
        share = len(steps) / len(trajectory.steps)
        credits.append(Credit(model, min(1.0, max(0.0, reward)), len(steps), share))
    return tuple(credits)
