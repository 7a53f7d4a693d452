"""Finds thresholds under which a stable history raises as few alarms as were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InvalidDriftSetting, check_count, check_number
from .payloads import ResponseObservation
from .seen import ERROR, HAD_TOOLS, ODD_AS_SAID, ODD_AT_ALL, USED_TOOL, Seen, WindowKey, key_of, see
from .sliding import Series, flagged, is_beyond, onsets, sliding_signals
from .thresholds import RECOMMENDED, SHARES, DriftOptions, DriftThresholds

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

DRAWS = 30
"""So many alarms are to be expected in what is drawn from a history."""
MAX_DRAWS = 5_000_000


@dataclass(frozen=True, slots=True)
class AlarmRate:
    """How many alarms there were in how many observations, with an exact interval of 95 % for the rate."""

    alarms: int
    observations: int

    @property
    def per_10_000(self) -> float:
        """Alarms in 10,000 observations."""
        return 10_000 * self.alarms / self.observations if self.observations else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Between which values the rate in 10,000 lies, if alarms come independently."""
        from scipy.stats import chi2

        if not self.observations:
            return 0.0, float("inf")
        low = chi2.ppf(0.025, 2 * self.alarms) / 2 if self.alarms else 0.0
        high = chi2.ppf(0.975, 2 * self.alarms + 2) / 2
        return 10_000 * float(low) / self.observations, 10_000 * float(high) / self.observations

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.alarms:,} in {self.observations:,}: {self.per_10_000:.2f} in 10,000 (95 %: {low:.2f} to {high:.2f})"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds, and how often they raise an alarm on what is stable."""

    thresholds: DriftThresholds
    window: int
    asked: float
    """Alarms in 10,000 observations that were asked for at most."""
    fitted: AlarmRate
    """On what was drawn from the part of the history that the thresholds were made of."""
    drawn: AlarmRate
    """On what was drawn from the held-out part."""
    held_out: AlarmRate
    """On the held-out part itself, in its order."""

    def __str__(self) -> str:
        lines = [f"asked for at most {self.asked:g} alarms in 10,000 observations, in windows of {self.window}"]
        lines += [f"{name} {getattr(self.thresholds, name):.3f}" for name in SHARES]
        lines += [f"drawn from the fitted part: {self.fitted}", f"drawn from the held-out part: {self.drawn}"]
        lines.append(f"the held-out part itself: {self.held_out}")
        return "\n".join(lines)


