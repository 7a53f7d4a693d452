"""Says what is watched against a frozen baseline, and what of an observation counts as bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from .errors import InvalidDriftSetting, check_count, check_number
from .payloads import Number, ResponseObservation
from .seen import ERROR, HAD_TOOLS, ODD_AT_ALL, USED_TOOL, WAS_CUT, Seen

NUMBERS: Final[tuple[Number, ...]] = ("output_tokens", "latency_ms", "cost", "score")


class Cut(NamedTuple):
    """A number is bad beyond a quartile of what it was at first."""

    number: Number
    above: bool


CUTS: Final[dict[str, Cut]] = {
    "short": Cut("output_tokens", above=False),
    "long": Cut("output_tokens", above=True),
    "slow": Cut("latency_ms", above=True),
    "dear": Cut("cost", above=True),
    "poor": Cut("score", above=False),
}
PLAIN_WATCHES: Final = ("empty", "silent", "odd", "truncated", "error")
WATCHES: Final = ("empty", "short", "long", "silent", "odd", "truncated", "slow", "dear", "poor", "error")
"""All that can be watched, in the order in which reasons name them."""
SEVERE: Final = frozenset({"empty", "short"})
"""What is severe by itself; the rest is mild."""
POOLED: Final = ("empty", "silent", "odd", "error")
"""What is compared with other providers, too."""


@dataclass(frozen=True, slots=True)
class BaselineOptions:
    """How windows are compared with what they were at first, and with the other providers.

    Raises:
        InvalidDriftSetting: a value outside its range.
    """

    warm_up: int = 200
    """So many observations make the baseline."""
    alpha: float = 0.01
    """The chance that a window whose behaviour never changes is ever found to have changed."""
    effect: float = 0.1
    """A rate that has risen by less than this is not reported."""
    watch: tuple[str, ...] = ("empty", "short", "silent", "odd", "error")
    """What is watched, of `WATCHES`."""
    min_length: float = 20.0
    """Where the median answer at first is shorter than this, "short" is not watched."""
    recovery: int = 20
    """What was found is over when, of so many cases in a row, fewer are bad than half-way between before and after."""

    def __post_init__(self) -> None:
        check_count("BaselineOptions", "warm_up", self.warm_up, 16, 100_000)
        check_number("BaselineOptions", "alpha", self.alpha, 0, 1, above=True)
        check_number("BaselineOptions", "effect", self.effect, 0, 1)
        check_number("BaselineOptions", "min_length", self.min_length, 0)
        check_count("BaselineOptions", "recovery", self.recovery, 1)
        unknown = None if isinstance(self.watch, str) else next((one for one in self.watch if one not in WATCHES), None)
        if isinstance(self.watch, str) or unknown is not None or not self.watch:
            raise InvalidDriftSetting(
                "BaselineOptions", "watch", self.watch, f"a tuple of some of {', '.join(WATCHES)}"
            )  # fmt: skip
        object.__setattr__(self, "watch", tuple(one for one in WATCHES if one in self.watch))

    @property
    def first(self) -> int:
        """The share of the warm-up of which the quartiles are taken; the rest counts how often they are passed."""
        return self.warm_up // 4


def is_bad(name: str, seen: Seen) -> bool | None:
    """Tells whether an observation is bad in what is watched by `name`; None: it says nothing about that."""
    return _PLAIN[name](*seen)


def _of_error(_tokens: int, flags: int) -> bool | None:
    return bool(flags & ERROR)


def _of_empty(tokens: int, flags: int) -> bool | None:
    return None if flags & ERROR else tokens == 0


def _of_silent(_tokens: int, flags: int) -> bool | None:
    return None if flags & ERROR or not flags & HAD_TOOLS else not flags & USED_TOOL


def _of_odd(_tokens: int, flags: int) -> bool | None:
    return None if flags & ERROR else bool(flags & ODD_AT_ALL)


def _of_truncated(_tokens: int, flags: int) -> bool | None:
    return None if flags & ERROR else bool(flags & WAS_CUT)


_PLAIN: Final[dict[str, Callable[[int, int], bool | None]]] = {
    "empty": _of_empty, "silent": _of_silent, "odd": _of_odd, "truncated": _of_truncated, "error": _of_error,
}  # fmt: skip


def number_of(observation: ResponseObservation, number: Number, seen: Seen) -> float | None:
    """Returns a number of an observation; None for an error, which has none that means anything."""
    if seen[1] & ERROR:
        return None
    if number == "output_tokens":
        return float(seen[0])
    found: float | None = getattr(observation, number)
    return found


def cut_of(cut: Cut, values: Sequence[float], min_length: float) -> float | None:
    """Returns the quartile beyond which a number is bad; None where there are too few, or where they are too small."""
    if len(values) < 8:
        return None
    ordered = sorted(values)
    if cut.number == "output_tokens" and not cut.above and ordered[len(ordered) // 2] < min_length:
        return None
    return ordered[(3 * len(ordered)) // 4] if cut.above else ordered[len(ordered) // 4]
