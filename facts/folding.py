"""Folds the facts of a ledger into the values of one projection, from where its values are to where the ledger is.

Told as a story: the *entry* of a projection (see `standing.py`) gets another stamp whenever somebody appends a fact
that it reads. The *mark* of its values says up to which stamp they are folded. A process that has folded everything up
to a stamp may put the values of its own facts expecting that stamp: if it still stands, nothing was missed; if not,
`Stale` tells so, the process folds what has come, and tries again. Nobody waits for anybody, and each that fails does
so because another has made progress.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

from .errors import LogError
from .fact import Fact, RunId, clean_message
from .payload import Opaque
from .projection import FoldFailed, Projection
from .read_event import BrokenEvent, UnknownFormat, read_committed, read_head
from .record import Record
from .seal import BrokenNote
from .standing import (
    Base,
    BrokenProjection,
    Entry,
    put_mark,
    put_value,
    read_entry,
    read_mark,
    read_value,
    values_of,
)
from .stores import Address, Batch, Broken, Put, Store

Progress = Callable[[int], None]
Bodies = dict[str, bytes | None]

CHUNK = 1_000
"""How many events are read at a time; between two chunks, others may use the log."""
KNOWN = 10_000
"""How many values are kept in memory; the store has them all."""


class ProjectionOutdated(LogError):
    """Another version of a projection stands in a log."""

    def __init__(self, name: str, version: str, stands: str | None) -> None:
        self.name, self.version, self.stands = name, version, stands
        found = "was taken out of the log" if stands is None else f"stands in the log in version {stands!r}"
        super().__init__(
            f"projection {name!r} {found}; this process has version {version!r}. Facts are kept all the same, and "
            f"whoever has that code folds them. Start this process with the same code, or log.rebuild({name!r}) for "
            f"this version"
        )


CANNOT = (FoldFailed, ProjectionOutdated, BrokenProjection, BrokenNote, Broken, BrokenEvent, UnknownFormat)
"""What keeps a projection from going on, and must not keep facts from being kept."""


class Folding:
    """The values of one projection, as far as one process knows them."""

    def __init__(self, projection: Projection[Any], store: Store, base: Base | None = None) -> None:
        self.projection = projection
        self.store = store
        self.whole = base is not None
        """All values are in memory: one that is not there is nowhere."""
        self.put: int | None = None
        """The stamp of the mark that it goes on from."""
        self.seen: int | None = None
        """The stamp of the entry up to which all is folded; None if that has to be looked up."""
        self.failure: LogError | None = None
        """Why it does not go on; facts are kept without it."""
        self.events = 0
        self._at: int | None = None  # up to where it has folded; None: up to where its last put was
        self._count = 0  # how many values there are
        self._known: Bodies = {}
        self._dirty: set[str] = set()  # values that the store does not have yet
        self._marks = tuple(f'"{family}:'.encode() for family in projection.families)
        if base is not None:
            self._at, self._known, self._count = base.at, dict(base.values), len(base.values)

    @property
    def watermark(self) -> int:
        """The position up to which it has folded."""
        return self._at or 0

    # --- going on ---------------------------------------------------------------------------------------------------

    def refresh(self, lock: AbstractContextManager[Any] | None = None) -> None:
        """Brings the values to the end of the ledger, in memory.

        Raises:
            LogError: one of `CANNOT`; the values are as they are stored.
        """
        name = self.projection.name
        while True:
            entry = self.check(read_entry(self.store, name))
            mark = read_mark(self.store, name)
            if mark.stamp != self.put:
                self.reset()
                self.put, self._at, self._count = mark.stamp, mark.watermark, mark.count
            elif self._at is None:
                self._at = mark.position
            try:
                if mark.is_behind(entry) and self.seen != entry.stamp:
                    self.catch_up(lock=lock)
            except CANNOT:
                self.reset()
                if read_mark(self.store, name).stamp == mark.stamp:
                    raise
                continue  # somebody else has put values while these were read
            self.seen = entry.stamp
            return

    def check(self, entry: Entry | None) -> Entry:
        """Returns the entry if the values are those of this version."""
        projection = self.projection
        if entry is None or entry.version != projection.version:
            raise ProjectionOutdated(projection.name, projection.version, None if entry is None else entry.version)
        return entry

    def reset(self) -> None:
        """Forgets what is known; the store has it."""
        self.seen = self.put = self._at = None
        self.whole = False
        self._known, self._dirty, self._count = {}, set(), 0

    def catch_up(
        self,
        *,
        until: int | None = None,
        lock: AbstractContextManager[Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Folds the events behind where it is; a lock is held while a chunk of them is read, and free in between."""
        size = None if self.store.lazy else CHUNK
        # Of events that change a projection the order of positions is the order of commits; others may still appear
        # before one that is there. So only what was there at first counts, and only the last that counted is a place
        # to go on from.
        end = self.store.position() if until is None else until
        at = self.watermark
        while True:
            with lock or nullcontext():
                chunk = list(islice(self.store.since(at), size))
            for position, run, seq, record in chunk:
                if position > end:
                    return
                changes: Bodies = {}
                if self._fold(run, seq, record, changes):
                    self._count += self._growth(changes)
                    self._known.update(changes)
                    self._dirty.update(changes)
                    self._at = position
                at = position
                self.events += 1
                if progress is not None and self.events % 64 == 0:
                    progress(self.events)
            if size is None or len(chunk) < size:
                return

    def draft(self, batch: Batch) -> Bodies:
        """Returns the values that the events of a batch change, without taking them over."""
        changes: Bodies = {}
        for run, records in batch.records.items():
            for seq, record in enumerate(records, batch.ends[run]):
                self._fold(run, seq, record, changes)
        return changes

    def puts(self, changes: Bodies, seen: int, stamp: int) -> dict[Address, Put | None]:
        """Returns the notes of the values that a batch changes, of those not stored yet, and of how far they are."""
        name, known, dirty = self.projection.name, self._known, self._dirty
        space = values_of(name)
        bodies = {id: known[id] for id in sorted(dirty)} if dirty else {}
        bodies.update((id, body) for id, body in changes.items() if id in dirty or body != known.get(id))
        puts: dict[Address, Put | None] = {
            Address(space, "", id): None if body is None else put_value(space, id, body, stamp)
            for id, body in bodies.items()
        }
        count = self._count + self._growth(changes)
        puts[Address(space, "", "")] = put_mark(name, self.projection.version, seen, count, stamp)
        return puts

    def accept(self, changes: Bodies, seen: int, stamp: int) -> None:
        """Notes that what was drafted is stored."""
        self._count += self._growth(changes)
        self._known.update(changes)
        self._dirty.clear()
        self.seen, self.put, self._at = seen, stamp, None
        if len(self._known) > KNOWN:
            self._known, self.whole = {}, False

    # --- asking -----------------------------------------------------------------------------------------------------

    def values(self) -> dict[str, bytes]:
        """Returns the values that it has in memory."""
        return {id: body for id, body in self._known.items() if body is not None}

    def is_current(self) -> bool:
        """Tells whether nobody has appended since it last looked."""
        entry = read_entry(self.store, self.projection.name)
        return entry is not None and entry.stamp == self.seen

    # --- inside -----------------------------------------------------------------------------------------------------

    def _get(self, id: str) -> bytes | None:
        if id not in self._known:
            self._known[id] = None if self.whole else read_value(self.store, self.projection.name, id)
        return self._known[id]

    def _growth(self, changes: Bodies) -> int:
        """Returns how many values more there are after some changes."""
        return sum((body is not None) - (self._known.get(id) is not None) for id, body in changes.items())

    def _fold(self, run: RunId, seq: int, record: Record, changes: Bodies) -> bool:
        """Folds the facts of an event, and tells whether there were any to be folded."""
        if not any(mark in record.raw for mark in self._marks):
            return False
        projection, found = self.projection, False
        for fact in facts_of(record, run, seq, projection.families):
            found = True
            if isinstance(fact.payload, Opaque):
                problem = f"version {fact.version} of its payload cannot be read by the code of this process"
                raise FoldFailed(projection.name, run, seq, fact.ref, problem)
            try:
                ids = projection.ids_of(fact)
            except Exception as error:  # `by` is a user's function, so anything
                raise _failed(projection.name, run, seq, fact, "its by=… raised ", error) from error
            for id in ids:
                before = changes[id] if id in changes else self._get(id)
                try:
                    changes[id] = projection.step(before, fact)
                except Exception as error:  # so is the fold
                    raise _failed(projection.name, run, seq, fact, "", error) from error
        return found


def _failed(name: str, run: RunId, seq: int, fact: Fact[Any], what: str, error: Exception) -> FoldFailed:
    return FoldFailed(name, run, seq, fact.ref, f"{what}{type(error).__name__}: {clean_message(error)}")


def facts_of(record: Record, run: RunId, seq: int, families: Iterable[str]) -> Iterator[Fact[Any]]:
    """Yields the facts of some families that an event committed, as they are read back from it."""
    return read_committed(read_head(record.raw, run, seq), run, seq, frozenset(families), record.payloads.get)


def families_of(records: Mapping[RunId, Iterable[Record]]) -> set[str]:
    """Returns the families of the facts that the events of runs committed."""
    found: set[str] = set()
    for events in records.values():
        for record in events:
            data = json.loads(record.raw)
            if data.get("kind") == "cycle_committed":
                found.update(entry["ref"].partition(":")[0] for entry in data["facts"])
    return found
