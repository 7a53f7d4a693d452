"""Says how sure one is of a probability: a beta distribution, and what one more outcome makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from numbers import Real
from typing import TYPE_CHECKING

from ...engine import InvalidOption
from .draws import check_rng

if TYPE_CHECKING:
    from numpy.random import Generator

FLOOR = 1e-6
"""Parameters are raised to this before a draw."""
CEILING = 1e300
"""Parameters are lowered to this before a draw: the sum of two is still a number."""


@dataclass(frozen=True, slots=True)
class Beta:
    """What is known of a probability: `alpha` counts what speaks for it, `beta` what speaks against it.

    Both are finite and above 0. Beta(1, 1), the default, says nothing: every probability is as likely as any other.

    ```python
    from quiesce.suggestors import Beta

    known = Beta().updated(True).updated(True).updated(0.5)     # two successes, one answer that was half good
    assert known == Beta(3.5, 1.5)
    assert known.mean == 0.7
    low, high = known.interval(0.9)
    assert low < 0.7 < high
    ```
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            number = value if type(value) is float else as_float(value)
            if not 0.0 < number < inf:
                raise InvalidOption(f"Beta.{name}", value, "a finite number above 0")
            object.__setattr__(self, name, number)

    @property
    def mean(self) -> float:
        """The expected probability, alpha / (alpha + beta)."""
        return mean_of(self.alpha, self.beta)

    @property
    def variance(self) -> float:
        """How far the probability may be from the mean, squared: mean (1 - mean) / (alpha + beta + 1)."""
        return mean_of(self.alpha, self.beta) * mean_of(self.beta, self.alpha) / (self.alpha + self.beta + 1)

    @property
    def deviation(self) -> float:
        """The square root of the variance."""
        return sqrt(self.variance)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Returns the limits between which the probability lies with that certainty, the rest halved on both sides."""
        if not 0.0 < as_float(level) < 1.0:
            raise InvalidOption("level", level, "a number between 0 and 1")
        tail = (1.0 - level) / 2
        return self.quantile(tail), 1.0 - Beta(self.beta, self.alpha).quantile(tail)

    def quantile(self, share: float) -> float:
        """Returns the number below which the probability lies with that certainty."""
        from scipy.special import betaincinv

        if not 0.0 <= as_float(share) <= 1.0:
            raise InvalidOption("share", share, "a number from 0 to 1")
        return float(betaincinv(self.alpha, self.beta, share))

    def sample(self, rng: Generator) -> float:
        """Returns one draw, after raising both parameters to 1e-6."""
        check_rng(rng)
        return float(rng.beta(bounded(self.alpha), bounded(self.beta)))

    def updated(self, reward: bool | float) -> Beta:
        """Returns what is known after one more outcome: a success, a failure, or a reward from 0 to 1."""
        gained = reward_of(reward)
        return Beta(self.alpha + gained, self.beta + (1.0 - gained))


def reward_of(reward: object, option: str = "reward", allowed: str = "a number from 0 to 1") -> float:
    """Returns a reward as a number; refuses what is not one from 0 to 1."""
    if type(reward).__name__ in ("bool", "bool_"):  # numpy's truth values are meant, too
        return 1.0 if reward else 0.0
    number = as_float(reward)
    if not 0.0 <= number <= 1.0:
        raise InvalidOption(option, reward, allowed)
    return number


def mean_of(alpha: float, beta: float) -> float:
    """Returns alpha / (alpha + beta), also where the sum is too large for a float."""
    total = alpha + beta
    return alpha / total if total < inf else 1.0 / (1.0 + beta / alpha)


def bounded(parameter: float) -> float:
    """Returns a parameter as a draw takes it: at least 1e-6."""
    return FLOOR if parameter < FLOOR else min(parameter, CEILING)


def parameters(given: Beta | tuple[float, float], option: str) -> tuple[float, float]:
    """Returns alpha and beta as a draw takes them, of a distribution or a pair of finite numbers."""
    pair: object = (given.alpha, given.beta) if isinstance(given, Beta) else given
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        alpha, beta = map(as_float, pair)
        if isfinite(alpha) and isfinite(beta):
            return bounded(alpha), bounded(beta)
    raise InvalidOption(option, given, "a Beta, or a pair (alpha, beta) of finite numbers")


def as_float(value: object) -> float:
    """Returns a number as a float, and NaN for what is none: truth values and texts are not, numpy's numbers are."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return nan
    try:
        return float(value)
    except OverflowError:
        return nan
