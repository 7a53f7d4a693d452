"""Holds a log to what design section 5 says: what is appended can be read, exported, loaded, verified and replayed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quiesce.facts import (
    BrokenEvent,
    Context,
    Fact,
    FactLog,
    Fault,
    Fenced,
    ImmutableFact,
    LogError,
    Opaque,
    Record,
    RunId,
    StoreError,
    UnknownRun,
    diff,
    replay,
    verify,
)
from quiesce.facts.event import CycleCommitted, Event, Parent, RunStarted, RunStopped, write_event
from quiesce.facts.lines import write_batch
from quiesce.facts.merkle import MerkleTree
from quiesce.facts.stores import Batch, MemoryStore
from support.payloads import Box, Note, engine, note_fact, notes, started, written_log

RUN = RunId("r")


def record_of(event: Event, seq: int, previous: str | None, run: str = "r") -> Record:
    raw = write_event(event, RunId(run), seq, previous)
    facts: Sequence[Fact[Any]] = event.facts if isinstance(event, CycleCommitted) else ()
    payloads = {fact.digest: json.dumps(fact.payload.model_dump(), separators=(",", ":")).encode() for fact in facts}
    return Record(raw, sha256(raw).hexdigest(), payloads)


def forged(*events: Event) -> FactLog:
    """Returns a log whose chain is sound, whatever its events say: what `verify` finds is in the meaning of them."""
    store, previous = MemoryStore(), None
    for seq, event in enumerate(events):
        record = record_of(event, seq, previous)
        store.commit(Batch.of(RUN, seq, [record]))
        previous = record.digest
    return FactLog(store)


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runs.txt", "runs", "", "mysql://x", "log.jsonl/", "log.json"])
def test_a_name_that_no_store_goes_by_says_what_to_give(name: str) -> None:
    with pytest.raises(LogError, match=rf"^no store for '{name}'\. Give "):
        FactLog.open(name)


def test_a_sync_that_is_none_says_what_there_is() -> None:
    with pytest.raises(LogError) as caught:
        FactLog.open(sync="always")  # type: ignore[arg-type]  # that is the point

    expected = 'sync=\'always\' is not "normal" (survives a crash) or "full" (survives power loss)'
    assert expected == str(caught.value)


@pytest.mark.parametrize("spell", [str, Path, lambda path: f"file://{path}"])
def test_a_file_is_opened_by_its_name(spell: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with FactLog.open(spell(path)) as log:
        written_log(log)

    assert 5 == len(list(FactLog.open(path).records("r")))


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "known"),
    [
        ((), "It is empty"),
        (("a", "b"), "It holds 2: a, b"),
        ("abcdefg", "It holds 7: a, b, c, d, e, …"),
        (("a", "b", "c", "d", "e", "nobody-2"), "It holds 6: a, b, c, d, e, … Did you mean nobody-2?"),
    ],
)
def test_an_unknown_run_says_which_there_are(runs: Sequence[str], known: str) -> None:
    log = FactLog.open()
    for run in runs:
        log.append(RunId(run), [started()])
    for ask in (
        replay,
        verify,
        FactLog.export,
        FactLog.started,
        FactLog.stopped,
        lambda log, run: list(log.events(run)),
    ):
        with pytest.raises(UnknownRun) as caught:
            ask(log, "nobody")

        assert f"run 'nobody' is not in this log. {known}" == str(caught.value)
    assert "nobody" not in log


def test_a_log_gives_back_what_it_was_given() -> None:
    log = written_log()
    events = list(log.events("r"))

    assert [0, 1, 2, 3, 4] == [logged.seq for logged in events]
    assert events[2:] == list(log.events("r", 2))
    assert (events[0].event, events[4].event) == (log.started("r"), log.stopped("r"))
    assert (["r"], True, False) == (log.runs(), "r" in log, "s" in log)
    assert [events[3].digest] == [point.digest for point in [log.point(RUN, 4)] if point is not None]
    assert log.point(RUN, 9) is None


def test_an_unfinished_run_has_not_stopped() -> None:
    log = FactLog.open()
    log.append(RUN, [started()])

    assert log.stopped(RUN) is None


def test_two_logs_over_one_store_fence_each_other() -> None:
    """The second to write learns that the run is not where it thinks it is, and can read and go on."""
    store = MemoryStore()
    one, two = FactLog(store), FactLog(store)
    one.append(RUN, [started()])
    one.flush()
    two.append(RUN, [CycleCommitted(0, (), ())])
    two.flush()
    one.append(RUN, [CycleCommitted(0, (), ())])
    with pytest.raises(Fenced):
        one.flush()

    assert 2 == len(list(two.records(RUN)))
    assert verify(two, RUN).ok


# --- replay -----------------------------------------------------------------------------------------------------------


@given(texts=st.lists(st.sampled_from("abcdefg"), unique=True))
def test_replay_is_the_context_as_it_was_at_every_cycle(texts: list[str]) -> None:
    log = FactLog.open()
    result = engine().run_sync(notes(*texts), log=log)
    whole = replay(log, result.run_id)
    last = whole.trail.cycle

    assert result.context == whole
    for cycle in range(last + 1):
        known = replay(log, result.run_id, at=cycle)

        assert {fact.cycle for fact in known} <= set(range(cycle + 1))
        assert [fact for fact in whole if fact.cycle <= cycle and fact.family != "facts-tags"] == [
            fact for fact in known if fact.family != "facts-tags"
        ]
    assert whole == replay(log, result.run_id, at=last)


@pytest.mark.parametrize(("at", "known"), [(0, "ab"), (1, "abc"), (2, "abcd"), (None, "abcd")])
def test_replay_at_a_cycle_shows_what_was_known_by_then(at: int | None, known: str) -> None:
    context = replay(written_log(), "r", at=at)

    assert [*known] == list(context.of(Note))
    assert ("r", at if at is not None else 2) == (context.trail.run, context.trail.cycle)


@pytest.mark.parametrize("at", [3, -1, 99])
def test_replay_at_a_cycle_that_was_never_says_which_was_the_last(at: int) -> None:
    with pytest.raises(LogError) as caught:
        replay(written_log(), "r", at=at)

    assert f"run r has no cycle {at}; its last is 2" == str(caught.value)


def test_a_replayed_fact_is_as_frozen_as_any() -> None:
    context, log = Context(), FactLog.open()
    context.add(Box(items=[1], names={"a": [1]}, seen={1}), id="b")
    result = engine().run_sync(context, log=log)
    box = replay(log, result.run_id).of(Box)["b"].payload
    for mutate in (box.items.append, box.names["a"].append, box.seen.add):
        with pytest.raises(ImmutableFact):
            mutate(2)

    assert Box(items=[1], names={"a": [1]}, seen={1}) == box


def test_a_run_goes_on_from_a_point_of_its_parent() -> None:
    """What the parent did afterwards is no part of it, in replay as in `verify`."""
    log = FactLog.open()
    log.append(
        RunId("p"),
        [started(), CycleCommitted(0, (), [note_fact("a")]), CycleCommitted(1, ("x",), [note_fact("b", "b", 1)])],
    )
    point = log.point(RunId("p"), 2)
    log.append(
        RunId("c"),
        [RunStarted("", 1, (), {}, point), CycleCommitted(1, (), [note_fact("c", "c", 1, ("facts-note:a",))])],
    )
    log.append(RunId("p"), [CycleCommitted(2, ("x",), [note_fact("d", "d", 2)]), RunStopped({}, 3)])

    assert (["a", "c"], ["a", "b", "d"]) == (list(replay(log, "c").of(Note)), list(replay(log, "p").of(Note)))
    assert (True, True) == (verify(log, "c").ok, verify(log, "p").ok)


@pytest.mark.parametrize(
    ("parent", "problem"),
    [
        (Parent(RunId("q"), 1, ""), "run r goes on from run q, which is not in this log. Load that run first"),
        (Parent(RunId("p"), 1, "00"), "run p: event 0 is not the one from which another run went on"),
        (Parent(RunId("p"), 9, "00"), "run p ends at event 1, but another run went on from event 9"),
        (Parent(RUN, 1, ""), "run r is its own ancestor through r: the log is not one that quiesce wrote"),
    ],
)
def test_a_parent_that_is_not_there_is_told(parent: Parent, problem: str) -> None:
    log = FactLog.open()
    log.append(RunId("p"), [started()])
    log.append(RUN, [RunStarted("", 1, (), {}, parent)])
    with pytest.raises(LogError) as caught:
        replay(log, "r")
    found = verify(log, "r")

    assert problem == str(caught.value)
    assert found.fault is not None
    assert (0, True) == (found.fault.event, problem in found.fault.problem)


# --- verify -----------------------------------------------------------------------------------------------------------

ROOT = MerkleTree().root().hex()
FAULTS: list[tuple[FactLog, int, str]] = [
    (forged(CycleCommitted(0, (), ())), 0, "is cycle_committed, but a run begins with run_started"),
    (forged(started(), started()), 1, "begins the run a second time"),
    (forged(started(), CycleCommitted(1, (), ())), 1, "commits cycle 1 where cycle 0 is due"),
    (
        forged(started(), CycleCommitted(0, (), ()), CycleCommitted(0, (), ())),
        2,
        "commits cycle 0 where cycle 1 is due",
    ),
    (
        forged(started(), CycleCommitted(0, (), [note_fact("a", because=("facts-note:z",))])),
        1,
        "says that facts-note:a rests on facts-note:z, which is not known by then",
    ),
    (
        forged(started(), CycleCommitted(0, (), [note_fact("a", cycle=3)])),
        1,
        "says that facts-note:a is of cycle 3, but commits cycle 0",
    ),
    (
        forged(started(), CycleCommitted(0, (), [note_fact("a")]), RunStopped({}, 1, ROOT)),
        2,
        "names a root that is not that of the facts before it",
    ),
]


@pytest.mark.parametrize(("log", "event", "problem"), FAULTS)
def test_a_sound_chain_of_events_that_make_no_sense_is_found(log: FactLog, event: int, problem: str) -> None:
    found = verify(log, "r")

    assert found.fault is not None
    assert (event, problem, event) == (found.fault.event, found.fault.problem, found.events)
    with pytest.raises(LogError, match=problem):
        found.unwrap()


def test_an_event_that_does_not_follow_the_one_before_it_is_found() -> None:
    store = MemoryStore()
    first = record_of(started(), 0, None)
    store.commit(Batch.of(RUN, 0, [first, record_of(CycleCommitted(0, (), ()), 1, "00" * 32)]))
    late = MemoryStore()
    late.commit(Batch.of(RUN, 0, [record_of(started(), 0, "00" * 32)]))
    found, begun = verify(FactLog(store), "r"), verify(FactLog(late), "r")

    assert "run r: event 1 does not follow event 0. Nothing before it is intact" == str(found)
    assert "run r: event 0 is first, but names one before it. Nothing before it is intact" == str(begun)


def test_a_record_that_is_not_what_its_digests_say_is_found() -> None:
    sound = [*written_log().records("r")]
    digest = note_fact("a", "one").digest
    wrong = [
        (Record(sound[1].raw, "00" * 32, sound[1].payloads), "does not match its digest"),
        (
            Record(sound[1].raw, sound[1].digest, {digest: b"{}"}),
            f"has a payload that does not match its digest, {digest[:12]}…",
        ),
        (
            Record(sound[4].raw, sound[4].digest, {sha256(b"{}").hexdigest(): b"{}"}),
            "has a payload that it does not name, 44136fa355b3…",
        ),
    ]
    for record, problem in wrong:
        store = MemoryStore()
        place = 1 if record.raw == sound[1].raw else 4
        store.commit(Batch.of(RUN, 0, [*sound[:place], record, *sound[place + 1 :]]))
        fault = verify(FactLog(store), "r").fault

        assert fault is not None
        assert (place, problem) == (fault.event, fault.problem)


def test_a_sound_run_says_how_much_was_checked() -> None:
    log = written_log()
    found = verify(log, "r")
    stopped = log.stopped("r")

    assert stopped is not None
    assert (True, 5, 4, 2, True, (), stopped.root) == (
        found.ok,
        found.events,
        found.facts,
        found.cycle,
        found.finished,
        found.gone,
        found.root,
    )
    assert f"run r: 5 events and 4 facts are sound; stopped; root {found.root}" == str(found)
    assert found is found.unwrap()


def log_without(digest: str, gone: dict[str, bytes]) -> FactLog:
    """Returns the log of `written_log` without one payload."""
    store = MemoryStore()
    kept = []
    for one in written_log().records("r"):
        rest = {name: raw for name, raw in one.payloads.items() if name != digest}
        kept.append(Record(one.raw, one.digest, rest, gone=gone if digest in one.payloads else {}))
    store.commit(Batch.of(RUN, 0, kept))
    return FactLog(store)


def test_a_payload_that_was_redacted_is_told_and_everything_else_stands() -> None:
    """Erased on request: the chain covers its digest only."""
    digest, told = note_fact("a", "one").digest, '{"reason":"erased","by":"ana","at":"2026-01-01"}'
    log = log_without(digest, {digest: told.encode()})
    found, context = verify(log, "r"), replay(log, "r")

    assert (True, (digest,)) == (found.ok, found.gone)
    assert [("erased", "ana", "2026-01-01")] == [(one.reason, one.by, one.at) for one in found.tombstones]
    assert "are sound, 1 payload redacted (1 for erased, by ana); stopped" in str(found)
    opaque = Opaque(family="facts-note", key="seeds", version=1, raw=b"", tombstone=told)
    assert [opaque] == [context["seeds"][0].payload]
    assert Note(text="two") == context.of(Note)["b"].payload


def test_a_payload_that_is_missing_without_a_tombstone_is_damage() -> None:
    """What nobody redacted has been lost."""
    digest = note_fact("a", "one").digest
    log = log_without(digest, {})
    problem = f"is damaged: the payload of its facts[0] ({digest[:12]}…) is missing, and nobody redacted it"
    with pytest.raises(BrokenEvent) as caught:
        replay(log, "r")

    assert (1, problem) == (caught.value.seq, caught.value.problem)
    assert Fault(1, problem) == verify(log, "r").fault


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        (b"{}", "a tombstone cannot be read"),
        (b'{"reason":1,"by":"ana","at":""}', "a tombstone does not say why, by whom and when, and nothing else"),
        (b"\xff", "a tombstone cannot be read"),
    ],
)
def test_a_tombstone_that_says_nothing_is_damage(gone: bytes, problem: str) -> None:
    digest = note_fact("a", "one").digest
    log = log_without(digest, {digest: gone})
    fault = verify(log, "r").fault
    with pytest.raises(BrokenEvent, match=problem):
        replay(log, "r")

    assert fault is not None
    assert (1, True) == (fault.event, problem in fault.problem)


# --- diff -------------------------------------------------------------------------------------------------------------


def test_runs_that_know_the_same_do_not_differ() -> None:
    log = written_log(written_log(), "s")
    found = diff(log, "r", "s")

    assert (False, None, "r and s know the same and stopped alike") == (bool(found), found.cycle, str(found))


def test_a_diff_tells_what_only_one_knows_what_changed_and_where_it_began() -> None:
    log, other = written_log(), FactLog.open()
    other.append(RunId("s"), [started()])
    other.append(RunId("s"), [CycleCommitted(0, (), [note_fact("a", "one"), note_fact("b", "two")])])
    other.append(
        RunId("s"), [CycleCommitted(1, ("x",), [note_fact("c", "drei", 1, (), "x"), note_fact("e", "five", 1)])]
    )
    found = diff(log, "r", "s", right_log=other)

    assert ["facts-note:d"] == [fact.ref for fact in found.only_left]
    assert ["facts-note:e"] == [fact.ref for fact in found.only_right]
    assert [("facts-note:c", ("payload", "by", "because"))] == [(one.ref, one.fields) for one in found.changed]
    assert 1 == found.cycle
    assert str(found).splitlines() == [
        "--- r",
        "+++ s; first difference in cycle 1",
        "- facts-note:d Note(text='four') by answer in cycle 2",
        "+ facts-note:e Note(text='five') by input in cycle 1",
        "~ facts-note:c payload: Note(text='three') → Note(text='drei')",
        "~ facts-note:c by: 'answer' → 'x'",
        "~ facts-note:c because: facts-note:a → nothing",
        "~ stop: {'kind': 'converged', 'cycles': 1} → None",
    ]


def test_two_points_of_one_run_differ_by_what_came_between() -> None:
    """Stops belong to the ends of runs, so they are not compared."""
    found = diff(written_log(), "r", "r", left_at=1, right_at=2)

    assert ((), (None, None), 1, 2) == (found.only_left, found.stops, found.left_at, found.right_at)
    assert [
        "--- r at the end of cycle 1",
        "+++ r at the end of cycle 2; first difference in cycle 2",
        "+ facts-note:d Note(text='four') by answer in cycle 2",
    ] == str(found).splitlines()


@pytest.mark.parametrize("cycle", [0, 1, 2])
def test_a_point_does_not_differ_from_itself(cycle: int) -> None:
    found = diff(written_log(), "r", "r", left_at=cycle, right_at=cycle)

    assert (False, f"r at the end of cycle {cycle} and r at the end of cycle {cycle} know the same") == (
        bool(found),
        str(found),
    )


def test_a_point_can_be_compared_with_an_end_and_with_another_log() -> None:
    log, other = written_log(), written_log(run="s")
    found = diff(log, "r", "s", left_at=0, right_log=other)

    assert ["facts-note:c", "facts-note:d"] == [fact.ref for fact in found.only_right]
    assert ["--- r at the end of cycle 0", "+++ s; first difference in cycle 1"] == str(found).splitlines()[:2]
    assert not diff(log, "r", "s", left_at=2, right_log=other)


def test_the_diff_of_a_cycle_that_is_not_there_says_so() -> None:
    with pytest.raises(LogError, match="run r has no cycle 7; its last is 2"):
        diff(written_log(), "r", "r", left_at=1, right_at=7)


def test_the_diff_of_an_unknown_run_says_so() -> None:
    with pytest.raises(UnknownRun):
        diff(written_log(), "r", "nobody")


# --- export and load --------------------------------------------------------------------------------------------------


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5, unique=True))
def test_what_is_exported_can_be_loaded_elsewhere(texts: list[str]) -> None:
    context = Context()
    for text in texts:
        context.add(Note(text=text))
    log, other = FactLog.open(), FactLog.open()
    result = engine().run_sync(context, log=log, run_id='a "rün"')
    loaded = other.load(log.export(result.run_id))

    assert [result.run_id] == loaded == other.runs()
    assert list(log.records(result.run_id)) == list(other.records(result.run_id))
    assert log.export(result.run_id) == other.export(result.run_id)
    assert result.context == replay(other, result.run_id)


def test_a_run_has_the_same_bytes_in_every_store(tmp_path: Path) -> None:
    """Also where several events were appended at once."""
    logs = [FactLog.open(), FactLog.open(tmp_path / "log.jsonl")]
    for log in logs:
        log.append(
            RUN, [started(), CycleCommitted(0, (), [note_fact("a")]), CycleCommitted(1, (), [note_fact("b", "a", 1)])]
        )

    assert logs[0].to_bytes(RUN) == logs[1].to_bytes(RUN)
    assert logs[0].export(RUN) == logs[1].export(RUN)
    logs[1].close()


def test_several_runs_are_loaded_at_once_or_none() -> None:
    log = written_log(written_log(), "s")
    both = log.export("r") + log.export("s")
    full, half = FactLog.open(), written_log(run="s")
    before = half.export("s")
    with pytest.raises(LogError) as caught:
        half.load(both)

    assert ["r", "s"] == full.load(both)
    assert "run s is already in this log. Nothing was taken in" == str(caught.value)
    assert (["s"], before) == (half.runs(), half.export("s"))


def sealed(kind: str, body: bytes) -> bytes:
    return b'{"%s":"%s","body":%s}\n' % (kind.encode(), sha256(body).hexdigest().encode(), body)


def committed(*bodies: bytes, commit: bytes) -> bytes:
    return b"".join(sealed("event", body) for body in bodies) + sealed("commit", commit)


HEAD = b'{"v":1,"run":"r","seq":0,'
HOSTILE = [
    b"{",
    b"not json",
    b"\xff\xfe",
    b"{}\n",
    b'{"commit":"',
    b'{"commit":""}\n',
    b"[" * 100_000,
    sealed("commit", b"{}"),
    sealed("commit", b"[]"),
    sealed("commit", b"[" * 100_000),
    sealed("payload", b"{}"),
    sealed("commit", b'{"run":"r","seq":0,"events":1,"beside":[{}]}'),
    committed(b"{}", commit=b'{"run":"r","seq":0,"events":1,"beside":[{}]}'),
    committed(HEAD + b'"x":1}', commit=b'{"run":"r","seq":"0","events":1,"beside":[{}]}'),
    committed(HEAD + b'"x":1}', commit=b'{"run":7,"seq":0,"events":1,"beside":[{}]}'),
    committed(HEAD + b'"x":1}', commit=b'{"run":"r","seq":0,"events":true,"beside":[{}]}'),
    committed(HEAD + b'"x":1}', commit=b'{"run":"r","seq":0,"events":1,"beside":7}'),
    committed(HEAD + b'"x":1}', commit=b'{"run":"r","seq":0,"events":1,"beside":["\\ud800"]}'),
    committed(HEAD + b'"x":1}', commit=b'{"run":"r","seq":0,"events":1,"beside":[{}]}'),
    committed(HEAD + b'"x":NOPE}', commit=b'{"run":"r","seq":0,"events":1,"beside":[{}]}'),
    committed(b'{"v":1,"run":"\\q","seq":0,"x":1}', commit=b'{"run":"r","seq":0,"events":1,"beside":[{}]}'),
    committed(
        b'{"v":1,"run":"r","seq":' + b"1" * 5000 + b',"x":1}', commit=b'{"run":"r","seq":0,"events":1,"beside":[{}]}'
    ),
    committed(
        HEAD + b'"prev":null,"kind":"run_stopped","stop":{},"facts":' + b"[" * 9000 + b"]}",
        commit=b'{"run":"r","seq":0,"events":1,"beside":[{}]}',
    ),
    write_batch("r", 5, [record_of(started(), 5, None)]),
    write_batch("r", 0, [record_of(started(), 0, "00" * 32)]),
    write_batch("r", 0, [record_of(started(), 0, None)]) * 2,
    write_batch("r", 0, [record_of(started(), 0, None)])[:-1] + b"x",
    write_batch("r", 0, [record_of(started(), 0, None, run="s")]),
]


@pytest.mark.parametrize("text", HOSTILE, ids=[str(place) for place in range(len(HOSTILE))])
def test_hostile_text_is_refused_and_nothing_of_it_is_taken_in(text: bytes) -> None:
    """Also behind a run that is sound."""
    for before in (b"", written_log(run="sound").to_bytes("sound")):
        log = FactLog.open()
        with pytest.raises(LogError):
            log.load(before + text)

        assert [] == log.runs()


@given(text=st.binary() | st.text())
@example(text="\ud800")
@example(text='{"commit":"\ud800"}')
def test_whatever_text_is_loaded_is_taken_in_or_refused_with_a_log_error(text: bytes | str) -> None:
    log = FactLog.open()
    try:
        taken = log.load(text)
    except LogError:
        taken = []

    assert [] == taken == log.runs()


@given(data=st.data())
def test_an_export_with_a_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = written_log().to_bytes("r")
    at = data.draw(st.integers(0, len(whole) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    log = FactLog.open()
    with pytest.raises(LogError):
        log.load(whole[:at] + bytes([byte]) + whole[at + 1 :])

    assert [] == log.runs()


class Failing(MemoryStore):
    """A store that refuses while it is full."""

    lazy = False
    full = False

    def commit(self, batch: Batch) -> None:
        if self.full:
            raise StoreError("the disk is full")
        super().commit(batch)


def test_what_a_store_could_not_take_is_an_error_and_not_a_gap() -> None:
    """The log reads again where the run really ends, and goes on there."""
    store = Failing()
    log = FactLog(store)
    log.append(RUN, [started()])
    store.full = True
    with pytest.raises(StoreError, match="the disk is full"):
        log.append(RUN, [CycleCommitted(0, (), [note_fact("a")])])
    store.full = False
    log.append(RUN, [CycleCommitted(0, (), [note_fact("b")]), RunStopped({}, 1)])

    assert verify(log, RUN).ok
    assert ["b"] == list(replay(log, RUN).of(Note))
