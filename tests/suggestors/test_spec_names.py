"""Holds the pack to the names and signatures that its users were promised: more may come, none may go."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import quiesce.suggestors as pack
from quiesce.facts import Payload
from quiesce.facts.family import family_of

PROMISED = (
    "Backend", "BackendRequirements", "ProviderRequest", "ProviderAssignment", "Quarantine", "ProviderSelection",
    "assign", "Beta", "ThompsonState", "Reputation", "LinUCB", "RouteRequest", "RouteDecision", "Outcome",
    "ThompsonRouter", "OutcomeLearning", "evaluate", "ResponseObservation", "DriftThresholds", "SENSITIVITY",
    "DriftVerdict", "detect_drift", "DriftWindow", "DriftMonitor", "Feedback", "FeedbackVerdict", "JudgeFailure",
    "FeedbackJudge", "build_judge_messages", "StepOutcome", "TrajectoryStep", "Trajectory", "Verdict",
    "RootCause", "TrajectoryRecorder", "trajectory_of", "providers",
)  # fmt: skip


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_name_is_exported(name: str) -> None:
    assert name in pack.__all__
    assert hasattr(pack, name)


@pytest.mark.parametrize(
    ("function", "positional"),
    [
        (pack.assign, ["request_id", "request", "backends", "policy"]),
        (pack.ThompsonState.select, ["self", "providers", "rng"]),
        (pack.ThompsonState.select_with_priors, ["self", "providers", "overrides", "rng"]),
        (pack.ThompsonState.select_many, ["self", "n", "providers", "rng"]),
        (pack.ThompsonState.update, ["self", "provider", "success"]),
        (pack.ThompsonState.provider_stats, ["self"]),
        (pack.ThompsonState.get_distribution, ["self", "name"]),
        (pack.ThompsonState.prune, ["self", "known"]),
        (pack.ThompsonState.save, ["self", "path"]),
        (pack.ThompsonState.load, ["path", "prior"]),
        (pack.evaluate, ["log", "policy"]),
        (pack.detect_drift, ["window", "thresholds", "options"]),
        (pack.trajectory_of, ["log", "run_id"]),
        (pack.TrajectoryRecorder.add_step, ["self", "action", "rationale", "outcome", "confidence"]),
        (pack.TrajectoryRecorder.complete, ["self", "verdict"]),
        (pack.providers, ["backends"]),
    ],
    ids=lambda value: value.__qualname__ if callable(value) else "",
)
def test_what_stands_by_position_stays_where_it_is(function: Any, positional: list[str]) -> None:
    by_position = [
        one.name
        for one in inspect.signature(function).parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]

    assert positional == by_position


@pytest.mark.parametrize(
    ("payload", "key", "family"),
    [
        (pack.Backend, "constraints", "backend"),
        (pack.Quarantine, "constraints", "quarantine"),
        (pack.ProviderRequest, "seeds", "provider-request"),
        (pack.ProviderAssignment, "strategies", "provider-assignment"),
        (pack.RouteRequest, "seeds", "route-request"),
        (pack.RouteDecision, "strategies", "route-decision"),
        (pack.Outcome, "signals", "outcome"),
        (pack.ResponseObservation, "signals", "response-observation"),
        (pack.DriftVerdict, "evaluations", "drift-verdict"),
        (pack.Feedback, "seeds", "feedback"),
        (pack.FeedbackVerdict, "evaluations", "feedback-verdict"),
        (pack.Trajectory, "evaluations", "trajectory"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_payload_stays_where_others_look_for_it(payload: type[Payload], key: str, family: str) -> None:
    """Logs and other programs go by these; a renamed family is a family that nobody reads any more."""
    assert (key, family, 1) == (family_of(payload).key, family_of(payload).name, family_of(payload).version)
