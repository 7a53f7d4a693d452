"""Shows that a suggestor with a memo is not asked twice for the same, in whatever run, and is asked for what is new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Converged, Engine, InvalidOption, Suggestor, propose, suggestor
from quiesce.engine.testing import FakeClock
from quiesce.facts import All, Context, Fact, FactLog, Payload, View


class Question(Payload, key="seeds", family="memo-question"):
    text: str


class Hint(Payload, key="constraints", family="memo-hint"):
    text: str


class Answer(Payload, key="strategies", family="memo-answer"):
    text: str


def questions(*texts: str, hints: tuple[str, ...] = ()) -> Context:
    context = Context()
    for place, text in enumerate(texts):
        context.add(Question(text=text), id=str(place))
    for text in hints:
        context.add(Hint(text=text), id=text)
    return context


class Oracle:
    """A suggestor with a memo, and how often it was asked."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[str] = []

        @suggestor(writes=[Answer], **{"memo": True, "version": "1", **options})
        def told(question: Fact[Question]) -> Any:
            self.asked.append(question.payload.text)
            return propose(Answer(text=question.payload.text.upper()), id=question.id, tokens=5, cost=0.1)

        self.suggestor: Suggestor = told


LOGS = pytest.mark.parametrize("name", [":memory:", "memo.db"])


@LOGS
def test_the_same_question_is_asked_once_in_all_runs_of_a_log(name: str, tmp_path: Path) -> None:
    oracle = Oracle()
    engine = Engine([oracle.suggestor])
    log = FactLog.open(name if name == ":memory:" else tmp_path / name)
    first = engine.run_sync(questions("a", "b"), log=log)
    second = engine.run_sync(questions("a", "b", "c"), log=log)

    assert ["a", "b", "c"] == oracle.asked
    assert ["A", "B", "C"] == [fact.payload.text for fact in second.context.of(Answer).values()]
    assert [("memo-question:0",), ("memo-question:1",)] == [fact.because for fact in first.context.of(Answer).values()]
    assert {"told": 2} == [logged.beside for logged in log.events(second.run_id)][2]["reused"]


def test_what_is_reused_costs_nothing() -> None:
    """Tokens and cost are those of the run that paid."""
    engine = Engine([Oracle().suggestor])
    log = FactLog.open()
    first = engine.run_sync(questions("a"), log=log)
    second = engine.run_sync(questions("a"), log=log)

    assert [(5, 0.1), (0, 0.0)] == [(run.context.trail.tokens, run.context.trail.cost) for run in (first, second)]


@pytest.mark.parametrize(
    ("text", "id", "confidence", "asked"),
    [("a", "0", 1.0, 1), ("b", "0", 1.0, 2), ("a", "1", 1.0, 2), ("a", "0", 0.5, 2)],
)
def test_what_counts_as_the_same_question(text: str, id: str, confidence: float, asked: int) -> None:
    """The fact's ref, payload and confidence; not its cycle, nor what it rests on."""
    oracle = Oracle()
    engine = Engine([oracle.suggestor])
    log = FactLog.open()
    engine.run_sync(questions("a"), log=log)
    again = Context()
    again.add(Question(text=text), id=id, confidence=confidence)
    engine.run_sync(again, log=log)

    assert asked == len(oracle.asked)


def test_another_version_is_asked_anew() -> None:
    old, new = Oracle(version="1"), Oracle(version="2")
    log = FactLog.open()
    Engine([old.suggestor]).run_sync(questions("a"), log=log)
    Engine([new.suggestor]).run_sync(questions("a"), log=log)

    assert ["a"] == new.asked


async def test_an_answer_is_used_until_it_is_too_old() -> None:
    oracle = Oracle(memo=timedelta(hours=1))
    clock = FakeClock()
    engine = Engine([oracle.suggestor], clock=clock)
    log = FactLog.open()
    asked = []
    for seconds in (0, 3599, 1, 3599, 1):
        await clock.advance(seconds)
        await engine.run(questions("a"), log=log)
        asked.append(len(oracle.asked))

    assert [1, 1, 2, 2, 3] == asked


def test_background_is_part_of_the_question() -> None:
    """`All[…]` is looked at: another hint makes another question; the order in which hints were said, too."""
    asked: list[str] = []

    @suggestor(memo=True)
    def answer(question: Fact[Question], hints: All[Hint]) -> Answer:
        asked.append(question.id)
        return Answer(text=" ".join(hint.payload.text for hint in hints))

    engine = Engine([answer])
    log = FactLog.open()
    for hints in [("x",), ("x",), ("x", "y"), ("y", "x")]:
        engine.run_sync(questions("a", hints=hints), log=log)

    assert 3 == len(asked)


