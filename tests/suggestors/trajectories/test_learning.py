"""Shows what is learned from a ledger of trajectories: failures that recur, what helped, how runs end; and analyses."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, propose, suggestor
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context, FactLog, Payload, View
from quiesce.suggestors.trajectories.analysis import Factor, analyse, analyse_in, wilson
from quiesce.suggestors.trajectories.distil import pattern_of
from quiesce.suggestors.trajectories.failures import failures_of, signature_of
from quiesce.suggestors.trajectories.identity import uuid_of
from quiesce.suggestors.trajectories.journal import fact_of
from quiesce.suggestors.trajectories.learn import (
    FAILURES,
    LETTERS,
    PAGES,
    PROJECTIONS,
    REMEDIES,
    SLOTS,
    add_to,
    failure_patterns,
    known_failures,
    lesson_books,
    name_of_book,
    verdict_tallies,
)
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import Remedy, StepFailure, Trajectory, TrajectoryMetadata, TrajectoryStep
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.recording import record_trajectory
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
DONE = StepOutcome.success()
FAILED = Verdict.failure(RootCause.tool_failure("search", "timeout"))


def trajectory(*steps: tuple[str, StepOutcome], verdict: Verdict | None = None, **more: Any) -> Trajectory:
    made = tuple(
        TrajectoryStep.model_validate({
            "index": place, "action": action, "rationale": "", "outcome": outcome, "confidence": 1, "timestamp": AT,
        })
        for place, (action, outcome) in enumerate(steps)
    )  # fmt: skip
    begun = Trajectory.model_validate({**dict(Trajectory.begin(started=AT)), "steps": made, **more})
    return begun.complete(verdict if verdict is not None else Verdict.success(), at=AT, latency_ms=1)


def lost(error: str = "timeout") -> StepOutcome:
    return StepOutcome.failure(error)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeout after 30 s", "Timeout  after 7 s"),
        ("no file '/tmp/a1'", 'no file "/var/b"'),
        ("object at 0x7f3a", "object at 0x1"),
        ("id 01a1fee4-17a7-7347-94eb-dab69034f325 is gone", "id 02b1fee4-17a7-7347-94eb-dab69034f325 is gone"),
    ],
)
def test_the_same_failure_has_the_same_signature_whatever_its_particulars(one: str, other: str) -> None:
    """I.15: the text of the error was not used."""
    assert signature_of("search", one) == signature_of("search", other)
    assert signature_of("search", one) != signature_of("read", one)
    assert signature_of("search", one) != signature_of("search", "refused")


@given(action=st.text(max_size=2_000), error=st.text(max_size=3_000))
def test_a_signature_can_always_name_a_fact(action: str, error: str) -> None:
    from quiesce.facts.fact import check_id

    check_id("failure-pattern", signature_of(action, error))


def test_a_failure_tells_what_was_done_next_and_whether_it_worked() -> None:
    steps = [("search", lost()), ("cache", DONE), ("read", StepOutcome.needs_retry("busy")), ("read", lost())]
    found = failures_of(trajectory(*steps))

    assert [("search", "cache", True), ("read", "read", False), ("read", None, False)] == [
        (one.action, one.remedy, one.worked) for one in found
    ]
    assert not failures_of(trajectory(*steps, verdict=FAILED))[0].worked  # in the end it came to nothing
    assert {"tool_failure"} == {one.cause for one in failures_of(trajectory(*steps, verdict=FAILED))}


def test_a_trajectory_that_failed_without_a_failed_step_has_its_verdict_for_a_failure() -> None:
    (found,) = failures_of(trajectory(("search", DONE), verdict=FAILED))

    assert (None, "search", "tool 'search' failed: timeout") == (found.step, found.action, found.error)
    assert () == failures_of(trajectory(("search", DONE)))


# --- counting ---------------------------------------------------------------------------------------------------------


def test_failures_and_what_helped_against_them_are_counted_in_the_ledger() -> None:
    """I.3: counters that nobody ever increments, a fixed list of patterns."""
    log = FactLog.open(projections=PROJECTIONS)
    for number in range(5):
        worked = number < 4
        after = ("cache", DONE if worked else lost("empty"))
        done = trajectory(("search", lost(f"timeout after {number} s")), after, verdict=None if worked else FAILED)
        record_trajectory(log, done)
    pattern = known_failures(log.values(failure_patterns))["search: timeout after # s"]

    assert (5, {"tool_failure": 1}) == (pattern.seen, pattern.causes)
    assert (Remedy(action="cache", tried=5, worked=4),) == pattern.remedies
    assert {"success": 4, "failure": 1} == {kind: one.count for kind, one in log.values(verdict_tallies).items()}
    assert 0.5 == log.values(verdict_tallies)["success"].mean_quality


def test_a_pattern_lists_the_most_used_remedies_and_counts_the_others() -> None:
    log = FactLog.open(projections=[failure_patterns])
    for number in range(REMEDIES + 3):
        record_trajectory(log, trajectory(("search", lost()), (f"remedy {number:02}", DONE)))
    pattern = known_failures(log.values(failure_patterns))["search: timeout"]

    assert (REMEDIES + 3, REMEDIES) == (pattern.seen, len(pattern.remedies))
    assert pattern.seen == sum(one.tried for one in pattern.remedies) + pattern.forgotten


WORKER = """
import sys
from datetime import UTC, datetime
from quiesce.facts import FactLog
from quiesce.suggestors.trajectories.learn import PROJECTIONS
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.verdict import Verdict

