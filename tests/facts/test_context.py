"""Holds a context to what it is: everything that is known, growing, and nobody else's business once it is copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from quiesce.facts import (
    ConflictingInput,
    Contested,
    Context,
    Fact,
    FactError,
    InvalidId,
    InvalidPayload,
    Payload,
    PayloadDefinitionError,
)
from quiesce.facts.canonical import digest_of, encode
from quiesce.facts.family import family_of
from support.payloads import Answer, Guess, Note, Rule, Tags, engine, notes


def test_facts_are_found_by_class_by_key_and_by_ref() -> None:
    context = Context()
    one, two = context.add(Note(text="a"), id="t1"), context.add(Note(text="b"), id="t2")
    three = context.add(Answer(text="c"), id="t1")

    assert {"t1": one, "t2": two} == dict(context.of(Note))
    assert ((one, two), (three,), ()) == (context["seeds"], context["strategies"], context["nothing"])
    assert (two, None, None) == (context.find("facts-note:t2"), context.find("facts-note:t3"), context.find("nonsense"))
    assert [one, two, three] == list(context)
    assert (3, ("seeds", "strategies"), ("facts-note", "facts-answer")) == (
        len(context),
        context.keys,
        context.families,
    )
    assert "<Context facts-note: 2, facts-answer: 1>" == repr(context)


def test_what_is_not_known_is_not_there() -> None:
    context = notes("a")
    with pytest.raises(KeyError):
        context.of(Note)["b"]
    with pytest.raises(KeyError):
        context.of(Answer)["a"]

    assert "facts-note:a" in context
    assert context.of(Note)["a"] in context
    assert "facts-note:b" not in context
    assert ({}, 0, "<Context empty>") == (dict(context.of(Answer)), len(context.of(Answer)), repr(Context()))


def test_what_of_returned_does_not_change_when_more_is_said() -> None:
    context = notes("a")
    before = context.of(Note)
    context.add(Note(text="b"), id="b")

    assert (["a"], ["a", "b"]) == (list(before), list(context.of(Note)))


def test_saying_the_same_thing_twice_is_saying_it_once() -> None:
    """Whether it is named or not, and whoever says it again."""
    context = Context()
    one, two = context.add(Note(text="a")), context.add(Note(text="a"), by="ana", confidence=0.5)
    named, again = context.add(Note(text="a"), id="n"), context.add(Note(text="a"), id="n")

    assert (one, named) == (two, again)
    assert [one, named] == list(context) == list(context.inputs)
    assert one.digest[:24] == one.id


@pytest.mark.parametrize("reason", ["facts-note:b", "nonsense", "", 7, None])
def test_a_reason_must_be_known(reason: Any) -> None:
    context = notes("a")
    with pytest.raises(FactError) as caught:
        context.add(Answer(text="x"), because=[context.of(Note)["a"], reason])

    assert f"because names {reason!r}, which is not known. Add that fact first" == str(caught.value)
    assert ["facts-note:a"] == [fact.ref for fact in context]


def test_a_text_is_no_list_of_reasons() -> None:
    with pytest.raises(FactError) as caught:
        notes("a").add(Answer(text="x"), because="facts-note:a")

    assert "because is a text, not a list of facts or refs. Write: because=['facts-note:a']" == str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"payload": Note.model_construct(text="\ud800")}, InvalidPayload),
        ({"payload": Note(text="b"), "id": ""}, InvalidId),
        ({"payload": Note(text="b"), "confidence": 2}, FactError),
        ({"payload": Note(text="b"), "because": ["facts-note:z"]}, FactError),
        ({"payload": Payload()}, PayloadDefinitionError),
    ],
)
def test_what_is_refused_leaves_nothing_behind(arguments: dict[str, Any], error: type[Exception]) -> None:
    context, before = notes("a"), notes("a")
    with pytest.raises(error):
        context.add(**arguments)

    assert before == context
    assert before.inputs == context.inputs


# --- conflicts --------------------------------------------------------------------------------------------------------


def contest(stands: Fact[Any], lost: Payload, by: str = "input", confidence: float = 1.0) -> Contested:
    raw = encode(lost, family_of(type(lost)))
    return Contested(
        ref=stands.ref, stands=stands.digest, stands_by=stands.by, lost=digest_of(raw).hex(), lost_by=by,
        lost_confidence=confidence, lost_payload=raw.decode(),
    )  # fmt: skip


def test_other_content_under_a_known_id_is_contested() -> None:
    """What was said first stands; the loser is kept, and a fact names both."""
    context = Context()
    first = context.add(Note(text="a"), id="n")
    again = context.add(Note(text="b"), id="n", by="ana", confidence=0.5)
    (told,) = context.of(Contested).values()

    assert first == again == context.find("facts-note:n")
    assert (contest(first, Note(text="b"), "ana", 0.5), ("facts-note:n",), "engine") == (
        told.payload,
        told.because,
        told.by,
    )
    assert [("contested", Note(text="b"), "ana")] == [(lost.reason, lost.payload, lost.by) for lost in context._lost]
    assert "diagnostics" == told.key


def test_the_same_conflict_is_told_once() -> None:
    context = Context()
    for _ in range(3):
        context.add(Note(text="a"), id="n")
        context.add(Note(text="b"), id="n")

    assert 1 == len(context.of(Contested))


def test_a_large_loser_is_kept_in_the_log_and_not_in_the_diagnostic() -> None:
    context = Context()
    context.add(Note(text="a"), id="n")
    context.add(Note(text="b" * 70_000), id="n")
    (told,) = context.of(Contested).values()

    assert told.payload.lost_payload is None
    assert [Note(text="b" * 70_000)] == [lost.payload for lost in context._lost]


def test_a_family_that_stops_on_conflict_refuses_the_second_input() -> None:
    context = Context()
    context.add(Rule(text="a"), id="n", by="ana")
    before = context.copy()
    with pytest.raises(ConflictingInput) as caught:
        context.add(Rule(text="b"), id="n")

    expected = (
        "facts-rule:n is already known (said by 'ana') with other content, and its family stops on conflict. "
        "Nothing was added; use another id, or give the payload class a join"
    )
    assert expected == str(caught.value)
    assert before == context
    assert context.add(Rule(text="a"), id="n") == context.find("facts-rule:n")


@given(said=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=6))
def test_the_more_confident_of_two_new_inputs_stands(said: list[tuple[str, float]]) -> None:
    """With `on_conflict="confidence"`; of two equally confident ones, the first."""
    context = Context()
    for text, confidence in said:
        context.add(Guess(text=text), id="n", confidence=confidence)
    best, sure = said[0]
    for text, confidence in said:
        best, sure = (text, confidence) if confidence > sure and text != best else (best, sure)

    assert {"n": (best, sure)} == {id: (fact.payload.text, fact.confidence) for id, fact in context.of(Guess).items()}
    assert [fact.ref for fact in context.inputs if fact.family == "facts-guess"] == ["facts-guess:n"]


def test_the_less_confident_input_is_kept_as_the_loser() -> None:
    context = Context()
    other = context.add(Guess(text="x"), id="other", confidence=0.1)
    before = context.copy()
    context.add(Guess(text="a"), id="n", confidence=0.5, by="ana")
    stands = context.add(Guess(text="b"), id="n", confidence=0.9, by="bob")
    (told,) = context.of(Contested).values()

    assert contest(stands, Guess(text="a"), "ana", 0.5) == told.payload
    assert [("ana", 0.5, Guess(text="a"))] == [(lost.by, lost.confidence, lost.payload) for lost in context._lost]
    assert [other, stands] == list(context.of(Guess).values())
    assert [other] == list(before)


def test_an_input_does_not_displace_what_a_run_has_committed() -> None:
    """However confident it is: what was decided stays decided."""
    context = Context()
    context.add(Guess(text="a"), id="n", confidence=0.5)
    ended = engine().run_sync(context).context
    ended.add(Guess(text="b"), id="n", confidence=0.9)

    assert Guess(text="a") == ended.of(Guess)["n"].payload
    assert 1 == len(ended.of(Contested))


# --- revisions --------------------------------------------------------------------------------------------------------


def test_a_family_with_a_join_is_revised() -> None:
    """Every ask shows the last revision; the place is that of the last revision, once."""
    context = Context()
    context.add(Tags(names=frozenset({"a"})), id="t", by="ana")
    context.add(Tags(names=frozenset({"x"})), id="u")
    fact = context.add(Tags(names=frozenset({"b"})), id="t", by="bob")

    assert (Tags(names=frozenset({"a", "b"})), "bob") == (fact.payload, fact.by)
    assert fact is context.find("facts-tags:t") is context.of(Tags)["t"]
    assert ["u", "t"] == [one.id for one in context] == list(context.of(Tags))
    assert (2, 0) == (len(context), len(context.of(Contested)))


def test_a_revision_that_says_nothing_new_is_no_revision() -> None:
    context = Context()
    first = context.add(Tags(names=frozenset({"a", "b"})), id="t")
    again = context.add(Tags(names=frozenset({"a"})), id="t", by="bob")

    assert first is again
    assert (first,) == context.inputs


@given(
    said=st.lists(st.tuples(st.sampled_from(["t", "u"]), st.frozensets(st.sampled_from("abcd"))), max_size=6),
    order=st.randoms(),
)
def test_the_order_of_revisions_does_not_matter(said: list[tuple[str, frozenset[str]]], order: Any) -> None:
    shuffled = list(said)
    order.shuffle(shuffled)
    known = []
    for pairs in (said, shuffled):
        context = Context()
        for id, names in pairs:
            context.add(Tags(names=names), id=id)
        known.append({fact.ref: fact.digest for fact in context})

    assert known[0] == known[1]


# --- copies -----------------------------------------------------------------------------------------------------------


class Copies(RuleBasedStateMachine):
    """Contexts and their copies, compared with plain dicts after each step: neither sees what is added to the other."""

    contexts = Bundle("contexts")

    @initialize(target=contexts)
    def start(self) -> Context:
        self.known: list[tuple[Context, dict[str, Any]]] = [(Context(), {})]
        return self.known[0][0]

    def model(self, context: Context) -> dict[str, Any]:
        return next(model for known, model in self.known if known is context)

    @rule(context=contexts, id=st.sampled_from("abcd"), text=st.sampled_from("xyz"))
    def add(self, context: Context, id: str, text: str) -> None:
        self.model(context).setdefault(f"facts-answer:{id}", text)
        context.add(Answer(text=text), id=id)

    @rule(context=contexts, id=st.sampled_from("abcd"), names=st.frozensets(st.sampled_from("xyz")))
    def revise(self, context: Context, id: str, names: frozenset[str]) -> None:
        model = self.model(context)
        model[f"facts-tags:{id}"] = model.get(f"facts-tags:{id}", frozenset()) | names
        context.add(Tags(names=names), id=id)

    @rule(target=contexts, context=contexts)
    def copy(self, context: Context) -> Context:
        other = context.copy()
        assert context == other
        self.known.append((other, dict(self.model(context))))
        return other

    @invariant()
    def each_knows_what_it_was_told(self) -> None:
        for context, model in self.known:
            facts = [fact for fact in context if fact.key != "diagnostics"]

            assert model == {fact.ref: getattr(fact.payload, "text", None) or fact.payload.names for fact in facts}
            assert model.keys() == {ref for ref in model if context.find(ref) is not None}
            assert len(context) == len(list(context))


test_copies_go_their_own_ways = Copies.TestCase


def test_a_copy_is_equal_until_one_of_them_learns_more() -> None:
    context = notes("a")
    for other in (context.copy(), copy.copy(context)):
        assert context == other
        other.add(Note(text="b"), id="b")

        assert context != other
        assert ["a"] == list(context.of(Note))


def grown() -> Iterator[Context]:
    """Yields contexts that all differ."""
    yield Context()
    for said in ({"id": "b"}, {"id": "a", "by": "ana"}, {"id": "a", "confidence": 0.5}, {"id": "a"}):
        context = Context()
        context.add(Note(text="x"), **said)
        yield context
        more = context.copy()
        more.add(Answer(text="y"), id="a")
        yield more
        why = context.copy()
        why.add(Answer(text="y"), id="a", because=[f"facts-note:{said['id']}"])
        yield why


def test_contexts_are_equal_when_they_know_the_same() -> None:
    ones, others = list(grown()), list(grown())

    assert [[one is two for two in ones] for one in ones] == [[one == two for two in others] for one in ones]
    assert Context() != {}
    with pytest.raises(TypeError):
        hash(Context())


def test_the_order_of_families_makes_no_difference_and_that_of_facts_does() -> None:
    first, second, third = Context(), Context(), Context()
    first.add(Note(text="a"), id="a")
    first.add(Answer(text="b"), id="b")
    second.add(Answer(text="b"), id="b")
    second.add(Note(text="a"), id="a")
    third.add(Note(text="z"), id="z")

    assert first == second
    assert notes("a", "b") != notes("b", "a")


def test_a_run_leaves_its_context_as_it_was() -> None:
    context = notes("a", "b")
    before = context.copy()
    result = engine().run_sync(context)

    assert before == context
    assert ["facts-tags:all"] == [fact.ref for fact in result.context["signals"]]


def test_a_context_that_came_out_of_a_run_can_grow_and_be_run_again() -> None:
    """Running it unchanged executes nothing; what is added wakes only what it touches."""
    first = engine().run_sync(notes("a"))
    unchanged = engine().run_sync(first.context)
    first.context.add(Note(text="b"), id="b")
    grown = engine().run_sync(first.context)

    assert first.context.of(Answer) == {"a": unchanged.context.of(Answer)["a"]}
    assert {"a": Answer(text="A"), "b": Answer(text="B")} == {
        id: one.payload for id, one in grown.context.of(Answer).items()
    }
    assert frozenset({"A", "B"}) == grown.context.of(Tags)["all"].payload.names
    assert (1, 3) == (grown.context.of(Answer)["a"].cycle, grown.context.of(Note)["b"].cycle)
