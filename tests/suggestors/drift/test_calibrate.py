"""Holds calibrated thresholds to what was asked for, on data that they have not seen."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift import sliding
from quiesce.suggestors.drift.calibrate import AlarmRate, Calibration, calibrate
from quiesce.suggestors.drift.errors import InvalidDriftSetting
from quiesce.suggestors.drift.judge import detect_drift, figures_of, weigh
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.drift.sliding import Series, flagged, onsets, sliding_signals
from quiesce.suggestors.drift.thresholds import PLAIN, RECOMMENDED, SENSITIVITY, SHARES, DriftOptions
from quiesce.suggestors.drift.window import DriftWindow

flags = st.one_of(st.sampled_from([0, 2, 4, 6]), st.integers(0, 63))
seen = st.lists(
    st.tuples(st.one_of(st.integers(0, 40), st.integers(0, 3000)), flags), min_size=20, max_size=60
)  # fmt: skip
HALF = DriftOptions(min_earlier_median=20.0, normalise_stop_reasons=True, growth_ratio=1.5)


@given(
    seen=seen,
    size=st.integers(4, 20),
    options=st.sampled_from([PLAIN, RECOMMENDED, HALF]),
    cells=st.sampled_from([1, 50, 4_000_000]),
)
def test_all_windows_at_once_say_what_each_says(seen: Any, size: int, options: DriftOptions, cells: int) -> None:
    """Every signal of every full window, unrounded to the last bit, and whether it has drifted."""
    thresholds = SENSITIVITY["high"]
    with patch.object(sliding, "_CELLS", cells):  # how much is computed at a time must not show
        signals = sliding_signals(Series.of(seen), size, options)
    drifted = flagged(signals, thresholds, options)
    for place in range(len(seen) - size + 1):
        flags, values = weigh(figures_of(seen[place : place + size]), thresholds, options)

        assert bool(flags) == drifted[place]
        for name in SHARES:
            value = float(signals[name][place])
            assert np.isnan(value) if name not in values else round(value, 3) == values[name]


def stable(count: int, seed: int = 0, errors: float = 0.02, **said: Any) -> list[ResponseObservation]:
    rng = np.random.default_rng(seed)
    said = {"provider": "acme", "request_had_tools": False, **said}
    return [
        ResponseObservation(output_tokens=int(size), has_tool_use=False, stop_reason=stop, is_error=bool(bad), **said)
        for size, bad, stop in zip(
            rng.lognormal(5.5, 0.6, count), rng.random(count) < errors,
            rng.choice(["stop", "length", "content_filter"], count, p=[0.9, 0.09, 0.01]), strict=True,
        )
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("per", [200, 2000])
def test_a_stable_history_raises_as_few_alarms_as_were_asked_for(per: int) -> None:
    """Eight calibrations on 4,000 observations each, tried on 100,000 others from the same source.

    The mean of what is achieved lies between a fifth of what was asked and what was asked, with 25 % for chance and for
    what a sample of 4,000 does not know.
    """
    fresh = sliding_signals(Series.of([_seen(one) for one in stable(100_000, seed=999)]), 20, RECOMMENDED)
    achieved = []
    for seed in range(8):
        found = calibrate(stable(4_000, seed=seed), false_alarms_per=per)
        achieved.append(onsets(flagged(fresh, found.thresholds, RECOMMENDED)) / 100_000 * per)

    assert 0.2 < np.mean(achieved) < 1.25


def _seen(one: ResponseObservation) -> Any:
    from quiesce.suggestors.drift.seen import see

    return see(one)


HISTORY = stable(3_000)


@pytest.fixture(scope="module")
def found() -> Calibration:
    return calibrate(HISTORY, false_alarms_per=500)


@pytest.mark.slow
def test_the_achieved_rates_are_reported(found: Calibration) -> None:
    """What it was fitted on, what was drawn from the held-out part, and that part as it came."""
    assert found.asked == 20
    assert found.fitted.observations == 15_000
    assert found.fitted.per_10_000 <= found.asked
    assert 881 == found.held_out.observations
    low, high = found.drawn.interval
    assert low <= found.drawn.per_10_000 <= high
    assert "asked for at most 20 alarms in 10,000 observations, in windows of 20" in str(found)
    assert "the held-out part itself: " in str(found)


def test_the_held_out_part_is_counted_as_a_window_would(found: Calibration) -> None:
    """The rate on it is what a `DriftWindow` with these thresholds does."""
    windows, before, alarms = DriftWindow(20, found.thresholds, RECOMMENDED), False, 0
    for place, one in enumerate(HISTORY[2_100:]):
        windows.record(one)
        drifted = windows.judge("acme").drifted
        if place >= 19:
            alarms += drifted and not before
            before = drifted

    assert alarms == found.held_out.alarms


def test_the_same_history_and_seed_give_the_same(found: Calibration) -> None:
    assert found == calibrate(HISTORY, false_alarms_per=500)
    assert found != calibrate(HISTORY, false_alarms_per=500, seed=1)


def test_calibrated_thresholds_still_find_a_collapse(found: Calibration) -> None:
    fine = stable(20, seed=5, errors=0)

    assert detect_drift([*fine[:10], *(one.model_copy(update={"output_tokens": 9}) for one in fine[10:])],
                        found.thresholds, RECOMMENDED).drifted  # fmt: skip


def test_what_never_happened_may_happen_now_and_then() -> None:
    """Without an error in 1,400 observations, one error is no alarm if alarms are to be seldom."""
    found = calibrate(stable(2_000, errors=0.0), false_alarms_per=2_000)

    assert found.thresholds.error_rate >= 0.05


def test_windows_are_calibrated_apart_and_together() -> None:
    """Two models whose lengths differ tenfold: mixed, every window would collapse."""
    small = [
        one.model_copy(update={"model": "s", "output_tokens": one.output_tokens // 10 + 20}) for one in stable(1500, 1)
    ]
    mixed = [one for pair in zip(stable(1500, 2), small, strict=True) for one in pair]
    found = calibrate(mixed, false_alarms_per=500)

    assert found.thresholds.length_collapse_ratio > 0.2
    assert found.held_out.observations == 2 * (450 - 19)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"false_alarms_per": 3}, "false_alarms_per=3 is not a whole number from 10 to"),
        ({"window": 5}, "window=5 is not a whole number from 6 to 10000"),
        ({"min_window_fill": 0}, "min_window_fill=0 is not a whole number from 1"),
        ({"held_out": 0}, "held_out=0 is not a number from 0.05 to 0.95"),
        ({"held_out": float("nan")}, "held_out=nan is not a number from"),
        ({"seed": -1}, "seed=-1 is not a whole number from 0"),
    ],
)
def test_settings_outside_their_ranges_are_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDriftSetting) as caught:
        calibrate(stable(200), **wrong)

    assert text in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 130])
def test_a_history_too_short_to_be_split_says_how_much_is_needed(count: int) -> None:
    with pytest.raises(InvalidDriftSetting) as caught:
        calibrate(stable(count))

    assert "is not enough: give 135 or more of one provider, model and way of answering" in str(caught.value)


def test_an_interval_is_exact() -> None:
    """No alarm in 10,000 means at most 3.69 (95 %, two-sided)."""
    assert [0, 3.689] == [round(end, 3) for end in AlarmRate(0, 10_000).interval]
    assert (0.0, float("inf")) == AlarmRate(0, 0).interval
