"""Shows what a fact rests on, as a tree, as a graph and as data, however long or wide its lineage is."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine, suggestor
from quiesce.facts import Context, Fact, FactError, FactLog, Payload, replay
from support.payloads import Answer, Guess, Note, engine, notes


def test_the_tree_tells_each_fact_once_with_who_said_it_and_who_lost() -> None:
    context = Context()
    context.add(Guess(text="x"), id="g", confidence=0.5, by="ana")
    context.add(Guess(text="y"), id="g", confidence=0.4, by="bob")
    context.add(Note(text="a"), id="n", because=["facts-guess:g"])
    context.add(Answer(text="b"), id="p", because=["facts-note:n", "facts-guess:g"])
    result = Engine([]).run_sync(context)

    assert str(result.context.why("facts-answer:p")).splitlines() == [
        "facts-answer:p  Answer(text='b')  by input in cycle 0",
        "├─ facts-note:n  Note(text='a')  by input in cycle 0",
        "│  └─ facts-guess:g  Guess(text='x')  by ana in cycle 0, confidence 0.5",
        "│     ×  lost: Guess(text='y') by bob (contested)",
        "└─ facts-guess:g  (see above)",
    ]


def test_the_tree_tells_the_version_of_a_suggestor() -> None:
    @suggestor(version="7")
    def plan(note: Fact[Note]) -> Answer:
        return Answer(text=note.payload.text)

    log = FactLog.open()
    result = Engine([plan]).run_sync(notes("a"), log=log)

    expected = (
        "facts-answer:a  Answer(text='a')  by plan v7 in cycle 1\n└─ facts-note:a  Note(text='a')  by input in cycle 0"
    )
    assert expected == str(result.context.why("facts-answer:a"))
    assert expected == str(replay(log, result.run_id).why(result.context.of(Answer)["a"]))


def test_why_draws_the_graph_and_gives_it_as_data() -> None:
    context = Context()
    context.add(Note(text="a"), id='<n"&>')
    context.add(Answer(text="b"), id="p", because=['facts-note:<n"&>'], confidence=0.5)
    why = context.why("facts-answer:p")

    assert why.mermaid().splitlines() == [
        "flowchart LR",
        '    f0["facts-answer:p<br/>by input in cycle 0, confidence 0.5"]',
        '    f1["facts-note:&lt;n&quot;&amp;&gt;<br/>by input in cycle 0"]',
        "    f1 --> f0",
    ]
    common = {"known": True, "by": "input", "version": None, "cycle": 0, "losers": []}
    expected = [
        {"ref": "facts-answer:p", "payload": {"text": "b"}, "confidence": 0.5, "because": ['facts-note:<n"&>']}
        | common,
        {"ref": 'facts-note:<n"&>', "payload": {"text": "a"}, "confidence": 1.0, "because": []} | common,
    ]
    assert {"ref": "facts-answer:p", "facts": expected} == why.to_json()


@pytest.mark.parametrize("ref", ["facts-note:z", "facts-none:a", "nonsense", ""])
def test_why_of_what_is_not_known_says_what_a_ref_is(ref: str) -> None:
    with pytest.raises(FactError) as caught:
        notes("a").why(ref)

    assert f"{ref!r} is not known here. A ref is family:id, as in context.find('plan:t1')" == str(caught.value)


def chain(length: int) -> Context:
    context = Context()
    before: list[str] = []
    for n in range(length):
        before = [context.add(Note(text=""), id=str(n), because=before).ref]
    return context


@pytest.mark.slow
def test_a_lineage_can_be_longer_than_pythons_stack() -> None:
    why = chain(10_000).why("facts-note:9999")
    first, second = islice(why.lines(), 2)

    assert [f"facts-note:{n}" for n in reversed(range(10_000))] == list(why.refs())
    assert (10_000, 10_000) == (sum(1 for _ in why.lines()), len(why.to_json()["facts"]))
    assert 1 + 10_000 + 9_999 == len(why.mermaid().splitlines())
    assert ("facts-note:9999  Note(text=''", "└─ facts-note:9998") == (first[:29], second[:18])


def test_a_ladder_of_diamonds_is_told_once_each_and_not_once_for_each_path() -> None:
    """Thirty diamonds one on the other have a billion paths."""
    context = Context()
    below = [context.add(Note(text=""), id="0").ref]
    for n in range(30):
        sides = [context.add(Note(text=""), id=f"{n}{side}", because=below).ref for side in "lr"]
        below = [context.add(Note(text=""), id=f"{n}top", because=sides).ref]
    why = context.why(below[0])

    assert 1 + 3 * 30 == len(why.refs()) == len(why.to_json()["facts"])
    assert 1 + 4 * 30 == len(str(why).splitlines())


@given(width=st.integers(1, 50), repeat=st.integers(1, 3))
def test_a_wide_diamond_names_its_base_once(width: int, repeat: int) -> None:
    context = Context()
    base = context.add(Note(text="base"), id="base")
    sides = [context.add(Note(text=""), id=str(n), because=[base] * repeat) for n in range(width)]
    lines = str(context.why(context.add(Note(text=""), id="top", because=sides * repeat))).splitlines()

    assert 1 + 2 * width == len(lines)
    assert [1, width - 1] == [
        sum(mark in line for line in lines) for mark in ("text='base'", "facts-note:base  (see above)")
    ]


def test_a_fact_that_rests_on_a_revision_of_itself_is_told_once() -> None:
    """Because names refs, not revisions: a revised fact may name itself."""
    result = engine().run_sync(notes("a", "b"))
    fact = result.context.find("facts-tags:all")
    assert fact is not None
    why = result.context.why(fact)

    assert fact is why.fact
    assert "facts-tags:all" == why.refs()[0]


class FactsLong(Payload, key="seeds"):
    text: str


def test_long_payloads_are_cut_short() -> None:
    context = Context()
    context.add(FactsLong(text="x" * 1000), id="a")

    assert f"facts-long:a  FactsLong(text='{'x' * 83}…  by input in cycle 0" == str(context.why("facts-long:a"))
