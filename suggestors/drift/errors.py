"""Says what is wrong with a setting of drift detection, and what is missing."""

from __future__ import annotations

import math
from typing import Any

from ...engine.options import is_number, is_whole
from ...facts import FactError
from ...facts.errors import shown


class InvalidDriftSetting(FactError):
    """A threshold, a window or another setting of drift detection lies outside its range."""

    def __init__(self, where: str, name: str, value: object, allowed: str) -> None:
        self.where, self.name, self.value, self.allowed = where, name, value, allowed
        super().__init__(f"{where}: {name}={shown(value)} is not {allowed}")


class MissingDetector(FactError, ImportError):
    """A change detector was asked for whose library is not installed."""

    def __init__(self, detector: str) -> None:
        self.detector = detector
        super().__init__(
            f"the detector {detector!r} is river's, which is not installed. "
            f'Write: pip install "quiesce[drift]". The detector "e" needs nothing'
        )


def check_number(
    where: str, name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False
) -> None:  # fmt: skip
    """Raises InvalidDriftSetting unless the value is a number from `low` to `high`; with `above`, not `low` itself."""
    if not is_number(value) or not low <= value <= high or (above and value == low) or value == math.inf:
        first = f"a number above {low:g}" if above else f"a number from {low:g}"
        raise InvalidDriftSetting(where, name, value, first if high == math.inf else f"{first} to {high:g}")


def check_count(where: str, name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raises InvalidDriftSetting unless the value is a whole number from `low` to `high`."""
    if not is_whole(value, low) or (high is not None and value > high):
        raise InvalidDriftSetting(
            where, name, value, f"a whole number from {low}" if high is None else f"a whole number from {low} to {high}"
        )
