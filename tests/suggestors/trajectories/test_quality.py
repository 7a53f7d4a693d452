"""Holds the one number of a trajectory to its definition, and the figures beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from math import fsum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quiesce.facts import Context, FactError, Payload
from quiesce.suggestors.trajectories.errors import TrajectoryClosed
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import StepMetadata, Trajectory, TrajectoryMetadata, TrajectoryStep
from quiesce.suggestors.trajectories.quality import quality_of
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
CAUSE = RootCause.unknown("boom")
OUTCOMES = st.sampled_from([
    StepOutcome.success(), StepOutcome.partial(achieved="a", missing="b"), StepOutcome.failure("x"),
    StepOutcome.skipped("x"), StepOutcome.needs_retry("x"),
])  # fmt: skip
SHARES = st.floats(0, 1)
VERDICTS = st.one_of(
    st.just(Verdict.success()),
    st.just(Verdict.failure(CAUSE)),
    SHARES.map(Verdict.partial),
    SHARES.map(lambda share: Verdict.recovered_via_reflection(CAUSE, 2, share)),
)


def step(index: int = 0, outcome: StepOutcome | None = None, confidence: float = 1.0, **more: Any) -> TrajectoryStep:
    said = {"index": index, "action": "search", "rationale": "", "confidence": confidence, "timestamp": AT, **more}
    return TrajectoryStep.model_validate({**said, "outcome": outcome if outcome is not None else StepOutcome.success()})


def steps_of(drawn: list[tuple[StepOutcome, float]]) -> tuple[TrajectoryStep, ...]:
    return tuple(step(place, outcome, confidence) for place, (outcome, confidence) in enumerate(drawn))


STEPS = st.lists(st.tuples(OUTCOMES, SHARES), max_size=8).map(steps_of)


def trajectory(steps: tuple[TrajectoryStep, ...] = (), **more: Any) -> Trajectory:
    return Trajectory.model_validate({**dict(Trajectory.begin(started=AT)), "steps": steps, **more})


@given(steps=STEPS, verdict=VERDICTS)
def test_quality_is_the_mean_of_the_steps_times_the_factor_of_the_verdict(
    steps: tuple[TrajectoryStep, ...], verdict: Verdict
) -> None:
    factor = {
        "success": 1.0, "failure": 0.3, "partial": 0.5 + 0.5 * getattr(verdict, "completion_ratio", 0),
        "recovered_via_reflection": getattr(verdict, "final_quality", 0),
    }[verdict.kind]  # fmt: skip
    alone = {"success": 1.0, "failure": 0.0}.get(
        verdict.kind, getattr(verdict, "completion_ratio", getattr(verdict, "final_quality", 0))
    )
    mean = fsum(one.outcome.score * one.confidence for one in steps) / len(steps) if steps else 0
    found = trajectory(steps).complete(verdict, at=AT, latency_ms=1).quality

    assert (mean * factor if steps else alone) == pytest.approx(found)
    assert 0 <= found <= 1


@pytest.mark.slow
@given(steps=STEPS, verdict=VERDICTS, order=st.randoms())
def test_quality_does_not_depend_on_the_order_of_steps(
    steps: tuple[TrajectoryStep, ...], verdict: Verdict, order: Any
) -> None:
    shuffled = list(steps)
    order.shuffle(shuffled)

    assert quality_of(steps, verdict) == quality_of(shuffled, verdict)


def test_a_new_trajectory_is_partial_with_nothing_done_and_says_that_it_is_unfinished() -> None:
    """D.8: who looks at its times alone must be able to tell."""
    new = Trajectory.begin([1, 0])

    assert (Verdict.partial(0), 0.0, None, False) == (new.verdict, new.quality, new.completed, new.is_finished)
    assert (0, 0.0, 0.0, 0) == (new.step_count, new.success_rate, new.mean_confidence, new.total_tokens)
    assert not new.succeeded
    assert not new.failed


def test_figures_are_over_all_steps() -> None:
    found = trajectory(
        (step(0, StepOutcome.success(), 0.9), step(1, StepOutcome.skipped("x"), 0.5), step(2, confidence=0.7)),
        metadata=TrajectoryMetadata(input_tokens=2**40, output_tokens=5),
    )

    assert 3 == found.step_count
    assert [2 / 3, 0.7] == pytest.approx([found.success_rate, found.mean_confidence])
    assert 2**40 + 5 == found.total_tokens  # D.7: 32 bits are not enough


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan"), float("inf"), "sure", None])
def test_a_step_is_as_sure_as_a_share_can_say(confidence: Any) -> None:
    """D.4, J 46."""
    with pytest.raises(ValidationError):
        step(confidence=confidence)


def test_a_trajectory_is_completed_once() -> None:
    """D.10: a second verdict would change a quality that somebody has learned from."""
    done = trajectory((step(),)).complete(Verdict.success(), at=AT, latency_ms=1)
    with pytest.raises(TrajectoryClosed, match=f"trajectory {done.id} is complete; another verdict came too late"):
        done.complete(Verdict.partial(0), at=AT, latency_ms=1)


def test_what_is_no_verdict_completes_nothing() -> None:
    with pytest.raises(FactError, match=r"'done' is no verdict\. Write: Verdict\.success"):
        trajectory().complete("done", at=AT, latency_ms=1)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"steps": (step(1),)}, "step 0 says that its index is 1"),
        ({"steps": (step(0), step(0))}, "step 1 says that its index is 0"),
        ({"quality": 0.5}, "it has a quality and is not completed"),
        ({"quality": 1.5}, "less than or equal to 1"),
        ({"latency_ms": -1}, "greater than or equal to 0"),
        ({"query_embedding": ()}, "this embedding is empty"),
        ({"query_embedding": (0.0, 0.0)}, "is all zeros, which points nowhere"),
        ({"query_embedding": (1.0, float("nan"))}, "finite number"),
        ({"query_embedding": (1.7e308,) * 4}, "beyond what a float can hold"),
        ({"query_embedding": (1.0, 2.0), "response_embedding": (1.0,)}, r"different dimensions \(1, 2\)"),
        (
            {"query_embedding": (1.0, 2.0), "steps": (step(embedding=(1.0, 2.0, 3.0)),)},
            r"different dimensions \(2, 3\)",
        ),
        ({"started": datetime(2026, 1, 1)}, "timezone"),  # noqa: DTZ001  that is the point
        ({"metadata": {"input_tokens": -1}}, "greater than or equal to 0"),
        ({"lessons": "one"}, "tuple"),
        ({"mood": "good"}, "Extra inputs"),
    ],
)
def test_a_trajectory_that_contradicts_itself_is_refused(change: dict[str, Any], problem: str) -> None:
    """D.8, D.9: dimensions and indexes were not checked."""
    with pytest.raises(ValidationError, match=problem):
        trajectory(**change)


@given(steps=STEPS, verdict=VERDICTS)
def test_a_trajectory_comes_back_from_its_json_as_it_was(steps: tuple[TrajectoryStep, ...], verdict: Verdict) -> None:
    """D.15: a rebuilt one had another UUID, and no steps, times or metadata."""
    metadata = TrajectoryMetadata(user_id="ana", attributes={"b": "1", "a": "2"})
    done = trajectory(steps, metadata=metadata, lessons=("one",)).complete(verdict, at=AT, latency_ms=2.5)

    assert done == Trajectory.model_validate_json(done.model_dump_json())


@given(raw=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_whatever_is_admitted_as_a_trajectory_becomes_a_fact_or_a_diagnostic(raw: bytes) -> None:
    fact = Context().admit("trajectory", "t", raw)

    assert fact.family in ("trajectory", "malformed")


def test_a_trajectory_is_a_payload_under_evaluations() -> None:
    fact = Context().add(trajectory((step(),)), id="t")

    assert isinstance(fact.payload, Payload)
    assert ("evaluations", "trajectory:t") == (fact.key, fact.ref)


def test_tokens_models_and_tools_of_steps_add_up_without_repeats_in_order_of_first_use() -> None:
    """D.6, D.17: tokens of steps were not in the totals; tags were repeated."""
    metadata = TrajectoryMetadata()
    for model, tool in (("m2", "search"), ("m1", None), ("m2", "read"), (None, "search")):
        metadata = metadata.with_step(StepMetadata(model=model, tool=tool, input_tokens=3, output_tokens=1))

    assert (("m2", "m1"), ("search", "read"), 16) == (
        metadata.models_used, metadata.tools_invoked, metadata.total_tokens,
    )  # fmt: skip
