"""Shows how several judgements become one verdict, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.suggestors.feedback.payloads import KINDS
from quiesce.suggestors.feedback.verdict import Answer, Unjudged
from quiesce.suggestors.feedback.vote import decide, most_frequent, wilson


def answer(kind: Any, confidence: float = 0.9) -> Answer:
    return Answer(is_correction=kind != "neutral", kind=kind, confidence=confidence, reasoning=kind)


answers = st.lists(st.builds(answer, st.sampled_from(KINDS), st.floats(0, 1)), min_size=1, max_size=9)


@settings(max_examples=40)
@given(answers=answers, data=st.data())
def test_the_order_of_the_answers_decides_nothing(answers: list[Answer], data: st.DataObject) -> None:
    def come_to(some: list[Answer]) -> Any:
        try:
            found = decide(some, 0.6, asked=len(some))
        except Unjudged as problem:
            return problem.kind, problem.message
        return found.model_copy(update={"reasoning": "", "confidence": pytest.approx(found.confidence)})

    assert come_to(answers) == come_to(data.draw(st.permutations(answers)))


@settings(max_examples=40)
@given(answers=answers)
def test_a_verdict_is_that_of_most_and_says_how_many(answers: list[Answer]) -> None:
    corrections = sum(one.is_correction for one in answers)
    if 2 * corrections == len(answers):
        with pytest.raises(Unjudged) as caught:
            decide(answers, 0.0, asked=len(answers))
        assert "disagreement" == caught.value.kind
        return
    found = decide(answers, 0.0, asked=len(answers))

    assert (2 * corrections > len(answers)) == found.is_correction
    assert max(corrections, len(answers) - corrections) == found.agreed
    assert len(answers) == found.samples
    assert found.kind in {one.kind for one in answers if one.is_correction == found.is_correction}
    assert (found.interval is None) == (len(answers) == 1)
    if found.interval is not None:
        low, high = found.interval
        assert low <= found.agreed / found.samples <= high


def test_confidence_is_the_mean_of_what_each_gives_the_winning_side() -> None:
    found = decide([answer("repetition"), answer("repetition", 0.7), answer("neutral", 0.8)], 0.6, asked=3)

    assert pytest.approx((0.9 + 0.7 + 0.2) / 3) == found.confidence
    assert (True, "repetition", 2, 3) == (found.is_correction, found.kind, found.agreed, found.samples)


def test_three_times_the_threshold_is_the_threshold() -> None:
    """In binary, three times 0.6 divided by three is less than 0.6."""
    assert decide([answer("repetition", 0.6)] * 3, 0.6, asked=3).is_correction


def test_a_demanding_majority_abstains_sooner() -> None:
    some = [answer("repetition"), answer("repetition"), answer("neutral")]
    decide(some, 0.5, asked=3)
    with pytest.raises(Unjudged, match="2 of 3 judgements say that it is a correction"):
        decide(some, 0.5, asked=3, agreement=0.7)


def test_half_of_the_judgements_are_too_few() -> None:
    """What is missing is missing: two that agree are no majority of five that were asked."""
    with pytest.raises(Unjudged, match="2 of 5 judgements could be had"):
        decide([answer("repetition")] * 2, 0.5, asked=5)
    assert 3 == decide([answer("repetition")] * 3, 0.5, asked=5).samples


def test_the_most_frequent_failure_stands_for_all() -> None:
    problems = [Unjudged("timeout", "a"), Unjudged("server", "b"), Unjudged("server", "c")]

    assert ("server", "b") == (most_frequent(problems).kind, most_frequent(problems).message)


def test_wilsons_interval_covers_as_often_as_it_says() -> None:
    """20,000 draws at each of nine shares: on average 95% are covered, and nowhere less than 91%."""
    rng = np.random.default_rng(7)
    covered = []
    for n in (5, 20, 100):
        for share in (0.5, 0.7, 0.9):
            bounds = np.array([wilson(hits, n) for hits in range(n + 1)])
            hits = rng.binomial(n, share, 20_000)
            covered.append(float(np.mean((bounds[hits, 0] <= share) & (share <= bounds[hits, 1]))))

    assert min(covered) > 0.91
    assert abs(float(np.mean(covered)) - 0.95) < 0.02
    assert (0.0, 1.0) == wilson(0, 0)
