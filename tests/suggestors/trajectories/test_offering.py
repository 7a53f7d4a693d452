"""Shows that a run is offered the lessons of similar trajectories, the same in every replay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine, InvalidOption, Result
from quiesce.facts import FactLog, replay
from quiesce.suggestors.trajectories.learn import PROJECTIONS
from quiesce.suggestors.trajectories.offering import LessonOffering
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import LessonQuery, OfferedLesson
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

FIXED: dict[str, Any] = {"seed": 1, "started": datetime(2026, 1, 1, tzinfo=UTC)}


def remember(log: FactLog, embedding: Any, *lessons: str, good: bool = True, category: str | None = None) -> None:
    with TrajectoryRecorder(embedding, log=log, request_type=category) as recorder:
        recorder.add_step("work", "", StepOutcome.success(), 1)
        for lesson in lessons:
            recorder.add_lesson(lesson)
        recorder.complete(Verdict.success() if good else Verdict.failure(RootCause.unknown("boom")))


def ask(log: FactLog, *queries: LessonQuery, engine: Engine | None = None, run: str = "asked") -> Result:
    context = log.context()
    for number, query in enumerate(queries):
        context.add(query, id=f"q{number}")
    return (engine or Engine([LessonOffering()])).run_sync(context, log=log, run_id=run, **FIXED)


def offered(result: Result) -> list[tuple[str, str, float]]:
    return [(fact.id, fact.payload.text, fact.confidence) for fact in result.context.of(OfferedLesson).values()]


@pytest.fixture
def log() -> FactLog:
    log = FactLog.open(projections=PROJECTIONS)
    remember(log, [1, 0], "use the old names", "ask for the year")
    remember(log, [0.98, 0.2], "Use the  old names", "the index is slow on Mondays", good=False)
    remember(log, [0, 1], "speak Dutch")
    return log


def test_lessons_of_similar_trajectories_are_offered_with_their_similarity(log: FactLog) -> None:
    result = ask(log, LessonQuery(embedding=(1.0, 0.0)))
    first = result.context.of(OfferedLesson)["q0/0"].payload

    assert [
        ("q0/0", "use the old names", 1.0), ("q0/1", "ask for the year", 1.0),
        ("q0/2", "the index is slow on Mondays", pytest.approx(0.9798, abs=1e-4)),
    ] == offered(result)  # fmt: skip
    assert (2, "success", 1.0, 1.0) == (first.seen, first.verdict, first.quality, first.similarity)
    assert "failure" == result.context.of(OfferedLesson)["q0/2"].payload.verdict


def test_an_offer_says_why(log: FactLog) -> None:
    """It rests on the query and on the books that have the lesson, which say up to where the ledger is in them."""
    result = ask(log, LessonQuery(embedding=(1.0, 0.0)))
    because = result.context.of(OfferedLesson)["q0/1"].because

    assert "lesson-query:q0" == because[0]
    assert all(ref.startswith("lesson-book:2-") for ref in because[1:])
    assert result.context.find(because[1]).by.startswith("projection lesson_books@")  # type: ignore[union-attr]  # it is there


def test_a_run_is_offered_the_same_whenever_it_is_replayed(log: FactLog) -> None:
    """What the suggestor keeps in itself is a cache: another object, another engine, a rerun give the same."""
    engine = Engine([LessonOffering()])
    result = ask(log, LessonQuery(embedding=(1.0, 0.0)), engine=engine)
    remember(log, [1, 0], "learned later")
    later = ask(log, LessonQuery(embedding=(1.0, 0.0)), engine=engine, run="later")

    assert "learned later" in [text for _, text, _ in offered(later)]
    assert replay(log, "asked") == result.context
    assert engine.rerun_sync(log, "asked").same
    assert Engine([LessonOffering()]).rerun_sync(log, "later").same


def test_categories_and_dimensions_are_kept_apart(log: FactLog) -> None:
    remember(log, [1, 0], "chat only", category="chat")
    remember(log, [1, 0, 0], "another model")
    two, three = LessonQuery(embedding=(1.0, 0.0), category="chat"), LessonQuery(embedding=(1.0, 0.0, 0.0))
    result = ask(log, two, three, LessonQuery(embedding=(1.0, 0.0, 0.0, 0.0)))

    assert [("q0/0", "chat only"), ("q1/0", "another model")] == [(id, text) for id, text, _ in offered(result)]


def test_what_is_not_similar_enough_is_not_offered(log: FactLog) -> None:
    assert [] == offered(ask(log, LessonQuery(embedding=(-1.0, 0.0))))


def test_an_engine_that_has_learned_nothing_offers_nothing() -> None:
    assert [] == offered(ask(FactLog.open(projections=PROJECTIONS), LessonQuery(embedding=(1.0, 0.0))))


def test_the_options_bound_what_is_offered(log: FactLog) -> None:
    engine = Engine([LessonOffering(k=1, most=1, at_least=0)])

    assert ["use the old names"] == [
        text for _, text, _ in offered(ask(log, LessonQuery(embedding=(1.0, 0.0)), engine=engine))
    ]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("k", 0),
        ("k", 1.5),
        ("most", -1),
        ("most", True),
        ("at_least", -0.1),
        ("at_least", 2),
        ("at_least", float("nan")),
    ],
)
def test_an_option_outside_its_range_is_refused_with_the_range(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"{option}=.* is not a (number from 0 to 1|whole number from 1)"):
        LessonOffering(**{option: value})


@pytest.mark.slow
@given(raw=st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b'{"embedding":[NaN,1]}', b'{"embedding":[0,0]}', b'{"embedding":[]}', b'{"embedding":"x"}',
                     b'{"embedding":[1e999,1]}', b'{"embedding":[1,0],"category":3}', b'{"embedding":[1,0]}']),
))  # fmt: skip
def test_a_query_of_any_bytes_stops_no_run(raw: bytes) -> None:
    log = FactLog.open(projections=PROJECTIONS)
    remember(log, [1, 0], "x")
    context = log.context()
    fact = context.admit("lesson-query", "q", raw)
    result = Engine([LessonOffering()]).run_sync(context, log=log).unwrap()

    assert (fact.family == "lesson-query") == (len(result.context.of(OfferedLesson)) == 1)


def test_threads_that_share_it_are_each_offered_what_their_run_knows(log: FactLog) -> None:
    """Two runs with other books fill the cache at the same moment: none may be handed the other's memory."""
    other = FactLog.open(projections=PROJECTIONS)
    remember(other, [1, 0], "mind the gap")
    meet = Barrier(2, timeout=20)

    class Slow(LessonOffering):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "_cache" and value is not None:
                meet.wait()  # both have put theirs there, and one stands

    shared, query = Engine([Slow()]), LessonQuery(embedding=(1.0, 0.0))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(ask, one, query, engine=shared) for one in (log, other)]
        ours, theirs = (offered(run.result()) for run in runs)

    assert "use the old names" == ours[0][1]
    assert ["mind the gap"] == [text for _, text, _ in theirs]
