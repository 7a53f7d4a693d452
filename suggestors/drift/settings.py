"""Says what the fold over observations depends on, and so what makes it another fold."""

from __future__ import annotations

from math import log

from .payloads import Number
from .thresholds import RECOMMENDED, SENSITIVITY, DriftOptions, DriftThresholds
from .watch import BaselineOptions


class Settings:
    """What the fold depends on."""

    __slots__ = ("baseline", "numbers", "options", "refresh", "size", "text", "thresholds", "wanted")

    def __init__(
        self,
        size: int,
        baseline: BaselineOptions | None,
        numbers: tuple[Number, ...] = (),
        refresh: int = 0,
        thresholds: DriftThresholds = SENSITIVITY["normal"],
        options: DriftOptions = RECOMMENDED,
    ) -> None:
        self.size, self.baseline = size, baseline
        self.thresholds, self.options = thresholds, options
        """They decide what is severe, and so what is no part of a baseline."""
        self.numbers = numbers
        """The numbers on which change detectors run."""
        self.refresh = refresh
        """After so many values a change detector starts anew: what it knows is a function of those."""
        self.wanted = 0.0 if baseline is None else log(3 * len(baseline.watch) / baseline.alpha)
        """The logarithm of the evidence that is asked for: a third of alpha for what was at first, two for the pool."""
        self.text = f"{size}/{','.join(numbers)}:{refresh}/" + (
            "" if baseline is None else f"{baseline.warm_up}:{baseline.alpha!r}:{baseline.effect!r}:"
            f"{','.join(baseline.watch)}:{baseline.min_length!r}:{baseline.recovery}/"
            f"{thresholds.empty_response_rate!r}:{thresholds.length_collapse_ratio!r}:{thresholds.error_rate!r}:"
            f"{thresholds.min_window_fill}:{options.severe_error_factor!r}:{options.min_earlier_median!r}"
        )  # fmt: skip
