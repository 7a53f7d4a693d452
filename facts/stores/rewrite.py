"""Writes the file of a JSON lines store anew, without what is to go: beside the old one, then in its place.

A crash leaves the old file or the new one, each whole. The new one is locked before it takes the old one's place, so no
other process can get between.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import InternalError, StoreError
from ..fact import RunId
from ..lines import Commit, write_batch
from ..record import Record
from .batch import Address, Batch, Note
from .contents import Contents
from .notes import Changed, write_notes
from .scan import scan

_LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.new")


class Rewriting:
    """The lines of a file after a batch that takes something out of it."""

    def __init__(self, contents: Contents, file: BinaryIO, batch: Batch) -> None:
        self._contents, self._file, self._batch = contents, file, batch
        self._position = contents.position
        self._events = 0
        self._begun: set[RunId] = set()
        self._replaced: set[tuple[RunId, int]] = set()

    def lines(self) -> Iterator[bytes]:
        """Yields them, some at a time.

        Raises:
            StoreError: what is to stay is damaged, or what is to be changed is not there.
        """
        self._check()
        yield Commit(None, 0, file=secrets.token_hex(16)).to_line()
        ends = dict(self._contents.firsts)
        for part in self._contents.ledger:
            if part.run not in self._batch.dropped:
                self._contents.check_place(part, ends.get(part.run, 0))
                ends[part.run] = part.seq + part.events
                if ends[part.run] > self._first(part.run):
                    yield from self._part(part.run, part.seq, list(self._contents.read_part(self._file, part)), part.at)
                else:
                    yield from self._begin(part.run)
        for run, records in self._batch.records.items():
            if run not in self._batch.dropped:
                yield from self._part(run, self._batch.ends[run], records, self._position + 1)
            self._position += len(records)
        if missing := [at for at in self._batch.replaced if at not in self._replaced]:
            run, seq = missing[0]
            digest = self._batch.replaced[run, seq].digest
            raise StoreError(f"run {run}: there is no event {seq} with digest {digest}. Nothing was changed")
        changes = [Changed(address, note) for address, note in self._notes()]
        yield write_notes(changes, 1, at=self._position + 1)

    def _check(self) -> None:
        for run, before in self._batch.cut.items():
            end = self._contents.length(run) + len(self._batch.records.get(run, ()))
            if before > end:
                raise StoreError(f"run {run}: it ends at event {end}, so it cannot be cut before {before}")

    def _first(self, run: RunId) -> int:
        return max(self._contents.firsts.get(run, 0), self._batch.cut.get(run, 0))

    def _begin(self, run: RunId) -> Iterator[bytes]:
        """Yields what says where a run begins, in the place of its first line, so that the runs keep their order."""
        if run not in self._begun:
            self._begun.add(run)
            if first := self._first(run):
                yield Commit(run, first, cut=True).to_line()

    def _part(self, run: RunId, seq: int, records: Sequence[Record], at: int) -> Iterator[bytes]:
        yield from self._begin(run)
        first = max(seq, self._first(run))
        kept = []
        for place, record in enumerate(records[first - seq :], first):
            other = self._batch.replaced.get((run, place), record)
            if other.digest == record.digest:
                self._replaced.add((run, place))
            kept.append(other)
        if kept or not records:
            at += first - seq
            yield write_batch(run, first, kept, at=None if at == self._events + 1 else at)
            self._events += len(kept)

    def _notes(self) -> Iterator[tuple[Address, Note]]:
        batch = self._batch
        for address, noted in self._contents.notes.items():
            if address.owner not in batch.dropped and address not in batch.puts:
                note = self._contents.read_note(self._file, noted)
                yield address, note if batch.touches.isdisjoint(note.families) else note._replace(stamp=batch.touch)
        for address, put in batch.puts.items():
            if put is not None:
                yield address, Note(put.value, put.stamp, self._position, put.families)


def put_in_place(path: Path, lines: Iterable[bytes]) -> tuple[int, Contents]:
    """Writes a file and lets it take the place of another; returns its number, locked, and what it holds.

    It waits for the disk before it renames, however little the store cares for power loss otherwise: a rename that is
    on the disk before the bytes are would leave an empty file where a whole one was.

    Raises:
        OSError: the file at `path` is still the old one, or cannot be said to be.
        StoreError: it is the old one.
    """
    target = Path(os.path.realpath(path))
    new = target.with_name(f".{target.name}.{secrets.token_hex(16)}.new")
    file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(file, target.stat().st_mode & 0o777)  # who could read it still can
        for each in lines:
            write_all(file, each)
        os.fsync(file)
        contents = Contents(path)
        with new.open("rb") as written:
            scan(contents, written)
        if contents.faults or contents.torn:
            raise InternalError(f"what was to take the place of {path} cannot be read ({contents.faults}); it did not")
        new.replace(target)
    except BaseException:  # whatever it was goes on; what stands stays, and nothing is left beside it
        os.close(file)
        with suppress(OSError):
            new.unlink()
        raise
    return file, contents


def remove_left_overs(path: Path) -> None:
    """Removes what a crash left of files that were to take a file's place; only who has locked it may."""
    target = Path(os.path.realpath(path))
    with suppress(OSError):  # they do no harm
        for entry in list(os.scandir(target.parent)):
            name = entry.name.removeprefix(f".{target.name}")
            if name != entry.name and _LEFT_OVER.fullmatch(name):
                Path(entry.path).unlink()


def write_all(file: int, data: bytes) -> None:
    """Writes all of some bytes to the end of a file."""
    written = 0
    while written < len(data):
        written += os.write(file, memoryview(data)[written:])
