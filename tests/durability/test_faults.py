"""Lets the Nth operation of a store fail, for every N of a run: the caller hears of it, and nothing is lost.

A wrapper fails the Nth commit before it is made, or after it: then it was kept, and the caller is told that it was
not. The calls to the system are made to fail in a process of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from quiesce.facts import Store, StoreError
from quiesce.facts.stores import Batch, JsonLinesStore, SqliteStore
from quiesce.facts.stores.opening import open_store
from support.crashing import LOOKING, Place, Site, live
from support.failing import When, check_fault, fail_at
from support.faults import Fault
from support.nursery import Nursery
from support.postgres import Server, schema_of

pytestmark = pytest.mark.slow


def drop() -> None:
    raise StoreError("the connection was dropped")


STORES: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore(folder / "log.db"),
    "jsonl": lambda folder: JsonLinesStore(folder / "log.jsonl"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", STORES)
def test_whichever_commit_fails_nothing_is_lost(name: str, when: When, tmp_path: Path) -> None:
    """Kept or not, the caller is told that it failed; the same log object then finishes the run."""
    nth, there = 0, True
    while there:
        nth += 1
        place = Place(tmp_path / str(nth))
        place.folder.mkdir()
        there = check_fault(place, partial(STORES[name], place.folder), nth, when, drop)

    assert nth > 10


def _same(store: Store) -> Store:
    return store


def test_whichever_commit_finds_the_database_locked_nothing_is_lost(tmp_path: Path) -> None:
    """Another process keeps it to itself for longer than this one waits."""
    nth, there = 0, True
    while there:
        nth += 1
        place = Place(tmp_path / str(nth))
        place.folder.mkdir()
        path = place.folder / "log.db"
        store = SqliteStore(path, patience=0.01)
        other = sqlite3.connect(path, isolation_level=None)

        def lock(store: SqliteStore = store, other: sqlite3.Connection = other) -> None:
            other.execute("BEGIN IMMEDIATE")
            try:
                with pytest.raises(StoreError, match="is locked") as told:
                    store.commit(Batch())
            finally:
                other.execute("ROLLBACK")
            raise told.value

        there = check_fault(place, partial(_same, store), nth, "before", lock)
        other.close()

    assert nth > 10


@pytest.mark.parametrize("when", ["before", "after"])
def test_whichever_commit_loses_its_connection_nothing_is_lost(
    when: When, postgres: Server, tmp_path: Path
) -> None:  # fmt: skip
    """The server ends every connection just before, or just after, the nth commit."""
    for nth in (1, 2, 5, 9):
        place = Place(tmp_path / f"{when}{nth}")
        place.folder.mkdir()

        def disconnect() -> None:
            with postgres.connect() as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid != pg_backend_pid() AND backend_type = 'client backend'"
                )
            if when == "after":
                drop()

        url = postgres.url(schema_of(place.folder))
        assert check_fault(place, partial(open_store, url, "normal"), nth, when, disconnect)


# --- calls to the system --------------------------------------------------------------------------------------------


def failing_sites(nursery: Nursery, place: Place, lasting: bool) -> list[Site]:
    (place.folder / "dry").mkdir()
    said = nursery.call(live, Place(place.folder / "dry", place.file, place.sync)).unwrap()
    (counts,) = [value for kind, value in said if kind == "calls"]
    return [
        (watch, Fault(call, nth, how, lasting))
        for (watch, call), count in sorted(counts.items())
        if call not in LOOKING
        for nth in range(1, count + 1)
        for how in ("ENOSPC", "EIO")
    ]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    warm = Nursery("support.crashing")
    yield warm
    warm.close()


def check_calls(nursery: Nursery, place: Place, lasting: bool, step: int) -> None:
    """Lets a run fail at each call to the system, or at one of so many, and has it finished."""
    chosen = failing_sites(nursery, place, lasting)[::step]
    said = nursery.call(fail_at, place, chosen).unwrap()

    assert len(chosen) == len(said)
    missed = [call for call, what in said if what == "not made"]  # two answers may be kept in one step, or in two
    assert len(missed) <= 3 + len(said) // 10
    writing = {what for call, what in said if call in {"write", "pwrite"}}
    writing.discard("not made")
    assert {"NotKept", "NotJournaled"} <= writing <= {"NotKept", "NotJournaled", "StoreError", "nothing"}


@pytest.mark.parametrize(("sync", "lasting"), [("normal", True), ("full", False)])
@pytest.mark.parametrize("file", ["log.db", "log.jsonl"])
def test_whichever_call_to_the_system_fails_nothing_is_lost(
    nursery: Nursery, tmp_path: Path, file: str, sync: Literal["normal", "full"], lasting: bool
) -> None:
    """ENOSPC and EIO: an error in the caller's hands with what was not kept, and a log that can be used afterwards."""
    check_calls(nursery, Place(tmp_path, file, sync), lasting, 13 if file == "log.db" else 1)


@pytest.mark.soak
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.parametrize("file", ["log.db", "log.jsonl"])
def test_whichever_call_to_the_system_fails_nothing_is_lost_at_length(
    nursery: Nursery, tmp_path: Path, file: str, sync: Literal["normal", "full"], lasting: bool
) -> None:
    """The same, for every call of SQLite too."""
    check_calls(nursery, Place(tmp_path, file, sync), lasting, 1)
