"""Knows what stands where in a file of JSON lines, and reads it from there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError
from ..fact import RunId
from ..lines import BadLine, peek_head, read_batch
from ..record import Record
from .base import Broken
from .batch import Note
from .notebook import Notebook
from .notes import Change, Changed, Touched, read_note


@dataclass(slots=True)
class Part:
    """Where the events of one run that were added together stand."""

    run: RunId
    seq: int
    """The number of its first event."""
    events: int
    start: int
    end: int
    line: int
    """The number of its first line, from 1."""
    at: int = 0
    """The position of its first event in the ledger."""
    width: int = 0
    """How many events its commit line says that it has."""
    cut: bool = False
    """It has no events, and says that the run begins at `seq`."""
    fault: str | None = None
    """What is wrong with it as such; what is wrong with its lines is found when they are read."""


@dataclass(slots=True)
class Noted:
    """Where a note stands, and what is to be known of it without reading it."""

    stamp: int
    position: int
    families: tuple[str, ...]
    start: int
    length: int


class Contents:
    """What a file holds up to `end`; it grows with the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark: bytes = b""
        """How the file begins; one that was rewritten begins otherwise."""
        self.tail: tuple[int, bytes] = 0, b""
        """Where the last commit line stands, and how it begins."""
        self.end = 0
        self.lines = 0
        self.torn = 0
        """Bytes behind `end` that a crash left and that do not count."""
        self.runs: dict[RunId, list[Part]] = {}
        self.firsts: dict[RunId, int] = {}
        self.ledger: list[Part] = []
        self.position = 0
        self.events = 0
        """How many events there are; where that is not the position, parts say which position they have."""
        self.notes: Notebook[Noted] = Notebook()
        self.changes = 0
        self.faults: list[str] = []
        """What is wrong with notes, and with lines that say where the ledger goes on: nothing may rest on them then."""

    @property
    def next_at(self) -> int | None:
        """The position that the next part has to say that it has; None where counting tells."""
        return None if self.position == self.events else self.position + 1

    def length(self, run: RunId) -> int:
        """Returns the number of the next event of a run."""
        parts = self.runs.get(run)
        return parts[-1].seq + parts[-1].events if parts else 0

    def sound(self) -> Contents:
        """Returns itself.

        Raises:
            StoreError: a line is damaged on which notes and the ledger rest.
        """
        if self.faults:
            raise StoreError(
                f"{self.faults[0]}. The notes of this file can no longer be relied on, and it takes no more events. "
                f"Its runs can still be read: export them and load them into a file of their own"
            )
        return self

    def goes_on_in(self, file: BinaryIO) -> bool:
        """Tells whether a file begins with what is known, so that only the rest is to be found."""
        file.seek(0)
        if file.read(len(self.mark)) != self.mark:
            return False
        file.seek(self.tail[0])
        return file.read(len(self.tail[1])) == self.tail[1]

    # --- taking in --------------------------------------------------------------------------------------------------

    def add_run(self, part: Part) -> None:
        """Takes in events, or that a run was cut."""
        if part.cut and part.run not in self.runs:
            self.firsts[part.run] = part.seq
        self.go_to(part.at, part.line)
        part.at = self.position + 1
        width = max(part.width, part.events)
        self.position, self.events = self.position + width, self.events + width
        self.runs.setdefault(part.run, []).append(part)
        self.ledger.append(part)

    def add_notes(self, changes: Iterable[tuple[Change, int, int]]) -> None:
        """Takes in changes of notes, each with where its line begins and how long it is."""
        for change, start, length in changes:
            self.changes += 1
            if isinstance(change, Touched):
                for address in self.notes.touched(frozenset(change.families)):
                    self.notes[address].stamp = change.stamp
            elif change.note is None:
                self.notes.pop(change.address, None)
            else:
                note = change.note
                self.notes[change.address] = Noted(note.stamp, note.position, note.families, start, length)

    def go_to(self, at: int, line: int) -> None:
        """Lets the ledger go on at a position; 0 is where it is."""
        if at and at <= self.position:
            self.faults.append(f"{self.path}, line {line}: position {at} stands behind position {self.position}")
        elif at:
            self.position = at - 1

    # --- reading ----------------------------------------------------------------------------------------------------

    def read_ledger(self, file: BinaryIO, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        """Yields the events of all runs behind a position: position, run, number, record.

        Raises:
            Broken: an event is not what was written.
        """
        place = bisect_right(self.ledger, position, key=lambda part: part.at + max(1, part.events) - 1)
        for part in self.ledger[place:]:
            if part.fault is not None:
                raise Broken(part.run, part.seq, f"{self.path}, line {part.line}", part.fault)
            for seq, record in enumerate(self.read_part(file, part)):
                if part.at + seq > position:
                    yield part.at + seq, part.run, part.seq + seq, record

    def read_run(self, file: BinaryIO, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on, each checked against its digest.

        Raises:
            Broken: an event is not what was written, or not there.
        """
        seq = self.firsts.get(run, 0)
        for part in list(self.runs.get(run, ())):
            self.check_place(part, seq)
            if part.seq + part.events > start or not part.events:  # lines without any event are damage: tell it
                for place, record in enumerate(self.read_part(file, part)):
                    if part.seq + place >= start:
                        yield record
            seq += part.events

    def check_place(self, part: Part, seq: int) -> None:
        """Raises Broken unless a part begins with an event."""
        where = f"{self.path}, line {part.line}"
        if part.seq != seq:
            raise Broken(part.run, seq, where, f"event {part.seq} stands where it should be")
        if part.fault is not None:
            raise Broken(part.run, seq, where, part.fault)

    def read_part(self, file: BinaryIO, part: Part) -> Iterator[Record]:
        """Yields the records of a part."""
        file.seek(part.start)
        lines = file.read(part.end - part.start).split(b"\n")
        try:
            for _, record in read_batch(enumerate(lines if lines[-1] else lines[:-1], part.line)):
                yield record
        except BadLine as error:
            place = 0
            for record in error.sound[: max(0, part.events - 1)]:  # a damaged commit line is told of the last event
                if peek_head(record.raw) != (part.run, part.seq + place):
                    break
                yield record
                place += 1
            raise Broken(part.run, part.seq + place, str(self.path), str(error)) from None

    def read_note(self, file: BinaryIO, noted: Noted) -> Note:
        """Returns a note.

        Raises:
            StoreError: its line is no longer what was written.
        """
        file.seek(noted.start)
        try:
            change = read_note(file.read(noted.length))
        except BadLine as error:
            raise StoreError(f"{self.path}, byte {noted.start}: {error}") from None
        if not isinstance(change, Changed) or change.note is None:
            raise StoreError(f"{self.path}, byte {noted.start}: no note stands there")
        return change.note._replace(stamp=noted.stamp)
