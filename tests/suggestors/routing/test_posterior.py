"""Holds the fold of posteriors to its promises: whom an outcome counts for, how much, and in whatever order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import InvalidOption
from quiesce.facts import Context, Payload
from quiesce.facts.testing import check_join
from quiesce.suggestors.feedback.payloads import FeedbackVerdict
from quiesce.suggestors.routing.forgetting import Evidence, Forgetting, Way, evidence, in_steps
from quiesce.suggestors.routing.names import posterior_id
from quiesce.suggestors.routing.payloads import (
    MOST_OUTCOMES,
    EvidenceReset,
    LedgerMark,
    LinearEvidence,
    Outcome,
    Posterior,
    ProbeTally,
    Spending,
    Unroutable,
)
from quiesce.suggestors.routing.posterior import fold, ids_of, posteriors, reset_of

SHARES = st.floats(0, 1)
MOMENTS = st.floats(0, 1e9)


def outcome(provider: str = "a", **fields: Any) -> Outcome:
    return Outcome(request_id="r", provider=provider, **fields)


def verdict(**fields: Any) -> FeedbackVerdict:
    said = {"is_correction": True, "kind": "explicit_rejection", "confidence": 0.9, "provider": "a", **fields}
    return FeedbackVerdict(**said)


def folded(payloads: Iterable[Payload], how: Forgetting | Way = "none") -> dict[str, Posterior]:
    """Returns what a projection has of some payloads."""
    forgetting = how if isinstance(how, Forgetting) else Forgetting(how)
    values: dict[str, Posterior] = {}
    for payload in payloads:
        for id in dict.fromkeys(ids_of(payload, forgetting)):
            found = fold(values.get(id), payload, forgetting)
            assert found is not None
            values[id] = found
    return values


@st.composite
def evidences(draw: st.DrawFn, dated: bool = True) -> Payload:
    """Draws something that may count: outcomes of two providers under tags, feedback, resets."""
    kind = draw(st.sampled_from(["outcome", "outcome", "outcome", "verdict", "reset"]))
    provider = draw(st.sampled_from(["a", "b"]))
    if kind == "verdict":
        return verdict(provider=provider, is_correction=draw(st.booleans()), advisory=draw(st.booleans()))
    if kind == "reset":
        tag = draw(st.sampled_from([None, "x", "y"]))
        number = draw(st.integers(1, 3))
        return EvidenceReset(
            provider=provider, posterior=posterior_id(provider, tag), successes=draw(st.floats(0, 20)),
            failures=draw(st.floats(0, 20)), quality_failures=draw(st.floats(0, 3)), number=number,
        )  # fmt: skip
    return outcome(
        provider, reward=draw(st.none() | SHARES), success=draw(st.none() | st.booleans()), cost=draw(st.floats(0, 9)),
        quality=draw(st.none() | SHARES), at=draw(MOMENTS) if dated else draw(st.none() | MOMENTS),
        tags=tuple(draw(st.lists(st.sampled_from(["x", "y"]), max_size=3))),
    )  # fmt: skip


@settings(max_examples=40)
@given(said=st.lists(evidences(dated=False), max_size=12), data=st.data())
@pytest.mark.parametrize("way", ["none", "reset"])
def test_the_order_in_which_evidence_comes_is_no_matter_to_the_last_bit(
    way: Way, said: list[Payload], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(said))

    assert folded(said, way) == folded(other, way)


@settings(max_examples=40)
@given(said=st.lists(evidences(), max_size=12), data=st.data())
def test_nor_in_a_window_if_every_outcome_says_when_it_ended(said: list[Payload], data: st.DataObject) -> None:
    how = Forgetting("window", size=3)

    assert folded(said, how) == folded(data.draw(st.permutations(said)), how)


@settings(max_examples=40)
@given(said=st.lists(evidences(), max_size=12), data=st.data())
def test_discounted_sums_are_the_same_up_to_rounding(said: list[Payload], data: st.DataObject) -> None:
    """The promised bound: 1e-9 of their size."""
    how = Forgetting("discount", half_life=1e8)
    one, other = folded(said, how), folded(data.draw(st.permutations(said)), how)

    assert one.keys() == other.keys()
    for id, value in one.items():
        assert value.successes == pytest.approx(other[id].successes, rel=1e-9, abs=1e-12)
        assert value.failures == pytest.approx(other[id].failures, rel=1e-9, abs=1e-12)
        assert (value.observations, value.cost, value.last) == (
            other[id].observations, other[id].cost, other[id].last,
        )  # fmt: skip


@settings(max_examples=40)
@given(said=st.lists(evidences(), max_size=10), cut=st.integers(0, 10))
def test_a_later_value_always_stands_over_an_earlier_one(said: list[Payload], cut: int) -> None:
    """In a run the same fact is revised: its join has to take what has seen more."""
    for how in (Forgetting(way) for way in ("none", "discount", "window")):
        early, late = folded(said[:cut], how), folded(said, how)
        for id, value in early.items():
            assert late[id] == value.join(late[id]) == late[id].join(value)


def test_revisable_facts_join_in_any_order() -> None:
    posteriors_ = [Posterior(provider="a", observations=n, successes=s) for n, s in ((0, 0.0), (2, 1.0), (2, 2.0))]
    check_join(posteriors_)
    check_join([Unroutable(reason=text, decided=decided) for text in "ab" for decided in (True, False)])
    check_join(
        [EvidenceReset(provider="a", posterior="a", successes=s, failures=f, number=n, why=w)
         for s, f, n, w in ((1, 0, 1, "x"), (0, 1, 2, "y"), (1, 0.5, 1, "z"))]
    )  # fmt: skip
    check_join([LedgerMark(watermark=n) for n in range(3)])
    check_join([ProbeTally(provider="a", turns=n, held=h) for n, h in ((1, 1), (2, 1), (2, 2))])
    check_join([Spending(period="all", cost=c, answers=n) for c, n in ((1, 1), (2, 1), (1, 2))])
    check_join([LinearEvidence(provider="a", dim=1, observations=n) for n in range(3)])


def test_a_success_a_failure_and_a_part_of_a_reward_count_as_much() -> None:
    found = folded(
        [outcome(success=True), outcome(success=False), outcome(reward=0.25), outcome(reward=1, success=False)]
    )

    assert (2.25, 1.75, 4) == (found["a"].successes, found["a"].failures, found["a"].observations)
    assert 3.25 / 6 == found["a"].mean


def test_a_rate_limit_is_neither_a_success_nor_a_failure() -> None:
    """Zeph counts it twice, as a failure."""
    assert {} == folded([outcome(cost=1.0, latency_ms=3.0)])


def test_credit_goes_to_the_provider_that_is_named() -> None:
    """Zeph credits the last one that was used."""
    found = folded([outcome("a", success=True), outcome("b", success=False), verdict(provider="a")])

    assert (1, 0, 0, 1) == (found["a"].successes, found["a"].failures, found["b"].successes, found["b"].failures)
    assert (1, 0) == (found["a"].quality_failures, found["b"].quality_observations)


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (verdict(), (0, 1)),
        (verdict(kind="alternative_request"), (0, 1)),
        (verdict(kind="repetition"), (0, 1)),
        (verdict(is_correction=False, kind="neutral"), (1, 0)),
        (verdict(kind="self_correction"), None),  # the user was wrong, not the answer
        (verdict(advisory=True), None),
        (
            verdict(is_correction=False, kind="neutral", below_threshold=True),
            None,
        ),  # a correction, too unsure to act on
        (verdict(is_correction=False, kind="neutral", confidence=0.5), None),  # no rule applied
        (verdict(is_correction=False, kind="neutral", confidence=0.51), (1, 0)),
        (verdict(provider=None), None),
        (verdict(provider=""), None),
        (verdict(provider="x" * 201), None),
    ],
)
def test_what_a_user_says_is_evidence_of_quality_alone(said: FeedbackVerdict, counts: tuple[int, int] | None) -> None:
    found = folded([said])
    if counts is None:
        assert {} == found
    else:
        value = found["a"]
        assert counts == (value.quality_successes, value.quality_failures)
        assert (0, 0, 0) == (value.successes, value.failures, value.observations)


def test_availability_and_quality_are_kept_apart() -> None:
    found = folded([outcome(success=True, quality=0.0), outcome(success=False), outcome(quality=1.0)])["a"]

    assert (1, 1, 2) == (found.successes, found.failures, found.observations)
    assert (1, 1, 2) == (found.quality_successes, found.quality_failures, found.quality_observations)


def test_an_outcome_counts_once_for_each_of_its_tags_and_once_for_its_provider() -> None:
    found = folded([outcome(success=True, tags=("x", "y", "x"))])

    assert {"a": 1, "a/x": 1, "a/y": 1} == {id: value.observations for id, value in found.items()}


def test_old_outcomes_count_less_and_late_ones_come_in_as_old_as_they_are() -> None:
    how, found = Forgetting("discount", half_life=10.0), Posterior(provider="a")
    for order in permutations(
        [outcome(success=True, at=0.0), outcome(success=False, at=10.0), outcome(reward=1, at=20.0)]
    ):
        found = folded(order, how)["a"]

        assert (1.25, 0.5, 20.0) == (found.successes, found.failures, found.last)
    assert Evidence(0.625, 0.25) == evidence(found, how, 30.0)
    assert Evidence(1.25, 0.5) == evidence(found, how, 5.0), "evidence is not of the future"


def test_where_nobody_says_when_evidence_ages_by_one_step_an_outcome() -> None:
    found = folded([outcome(success=True), outcome(success=False)], Forgetting("discount", steps=1))["a"]

    assert (0.5, 1.0) == (found.successes, found.failures)


def test_a_window_holds_the_latest() -> None:
    how = Forgetting("window", size=2)
    found = folded([outcome(success=True, at=3.0), outcome(success=False, at=1.0), outcome(success=True, at=2.0)], how)[
        "a"
    ]

    assert ((1.0, 1.0), (2.0, 3.0), 2.0, 0.0, 3) == (
        found.recent, found.recent_at, found.successes, found.failures, found.observations,
    )  # fmt: skip


def test_a_window_with_a_span_lets_go_of_what_is_long_ago() -> None:
    how = Forgetting("window", size=9, span=10.0)
    found = folded([outcome(success=True, at=0.0), outcome(success=False, at=8.0)], how)["a"]

    assert Evidence(1, 1) == evidence(found, how, 9.0)
    assert Evidence(0, 1) == evidence(found, how, 12.0)
    assert Evidence(0, 0) == evidence(found, how, 18.0)


def test_a_reset_takes_a_provider_back_to_the_prior_and_later_outcomes_count() -> None:
    before = [outcome(success=True)] * 3 + [verdict()]
    found = folded(before, "reset")["a"]
    reset = reset_of("a", found, "drift-verdict:a")
    assert reset is not None
    for said in permutations([*before, reset, outcome(success=False)]):
        found = folded(said, "reset")["a"]

        assert Evidence(0, 1) == evidence(found, Forgetting("reset"))
        assert (4, 1) == (found.observations, found.resets)
    again = reset_of("a", found, "drift-verdict:b")
    assert again is not None
    assert (3, 1, 2) == (again.successes, again.failures, again.number)
    assert Evidence() == evidence(folded([*before, reset, outcome(success=False), again], "reset")["a"], Forgetting())


def test_two_processes_that_notice_the_same_drift_reset_once() -> None:
    """Both state what to forget, so it is not forgotten twice."""
    before = [outcome(success=True)] * 5
    reset = reset_of("a", folded(before, "reset")["a"], "drift-verdict:one")
    assert reset is not None
    other = reset.model_copy(update={"why": "drift-verdict:two"})
    found = folded([*before, reset, outcome(success=True), other], "reset")["a"]

    assert (1.0, 0.0, 1) == (found.successes, found.failures, found.resets)


def test_there_is_nothing_to_reset_at_the_prior() -> None:
    assert reset_of("a", Posterior(provider="a", observations=3), "x") is None


@pytest.mark.parametrize("way", ["none", "discount", "window"])
def test_other_ways_of_forgetting_know_no_resets(way: Way) -> None:
    reset = EvidenceReset(provider="a", posterior="a", successes=1)

    assert [] == list(ids_of(reset, Forgetting(way)))


@pytest.mark.parametrize("id", ["b", "ab", "a/x/y", "a/\n", "a" + "x" * 500])
def test_a_reset_cannot_reach_the_posterior_of_another(id: str) -> None:
    assert [] == list(ids_of(EvidenceReset(provider="a", posterior=id, successes=9), Forgetting("reset")))


def test_evidence_far_beyond_what_a_float_can_add_stays_a_number() -> None:
    huge = Posterior(provider="a", successes=MOST_OUTCOMES, failures=1e300, cost=1e308, observations=1)
    value = fold(huge, outcome(success=True, cost=1.7e308, at=-1e308), Forgetting())
    assert value is not None

    assert (MOST_OUTCOMES, MOST_OUTCOMES) == (value.successes, value.failures)
    assert 0.5 == value.mean
    assert value.mean_cost < 1e19


def test_a_cost_of_a_millionth_is_not_lost() -> None:
    value = folded([outcome(success=True, cost=4e-7)] * 1000)["a"]

    assert pytest.approx(4e-4, rel=2e-3) == value.cost
    assert 0.1 == pytest.approx(in_steps(0.1, 2.0**-20), abs=5e-7)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"way": "never"}, "one of none, discount, window, reset"),
        ({"way": "discount", "half_life": 0}, "over 0"),
        ({"half_life": float("nan")}, "over 0"),
        ({"steps": -1}, "over 0"),
        ({"span": float("inf")}, "over 0"),
        ({"size": 0}, "from 1 to 10,000"),
        ({"size": True}, "from 1 to 10,000"),
    ],
)
def test_a_way_of_forgetting_out_of_range_is_refused_with_the_range(fields: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidOption, match=wanted):
        Forgetting(**fields)


def test_projections_that_fold_otherwise_have_other_versions() -> None:
    versions = [
        posteriors(how).version
        for how in (
            "none", "reset", "discount", Forgetting("discount", half_life=2), Forgetting("discount", steps=2), "window",
            Forgetting("window", size=2),
        )
    ]  # fmt: skip

    assert len(versions) == len(set(versions))


def test_a_posterior_whose_window_does_not_fit_its_times_is_malformed() -> None:
    found = Context().admit("posterior", "a", b'{"provider":"a","recent":[1,0],"recent_at":[1]}')

    assert "malformed" == found.family