def test_what_is_new_is_part_of_what_a_view_shows() -> None:
    asked: list[int] = []

    @suggestor(reads=[Question], writes=[Answer], memo=True)
    def answer(view: View) -> Any:
        asked.append(len(view.new(Question)))
        return [propose(Answer(text=one.payload.text), id=one.id, because=[one]) for one in view.new(Question)]

    engine = Engine([answer])
    log = FactLog.open()
    engine.run_sync(questions("a", "b"), log=log)
    first = engine.run_sync(questions("a"), log=log)
    more = first.context.copy()
    more.add(Question(text="b"), id="1")
    second = engine.run_sync(more, log=log)
    engine.run_sync(questions("a", "b"), log=log)

    assert [2, 1, 1] == asked
    assert ["a", "b"] == [fact.payload.text for fact in second.context.of(Answer).values()]


@pytest.mark.parametrize("look", ["now", "rng", "invocation"])
def test_what_depends_on_the_run_is_not_reused(look: str) -> None:
    """Its time, its chance and its key are those of one run: an answer made of them is no answer to the question."""
    asked: list[str] = []

    @suggestor(reads=[Question], writes=[Answer], memo=True)
    def answer(view: View) -> Any:
        asked.append(str(getattr(view, look)))
        return [Answer(text=fact.payload.text) for fact in view.new(Question)]

    engine = Engine([answer])
    log = FactLog.open()
    for _ in range(2):
        engine.run_sync(questions("a"), log=log)

    assert 2 == len(asked)


def test_a_failure_is_not_remembered() -> None:
    asked: list[str] = []

    @suggestor(memo=True)
    def answer(question: Fact[Question]) -> Answer:
        asked.append(question.id)
        raise ValueError("not now")

    log = FactLog.open()
    for _ in range(2):
        Engine([answer]).run_sync(questions("a"), log=log)

    assert 2 == len(asked)


async def test_attempts_and_their_views_do_not_hide_that_an_answer_depends_on_the_run() -> None:
    asked: list[str] = []

    @suggestor(reads=[Question], writes=[Answer], memo=True, retries=2, backoff=0)
    async def answer(view: View) -> Any:
        asked.append(view.invocation)
        if len(asked) % 2:
            raise ValueError("once more")
        return Answer(text="a")

    log = FactLog.open()
    for _ in range(2):
        await Engine([answer]).run(questions("a"), log=log)

    assert 4 == len(asked)


def test_a_run_with_a_memo_leaves_the_log_of_one_without() -> None:
    """Where nothing is paid for: S1 holds whatever is remembered."""

    @suggestor(memo=True)
    def answer(question: Fact[Question]) -> list[Answer]:
        return [Answer(text=question.payload.text), Answer(text="both")]

    fixed: dict[str, Any] = {"seed": 1, "started": datetime(2026, 1, 1, tzinfo=UTC)}
    log = FactLog.open()
    Engine([answer]).run_sync(questions("a", "b"), log=log, run_id="first", **fixed)
    warm = Engine([answer]).run_sync(questions("a", "b"), log=log, run_id="second", **fixed)
    cold = Engine([answer]).run_sync(questions("a", "b"), run_id="second", **fixed)

    assert cold.log.to_bytes("second") == warm.log.to_bytes("second")


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=6))
def test_whatever_is_asked_in_whatever_run_the_answers_are_right(runs: list[list[str]]) -> None:
    oracle = Oracle()
    log = FactLog.open()
    distinct = set()
    for texts in runs:
        result = Engine([oracle.suggestor]).run_sync(questions(*texts), log=log)
        distinct |= set(enumerate(texts))

        assert [text.upper() for text in texts] == [fact.payload.text for fact in result.context.of(Answer).values()]
        assert isinstance(result.stop, Converged)
    assert len(distinct) == len(oracle.asked)


@pytest.mark.parametrize("memo", [0, -1, float("nan"), "yes", None, timedelta(0), timedelta(seconds=-1)])
def test_a_memo_is_for_good_or_for_a_time(memo: Any) -> None:
    with pytest.raises(InvalidOption, match="positive number of seconds or a positive timedelta"):
        suggestor(memo=memo)(lambda question: None)
