"""Holds compaction to its promise: it takes bytes away and changes nothing that can be read."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Fenced, LogError, MemoryStore, Payload, RunId, Store, replay, verify
from quiesce.facts.compact import build, check_rest, is_compacted
from quiesce.facts.event import Compacted, CycleCommitted, RunStarted, RunStopped
from quiesce.facts.forget import Forgotten
from quiesce.facts.lease import Leased
from quiesce.facts.seal import seal
from quiesce.facts.snapshot import BrokenSnapshot, CutOff, address_of
from quiesce.facts.stores import Address, Batch, Put
from quiesce.facts.trail import Trail
from support.histories import (
    START,
    STORES,
    broken_off,
    copy_of,
    cut_at,
    go_on,
    note_at,
    reads_of,
    trail_of,
    write_history,
)
from support.payloads import note_fact, started
from support.refusing import Refusing
from support.strategies import World, engine_of, worlds

RUN = RunId("r")
SLOW = settings(max_examples=8)
CASES = int(os.environ.get("SOAK_CASES") or 2_000)


class Count(Payload, key="signals", family="compact-count"):
    n: int


@suggestor
def count_on(count: Fact[Count]) -> Count | None:
    return Count(n=count.payload.n + 1) if count.payload.n < 30 else None


def counted(log: FactLog, run: str = "r", n: int = 0) -> FactLog:
    """Writes a run of one fact in each cycle."""
    context = Context()
    context.add(Count(n=n))
    Engine([count_on]).run_sync(context, log=log, run_id=run, seed=1, started=START)
    return log


# --- properties -------------------------------------------------------------------------------------------------------


@SLOW
@given(world=worlds())
def test_compaction_changes_no_read(world: World) -> None:
    """Of runs that were resumed, that others go on from, that go on from others, and that were carried over."""
    log = FactLog.open()
    write_history(log, world)
    expected = {run: reads_of(log, run) for run in log.runs()}
    log.compact()
    for run in log.runs():
        if log.stopped(run) is not None:
            log.compact(run)

    assert any(is_compacted(log, run) for run in log.runs())
    assert expected == {run: reads_of(log, run) for run in log.runs()}
    fresh = FactLog(log.store)
    assert expected == {run: reads_of(fresh, run) for run in fresh.runs()}


@SLOW
@given(world=worlds(), data=st.data())
def test_a_run_may_be_cut_anywhere_once_or_twice(world: World, data: st.DataObject) -> None:
    """Every read is the same, and so are the bytes of the snapshot, however often it was made."""
    log = FactLog.open()
    write_history(log, world)
    run = data.draw(st.sampled_from(["two", "three"]), label="run")
    expected, length = reads_of(log, run), log.length(run)
    first, second = sorted(data.draw(st.lists(st.integers(1, length - 1), min_size=2, max_size=2), label="cuts"))
    straight = copy_of(log)
    cut_at(straight, run, second)
    cut_at(log, run, first)
    if second > first:
        cut_at(log, run, second)

    assert expected == reads_of(log, run)
    assert straight.to_bytes(run) == log.to_bytes(run)
    assert trail_of(replay(log, run).trail) == expected["trail"]


@SLOW
@given(world=worlds(), data=st.data())
def test_cycles_that_are_left_replay_as_before_and_the_others_say_so(world: World, data: st.DataObject) -> None:
    log = FactLog.open()
    write_history(log, world)
    run = data.draw(st.sampled_from(["one", "two", "three"]), label="run")
    last = replay(log, run).trail.cycle
    before = {cycle: _at(log, run, cycle) for cycle in range(last + 1)}
    plain = copy_of(log)
    if log.compact(run).runs:
        event = next(iter(log.events(run))).event
        assert isinstance(event, Compacted)
        for cycle in range(last + 1):
            if event.began < cycle < event.cycle:
                with pytest.raises(CutOff) as caught:
                    replay(log, run, at=cycle)
                assert (run, event.cycle) == (caught.value.run, caught.value.cycle)
            else:
                assert before[cycle] == _at(log, run, cycle)
    for wrong in (-1, last + 1):
        with pytest.raises(LogError) as ours:
            replay(log, run, at=wrong)
        with pytest.raises(LogError) as theirs:
            replay(plain, run, at=wrong)
        assert str(theirs.value) == str(ours.value)


def _at(log: FactLog, run: str, cycle: int) -> Any:
    try:
        context = replay(log, run, at=cycle)
    except LogError as error:
        return str(error)
    return list(context), trail_of(context.trail)


@SLOW
@given(world=worlds())
def test_a_compacted_run_goes_on_as_it_would_have(world: World) -> None:
    """Paused and resumed, or taken as the start of another run: the same events, to the byte."""
    log = FactLog.open()
    engine_of(world).run_sync(_input(world), log=log, run_id="one", seed=1, started=START)
    other = copy_of(log)
    other.compact("one")
    for one in (log, other):
        result = go_on(one, world, "one")
        engine_of(world).run_sync(result.context, log=one, run_id="two", seed=2, started=START)

    for run in ("one", "two"):
        kept = list(other.records(run))
        assert [one.raw for one in list(log.records(run))[-len(kept) :]] == [one.raw for one in kept]


def _input(world: World) -> Context:
    from support.strategies import context_of

    return context_of(world)


@SLOW
@given(world=worlds(), data=st.data())
def test_a_run_that_a_crash_left_is_recovered_from_its_snapshot_as_from_its_events(
    world: World, data: st.DataObject
) -> None:
    whole = FactLog.open()
    engine_of(world).run_sync(_input(world), log=whole, run_id="one", seed=1, started=START)
    events = [logged.event for logged in whole.events("one")]
    ends = [place for place, event in enumerate(events[1:], 1) if isinstance(event, (CycleCommitted, RunStopped))]
    end = data.draw(st.sampled_from(ends), label="end")
    plain = broken_off(whole, "one", end)
    if end > 1:
        shrunk = broken_off(whole, "one", end)
        cut_at(shrunk, "one", data.draw(st.integers(1, end - 1), label="cut"))
        for log in (plain, shrunk):
            engine_of(world).recover_sync(log)
        kept = list(shrunk.records("one"))

        assert [one.raw for one in list(plain.records("one"))[-len(kept) :]] == [one.raw for one in kept]


@SLOW
@given(world=worlds())
def test_a_compacted_run_can_be_exported_and_loaded(world: World) -> None:
    log = FactLog.open()
    write_history(log, world)
    log.compact()
    expected = {run: reads_of(log, run) for run in log.runs()}
    other = copy_of(log)

    assert expected == {run: reads_of(other, run) for run in other.runs()}
    assert [log.to_bytes(run) for run in log.runs()] == [other.to_bytes(run) for run in other.runs()]


@pytest.mark.parametrize("store", STORES)
@settings(max_examples=6)
@given(world=worlds())
def test_a_dry_run_says_what_then_happens(store: str, world: World) -> None:
    """The same runs, the same bytes, in every store; and nothing has changed before."""
    with TemporaryDirectory() as place, FactLog(STORES[store](Path(place))) as log:
        write_history(log, world)
        reads = {run: reads_of(log, run) for run in log.runs()}
        before = {run: _size(log, run) for run in log.runs()}
        planned = log.compact(dry_run=True)

        assert before == {run: _size(log, run) for run in log.runs()}
        done = log.compact()
        assert replace(planned, dry_run=False) == done
        for one in done.runs:
            assert (before[one.run], _size(log, one.run)) == (one.before, one.after)
            assert one.after < one.before
        assert reads == {run: reads_of(log, run) for run in log.runs()}
        assert () == log.compact().runs


def _size(log: FactLog, run: str) -> int:
    log.flush()
    notes = [note for space in ("snapshot", "journal") for _, note in log.store.notes(space, run)]
    return log.store.size(RunId(run)) + sum(len(note.value) for note in notes)


@pytest.mark.parametrize("error", [OSError("disk full"), Fenced("r", 1, 2)])
def test_a_compaction_that_cannot_be_kept_changes_nothing(error: Exception) -> None:
    store = Refusing()
    log = counted(FactLog(store))
    expected = log.to_bytes("r"), reads_of(counted_one(log), "r")
    store.error = error
    with pytest.raises(type(error)):
        log.compact("r")
    store.error = None

    assert expected == (log.to_bytes("r"), reads_of(log, "r"))


def counted_one(log: FactLog) -> FactLog:
    counted(log, "one", n=29)
    return log


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=CASES)
@given(world=worlds(), data=st.data())
def test_compaction_changes_no_read_in_thousands_of_worlds(world: World, data: st.DataObject) -> None:
    """Each run cut anywhere, then all as far as they can be, then taken out and in."""
    log = FactLog.open()
    write_history(log, world)
    expected = {run: reads_of(log, run) for run in log.runs()}
    for run in ("two", "three"):
        cut_at(log, run, data.draw(st.integers(1, log.length(run) - 1)))
    log.compact()

    assert expected == {run: reads_of(log, run) for run in log.runs()}
    other = copy_of(log)
    assert expected == {run: reads_of(other, run) for run in other.runs()}


# --- examples ---------------------------------------------------------------------------------------------------------


def test_a_report_says_what_went() -> None:
    log = counted(FactLog.open())
    counted(log, "s", n=29)
    planned, done = log.compact(keep=1, dry_run=True), log.compact(keep=1)
    (one,) = done.runs

    assert (RunId("r"), 31, 33, 1) == (one.run, one.cycle, one.events, one.kept)
    assert str(planned).splitlines()[-1].startswith("1 run would be compacted: ")
    assert f"1 run compacted: {one.before:,} bytes → {one.after:,} bytes" == str(done).splitlines()[-1]
    assert (True, False) == (is_compacted(log, "r"), is_compacted(log, "s"))


def test_a_compacted_run_reads_as_one_event_and_what_came_after() -> None:
    log = counted(FactLog.open())
    length = log.length("r")
    log.compact()
    first, last = log.events("r")
    found = verify(log, "r")

    assert isinstance(first.event, Compacted)
    assert isinstance(last.event, RunStopped)
    assert (length - 2, length - 1, length) == (first.seq, last.seq, log.length("r"))
    assert (True, length - 1) == (found.ok, found.compacted)
    assert f"({length - 1} of them compacted)" in str(found)


def test_only_runs_that_began_before_a_time_are_compacted() -> None:
    log = FactLog.open()
    for day, run in enumerate("abc"):
        context = Context()
        context.add(Count(n=20))
        Engine([count_on]).run_sync(context, log=log, run_id=run, started=START + timedelta(days=day))
    ticks: list[int] = []
    done = log.compact(before=START + timedelta(days=2), progress=ticks.append)

    assert (["a", "b"], [1, 2]) == ([one.run for one in done.runs], ticks)


def test_unfinished_runs_are_left_unless_they_are_named() -> None:
    log = broken_off(counted(FactLog.open()), "r", 10)
    done = log.compact()

    assert ({"r": "it has not ended"}, ()) == (done.left, done.runs)
    assert [(9, 1)] == [(one.events, one.kept) for one in log.compact("r").runs]
    assert ["r"] == log.unfinished()


def test_a_run_is_cut_only_up_to_where_another_goes_on() -> None:
    log = counted(FactLog.open())
    point = log.point(RUN, 5)
    log.append(RunId("c"), [RunStarted("", 1, (), {}, point), CycleCommitted(4, (), [note_fact("c", "c", 4)])])
    log.append(RunId("c"), [RunStopped({"kind": "converged"}, 1)])
    expected = list(replay(log, "c"))
    done = log.compact("r")

    assert [("r", 5, "run c goes on from event 5")] == [(one.run, one.events, one.why) for one in done.runs]
    assert expected == list(replay(log, "c"))
    assert {"r": "run c goes on from event 5"} == log.compact("r").left
    assert verify(log, "c").ok


def test_a_run_that_was_to_go_on_from_what_is_compacted_takes_its_facts_along() -> None:
    log = counted(FactLog.open())
    early = replay(log, "r", at=3)
    log.compact("r")
    result = Engine([count_on]).run_sync(early, log=log, run_id="late")

    assert log.started("late").parent is None
    assert result.context == replay(log, "late")


@pytest.mark.parametrize("how", ["compact", "retain"])
def test_a_run_cannot_begin_from_what_is_forgotten_at_the_same_moment(how: str) -> None:
    """It found its parent before, and writes after: it learns of it, and nothing is written."""
    store = Refusing()
    log, other = counted(FactLog(store)), FactLog(store)
    point = log.point(RUN, 5)
    other.compact("r") if how == "compact" else other.retain(count=0)
    with pytest.raises(Forgotten, match="run c cannot begin: run r, from which it was to go on, was compacted"):
        log.append(RunId("c"), [RunStarted("", 1, (), {}, point)])

    assert "c" not in log


def test_a_run_that_begins_elsewhere_meanwhile_is_not_disturbed() -> None:
    store = Refusing()
    log, other = counted(counted(FactLog(store)), "s"), FactLog(store)
    point = log.point(RunId("s"), log.length("s"))
    other.compact("r")
    log.append(RunId("c"), [RunStarted("", 1, (), {}, point)])

    assert point == log.started("c").parent


def test_a_run_from_which_another_begins_at_the_same_moment_is_not_cut() -> None:
    """The child is written between the plan and the commit: the plan is void."""
    store = Refusing()
    log, other = counted(FactLog(store)), FactLog(store)
    commit = store.commit

    def later(batch: Batch) -> None:
        store.commit = commit  # type: ignore[method-assign]  # once only
        other.append(RunId("c"), [RunStarted("", 1, (), {}, other.point(RUN, 5))])
        commit(batch)

    store.commit = later  # type: ignore[method-assign]  # see above
    done = log.compact()

    assert (["r"], False) == (list(done.left), is_compacted(log, "r"))
    assert 5 == log.compact("r").runs[0].events


def test_a_run_that_somebody_else_writes_to_is_not_touched() -> None:
    store = Refusing()
    mine, theirs = FactLog(store), FactLog(store)
    theirs.claim(RUN)
    cycles = [CycleCommitted(cycle, (), [note_fact("a", f"n{cycle}", cycle)]) for cycle in range(9)]
    theirs.append(RUN, [started(), *cycles])
    with pytest.raises(Leased):
        mine.compact("r")

    assert [9] == [one.events for one in theirs.compact("r").runs]
    theirs.append(RUN, [RunStopped({"kind": "converged"}, 1)])
    assert verify(mine, "r").ok


def test_what_was_journaled_goes_unless_its_cycle_may_still_come() -> None:
    log = broken_off(counted(FactLog.open()), "r", 10)
    for key, body in (("a/3", b'{"cycle":3}'), ("a/9", b'{"cycle":9}'), ("b", b"nonsense")):
        note_at(log.store, Address("journal", "r", key), body)
    log.compact("r")

    assert ["a/9"] == [address.key for address, _ in log.notes("journal", "r")]


def test_who_needs_every_event_is_told() -> None:
    log = counted(FactLog.open())
    check_rest(log, "r", "it cannot be run again")
    log.compact()
    with pytest.raises(CutOff) as caught:
        Engine([count_on]).rerun_sync(log, "r")

    assert str(caught.value).startswith("run r was compacted: what it did up to cycle ")
    assert "so it cannot be run again" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"run": "r", "keep": 1}, "compact takes a run, or before and keep to choose among all; not both"),
        ({"keep": -1}, "keep=-1 is not a whole number from 0"),
        ({"keep": True}, "keep=True is not a whole number from 0"),
        ({"before": datetime(2026, 1, 1)}, "is not a time with its zone"),  # noqa: DTZ001  that is the point
        ({"run": "nobody"}, "run 'nobody' is not in this log"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(LogError, match=problem):
        counted(FactLog.open()).compact(**options)


def test_a_tiny_run_that_would_not_shrink_is_left() -> None:
    log = FactLog.open()
    log.append(RUN, [RunStarted("", 1, (), {}), RunStopped({"kind": "converged"}, 0)])

    assert {"r": "it would not become smaller"} == log.compact().left


def test_a_damaged_run_is_left_and_the_others_are_compacted() -> None:
    store = MemoryStore()
    log = counted(counted(FactLog(store)), "s")
    log.flush()
    broken = store._runs[RUN].records[4]
    store._runs[RUN].records[4] = replace(broken, payloads={})
    done = log.compact()

    assert (["s"], ["r"]) == ([one.run for one in done.runs], list(done.left))
    assert "is missing, and nobody redacted it" in done.left[RUN]


# --- damage -----------------------------------------------------------------------------------------------------------


@contextmanager
def snapshot_as(log: FactLog, raw: bytes) -> Iterator[None]:
    log.store.commit(Batch(puts={address_of(RUN): Put(seal(address_of(RUN), raw), 1)}))
    yield


def test_a_flipped_bit_anywhere_in_a_snapshot_is_seen() -> None:
    log = counted(FactLog.open())
    log.compact()
    note = log.store.note(address_of(RUN))
    assert note is not None
    for place in range(0, len(note.value), 37):
        wrong = bytearray(note.value)
        wrong[place] ^= 1
        log.store.commit(Batch(puts={address_of(RUN): Put(bytes(wrong), 1)}))
        with pytest.raises(BrokenSnapshot, match="its snapshot, which stands for its first events, is damaged"):
            replay(log, "r")
        fault = verify(log, "r").fault

        assert fault is not None
        assert (0, True) == (
            fault.event,
            fault.problem.startswith("and those behind it are a snapshot that is damaged"),
        )


def test_a_missing_snapshot_is_told() -> None:
    log = counted(FactLog.open())
    log.compact()
    log.store.commit(Batch(puts={address_of(RUN): None}))
    with pytest.raises(BrokenSnapshot, match="is missing"):
        replay(log, "r")

    assert not verify(log, "r").ok


def test_a_forged_snapshot_is_seen_by_the_root_or_the_chain() -> None:
    """Its seal is right, its facts are others than those that the run's stop sealed."""
    log = counted(FactLog.open())
    log.compact()
    found = log.snapshot("r")
    assert found is not None
    body = found.body
    body.payloads[3] = '{"n":99}'
    forged = found.with_body(body)
    with snapshot_as(log, forged.to_bytes()):
        fault = verify(log, "r").fault
    assert fault is not None
    assert "names a root that is not that of its facts" in fault.problem
    forged.tree = _tree(forged)
    with snapshot_as(log, forged.to_bytes()):
        fault = verify(log, "r").fault
    assert fault is not None
    assert (log.length("r") - 1, "names a root that is not that of the facts before it") == (fault.event, fault.problem)
    found.digest = "0" * 64
    with snapshot_as(log, found.to_bytes()):
        assert "does not follow event" in str(verify(log, "r"))


