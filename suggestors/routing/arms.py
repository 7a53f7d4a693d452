"""Turns what is known of a provider into the one Beta that it is drawn from for one request.

Everything that bears on a draw meets here and nowhere else: what outcomes say, how old they are, what is known of the
request's own tags, and what its answers were worth.

- **Tags.** Evidence under a tag counts in full. Evidence from elsewhere is worth at most `strength` outcomes beside it,
  in the proportion in which it came: a tag of which little is known is judged by what is known of all, and the more it
  has of its own, the less the rest matters. Of several tags, the one with least evidence is the most particular: it
  comes last and is shrunk toward the others.
- **Quality.** From `min_observations` judgements on, they shift the draw: `quality_weight` of each is added to alpha
  or beta.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from ...engine import InvalidOption
from ...engine.options import is_number, is_whole
from .forgetting import Evidence

LEAST = 1e-6
"""No parameter of a draw is lower."""


def check_number(name: str, value: object, low: float, high: float) -> float:
    """Returns a setting as a number in a range, or raises InvalidOption."""
    if not is_number(value) or not isfinite(value) or not low <= value <= high:
        upper = f" to {high:g}" if isfinite(high) else " on"
        raise InvalidOption(name, value, f"a number from {low:g}{upper}")
    return float(value)


def check_count(name: str, value: object, low: int) -> int:
    """Returns a setting as a whole number from `low` on, or raises InvalidOption."""
    if not is_whole(value, low):
        raise InvalidOption(name, value, f"a whole number from {low}")
    return value


@dataclass(frozen=True, slots=True)
class Weighing:
    """How evidence is turned into the parameters of a draw."""

    prior: tuple[float, float] = (1.0, 1.0)
    strength: float = 20.0
    """How many outcomes the evidence of elsewhere is worth at most, where a request has a tag."""
    min_observations: int = 5
    """How many judgements of its quality shift a provider's draw; fewer do not."""
    quality_weight: float = 0.3

    def __post_init__(self) -> None:
        if not isinstance(self.prior, tuple) or len(self.prior) != 2:
            raise InvalidOption("prior", self.prior, "a pair (alpha, beta)")
        for part in self.prior:
            check_number("prior", part, 0.5, 1e9)
        check_number("strength", self.strength, 0, 1e9)
        check_count("min_observations", self.min_observations, 1)
        check_number("quality_weight", self.quality_weight, 0, 1)

    def parameters(self, whole: Evidence, tagged: Iterable[Evidence] = ()) -> tuple[float, float]:
        """Returns alpha and beta for a request: of all that is known of a provider, and what is known under its tags.

        ```python
        from quiesce.suggestors.routing import Evidence, Weighing

        weighing = Weighing(strength=20)
        assert weighing.parameters(Evidence(80, 20)) == (81, 21)
        assert weighing.parameters(Evidence(80, 20), [Evidence(0, 0)]) == (17, 5)       # worth 20 outcomes
        assert weighing.parameters(Evidence(80, 20), [Evidence(0, 10)]) == (1 + 80 * 20 / 90, 1 + 10 + 10 * 20 / 90)
        ```
        """
        successes, failures = shrunk(whole, tagged, self.strength)
        alpha, beta = self.prior[0] + successes, self.prior[1] + failures
        # Half a judgement may be missing by rounding; half is between any two counts.
        if whole.quality_successes + whole.quality_failures > self.min_observations - 0.5:
            alpha += self.quality_weight * whole.quality_successes
            beta += self.quality_weight * whole.quality_failures
        return max(alpha, LEAST), max(beta, LEAST)


def shrunk(whole: Evidence, tagged: Iterable[Evidence], strength: float) -> tuple[float, float]:
    """Returns successes and failures under some tags, shrunk toward what is known besides."""
    successes, failures = whole.successes, whole.failures
    for place, own in enumerate(sorted(tagged, key=_heaviest_first)):
        if place == 0:  # what came under the tag is in the whole too: it must not count twice
            successes, failures = max(successes - own.successes, 0.0), max(failures - own.failures, 0.0)
        besides = successes + failures
        kept = strength / besides if besides > strength else 1.0
        successes, failures = own.successes + kept * successes, own.failures + kept * failures
    return successes, failures


def _heaviest_first(one: Evidence) -> tuple[float, float]:
    return (-one.weight, one.successes)


def mean_of(alpha: float, beta: float) -> float:
    """Returns the mean of a Beta."""
    return alpha / (alpha + beta)
