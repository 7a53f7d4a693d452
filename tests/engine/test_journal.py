"""Shows that what is recorded of a call comes back as it was, and that damage to it is an error and never an answer."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import BrokenEntry, Engine, propose, suggestor
from quiesce.engine.answer import Answer, Invocation, Lapse, Outcome, Refusal
from quiesce.engine.invoke import call_inline
from quiesce.engine.journal import Entry, write_entry
from quiesce.engine.suggestor import Suggestor, as_suggestor
from quiesce.facts import Context, Fact, FactLog, Payload
from quiesce.facts.stores import Address
from quiesce.facts.view import Moment
from quiesce.facts.view import View as FactView


class Ask(Payload, key="seeds", family="journal-ask"):
    n: int = 0


class Said(Payload, key="strategies", family="journal-said"):
    text: str
    parts: frozenset[str] = frozenset()


class Else(Payload, key="strategies", family="journal-else"):
    text: str = ""


class Homeless(Payload):
    """It has no family."""

    text: str = ""


TEXTS = st.text(max_size=5) | st.sampled_from(["", "\ud800", "\x00", "\u2028", '"', "\\"])
REFS = st.sampled_from(["journal-ask:a", "b:c", "\ud800"])
ANSWERS = st.lists(
    st.one_of(
        st.builds(lambda text, parts: Said(text=text, parts=parts), st.text(max_size=4), st.frozensets(st.text("ab"))),
        st.builds(
            lambda id, sure: propose(Said(text="x"), id=id, confidence=sure, tokens=3, cost=0.25),
            TEXTS,
            st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        ),
        st.builds(lambda ref: propose(Said(text="x"), because=[ref]), REFS),
        st.sampled_from([Else(), Homeless(), Homeless(text="\ud800")]),
    ),
    max_size=4,
)  # fmt: skip


def invocation_of(one: Suggestor) -> Invocation:
    context = Context()
    fact = context.add(Ask(), id="a")
    moment: Any = Moment("r", 0, None)  # type: ignore[arg-type]
    view = FactView(context._shelves, 1, one.name, one.read_names, {}, moment, fact.ref)
    return Invocation(one, 1, 0, view, fact, inputs="0" * 64)


def recorded(answers: list[Any], error: BaseException | None = None) -> tuple[Suggestor, Outcome, bytes]:
    @suggestor(writes=[Said], name="ask", version="1", pure=False)
    def ask(question: Fact[Ask]) -> Any:
        if error is not None:
            raise error
        return answers

    one = as_suggestor(ask)
    invocation = invocation_of(one)
    outcome = call_inline(invocation)
    return one, outcome, write_entry(invocation, outcome)


def parts(answer: Answer) -> tuple[Any, ...]:
    match answer:
        case Lapse(failure, because):
            return failure, because
        case Refusal():
            return tuple(getattr(answer, name) for name in Refusal.__slots__)
        case _:
            return answer._identity()


@given(ANSWERS)
def test_what_was_answered_comes_back_as_it_was(answers: list[Any]) -> None:
    one, outcome, raw = recorded(answers)
    entry = Entry.read(raw)
    found = entry.outcome(one, 1)

    assert [parts(answer) for answer in outcome.answers] == [parts(answer) for answer in found.answers]
    assert (outcome.failed, outcome.tokens, outcome.costs) == (found.failed, found.tokens, found.costs)
    assert ("ask", "1", 1, None) == (entry.suggestor, entry.version, entry.cycle, entry.until)


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError(), KeyError("\ud800")])
def test_a_failure_comes_back_as_it_was_in_the_cycle_in_which_it_is_used(error: Exception) -> None:
    one, outcome, raw = recorded([], error)
    found = Entry.read(raw).outcome(one, 4).answers[0]
    lapse = outcome.answers[0]

    assert isinstance(found, Lapse)
    assert isinstance(lapse, Lapse)
    assert (lapse.failure.model_copy(update={"cycle": 4}), lapse.because) == (found.failure, found.because)


@settings(max_examples=400)
@given(st.data())
def test_a_changed_byte_is_an_error_or_another_entry_and_never_another_payload(data: st.DataObject) -> None:
    """The log seals entries, so this is the second line of defence: a payload must match its digest."""
    one, outcome, raw = recorded([Said(text="hello"), Else()])
    at, byte = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 255))
    try:
        found = Entry.read(raw[:at] + bytes([byte]) + raw[at + 1 :]).outcome(one, 1)
    except BrokenEntry:
        return
    payloads = {answer.sha256 for answer in outcome.answers if isinstance(answer, (Fact, Refusal))}

    assert payloads >= {answer.sha256 for answer in found.answers if isinstance(answer, (Fact, Refusal))}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(JUNK, st.sampled_from(["v", "suggestor", "version", "inputs", "cycle", "until", "outcome"]))
def test_an_entry_with_a_part_of_another_kind_is_refused_or_harmless(junk: Any, part: str) -> None:
    one, _, raw = recorded([Said(text="hello")])
    data = {**json.loads(raw), part: junk}
    with suppress(BrokenEntry):
        found = Entry.read(json.dumps(data).encode()).outcome(one, 1)
        assert all(isinstance(answer, (Fact, Refusal, Lapse)) for answer in found.answers)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"v":2,"suggestor":"a"}'])
def test_what_is_no_entry_is_refused(raw: bytes) -> None:
    with pytest.raises(BrokenEntry):
        Entry.read(raw)


def test_an_answer_whose_family_is_no_longer_written_is_refused() -> None:
    _, _, raw = recorded([Said(text="hello")])

    @suggestor(writes=[Else], name="ask", version="1", pure=False)
    def ask(question: Fact[Ask]) -> Any:
        return None

    with pytest.raises(BrokenEntry, match="it proposed a Said, which it no longer writes"):
        Entry.read(raw).outcome(as_suggestor(ask), 1)


def test_damage_to_the_journal_is_told_when_a_run_is_gone_on_with() -> None:
    """It is never taken for an answer, and never asked for again unawares."""
    one, _, raw = recorded([Said(text="hello")])
    log = FactLog.open()
    engine = Engine([one])
    context = Context()
    context.add(Ask(), id="a")
    result = engine.run_sync(context, log=log, run_id="r")
    log.keep({Address("journal", "r", "ask/1/journal-ask:a"): raw.replace(b"hello", b"jello")})
    found = engine.rerun_sync(log, result)

    assert found.same or found.parting is not None
    log.keep({Address("journal", "r", "ask/1/journal-ask:a"): b"{"})
    with pytest.raises(BrokenEntry, match="what was recorded of a call of"):
        engine.rerun_sync(log, result)
