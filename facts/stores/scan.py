"""Finds what stands where in a file of JSON lines, without reading more of it than that takes.

Lines up to a commit line are a part; the last of a batch takes it in. Where damage hides a commit line, what follows
tells that a part has ended: events behind notes, notes behind events, events of another run. So damage costs the part
in which it is, and those around it can be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from ..fact import RunId
from ..lines import BadLine, Commit, peek_commit, peek_event, read_commit, read_line
from .contents import Contents, Part
from .notes import Change, read_note

MARK_BYTES = 80
UNREADABLE = RunId("?")
"""The run of a damaged part that no longer says whose it is and has none before it."""


def scan(known: Contents, file: BinaryIO) -> None:
    """Takes in what stands behind the known part of a file; reads no payload and checks the digests of few lines."""
    finder = _Finder(known)
    file.seek(known.end)
    part, at = finder.take(file)
    if at.position > known.end and _is_damaged(file, known.end, at.position):
        finder.end_damaged(part, at)
    known.torn = file.seek(0, os.SEEK_END) - known.end


def take(known: Contents, lines: Iterable[bytes]) -> None:
    """Takes in the lines of a batch that was written behind the known part."""
    _Finder(known).take(lines)


class _Mark(NamedTuple):
    """A place in the file: behind so many bytes and lines."""

    position: int
    lines: int


@dataclass(slots=True)
class _Notes:
    """Changes of notes that were added together, each with where its line begins and how long it is."""

    changes: list[tuple[Change, int, int]]
    at: int


@dataclass(slots=True)
class _Open:
    """The part that is being read, as far as it is known."""

    start: _Mark
    run: RunId | None = None
    seq: int | None = None
    events: int = 0
    notes: list[tuple[bytes, int]] = field(default_factory=list)


class _Finder:
    """Finds the parts behind what is known, and adds them to it a batch at a time."""

    def __init__(self, known: Contents) -> None:
        self._known = known
        self._tail = known.tail
        self._more = 0
        self._waiting: list[tuple[Part | _Notes, _Mark]] = []
        """Parts of a batch whose last part is still to come, each with where it ends."""

    def take(self, lines: Iterable[bytes]) -> tuple[_Open, _Mark]:
        """Takes in whole batches; returns what is left over, and where it ends."""
        at = sound = _Mark(self._known.end, self._known.lines)  # `sound` is behind the last line that names no payload
        part = _Open(at)
        for raw in lines:
            if not (raw.endswith(b"\n") or _ends_wrong(raw)):
                break
            self._known.mark = self._known.mark or raw[:MARK_BYTES]
            event = peek_event(raw)
            is_note, names_payload = raw.startswith(b'{"note":"'), raw.startswith((b'{"payload":"', b'{"gone":"'))
            if part.notes and (event is not None or names_payload):  # the commit line between them is damaged
                part = self._end_notes(part, None, at)
            elif part.run is not None and (is_note or (event is not None and event[0] != part.run)):  # and here
                part = self._end_run(part, None, sound)
            start, at = at, _Mark(at.position + len(raw), at.lines + 1)
            if event is not None:
                part.events += 1
                if part.run is None:
                    part.run, part.seq = RunId(event[0]), event[1]
            elif is_note:
                part.notes.append((raw, start.position))
            elif raw.startswith(b'{"commit":"'):
                self._tail = start.position, raw[:MARK_BYTES]
                part = self._end_part(part, raw, at)
            if not names_payload:
                sound = at
        return part, at

    def _end_part(self, part: _Open, raw: bytes, end: _Mark) -> _Open:
        commit = read_commit(raw)
        if commit is not None and commit.run is None:
            if part.run is not None:  # its own commit line is not there
                part = self._end_run(part, None, _Mark(end.position - len(raw), end.lines - 1))
            return self._end_notes(part, commit, end)
        if part.notes and commit is not None:  # the same
            part = self._end_notes(part, None, _Mark(end.position - len(raw), end.lines - 1))
        if part.notes:
            return self._end_notes(part, None, end)
        if commit is None:
            said = peek_commit(raw)
            if part.run is None and said is not None and said.run is None:
                return self._end_notes(part, None, end)
            if part.run is None and said is not None:
                part.run, part.seq = RunId(str(said.run)), said.seq
            elif part.run is None and end.lines == part.start.lines + 1:  # it said where something goes on
                self._known.faults.append(f"{self._known.path}, line {end.lines}: its commit does not match its digest")
        else:
            part.run, part.seq = RunId(str(commit.run)), commit.seq if part.seq is None else part.seq
        return self._end_run(part, commit, end)

    def _end_run(self, part: _Open, commit: Commit | None, end: _Mark) -> _Open:
        run = part.run if part.run is not None else self._last()
        seq = self._known.length(run) if part.seq is None else part.seq
        found = Part(run, seq, part.events, part.start.position, end.position, part.start.lines + 1)
        if commit is not None:
            found.at, found.cut, found.width = commit.at or 0, commit.cut, commit.events
        return self._end_any(found, commit, end)

    def _end_notes(self, part: _Open, commit: Commit | None, end: _Mark) -> _Open:
        changes = []
        number, line = self._known.changes, part.start.lines
        try:
            for raw, start in part.notes:
                number, line = number + 1, line + 1
                changes.append((read_note(raw, None if self._known.faults else number), start, len(raw)))
            line = end.lines
            if commit is None:
                raise BadLine("the commit line of its notes is damaged")
            if commit.notes != len(changes) or part.start.lines + len(changes) + 1 != end.lines:
                raise BadLine(f"it commits {commit.notes} notes, but other lines stand before it")
        except BadLine as error:
            self._known.faults.append(f"{self._known.path}, line {line}: {error}")
        return self._end_any(_Notes(changes, 0 if commit is None else commit.at or 0), commit, end)

    def end_damaged(self, part: _Open, end: _Mark) -> None:
        """Ends what is left over at the end of a file, where that is no tear."""
        self._add_waiting()
        if part.notes:
            self._end_notes(part, None, end)
        elif end.position > part.start.position:
            self._end_run(part, None, end)

    def _last(self) -> RunId:
        return self._known.ledger[-1].run if self._known.ledger else UNREADABLE

    def _end_any(self, part: Part | _Notes, commit: Commit | None, end: _Mark) -> _Open:
        """Adds a part, or lets it wait for the last of its batch; returns the next."""
        if self._waiting and commit is not None and commit.more != self._more - 1:
            for waiting, _ in self._waiting:
                if isinstance(waiting, Part):
                    waiting.fault = "the rest of its batch is not there"
            self._add_waiting()
        self._waiting.append((part, end))
        self._more = 0 if commit is None else commit.more
        if not self._more:
            self._add_waiting()
        return _Open(end)

    def _add_waiting(self) -> None:
        known = self._known
        for part, end in self._waiting:
            if isinstance(part, Part):
                known.add_run(part)
            else:
                known.go_to(part.at, end.lines)
                known.add_notes(part.changes)
            known.end, known.lines = end
            known.tail = self._tail
        self._waiting.clear()


def _ends_wrong(piece: bytes) -> bool:
    """Tells a line whose newline was changed from a line that was torn: no crash adds a byte to a whole line."""
    try:
        read_line(piece[:-1])
    except BadLine:
        return False
    return True


def _is_damaged(file: BinaryIO, start: int, end: int) -> bool:
    """Tells damage from tearing: a torn batch has whole and sound lines, then perhaps a piece of one."""
    file.seek(start)
    lines = file.read(end - start).split(b"\n")
    try:
        for line in lines if lines[-1] else lines[:-1]:
            read_line(line)
    except BadLine:
        return True
    return False
