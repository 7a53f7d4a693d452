"""Keeps the length that a window had before it collapsed, so that the collapse is not forgotten while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .judge import Figures
from .thresholds import DriftOptions, DriftThresholds


def collapse(
    figures: Figures,
    before: float,
    usual: Callable[[], float],
    thresholds: DriftThresholds,
    options: DriftOptions,
) -> float:
    """Returns the length that the recent half has collapsed from; 0 if it has not.

    `before` is what this returned an observation earlier: while the recent half has not come back to it, it stays. A
    collapse that is new is from the earlier half's median, but from no more than what is `usual` (0: nobody knows):
    else a few answers that were long by chance, or a burst of them, would be asked for ever after.
    """
    if figures.ok < 4:
        return before  # so few lengths say nothing
    least = thresholds.length_collapse_ratio
    if before:
        return before if figures.recent_median / before < least else 0.0
    earlier = figures.earlier_median
    if figures.observations < thresholds.min_window_fill or earlier <= 0 or earlier < options.min_earlier_median:
        return 0.0
    if figures.recent_median / earlier >= least:
        return 0.0
    healthy = min(earlier, usual() or earlier)
    if healthy < options.min_earlier_median or figures.recent_median / healthy >= least:
        return 0.0
    return healthy


def middle(values: Sequence[float]) -> float:
    """Returns the median, the higher one of two; 0 for none."""
    return sorted(values)[len(values) // 2] if values else 0.0
