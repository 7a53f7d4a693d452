"""Holds propensities to the integral that they are, and to what is really drawn."""

from __future__ import annotations

import math
import os
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betainc, betaln, digamma, expit, log_expit, polygamma

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.beta import Beta
from quiesce.suggestors.routing.draws import draw_log_odds
from quiesce.suggestors.routing.propensity import propensities, win_probability

Params = list[tuple[float, float]]

anywhere = st.floats(-6, 9).map(lambda power: 10.0**power)
usual = st.floats(0, 3).map(lambda power: 10.0**power)


def drawn_shares(params: Params, draws: int, seed: int) -> Any:
    """Returns how often each candidate drew the largest."""
    alpha, beta = np.maximum(np.array(params, dtype=float), 1e-6).T
    rng, counts = np.random.default_rng(seed), np.zeros(len(params))
    for _ in range(draws // 20_000):
        counts += np.bincount(draw_log_odds(alpha, beta, rng, 20_000).argmax(axis=1), minlength=len(params))
    return counts / draws


def integral(place: int, params: Params) -> float:
    """Returns the same by scipy's adaptive quadrature and distribution functions, piece by piece."""
    alpha, beta = params[place]

    def at(u: float) -> float:
        density = alpha * log_expit(u) + beta * log_expit(-u) - betaln(alpha, beta)
        others = [betainc(a, b, expit(u)) for at, (a, b) in enumerate(params) if at != place]
        return float(math.exp(density) * math.prod(others))

    centre = digamma(alpha) - digamma(beta)
    width = math.sqrt(polygamma(1, alpha) + polygamma(1, beta))
    ends = [centre + width * step for step in (-40, -12, -6, -3, -1, 0, 1, 3, 6, 12, 40)]
    pieces = pairwise(ends)
    return sum(quad(at, low, high, limit=200, epsabs=1e-10)[0] for low, high in pieces)


def test_two_that_are_easy_to_reckon() -> None:
    """P(x > y) of Beta(2, 1) against Beta(1, 1) is the integral of 2x · x: two thirds."""
    assert [2 / 3, 1 / 3] == pytest.approx(propensities([(2, 1), (1, 1)]), abs=1e-8)
    assert [3 / 4, 1 / 4] == pytest.approx(propensities([(3, 1), (1, 1)]), abs=1e-8)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_two_with_whole_parameters_are_as_the_finite_sum(a: int, b: int, c: int, d: int) -> None:
    """P(x > y) for x of Beta(a, b) and y of Beta(c, d) is a sum of so many terms as a says."""
    terms = [betaln(c + i, b + d) - math.log(b + i) - betaln(1 + i, b) - betaln(c, d) for i in range(a)]
    better = sum(map(math.exp, terms))  # that x is larger, by the tail of y

    assert [better, 1 - better] == pytest.approx(propensities([(a, b), (c, d)]), abs=1e-6)


@settings(max_examples=40)
@given(st.lists(st.tuples(usual, usual), min_size=2, max_size=4))
def test_several_are_as_the_adaptive_integral(params: Params) -> None:
    assert integral(0, params) == pytest.approx(propensities(params)[0], abs=1e-6)


@given(st.lists(st.tuples(anywhere, anywhere), min_size=1, max_size=12))
def test_they_are_probabilities_and_sum_to_1(params: Params) -> None:
    found = propensities(params)

    assert 1.0 == pytest.approx(sum(found), abs=1e-12)
    assert all(0.0 <= one <= 1.0 for one in found)
    assert found == [win_probability(place, params) for place in range(len(params))]


@given(st.lists(st.tuples(usual, usual), min_size=1, max_size=4))
def test_they_go_with_the_candidates_in_whatever_order(params: Params) -> None:
    """Bit for bit: what a decision records does not depend on how candidates were listed."""
    expected = sorted(zip(params, propensities(params), strict=True))

    assert all(expected == sorted(zip(order, propensities(order), strict=True)) for order in permutations(params))


@given(st.lists(st.tuples(anywhere, anywhere), min_size=2, max_size=6), st.data())
def test_equal_candidates_have_equal_chances(params: Params, data: st.DataObject) -> None:
    twin = data.draw(st.integers(0, len(params) - 1))
    found = propensities([*params, params[twin]])

    assert found[twin] == found[-1]


@given(st.tuples(usual, usual), st.tuples(usual, usual), st.floats(0.01, 100))
def test_a_success_never_makes_it_less_probable_to_win(one: Any, other: Any, more: float) -> None:
    before, after = (propensities([pair, other])[0] for pair in (one, (one[0] + more, one[1])))

    assert after >= before - 1e-7


@given(st.lists(st.tuples(anywhere, anywhere), min_size=2, max_size=5))
def test_the_least_is_the_greatest_seen_from_the_other_side(params: Params) -> None:
    """With two candidates, 1 - x turns who wins around."""
    two = params[:2]
    mirrored = [(beta, alpha) for alpha, beta in two]

    assert propensities(two)[0] == pytest.approx(propensities(mirrored)[1], abs=1e-4)


EXTREMES: dict[str, Params] = {
    "the floor": [(1e-6, 1e-6), (1e-6, 1e-6), (1, 1)],
    "below the floor": [(0.0, -5.0), (1e-9, 1e-6), (1, 1)],
    "all near 0": [(1e-6, 1), (2e-6, 1), (5e-6, 7)],
    "all near 1": [(1, 1e-6), (1, 3e-6), (5, 1)],
    "a needle among broad ones": [(1e9, 1e9), (1, 1), (50, 50)],
    "needles side by side": [(1e9, 1e9), (1e9, 1e9 + 3e4), (1e9 + 2e4, 1e9)],
    "needles at the end": [(1e9, 1), (1e9, 2), (3e8, 1)],
    "from one end to the other": [(1e-6, 1e9), (1e-3, 1e9), (1, 1e9), (0.5, 1e8)],
    "every scale": [(10.0**power, 10.0**power) for power in range(-6, 10)],
    "long tails": [(0.3, 0.3), (0.2, 0.1), (0.5, 0.4), (0.01, 0.02)],
    "at the edge of the tails": [(0.25, 0.25), (0.24, 0.24), (0.26, 0.26)],
    "a hundred": [(100.0 + place, 200.0) for place in range(100)],
    "a hundred of the prior": [(1.0, 1.0)] * 99 + [(5.0, 2.0)],
    "beyond what files keep": [(1e12, 1e12), (1e12 + 1e6, 1e12), (1e18, 1e18)],
    "beyond that, off the middle": [(3e20, 1e20), (3e20, 1e20 + 1e10), (1, 1)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXTREMES)
def test_they_are_what_is_drawn(name: str) -> None:
    """40,000 draws: within 4.5 standard errors, at most 1.1 %; many more are in the soak."""
    params = EXTREMES[name]

    assert propensities(params) == pytest.approx(drawn_shares(params, 40_000, 17).tolist(), abs=0.011)


@pytest.mark.slow
def test_a_hundred_of_any_size_are_what_is_drawn() -> None:
    rng = np.random.default_rng(31)
    params = [(float(a), float(b)) for a, b in 10.0 ** rng.uniform(-6, 9, (100, 2))]

    assert propensities(params) == pytest.approx(drawn_shares(params, 40_000, 18).tolist(), abs=0.011)


@pytest.mark.soak
def test_they_are_within_a_thousandth_of_many_draws() -> None:
    """16 million draws for each case: 4 standard errors of them are half a thousandth. SOAK_CASES allows 2,000 each."""
    most = min(16_000_000, 2_000 * int(os.environ.get("SOAK_CASES") or 8_000))
    rng = np.random.default_rng(5)
    cases = list(EXTREMES.values())
    for size in (2, 3, 5, 10, 100):
        cases.append([(float(a), float(b)) for a, b in 10.0 ** rng.uniform(-6, 9, (size, 2))])
        cases.append([(float(a), float(b)) for a, b in 10.0 ** rng.uniform(-1, 3, (size, 2))])
    for seed, params in enumerate(cases):
        draws = most if len(params) < 20 else min(most, 2_000_000)
        found = drawn_shares(params, draws, seed)
        assert propensities(params) == pytest.approx(found.tolist(), abs=max(1e-3, 2.5 / draws**0.5)), params


@pytest.mark.parametrize(
    "params", [[(1e300, 3e300), (2e300, 6e300)], [(1e300, 1e300), (1e-300, 1e300)], [(5e-324, 1)] * 2]
)
def test_the_ends_of_floats_have_propensities(params: Params) -> None:
    found = propensities([*params, (1, 1)])

    assert 1.0 == pytest.approx(sum(found))
    assert all(0.0 <= one <= 1.0 for one in found)


def test_none_have_none_and_one_has_all() -> None:
    assert ([], [1.0], [0.25] * 4) == (propensities([]), propensities([(3, 9)]), propensities([(3, 9)] * 4))


def test_pairs_may_be_distributions_and_lists() -> None:
    expected = propensities([(3, 4), (2, 5)])

    assert expected == propensities([Beta(3, 4), Beta(2, 5)]) == propensities([[3, 4], [2, 5]])  # type: ignore[list-item]


def test_what_is_returned_is_the_callers_own() -> None:
    """What is remembered cannot be changed through it."""
    propensities([(3, 4), (2, 5)]).clear()

    assert 2 == len(propensities([(3, 4), (2, 5)]))


@pytest.mark.parametrize("wrong", [(math.nan, 1), (1, math.inf), (1,), (1, 2, 3), 5, None, "ab", ("1", 2)])
def test_what_is_no_pair_is_refused_and_its_place_named(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=r"params\[1\]"):
        propensities([(1, 1), wrong])
