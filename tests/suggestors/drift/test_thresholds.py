"""Holds thresholds and options to their ranges: what cannot be meant is refused at construction, with the range."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift.errors import InvalidDriftSetting
from quiesce.suggestors.drift.judge import detect_drift
from quiesce.suggestors.drift.monitor import DriftMonitor
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.drift.thresholds import PLAIN, RECOMMENDED, SENSITIVITY, SHARES, DriftOptions, DriftThresholds
from quiesce.suggestors.drift.watch import BaselineOptions
from quiesce.suggestors.drift.window import DriftWindow


def test_the_presets_are_those_of_the_table() -> None:
    assert dict(SENSITIVITY) == {
        "low": DriftThresholds(0.5, 0.3, 0.8, 0.6, 0.4, 10),
        "normal": DriftThresholds(0.3, 0.5, 0.7, 0.4, 0.25, 6),
        "high": DriftThresholds(0.2, 0.7, 0.5, 0.3, 0.15, 4),
    }
    assert DriftThresholds() == SENSITIVITY["normal"]


def test_presets_and_thresholds_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        SENSITIVITY["normal"] = DriftThresholds()  # type: ignore[index]  # that is the point
    with pytest.raises(FrozenInstanceError):
        SENSITIVITY["low"].error_rate = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.001, 1.001, True, "0.3", None, 10**400])
def test_a_threshold_outside_its_range_is_refused_with_the_range(name: str, value: Any) -> None:
    """NaN would never be exceeded, a negative one always."""
    with pytest.raises(InvalidDriftSetting) as caught:
        DriftThresholds(**{name: value})

    assert f"DriftThresholds: {name}=" in str(caught.value)
    assert "is not a number from 0 to 1" in str(caught.value)
    assert (name, "a number from 0 to 1") == (caught.value.name, caught.value.allowed)


@given(value=st.floats(0, 1))
def test_every_share_is_a_threshold(value: float) -> None:
    assert [value] * 5 == [getattr(DriftThresholds(value, value, value, value, value), name) for name in SHARES]


@pytest.mark.parametrize("fill", [0, -1, 1.5, math.nan, True, "6"])
def test_a_window_that_is_judged_empty_is_refused(fill: Any) -> None:
    """A minimum of 0 divided by zero in an empty window."""
    with pytest.raises(InvalidDriftSetting, match=r"min_window_fill=.* is not a whole number from 1"):
        DriftThresholds(min_window_fill=fill)


@pytest.mark.parametrize(
    "wrong",
    [
        {"severe_error_factor": 0.5}, {"severe_error_factor": math.nan}, {"min_earlier_median": -1},
        {"min_earlier_median": math.inf}, {"growth_ratio": 0.9}, {"growth_ratio": "2"},
    ],
)  # fmt: skip
def test_options_outside_their_ranges_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidDriftSetting, match=r"DriftOptions: .* is not a number from"):
        DriftOptions(**wrong)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"warm_up": 3}, "is not a whole number from 16 to 100000"),
        ({"alpha": 0}, "alpha=0 is not a number above 0 to 1"),
        ({"alpha": math.nan}, "alpha=nan is not a number above 0 to 1"),
        ({"effect": 2}, "effect=2 is not a number from 0 to 1"),
        ({"min_length": -3}, "min_length=-3 is not a number from 0"),
        ({"recovery": 0}, "recovery=0 is not a whole number from 1"),
        ({"watch": ("empty", "sleepy")}, "is not a tuple of some of empty, short"),
        ({"watch": ()}, "is not a tuple of some of empty, short"),
        ({"watch": "error"}, "is not a tuple of some of empty, short"),
    ],
)
def test_baseline_options_outside_their_ranges_are_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDriftSetting) as caught:
        BaselineOptions(**wrong)

    assert text in str(caught.value)


def test_everything_beyond_the_rules_is_off_where_nothing_is_said() -> None:
    assert DriftOptions(None, 0.0, normalise_stop_reasons=False, growth_ratio=None) == PLAIN
    assert DriftOptions(2.0, 20.0, normalise_stop_reasons=True, growth_ratio=4.0) == RECOMMENDED


# --- what it is given -------------------------------------------------------------------------------------------------


def _bad(tokens: int = 0) -> ResponseObservation:
    return ResponseObservation(provider="acme", output_tokens=tokens, has_tool_use=False, request_had_tools=False)


@pytest.mark.parametrize("preset", sorted(SENSITIVITY))
def test_the_name_of_a_preset_will_do_everywhere(preset: str) -> None:
    said = [_bad(100)] * 6 + [_bad(60)] * 6
    by_name, by_value = DriftWindow(thresholds=preset), DriftWindow(thresholds=SENSITIVITY[preset])
    for one in said:
        by_name.record(one)
        by_value.record(one)

    assert detect_drift(said, SENSITIVITY[preset]) == detect_drift(said, preset)
    assert by_value.judge("acme") == by_name.judge("acme")


@pytest.mark.parametrize("given", ["medium", "", 3, False, {"error_rate": 0.1}, ["high"], object])
@pytest.mark.parametrize(
    "call", [lambda given: detect_drift([], given), lambda given: DriftWindow(thresholds=given), DriftMonitor]
)
def test_what_are_no_thresholds_is_refused_by_name(call: Any, given: Any) -> None:
    """It used to be an AttributeError, and only once there was something to judge."""
    with pytest.raises(InvalidDriftSetting, match="is not one of low, normal, high, or a DriftThresholds") as caught:
        call(given)

    assert ("thresholds", given) == (caught.value.name, caught.value.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: detect_drift([], options="recommended"),  # type: ignore[arg-type]
        lambda: DriftWindow(options={}),  # type: ignore[arg-type]
        lambda: DriftMonitor(options=None),  # type: ignore[arg-type]
    ],
)
def test_what_are_no_options_is_refused(call: Any) -> None:
    with pytest.raises(InvalidDriftSetting, match="is not a DriftOptions, such as RECOMMENDED"):
        call()


@pytest.mark.parametrize("given", [{"provider": "acme"}, None, "acme", 3])
def test_what_is_no_observation_is_refused(given: Any) -> None:
    """Which one it is, and what to do about it; nothing of it is kept."""
    windows = DriftWindow()
    with pytest.raises(InvalidDriftSetting) as first:
        detect_drift([_bad(), given])
    with pytest.raises(InvalidDriftSetting) as second:
        windows.record(given)

    assert str(first.value).startswith("detect_drift: window[1]: observation=")
    assert str(first.value).endswith(
        "is not a ResponseObservation. Of a dict, make one: ResponseObservation(**observation)"
    )
    assert str(second.value).startswith("DriftWindow.record: observation=")
    assert 0 == len(windows)


def test_the_least_size_of_a_window_says_where_it_comes_from() -> None:
    with pytest.raises(InvalidDriftSetting) as caught:
        DriftWindow(5)

    assert (
        "DriftWindow: max_size=5 is not a whole number from 6 to 10000000 (6 is min_window_fill: below it nothing is "
        "ever judged)"
    ) == str(caught.value)
