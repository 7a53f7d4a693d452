"""Attacks the SQLite store: every call to the system fails or is the last one, and every byte is changed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

from quiesce.facts import Context, FactLog, LogError, Payload, Record, RunId, SqliteStore, StoreError, replay, verify
from quiesce.facts.event import CycleCommitted, RunStarted, RunStopped
from quiesce.facts.stores import Address, Batch
from support.faults import Calls, Fault, How, failing_fsync, in_child, sqlite_calls, start_child
from support.store_work import STATES, WORK, A, B, append_each, body, commit_all, record, state_of

Sync = Literal["normal", "full"]
CHANGING = ("open", "pwrite", "ftruncate", "unlink", "mmap", "sync", "fchmod", "openDirectory")
"""Calls that leave something behind, or without which nothing goes on."""


class Attacked:
    """A store whose calls fail, and what it must hold by now."""

    def __init__(self, path: Path, sync: Sync) -> None:
        self.path, self.sync = path, sync
        self.errors: list[str] = []
        self.kept = 0
        self.store = self.open()

    def open(self) -> SqliteStore:
        """Opens it; an error is told, and then it opens."""
        try:
            return SqliteStore(self.path, self.sync)
        except StoreError as error:
            self.errors.append(str(error))
            return SqliteStore(self.path, self.sync)

    def work(self) -> None:
        """Commits every batch, again if it failed; what was acknowledged is there at any time."""
        for number, batch in enumerate(WORK):
            self.kept = number
            try:
                self.store.commit(batch)
            except StoreError as error:
                self.errors.append(str(error))
                self.recover(batch)
        self.store.close()

    def recover(self, batch: Batch) -> None:
        """Goes on after a failed commit, in a new store if this one says so."""
        assert STATES[self.kept] == state_of(self.store)

        try:
            self.store.commit(Batch())
        except StoreError as refused:
            self.errors.append(str(refused))
            known = ("nobody knows whether this batch was kept", "takes no more events")
            assert any(text in self.errors[-2] for text in known)
            assert "takes no more events" in self.errors[-1]

            self.store.close()
            self.store = self.open()
            if state_of(self.store) == STATES[self.kept + 1]:
                return  # the disk had it
        else:
            assert "nothing of this batch was kept" in self.errors[-1]
        assert STATES[self.kept] == state_of(self.store)

        self.store.commit(batch)


def attack(fault: Fault | None, sync: Sync) -> tuple[Calls, list[str]]:
    """Does the work while a call fails; returns the calls and the errors that the caller got."""
    with TemporaryDirectory() as place:
        path = Path(place) / "log.db"
        with sqlite_calls(fault) as calls:
            attacked = Attacked(path, sync)
            attacked.work()
        again = SqliteStore(path)

        assert STATES[-1] == state_of(again)
        assert [] == list(again.check())

        again.close()
    return calls, attacked.errors


@pytest.mark.slow
@pytest.mark.parametrize(("how", "sync"), [("EIO", "full"), ("ENOSPC", "normal")])
@pytest.mark.parametrize("call", CHANGING)
def test_any_call_may_fail(call: str, how: How, sync: Sync) -> None:
    """An error in the caller's hands or none needed, nothing lost, and the log goes on: for the Nth call, for all N."""
    for nth in itertools.count(1):
        calls, _ = attack(Fault(call, nth, how), sync)
        if not calls.hit:
            break


def test_a_commit_that_the_disk_had_no_room_for_is_kept_once_there_is() -> None:
    """Every write fails from one on, until there is room again; the store stays in use all the time."""
    with TemporaryDirectory() as place:
        store = SqliteStore(Path(place) / "log.db")
        store.commit(WORK[0])
        store.close()
        with sqlite_calls(Fault("pwrite", 20, "ENOSPC", lasting=True)) as calls:
            store = SqliteStore(Path(place) / "log.db")
            kept = 1
            errors: list[str] = []
            while not errors:
                try:
                    store.commit(WORK[kept])
                    kept += 1
                except StoreError as error:
                    errors.append(str(error))
            with pytest.raises(StoreError) as again:
                store.commit(WORK[kept])

            assert [str(again.value)] == errors
            assert STATES[kept] == state_of(store)

            calls.fault = None
            for batch in WORK[kept:]:
                store.commit(batch)
        assert STATES[-1] == state_of(store)

        store.close()
    where = Path(place) / "log.db"
    problem = "nothing of this batch was kept: database or disk is full (SQLITE_FULL)"
    assert [f"{where}: {problem}. Make room on the disk and try again"] == errors


