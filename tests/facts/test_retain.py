"""Holds retention to its promise: what is old goes as a whole, and everything that stays can still be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, Gate, suggestor
from quiesce.facts import (
    Context,
    Fact,
    FactLog,
    Fenced,
    LogError,
    Payload,
    RunId,
    projection,
    replay,
    verify,
)
from quiesce.facts.event import CycleCommitted, RunStarted, RunStopped
from quiesce.facts.forget import OWNED
from quiesce.facts.stores import Address, Batch
from support.histories import STORES, note_at, reads_of
from support.payloads import note_fact, started
from support.refusing import Refusing

NOW = datetime.now(UTC)


class Seed(Payload, key="seeds", family="retain-seed"):
    n: int


class Leaf(Payload, key="strategies", family="retain-leaf"):
    n: int


@suggestor
def grow(seed: Fact[Seed]) -> Leaf:
    return Leaf(n=seed.payload.n)


def run(log: FactLog, name: str, days: float = 0, base: Context | None = None, gated: bool = False) -> Context:
    """Writes a run that began so many days ago, on nothing or on what another knew."""
    context = base.copy() if base is not None else Context()
    context.add(Seed(n=len(log.runs())))
    engine = Engine([grow], gates=[Gate("all", [Leaf])] if gated else [])
    return engine.run_sync(context, log=log, run_id=name, seed=1, started=NOW - timedelta(days=days)).context


# --- properties -------------------------------------------------------------------------------------------------------

HISTORY = st.lists(
    st.tuples(st.integers(0, 100), st.none() | st.integers(0, 7), st.sampled_from("fffpuc")), min_size=1, max_size=8
)


def write(log: FactLog, history: list[tuple[int, int | None, str]]) -> None:
    """Writes runs of some age; some go on from one before, wait for approval, are unfinished or compacted."""
    for place, (days, base, kind) in enumerate(history):
        name = f"r{place}"
        known = replay(log, f"r{base % place}") if base is not None and place else None
        if kind == "u":
            at = (NOW - timedelta(days=days)).isoformat()
            log.append(RunId(name), [RunStarted(at, 1, (), {}), CycleCommitted(0, (), [note_fact("a")])])
        else:
            run(log, name, days, known, gated=kind == "p")
        if kind == "c":
            log.compact(name)


@pytest.mark.parametrize("store", STORES)
@settings(max_examples=12)
@given(
    history=HISTORY,
    age=st.none() | st.integers(0, 100),
    count=st.none() | st.integers(0, 5),
)
def test_every_kept_run_reads_as_before(
    store: str, history: list[tuple[int, int | None, str]], age: int | None, count: int | None
) -> None:
    """And what goes is old or too many, has ended, and nobody rests on it; a dry run says it before."""
    with TemporaryDirectory() as place, FactLog(STORES[store](Path(place))) as log:
        write(log, history)
        options: dict[str, Any] = {"age": None if age is None else timedelta(days=age), "count": count}
        if age is None and count is None:
            options["count"] = 1
        names = log.runs()
        reads = {name: _read(log, name) for name in names}
        sizes = {name: _size(log, name) for name in names}
        planned = log.retain(dry_run=True, **options)
        assert names == log.runs()
        done = log.retain(**options)
        gone = [one.run for one in done.runs]

        assert replace(planned, dry_run=False) == done
        assert [name for name in names if name not in gone] == log.runs()
        assert len(log.runs()) == done.kept
        assert {name: reads[name] for name in log.runs()} == {name: _read(log, name) for name in log.runs()}
        assert {one.run: one.bytes for one in done.runs} == {name: sizes[name] for name in gone}
        assert [] == [address for space in OWNED for address, _ in log.notes(space) if address.owner in gone]
        for name in gone:
            index = int(name[1:])
            days, _, kind = history[index]
            assert kind in "fc"
            newer = [other for other in names if other > name and history[int(other[1:])][2] in "fc"]
            old = options["age"] is not None and days >= options["age"].days
            assert old or (options["count"] is not None and len(newer) >= options["count"])


def _read(log: FactLog, name: str) -> Any:
    context, found = replay(log, name), verify(log, name)
    return list(context), found, log.started(name), log.stopped(name)


def _size(log: FactLog, name: str) -> int:
    log.flush()
    notes = [note for space in OWNED for _, note in log.store.notes(space, name)]
    return log.store.size(RunId(name)) + sum(len(note.value) for note in notes)


# --- examples ---------------------------------------------------------------------------------------------------------


def test_old_runs_go_and_the_report_says_why() -> None:
    log = FactLog.open()
    for name, days in (("old", 91), ("young", 89)):
        run(log, name, days)
    ticks: list[int] = []
    done = log.retain(age=timedelta(days=90), progress=ticks.append)

    assert (["young"], [1, 2]) == (log.runs(), ticks)
    began = (NOW - timedelta(days=91)).isoformat(timespec="seconds")
    assert [("old", f"began at {began}")] == [(one.run, one.why) for one in done.runs]
    assert [
        f"dropped  old  began at {began}", f"1 run dropped: {done.bytes:,} bytes; 1 kept",
    ] == str(done).splitlines()  # fmt: skip


def test_the_newest_runs_stay() -> None:
    log = FactLog.open()
    for name in "abcd":
        run(log, name)
    done = log.retain(count=2, dry_run=True)

    assert [("a", "is not among the newest 2"), ("b", "is not among the newest 2")] == [
        (one.run, one.why) for one in done.runs
    ]
    assert "2 runs would be dropped: " in str(done)
    assert [*"abcd"] == log.runs()


def test_a_run_that_another_goes_on_from_stays_and_the_report_says_so() -> None:
    log = FactLog.open()
    first = run(log, "a", 100)
    second = run(log, "b", 100, first)
    run(log, "c", 1, second)
    run(log, "d", 100, first)
    expected = reads_of(log, "c") if "one" in log else list(replay(log, "c"))
    done = log.retain(age=timedelta(days=30))

    assert ["a", "b", "c"] == log.runs()
    assert {"b": "run c, which stays, goes on from it", "a": "run b, which stays, goes on from it"} == done.left
    assert expected == list(replay(log, "c"))


def test_runs_that_have_not_ended_stay() -> None:
    log = FactLog.open()
    run(log, "paused", 100, gated=True)
    log.append(RunId("cut off"), [started(), CycleCommitted(0, (), [])])
    done = log.retain(age=timedelta(days=1))

    assert {"paused": "it waits for approval", "cut off": "it has not ended"} == done.left
    assert ["paused", "cut off"] == log.runs()
    assert () == log.retain(count=0).runs


def test_a_run_that_does_not_say_when_it_began_stays() -> None:
    log = FactLog.open()
    log.append(RunId("r"), [RunStarted("", 1, (), {}), RunStopped({"kind": "converged"}, 0)])

    assert {"r": "its log does not say when it began"} == log.retain(age=timedelta()).left
    assert ["r"] == [one.run for one in log.retain(count=0).runs]


def test_a_run_counts_from_when_it_was_last_resumed() -> None:
    log = FactLog.open()
    run(log, "r", 100, gated=True)
    engine = Engine([grow], gates=[Gate("all", [Leaf])])
    gates = replay(log, "r").trail.gates
    from quiesce.engine import Approve

    engine.resume_sync("r", [Approve(gate, by="ana") for gate in gates], log=log, now=NOW - timedelta(days=5))

    assert () == log.retain(age=timedelta(days=10)).runs
    log.compact("r")
    assert () == log.retain(age=timedelta(days=10)).runs
    assert ["r"] == [one.run for one in log.retain(age=timedelta(days=4)).runs]


def test_the_notes_of_a_run_go_with_it() -> None:
    log = FactLog.open()
    run(log, "a", 9)
    note_at(log.store, Address("journal", "a", "x"), b"body")
    note_at(log.store, Address("journal", "b", "x"), b"body")
    log.retain(age=timedelta(days=1))

    assert ["b"] == [address.owner for address, _ in log.notes("journal")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, r"retain takes age=timedelta\(…\), count=…, or both"),
        ({"age": 90}, "age=90 is not a timedelta"),
        ({"age": timedelta(days=-1)}, "is not a timedelta of zero or more"),
        ({"count": -1}, "count=-1 is not a whole number from 0"),
        ({"count": True}, "count=True is not a whole number from 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(LogError, match=problem):
        FactLog.open().retain(**options)


@pytest.mark.parametrize("error", [OSError("disk full"), Fenced("r", 1, 2)])
def test_what_cannot_be_kept_drops_nothing(error: Exception) -> None:
    store = Refusing()
    log = FactLog(store)
    for name in "abc":
        run(log, name, 9)
    expected = [log.export(name) for name in log.runs()]
    store.error = error
    with pytest.raises(type(error)):
        log.retain(count=0)

    assert expected == [log.export(name) for name in log.runs()]


def test_a_run_that_was_resumed_in_the_meantime_is_not_dropped() -> None:
    store = Refusing()
    log, other = FactLog(store), FactLog(store)
    run(log, "r", 9)
    commit = store.commit

    def later(batch: Batch) -> None:
        store.commit = commit  # type: ignore[method-assign]  # once only
        other.claim(RunId("r"))
        commit(batch)

    store.commit = later  # type: ignore[method-assign]  # see above
    with pytest.raises(LogError):
        log.retain(count=0)

    assert ["r"] == log.runs()


# --- what was learned -------------------------------------------------------------------------------------------------


class Total(Payload, key="signals", family="retain-total"):
    n: int = 0


@projection(reads=[Leaf], by=lambda _: "all", name="retain-total")
def total(before: Total | None, fact: Fact[Leaf]) -> Total:
    return Total(n=(before.n if before else 0) + 1 + fact.payload.n)


@pytest.mark.parametrize("how", ["compact", "retain", "redact"])
@pytest.mark.parametrize("store", STORES)
def test_what_was_learned_from_facts_that_leave_stays(store: str, how: str, tmp_path: Path) -> None:
    """In the values, in those of a rebuild, and of another process that never saw the facts."""
    with FactLog(STORES[store](tmp_path)) as log:
        log.register(total)
        for name in "abc":
            run(log, name, 9)
        expected = dict(log.values(total))
        if how == "compact":
            log.compact()
        elif how == "retain":
            log.retain(count=1)
        else:
            leaf = next(iter(replay(log, "a").of(Leaf).values()))
            log.redact("a", leaf.ref, reason="asked", by="ana")

        assert [True] == [one.ok for one in log.check_projections()]
        log.rebuild()
        assert expected == dict(log.values(total))
        run(log, "d")
        assert [Total(n=expected["all"].n + 1 + len(log.runs()) - 1)] == list(log.values(total).values())


def test_damaged_runs_stay_and_are_told_of_until_they_are_to_go(tmp_path: Path) -> None:
    """Nobody can read them any more, and they must not keep a file from being made smaller for ever."""
    path = tmp_path / "log.jsonl"
    with FactLog.open(path) as log:
        for run in ("a", "b"):
            fact = note_fact("x", f"text of {run}")
            log.append(RunId(run), [started(), CycleCommitted(0, (), [fact]), RunStopped({"kind": "x"}, 1)])
    path.write_bytes(path.read_bytes().replace(b"text of a", b"text of c"))
    with FactLog.open(path) as log:
        assert not verify(log, "a").ok
        spared = log.retain(count=9)
        planned = log.retain(damaged=True, dry_run=True)
        done = log.retain(damaged=True)

        assert ([], ["a"]) == ([one.run for one in spared.runs], list(spared.left))
        assert "To drop damaged runs: retain(damaged=True)" in spared.left[RunId("a")]
        assert ["a"] == [one.run for one in planned.runs] == [one.run for one in done.runs]
        assert ["b"] == log.runs()
        assert verify(log, "b").ok
