"""Compares a provider with what the others were at first, so that one that is bad from the start is seen."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi

from .evidence import log_evidence_over, upper_rate
from .judge import Figures, Flag
from .settings import Settings
from .watch import POOLED, SEVERE

Counts = Mapping[str, tuple[int, int]]
"""For each thing that is watched, bad cases and cases."""


class Pool:
    """The frozen baselines of all windows, and what no provider's rate should be above.

    The bound for a provider is the mean rate of the others' baselines, plus what that mean may have been underestimated
    by, plus the effect that is asked for. It may be computed again with each baseline that comes: the chances that it
    is too low, summed over all of them, stay below a third of alpha.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names: tuple[str, ...] = (
            () if settings.baseline is None else tuple(n for n in POOLED if n in settings.baseline.watch)
        )
        self._of: dict[str, dict[str, list[int]]] = {}
        self._all: dict[str, list[int]] = {name: [0, 0] for name in self.names}
        self._frozen = 0
        self._bounds: dict[str, dict[str, float]] = {}

    def add(self, provider: str, counts: Counts) -> None:
        """Takes in the baseline of one window."""
        own = self._of.setdefault(provider, {name: [0, 0] for name in self.names})
        for name in self.names:
            for sums in (own[name], self._all[name]):
                sums[0] += counts[name][0]
                sums[1] += counts[name][1]
        self._frozen += 1
        self._bounds.clear()

    def bounds(self, provider: str) -> Mapping[str, float]:
        """Returns what the rates of a provider should not be above; nothing where no other has a baseline."""
        found = self._bounds.get(provider)
        if found is None:
            found = self._bounds[provider] = self._find_bounds(provider)
        return found

    def weigh(
        self, provider: str, life: Mapping[str, list[int]], figures: Figures, signals: dict[str, float]
    ) -> list[Flag]:
        """Returns what is worse than in the pool now, and has been worse on the whole."""
        flags = []
        for name, bound in self.bounds(provider).items():
            rate = rate_in(figures, name)
            if rate > bound and log_evidence_over(bound, *life[name]) >= self.settings.wanted:
                signals[f"{name}_against_pool"] = round(rate, 3)
                flags.append(
                    Flag(name, name in SEVERE, f"{name}_against_pool {rate:.2f} (at most {bound:.2f} expected)")
                )
        return flags

    def _find_bounds(self, provider: str) -> dict[str, float]:
        baseline = self.settings.baseline
        found: dict[str, float] = {}
        own = self._of.get(provider)
        if baseline is None or not self._frozen:
            return {}
        chance = baseline.alpha / (3 * len(baseline.watch)) * 6 / (pi * self._frozen) ** 2
        for name in self.names:
            bad, cases = self._all[name]
            if own is not None:
                bad, cases = bad - own[name][0], cases - own[name][1]
            bound = upper_rate(bad, cases, chance) + baseline.effect
            if cases and bound < 1:
                found[name] = bound
        return found


def rate_in(figures: Figures, name: str) -> float:
    """Returns how often something that is pooled is bad in a window."""
    match name:
        case "error":
            bad, cases = figures.observations - figures.ok, figures.observations
        case "silent":
            bad, cases = figures.silent, figures.eligible
        case "empty":
            bad, cases = figures.empty, figures.ok
        case _:
            bad, cases = figures.odd_at_all, figures.ok
    return bad / cases if cases else 0.0
