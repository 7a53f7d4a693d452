"""Holds trajectories to the figures of their page that nothing else pins down."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from quiesce.suggestors import PatternMemory, RootCause, StepOutcome, Trajectory, TrajectoryRecorder, Verdict

STARTED = datetime(2026, 11, 1, tzinfo=UTC)
CAUSE = RootCause.unknown("nobody has looked")


@pytest.mark.parametrize(("ratio", "kept"), [(0.3, 1), (0.29, 0)])
def test_a_trajectory_becomes_a_pattern_from_a_quality_of_three_tenths_on(ratio: float, kept: int) -> None:
    whole = Trajectory.begin([1.0, 0.0], started=STARTED).complete(Verdict.partial(ratio), at=STARTED, latency_ms=0)
    memory = PatternMemory()

    assert kept == memory.add_all([whole])
    assert 1 - kept == memory.below


@pytest.mark.parametrize(
    ("verdict", "factor", "without_steps"),
    [
        (Verdict.success(), 1.0, 1.0),
        (Verdict.failure(CAUSE), 0.3, 0.0),
        (Verdict.partial(0.4), 0.7, 0.4),
        (Verdict.partial(7.0), 1.0, 1.0),
        (Verdict.recovered_via_reflection(CAUSE, 2, 0.8), 0.8, 0.8),
        (Verdict.recovered_via_reflection(CAUSE, 2, -1.0), 0.0, 0.0),
    ],
    ids=lambda value: value.kind if isinstance(value, Verdict) else "",
)
def test_a_recorded_quality_is_that_of_the_page(verdict: Verdict, factor: float, without_steps: float) -> None:
    """One step of each kind, a success of confidence 0.5 among them: (0.5 + 0.6 + 0 + 0.3 + 0.2) / 5 = 0.32."""
    steps = [
        (StepOutcome.success(), 0.5), (StepOutcome.partial("a", "b"), 1.0), (StepOutcome.failure("e"), 1.0),
        (StepOutcome.skipped("r"), 1.0), (StepOutcome.needs_retry("r", ["s"]), 1.0),
    ]  # fmt: skip
    recorder, empty = TrajectoryRecorder(), TrajectoryRecorder()
    for outcome, confidence in steps:
        recorder.add_step("act", "why", outcome, confidence)

    assert factor * 0.32 == pytest.approx(recorder.complete(verdict).quality)
    assert without_steps == empty.complete(verdict).quality