with FactLog.open(sys.argv[1], projections=PROJECTIONS) as log:
    for number in range(12):
        with TrajectoryRecorder([1.0, 0.25 * (number % 3)], log=log) as recorder:
            recorder.add_step("search", "", StepOutcome.failure(f"timeout {number}"), 1)
            recorder.add_step("cache", "", StepOutcome.success(), 1)
            recorder.add_lesson(f"worker {sys.argv[2]} learned {number % 2}")
            recorder.complete(Verdict.success())
"""


@pytest.mark.slow
def test_four_processes_on_one_log_learn_the_same_as_one(tmp_path: Path) -> None:
    place = tmp_path / "log.db"
    FactLog.open(place, projections=PROJECTIONS).close()
    children = [subprocess.Popen([sys.executable, "-c", WORKER, str(place), str(number)]) for number in range(4)]
    assert [0] * 4 == [child.wait() for child in children]
    with FactLog.open(place, projections=PROJECTIONS) as log:
        pattern = known_failures(log.values(failure_patterns))["search: timeout #"]

        assert (48, (Remedy(action="cache", tried=48, worked=48),)) == (pattern.seen, pattern.remedies)
        assert 48 == log.values(verdict_tallies)["success"].count
        texts = {lesson.text: lesson.seen for book in log.values(lesson_books).values() for one in book.patterns
                 for lesson in one.lessons}  # fmt: skip
        assert {f"worker {worker} learned {number}" for worker in range(4) for number in range(2)} == set(texts)
        assert all(check.ok for check in log.check_projections())


class Errand(Payload, key="seeds", family="learning-errand"):
    n: int


@suggestor(reads=[Errand], writes=[Trajectory, StepFailure])
def run_errand(view: View) -> Any:
    clock = FakeClock(view.now)
    for errand in view.new(Errand):
        uuid = uuid_of(view.now, f"{view.invocation}/{errand.id}")
        with TrajectoryRecorder([1, errand.payload.n], uuid=uuid, clock=clock) as recorder:
            recorder.add_step("search", "", lost(f"timeout {errand.payload.n}"), 1)
            recorder.add_step("cache", "", DONE, 1)
            recorder.add_lesson("ask the cache")
            done = recorder.complete(Verdict.success())
        yield propose(done, id=str(done.uuid), because=[errand])
        for place, failure in enumerate(failures_of(done)):
            yield propose(failure, id=f"{done.uuid}/{place}", because=[errand])


def test_a_suggestor_that_records_what_it_does_replays_and_is_learned_from() -> None:
    logs = [FactLog.open(projections=PROJECTIONS) for _ in range(2)]
    for log in logs:
        context = Context()
        for number in range(1, 4):
            context.add(Errand(n=number), id=f"e{number}")
        Engine([run_errand]).run_sync(context, log=log, run_id="r", seed=1, started=AT).unwrap()

    assert logs[0].to_bytes("r") == logs[1].to_bytes("r")
    assert Engine([run_errand]).rerun_sync(logs[0], "r").same
    assert 3 == logs[0].values(verdict_tallies)["success"].count
    assert (Remedy(action="cache", tried=3, worked=3),) == (
        known_failures(logs[0].values(failure_patterns))["search: timeout #"].remedies
    )
    assert 3 == sum(one.weight for book in logs[0].values(lesson_books).values() for one in book.patterns)


VECTORS = st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(any)
LESSONS = st.lists(st.sampled_from([f"lesson {n}" for n in range(30)]), max_size=3, unique=True)


@pytest.mark.slow
@given(past=st.lists(st.tuples(VECTORS, LESSONS, st.booleans()), max_size=60))
@settings(max_examples=40)
def test_books_are_bounded_and_no_lesson_is_lost_in_them(past: list[tuple[list[float], list[str], bool]]) -> None:
    """I.6: distillation that drops what it does not keep. A fold from scratch gives the same books."""
    log = FactLog.open(projections=[lesson_books])
    for embedding, lessons, good in past:
        done = trajectory(query_embedding=embedding, lessons=lessons, verdict=None if good else FAILED)
        record_trajectory(log, done)
    books = log.values(lesson_books)
    kept = {lesson.text: lesson.seen for book in books.values() for one in book.patterns for lesson in one.lessons}
    counted = sum(lesson.seen for book in books.values() for one in book.patterns for lesson in one.lessons)

    assert {text for _, lessons, _ in past for text in lessons} == set(kept)
    assert sum(len(lessons) for _, lessons, _ in past) == counted
    assert sum(bool(lessons) for _, lessons, _ in past) == sum(p.weight for b in books.values() for p in b.patterns)
    assert all(len(book.patterns) <= PAGES for book in books.values())
    assert len(books) <= 16
    assert all(check.ok for check in log.check_projections())


def test_a_full_book_merges_the_most_alike_of_one_kind_of_verdict_first() -> None:
    kinds = [None, FAILED, None, FAILED, None]
    rows = [(1.0, 0.0, 0.0), (0.9, 0.44, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.8, 0.6, 0.0)]
    patterns: list[Any] = []
    for place, (row, verdict) in enumerate(zip(rows, kinds, strict=True)):
        done = trajectory(query_embedding=row, lessons=[f"lesson {place}"], verdict=verdict)
        add_to(patterns, pattern_of(done), 4)

    assert [["lesson 0", "lesson 4"], ["lesson 1"], ["lesson 2"], ["lesson 3"]] == [
        [lesson.text for lesson in one.lessons] for one in patterns
    ]
    for place in range(20):  # whatever comes, and whatever has to be merged
        row = (float(place % 3), 1.0, -float(place))
        add_to(patterns, pattern_of(trajectory(query_embedding=row, lessons=[f"more {place}"])), 2)
    assert 2 >= len(patterns)
    assert {f"lesson {n}" for n in range(5)} | {f"more {n}" for n in range(20)} == {
        lesson.text for one in patterns for lesson in one.lessons
    }
    assert 25 == sum(one.weight for one in patterns)


@given(embedding=VECTORS, factor=st.floats(0.01, 100))
def test_a_book_is_named_by_direction_alone(embedding: list[float], factor: float) -> None:
    first = name_of_book(tuple(embedding))

    assert first == name_of_book(tuple(value * 2.0 for value in embedding))
    assert first.startswith("3-")
    assert {"+", "-"} >= set(first.partition("-")[2])


def test_an_empty_log_knows_nothing() -> None:
    log = FactLog.open(projections=PROJECTIONS)

    assert 0 == len(log.context())


HOSTILE = st.one_of(
    st.binary(max_size=40),
    st.fixed_dictionaries({
        "trajectory": st.just(str(UUID(int=1))), "action": st.text(max_size=600), "error": st.text(max_size=5_000),
        "cause": st.sampled_from(["", "unknown", "bad luck"]),
        "signature": st.sampled_from(["", " ", "x" * 600, "\x00"]),
    }, optional={"remedy": st.text(max_size=600), "worked": st.booleans(), "step": st.integers()}).map(
        lambda said: json.dumps(said).encode()
    ),
)  # fmt: skip


@given(said=st.lists(HOSTILE, max_size=6))
@settings(max_examples=60)
def test_failures_that_anybody_may_say_keep_no_projection_from_going_on(said: list[bytes]) -> None:
    """A signature that is no id, a text without end: values are named by what is computed, not by what is said."""
    log = FactLog.open(projections=PROJECTIONS)
    context = Context()
    for number, raw in enumerate(said):
        context.admit("step-failure", str(number), raw)
    facts = len(context.of(StepFailure))
    Engine([]).run_sync(context, log=log)

    assert facts == sum(one.seen for one in known_failures(log.values(failure_patterns)).values())
    assert len(log.context()) <= SLOTS


def test_failures_without_end_fill_a_few_books_in_which_the_frequent_ones_stay() -> None:
    """What a run begins with is bounded, however many kinds of errors there are."""
    value: dict[str, Any] = {}
    words = ["".join(letters) for letters in product("ghjklmnp", repeat=4)][:3_000]
    for place, word in enumerate(words):
        for error in (word, "it is often this") if place % 10 == 0 else (word,):
            said = StepFailure(trajectory=UUID(int=1), action="search", error=error, cause="", signature="x")
            fact = fact_of(said, "x", 0)
            (slot,) = failure_patterns.ids_of(fact)
            value[slot] = failure_patterns(value.get(slot), fact)
    known = known_failures(value)

    assert len(value) <= SLOTS
    assert all(len(book.patterns) <= FAILURES for book in value.values())
    assert 300 == known["search: it is often this"].seen
    assert 3_300 == sum(one.seen for one in known.values()) + sum(book.forgotten for book in value.values())


@pytest.mark.slow
def test_a_book_of_more_than_a_million_characters_keeps_what_was_learned_most_often() -> None:
    value = None
    for number in range(400):
        lessons = [f"{number} {'x' * 3_000}", "learned again and again"]
        done = trajectory(query_embedding=[1, number / 400], lessons=lessons)
        value = lesson_books(value, fact_of(done, "x", 0))
    assert value is not None
    kept = [lesson for one in value.patterns for lesson in one.lessons]

    assert sum(len(one.text) for one in kept) <= LETTERS
    assert 400 == sum(one.seen for one in kept if one.text == "learned again and again")
    assert 400 == value.forgotten + sum(one.text != "learned again and again" for one in kept)


# --- analysing --------------------------------------------------------------------------------------------------------


def test_an_analysis_says_what_contributed_what_was_seen_before_and_what_helped() -> None:
    log = FactLog.open(projections=PROJECTIONS)
    for number in range(4):
        remedy = ("cache", DONE) if number < 3 else ("search", DONE)
        record_trajectory(log, trajectory(("search", lost(f"timeout {number}")), remedy))
    metadata = TrajectoryMetadata(request_type="lookup")
    steps = [
        ("plan", StepOutcome.partial("half", "the end")),
        ("search", lost("timeout 99")),
        ("rank", StepOutcome.skipped("no hits")),
    ]
    bad = trajectory(*steps, verdict=FAILED, metadata=metadata, lessons=["ask twice"])
    found = analyse_in(log, bad)

    assert "lookup" == found.category
    assert Factor("root_cause", None, "tool 'search' failed: timeout", 1.0) == found.factors[0]
    assert [("failed_step", 1), ("skipped_step", 2), ("partial_step", 0)] == [
        (one.kind, one.step) for one in found.factors[1:]
    ]
    assert [("search: timeout #", 4, 1.0)] == [
        (one.failure.signature, one.seen, one.frequency) for one in found.patterns
    ]
    assert [("cache", 3, 3), ("search", 1, 1)] == [
        (one.remedy.action, one.remedy.worked, one.remedy.tried) for one in found.strategies
    ]
    assert ("ask twice", "'search: timeout #' was seen 4 times") == found.lessons[:2]
    assert "against 'search: timeout #', 'cache' worked 3 of 3 times" in found.lessons


def test_what_never_worked_is_no_strategy() -> None:
    log = FactLog.open(projections=PROJECTIONS)
    bad = trajectory(("search", lost()), ("pray", DONE), verdict=FAILED)
    record_trajectory(log, bad)

    assert ((), 1) == (analyse_in(log, bad).strategies, analyse_in(log, bad).patterns[0].seen)


def test_an_analysis_changes_nothing_and_is_the_same_every_time() -> None:
    log = FactLog.open(projections=PROJECTIONS)
    bad = trajectory(("search", lost()), verdict=FAILED)
    record_trajectory(log, bad)
    before = log.values(failure_patterns)

    assert analyse_in(log, bad) == analyse_in(log, bad)
    assert dict(before) == dict(log.values(failure_patterns))
    assert analyse(bad, {}).patterns[0].seen == 0


def test_low_confidence_contributes_as_much_quality_as_it_costs() -> None:
    steps = [("search", DONE), ("read", DONE)]
    whole = trajectory(*steps)
    unsure = whole.steps[1].model_copy(update={"confidence": 0.25})
    found = trajectory(*steps).model_copy(update={"steps": (whole.steps[0], unsure)})

    assert (Factor("low_confidence", 1, "read: confidence 0.25", 0.375),) == analyse(found, {}).factors


def test_a_strategy_that_worked_once_is_not_surer_than_one_that_worked_forty_times_of_fifty() -> None:
    assert wilson(40, 50) > wilson(1, 1)
    assert 0.0 == wilson(0, 0)
    assert [0.0, pytest.approx(0.2065, abs=1e-4), pytest.approx(0.6696, abs=1e-4)] == [
        wilson(0, 10), wilson(1, 1), wilson(40, 50),
    ]  # fmt: skip


def test_what_is_learned_replays_and_is_rebuilt_the_same() -> None:
    log = FactLog.open(projections=PROJECTIONS)
    for number in range(6):
        record_trajectory(
            log, trajectory(("search", lost()), ("cache", DONE), query_embedding=[1, number / 5], lessons=["x"])
        )
    before: list[Any] = [dict(log.values(one.name)) for one in PROJECTIONS]
    log.rebuild()

    assert before == [dict(log.values(one.name)) for one in PROJECTIONS]
    context = log.context()
    assert {"failure-book", "verdict-tally", "lesson-book"} == set(context.families)
