"""Attacks that once broke a promise of durable logs; each stays as a test."""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Budget, Converged, Engine, NotKept, Suggestor, propose, suggestor
from quiesce.engine.journal import BrokenEntry
from quiesce.facts import (
    BrokenNote,
    BrokenSnapshot,
    Context,
    Fact,
    FactLog,
    LogError,
    Payload,
    RunId,
    StoreError,
    View,
    verify,
)
from quiesce.facts.exported import read_runs, write_run
from quiesce.facts.lease import TakenOver, unowned
from quiesce.facts.lease import address_of as address_of_lease
from quiesce.facts.record import Record
from quiesce.facts.seal import seal, unseal
from quiesce.facts.snapshot import Snapshot, address_of
from quiesce.facts.stores import Address, Batch, Put
from quiesce.facts.stores.notebook import Notebook

FILES = pytest.mark.parametrize("name", ["log.db", "log.jsonl"])


class Ask(Payload, key="seeds", family="attack-ask"):
    text: str


class Told(Payload, key="strategies", family="attack-told"):
    text: str


def asks(*texts: str) -> Context:
    context = Context()
    for place, text in enumerate(texts):
        context.add(Ask(text=text), id=str(place))
    return context


def echo(**options: Any) -> tuple[Suggestor, list[str]]:
    called: list[str] = []

    @suggestor(writes=[Told], name="echo", **options)
    def told(ask: Fact[Ask]) -> Any:
        called.append(ask.id)
        return Told(text=ask.payload.text)

    return told, called


@contextmanager
def crash_after(log: FactLog, commits: int) -> Iterator[None]:
    """Lets the store take so many appends, and no more."""
    real, left = log.store.commit, commits

    def commit(batch: Batch) -> None:
        nonlocal left
        if batch.records:
            left -= 1
            if left < 0:
                raise StoreError("the disk is gone")
        real(batch)

    log.store.commit = commit  # type: ignore[method-assign]
    try:
        yield
    finally:
        log.store.commit = real  # type: ignore[method-assign]


def leave_unfinished(engine: Engine, log: FactLog, run: str) -> None:
    """Leaves a run whose impure suggestor has answered, and whose answer is journaled and not committed."""
    with crash_after(log, 1), pytest.raises(NotKept):
        engine.run_sync(asks("a"), log=log, run_id=run)


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_a_damaged_journal_keeps_nobody_from_the_run_once_it_is_mended(tmp_path: Path) -> None:
    """The lease that was claimed to go on with the run is given back."""
    told, called = echo(pure=False)
    engine, log = Engine([told]), FactLog.open(tmp_path / "log.db")
    leave_unfinished(engine, log, "r")
    [(address, note)] = log.store.notes("journal")
    log.store.commit(Batch(puts={address: Put(b"damage", 1)}))

    for _ in range(2):
        assert isinstance(engine.recover_sync(log).skipped[RunId("r")], BrokenNote)
        with pytest.raises(BrokenNote):
            engine.resume_sync("r", log=log)
    log.store.commit(Batch(puts={address: Put(note.value, 2)}))
    assert isinstance(engine.recover_sync(log).unwrap().results[RunId("r")].stop, Converged)
    assert ["0"] == called


def test_a_damaged_answer_of_a_cycle_that_is_committed_is_no_matter(tmp_path: Path) -> None:
    told, _ = echo(pure=False)
    engine, log = Engine([told]), FactLog.open(tmp_path / "log.db")
    engine.run_sync(asks("a"), log=log, run_id="r")
    [(address, _)] = log.store.notes("journal")
    log.store.commit(Batch(puts={address: Put(b"damage", 1)}))

    assert isinstance(engine.resume_sync("r", log=log).stop, Converged)


