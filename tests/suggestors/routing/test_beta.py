"""Holds beta distributions to their formulas, and to refusing what is none."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.beta import Beta

parameters = st.floats(1e-3, 1e6)
NO_PARAMETERS = [0, -1, -0.0, math.nan, math.inf, -math.inf, True, "1", None, 10**400, np.bool_(True), np.array([1.0])]
NO_REWARDS = [-0.01, 1.01, 2, math.nan, math.inf, "1", None, [1], 1j]


@given(parameters, parameters)
def test_mean_variance_and_limits_are_those_of_the_distribution(alpha: float, beta: float) -> None:
    """Compared with scipy's."""
    known, reference = Beta(alpha, beta), stats.beta(alpha, beta)

    assert known.mean == pytest.approx(reference.mean(), rel=1e-9)
    assert known.variance == pytest.approx(reference.var(), rel=1e-9)
    assert known.deviation == pytest.approx(reference.std(), rel=1e-9)
    assert known.interval(0.9) == pytest.approx(reference.interval(0.9), rel=1e-6, abs=1e-12)


@given(parameters, parameters, st.floats(0, 1))
def test_an_outcome_adds_its_reward_and_what_it_lacks(alpha: float, beta: float, reward: float) -> None:
    """A success is a reward of 1, a failure one of 0; the old value stays what it was."""
    known = Beta(alpha, beta)
    bool_of_numpy: Any = np.bool_(True)

    assert Beta(alpha + reward, beta + (1 - reward)) == known.updated(reward)
    assert Beta(alpha + 1, beta) == known.updated(True) == known.updated(bool_of_numpy)
    assert Beta(alpha, beta + 1) == known.updated(False)
    assert (alpha, beta) == (known.alpha, known.beta)


@pytest.mark.parametrize("given", NO_PARAMETERS, ids=repr)
def test_what_is_no_parameter_is_refused_with_the_range(given: Any) -> None:
    """NaN, infinity, zero and below, truth values and texts, on either side."""
    for arguments in ((given, 1.0), (1.0, given)):
        with pytest.raises(InvalidOption, match="is not a finite number above 0"):
            Beta(*arguments)


@pytest.mark.parametrize("given", NO_REWARDS, ids=repr)
def test_what_is_no_reward_is_refused_with_the_range(given: Any) -> None:
    with pytest.raises(InvalidOption, match="is not a number from 0 to 1"):
        Beta().updated(given)


@pytest.mark.parametrize("level", [0, 1, -0.5, 1.5, math.nan, True, "0.9"])
def test_what_is_no_level_is_refused_with_the_range(level: Any) -> None:
    with pytest.raises(InvalidOption, match="is not a number between 0 and 1"):
        Beta().interval(level)


def test_numbers_of_numpy_are_numbers() -> None:
    two, three = np.array([2], dtype=np.float32), np.array([3])
    known = Beta(two[0], three[0])

    assert (Beta(2, 3), float) == (known, type(known.alpha))


def test_a_sample_is_a_function_of_the_generator() -> None:
    """The same seed, the same draw; and one draw moves the generator on by one beta variate."""
    one, other, bare = (np.random.default_rng(5) for _ in range(3))

    assert bare.beta(3, 4) == Beta(3, 4).sample(one) == Beta(3, 4).sample(other)
    assert bare.random() == one.random()


@pytest.mark.parametrize(("alpha", "beta"), [(1e-300, 1e-300), (1e-300, 1), (1e308, 1e308), (5e-324, 1e308)])
def test_parameters_at_the_ends_of_floats_can_be_drawn_from(alpha: float, beta: float) -> None:
    rng = np.random.default_rng(1)

    assert all(0.0 <= Beta(alpha, beta).sample(rng) <= 1.0 for _ in range(100))
    assert 0.0 <= Beta(alpha, beta).mean <= 1.0


def test_samples_follow_the_distribution() -> None:
    """Kolmogorov and Smirnov's test on 20,000 draws: p below 0.001 in one of a thousand seeds; this one is fixed."""
    rng = np.random.default_rng(11)
    drawn = [Beta(2.5, 4).sample(rng) for _ in range(20_000)]

    assert stats.kstest(drawn, stats.beta(2.5, 4).cdf).pvalue > 0.001


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_mean_is_the_nearest_float(alpha: int, beta: int) -> None:
    assert float(Fraction(alpha, alpha + beta)) == Beta(alpha, beta).mean
