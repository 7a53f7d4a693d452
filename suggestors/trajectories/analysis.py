"""Analyses a verdict: what contributed to it, which of its failures were seen before, what helped, what it teaches.

Everything known of the past comes from the ledger (`failure_patterns`, `verdict_tallies`); there is no fixed list of
patterns and strategies, and nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from ...engine.options import check_log
from ...facts import FactLog
from .distil import category_of
from .failures import failures_of
from .learn import failure_patterns, known_failures, total_of, verdict_tallies
from .outcome import StepFailed, StepNeedsRetry, StepPartial, StepSkipped, StepSucceeded
from .payloads import FailurePattern, Remedy, StepFailure, Trajectory, VerdictTally, check_trajectory

UNSURE = 0.5
"""Steps of a lower confidence contribute by it."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Something that kept a trajectory from being better."""

    kind: Literal["root_cause", "failed_step", "partial_step", "skipped_step", "retried_step", "low_confidence"]
    step: int | None
    told: str
    weight: float
    """The quality that was lost by it, as a share of all that could be had; the root cause weighs 1."""


@dataclass(frozen=True, slots=True)
class SeenBefore:
    """A failure of this trajectory, and how often it was seen in others."""

    failure: StepFailure
    seen: int
    """In all trajectories of the ledger; 0: never."""
    frequency: float
    """How often, for each trajectory of the ledger."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """What was done about the same failure before, and how often that worked."""

    signature: str
    remedy: Remedy
    least: float
    """The lower end of the 95 % interval (Wilson) of how often it works: 1 of 1 is worth less than 40 of 50."""


@dataclass(frozen=True, slots=True)
class VerdictAnalysis:
    """What there is to say about how a trajectory ended."""

    category: str
    factors: tuple[Factor, ...]
    """The heaviest first."""
    patterns: tuple[SeenBefore, ...]
    """In the order of the failures; each signature once."""
    strategies: tuple[Strategy, ...]
    """Those that worked at least once, the surest first."""
    lessons: tuple[str, ...]
    """Those of the trajectory, and what its failures and strategies come to in words."""
    known: int
    """How many trajectories the ledger has counted."""


def analyse(
    trajectory: Trajectory, patterns: Mapping[str, FailurePattern], tallies: Mapping[str, VerdictTally] | None = None
) -> VerdictAnalysis:
    """Returns the analysis of a trajectory against the failures that a ledger knows; pure."""
    failures = {one.signature: one for one in reversed(failures_of(check_trajectory(trajectory)))}
    ordered = list(reversed(failures.items()))
    total = total_of(tallies) if tallies else 0
    seen = tuple(_seen(failure, patterns.get(signature), total) for signature, failure in ordered)
    strategies = sorted(
        (
            Strategy(signature, remedy, wilson(remedy.worked, remedy.tried))
            for signature, _ in ordered
            if signature in patterns
            for remedy in patterns[signature].remedies
            if remedy.worked
        ),
        key=lambda one: (-one.least, one.signature, one.remedy.action),
    )
    lessons = dict.fromkeys([*trajectory.lessons, *_taught(trajectory, seen, strategies)])
    return VerdictAnalysis(
        category_of(trajectory), _factors(trajectory), seen, tuple(strategies), tuple(lessons), total
    )  # fmt: skip


def analyse_in(log: FactLog, trajectory: Trajectory) -> VerdictAnalysis:
    """Returns the analysis of a trajectory against a log in which `failure_patterns` and `verdict_tallies` are kept.

    Raises:
        ProjectionError: they are not registered there.
    """
    check_log(log)
    return analyse(trajectory, known_failures(log.values(failure_patterns)), log.values(verdict_tallies))


def wilson(worked: int, tried: int, z: float = 1.96) -> float:
    """Returns the lower end of Wilson's interval for a share; 0 if nothing was tried."""
    if not tried:
        return 0.0
    share, more = worked / tried, z * z / tried
    middle = share + more / 2
    spread = z * sqrt(share * (1 - share) / tried + more / (4 * tried))
    return max(0.0, (middle - spread) / (1 + more))


def _seen(failure: StepFailure, pattern: FailurePattern | None, total: int) -> SeenBefore:
    seen = pattern.seen if pattern is not None else 0
    return SeenBefore(failure, seen, seen / total if total else 0.0)


def _factors(trajectory: Trajectory) -> tuple[Factor, ...]:
    found: list[Factor] = []
    cause = trajectory.verdict.cause
    if cause is not None:
        found.append(Factor("root_cause", None, str(cause), 1.0))
    steps = len(trajectory.steps)
    for step in trajectory.steps:
        lost = (1 - step.outcome.score) / steps
        match step.outcome:
            case StepFailed(error=problem):
                found.append(Factor("failed_step", step.index, f"{step.action}: {problem}", lost))
            case StepNeedsRetry(reason=problem):
                found.append(Factor("retried_step", step.index, f"{step.action}: {problem}", lost))
            case StepPartial(missing=missing):
                found.append(Factor("partial_step", step.index, f"{step.action}: missing {missing}", lost))
            case StepSkipped(reason=reason):
                found.append(Factor("skipped_step", step.index, f"{step.action}: {reason}", lost))
            case StepSucceeded():
                pass
        if step.confidence < UNSURE and step.outcome.score:
            told = f"{step.action}: confidence {step.confidence:g}"
            found.append(
                Factor("low_confidence", step.index, told, step.outcome.score * (1 - step.confidence) / steps)
            )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.weight, -1 if one.step is None else one.step)))


def _taught(trajectory: Trajectory, seen: tuple[SeenBefore, ...], strategies: list[Strategy]) -> list[str]:
    told = [f"after {one.signature!r}, {one.remedy!r} worked" for one in failures_of(trajectory) if one.worked]
    told += [f"{one.failure.signature!r} was seen {one.seen} times" for one in seen if one.seen > 1]
    for strategy in strategies:
        remedy = strategy.remedy
        told.append(f"against {strategy.signature!r}, {remedy.action!r} worked {remedy.worked} of {remedy.tried} times")
    return told
