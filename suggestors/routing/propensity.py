"""Tells how probable it is that a candidate wins a Thompson draw: what has to be logged to judge other policies later.

Candidate i wins where its draw is x and all others draw less: with densities f and distribution functions F, that is
the integral of f_i times the product of all other F. It is taken over the log-odds u = log(x / (1 - x)): there, a beta
distribution is a smooth hump with exponential tails, whatever its parameters.

The integral is a sum over *panels*, with eight Gauss points in each. Every candidate asks for panels as wide as its
hump allows, at multiples of a power of two, so that candidates that are alike ask for the same ones. A candidate that
is known very well has a narrow hump, and panels are narrow there alone. Only the stretch counts in which the largest
draw can lie. The distribution functions are summed up from its upper end, over the same panels: the functions that
libraries have for them take ten times as long, and a thousand times for parameters in the millions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, floor, lgamma, log, log2, pi, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from .beta import Beta, parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 8
"""Gauss points in a panel."""
REACH = 6.0
"""How many standard deviations of a hump are looked at, on either side."""
TAIL = 24.0
"""How far an exponential tail is looked at: e^-24 of it is left out."""
WIDEST = 2.0
"""How many standard deviations a panel may be wide."""
SMALL = 0.25
"""Below this, a parameter makes a tail so long that its panels grow with the distance."""
LONG = (1.0, 3.0, 7.0, 14.0, TAIL)
"""Where the panels of such a tail end, in its own scale."""
LARGE = 1e24
"""Of two larger parameters, what a float can tell of the log-odds is not enough; both are scaled down."""


def propensities(params: Sequence[Beta | tuple[float, float]]) -> list[float]:
    """Returns for each candidate the probability that its draw is the largest; they sum to 1.

    Parameters are pairs of alpha and beta, raised to 1e-6 as for a draw. What was asked for lately is remembered.

    ```python
    from quiesce.suggestors import propensities

    assert propensities([(1, 1), (1, 1)]) == [0.5, 0.5]
    better, worse = propensities([(2, 1), (1, 1)])
    assert abs(better - 2 / 3) < 1e-6
    ```
    """
    given = tuple(params)
    try:
        return list(_asked(given))
    except TypeError:  # lists and arrays cannot be remembered
        return list(_remembered(_read(given)))


def win_probability(index: int, params: Sequence[Beta | tuple[float, float]]) -> float:
    """Returns the probability that the candidate at one place has the largest draw."""
    return propensities(params)[index]


@lru_cache(maxsize=1024)
def _asked(params: tuple[Beta | tuple[float, float], ...]) -> tuple[float, ...]:
    return _remembered(_read(params))


def _read(params: Sequence[Beta | tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple([parameters(pair, f"params[{place}]") for place, pair in enumerate(params)])


@lru_cache(maxsize=1024)
def _remembered(params: tuple[tuple[float, float], ...]) -> tuple[float, ...]:
    counts: dict[tuple[float, float], int] = {}
    for pair in sorted(params):  # the same sums for the same candidates, in whatever order they are given
        counts[pair] = counts.get(pair, 0) + 1
    if len(counts) <= 1:
        return tuple(1.0 / len(params) for _ in params)
    chances = _chances(tuple(counts), tuple(counts.values()))
    return tuple([chances[pair] for pair in params])


# --- humps -----------------------------------------------------------------------------------------------------------


class _Hump(NamedTuple):
    """How a beta distribution looks over the log-odds; mirrored if need be, so that `small` is its lesser parameter."""

    small: float
    total: float
    side: float
    """-1.0 if it is mirrored, else 1.0."""
    peak: float
    """Where its density is greatest."""
    height: float
    """The logarithm of the density there."""
    share: float
    """The lesser parameter's share of the total."""
    centre: float
    width: float
    """About the mean and the standard deviation of its hump, without long tails."""
    low: float
    high: float
    """Where its panels end: what lies beyond does not count."""
    left: float
    right: float
    """The scales of its tails, 1 / alpha and 1 / beta."""


@lru_cache(maxsize=4096)
def _hump(pair: tuple[float, float]) -> _Hump:
    alpha, beta = pair
    least = min(alpha, beta)
    if least > LARGE:
        alpha, beta = alpha / least * LARGE, beta / least * LARGE
    small, large = min(alpha, beta), max(alpha, beta)
    total = alpha + beta
    # lgamma, with its large terms taken out that cancel at the peak
    height = (log(small) + log(large) - log(total) - log(2 * pi)) / 2 + _rest(total) - _rest(small) - _rest(large)
    whole = [one if one >= 1.0 else one + 1.0 for one in (alpha, beta)]  # a long tail is not part of the hump
    centre = _digamma(whole[0]) - _digamma(whole[1])
    width = sqrt(_trigamma(whole[0]) + _trigamma(whole[1]))
    low = centre - REACH * width - TAIL / alpha
    high = centre + REACH * width + TAIL / beta
    side = 1.0 if alpha <= beta else -1.0
    peak = log(alpha / beta)
    return _Hump(small, total, side, peak, height, small / total, centre, width, low, high, 1 / alpha, 1 / beta)