def test_a_run_whose_answers_cannot_be_read_here_is_left_unfinished(tmp_path: Path) -> None:
    """It was called off for good, and said to be left as it was."""
    told, called = echo(pure=False)
    engine, log = Engine([told]), FactLog.open(tmp_path / "log.db")
    leave_unfinished(engine, log, "r")
    [(address, raw)] = log.notes("journal")
    length = log.length("r")
    changed = raw.replace(b'"digest":"', b'"digest":"x')
    log.store.commit(Batch(puts={address: Put(seal(address, changed), 1)}))

    assert isinstance(engine.recover_sync(log).skipped[RunId("r")], BrokenEntry)
    assert (length, ["r"]) == (log.length("r"), log.unfinished())
    log.store.commit(Batch(puts={address: Put(seal(address, raw), 2)}))
    assert isinstance(engine.recover_sync(log).unwrap().results[RunId("r")].stop, Converged)
    assert ["0"] == called


def test_a_run_that_is_taken_over_while_it_is_recovered_calls_no_other_off(tmp_path: Path) -> None:
    told, _ = echo(pure=False)
    engine, log, other = Engine([told]), FactLog.open(tmp_path / "log.db"), FactLog.open(tmp_path / "log.db")
    for run in ("taken", "left"):
        leave_unfinished(engine, log, run)
    address = address_of_lease(RunId("taken"))
    real = log.store.commit

    def commit(batch: Batch) -> None:
        if RunId("taken") in batch.records:  # its process stood still, and another came by
            other.store.commit(Batch(puts={address: Put(seal(address, unowned()), 1)}))
        real(batch)

    log.store.commit = commit  # type: ignore[method-assign]
    recovery = engine.recover_sync(log, concurrency=1)
    assert ([RunId("left")], [RunId("taken")]) == (list(recovery.results), list(recovery.skipped))
    assert isinstance(recovery.skipped[RunId("taken")].__cause__, TakenOver)


def test_a_run_that_cannot_begin_gives_its_name_back(tmp_path: Path) -> None:
    told, _ = echo()
    engine, log = Engine([told]), FactLog.open(tmp_path / "log.db")
    context = engine.run_sync(asks("a"), log=log, run_id="parent").context.copy()
    context.add(Ask(text="b"), id="1")
    real = log.store.note

    def note(address: Address) -> Any:
        if address.space == "epoch":
            raise StoreError("the disk is gone")
        return real(address)

    log.store.note = note  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="the disk is gone"):
        engine.run_sync(context, log=log, run_id="child")
    log.store.note = real  # type: ignore[method-assign]

    assert isinstance(engine.run_sync(context, log=log, run_id="child").stop, Converged)


