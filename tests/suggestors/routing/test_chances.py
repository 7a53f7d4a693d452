"""Holds the probabilities of winning to what a million draws show, within 1e-3, prices and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.suggestors.routing.chances import beta_chances, blended, normal_chances
from quiesce.suggestors.routing.propensity import propensities

DRAWS = 1_000_000
BOUND = 1e-3 + 5 * 0.5 / DRAWS**0.5
"""What is promised, and five standard deviations of what so many draws show of it."""
PARAMETERS = st.tuples(st.floats(0.5, 2000), st.floats(0.5, 2000))

CASES = [
    [(1, 1), (1, 1)],
    [(900, 100), (905, 95), (880, 120)],
    [(5000, 5000), (1, 1)],
    [(0.5, 0.5), (1, 1), (0.5, 50)],
    [(30 + n, 20) for n in range(12)],
    [(2, 1)] * 15,
]


@pytest.mark.slow
@pytest.mark.parametrize("params", CASES, ids=lambda params: f"{len(params)}-{params[0]}")
def test_they_are_what_a_million_draws_show(params: list[tuple[float, float]]) -> None:
    rng = np.random.default_rng(5)
    moved = rng.uniform(-0.2, 0, len(params))
    alphas, betas = np.array(params, dtype=float).T
    wins = np.zeros(len(params))
    for _ in range(4):
        draws = rng.beta(alphas, betas, size=(DRAWS // 4, len(params))) + moved
        wins += np.bincount(draws.argmax(axis=1), minlength=len(params))

    assert np.abs(wins / DRAWS - beta_chances(params, list(moved))).max() < BOUND


@pytest.mark.slow
def test_so_are_those_of_normal_draws() -> None:
    rng = np.random.default_rng(6)
    means, deviations = [0.1, 0.2, 0.2, -3.0], [1.0, 0.01, 0.3, 2.0]
    wins = np.bincount(rng.normal(means, deviations, size=(DRAWS, 4)).argmax(axis=1), minlength=4)

    assert np.abs(wins / DRAWS - normal_chances(means, deviations)).max() < BOUND


@settings(max_examples=50)
@given(params=st.lists(PARAMETERS, min_size=2, max_size=6), price=st.floats(-1, 1))
def test_the_same_price_for_all_changes_nothing(params: list[tuple[float, float]], price: float) -> None:
    """And both integrals, made in two ways, agree."""
    found = beta_chances(params, [price] * len(params))

    assert 1.0 == pytest.approx(sum(found))
    assert propensities(params) == pytest.approx(found, abs=1e-3)


def test_who_is_dearer_than_the_difference_never_wins() -> None:
    cheap, dear = beta_chances([(50, 50), (99, 1)], [0.0, -2.0])

    assert [1.0, 0.0] == pytest.approx([cheap, dear], abs=1e-7)
    assert [1.0] == beta_chances([(3, 4)], [-5.0])


@pytest.mark.slow
def test_a_thousand_candidates_take_no_more_than_they_need() -> None:
    """One grid of bounded size: a hostile list of candidates does not fill the memory."""
    found = beta_chances([(2.0 + n % 7, 3.0) for n in range(1000)], [-(n % 3) / 100 for n in range(1000)])

    assert 1.0 == pytest.approx(sum(found))
    assert found[6] == pytest.approx(found[6 + 21], rel=1e-6)


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=5), floor=st.floats(0, 1), explore=st.floats(0, 1),
    data=st.data(),
)  # fmt: skip
def test_whatever_is_mixed_in_they_sum_to_one(
    shares: list[float], floor: float, explore: float, data: st.DataObject
) -> None:
    count = len(shares)
    policy = [share / sum(shares) for share in shares]
    returning = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    found = blended(policy, eligible=count, returning=returning, floor=floor, explore=explore)

    assert 1.0 == pytest.approx(sum(found))
    for place in returning:
        assert found[place] >= floor / len(returning) - 1e-12
