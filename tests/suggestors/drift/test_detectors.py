"""Holds change detectors to one protocol: ours and river's, by name, on any number."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift.detectors import DETECTORS, Detector, EDetector, detector
from quiesce.suggestors.drift.errors import InvalidDriftSetting, MissingDetector

SOAK = int(os.environ.get("SOAK_CASES") or 1_000)
LENGTH = 20 * SOAK


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_finds_a_shift_and_says_the_same_each_time(name: str) -> None:
    """Latencies that double; KSWIN draws samples, from a seed of its own."""
    rng = np.random.default_rng(3)
    numbers = [*rng.normal(300, 20, 600), *rng.normal(600, 20, 200)]
    settings = {"threshold": 500.0} if name == "page-hinkley" else {}
    found = []
    for _ in range(2):
        one = detector(name, **settings)
        assert isinstance(one, Detector)
        found.append([place for place, number in enumerate(numbers) if one.update(number)])

    assert found[0] == found[1]
    assert any(600 <= place < 800 for place in found[0])


@pytest.mark.parametrize("name", ["adwin", "page-hinkley", "kswin"])
def test_what_is_rivers_names_its_extra_when_it_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(MissingDetector) as caught:
        detector(name)

    assert f"the detector '{name}' is river's, which is not installed" in str(caught.value)
    assert 'pip install "quiesce[drift]"' in str(caught.value)
    assert not detector("e").update(1)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("cusum", {}, "name='cusum' is not one of e, adwin, page-hinkley, kswin"),
        ("adwin", {"speed": 3}, "settings={'speed': 3} is not what it takes"),
        ("e", {"speed": 3}, "settings={'speed': 3} is not what it takes"),
        ("e", {"alpha": 0}, "EDetector: alpha=0 is not a number above 0 to 1"),
        ("e", {"warm_up": 2}, "EDetector: warm_up=2 is not a whole number from 16"),
        ("e", {"effect": -1}, "EDetector: effect=-1 is not a number from 0 to 1"),
        ("e", {"direction": "left"}, "EDetector: direction='left' is not 'up', 'down' or 'both'"),
        ("kswin", {"alpha": 7}, "is not what it takes"),
    ],
)
def test_what_cannot_be_meant_is_told(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDriftSetting) as caught:
        detector(name, **settings)

    assert text in str(caught.value)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3", None, True, 10**400])
def test_numbers_that_are_none_are_refused(name: str, value: Any) -> None:
    """One NaN would make all that follows NaN."""
    with pytest.raises(InvalidDriftSetting, match="is not a finite number"):
        detector(name).update(value)


@given(numbers=st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_any_numbers_can_be_watched(numbers: list[float]) -> None:
    """Equal ones, huge ones, rising ones."""
    watched = EDetector(warm_up=16)
    for number in [*numbers, *numbers]:
        assert watched.update(number) in (True, False)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "lognormal", "cauchy", "dice"])
def test_our_detector_holds_its_bound_whatever_the_distribution(shape: str) -> None:
    """100 lives of 900 numbers at alpha = 0.05: 5 may be alarmed, and 13 or more have a chance of 0.0015."""
    assert alarmed(shape, 100, 900, 0.05) < 13


@pytest.mark.soak
@pytest.mark.parametrize("shape", ["lognormal", "dice"])
def test_our_detector_holds_its_bound_for_long(shape: str) -> None:
    """SOAK_CASES lives of 20 times as many numbers; three standard deviations above the bound are allowed."""
    assert alarmed(shape, SOAK, LENGTH, 0.05) <= 0.05 * SOAK + 3 * (0.05 * 0.95 * SOAK) ** 0.5


def alarmed(shape: str, lives: int, length: int, alpha: float) -> int:
    rng = np.random.default_rng(11)
    draw: Any = {
        "normal": lambda: rng.normal(0, 1, length),
        "lognormal": lambda: rng.lognormal(5, 1, length),
        "cauchy": lambda: rng.standard_cauchy(length),
        "dice": lambda: rng.integers(1, 7, length),
    }[shape]
    found = 0
    for _ in range(lives):
        watched = EDetector(alpha=alpha, effect=0)
        found += any(watched.update(float(number)) for number in draw())
    return found


@pytest.mark.parametrize(
    ("direction", "expected"), [("up", [True, False]), ("down", [False, True]), ("both", [True, True])]
)
def test_a_direction_can_be_asked_for(direction: Any, expected: list[bool]) -> None:
    """Costs that fall are no alarm."""
    rng, found = np.random.default_rng(3), []
    for later in (20, 5):
        watched = EDetector(direction=direction)
        numbers = [*rng.normal(10, 1, 300), *rng.normal(later, 1, 100)]
        found.append(any(watched.update(number) for number in numbers))

    assert expected == found


def test_after_a_change_what_is_now_is_normal() -> None:
    rng = np.random.default_rng(3)
    watched = EDetector()
    numbers = [*rng.normal(10, 1, 400), *rng.normal(20, 1, 1000), *rng.normal(10, 1, 100)]
    found = [place for place, number in enumerate(numbers) if watched.update(number)]

    assert 2 == len(found)
    assert 400 <= found[0] < 440
    assert 1400 <= found[1] < 1440
