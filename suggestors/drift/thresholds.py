"""Says from where on a signal counts as drift."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .errors import InvalidDriftSetting, check_count, check_number

SHARES: Final = (
    "empty_response_rate", "length_collapse_ratio", "tool_silence_rate", "stop_anomaly_rate", "error_rate",
)  # fmt: skip
"""The signals, each with a threshold of its name, in the order in which reasons name them."""


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """From where on each signal is anomalous; all comparisons are strict.

    ```python
    from quiesce.suggestors import DriftThresholds

    DriftThresholds(error_rate=0.1, min_window_fill=8)
    ```

    Raises:
        InvalidDriftSetting: a share that is no number from 0 to 1, or a fill below 1; the message names the range.
    """

    empty_response_rate: float = 0.3
    length_collapse_ratio: float = 0.5
    """Anomalous *below* this; the others are above theirs."""
    tool_silence_rate: float = 0.7
    stop_anomaly_rate: float = 0.4
    error_rate: float = 0.25
    min_window_fill: int = 6
    """So many observations at least, or nothing is said."""

    def __post_init__(self) -> None:
        for name in SHARES:
            check_number("DriftThresholds", name, getattr(self, name), 0, 1)
        check_count("DriftThresholds", "min_window_fill", self.min_window_fill, 1)


SENSITIVITY: Final = MappingProxyType({
    "low": DriftThresholds(0.5, 0.3, 0.8, 0.6, 0.4, 10),
    "normal": DriftThresholds(),
    "high": DriftThresholds(0.2, 0.7, 0.5, 0.3, 0.15, 4),
})  # fmt: skip
"""The presets: "low", "normal" and "high"."""


def thresholds_of(where: str, thresholds: object) -> DriftThresholds:
    """Returns thresholds as they are, or those of the preset of that name.

    Raises:
        InvalidDriftSetting: neither; the message names the presets.
    """
    if isinstance(thresholds, DriftThresholds):
        return thresholds
    found = SENSITIVITY.get(thresholds) if isinstance(thresholds, str) else None
    if found is None:
        allowed = f"one of {', '.join(SENSITIVITY)}, or a DriftThresholds"
        raise InvalidDriftSetting(where, "thresholds", thresholds, allowed)
    return found


def check_options(where: str, options: object) -> None:
    """Raises InvalidDriftSetting unless these are `DriftOptions`."""
    if not isinstance(options, DriftOptions):
        raise InvalidDriftSetting(where, "options", options, "a DriftOptions, such as RECOMMENDED")


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """What the plain rules leave out. All is off by default; `RECOMMENDED` is what the suggestor uses.

    Raises:
        InvalidDriftSetting: a value outside its range.
    """

    severe_error_factor: float | None = None
    """An error rate of at least so many times its threshold (but never above 1) is severe; None: it is always mild."""
    min_earlier_median: float = 0.0
    """The length is not judged where the earlier median is below this: tiny answers shrink by chance."""
    normalise_stop_reasons: bool = False
    """Whether what other vendors say for the same is the same; see `normalise_stop_reason`."""
    growth_ratio: float | None = None
    """A median above so many times the earlier one is a mild signal, `length_growth_ratio`; None: growth is none."""

    def __post_init__(self) -> None:
        if self.severe_error_factor is not None:
            check_number("DriftOptions", "severe_error_factor", self.severe_error_factor, 1)
        check_number("DriftOptions", "min_earlier_median", self.min_earlier_median, 0)
        if self.growth_ratio is not None:
            check_number("DriftOptions", "growth_ratio", self.growth_ratio, 1)


PLAIN: Final = DriftOptions()
"""The rules as they are, nothing added."""
RECOMMENDED: Final = DriftOptions(
    severe_error_factor=2.0, min_earlier_median=20.0, normalise_stop_reasons=True, growth_ratio=4.0
)
"""Many errors are severe, tiny answers are not judged by their length, no vendor is odd for its vocabulary, and answers
that are four times as long as before are mild."""