def calibrate(
    history: Sequence[ResponseObservation],
    *,
    false_alarms_per: int = 10_000,
    window: int = 20,
    min_window_fill: int = 6,
    options: DriftOptions = RECOMMENDED,
    held_out: float = 0.3,
    seed: int = 0,
) -> Calibration:
    """Returns thresholds under which such a history raises one alarm in so many observations, or fewer.

    An alarm is a window that has drifted where the one before had not. The first part of each window's history is drawn
    from, with replacement, until so much has been seen that 30 alarms are to be expected; the thresholds are the
    closest ones that raise no more. What never happened in n observations is taken to happen once in n + 2. The rest,
    `held_out`, plays no part in that, and tells what was achieved. Draws are independent: in a history whose
    observations come in clumps, compare `held_out` with `drawn`.

    Raises:
        InvalidDriftSetting: a setting outside its range, or a history too short to be split.
    """
    where = "calibrate"
    check_count(where, "false_alarms_per", false_alarms_per, 10, MAX_DRAWS // DRAWS)
    check_count(where, "min_window_fill", min_window_fill, 1)
    check_count(where, "window", window, max(4, min_window_fill), 10_000)
    check_number(where, "held_out", held_out, 0.05, 0.95)
    check_count(where, "seed", seed, 0)
    fit, rest = _split(history, window, held_out)
    import numpy as np

    rng = np.random.default_rng(seed)
    wanted = false_alarms_per * DRAWS
    drawn = [_loosen(_draw(series, wanted, _total(fit), window, rng), len(series.tokens), rng) for series in fit]
    signals = _join([sliding_signals(series, window, options) for series in drawn])
    thresholds = _fit(signals, DRAWS - DRAWS**0.5, min_window_fill, options)  # a standard deviation of caution
    again = [_draw(series, wanted, _total(rest), window, rng) for series in rest]
    return Calibration(
        thresholds,
        window,
        10_000 / false_alarms_per,
        _rate([signals], thresholds, options),
        _rate([sliding_signals(series, window, options) for series in again], thresholds, options),
        _rate([sliding_signals(series, window, options) for series in rest], thresholds, options),
    )


def _split(
    history: Sequence[ResponseObservation], window: int, held_out: float
) -> tuple[list[Series], list[Series]]:  # fmt: skip
    """Returns the earlier and the later part of each window's history that is long enough."""
    by_window: dict[WindowKey, list[Seen]] = {}
    for one in history:
        by_window.setdefault(key_of(one), []).append(see(one))
    fit, rest = [], []
    for seen in by_window.values():
        first = round(len(seen) * (1 - held_out))
        if min(first, len(seen) - first) >= 2 * window:
            fit.append(Series.of(seen[:first]))
            rest.append(Series.of(seen[first:]))
    if not fit:
        most = max((len(seen) for seen in by_window.values()), default=0)
        needed = int(2 * window / min(held_out, 1 - held_out)) + 2
        raise InvalidDriftSetting(
            "calibrate", "history", f"{most} observations of one window",
            f"enough: give {needed} or more of one provider, model and way of answering, or a smaller window",
        )  # fmt: skip
    return fit, rest


def _total(parts: Sequence[Series]) -> int:
    return sum(len(series.tokens) for series in parts)


def _draw(series: Series, wanted: int, total: int, window: int, rng: Generator) -> Series:
    """Returns observations drawn from a series: its share of those wanted."""
    size = len(series.tokens)
    count = max(2 * window, round(wanted * size / total)) + window - 1
    return series.take(rng.integers(size, size=count))


def _loosen(drawn: Series, size: int, rng: Generator) -> Series:
    """Returns what was drawn, in which anything that may go wrong does so once more in size + 2 cases."""
    count, chance = len(drawn.tokens), 1 / (size + 2)
    flags, tokens = drawn.flags.copy(), drawn.tokens.copy()
    flags[rng.random(count) < chance] |= ERROR
    flags[rng.random(count) < chance] |= ODD_AS_SAID | ODD_AT_ALL
    with_tools = (flags & HAD_TOOLS) != 0
    flags[with_tools & (rng.random(count) < chance)] &= 255 - USED_TOOL
    tokens[rng.random(count) < chance] = 0
    return Series(tokens, flags)


def _join(found: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    import numpy as np

    return {name: np.concatenate([signals[name] for signals in found]) for name in SHARES}


def _fit(
    signals: Mapping[str, NDArray[Any]], alarms: float, min_window_fill: int, options: DriftOptions
) -> DriftThresholds:  # fmt: skip
    """Returns the closest thresholds that together raise no more than so many alarms.

    Each signal may raise the same number; since some alarms come together and some steps are coarse, that number is
    then raised as far as the sum allows.
    """
    low, high = alarms / len(SHARES), alarms
    best = _fit_each(signals, low, min_window_fill)
    for _ in range(8):
        middle = (low + high) / 2
        tried = _fit_each(signals, middle, min_window_fill)
        if onsets(flagged(dict(signals), tried, options)) <= alarms:
            low, best = middle, tried
        else:
            high = middle
    return best


def _fit_each(signals: Mapping[str, NDArray[Any]], alarms: float, min_window_fill: int) -> DriftThresholds:
    found = {name: _closest(name, values, alarms) for name, values in signals.items()}
    return DriftThresholds(**found, min_window_fill=min_window_fill)


def _closest(name: str, values: NDArray[Any], alarms: float) -> float:
    """Returns the closest value beyond which a signal begins to lie no more than so often."""
    import numpy as np

    known = np.unique(values[~np.isnan(values)])
    known = known[(known >= 0) & (known <= 1)]
    if name == "length_collapse_ratio":
        known = np.concatenate(([0.0], known))[::-1]  # from the closest to the farthest
    low, high = 0, len(known) - 1
    while low < high:
        middle = (low + high) // 2
        if onsets(is_beyond(name, values, float(known[middle]))) <= alarms:
            high = middle
        else:
            low = middle + 1
    return float(known[low]) if len(known) else (0.0 if name == "length_collapse_ratio" else 1.0)


def _rate(
    found: Sequence[Mapping[str, NDArray[Any]]], thresholds: DriftThresholds, options: DriftOptions
) -> AlarmRate:  # fmt: skip
    alarms = [flagged(dict(signals), thresholds, options) for signals in found]
    return AlarmRate(sum(onsets(one) for one in alarms), sum(len(one) for one in alarms))