def _tree(snapshot: Any) -> Any:
    from quiesce.facts.merkle import MerkleTree

    tree = MerkleTree()
    tree.extend(snapshot.leaves())
    return tree


@given(raw=st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: b'{"v":1,"events":2' + tail))
def test_nonsense_in_the_place_of_a_snapshot_is_an_error_that_names_the_run(raw: bytes) -> None:
    log = _compacted()
    with snapshot_as(log, raw), pytest.raises(BrokenSnapshot):
        replay(log, "r")


@given(data=st.data())
def test_a_snapshot_with_anything_in_one_member_is_read_or_refused_by_name(data: st.DataObject) -> None:
    """Whatever stands there, nothing but a LogError comes out."""
    log = _compacted()
    found = log.snapshot("r")
    assert found is not None
    whole = found.body.to_json()
    name = data.draw(st.sampled_from(sorted(whole)))
    anything = (
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.lists(st.integers(-2, 2), max_size=3)
    )
    value = data.draw(
        anything | st.lists(st.dictionaries(st.sampled_from(["ref", "gate", "who"]), anything), max_size=2)
    )
    raw = found.to_bytes()
    packed = zlib.compress(json.dumps({**whole, name: value}).encode())
    with snapshot_as(log, raw[: -len(found._body)] + packed):
        with suppress(LogError):
            replay(log, "r")
        checked = verify(log, "r")

    assert checked.ok or str(checked).startswith("run r: event ")


