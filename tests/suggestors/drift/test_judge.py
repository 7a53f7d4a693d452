"""Holds the rules of drift to their table: values, rounding, grades, reasons, and the options beside them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift.judge import detect_drift
from quiesce.suggestors.drift.payloads import DriftVerdict, ResponseObservation
from quiesce.suggestors.drift.thresholds import RECOMMENDED, SENSITIVITY, DriftOptions, DriftThresholds

FAMILIAR = ("end_turn", "tool_use", "max_tokens")


def answer(tokens: int = 300, stop: str | None = "end_turn", **said: Any) -> ResponseObservation:
    said = {"provider": "acme", "has_tool_use": False, "request_had_tools": False, **said}
    return ResponseObservation(output_tokens=tokens, stop_reason=stop, **said)


def error(**said: Any) -> ResponseObservation:
    return answer(0, None, is_error=True, **said)


answers = st.builds(
    ResponseObservation,
    provider=st.just("acme"),
    output_tokens=st.one_of(st.integers(0, 5), st.integers(0, 3000)),
    has_tool_use=st.booleans(),
    request_had_tools=st.booleans(),
    stop_reason=st.sampled_from([*FAMILIAR, "stop", "refusal", None]),
    is_error=st.sampled_from([False, False, False, True]),
)
windows = st.lists(answers, max_size=40)


def expected(window: Sequence[ResponseObservation], limits: DriftThresholds) -> tuple[Any, ...]:
    """The table, written down once more: severity, signals, and the anomalous ones in order."""
    if len(window) < limits.min_window_fill:
        return "none", {}, []
    fine = [one for one in window if not one.is_error]
    tools = [one for one in fine if one.request_had_tools]
    half = len(fine) // 2
    values: dict[str, float] = {}
    if fine:
        values["empty_response_rate"] = sum(one.output_tokens == 0 for one in fine) / len(fine)
    if len(fine) >= 4 and (before := median(one.output_tokens for one in fine[:half])) > 0:
        values["length_collapse_ratio"] = median(one.output_tokens for one in fine[half:]) / before
    if len(tools) >= 3:
        values["tool_silence_rate"] = sum(not one.has_tool_use for one in tools) / len(tools)
    if fine:
        values["stop_anomaly_rate"] = sum(one.stop_reason not in FAMILIAR for one in fine) / len(fine)
    values["error_rate"] = sum(one.is_error for one in window) / len(window)
    names = ["empty_response_rate", "length_collapse_ratio", "tool_silence_rate", "stop_anomaly_rate", "error_rate"]
    odd = [
        name
        for name in names
        if name in values
        and (
            values[name] < limits.length_collapse_ratio
            if name == "length_collapse_ratio"
            else values[name] > getattr(limits, name)
        )
    ]
    severe = [name for name in odd if name in names[:2]]
    severity = "severe" if severe or len(odd) > 1 else "mild" if odd else "none"
    ordered = severe + [name for name in odd if name not in severe]
    return severity, {name: round(value, 3) for name, value in values.items()}, ordered


@given(window=windows, preset=st.sampled_from(sorted(SENSITIVITY)))
def test_what_is_found_is_what_the_table_says(window: list[ResponseObservation], preset: str) -> None:
    found = detect_drift(window, SENSITIVITY[preset])
    severity, signals, anomalous = expected(window, SENSITIVITY[preset])

    assert (severity, signals) == (found.severity, found.signals)
    assert found.drifted is (severity != "none")
    assert len(window) == found.observations
    assert anomalous == [part.split(" ")[0] for part in found.reason.split(", ") if part]


@given(window=windows)
def test_nothing_said_means_the_normal_preset(window: list[ResponseObservation]) -> None:
    assert detect_drift(window, SENSITIVITY["normal"]) == detect_drift(window)


def test_too_few_say_nothing_and_an_empty_window_least_of_all() -> None:
    """A minimum of 1 is the smallest there is, so nothing is ever divided by zero."""
    assert (False, "none", {}, "", 5) == parts(detect_drift([error()] * 5))
    assert (False, "none", {}, "", 0) == parts(detect_drift([], DriftThresholds(min_window_fill=1)))


def parts(found: Any) -> tuple[Any, ...]:
    return found.drifted, found.severity, found.signals, found.reason, found.observations


def test_only_errors_leave_one_signal() -> None:
    """Rates among what is no error are not there, rather than 0."""
    found = detect_drift([error()] * 8)

    assert (True, "mild", {"error_rate": 1.0}, "error_rate 1.00", 8) == parts(found)


def test_the_reason_names_severe_signals_first_each_with_its_value() -> None:
    window = [answer(400)] * 4 + [answer(0)] * 3 + [answer(10, "refusal"), error(), error(), error(), error()]
    found = detect_drift(window)

    assert (
        "empty_response_rate 0.38, length_collapse_ratio 0.00 (median 0 after 400), error_rate 0.33" == found.reason
    )  # fmt: skip
    assert "severe" == found.severity


@pytest.mark.parametrize(
    ("window", "severity"),
    [
        ([answer(0)] * 3 + [answer()] * 7, "none"),
        ([answer(0)] * 4 + [answer()] * 6, "severe"),
        ([error()] * 2 + [answer()] * 6, "none"),
        ([error()] * 3 + [answer()] * 6, "mild"),
        ([answer(stop="stop")] * 4 + [answer()] * 6, "none"),
        ([answer(stop="stop")] * 5 + [answer()] * 5, "mild"),
        ([answer(stop=None)] * 5 + [answer()] * 5 + [error()] * 4, "severe"),
        ([answer(request_had_tools=True)] * 3 + [answer()] * 5, "mild"),
        ([answer(request_had_tools=True)] * 2 + [answer()] * 5, "none"),
        ([answer(200)] * 4 + [answer(100)] * 4, "none"),
        ([answer(200)] * 4 + [answer(99)] * 4, "severe"),
        ([answer(200)] * 3 + [answer(99)] * 3, "severe"),
        ([answer(0)] * 5 + [answer(99)] * 12, "none"),
        ([error()] * 9, "mild"),
    ],
)
def test_comparisons_are_strict_and_graded(window: list[ResponseObservation], severity: str) -> None:
    assert severity == detect_drift(window).severity


def test_decisions_are_made_on_what_was_not_rounded() -> None:
    """0.3004 rounds to the threshold and lies above it."""
    found = detect_drift([answer(0)] * 751 + [answer()] * 1749)

    assert 0.3 == found.signals["empty_response_rate"]
    assert found.severity == "severe"


def test_the_middle_one_of_an_odd_number_counts_as_recent() -> None:
    found = detect_drift(
        [answer(100), answer(100), answer(7), answer(7), answer(100)], DriftThresholds(min_window_fill=4)
    )

    assert 0.07 == found.signals["length_collapse_ratio"]


def test_signals_are_never_shared() -> None:
    """The original gave one dict to all who had too few."""
    first, second = detect_drift([]), detect_drift([])
    first.signals["mine"] = 1.0

    assert {} == second.signals == detect_drift([]).signals


def test_a_length_beyond_all_measure_is_a_length() -> None:
    """Whole numbers in JSON have no bound, floats do."""
    found = detect_drift([answer(10**400)] * 5 + [answer(1)] * 5)

    assert ("severe", 0.0) == (found.severity, found.signals["length_collapse_ratio"])


def test_a_judgement_becomes_a_verdict() -> None:
    verdict = detect_drift([error()] * 8).verdict("acme", "acme/large", 3, 40)

    assert DriftVerdict(
        provider="acme", drifted=True, severity="mild", signals={"error_rate": 1.0}, reason="error_rate 1.00",
        observations=8, window="acme/large", number=3, at=40,
    ) == verdict  # fmt: skip


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "limit", "severity"),
    [
        (10, 0.25, "severe"),
        (5, 0.25, "severe"),
        (4, 0.25, "mild"),
        (2, 0.25, "none"),
        (10, 0.9, "severe"),
        (10, 1.0, "none"),
    ],
)
def test_twice_too_many_errors_are_severe(errors: int, limit: float, severity: str) -> None:
    """100 % errors were only mild; where twice the threshold is more than all, all are severe."""
    window = [error()] * errors + [answer()] * (10 - errors)

    assert severity == detect_drift(window, DriftThresholds(error_rate=limit), RECOMMENDED).severity


def test_tiny_answers_are_not_judged_by_their_length() -> None:
    window = [answer(9)] * 5 + [answer(2)] * 5

    assert "severe" == detect_drift(window).severity
    assert "length_collapse_ratio" not in detect_drift(window, options=RECOMMENDED).signals
    assert "severe" == detect_drift([answer(20)] * 5 + [answer(2)] * 5, options=RECOMMENDED).severity


def test_what_other_vendors_say_is_not_odd_if_asked_for() -> None:
    window = [answer(stop=stop) for stop in ("stop", "length", "tool_calls", "stop_sequence", "STOP", "COMPLETE")]

    assert 1.0 == detect_drift(window).signals["stop_anomaly_rate"]
    assert 0.0 == detect_drift(window, options=RECOMMENDED).signals["stop_anomaly_rate"]
    assert 1.0 == detect_drift([answer(stop="refusal")] * 6, options=RECOMMENDED).signals["stop_anomaly_rate"]


def test_growth_is_flagged_if_asked_for() -> None:
    """Babbling: answers that become many times longer."""
    window = [answer(100)] * 5 + [answer(900)] * 5
    found = detect_drift(window, options=DriftOptions(growth_ratio=3))

    assert "none" == detect_drift(window).severity
    assert ("mild", 9.0) == (found.severity, found.signals["length_growth_ratio"])
    assert "length_growth_ratio 9.00 (median 900 after 100)" == found.reason
