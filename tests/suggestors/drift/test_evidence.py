"""Holds the sequential tests to their bound: however long anybody looks, false alarms are as rare as promised."""

from __future__ import annotations

import os
from itertools import pairwise
from math import exp, inf, lgamma, log, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.drift.evidence import (
    STRIDE,
    RateTest,
    log_best,
    log_bet,
    log_evidence,
    log_evidence_over,
    log_share,
    upper_rate,
)

SOAK = int(os.environ.get("SOAK_CASES") or 1_000)
LENGTH = 20 * SOAK
rates = st.floats(0.001, 0.999)


def log_likelihood(bad: int, cases: int, rate: float) -> float:
    return bad * log(rate) + (cases - bad) * log(1 - rate)


@given(
    base=st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    since=st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    first=rates,
    later=rates,
)
def test_evidence_never_exceeds_what_the_bettor_made_against_any_rates_that_have_not_risen(
    base: tuple[int, int], since: tuple[int, int], first: float, later: float
) -> None:
    """So the bettor's fortune, a martingale under the true rates, bounds it at every moment: Ville's inequality."""
    first, later = max(first, later), min(first, later)
    made = log_bet(*base) + log_bet(*since) - log_likelihood(*base, first) - log_likelihood(*since, later)

    assert log_evidence(*base, *since) <= made + 1e-9
    assert log_evidence_over(first, *since) <= log_bet(*since) - log_likelihood(*since, later) + 1e-9


@pytest.mark.parametrize("cases", [1, 2, 7, 40])
def test_a_bet_is_a_probability(cases: int) -> None:
    """Over all sequences of so many cases it sums to 1."""
    total = sum(
        exp(log_bet(bad, cases) + lgamma(cases + 1) - lgamma(bad + 1) - lgamma(cases - bad + 1))
        for bad in range(cases + 1)
    )

    assert total == pytest.approx(1)
    assert all(log_best(bad, cases) <= 0 for bad in range(cases + 1))


@pytest.mark.parametrize(("base", "cases", "rate"), [(10, 12, 0.3), (20, 8, 0.05), (6, 30, 0.9)])
def test_evidence_is_at_most_one_on_average(base: int, cases: int, rate: float) -> None:
    """Exactly, over everything that can happen."""
    mean = 0.0
    for before in range(base + 1):
        for since in range(cases + 1):
            ways = _log_ways(before, base) + _log_ways(since, cases)
            chance = exp(ways + log_likelihood(before, base, rate) + log_likelihood(since, cases, rate))
            mean += chance * exp(log_evidence(before, base, since, cases))

    assert mean <= 1


def _log_ways(bad: int, cases: int) -> float:
    return lgamma(cases + 1) - lgamma(bad + 1) - lgamma(cases - bad + 1)


@pytest.mark.parametrize("cases", [1, 10, 200])
@pytest.mark.parametrize("chance", [0.1, 0.001])
def test_a_rate_exceeds_its_upper_bound_as_seldom_as_promised(cases: int, chance: float) -> None:
    """Exactly, for a grid of rates: the chance of a count whose bound is below the rate."""
    for rate in np.linspace(0.001, 0.999, 97):
        missed = sum(
            exp(_log_ways(bad, cases) + log_likelihood(bad, cases, rate))
            for bad in range(cases + 1)
            if upper_rate(bad, cases, chance) < rate
        )
        assert missed <= chance


def test_an_upper_bound_without_cases_says_nothing() -> None:
    assert [1.0, 1.0] == [upper_rate(0, 0, 0.01), upper_rate(5, 5, 0.01)]
    assert inf == log_evidence_over(0, 1, 5)


def test_the_shares_of_all_starts_add_up_to_less_than_the_coin() -> None:
    """Summed up to a million of them; the rest is below the integral of what follows."""
    shares = sum(exp(log_share(start * STRIDE)) for start in range(1_000_000))

    assert shares + 1 / (2.10975 * log(1_000_000)) < 1


