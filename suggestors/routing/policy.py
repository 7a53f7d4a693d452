"""Scores the candidates of one request under a policy, and says how probable it was that each would win.

All policies share one pipeline: evidence becomes a distribution for each candidate, what its answers cost is taken off
at a price, and the highest score wins. Thompson sampling draws the scores from Betas, linear Thompson sampling from
normal distributions around a prediction, LinUCB takes the upper edge of the prediction (and its propensities are 1 and
0, ties going to the name that sorts first).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .arms import mean_of
from .chances import beta_chances, normal_chances
from .context import Line

if TYPE_CHECKING:
    from numpy.random import Generator

Policy = Literal["thompson", "linear-thompson", "linucb"]
POLICIES: tuple[Policy, ...] = ("thompson", "linear-thompson", "linucb")


@dataclass(frozen=True, slots=True)
class Scores:
    """What one draw gave, in the order of the candidates."""

    scores: tuple[float, ...]
    means: tuple[float, ...]
    """What each is expected to score."""
    chances: tuple[float, ...]
    """How probable it was that each would win."""


def thompson(params: Sequence[tuple[float, float]], prices: Sequence[float], rng: Generator, known: Chances) -> Scores:
    """Draws from each Beta once."""
    import numpy as np

    alphas, betas = np.array(params, dtype=float).T
    draws = rng.beta(alphas, betas) - np.array(prices)
    means = [mean_of(*each) - price for each, price in zip(params, prices, strict=True)]
    return Scores(tuple(map(float, draws)), tuple(means), known.of_betas(params, prices))


def linear_thompson(
    lines: Sequence[Line], prices: Sequence[float], width: float, rng: Generator, known: Chances
) -> Scores:
    """Draws from the normal distribution of each prediction once."""
    import numpy as np

    means = [line.mean - price for line, price in zip(lines, prices, strict=True)]
    deviations = [width * line.spread for line in lines]
    draws = rng.normal(np.array(means), np.array(deviations))
    return Scores(tuple(map(float, draws)), tuple(means), known.of_normals(means, deviations))


def linucb(lines: Sequence[Line], prices: Sequence[float], width: float, names: Sequence[str]) -> Scores:
    """Takes the upper edge of each prediction."""
    means = [line.mean - price for line, price in zip(lines, prices, strict=True)]
    edges = [mean + width * line.spread for mean, line in zip(means, lines, strict=True)]
    high = max(edges)
    first = min(name for name, edge in zip(names, edges, strict=True) if edge == high)
    chances = tuple(float(name == first) for name in names)
    # The score of the others at a tie is the next float below, so that the winner is the largest everywhere.
    scores = tuple(edge if name == first else _below(edge, high) for name, edge in zip(names, edges, strict=True))
    return Scores(scores, tuple(means), chances)


def _below(edge: float, high: float) -> float:
    from math import inf, nextafter

    return nextafter(edge, -inf) if edge == high else edge


class Chances:
    """Remembers the integrals of one wake-up: requests that are alike share them."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[float, ...]] = {}

    def of_normals(self, means: Sequence[float], deviations: Sequence[float]) -> tuple[float, ...]:
        """Returns how probable it is that each normal distribution gives the largest draw."""
        key = ("normal", *means, *deviations)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tuple(normal_chances(means, deviations))
        return found

    def of_betas(self, params: Sequence[tuple[float, float]], prices: Sequence[float]) -> tuple[float, ...]:
        """Returns how probable it is that each Beta, less its price, gives the largest draw."""
        key = (*params, *prices)
        found = self._known.get(key)
        if found is None:
            alike = min(prices) == max(prices)
            found = self._known[key] = tuple(beta_chances(params, None if alike else [-price for price in prices]))
        return found
