"""Holds facts to what they are: immutable, named, and refused when their name or confidence is no good."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.facts import Context, Fact, FactError, ImmutableFact, InvalidConfidence, InvalidId, Opaque
from quiesce.facts.fact import check_confidence, check_id, make_fact, printable, split_ref
from support.payloads import Answer, Note, note_fact

FIELDS = (
    "payload",
    "id",
    "by",
    "cycle",
    "confidence",
    "because",
    "sha256",
    "ref",
    "key",
    "family",
    "version",
    "digest",
    "other",
)


def test_a_fact_says_what_who_when_how_surely_and_why() -> None:
    context = Context()
    context.add(Note(text="a"), id="t1")
    fact = context.add(Answer(text="b"), id="p1", confidence=0.5, because=["facts-note:t1"], by="ana")

    assert ("facts-answer:p1", "p1", "facts-answer", "strategies", 1) == (
        fact.ref,
        fact.id,
        fact.family,
        fact.key,
        fact.version,
    )
    assert (Answer(text="b"), "ana", 0, 0.5, ("facts-note:t1",)) == (
        fact.payload,
        fact.by,
        fact.cycle,
        fact.confidence,
        fact.because,
    )
    assert "<facts-answer:p1 Answer(text='b') by ana in cycle 0, confidence=0.5>" == repr(fact)


@pytest.mark.parametrize("field", FIELDS)
def test_nothing_of_a_fact_can_be_set_or_deleted(field: str) -> None:
    fact = note_fact("a")
    with pytest.raises(ImmutableFact) as caught:
        setattr(fact, field, 1)
    with pytest.raises(ImmutableFact):
        delattr(fact, field)

    assert str(caught.value).startswith(f"'{field}' of facts-note:a cannot be set: facts are immutable. Copy it ")
    assert note_fact("a") == fact
    assert not hasattr(fact, "__dict__")


def test_a_fact_cannot_be_made_by_hand() -> None:
    with pytest.raises(ImmutableFact) as caught:
        Fact(Note(text="a"), "a", "me", 0, 1.0, (), b"")

    assert str(caught.value).startswith(
        "a Fact cannot be made by hand; use context.add(payload) or propose one from a suggestor: "
    )


def test_a_fact_equals_another_that_says_the_same_and_came_about_the_same() -> None:
    fact = note_fact("a", "x", 1, ("facts-note:b",), "ana", 0.5)
    others = [
        note_fact("z", "x", 1, ("facts-note:b",), "ana", 0.5),
        note_fact("a", "z", 1, ("facts-note:b",), "ana", 0.5),
        note_fact("a", "x", 2, ("facts-note:b",), "ana", 0.5),
        note_fact("a", "x", 1, (), "ana", 0.5),
        note_fact("a", "x", 1, ("facts-note:b",), "bob", 0.5),
        note_fact("a", "x", 1, ("facts-note:b",), "ana", 0.6),
    ]
    same = note_fact("a", "x", 1, ("facts-note:b",), "ana", 0.5)

    assert (fact, hash(fact)) == (same, hash(same))
    assert [] == [other for other in others if other == fact]
    assert fact != "facts-note:a"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda fact: pickle.loads(pickle.dumps(fact))])
def test_a_copy_of_a_fact_is_the_same_fact(again: Any) -> None:
    fact = note_fact("a", "x", 1, ("facts-note:b",), "ana", 0.5)
    copied = again(fact)
    with pytest.raises(ImmutableFact):
        copied.id = "b"

    assert (fact, fact.payload, Fact) == (copied, copied.payload, type(copied))


def test_a_fact_of_an_unknown_family_keeps_its_address() -> None:
    opaque = Opaque(family="facts-gone", key="seeds", version=3, raw=b"{}")
    fact = make_fact(opaque, "a", "x", 1, 1.0, (), b"\x00" * 32)  # type: ignore[type-var]  # as a log gives it back

    assert ("facts-gone:a", "seeds", 3) == (fact.ref, fact.key, fact.version)


BAD_IDS: list[tuple[Any, str]] = [
    ("", "id '' of family 'facts-note' is empty"),
    ("   ", "id '   ' of family 'facts-note' is blank"),
    ("\u2003", "id '\\u2003' of family 'facts-note' is blank"),
    ("a\x00b", "id 'a\\x00b' of family 'facts-note' holds a control character, a line break or a lone surrogate"),
    ("a\nb", "id 'a\\nb' of family 'facts-note' holds a control character, a line break or a lone surrogate"),
    ("a\r", "id 'a\\r' of family 'facts-note' holds a control character, a line break or a lone surrogate"),
    ("a\u2028", "id 'a\\u2028' of family 'facts-note' holds a control character, a line break or a lone surrogate"),
    ("\ud800", "id '\\ud800' of family 'facts-note' holds a control character, a line break or a lone surrogate"),
    ("x" * 513, f"id '{'x' * 78}… of family 'facts-note' takes 513 bytes, over the limit of 512"),
    ("é" * 257, f"id '{'é' * 78}… of family 'facts-note' takes 514 bytes, over the limit of 512"),
    (7, "id 7 of family 'facts-note' is a int, not a text"),
    (b"a", "id b'a' of family 'facts-note' is a bytes, not a text"),
    (10**5000, "id <int> of family 'facts-note' is a int, not a text"),
]


@pytest.mark.parametrize(("id", "problem"), BAD_IDS, ids=[str(place) for place in range(len(BAD_IDS))])
def test_an_id_that_names_nothing_says_why(id: Any, problem: str) -> None:
    context = Context()
    with pytest.raises(InvalidId) as caught:
        context.add(Note(text="a"), id=id)

    assert f"{problem}. Give a printable text of 1 to 512 bytes" == str(caught.value)
    assert ("facts-note", id, 0) == (caught.value.family, caught.value.id, len(context))


@pytest.mark.parametrize("id", ["a", "x" * 512, "é" * 256, " a ", "a:b:c", "<&\"'>", "日本", "😀"])
def test_every_other_id_names_a_fact(id: str) -> None:
    context = Context()
    fact = context.add(Note(text="a"), id=id)

    assert fact is context.find(f"facts-note:{id}") is context.of(Note)[id]
    assert ("facts-note", id) == split_ref(fact.ref)


@given(id=st.text() | st.text(st.characters(categories=["Cc", "Cs", "Zs", "Zl", "Zp"])))
def test_an_id_is_taken_or_refused_with_an_invalid_id(id: str) -> None:
    """Whatever it is; what is taken can be written as UTF-8 on one line."""
    try:
        check_id("facts-note", id)
    except InvalidId:
        return

    assert 1 == len(id.encode().splitlines())
    assert id.strip()


@pytest.mark.parametrize(
    ("confidence", "shown"),
    [
        (-0.1, "-0.1"),
        (1.1, "1.1"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-float("inf"), "-inf"),
        (2, "2"),
        (True, "True"),
        (False, "False"),
        ("0.5", "'0.5'"),
        (None, "None"),
        (1j, "1j"),
        pytest.param(10**5000, "<int>", id="huge"),
    ],
)
def test_a_confidence_that_is_no_number_from_0_to_1_says_so(confidence: Any, shown: str) -> None:
    context = Context()
    with pytest.raises(InvalidConfidence) as caught:
        context.add(Note(text="a"), confidence=confidence)

    assert f"confidence {shown} is not a number from 0 to 1" == str(caught.value)
    assert 0 == len(context)


@given(confidence=st.floats(0, 1) | st.sampled_from([0, 1]))
def test_a_confidence_from_0_to_1_is_kept_as_a_float(confidence: float) -> None:
    kept = check_confidence(confidence)

    assert (confidence, float) == (kept, type(kept))


@pytest.mark.parametrize("by", ["", " ", "a\nb", "\x00", "\ud800", None, 7])
def test_who_says_it_must_have_a_name(by: Any) -> None:
    context = Context()
    with pytest.raises(FactError) as caught:
        context.add(Note(text="a"), by=by)

    assert f"by={by!r} does not name who says it. Give a printable text that is not blank" == str(caught.value)
    assert 0 == len(context)


@given(text=st.text(st.characters(), max_size=20) | st.none())
def test_printable_text_is_printable(text: str | None) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert shown.encode() == shown.encode("utf-8", "surrogatepass")
