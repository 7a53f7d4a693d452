"""Keeps events in this process only: for tests, and for runs whose result is all that is wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .base import Fenced, Stale
from .batch import Address, Batch, Note
from .notebook import Notebook


@dataclass(slots=True)
class _Kept:
    """The events of one run."""

    first: int = 0
    records: list[Record] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class MemoryStore:
    """A store that ends with the process."""

    lazy = True

    def __init__(self) -> None:
        self._runs: dict[RunId, _Kept] = {}
        self._notes: Notebook[Note] = Notebook()
        self._position = 0
        self._closed = False

    def commit(self, batch: Batch) -> None:
        """Keeps a batch: what can fail is checked before anything is changed."""
        if self._closed:
            raise StoreError("this log in memory was closed. Open another")
        for run, end in batch.ends.items():
            if (found := self.length(run)) != end:
                raise Fenced(run, end, found)
        for address, stamp in batch.expects.items():
            note = self._notes.get(address)
            if (None if note is None else note.stamp) != stamp:
                raise Stale(address)
        for run, records in batch.records.items():
            kept = self._runs.setdefault(run, _Kept())
            kept.records.extend(records)
            kept.positions.extend(range(self._position + 1, self._position + len(records) + 1))
            self._position += len(records)
        for (run, seq), record in batch.replaced.items():
            kept = self._runs[run]
            kept.records[seq - kept.first] = record
        for run, before in batch.cut.items():
            kept = self._runs[run]
            gone = max(0, before - kept.first)
            del kept.records[:gone], kept.positions[:gone]
            kept.first += gone
        for run in batch.dropped:
            self._runs.pop(run, None)
        self._notes.drop(batch.dropped)
        self._write_notes(batch)

    def _write_notes(self, batch: Batch) -> None:
        for address in self._notes.touched(batch.touches):
            self._notes[address] = self._notes[address]._replace(stamp=batch.touch)
        for address, put in batch.puts.items():
            if put is None:
                self._notes.pop(address, None)
            else:
                self._notes[address] = Note(put.value, put.stamp, self._position, put.families)

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on."""
        kept = self._runs.get(run)
        if kept is not None:
            yield from kept.records[max(0, start - kept.first) :]

    def first(self, run: RunId) -> int:
        """Returns the number of the first record that was not cut off."""
        kept = self._runs.get(run)
        return 0 if kept is None else kept.first

    def length(self, run: RunId) -> int:
        """Returns how many records a run ever had."""
        kept = self._runs.get(run)
        return 0 if kept is None else kept.end

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first records."""
        return list(self._runs)

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        """Yields the events of all runs behind a position of the ledger."""
        found = [
            (at, run, kept.first + place, record)
            for run, kept in self._runs.items()
            for place, (at, record) in enumerate(zip(kept.positions, kept.records, strict=True))
            if at > position
        ]
        yield from sorted(found, key=lambda one: one[0])

    def position(self) -> int:
        """Returns where the ledger ends."""
        return self._position

    def note(self, address: Address) -> Note | None:
        """Returns a note, or None."""
        return self._notes.get(address)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, Note]]:
        """Yields the notes of a space, of one owner or of all."""
        for address in self._notes.find(space, owner):
            if (note := self._notes.get(address)) is not None:
                yield address, note

    def size(self, run: RunId) -> int:
        """Returns how many bytes the events of a run take."""
        kept = self._runs.get(run)
        return 0 if kept is None else sum(map(size_of, kept.records))

    def check(self) -> Iterator[str]:
        """Yields nothing: memory has no faults that could be seen from here."""
        return iter(())

    def now(self) -> float:
        """Returns this machine's time."""
        return time.time()

    def close(self) -> None:
        """Takes no more events; what is there can still be read, since a result may hold it."""
        self._closed = True


def size_of(record: Record) -> int:
    """Returns how many bytes of content a record has."""
    beside = len(record.beside) + sum(map(len, record.gone.values()))
    return len(record.raw) + sum(map(len, record.payloads.values())) + beside