def test_a_sync_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    """The kernel refuses once, and then no more: whoever waits again would believe that all is well."""
    store = SqliteStore(tmp_path / "log.db", sync="full")
    store.commit(WORK[0])
    with pytest.raises(StoreError, match="nobody knows whether this batch was kept") as caught:
        failing_fsync(lambda: store.commit(WORK[1]))

    assert "SQLITE_IOERR_FSYNC" in str(caught.value)
    assert STATES[1] == state_of(store)

    expected = (
        f"{store.path} takes no more events: waiting for the disk failed (disk I/O error (SQLITE_IOERR_FSYNC)). "
        f"Open the log again"
    )
    for _ in range(2):
        with pytest.raises(StoreError) as refused:
            store.commit(WORK[1])
        assert expected == str(refused.value)
    store.close()
    again = SqliteStore(tmp_path / "log.db", sync="full")

    assert state_of(again) in STATES[1:3]

    again.close()


def test_a_sync_that_fails_when_the_database_is_brought_up_refuses_the_next_commit(tmp_path: Path) -> None:
    """With "normal" the disk is waited for only now and then; the commit before is acknowledged, and it is there."""
    store = SqliteStore(tmp_path / "log.db")
    for batch in WORK[:5]:
        store.commit(batch)
    failing_fsync(lambda: store.commit(WORK[5]))  # what it erases has to leave the write-ahead log
    with pytest.raises(StoreError, match="takes no more events: waiting for the disk failed"):
        store.commit(WORK[6])
    store.close()
    again = SqliteStore(tmp_path / "log.db")

    assert STATES[6] == state_of(again)

    again.close()


# --- kills ----------------------------------------------------------------------------------------------------------


def check_what_is_left(path: Path, said: list[int]) -> None:
    """What was acknowledged is there, and of the batch after it all or nothing; then the work goes on to its end."""
    store = SqliteStore(path)
    kept = max(said, default=0)
    held = state_of(store)
    if held == STATES[kept] and kept < len(WORK):
        rest = WORK[kept:]
    else:
        assert held == STATES[min(kept + 1, len(WORK))]
        rest = WORK[kept + 1 :]
    for batch in rest:
        store.commit(batch)

    assert STATES[-1] == state_of(store)
    assert [] == list(store.check())

    store.close()


def kill(fault: Fault, sync: Sync) -> bool:
    """Kills a child at a call and looks at what it leaves; returns whether it got so far."""
    with TemporaryDirectory() as place:
        path = Path(place) / "log.db"
        ended = in_child(commit_all, SqliteStore, path, sync, fault=fault, watch=sqlite_calls)

        assert ended.error == ""
        check_what_is_left(path, ended.said)
    return ended.killed


def counted(call: str) -> int:
    """Returns how often the work makes a call."""
    calls, _ = attack(None, "full")
    return calls.counts[call]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "step"), [("pwrite", 12), ("sync", 3), ("ftruncate", 3), ("unlink", 1), ("open", 4)])
def test_a_process_may_be_killed_at_a_call(call: str, step: int) -> None:
    """Torn writes among them; at every call that `make soak` tries, here at some."""
    killed = [kill(Fault(call, nth, "kill-torn"), "full") for nth in range(1, counted(call) + 1, step)]

    assert killed.count(True) >= len(killed) - 1


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.parametrize("how", ["kill-before", "kill-torn", "kill-after"])
@pytest.mark.parametrize("call", CHANGING)
def test_a_process_may_be_killed_at_any_call(call: str, how: How, sync: Sync) -> None:
    for nth in itertools.count(1):
        if not kill(Fault(call, nth, how), sync):
            break


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_a_writer_is_killed_at_any_moment(tmp_path: Path) -> None:
    """One log, one writer after the other, each killed once it has told of so many commits."""
    rng = Random(8)
    path = tmp_path / "log.db"
    kept = 0
    for _ in range(12):
        child = start_child(append_each, SqliteStore, path)
        for _ in range(rng.randrange(1, 60)):
            kept = child.hear()
        child.kill()
        kept = max([kept, *child.wait().said])
        store = SqliteStore(path)
        records = list(store.read(A))

        assert kept <= len(records) <= kept + 1
        assert [record("a", seq, [body(str(seq))]) for seq in range(len(records))] == records
        assert [] == list(store.check())

        store.close()


# --- damage ---------------------------------------------------------------------------------------------------------


