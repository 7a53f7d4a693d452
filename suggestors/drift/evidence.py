"""Weighs evidence that a rate has risen: tests that may be looked at after every observation, for ever.

Told as a story: a *baseline* of m cases, k of them bad, and n cases since, s of them bad. The sceptic says that the
rate has not risen, and may choose the two rates afterwards as it suits them, as long as the later is not the higher
one. The other side bets beforehand, spread over all rates. If the sceptic is right, what the bettor has made of one
coin exceeds 1 / alpha with a chance of at most alpha, at whatever moment anybody looks: that is Ville's inequality for
the bettor's martingale, which the sceptic's choice of rates can only make smaller ("universal inference").

Since nobody knows when a change begins, the coin is divided among all moments at which it may have begun: the *starts*.
Only so many starts are followed as the age has binary digits; the coins of the others are given up, which is safe.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import exp, lgamma, log, pi

_LOG_PI = log(pi)
_SHARES = 2.10975
"""The sum of 1 / (i * log(i) ** 2) from 2 on: what the shares of the starts add up to before they are divided by it."""

STRIDE = 8
"""A change may have begun at every eighth case: fewer starts share the coin, and finding one takes a few cases more."""

Start = tuple[int, int]
"""Cases and bad cases since the baseline, when a change may have begun."""


def log_bet(bad: int, cases: int) -> float:
    """Returns the logarithm of what a bet on all rates alike (Jeffreys' prior) gives to this many bad cases."""
    return lgamma(bad + 0.5) + lgamma(cases - bad + 0.5) - lgamma(cases + 1) - _LOG_PI


def log_best(bad: int, cases: int) -> float:
    """Returns the logarithm of the likelihood at the rate that fits best."""
    if bad in (0, cases):
        return 0.0
    return bad * log(bad / cases) + (cases - bad) * log((cases - bad) / cases)


def log_evidence(base_bad: int, base: int, bad: int, cases: int) -> float:
    """Returns the logarithm of the evidence that the rate is higher than it was in the baseline.

    ```python
    from quiesce.suggestors.drift.evidence import log_evidence

    assert log_evidence(2, 100, 12, 20) > 10
    assert log_evidence(2, 100, 0, 20) < 0
    ```
    """
    bets = log_bet(base_bad, base) + log_bet(bad, cases)
    if bad * base <= base_bad * cases:  # it is no higher: the sceptic takes both rates as they are
        return bets - log_best(base_bad, base) - log_best(bad, cases)
    return bets - log_best(base_bad + bad, base + cases)


def log_evidence_over(rate: float, bad: int, cases: int) -> float:
    """Returns the logarithm of the evidence that a rate is above a given one."""
    if bad <= rate * cases:
        return log_bet(bad, cases) - log_best(bad, cases)
    if rate <= 0:
        return float("inf")
    return log_bet(bad, cases) - bad * log(rate) - (cases - bad) * (log(1 - rate) if rate < 1 else 0.0)


def upper_rate(bad: int, cases: int, chance: float) -> float:
    """Returns a rate that the true one, or the mean of several, exceeds with at most this chance (Chernoff's bound)."""
    if not cases or bad >= cases:
        return 1.0
    wanted, observed = log(1 / chance) / cases, bad / cases
    low, high = observed, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _divergence(observed, middle) < wanted:
            low = middle
        else:
            high = middle
    return high


def _divergence(one: float, other: float) -> float:
    """Returns the Kullback–Leibler divergence of two rates."""
    if other >= 1:
        return float("inf")
    first = one * log(one / other) if one else 0.0
    return first + (1 - one) * log((1 - one) / (1 - other))


def log_share(start: int) -> float:
    """Returns the logarithm of the share of the coin that a start has."""
    place = start // STRIDE + 2
    return -log(place * log(place) ** 2 * _SHARES)


class RateTest:
    """Tells when a rate has risen over that of its baseline, with a false-alarm bound that holds for ever.

    ```python
    from math import log
    from quiesce.suggestors.drift import RateTest

    test = RateTest(base_bad=1, base=100)
    found = [test.see(True, log(1000), 0.1) for _ in range(10)]
    assert found.index(1.0) < 8                     # the rate since the change is 1
    ```

    The chance that `see` ever finds something, if the rate stays what it was or falls, is at most exp(-`wanted`).
    `effect` asks for a rate higher by that much besides. A good case costs O(1), a bad one O(log n).
    """

    __slots__ = ("bad", "base", "base_bad", "cases", "starts")

    def __init__(
        self, base_bad: int, base: int, bad: int = 0, cases: int = 0, starts: Iterable[Start] = ()
    ) -> None:  # fmt: skip
        self.base_bad, self.base = base_bad, base
        self.bad, self.cases = bad, cases
        self.starts: list[Start] = list(starts)

    def see(self, is_bad: bool, wanted: float, effect: float = 0.0) -> float | None:
        """Takes in a case; returns the rate since the change if one is found, and starts anew then."""
        if self.cases % STRIDE == 0:
            self._begin()
        self.cases += 1
        if not is_bad:
            return None  # evidence only grows with bad cases
        self.bad += 1
        least = self.base_bad / self.base + effect
        large = [start for start in self.starts if self.bad - start[1] >= least * (self.cases - start[0])]
        if not large:
            return None
        wealth = exp(min(700.0, wanted))
        if sum(map(self._share, large)) < wealth:  # the shares of the others are given up, which is safe
            return None
        cases, bad = max(self.starts, key=self._share)
        rate = (self.bad - bad) / (self.cases - cases)
        if rate < least:
            return None  # there is more to be said for a change that is too small
        self.restart()
        return rate

    def _share(self, start: Start) -> float:
        """Returns what the share of a start has become."""
        cases, bad = start
        evidence = log_evidence(self.base_bad, self.base, self.bad - bad, self.cases - cases)
        return exp(min(700.0, evidence + log_share(cases)))

    def restart(self) -> None:
        """Forgets what came since the baseline."""
        self.bad = self.cases = 0
        self.starts = []

    def _begin(self) -> None:
        """Adds the present moment as a start, and gives up those that the binary digits of the age do not need.

        Kept are, for every power of two, its two latest multiples: so every age is met within a factor of two.
        """
        now, starts = self.cases // STRIDE, self.starts
        starts.append((self.cases, self.bad))
        step = 2
        while step <= now:
            gone = ((now // step - 1) * step - step // 2) * STRIDE  # an odd multiple of the half, too old for its digit
            if gone >= 0:
                at = bisect_left(starts, (gone, -1))
                if at < len(starts) and starts[at][0] == gone:
                    del starts[at]
            step *= 2
