"""Computes the signals of every window of a long history at once: what `weigh` says of each, by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .seen import ERROR, HAD_TOOLS, ODD_AS_SAID, ODD_AT_ALL, USED_TOOL, Seen
from .thresholds import DriftOptions, DriftThresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS = 4_000_000
"""How many numbers are sorted at a time."""


class Series(NamedTuple):
    """A history as two columns: output tokens and flags."""

    tokens: NDArray[Any]
    flags: NDArray[Any]

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> Series:
        """Returns the columns of observations."""
        import numpy as np

        return cls(
            np.array([tokens for tokens, _ in seen], dtype=np.float64), np.array([f for _, f in seen], dtype=np.uint8)
        )

    def take(self, places: NDArray[Any]) -> Series:
        """Returns the observations at some places."""
        return Series(self.tokens[places], self.flags[places])


def sliding_signals(series: Series, size: int, options: DriftOptions) -> dict[str, NDArray[Any]]:
    """Returns the unrounded value of each signal in each full window, by the place of its last observation.

    NaN stands where a window does not have the signal.
    """
    import numpy as np

    flags = series.flags
    fine = (flags & ERROR) == 0
    eligible = fine & ((flags & HAD_TOOLS) != 0)
    odd = (flags & (ODD_AT_ALL if options.normalise_stop_reasons else ODD_AS_SAID)) != 0
    ok = _sums(fine, size)
    tools = _sums(eligible, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "empty_response_rate": _sums(fine & (series.tokens == 0), size) / ok,
            "length_collapse_ratio": _ratios(series.tokens, fine, size, options),
            "tool_silence_rate": np.where(
                tools >= 3, _sums(eligible & ((flags & USED_TOOL) == 0), size) / tools, np.nan
            ),
            "stop_anomaly_rate": _sums(fine & odd, size) / ok,
            "error_rate": _sums(~fine, size) / size,
        }


def flagged(signals: dict[str, NDArray[Any]], thresholds: DriftThresholds, options: DriftOptions) -> NDArray[Any]:
    """Returns for each window whether any of its signals is anomalous."""
    import numpy as np

    found = np.zeros(len(signals["error_rate"]), dtype=bool)
    for name, values in signals.items():
        found |= is_beyond(name, values, getattr(thresholds, name))
    if options.growth_ratio is not None:
        found |= signals["length_collapse_ratio"] > options.growth_ratio
    return found


def is_beyond(name: str, values: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Returns where a signal is anomalous."""
    found: NDArray[Any] = values < threshold if name == "length_collapse_ratio" else values > threshold
    return found


def onsets(found: NDArray[Any]) -> int:
    """Returns how often something begins: an alarm that lasts is one alarm."""
    if not len(found):
        return 0
    return int(found[0]) + int((found[1:] & ~found[:-1]).sum())


def _sums(column: NDArray[Any], size: int) -> NDArray[Any]:
    import numpy as np

    total = np.concatenate(([0], np.cumsum(column, dtype=np.int64)))
    found: NDArray[Any] = total[size:] - total[:-size]
    return found


def _ratios(tokens: NDArray[Any], fine: NDArray[Any], size: int, options: DriftOptions) -> NDArray[Any]:
    """Returns the recent median over the earlier one for each window, among those that are no errors."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    values, kept = sliding_window_view(tokens, size), sliding_window_view(fine, size)
    ratios = np.full(len(values), np.nan)
    for start in range(0, len(values), max(1, _CELLS // size)):
        end = start + max(1, _CELLS // size)
        counts = kept[start:end].sum(axis=1)
        for count in np.unique(counts):
            if count < 4:
                continue
            rows = np.flatnonzero(counts == count) + start
            block = values[rows]
            if count < size:
                block = block[kept[rows]].reshape(len(rows), count)  # a mask takes row by row, in order
            earlier = np.median(block[:, : count // 2], axis=1)
            recent = np.median(block[:, count // 2 :], axis=1)
            judged = (earlier > 0) & (earlier >= options.min_earlier_median)
            ratios[rows[judged]] = recent[judged] / earlier[judged]
    return ratios