@given(length=st.integers(1, 4000))
def test_so_many_starts_are_followed_as_the_age_has_digits(length: int) -> None:
    """Every age is met within a factor of two, and the present moment is always among them."""
    test = RateTest(1, 100)
    for _ in range(length):
        test.see(False, inf)
    ages = [length - cases for cases, _ in test.starts]

    assert len(ages) <= 2 * log2(length) + 4
    assert ages[0] == length or ages[0] >= length / 2
    assert ages[-1] <= STRIDE
    assert all(older <= 2 * newer + 2 * STRIDE for older, newer in pairwise(ages))


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "later"), [(0.0, 0.0), (0.02, 0.02), (0.3, 0.3), (0.7, 0.7), (0.5, 0.2)])
def test_false_alarms_stay_below_their_bound_for_ever(rate: float, later: float) -> None:
    """100 lives of 800 cases each; with alpha = 0.05 at most 5 are expected to be alarmed.

    The effect is 0: nothing but the evidence keeps the test from an alarm. 13 or more of 100 at a chance of 0.05 have
    a probability of 0.0015.
    """
    assert alarmed(100, 800, rate, later, 0.05) < 13


@pytest.mark.soak
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_false_alarms_stay_below_their_bound_for_much_longer(rate: float) -> None:
    """SOAK_CASES lives of 20 times as many cases; three standard deviations above the bound are allowed."""
    most = 0.05 * SOAK + 3 * (0.05 * 0.95 * SOAK) ** 0.5

    assert alarmed(SOAK, LENGTH, rate, rate, 0.05) <= most


def alarmed(lives: int, length: int, rate: float, later: float, alpha: float) -> int:
    rng = np.random.default_rng(round(rate * 1000))
    found = 0
    for _ in range(lives):
        test = RateTest(int(rng.binomial(100, rate)), 100)
        found += any(test.see(bool(bad), log(1 / alpha)) is not None for bad in rng.random(length) < later)
    return found


@pytest.mark.parametrize(
    ("base", "rate", "healthy", "most"), [(2, 1.0, 1000, 8), (2, 0.3, 1000, 110), (50, 1.0, 1000, 30), (2, 0.2, 0, 150)]
)
def test_a_change_is_found_soon(base: int, rate: float, healthy: int, most: int) -> None:
    """In at least 45 of 50 lives within so many cases, at an evidence of 500."""
    rng, delays = np.random.default_rng(5), list[int]()
    for _ in range(50):
        test = RateTest(base, 200)
        for bad in rng.random(healthy) < base / 200:
            test.see(bool(bad), inf)
        later = rng.random(400) < rate
        delays.append(next((n for n, bad in enumerate(later) if test.see(bool(bad), log(500), 0.1) is not None), 999))

    assert sorted(delays)[45] <= most


def test_a_gradual_decay_is_found() -> None:
    """One more in a hundred goes wrong every twenty cases: no window of twenty differs from the one before."""
    rng = np.random.default_rng(1)
    chances = 0.02 + np.arange(1000) / 2000
    for _ in range(20):
        test = RateTest(4, 200)
        found = [n for n, bad in enumerate(rng.random(1000) < chances) if test.see(bool(bad), log(500), 0.1)]

        assert found[0] < 600


def test_a_small_rise_is_left_alone() -> None:
    """From 0.1 to 0.2, below an effect of 0.2: there is evidence, and nobody is bothered."""
    rng = np.random.default_rng(1)
    cases = [bool(bad) for bad in rng.random(2000) < 0.2]
    bothered, quiet = RateTest(100, 1000), RateTest(100, 1000)

    assert any(bothered.see(bad, log(100)) for bad in cases)
    assert not any(quiet.see(bad, log(100), 0.2) for bad in cases)


def test_what_is_found_starts_anew() -> None:
    test = RateTest(0, 100)
    found = [test.see(True, log(100)) for _ in range(20)]

    assert 1.0 in found
    assert test.cases < 20
