"""Writes a batch into the tables of the SQLite store, inside a transaction that somebody else begins and ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .base import Fenced, Stale
from .batch import Address, Batch, Put
from .sqlite_rows import COLUMNS, NOTE_COLUMNS, row_of, seal_of_note

_HERE = "space = ? AND owner = ? AND key = ?"
_END = "SELECT no, first, (SELECT max(seq) FROM events WHERE events.run = no) FROM runs WHERE run = ?"
_STAMP = f"SELECT stamp FROM notes WHERE {_HERE}"
_CHECK = (
    f"SELECT no, first, (SELECT max(seq) FROM events WHERE events.run = no), ({_STAMP}), "
    f"EXISTS (SELECT 1 FROM families) FROM runs WHERE run = ?"
)
_INSERT = f"INSERT INTO events (run, seq, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_APPEND = (
    f"INSERT INTO events (run, seq, {COLUMNS}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? "
    f"WHERE (SELECT max(seq) FROM events WHERE run = ?) = ? AND ({_STAMP}) = ? "
    f"AND EXISTS (SELECT 1 FROM runs WHERE no = ? AND run = ?) AND NOT EXISTS (SELECT 1 FROM families)"
)
_REPLACE = (
    "UPDATE events SET size = ?, seal = ?, payloads = ?, beside = ?, gone = ? "
    "WHERE run = (SELECT no FROM runs WHERE run = ?) AND seq = ? AND digest = ?"
)
_PUT = f"INSERT OR REPLACE INTO notes (space, owner, key, {NOTE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ROOM = 3500
"""About how many bytes of content go into a page."""


def write(db: sqlite3.Connection, batch: Batch) -> int:
    """Checks a batch and writes it; returns about how many pages that takes.

    Raises:
        Fenced: a run does not end where the batch says.
        Stale: a note was changed.
    """
    numbers, is_touched = _check(db, batch)
    pages = 0
    for run, records in batch.records.items():
        if records:
            pages += _insert(db, run, numbers[run], batch.ends[run], records)
    for (run, seq), record in batch.replaced.items():
        pages += _replace(db, run, seq, record)
    if batch.cut or batch.dropped:
        _remove(db, batch)
    if is_touched:
        _touch(db, batch)
    if batch.puts:
        position = top(db)
        for address, put in batch.puts.items():
            pages += _put(db, address, put, position)
    return pages


def append_one(db: sqlite3.Connection, batch: Batch, numbers: dict[RunId, int]) -> int | None:
    """Adds one event to a run by one statement, checks included, which is a transaction by itself.

    Returns about how many pages that takes; None, and nothing was written, where the long way is needed: because the
    batch is another one, or because what it expects does not hold.
    """
    if len(batch.ends) != 1 or len(batch.expects) != 1 or batch.puts or batch.replaced or batch.cut or batch.dropped:
        return None
    ((run, seq),) = batch.ends.items()
    records = batch.records.get(run, ())
    if len(records) != 1 or not seq:
        return None
    no = numbers.get(run)
    if no is None:
        found = find(db, run)[0]
        if found is None:
            return None
        no = numbers[run] = found
    row = row_of(run, seq, records[0])
    ((address, stamp),) = batch.expects.items()
    if db.execute(_APPEND, (no, seq, *row, no, seq - 1, *address, stamp, no, run)).rowcount != 1:
        numbers.pop(run, None)
        return None
    return 3 + row[0] // _ROOM


def _check(db: sqlite3.Connection, batch: Batch) -> tuple[dict[RunId, int | None], bool]:
    """Returns the numbers of the runs of a batch, and whether it may touch a note."""
    if len(batch.ends) == 1 == len(batch.expects):  # nearly always: one question instead of three
        ((run, end),) = batch.ends.items()
        ((address, stamp),) = batch.expects.items()
        row = db.execute(_CHECK, (*address, run)).fetchone()
        if row is not None:
            found, is_touched = row[3], row[4]
            no, _, at = _numbers(run, row[:3])
            if at != end:
                raise Fenced(run, end, at)
            if found != stamp:
                raise Stale(address)
            return {run: no}, bool(is_touched and batch.touches)
    numbers: dict[RunId, int | None] = {}
    for run, end in batch.ends.items():
        numbers[run], _, at = find(db, run)
        if at != end:
            raise Fenced(run, end, at)
    for address, stamp in batch.expects.items():
        known = db.execute(_STAMP, address).fetchone()
        if (None if known is None else known[0]) != stamp:
            raise Stale(address)
    return numbers, bool(batch.touches) and db.execute("SELECT 1 FROM families LIMIT 1").fetchone() is not None


def find(db: sqlite3.Connection, run: RunId) -> tuple[int | None, int, int]:
    """Returns the number of a run, that of its first event and that of its next; None and zeros for an unknown one."""
    row = db.execute(_END, (run,)).fetchone()
    return (None, 0, 0) if row is None else _numbers(run, row)


def _numbers(run: RunId, row: tuple[Any, ...]) -> tuple[int, int, int]:
    no, first, last = row
    if type(first) is not int or (last is not None and type(last) is not int):
        raise sqlite3.DatabaseError(f"the numbers of the events of run {run} are damaged")
    return no, first, first if last is None else last + 1


def top(db: sqlite3.Connection) -> int:
    """Returns the last position of the ledger that was taken."""
    row = db.execute("SELECT max(position) FROM events").fetchone()
    return row[0] or 0


def _insert(db: sqlite3.Connection, run: RunId, no: int | None, seq: int, records: Sequence[Record]) -> int:
    if no is None:
        no = db.execute("INSERT INTO runs (run, first) VALUES (?, 0)", (run,)).lastrowid
    rows = [(no, place, *row_of(run, place, record)) for place, record in enumerate(records, seq)]
    if len(rows) == 1:
        db.execute(_INSERT, rows[0])
    else:
        db.executemany(_INSERT, rows)
    return 3 + sum(row[2] for row in rows) // _ROOM


def _replace(db: sqlite3.Connection, run: RunId, seq: int, record: Record) -> int:
    size, digest, seal, _, payloads, beside, gone = row_of(run, seq, record)
    if db.execute(_REPLACE, (size, seal, payloads, beside, gone, run, seq, digest)).rowcount != 1:
        raise StoreError(f"run {run}: there is no event {seq} with digest {record.digest}. Nothing was changed")
    return 1 + size // _ROOM


def _remove(db: sqlite3.Connection, batch: Batch) -> None:
    last = top(db)
    for run, before in batch.cut.items():
        _erase(db, run, before)
        db.execute("UPDATE runs SET first = max(first, ?) WHERE run = ?", (before, run))
    for run in batch.dropped:
        _erase(db, run, None)
        db.execute("DELETE FROM runs WHERE run = ?", (run,))
        owned = "(space, owner, key) IN (SELECT space, owner, key FROM notes WHERE owner = ?)"
        db.execute(f"DELETE FROM families WHERE {owned}", (run,))
        db.execute("DELETE FROM notes WHERE owner = ?", (run,))
    db.execute("DELETE FROM events WHERE run = 0 AND position < ?", (last,))
    if top(db) < last:  # no position is ever taken twice
        places = (last, 0, last, 0, b"", b"", b"")
        db.execute(
            "INSERT INTO events (position, run, seq, size, digest, seal, raw) VALUES (?, ?, ?, ?, ?, ?, ?)", places
        )


def _erase(db: sqlite3.Connection, run: RunId, before: int | None) -> None:
    """Takes events of a run away.

    They are overwritten first, where they stand. Else, when SQLite joins pages that are no longer full, it copies
    events that are to go next, and leaves the bytes that it copied from.
    """
    which = "run = (SELECT no FROM runs WHERE run = ?) AND seq < coalesce(?, 1 << 62)"
    zeros = ", ".join(f"{column} = zeroblob(length({column}))" for column in ("raw", "payloads", "beside", "gone"))
    db.execute(f"UPDATE events SET {zeros} WHERE {which}", (run, before))
    db.execute(f"DELETE FROM events WHERE {which}", (run, before))


def _touch(db: sqlite3.Connection, batch: Batch) -> None:
    touched = "(space, owner, key) IN (SELECT space, owner, key FROM families WHERE family = ?)"
    values = [(batch.touch, family) for family in batch.touches]
    db.executemany(f"UPDATE notes SET stamp = ? WHERE {touched}", values)


def _put(db: sqlite3.Connection, address: Address, put: Put | None, position: int) -> int:
    row = db.execute(f"SELECT families FROM notes WHERE {_HERE}", address).fetchone()
    old = row[0] if row is not None else ""
    new = "\n".join(put.families) if put is not None else ""
    if old and old != new:
        values = [(family, *address) for family in old.split("\n")]
        db.executemany(f"DELETE FROM families WHERE family = ? AND {_HERE}", values)
    if put is None:
        db.execute(f"DELETE FROM notes WHERE {_HERE}", address)
        return 1
    seal = seal_of_note(address, position, new, put.value)
    db.execute(_PUT, (*address, put.stamp, position, new, seal, put.value))
    if new and old != new:
        values = [(family, *address) for family in put.families]
        db.executemany("INSERT OR IGNORE INTO families (family, space, owner, key) VALUES (?, ?, ?, ?)", values)
    return 1 + len(put.value) // _ROOM
