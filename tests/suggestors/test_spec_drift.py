"""Holds drift detection to the figures of its table: every threshold from both sides, every reason to the letter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quiesce.engine import Engine
from quiesce.facts import Context
from quiesce.suggestors import SENSITIVITY, DriftMonitor, Quarantine, ResponseObservation, detect_drift

TABLE = {
    "low": {"empty": 50, "silent": 80, "odd": 60, "error": 40, "length": 300},
    "normal": {"empty": 30, "silent": 70, "odd": 40, "error": 25, "length": 500},
    "high": {"empty": 20, "silent": 50, "odd": 30, "error": 15, "length": 700},
}
"""In hundredths; the length in thousandths."""
SIGNALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "empty": ("empty_response_rate", "severe", {"output_tokens": 0}),
    "silent": ("tool_silence_rate", "mild", {"has_tool_use": False}),
    "odd": ("stop_anomaly_rate", "mild", {"stop_reason": "stop"}),
    "error": ("error_rate", "mild", {"is_error": True}),
}


def answer(**said: Any) -> ResponseObservation:
    fine = {"output_tokens": 300, "has_tool_use": True, "request_had_tools": True, "stop_reason": "end_turn"}
    return ResponseObservation.model_validate({"provider": "acme", **fine, **said})


@pytest.mark.parametrize("preset", TABLE)
@pytest.mark.parametrize("signal", SIGNALS)
def test_at_its_threshold_a_rate_is_fine_and_above_it_is_told_with_its_value(preset: str, signal: str) -> None:
    """Of a hundred answers, as many are bad as the threshold says, and one more; the bad ones come first."""
    name, severity, bad = SIGNALS[signal]
    limit = TABLE[preset][signal]
    at, above = (
        detect_drift([answer(**bad)] * count + [answer()] * (100 - count), SENSITIVITY[preset])
        for count in (limit, limit + 1)
    )

    assert ("none", "", limit / 100) == (at.severity, at.reason, at.signals[name])
    assert (severity, f"{name} 0.{limit + 1}") == (above.severity, above.reason)
    assert (limit + 1) / 100 == above.signals[name]


@pytest.mark.parametrize("preset", TABLE)
def test_at_its_threshold_a_length_is_fine_and_below_it_is_told_with_both_medians(preset: str) -> None:
    limit = TABLE[preset]["length"]
    at, below = (
        detect_drift([answer(output_tokens=1000)] * 50 + [answer(output_tokens=now)] * 50, SENSITIVITY[preset])
        for now in (limit, limit - 1)
    )

    assert ("none", limit / 1000) == (at.severity, at.signals["length_collapse_ratio"])
    assert ("severe", (limit - 1) / 1000) == (below.severity, below.signals["length_collapse_ratio"])
    assert f"length_collapse_ratio 0.{limit // 10} (median {limit - 1} after 1000)" == below.reason


@pytest.mark.parametrize(("preset", "least"), [("low", 10), ("normal", 6), ("high", 4)])
def test_below_its_fill_a_window_says_nothing_and_at_it_everything(preset: str, least: int) -> None:
    bad = answer(output_tokens=0, stop_reason=None)
    few, enough = (detect_drift([bad] * count, SENSITIVITY[preset]) for count in (least - 1, least))

    assert ("none", {}) == (few.severity, few.signals)
    assert "empty_response_rate 1.00, stop_anomaly_rate 1.00" == enough.reason


def test_values_are_rounded_half_to_even_where_they_are_told() -> None:
    """Medians of 2.5 and 5.5 are told as 2 and 6; their ratio, 5/11, to two places in the reason, three beside it."""
    window = [answer(output_tokens=tokens) for tokens in (5, 6, 5, 6, 2, 3, 2, 3)]
    found = detect_drift(window)

    assert "length_collapse_ratio 0.45 (median 2 after 6)" == found.reason
    assert 0.455 == found.signals["length_collapse_ratio"]


def test_a_reason_names_all_that_is_wrong_in_the_order_of_the_table() -> None:
    bad = answer(output_tokens=0, stop_reason="refusal", has_tool_use=False)
    window = [answer(request_had_tools=False)] * 3 + [bad] * 7 + [answer(is_error=True)] * 5
    found = detect_drift(window)

    assert (
        "empty_response_rate 0.70, length_collapse_ratio 0.00 (median 0 after 300), tool_silence_rate 1.00, "
        "stop_anomaly_rate 0.70, error_rate 0.33"
    ) == found.reason
    assert [0.7, 0.0, 1.0, 0.7, 0.333] == list(found.signals.values())


def test_a_quarantine_is_for_five_minutes_and_one_request_in_ten_unless_said_otherwise() -> None:
    started = datetime(2026, 11, 1, tzinfo=UTC)
    context = Context()
    for place in range(6):
        context.add(answer(is_error=True), id=f"o{place}")
    found = Engine([DriftMonitor()]).run_sync(context, started=started).context.of(Quarantine)["drift/acme"].payload

    assert (started + timedelta(seconds=300), 10) == (found.until, found.one_in)
