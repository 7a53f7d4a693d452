"""Keeps events in one text file that people and their tools can read: JSON lines, appended and never rewritten."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import StoreError
from ..fact import RunId
from ..lines import MISSING_COMMIT, BadLine, peek_commit, peek_event, read_batch, read_line, write_batch
from ..record import Record
from .base import Broken, Fenced, Stale
from .batch import Address, Batch, Note

UNREADABLE = RunId("?")
"""The run of a damaged batch that no longer says whose it is and has none before it."""


@dataclass(slots=True)
class _Batch:
    """Where a batch stands in the file."""

    run: RunId
    seq: int
    """The number of its first event."""
    events: int
    start: int
    end: int
    line: int
    """The number of its first line, from 1."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in the file: behind so many bytes and lines."""

    position: int
    lines: int


class JsonLinesStore:
    """A store in one file. Readable while somebody writes; one process writes at a time.

    A last batch that a crash tore is not read, and is cut off before the next append. `sync="full"` waits for the
    disk at every append and so survives power loss; `"normal"` survives the death of the process.
    """

    lazy = False

    def __init__(self, path: str | Path, sync: Literal["normal", "full"] = "normal") -> None:
        self.path = Path(path)
        self.sync = sync
        self.torn = 0
        """Bytes at the end of the file that a crash left and that do not count."""
        self._batches: dict[RunId, list[_Batch]] = {}
        self._notes: dict[Address, Note] = {}
        self._end = 0
        self._lines = 0
        self._last = UNREADABLE
        self._writer: int | None = None
        self._poisoned: str | None = None
        if self.path.exists():
            if not self.path.is_file():
                raise StoreError(f"{self.path} cannot be read: it is not a regular file")
            self._scan()

    def commit(self, batch: Batch) -> None:
        """Keeps a batch, in one write."""
        writer = self._open_writer()
        for run, end in batch.ends.items():
            found = self._count(run)
            if found != end:
                raise Fenced(run, end, found)
        for address, stamp in batch.expects.items():
            note = self._notes.get(address)
            if (None if note is None else note.stamp) != stamp:
                raise Stale(address)
        for run, records in batch.records.items():
            self._append(writer, run, batch.ends[run], records)
        for address, put in batch.puts.items():
            if put is None:
                self._notes.pop(address, None)
            else:
                self._notes[address] = Note(put.value, put.stamp, 0, put.families)

    def _append(self, writer: int, run: RunId, seq: int, records: Sequence[Record]) -> None:
        data = write_batch(run, seq, records)
        try:
            written = 0
            while written < len(data):
                written += os.write(writer, data[written:])
            if self.sync == "full":
                os.fsync(writer)
        except OSError as error:
            self._undo(writer, error)
            raise StoreError(f"{self.path}: {error.strerror or error}; nothing of this append was kept") from error
        lines = data.count(b"\n")
        batch = _Batch(run, seq, len(records), self._end, self._end + len(data), self._lines + 1)
        self._batches.setdefault(run, []).append(batch)
        self._end, self._lines, self._last = batch.end, self._lines + lines, run

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on, each checked against its digest."""
        self._refresh()
        batches = list(self._batches.get(run, ()))
        if batches:
            with self._open() as file:
                yield from self._read_from(file, run, batches, start)

    def _read_from(self, file: BinaryIO, run: RunId, batches: list[_Batch], start: int) -> Iterator[Record]:
        seq = 0
        for batch in batches:
            if batch.seq != seq:
                raise Broken(
                    run, seq, f"{self.path}, line {batch.line}", f"event {batch.seq} stands where it should be"
                )
            if batch.seq + batch.events > start or not batch.events:  # lines without any event are damage: tell it
                for place, record in enumerate(self._read_batch(file, batch)):
                    if batch.seq + place >= start:
                        yield record
            seq += batch.events

    def length(self, run: RunId) -> int:
        """Returns how many events a run has."""
        self._refresh()
        return self._count(run)

    def _count(self, run: RunId) -> int:
        batches = self._batches.get(run)
        return batches[-1].seq + batches[-1].events if batches else 0

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first events."""
        self._refresh()
        return list(self._batches)

    def first(self, run: RunId) -> int:
        return 0

    def note(self, address: Address) -> Note | None:
        return self._notes.get(address)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, Note]]:
        for address, note in sorted(self._notes.items()):
            if address.space == space and owner in (None, address.owner):
                yield address, note

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        raise NotImplementedError

    def position(self) -> int:
        return 0

    def size(self, run: RunId) -> int:
        return 0

    def check(self) -> Iterator[str]:
        return iter(())

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        """Closes the file and lets another process write."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
        self._poisoned = "it was closed"

    def _open_writer(self) -> int:
        if self._poisoned:
            raise StoreError(f"{self.path} takes no more events: {self._poisoned}. Open the log again")
        if self._writer is not None:
            return self._writer
        is_new = not self.path.exists()
        try:
            writer = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(writer)
            raise StoreError(
                f"{self.path} is being written by another process, or by another FactLog of this one. "
                f"Close it there, or log to a file of its own"
            ) from error
        self._writer = writer
        if is_new and self.sync == "full":
            self._sync_folder()
        self._scan()  # somebody may have written since this store was opened
        if self.torn:
            os.ftruncate(writer, self._end)
            self.torn = 0
        if self._end and os.pread(writer, 1, self._end - 1) != b"\n":
            raise StoreError(f"{self.path} takes no more events: its last line is damaged. Go on in a file of its own")
        return writer

    def _sync_folder(self) -> None:
        """Waits for the file's name to be on the disk; else power loss could take it, with all that was synced."""
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            self.close()
            raise StoreError(f'{self.path.parent} cannot be synced: {error.strerror}; use sync="normal"') from error

    def _undo(self, writer: int, error: OSError) -> None:
        try:
            os.ftruncate(writer, self._end)
        except OSError:
            self._poisoned = f"an append failed ({error}) and could not be undone"
            return
        if self.sync == "full":  # after a failed fsync nobody knows what the disk has
            self._poisoned = f"waiting for the disk failed ({error})"

    def _refresh(self) -> None:
        """Takes in what another process has appended."""
        if self._writer is None and self.path.exists() and self.path.stat().st_size != self._end + self.torn:
            self._scan()

    def _scan(self) -> None:
        """Finds the batches behind the part that is known; reads no payload and checks hardly a digest."""
        with self._open() as file:
            file.seek(self._end)
            at = sound = _Mark(self._end, self._lines)  # `sound` is behind the last line that is no payload
            run: RunId | None = None
            seq: int | None = None
            events = 0
            for raw in file:
                if not (raw.endswith(b"\n") or _ends_wrong(raw)):
                    break
                at = _Mark(at.position + len(raw), at.lines + 1)
                if (event := peek_event(raw)) is not None:
                    if run is not None and event[0] != run:  # the commit line between the two runs is damaged
                        self._found(run, seq, events, sound)
                        seq, events = None, 0
                    events += 1
                    run, seq = RunId(event[0]), event[1] - events + 1 if seq is None else seq
                elif raw.startswith(b'{"commit":"'):
                    run, seq = _whose(raw, run, seq)
                    self._found(run, seq, events, at)
                    run, seq, events = None, None, 0
                if not raw.startswith(b'{"payload":"'):
                    sound = at
            if at.position > self._end and self._is_damage(at.position):
                self._found(run, seq, events, at)
        self.torn = self.path.stat().st_size - self._end

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _is_damage(self, end: int) -> bool:
        """Tells damage from tearing: a torn batch has whole and sound lines, then perhaps a piece of one."""
        try:
            with self._open() as file:
                list(read_batch(enumerate(_read_lines(file, self._end, end))))
        except BadLine as error:
            return error.problem != MISSING_COMMIT
        return False

    def _found(self, run: RunId | None, seq: int | None, events: int, end: _Mark) -> None:
        run = run if run is not None else self._last
        batch = _Batch(run, self._count(run) if seq is None else seq, events, self._end, end.position, self._lines + 1)
        self._batches.setdefault(run, []).append(batch)
        self._end, self._lines, self._last = end.position, end.lines, run

    def _read_batch(self, file: BinaryIO, batch: _Batch) -> Iterator[Record]:
        try:
            for _, record in read_batch(enumerate(_read_lines(file, batch.start, batch.end), batch.line)):
                yield record
        except BadLine as error:
            yield from error.sound[: max(0, batch.events - 1)]
            place = min(error.event, max(0, batch.events - 1))  # a damaged commit line is told of the last event
            raise Broken(batch.run, batch.seq + place, str(self.path), str(error)) from None


def _read_lines(file: BinaryIO, start: int, end: int) -> list[bytes]:
    file.seek(start)
    lines = file.read(end - start).split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _whose(commit: bytes, run: RunId | None, seq: int | None) -> tuple[RunId | None, int | None]:
    """Returns the run and the first number of a batch: what its events say, unless a sound commit line knows better."""
    said = peek_commit(commit)
    if said is None or said == (run, seq):
        return run, seq
    try:
        read_line(commit)
    except BadLine:
        return (RunId(said[0]), said[1]) if run is None else (run, seq)
    return RunId(said[0]), said[1] if seq is None else seq


def _ends_wrong(piece: bytes) -> bool:
    """Tells a line whose newline was changed from a line that was torn: no crash adds a byte to a whole line."""
    try:
        read_line(piece[:-1])
    except BadLine:
        return False
    return True
