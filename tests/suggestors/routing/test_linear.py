"""Holds contextual evidence to its promises: exact in any order, and right as a regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.context import Line, direction, fold_linear, linear_evidence
from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.payloads import LinearEvidence, Outcome

FEATURES = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6)


def outcome(features: Any, reward: float = 1.0, **fields: Any) -> Outcome:
    return Outcome(request_id="r", provider="a", reward=reward, features=features, **fields)


def folded(said: list[Outcome], dim: int, how: Forgetting = Forgetting()) -> LinearEvidence | None:  # noqa: B008  frozen
    value = None
    for one in said:
        value = fold_linear(value, one, dim, how)
    return value


@given(features=FEATURES, dim=st.integers(1, 6))
def test_features_become_a_direction_or_nothing(features: list[float], dim: int) -> None:
    found = direction(features, dim)
    if len(features) < dim or not any(features[:dim]):
        assert found is None
    else:
        assert found is not None
        assert 1.0 == pytest.approx(sum(one * one for one in found), abs=1e-4)


@pytest.mark.parametrize("features", [None, (), (1.0,), (0.0, 0.0), (0.0, -0.0, 5.0)])
def test_too_few_or_zero_features_are_none(features: tuple[float, ...] | None) -> None:
    assert direction(features, 2) is None


@given(
    said=st.lists(st.builds(outcome, st.lists(st.floats(-9, 9), min_size=3, max_size=3), st.floats(0, 1))),
    data=st.data(),
)
def test_the_order_of_outcomes_is_no_matter_to_the_last_bit(said: list[Outcome], data: st.DataObject) -> None:
    assert folded(said, 3) == folded(data.draw(st.permutations(said)), 3)


def test_the_sums_predict_as_a_ridge_regression_does() -> None:
    rng = np.random.default_rng(1)
    xs = rng.normal(size=(200, 4))
    xs /= np.linalg.norm(xs, axis=1, keepdims=True)
    rewards = np.clip(0.5 + 0.4 * xs[:, 0] + rng.normal(0, 0.05, 200), 0, 1)
    value = folded([outcome(tuple(x), float(r)) for x, r in zip(xs, rewards, strict=True)], 4)
    a = np.eye(4) + xs.T @ xs
    probe = np.array([1.0, 0.0, 0.0, 0.0])
    line = Line(value, tuple(probe))

    assert float(probe @ np.linalg.solve(a, xs.T @ rewards)) == pytest.approx(line.mean, abs=1e-3)
    assert float(np.sqrt(probe @ np.linalg.solve(a, probe))) == pytest.approx(line.spread, abs=1e-3)


def test_who_is_unknown_is_expected_to_give_nothing_and_anything() -> None:
    for known in (None, LinearEvidence(provider="a", dim=2), LinearEvidence(provider="a", dim=3, observations=1)):
        line = Line(known, (0.6, 0.8))

        assert (0.0, 1.0) == pytest.approx((line.mean, line.spread))


def test_sums_that_no_outcomes_give_do_not_stop_a_decision() -> None:
    forged = LinearEvidence(provider="a", dim=2, observations=5, gram=(1e308, 1e308, -1e308), moment=(1e308, 1e308))
    line = Line(forged, (0.6, 0.8))

    assert np.isfinite([line.mean, line.spread]).all()


def test_old_outcomes_count_less() -> None:
    how = Forgetting("discount", half_life=1.0)
    said = [outcome((1.0,), 1.0, at=0.0), outcome((1.0,), 0.0, at=1.0)]
    for order in (said, said[::-1]):
        value = folded(order, 1, how)
        assert value is not None

        assert ((1.5,), (0.5,), 1.0) == (value.gram, value.moment, value.last)


@pytest.mark.parametrize("dim", [0, -1, 257, 1.5, True, "3"])
def test_a_dim_out_of_range_is_refused_with_the_range(dim: Any) -> None:
    with pytest.raises(InvalidOption, match="from 1 to 256"):
        linear_evidence(dim)


def test_the_projection_reads_only_outcomes_with_features() -> None:
    from quiesce.facts import Context

    made, context = linear_evidence(2), Context()
    facts = [context.add(one) for one in (outcome((1.0, 2.0)), outcome(None), outcome((1.0,)), outcome((0.0, 0.0)))]

    assert [("a",), (), (), ()] == [made.ids_of(fact) for fact in facts]
