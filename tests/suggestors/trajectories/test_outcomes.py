"""Shows what steps and verdicts can say, what each is worth, and that nothing else can be said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from quiesce.suggestors.trajectories.outcome import AnyStepOutcome, StepOutcome
from quiesce.suggestors.trajectories.verdict import AnyRootCause, AnyVerdict, RootCause, Verdict

OUTCOMES = [
    (StepOutcome.success(), "success", 1.0),
    (StepOutcome.partial(achieved="3 pages", missing="2 pages"), "partial", 0.6),
    (StepOutcome.failure("timeout"), "failure", 0.0),
    (StepOutcome.skipped("it was cached"), "skipped", 0.3),
    (StepOutcome.needs_retry("busy", ["wait", "ask another"]), "needs_retry", 0.2),
]
CAUSES = [
    (RootCause.insufficient_context("the year"), "context was missing: the year"),
    (RootCause.insufficient_context(["the year", "the place"]), "context was missing: the year, the place"),
    (RootCause.invalid_input("no query"), "the input was invalid: no query"),
    (RootCause.tool_failure("search", "timeout"), "tool 'search' failed: timeout"),
    (
        RootCause.reasoning_error("circular_reasoning", "a, so a"),
        "the reasoning was wrong (circular reasoning): a, so a",
    ),
    (RootCause.resource_constraint("tokens", 8_000), "tokens ran out at its limit of 8000"),
    (RootCause.external_failure("maps", "503"), "service 'maps' failed: 503"),
    (RootCause.capability_limit("no vision"), "it was beyond what can be done: no vision"),
    (RootCause.unknown("boom"), "the cause is unknown: boom"),
]
CAUSE = RootCause.unknown("boom")


@pytest.mark.parametrize(("outcome", "kind", "score"), OUTCOMES, ids=lambda one: str(one)[:20])
def test_each_outcome_has_its_kind_and_its_score(outcome: StepOutcome, kind: str, score: float) -> None:
    assert (kind, score) == (outcome.kind, outcome.score)
    assert (kind == "success", kind == "failure") == (outcome.is_success, outcome.is_failure)


@pytest.mark.parametrize("value", [one for one, *_ in OUTCOMES], ids=lambda one: one.kind)
def test_an_outcome_comes_back_from_its_json(value: StepOutcome) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyStepOutcome)

    assert value == adapter.validate_json(value.model_dump_json())


@pytest.mark.parametrize(("cause", "told"), CAUSES, ids=lambda one: str(one)[:20])
def test_a_root_cause_is_told_on_one_line_and_comes_back_from_its_json(cause: RootCause, told: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyRootCause)

    assert told == str(cause)
    assert cause == adapter.validate_json(cause.model_dump_json())


def test_a_root_cause_stays_on_one_line_whatever_it_quotes() -> None:
    assert "\n" not in str(RootCause.external_failure("maps\n", "first\r\nsecond\x1b[31m"))


@pytest.mark.parametrize(
    ("verdict", "score", "factor", "alone", "succeeded", "failed", "counts"),
    [
        (Verdict.success(), 1.0, 1.0, 1.0, True, False, True),
        (Verdict.failure(CAUSE), 0.0, 0.3, 0.0, False, True, False),
        (Verdict.partial(0.5), 0.5, 0.75, 0.5, False, False, False),
        (Verdict.recovered_via_reflection(CAUSE, 2, 0.79), 0.79, 0.79, 0.79, True, False, False),
        (Verdict.recovered_via_reflection(CAUSE, 2, 0.8), 0.8, 0.8, 0.8, True, False, True),
    ],
)
def test_the_two_rules_of_success_have_two_names(
    verdict: Verdict, score: float, factor: float, alone: float, succeeded: bool, failed: bool, counts: bool
) -> None:
    """D.13, J 46: what asks about trajectories uses one rule; the one for verdicts alone cannot be mistaken for it."""
    assert (score, factor, alone) == (verdict.score, verdict.factor, verdict.without_steps)
    assert (succeeded, failed, counts) == (verdict.succeeded, verdict.failed, verdict.counts_as_success)


@given(ratio=st.floats(allow_nan=False, allow_infinity=False))
def test_ratios_and_final_qualities_are_clamped(ratio: float) -> None:
    clamped = min(1.0, max(0.0, ratio))
    recovered = Verdict.recovered_via_reflection(CAUSE, 1, ratio)

    assert (clamped, clamped) == (Verdict.partial(ratio).completion_ratio, recovered.final_quality)
    assert 0.25 <= Verdict.partial(ratio).score <= 0.75


@pytest.mark.parametrize("ratio", [float("nan"), float("inf"), float("-inf"), "much", None, True])
def test_what_is_no_number_does_not_survive_clamping(ratio: Any) -> None:
    """I.1: a NaN goes through min and max."""
    with pytest.raises(ValidationError):
        Verdict.partial(ratio)
    with pytest.raises(ValidationError):
        Verdict.recovered_via_reflection(CAUSE, 1, ratio)


@pytest.mark.parametrize("attempts", [0, -1, 1.5, "many"])
def test_a_recovery_takes_at_least_one_attempt(attempts: Any) -> None:
    with pytest.raises(ValidationError):
        Verdict.recovered_via_reflection(CAUSE, attempts, 0.5)


@pytest.mark.parametrize(
    "said",
    [
        {}, {"kind": "great"}, {"kind": "failure"}, {"kind": "partial", "completion_ratio": "NaN"}, [], None, 3,
        {"kind": "success", "score": 9}, {"kind": "failure", "root_cause": {"kind": "bad luck"}},
        {"kind": "failure", "root_cause": {"kind": "reasoning_error", "type": "typo", "description": ""}},
    ],
)  # fmt: skip
def test_a_verdict_of_no_known_shape_is_refused(said: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyVerdict)
    with pytest.raises(ValidationError):
        adapter.validate_json(json.dumps(said))


def test_a_verdict_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        setattr(Verdict.partial(0.5), "completion_ratio", 1.0)  # noqa: B010  mypy would refuse the plain way


@pytest.mark.parametrize("kind", [RootCause, Verdict])
def test_what_is_only_a_kind_cannot_be_made(kind: Any) -> None:
    """There are constructors for each of the kinds; the common base says nothing by itself."""
    with pytest.raises(TypeError, match="abstract"):
        kind()
