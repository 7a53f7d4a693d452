"""Tells how probable it is that each of several draws is the largest, by one integral over all of them.

That one wins is ∫ G dF: F is its own distribution function, G the product of all others. Both are looked up on a grid
made of quantiles of every one of them, and summed by trapezoids, whose error is of second order: far below 1e-3. Draws
may be moved by what a price takes off; where nothing moves them, `propensity.propensities` is asked, which is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .propensity import propensities

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_LEVELS, FEWEST_LEVELS = 64, 16
"""Of each distribution: the fewer, the more distributions there are, since all share one grid."""
MOST_POINTS, FEWEST_POINTS, MOST_WORK = 4096, 512, 400_000
"""Of the grid: the fewer, the more distributions have to be looked up at each."""
NEVER = 1e-8
"""What is less probable than this is left out of the grid."""

Params = Sequence[tuple[float, float]]


def beta_chances(params: Params, moved: Sequence[float] | None = None) -> list[float]:
    """Returns for each Beta(alpha, beta), moved by so much, the probability that its draw is the largest.

    ```python
    from quiesce.suggestors.routing import beta_chances

    assert [round(one, 3) for one in beta_chances([(2, 1), (1, 1)])] == [0.667, 0.333]
    ```
    """
    if moved is None:
        return propensities(params)
    import numpy as np
    from scipy.special import betainc, betaincinv

    alpha, beta = (np.array(part, dtype=float) for part in zip(*params, strict=True))
    shift: NDArray[Any] = np.array(moved, dtype=float)

    def quantile(levels: NDArray[Any]) -> NDArray[Any]:
        levels_of: NDArray[Any] = betaincinv(alpha[:, None], beta[:, None], levels[None, :])
        return np.asarray(levels_of + shift[:, None])

    def below(points: NDArray[Any]) -> NDArray[Any]:
        inside = np.clip(points[None, :] - shift[:, None], 0.0, 1.0)
        return np.asarray(betainc(alpha[:, None], beta[:, None], inside))

    return _integrate(len(alpha), quantile, below)


def normal_chances(means: Sequence[float], deviations: Sequence[float]) -> list[float]:
    """Returns for each normal distribution the probability that its draw is the largest."""
    import numpy as np
    from scipy.special import ndtr, ndtri

    mean = np.array(means, dtype=float)[:, None]
    deviation = np.maximum(np.array(deviations, dtype=float), 1e-12)[:, None]
    return _integrate(
        len(means),
        lambda levels: mean + deviation * ndtri(levels[None, :]),
        lambda points: np.asarray(ndtr((points[None, :] - mean) / deviation)),
    )


def _integrate(
    count: int, quantile: Callable[[NDArray[Any]], NDArray[Any]], below: Callable[[NDArray[Any]], NDArray[Any]]
) -> list[float]:
    import numpy as np

    if count == 1:
        return [1.0]
    # Denser at both ends: a broad distribution wins by its upper tail, of which a narrow one sees only the last part.
    many = max(FEWEST_LEVELS, min(MOST_LEVELS, 640 // count))
    middle = (np.arange(many) + 0.5) / many
    tail = 0.5 / many * 0.5 ** np.arange(1, 22, 2)
    levels = np.concatenate([[NEVER], tail[::-1], middle, 1 - tail, [1 - NEVER]])
    found = quantile(levels)
    # The largest draw lies above the lowest quantile of the best. Who never gets there never wins.
    points = np.unique(found)
    points = points[points >= found[:, 0].max()]
    room = min(MOST_POINTS, max(FEWEST_POINTS, MOST_WORK // count))
    if len(points) > room:
        points = points[np.linspace(0, len(points) - 1, room).astype(int)]
    chance = np.zeros((count, len(points) + 2))
    chance[:, 1:-1] = below(points)
    chance[:, -1] = 1.0
    first = np.ones_like(chance)
    np.cumprod(chance[:-1], axis=0, out=first[1:])
    last = np.ones_like(chance)
    last[:-1] = np.cumprod(chance[:0:-1], axis=0)[::-1]
    others = first * last
    parts = (np.diff(chance, axis=1) * (others[:, 1:] + others[:, :-1])).sum(axis=1) / 2
    return [float(one) for one in parts / parts.sum()]


def blended(
    policy: Sequence[float], *, eligible: int, returning: Sequence[int] = (), floor: float = 0.0, explore: float = 0.0
) -> list[float]:
    """Returns the probabilities of a policy under which some get a share whatever it says.

    With probability `floor` one of those who return is taken, else with probability `explore` any one, else the policy
    decides.
    """
    floor = floor if returning else 0.0
    chances = [(1 - floor) * ((1 - explore) * one + explore / eligible) for one in policy]
    for place in returning:
        chances[place] += floor / len(returning)
    return chances
