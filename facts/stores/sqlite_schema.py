"""Lays out the database of the SQLite store: its versions, and the steps that lead from each to the next.

A database says in its header whose it is (`application_id`) and how it is laid out (`user_version`). A version is made
by all steps up to it, so a new database and an old one that was brought forward are the same. A step that was released
is never changed; the golden files in `tests/golden/` hold us to that.
"""

from __future__ import annotations

import sqlite3
import time

from ..errors import StoreError
from .base import NewerFormat

APPLICATION_ID = 0x51534E54
"""Says that a database is a fact log: "QSNT"."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        # `first` is the number of the first event that was not cut off. Numbers of runs are never used again: another
        # process may still hold one.
        "CREATE TABLE runs (no INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, first INTEGER NOT NULL)",
        # What is empty is NULL. `payloads`: a body on each line, `gone`: a digest and an object on each line. `seal`
        # covers all but the text, and where it stands. Run 0 is none: its one row keeps the last position taken when
        # the events there went away.
        (
            "CREATE TABLE events (position INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, "
            "size INTEGER NOT NULL, digest BLOB NOT NULL, seal BLOB NOT NULL, raw BLOB NOT NULL, payloads BLOB, "
            "beside BLOB, gone BLOB)"
        ),
        "CREATE UNIQUE INDEX events_of_run ON events (run, seq)",
    ),
    (
        # `families` of a note: one on each line; the table says it the other way round. `seal` covers all but `stamp`.
        (
            "CREATE TABLE notes (space TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL, stamp INTEGER NOT NULL, "
            "position INTEGER NOT NULL, families TEXT NOT NULL, seal BLOB NOT NULL, value BLOB NOT NULL, "
            "PRIMARY KEY (space, owner, key)) WITHOUT ROWID"
        ),
        "CREATE INDEX notes_of_owner ON notes (owner)",
        (
            "CREATE TABLE families (family TEXT NOT NULL, space TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL, "
            "PRIMARY KEY (family, space, owner, key)) WITHOUT ROWID"
        ),
    ),
)
VERSION = len(STEPS)
"""The version that this build writes."""


def prepare(db: sqlite3.Connection, where: str, patience: float) -> None:
    """Makes a database ready: lays out an empty one, brings an old one forward, refuses one that is not ours.

    Raises:
        StoreError: it is somebody else's, newer, or damaged. Nothing was changed.
        sqlite3.Error: it cannot be read or written.
    """
    db.execute("BEGIN")  # all that is asked is of one moment: somebody else may be laying it out just now
    try:
        version = _version(db, where)
    finally:
        db.execute("ROLLBACK")
    _write_ahead(db, patience)
    if version < VERSION:
        _migrate(db, where)
    _compare(db, where)


def _version(db: sqlite3.Connection, where: str) -> int:
    """Returns the version of a database that is ours; 0 for an empty one."""
    owner: int = db.execute("PRAGMA application_id").fetchone()[0]
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if owner == APPLICATION_ID:
        if version > VERSION:
            raise NewerFormat(where, version, VERSION)
        if version < 1:
            raise _damaged(where, f"it says that it is laid out in version {version}")
        return version
    if owner or version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(
            f"{where} is a SQLite database, but no fact log (its application_id is {owner:#x}). Nothing was changed. "
            f"Give the log a file of its own"
        )
    return 0


def _write_ahead(db: sqlite3.Connection, patience: float) -> None:
    """Switches to a write-ahead log. SQLite does not wait by itself where two processes switch at the same time."""
    until = time.monotonic() + patience
    while True:
        try:
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
            continue
        if mode != "wal":
            raise StoreError("this file system cannot share memory between processes, which SQLite needs: use another")
        return


def _migrate(db: sqlite3.Connection, where: str) -> None:
    """Brings a database forward, in one transaction; another process may have been faster."""
    db.execute("BEGIN EXCLUSIVE")
    try:
        for step in STEPS[_version(db, where) :]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")
    except BaseException:  # whatever it was goes on; the layout stays what it was
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _compare(db: sqlite3.Connection, where: str) -> None:
    """Raises unless tables and indexes are laid out as the steps say; what others have added is theirs."""
    found = {row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    for step in STEPS:
        for statement in step:
            if statement not in found:
                raise _damaged(where, f"its layout is not that of version {VERSION}")


def _damaged(where: str, problem: str) -> StoreError:
    return StoreError(f"{where} is damaged: {problem}. Put a backup in its place")