@pytest.mark.parametrize("seen", ["damage", "another format"])
def test_a_memo_that_cannot_be_used_stops_no_run(seen: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told, called = echo(memo=True)
    engine, log = Engine([told]), FactLog.open(tmp_path / "log.db")
    engine.run_sync(asks("a"), log=log)
    [(address, raw)] = log.notes("memo")
    value = b"damage" if seen == "damage" else seal(address, raw.replace(b'"v":1', b'"v":99'))
    log.store.commit(Batch(puts={address: Put(value, 1)}))

    with caplog.at_level(logging.WARNING, "quiesce"):
        results = [engine.run_sync(asks("a"), log=log) for _ in range(2)]
    assert [["a"], ["a"]] == [[fact.payload.text for fact in one.context.of(Told).values()] for one in results]
    assert ["0", "0"] == called  # the first of the two mended it
    assert ["echo is called anew" in record.message for record in caplog.records] == [True]


def test_an_answer_that_names_more_than_was_shown_is_not_shared(tmp_path: Path) -> None:
    """Another run has not what it rests on, or has what it was refused for; its log could not be verified."""
    called = []

    @suggestor(reads=[Ask, Told], writes=[Told], memo=True)
    def pair(ask: Fact[Ask]) -> Any:
        called.append(ask.id)
        return propose(Told(text=ask.payload.text), because=["attack-ask:0", "attack-ask:1"])

    engine, log = Engine([pair]), FactLog.open(tmp_path / "log.db")
    results = [engine.run_sync(asks(*texts), log=log) for texts in (["a"], ["a", "b"], ["a"])]

    assert [0, 2, 0] == [len(one.context.of(Told)) for one in results]
    assert ["0", "0", "1", "0"] == called
    for one in results:
        verify(log, one.run_id).unwrap()


def test_what_is_shown_is_told_apart_by_where_a_confidence_ends(tmp_path: Path) -> None:
    """0.5 of "5x" and 0.55 of "x" had one digest, and so one answer."""
    shown = []

    @suggestor(reads=[Ask], writes=[Told], memo=True)
    def count(view: View) -> Any:
        shown.append([(fact.confidence, fact.id) for fact in view.all(Ask)])
        return Told(text=str(len(shown)))

    engine, log = Engine([count]), FactLog.open(tmp_path / "log.db")
    for confidence, id in ((0.5, "5x"), (0.55, "x")):
        context = Context()
        context.add(Ask(text="a"), id, confidence=confidence)
        engine.run_sync(context, log=log)

    assert [[(0.5, "5x")], [(0.55, "x")]] == shown


def test_a_run_that_was_paid_for_by_another_reruns_to_the_same(tmp_path: Path) -> None:
    """A pure suggestor is called again by a rerun, and what it then cost parted it from its record."""

    @suggestor(writes=[Told], memo=True)
    def dear(ask: Fact[Ask]) -> Any:
        return propose(Told(text=ask.payload.text), tokens=5)

    engine, log = Engine([dear]), FactLog.open(tmp_path / "log.db")
    for run in ("paid", "free"):
        engine.run_sync(asks("a", "b"), log=log, run_id=run)

    assert [None, None] == [engine.rerun_sync(log, run).parting for run in ("paid", "free")]


def test_answers_that_no_cycle_took_in_can_be_erased(tmp_path: Path) -> None:
    """The budget refused their cycle, so no event names them; the journal has them all the same."""

    @suggestor(writes=[Told], pure=False)
    def told(ask: Fact[Ask]) -> Any:
        return [propose(Told(text="Zebedee"), id="0"), propose(Told(text="b"), id="1")]

    engine = Engine([told])
    for name in ("log.db", "log.jsonl"):
        log = FactLog.open(tmp_path / name)
        engine.run_sync(asks("a"), log=log, run_id="r", budget=Budget(facts=2))
        assert 1 == log.redact("r", "attack-told:0", reason="erasure request 1", by="ana").notes
        assert [] == list(log.notes("journal"))
        assert not [path.name for path in tmp_path.iterdir() if holds(path.read_bytes(), b"Zebedee")]
        verify(log, "r").unwrap()
        log.close()


def holds(data: bytes, secret: bytes) -> bool:
    """Tells whether a file holds a text, plain or in a note that is written in base 64."""
    values = re.findall(rb'"value":"([A-Za-z0-9+/=]+)"', data)
    return any(secret in body for body in (data, *map(b64decode, values)))


# --- stores -----------------------------------------------------------------------------------------------------------


@FILES
def test_a_child_process_that_a_suggestor_forks_cannot_write_to_the_log_of_its_parent(
    name: str, tmp_path: Path
) -> None:
    """The child ended the run in a JSON lines file whose lock it had inherited, and damaged it."""
    parent = os.getpid()

    @suggestor(writes=[Told])
    def forks(ask: Fact[Ask]) -> Any:
        child = os.fork()
        if child == 0:
            raise SystemExit
        os.waitpid(child, 0)
        return Told(text="done")

    log = FactLog.open(tmp_path / name)
    try:
        result = Engine([forks]).run_sync(asks("a"), log=log)
    finally:
        if os.getpid() != parent:
            os._exit(0)

    assert isinstance(result.stop, Converged)
    verify(log, result.run_id).unwrap()


class Looked(NamedTuple):
    """A note in a notebook."""

    families: tuple[str, ...]


ADDRESSES = st.builds(Address, *(st.sampled_from(names) for names in (("lease", "memo"), ("", "r", "s"), ("", "k"))))
NOTES = st.builds(Looked, st.sampled_from(((), ("a",), ("a", "b"))))
STEPS = st.lists(st.one_of(st.tuples(ADDRESSES, st.none() | NOTES), st.sampled_from(("", "r", "s"))))


@given(STEPS)
def test_a_notebook_finds_what_looking_at_every_note_would(steps: list[Any]) -> None:
    """Looking at every note at each commit cost a run in a log with many answers in its memo twenty times as much."""
    book: Notebook[Looked] = Notebook()
    plain: dict[Address, Looked] = {}
    for step in steps:
        if isinstance(step, str):
            book.drop([step])
            plain = {address: note for address, note in plain.items() if address.owner != step}
        elif step[1] is None:
            book.pop(step[0], None)
            plain.pop(step[0], None)
        else:
            book[step[0]] = plain[step[0]] = step[1]

    assert plain == dict(book)
    for space in ("lease", "memo", "journal"):
        for owner in (None, "", "r", "s", "t"):
            found = sorted(one for one in plain if one.space == space and owner in (None, one.owner))
            assert found == book.find(space, owner)
    for families in (frozenset[str](), frozenset("a"), frozenset("bc"), frozenset("c")):
        touched = {one for one, note in plain.items() if families & set(note.families)}
        assert touched == set(book.touched(families))


def test_a_link_that_leads_nowhere_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "log.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match="cannot be opened: No such file"):
        FactLog.open(tmp_path / "log.db")


# --- texts from elsewhere ---------------------------------------------------------------------------------------------


def compacted(log: FactLog) -> tuple[Snapshot, Record]:
    """Returns the snapshot of a run that was compacted, and the event behind it."""
    told, _ = echo()
    Engine([told]).run_sync(asks(*(["a"] * 200)), log=log, run_id="r")
    log.compact("r")
    exported = read_runs(log.export("r").encode())[RunId("r")]
    assert exported.snapshot is not None
    return Snapshot.read(RunId("r"), unseal(address_of(RunId("r")), exported.snapshot)), exported.records[0]


def forged(run: str, events: int, like: Snapshot, last: Record, body: bytes | None = None) -> bytes:
    """Returns the export of a run whose snapshot says that it stands for so many events."""
    started = zlib.compress(like.started.replace(b'"run":"r"', b'"run":"%b"' % run.encode()))
    packed = body if body is not None else like._body
    snapshot = Snapshot(RunId(run), events, like.cycle, like.digest, like.tree, started, packed)
    data = {**json.loads(last.raw), "run": run, "seq": events}
    raw = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    address = address_of(RunId(run))
    return write_run(
        run, events, seal(address, snapshot.to_bytes()), [Record(raw, sha256(raw).hexdigest(), last.payloads)]
    )


def test_a_text_cannot_claim_more_events_than_a_log_can_hold() -> None:
    """Each run of it could; together they took any amount of memory."""
    like, last = compacted(FactLog.open())
    text = b"".join(forged(f"r{place}", 400_000, like, last) for place in range(3))

    with pytest.raises(LogError, match="more than 1,000,000 events, up to run r2"):
        FactLog.open().load(text)


def test_a_snapshot_from_elsewhere_cannot_fill_the_memory() -> None:
    like, last = compacted(FactLog.open())
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(256)) + packer.flush()

    with pytest.raises(BrokenSnapshot, match="bytes come out of"):
        FactLog.open().load(forged("r", like.events, like, last, bomb))


def test_a_run_that_could_be_taken_for_such_a_snapshot_is_compacted_all_the_same(monkeypatch: Any) -> None:
    monkeypatch.setattr("quiesce.facts.snapshot.ROOM", 1000)
    monkeypatch.setattr("quiesce.facts.snapshot.SWELL", 2)
    log = FactLog.open()
    told, _ = echo()
    result = Engine([told]).run_sync(asks(*("a" * 500 + str(place) for place in range(50))), log=log, run_id="r")
    log.compact("r")

    snapshot = log.snapshot("r")
    assert snapshot is not None
    assert 100 == len(snapshot.entries())
    verify(log, result.run_id).unwrap()
