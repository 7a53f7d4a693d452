"""Shows that what a model answers is checked: numbers clamped, kinds known, contradictions and scribble refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.suggestors.feedback.payloads import KINDS
from quiesce.suggestors.feedback.verdict import Answer, Unjudged, clamp, read_answer
from quiesce.suggestors.feedback.vote import decide


def said(**changed: Any) -> str:
    whole = {"is_correction": True, "kind": "repetition", "confidence": 0.8, **changed}
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


@given(value=st.floats())
def test_confidence_is_clamped_and_nan_is_none(value: float) -> None:
    """A register fault: NaN was let through, and compared as neither above nor below the threshold."""
    found = read_answer(said(confidence=value)).confidence

    assert clamp(value) == found
    assert 0 <= found <= 1
    assert not math.isnan(value) or found == 0
    assert not 0 <= value <= 1 or found == value


@pytest.mark.parametrize(
    ("value", "confidence"),
    [("0.25", 0.25), (-5, 0.0), (7, 1.0), ("NaN", 0.0), ("-inf", 0.0), ("1e999", 1.0), (0, 0.0)],
)
def test_what_is_a_number_counts_as_one(value: Any, confidence: float) -> None:
    assert confidence == read_answer(said(confidence=value)).confidence


@pytest.mark.parametrize("value", ["8/10", "90%", "high", "", None, True, [0.9], {"value": 1}, ..., "0.8 or so"])
def test_what_only_looks_like_a_number_is_no_guess(value: Any) -> None:
    """A register fault: "8/10" became 1.0 and "-5" 0.5."""
    with pytest.raises(Unjudged) as caught:
        read_answer(said(confidence=value))

    assert "unparsable" == caught.value.kind
    assert "confidence" in caught.value.message


@pytest.mark.parametrize("kind", ["abandonment", "Repetition", "explicit rejection", "", None, 3, ["repetition"], ...])
def test_an_unknown_kind_is_a_failure(kind: Any) -> None:
    """A register fault: any text was taken for a kind."""
    with pytest.raises(Unjudged, match="kind") as caught:
        read_answer(said(kind=kind))

    assert "unparsable" == caught.value.kind


@pytest.mark.parametrize("raw", [said(is_correction=True, kind="neutral"), said(is_correction=False)])
def test_a_contradiction_is_a_failure(raw: str) -> None:
    with pytest.raises(Unjudged, match="contradicts itself"):
        read_answer(raw)


def test_what_says_two_things_under_one_name_says_nothing() -> None:
    both = '{"is_correction": true, "kind": "repetition", "confidence": 1, "is_correction": false, "kind": "neutral"}'
    with pytest.raises(Unjudged, match="two things about 'is_correction'"):
        read_answer(both)

    assert read_answer(said()) == read_answer(said()[:-1] + ", " + said()[1:])  # the same twice harms nobody


@pytest.mark.parametrize(
    "raw",
    [
        "", "no", "[]", "null", "{", said()[:-1], said()[:30], "{" * 100_000, "1" * 5_000,
        b"\xff\xfe", '"' + "a" * 10**6, said(confidence=10**400),
        '{"is_correction": true}{"is_correction": false}', "[" * 50 + "]" * 50,
    ],
)  # fmt: skip
def test_scribble_is_a_failure_and_nothing_worse(raw: str | bytes) -> None:
    with pytest.raises(Unjudged) as caught:
        read_answer(raw)

    assert "unparsable" == caught.value.kind
    assert len(caught.value.message) < 400


@settings(max_examples=40)
@given(raw=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(KINDS),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["is_correction", "kind", "confidence", "reasoning", "x"]), inner
    ),
    max_leaves=8,
))  # fmt: skip
def test_any_json_is_a_verdict_or_a_failure(raw: Any) -> None:
    try:
        answer = read_answer(json.dumps(raw))
    except Unjudged as problem:
        assert "unparsable" == problem.kind  # noqa: PT017  it may raise, and may as well not
    else:
        assert 0 <= answer.confidence <= 1
        assert (answer.kind == "neutral") != answer.is_correction


def test_reasoning_is_kept_short_and_can_be_written() -> None:
    assert len(read_answer(said(reasoning="x" * 10**6)).reasoning) <= 500
    read_answer(said(reasoning="\ud800 half")).reasoning.encode()
    assert "" == read_answer(said()).reasoning


@given(confidence=st.floats(0, 1), threshold=st.floats(0, 1), kind=st.sampled_from(KINDS))
def test_a_correction_below_the_threshold_is_none_and_at_it_stands(
    confidence: float, threshold: float, kind: Any
) -> None:
    answer = Answer(is_correction=kind != "neutral", kind=kind, confidence=confidence)
    found = decide([answer], threshold, asked=1)
    stands = kind != "neutral" and confidence >= threshold

    assert (stands, confidence) == (found.is_correction, found.confidence)
    assert (kind if stands else "neutral") == found.kind
    assert (kind != "neutral" and not stands) == found.below_threshold