def _rest(number: float) -> float:
    """Returns what Stirling's formula lacks of log gamma."""
    if number < 32.0:
        return lgamma(number) - ((number - 0.5) * log(number) - number + log(2 * pi) / 2)
    return (1 - 1 / (30 * number * number)) / (12 * number)


def _digamma(number: float) -> float:
    """Returns about the mean of the logarithm of a gamma variate, for a number from 1."""
    return log(number) - (1 / 2 + 1 / (12 * number)) / number


def _trigamma(number: float) -> float:
    """Returns about the variance of that logarithm."""
    return (1 + (1 / 2 + 1 / (6 * number)) / number) / number


def _edges_of(hump: _Hump, low: float, high: float) -> set[float]:
    """Returns where the panels of one hump end, between two limits."""
    longest = 1 / SMALL
    left = hump.centre - REACH * hump.width - (TAIL * hump.left if hump.left <= longest else 0.0)
    right = hump.centre + REACH * hump.width + (TAIL * hump.right if hump.right <= longest else 0.0)
    step = 2.0 ** floor(log2(WIDEST * hump.width))
    first, last = floor(max(left, low) / step), ceil(min(right, high) / step)
    edges = {place * step for place in range(first, last + 1)}
    if hump.left > longest:
        edges.update(left - hump.left * times for times in LONG)
    if hump.right > longest:
        edges.update(right + hump.right * times for times in LONG)
    return edges


# --- the integral ----------------------------------------------------------------------------------------------------


def _chances(params: tuple[tuple[float, float], ...], counts: tuple[int, ...]) -> dict[tuple[float, float], float]:
    """Returns the probability that one of each kind has the largest draw, where there are so many of each kind."""
    import numpy as np

    humps = [_hump(pair) for pair in params]
    low, high = max(hump.low for hump in humps), max(hump.high for hump in humps)
    inside = [place for place, hump in enumerate(humps) if hump.high > low]  # the others never win
    known = [humps[place] for place in inside]
    times = [counts[place] for place in inside]
    edges = {low, high}.union(*(_edges_of(hump, low, high) for hump in known))
    ends = np.array(sorted(edge for edge in edges if low <= edge <= high))
    points, weights, beyond = _gauss()
    half = np.diff(ends) / 2
    places = ends[:-1, None] + half[:, None] * (1 + points)
    density = _density(known, places.ravel()).reshape(len(known), len(half), POINTS)
    masses = (density @ weights) * half
    above = (masses[:, ::-1].cumsum(axis=1))[:, ::-1] - masses  # in all panels that are further up
    less = 1.0 - (above[:, :, None] + (density @ beyond) * half[:, None])
    less = np.clip(less.reshape(len(known), -1), 1e-12, 1.0)
    all_less = less.prod(axis=0) if max(times) == 1 else np.exp(np.array(times) @ np.log(less))
    step = (half[:, None] * weights).ravel()
    found = ((density.reshape(len(known), -1) / less) @ (all_less * step)).tolist()
    whole = sum(one * many for one, many in zip(found, times, strict=True))
    chances = dict.fromkeys(params, 0.0)
    chances.update({params[place]: one / whole for place, one in zip(inside, found, strict=True)})
    return chances


def _density(humps: Sequence[_Hump], places: NDArray[Any]) -> NDArray[Any]:
    """Returns the density of each hump at each place: a row for each hump."""
    import numpy as np

    small, total, side, peak, height, share = np.array([hump[:6] for hump in humps]).T[:, :, None]
    off = side * (places - peak)
    near = np.minimum(off, 500.0)  # a float has no place for e^710; from here on the logarithm is a straight line
    density: NDArray[Any] = np.exp(height + small * off - total * (np.log1p(share * np.expm1(near)) + (off - near)))
    return density


@lru_cache(maxsize=1)
def _gauss() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Returns Gauss points and weights for [-1, 1], and what makes of values there the integrals from each to 1."""
    import numpy as np
    from numpy.polynomial import legendre, polynomial

    points, weights = legendre.leggauss(POINTS)
    powers = np.vander(points, POINTS, increasing=True)
    shape = np.linalg.inv(powers)  # a column for each point: the polynomial that is 1 there and 0 at the others
    beyond = np.empty((POINTS, POINTS))
    for at in range(POINTS):
        whole = polynomial.polyint(shape[:, at])
        beyond[at] = polynomial.polyval(1.0, whole) - polynomial.polyval(points, whole)
    return points, weights, beyond
