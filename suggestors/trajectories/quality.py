"""Measures trajectories: what steps and a verdict come to in one number, and the figures beside it. All pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .payloads import TrajectoryStep
    from .verdict import Verdict


def quality_of(steps: Sequence[TrajectoryStep], verdict: Verdict) -> float:
    """Returns the mean quality of the steps × the verdict's factor; without steps, what the verdict says alone.

    The factor is 1 for success, 0.3 for failure, 0.5 + 0.5 × ratio for partial, the final quality for recovered.
    Without steps: 1, 0, the ratio, the final quality.
    """
    if not steps:
        return verdict.without_steps
    mean = fsum(step.quality for step in steps) / len(steps)
    return min(1.0, max(0.0, mean * verdict.factor))


def success_rate(steps: Sequence[TrajectoryStep]) -> float:
    """Returns the share of steps that did all they were to do; 0 for none."""
    return sum(step.outcome.is_success for step in steps) / len(steps) if steps else 0.0


def mean_confidence(steps: Sequence[TrajectoryStep]) -> float:
    """Returns the mean confidence of the steps; 0 for none."""
    return fsum(step.confidence for step in steps) / len(steps) if steps else 0.0
