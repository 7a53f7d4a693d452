"""Reads runs from a store: their records, their events, and what stands for those that were compacted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from . import snapshot as snapshots
from .chain import Head
from .errors import LogError
from .event import Event, RunStarted, RunStopped
from .exported import write_run
from .fact import RunId
from .read_event import read_event, read_head
from .record import Record
from .seal import BrokenNote, seal, unseal
from .snapshot import BrokenSnapshot, Snapshot
from .stores import Store


class UnknownRun(LogError):
    """A log holds no run of this id."""

    def __init__(self, run: str, known: Sequence[str]) -> None:
        self.run, self.known = run, tuple(known)
        some = f"It holds {len(known)}: {', '.join(known[:5])}" if known else "It is empty"
        if len(known) > 5:
            from difflib import get_close_matches

            close = get_close_matches(run, known[-10_000:], n=1)  # the latest: comparing them all may take a while
            some += f", …{f' Did you mean {close[0]}?' if close else ''}"
        super().__init__(f"run {run!r} is not in this log. {some}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a log has of a run, from some event on."""

    snapshot: Snapshot | None
    """What stands for the events before `start`, where they were compacted and asked for."""
    start: int
    """The number of the first record."""
    records: Iterator[Record]


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it stands in a log."""

    run: RunId
    seq: int
    event: Event
    digest: str
    beside: Mapping[str, Any]


class Reader:
    """What a store has of runs. It holds nothing itself."""

    __slots__ = ("store",)

    def __init__(self, store: Store) -> None:
        self.store = store

    def read(self, name: RunId, start: int = 0) -> Reading:
        """Returns what there is of a run: the records from `start` on, and what stands for those before.

        Raises:
            UnknownRun: there is no such run.
            BrokenSnapshot: it was compacted, and the snapshot cannot be read.
        """
        while True:
            first = self.store.first(name)
            found = self.snapshot(name) if start < first else None
            records = self.store.read(name, max(start, first))
            head = next(records, None)
            # Whoever compacts the run between these steps must not make what is left look damaged: look again.
            if self.store.first(name) != first or (found is not None and found.events != first):
                if self.store.first(name) == first:
                    raise BrokenSnapshot(name, f"is not that of its first {first} events")
                continue
            if head is None:
                if not self.store.length(name):
                    raise UnknownRun(name, self.store.runs())
                return Reading(found, max(start, first), iter(()))
            return Reading(found, max(start, first), chain([head], records))

    def snapshot(self, name: RunId) -> Snapshot | None:
        """Returns what stands for the first events of a run that was compacted; None for any other."""
        note = self.store.note(snapshots.address_of(name))
        if note is None:
            if self.store.first(name):
                raise BrokenSnapshot(name, "is missing")
            return None
        try:
            return Snapshot.read(name, unseal(snapshots.address_of(name), note.value))
        except BrokenNote as error:
            raise BrokenSnapshot(name, "is damaged: it does not match its digest") from error

    def events(self, run: RunId, start: int = 0) -> Iterator[Logged]:
        """Yields the events of a run in order, from number `start` on.

        Where those were compacted, the first is a `Compacted` that stands for all up to the number that it has.
        """
        reading = self.read(run, start)
        if reading.snapshot is not None:
            yield Logged(run, reading.start - 1, reading.snapshot.event(), reading.snapshot.digest, {})
        for seq, record in enumerate(reading.records, reading.start):
            data = read_head(record.raw, run, seq)
            event = read_event(data, run, seq, record.payloads.get, record.gone)
            yield Logged(run, seq, event, record.digest, json.loads(record.beside))

    def started(self, run: RunId) -> RunStarted:
        """Returns the first event of a run."""
        reading = self.read(run)
        if reading.snapshot is not None:
            return reading.snapshot.first[0]
        record = next(reading.records)
        data = read_head(record.raw, run, 0)
        first = read_event(data, run, 0, record.payloads.get, record.gone)
        if not isinstance(first, RunStarted):
            raise LogError(f"run {run}: event 0 is {first.kind}, not {RunStarted.kind}")
        return first

    def stopped(self, run: RunId) -> RunStopped | None:
        """Returns the last event of a run if it has ended, else None."""
        length = self.store.length(run)
        last = [logged.event for logged in self.events(run, max(0, length - 1))]
        return last[-1] if last and isinstance(last[-1], RunStopped) else None

    def digest_at(self, run: RunId, seq: int) -> str | None:
        """Returns the digest of the last of the first `seq` events; None if there are fewer, or it is gone."""
        first = self.store.first(run)
        if seq < first or seq < 1:
            return None
        if seq == first:
            found = self.snapshot(run)
            return found.digest if found is not None and found.events == seq else None
        return next((record.digest for record in self.store.read(run, seq - 1)), None)

    def head(self, run: RunId) -> Head:
        """Returns where the next event of a run goes."""
        head = Head()
        if self.store.length(run):
            reading = self.read(run)
            if (found := reading.snapshot) is not None:
                head = Head(found.events, found.digest, found.tree.copy())
            for record in reading.records:
                head.take(run, record)
        return head

    def last(self, run: RunId) -> Record | None:
        """Returns the last record of a run; None if there is none."""
        last = None
        for record in self.store.read(run, max(0, self.store.length(run) - 1)):
            last = record
        return last

    def to_bytes(self, run: RunId, *, beside: bool = False) -> bytes:
        """Returns a run as the bytes of its JSON lines, each event as a batch.

        Without what stands beside the chain (the default) two runs that did the same have the same bytes.
        """
        reading = self.read(run)
        records = list(reading.records)
        if not beside:
            records = [Record(one.raw, one.digest, one.payloads, gone=one.gone) for one in records]
        snapshot = None
        if reading.snapshot is not None:
            address = snapshots.address_of(run)
            snapshot = seal(address, reading.snapshot.to_bytes())
        return write_run(run, reading.start, snapshot, records)

    def check(self, run: RunId) -> None:
        """Raises a LogError unless every event of a run follows the one before it and can be read."""
        reading = self.read(run)
        previous: str | None = None
        if reading.snapshot is not None:
            reading.snapshot.event()
            previous = reading.snapshot.digest
        for seq, record in enumerate(reading.records, reading.start):
            data = read_head(record.raw, run, seq)
            if data.get("prev") != previous:
                raise LogError(f"run {run}: event {seq} does not follow event {seq - 1}")
            read_event(data, run, seq, record.payloads.get, record.gone)
            previous = record.digest