class Leaf(Payload, key="seeds", family="sqlite-leaf"):
    """A fact of a small log."""

    text: str


NOTE = Address("memo", "", "found before")


@dataclass(frozen=True)
class Read:
    """All that a log tells when it is read."""

    runs: dict[RunId, tuple[list[Record], Context]]
    note: bytes | None
    ledger: list[tuple[int, RunId, int]]


def build_log(path: Path) -> None:
    """Writes two small runs and a note, into a database without a write-ahead log beside it."""
    with FactLog.open(path) as log:
        for run in (A, B):
            context = Context()
            facts = [context.add(Leaf(text=f"{run} {n}" * 9), id=f"{run}{n}") for n in range(4)]
            log.append(run, [RunStarted("2026-01-01T00:00:00+00:00", 1, (), {})], beside={"took": 1})
            log.append(run, [CycleCommitted(0, (), facts), RunStopped({"kind": "converged", "cycles": 0}, 4)])
        log.keep({NOTE: b"this was found"})


def read_log(path: Path) -> Read:
    """Returns what a log tells.

    Raises:
        LogError: it tells of damage.
    """
    with closing(SqliteStore(path, patience=0.1)) as store:
        log = FactLog(store)
        runs = {}
        for run in log.runs():
            verify(log, run).unwrap()
            runs[run] = (list(log.records(run)), replay(log, run))
            list(log.events(run))
        ledger = [(at, run, seq) for at, run, seq, _ in store.since(0)]
        return Read(runs, log.note(NOTE), ledger)


def what_is_said(path: Path) -> list[str]:
    """Returns what a store says of its own damage."""
    try:
        with closing(SqliteStore(path, patience=0.1)) as store:
            return list(store.check())
    except LogError as error:
        return [str(error)]


def harm(folder: Path, data: bytes, expected: Read, place: int, change: int) -> str:
    """Changes one byte and returns what is wrong with how that is met; empty if nothing is."""
    path = folder / "damaged.db"
    for name in folder.glob("damaged.db*"):
        name.unlink()
    path.write_bytes(data[:place] + bytes([data[place] ^ change]) + data[place + 1 :])
    try:
        found = read_log(path)
    except LogError as error:
        return "" if str(error) else "an error that says nothing"
    if found == expected or what_is_said(path):
        return ""
    return f"byte {place} ^ {change:#x} goes unseen"


def places_of(data: bytes, step: int, seed: int) -> Iterator[tuple[int, int]]:
    """Yields bytes and what to change in them: each `step`th that is not zero, fewer of those that are."""
    rng = Random(seed)
    told = [place for place, byte in enumerate(data) if byte]
    empty = [place for place, byte in enumerate(data) if not byte]
    for places, apart in ((told, step), (empty, step * 20)):
        for place in places[rng.randrange(apart) :: apart]:
            yield place, 0xFF
            yield place, 1 << rng.randrange(8)


@pytest.fixture
def small_log(tmp_path: Path) -> tuple[bytes, Read]:
    """A small log, as its bytes and as what it tells."""
    path = tmp_path / "small.db"
    build_log(path)
    return path.read_bytes(), read_log(path)


@pytest.mark.slow
def test_a_changed_byte_is_found_or_harmless(small_log: tuple[bytes, Read], tmp_path: Path) -> None:
    """Never another fact, never another kind of error; at some bytes, which `make soak` does at all."""
    data, expected = small_log
    seen = [harm(tmp_path, data, expected, place, change) for place, change in places_of(data, 37, seed=3)]

    assert [] == [problem for problem in seen if problem]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_any_changed_byte_is_found_or_harmless(small_log: tuple[bytes, Read], tmp_path: Path) -> None:
    data, expected = small_log
    rng = Random(int.from_bytes(os.urandom(4)))
    changes = ((place, change) for place in range(len(data)) for change in (0xFF, 1 << rng.randrange(8)))
    seen = (harm(tmp_path, data, expected, place, change) for place, change in changes)

    assert [] == [problem for problem in seen if problem]


@pytest.mark.slow
def test_a_database_that_was_cut_short_is_found_out_unless_nothing_is_missing(
    small_log: tuple[bytes, Read], tmp_path: Path
) -> None:
    data, expected = small_log
    path = tmp_path / "cut.db"
    unseen = []
    for length in range(1, len(data), 1021):
        path.write_bytes(data[:length])
        try:
            if read_log(path) != expected and not what_is_said(path):
                unseen.append(length)
        except LogError:
            continue

    assert [] == unseen