def _compacted() -> FactLog:
    log = FactLog.open()
    log.append(
        RUN,
        [
            started(),
            CycleCommitted(0, (), [note_fact("a"), note_fact("b")]),
            CycleCommitted(1, ("x",), [note_fact("c", "c", 1)]),
        ],
    )
    log.append(RUN, [RunStopped({"kind": "converged"}, 3)])
    cut_at(log, "r", 3)
    return log


# --- stores, and what a snapshot must hold ----------------------------------------------------------------------------


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def test_every_store_takes_a_compacted_run_out_and_in(store: Store, tmp_path: Path) -> None:
    log = counted(counted(FactLog(store), "one", n=29))
    expected = reads_of(log, "r")
    log.compact()
    other = copy_of(log)
    (tmp_path / "back").mkdir()
    with copy_of(other, STORES["sqlite"](tmp_path / "back")) as back:
        assert expected == reads_of(back, "r")

    assert expected == reads_of(log, "r") == reads_of(other, "r")
    assert ["one", "r"] == log.runs()


def test_a_snapshot_holds_every_field_of_a_trail() -> None:
    """A new field of Trail has to be thought of in facts/compact.py and facts/fold.py."""
    known = {
        "run", "parent", "cycle", "seq", "digest", "home", "prints", "settings", "cast", "seen", "gates", "decided",
        "cycles", "facts", "tokens", "cost", "declined", "losers",
    }  # fmt: skip

    assert known == {one.name for one in fields(Trail)}


def test_payloads_that_are_no_text_are_kept_to_the_byte() -> None:
    """Those of a family that is not known here may be anything."""
    from hashlib import sha256

    from quiesce.facts import Opaque
    from quiesce.facts.fact import make_fact

    raw = b'{"x":"\xff\xfe\\udc80\\n"}'
    opaque = Opaque(family="compact-nobody", key="seeds", version=1, raw=raw)
    fact = make_fact(opaque, "a", "ana", 0, 1.0, (), sha256(raw).digest())  # type: ignore[type-var]  # an opaque one
    log = FactLog.open()
    log.append(RUN, [started(), CycleCommitted(0, (), [fact]), RunStopped({"kind": "converged"}, 1)])
    cut_at(log, "r", 2)

    assert [opaque] == [one.payload for one in replay(log, "r")]
    assert verify(log, "r").ok


def test_a_snapshot_is_built_of_sound_runs_only() -> None:
    log = FactLog.open()
    log.append(RUN, [started(), CycleCommitted(0, (), [note_fact("a")]), RunStopped({}, 1)])
    with pytest.raises(LogError, match="has changed while it was read"):
        build(log, RUN, 9)

    assert START.tzinfo is UTC
