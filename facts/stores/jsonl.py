"""Keeps events in one text file that people and their tools can read: JSON lines, written behind one another."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import BinaryIO, Literal

from ..errors import StoreError
from ..fact import RunId
from ..lines import write_batch
from ..record import Record
from .base import Broken, Fenced, Stale
from .batch import Address, Batch, Note
from .contents import Contents
from .locked import is_in_place, lock_file, sync_folder
from .memory import size_of
from .notes import Change, Changed, Touched, write_notes
from .rewrite import Rewriting, put_in_place, remove_left_overs, write_all
from .scan import scan, take


class JsonLinesStore:
    """A store in one file. Readable while somebody writes; one process writes at a time.

    A last batch that a crash tore is not read, and is cut off before the next append. `sync="full"` waits for the
    disk at every append and so survives power loss; `"normal"` survives the death of the process.

    A note is a line, and the latest holds: each renewal of a lease adds one of some 600 bytes, every ten seconds while
    a run goes on. What takes events out of the file (`compact`, `retain`, `redact`) writes it anew and leaves out the
    lines that no longer hold; nothing else does.
    """

    lazy = False

    def __init__(self, path: str | Path, sync: Literal["normal", "full"] = "normal") -> None:
        self.path = Path(path)
        self.sync = sync
        self._contents = Contents(self.path)
        self._known: tuple[int, ...] = ()  # the file and its size when its contents were found
        self._writer: int | None = None
        self._poisoned: str | None = None
        self._lock = RLock()
        self._pid = os.getpid()
        if self.path.exists():
            if not self.path.is_file():
                raise StoreError(f"{self.path} cannot be read: it is not a regular file")
            self._now()

    @property
    def torn(self) -> int:
        """Bytes at the end of the file that a crash left and that do not count."""
        return self._contents.torn

    # --- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Keeps a batch: in one write, or in a file of its own that takes the place of the old one."""
        with self._lock:
            writer = self._open_writer()
            self._check(batch)
            if batch.replaced or batch.cut or batch.dropped:
                self._rewrite(writer, batch)
            elif data := self._encode(batch):
                self._append(writer, data)

    def _check(self, batch: Batch) -> None:
        contents = self._contents.sound()
        for run, end in batch.ends.items():
            if (found := contents.length(run)) != end:
                raise Fenced(run, end, found)
        for address, stamp in batch.expects.items():
            noted = contents.notes.get(address)
            if (None if noted is None else noted.stamp) != stamp:
                raise Stale(address)

    def _encode(self, batch: Batch) -> bytes:
        contents = self._contents
        changes = self._changes(batch)
        more, at = len(batch.records) - (not changes), contents.next_at
        parts = []
        for run, records in batch.records.items():
            parts.append(write_batch(run, batch.ends[run], records, at=at, more=more))
            more, at = more - 1, at and at + len(records)
        if changes:
            parts.append(write_notes(changes, contents.changes + 1))
        return b"".join(parts)

    def _changes(self, batch: Batch) -> list[Change]:
        """Returns what a batch changes beside the runs."""
        notes = self._contents.notes
        changes: list[Change] = []
        if any(address not in batch.puts for address in notes.touched(batch.touches)):
            changes.append(Touched(tuple(sorted(batch.touches)), batch.touch))
        position = self._contents.position + sum(map(len, batch.records.values()))
        for address, put in batch.puts.items():
            if put is not None:
                changes.append(Changed(address, Note(put.value, put.stamp, position, put.families)))
            elif address in notes:
                changes.append(Changed(address, None))
        return changes

    def _append(self, writer: int, data: bytes) -> None:
        try:
            write_all(writer, data)
            if self.sync == "full":
                os.fsync(writer)
        except OSError as error:
            self._undo(writer, error)
            raise StoreError(f"{self.path}: {error.strerror or error}; nothing of this append was kept") from error
        except BaseException:  # a signal in the midst: whatever it was goes on, and the log takes no more
            self._give_up("an append was interrupted, and may be there or not")
            raise
        take(self._contents, io.BytesIO(data))

    def _undo(self, writer: int, error: OSError) -> None:
        try:
            os.ftruncate(writer, self._contents.end)
        except OSError:
            self._poisoned = f"an append failed ({error}) and could not be undone"
            return
        if self.sync == "full":  # after a failed fsync nobody knows what the disk has
            self._poisoned = f"waiting for the disk failed ({error})"

    def _give_up(self, why: str) -> None:
        """Takes no more events, and reads the file as another process would."""
        self.close()
        self._poisoned, self._contents, self._known = why, Contents(self.path), ()

    def _rewrite(self, writer: int, batch: Batch) -> None:
        try:
            with self._open() as file:
                self._writer, self._contents = put_in_place(self.path, Rewriting(self._contents, file, batch).lines())
        except Broken as error:
            raise StoreError(
                f"{self.path} was not written anew, since {error}. Drop that run, and all can go on"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.path} could not be written anew: {error.strerror or error}; it is as it was"
            ) from error
        os.close(writer)
        if self.sync == "full":
            try:
                sync_folder(self.path)
            except OSError as error:
                self._poisoned = f"waiting for its folder failed ({error})"
                raise StoreError(
                    f"{self.path} was written anew, but waiting for its folder failed ({error.strerror or error}): "
                    f"power loss may bring the old file back. Open the log again to see what it has"
                ) from error

    # --- opening ----------------------------------------------------------------------------------------------------

    def _open_writer(self) -> int:
        if self._poisoned:
            raise StoreError(f"{self.path} takes no more events: {self._poisoned}. Open the log again")
        if self._pid != os.getpid():  # the lock of the file is that of the process that forked, and holds none off here
            raise StoreError(f"{self.path} was opened by the process that this one comes from. Open the log again here")
        if self._writer is not None:
            if not is_in_place(self.path, self._writer):
                self._poisoned = "another file stands in its place, or none that can be seen"
                return self._open_writer()
            return self._writer
        writer = lock_file(self.path)
        try:
            if self.sync == "full":
                self._sync_name()
            remove_left_overs(self.path)
            contents = self._now()  # somebody may have written since this store was opened
            if contents.torn:
                os.ftruncate(writer, contents.end)
                contents.torn = 0
            if contents.end and os.pread(writer, 1, contents.end - 1) != b"\n":
                raise StoreError(
                    f"{self.path} takes no more events: its last line is damaged. Go on in a file of its own"
                )
        except OSError as error:
            os.close(writer)
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}") from error
        except BaseException:  # whatever it was goes on; the file must not stay open, nor locked
            os.close(writer)
            raise
        self._writer = writer
        return writer

    def _sync_name(self) -> None:
        try:
            sync_folder(self.path)
        except OSError as error:
            self._poisoned = f"waiting for its folder failed ({error})"
            raise StoreError(f'{self.path.parent} cannot be synced: {error.strerror}; use sync="normal"') from error

    def close(self) -> None:
        """Closes the file and lets another process write."""
        with self._lock:
            if self._writer is not None:
                os.close(self._writer)
                self._writer = None
            self._poisoned = "it was closed"

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on, each checked against its digest."""
        with self._opened() as (contents, file):
            yield from contents.read_run(file, run, start)

    def first(self, run: RunId) -> int:
        """Returns the number of the first event that was not cut off."""
        return self._now().firsts.get(run, 0)

    def length(self, run: RunId) -> int:
        """Returns how many events a run ever had."""
        return self._now().length(run)

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first events."""
        return list(self._now().runs)

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        """Yields the events of all runs behind a position of the ledger."""
        with self._opened() as (contents, file):
            yield from contents.sound().read_ledger(file, position)

    def position(self) -> int:
        """Returns where the ledger ends."""
        return self._now().sound().position

    def note(self, address: Address) -> Note | None:
        """Returns a note, or None."""
        with self._opened() as (contents, file):
            noted = contents.sound().notes.get(address)
            return None if noted is None else contents.read_note(file, noted)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, Note]]:
        """Yields the notes of a space, of one owner or of all."""
        with self._opened() as (contents, file):
            for address in contents.sound().notes.find(space, owner):
                if (noted := contents.notes.get(address)) is not None:
                    yield address, contents.read_note(file, noted)

    def size(self, run: RunId) -> int:
        """Returns how many bytes the events of a run take."""
        return sum(map(size_of, self.read(run)))

    def check(self) -> Iterator[str]:
        """Yields what is wrong with notes and with where the ledger goes on."""
        yield from list(self._now().faults)

    def now(self) -> float:
        """Returns this machine's time; a file is written on one machine."""
        return time.time()

    def _now(self) -> Contents:
        """Returns what the file holds by now: another process may have written."""
        with self._lock:
            if self._writer is None:
                try:
                    now = self.path.stat()
                except OSError:  # who reads from it is told
                    return self._contents
                if self._has_changed(now):
                    with self._open() as file:
                        self._refresh(file)
            return self._contents

    @contextmanager
    def _opened(self) -> Iterator[tuple[Contents, BinaryIO]]:
        """Gives the file and what it holds; another may take its place while it is read."""
        with self._lock:
            if not (self.path.exists() or self._contents.end):
                yield self._contents, io.BytesIO()
                return
            file = self._open()
            try:
                if self._writer is None and self._has_changed(os.fstat(file.fileno())):
                    self._refresh(file)
            except BaseException:  # whatever it was goes on; the file must not stay open
                file.close()
                raise
            contents = self._contents
        with file:
            yield contents, file

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _has_changed(self, now: os.stat_result) -> bool:
        return bool(self._contents.torn) or self._known != _identity(now)

    def _refresh(self, file: BinaryIO) -> None:
        self._known = _identity(os.fstat(file.fileno()))
        if not self._contents.goes_on_in(file):
            self._contents = Contents(self.path)
        scan(self._contents, file)


def _identity(now: os.stat_result) -> tuple[int, ...]:
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns
