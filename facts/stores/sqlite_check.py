"""Finds what is wrong with a SQLite store as such: with the file, the numbers of events, the families of notes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

Query = Callable[[Callable[[sqlite3.Connection], Any]], Any]
"""Asks the database; its errors come back as errors of the store."""

_RUNS = (
    "SELECT runs.run, first, count(seq), min(seq), max(seq) "
    "FROM runs LEFT JOIN events ON events.run = no GROUP BY no ORDER BY no"
)
_NOBODYS = "SELECT position, run FROM events WHERE run != 0 AND run NOT IN (SELECT no FROM runs) ORDER BY position"
_WITH_FAMILIES = "SELECT space, owner, key, families FROM notes WHERE families != '' ORDER BY space, owner, key"
_FAMILIES = "SELECT space, owner, key, family FROM families ORDER BY space, owner, key, family"


def check_file(db: sqlite3.Connection) -> Iterator[str]:
    """Yields what SQLite itself finds: pages, cells and indexes that do not fit together."""
    for (said,) in db.execute("PRAGMA integrity_check"):
        if said != "ok":
            yield f"SQLite says: {said}"


def check_events(db: sqlite3.Connection) -> Iterator[str]:
    """Yields where events are missing and which belong to no run."""
    for run, first, count, low, high in db.execute(_RUNS):
        if count and low != first:
            yield f"run {run} should begin with event {first}, but begins with event {low}"
        elif count and high - low + 1 != count:
            yield f"run {run} has {count} events from number {low} to {high}: some are missing"
    for position, no in db.execute(_NOBODYS):
        yield f"position {position} of the ledger belongs to run number {no}, which is none"


def check_families(db: sqlite3.Connection) -> Iterator[str]:
    """Yields notes that would not be touched when facts of their families come, or by facts of others."""
    said = {(*where, family) for *where, families in db.execute(_WITH_FAMILIES) for family in families.split("\n")}
    found = set(db.execute(_FAMILIES))
    for space, owner, key, family in sorted(said ^ found):
        yield f"the {space} note {key!r:.80} of {owner!r:.80} and the table of families disagree about {family}"
