"""Finds changes in any stream of numbers: one protocol for our own detector and for river's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, runtime_checkable

from .errors import InvalidDriftSetting, MissingDetector, check_count, check_number
from .evidence import RateTest

Direction = Literal["up", "down", "both"]


@runtime_checkable
class Detector(Protocol):
    """Finds changes in a stream of numbers.

    Contract: what `update` returns depends on the numbers given so far and on nothing else.
    """

    def update(self, value: float) -> bool:
        """Takes in the next number, and tells whether a change is found at it."""


class EDetector:
    """Finds a lasting shift of any number against its warm-up, with a false-alarm bound that holds for ever.

    ```python
    from quiesce.suggestors.drift import EDetector

    detector = EDetector(warm_up=80)
    found = [detector.update(100 + place % 7) for place in range(500)] + [detector.update(200) for _ in range(40)]
    assert found.index(True) > 500
    ```

    The first quarter of the warm-up gives the quartiles; what counts from then on is how often the numbers lie beyond
    them, so nothing is assumed of their distribution. The chance that a stream of independent numbers from one and the
    same distribution is ever reported is at most `alpha`. After a change it begins anew: what is now is normal.

    Raises:
        InvalidDriftSetting: a setting outside its range, or a number that is not finite.
    """

    def __init__(
        self, warm_up: int = 200, alpha: float = 0.01, effect: float = 0.1, direction: Direction = "both"
    ) -> None:  # fmt: skip
        check_count("EDetector", "warm_up", warm_up, 16)
        check_number("EDetector", "alpha", alpha, 0, 1, above=True)
        check_number("EDetector", "effect", effect, 0, 1)
        if direction not in ("up", "down", "both"):
            raise InvalidDriftSetting("EDetector", "direction", direction, "'up', 'down' or 'both'")
        self.warm_up, self.alpha, self.effect = warm_up, alpha, effect
        self._sides = ("up", "down") if direction == "both" else (direction,)
        self._wanted = math.log(len(self._sides) / alpha)
        self._first: list[float] = []
        self._limits: dict[str, float] = {}
        self._tests: dict[str, RateTest] = {}
        self._begin()

    def update(self, value: float) -> bool:
        """Takes in the next number, and tells whether a change is found at it."""
        value = finite(value)
        self._count += 1
        if self._count <= self.warm_up // 4:
            self._first.append(value)
            if self._count == self.warm_up // 4:
                ordered = sorted(self._first)
                self._limits = {"down": ordered[len(ordered) // 4], "up": ordered[3 * len(ordered) // 4]}
            return False
        if self._count <= self.warm_up:
            for side in self._sides:
                self._beyond[side] += self._is_beyond(side, value)
            if self._count == self.warm_up:
                cases = self.warm_up - self.warm_up // 4
                self._tests = {side: RateTest(self._beyond[side], cases) for side in self._sides}
            return False
        found = [
            test.see(self._is_beyond(side, value), self._wanted, self.effect) for side, test in self._tests.items()
        ]
        if all(rate is None for rate in found):
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        self._count = 0
        self._first, self._limits, self._tests = [], {}, {}
        self._beyond = dict.fromkeys(self._sides, 0)

    def _is_beyond(self, side: str, value: float) -> bool:
        return value > self._limits["up"] if side == "up" else value < self._limits["down"]


class RiverDetector:
    """One of river's change detectors."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def update(self, value: float) -> bool:
        """Takes in the next number, and tells whether a change is found at it."""
        self.inner.update(finite(value))
        return bool(self.inner.drift_detected)


_RIVERS: Final = {"adwin": "ADWIN", "page-hinkley": "PageHinkley", "kswin": "KSWIN"}
DETECTORS: Final = ("e", *_RIVERS)
"""The names that `detector` knows."""


def detector(name: str, **settings: Any) -> Detector:
    """Returns a change detector by its name: "e", which is ours, or river's "adwin", "page-hinkley" or "kswin".

    ```python
    from quiesce.suggestors.drift import detector

    assert not detector("e", alpha=0.001).update(12.5)
    ```

    The settings are those of the class; KSWIN, which draws samples, gets a seed of 0 unless another is given.

    Raises:
        MissingDetector: river is not installed; its extra is `drift`.
        InvalidDriftSetting: there is no detector of this name, or it does not take these settings.
    """
    if name not in DETECTORS:
        raise InvalidDriftSetting("detector", "name", name, f"one of {', '.join(DETECTORS)}")
    make: Callable[..., Any]
    if name == "e":
        make = EDetector
    else:
        try:
            from river import drift
        except ImportError as error:
            raise MissingDetector(name) from error
        make = getattr(drift, _RIVERS[name])
        if name == "kswin":
            settings.setdefault("seed", 0)
    try:
        made = make(**settings)
    except (TypeError, ValueError) as error:
        raise InvalidDriftSetting(f"detector {name!r}", "settings", settings, f"what it takes: {error}") from error
    return made if name == "e" else RiverDetector(made)


def finite(value: float) -> float:
    """Returns a number as a float, or raises InvalidDriftSetting if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidDriftSetting("update", "value", value, "a finite number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise InvalidDriftSetting("update", "value", value, "a finite number")
    return found
