"""Holds the parameters of a draw to what evidence says: shrinkage under tags, quality from five judgements on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.suggestors.routing.arms import LEAST, Weighing, shrunk
from quiesce.suggestors.routing.forgetting import Evidence

COUNTS = st.floats(0, 1e6)
EVIDENCE = st.builds(Evidence, COUNTS, COUNTS)


@given(whole=EVIDENCE, tagged=st.lists(EVIDENCE, max_size=4), strength=st.floats(0, 100))
def test_elsewhere_is_worth_at_most_the_strength(whole: Evidence, tagged: list[Evidence], strength: float) -> None:
    successes, failures = shrunk(whole, tagged, strength)

    assert successes >= 0 <= failures
    if tagged:
        particular = min(tagged, key=lambda one: (one.weight, -one.successes))
        assert successes + failures <= particular.weight + strength + 1e-6 * (1 + particular.weight)
    else:
        assert (successes, failures) == (whole.successes, whole.failures)


@given(whole=EVIDENCE, tagged=st.lists(EVIDENCE, min_size=2, max_size=4), data=st.data())
def test_the_order_of_tags_is_no_matter(whole: Evidence, tagged: list[Evidence], data: st.DataObject) -> None:
    other = data.draw(st.permutations(tagged))

    assert shrunk(whole, tagged, 20) == shrunk(whole, other, 20)


def test_a_tag_of_which_nothing_is_known_is_judged_by_all_and_less_surely() -> None:
    assert (16.0, 4.0) == shrunk(Evidence(800, 200), [Evidence()], 20)


def test_a_tag_of_which_much_is_known_is_judged_by_itself() -> None:
    """900 of 1,000 elsewhere, 100 of 1,000 here: the mean here is near 0.1."""
    successes, failures = shrunk(Evidence(1000, 1000), [Evidence(100, 900)], 20)

    assert 0.11 == pytest.approx(successes / (successes + failures), abs=0.01)


def test_what_came_under_the_tag_does_not_count_twice() -> None:
    assert (3.0, 1.0) == shrunk(Evidence(3, 1), [Evidence(3, 1)], 20)


def test_the_most_particular_tag_has_the_last_word() -> None:
    """A task that all do well, and a tenant for whom it fails."""
    successes, failures = shrunk(Evidence(950, 60), [Evidence(0, 10), Evidence(900, 50)], 20)

    assert (20 * 900 / 950, 10 + 20 * 50 / 950) == pytest.approx((successes, failures), rel=0.02)


def test_quality_shifts_the_draw_from_five_judgements_on() -> None:
    weighing = Weighing(quality_weight=0.5)

    assert (3, 2) == weighing.parameters(Evidence(2, 1, 0, 4))
    assert (3, 4.5) == weighing.parameters(Evidence(2, 1, 0, 5))
    assert (4.5, 3) == weighing.parameters(Evidence(2, 1, 3, 2))


def test_a_bad_reputation_lowers_and_a_good_one_raises_the_mean() -> None:
    """Zeph multiplies a score, which turns around where it is negative; here nothing is multiplied."""
    weighing = Weighing()
    plain, good, bad = (
        weighing.parameters(Evidence(10, 10, *quality)) for quality in ((0, 0), (20, 0), (0, 20))
    )  # fmt: skip

    assert bad[0] / sum(bad) < plain[0] / sum(plain) < good[0] / sum(good)


def test_no_parameter_is_below_the_least() -> None:
    assert min(Weighing(prior=(0.5, 0.5)).parameters(Evidence(-5, -5))) >= LEAST


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"prior": (0.1, 1)}, "prior=0.1 is not a number from 0.5 to"),
        ({"prior": (1, float("nan"))}, "from 0.5"),
        ({"prior": 3}, "a pair"),
        ({"strength": -1}, "strength=-1 is not a number from 0"),
        ({"min_observations": 0}, "a whole number from 1"),
        ({"quality_weight": 1.5}, "from 0 to 1"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(fields: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidOption, match=wanted):
        Weighing(**fields)
