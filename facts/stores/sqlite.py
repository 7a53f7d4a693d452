"""Keeps events in a SQLite database: many readers, many processes, one commit at a time."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .base import Broken
from .batch import Address, Batch, Note
from .sqlite_check import check_events, check_families, check_file
from .sqlite_errors import Damaged, doubt, told, translate
from .sqlite_rows import COLUMNS, NOTE_COLUMNS, note_of, record_of
from .sqlite_schema import prepare
from .sqlite_write import append_one, find, top, write

PATIENCE = 10.0
"""For how many seconds a commit waits for others to end theirs."""
CHECKPOINT_PAGES = 4000
"""About how many pages go into the write-ahead log before they are brought into the database."""
CHUNK_EVENTS, CHUNK_BYTES = 256, 4_000_000
"""How much is read at once. Between two chunks nothing is held, so a slow reader is in nobody's way."""
SMALLEST = 512
"""No database has fewer bytes, unless it has none."""
CLOSED = "it was closed"

T = TypeVar("T")

_opening = Lock()


class SqliteStore:
    """A store in a SQLite file on a local disk, with a write-ahead log beside it. Any number of processes may share it.

    `sync="normal"` survives the death of the process: the kernel has every commit. A loss of power can take the last
    commits, each whole. `"full"` waits for the disk at every commit and so survives that too.
    """

    lazy = False

    def __init__(
        self, path: str | Path, sync: Literal["normal", "full"] = "normal", *, patience: float = PATIENCE
    ) -> None:
        self.path = Path(path).absolute()
        self.sync = sync
        self._where = str(self.path)
        self._patience = patience
        self._lock = RLock()  # leases are renewed in a thread of their own
        self._ended: str | None = None
        """Why nothing can be written any more."""
        self._pages = 0
        """About how many pages went into the write-ahead log since they were last brought into the database."""
        self._remains = False
        """What was erased still stands in the write-ahead log."""
        self._numbers: dict[RunId, int] = {}
        """Those of runs that were appended to, as far as they are known; each append checks them."""
        self._pid = os.getpid()
        self._db = self._open()

    # --- opening ----------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        # To close any descriptor of a file gives up all locks that this process has on it. So the file is opened here
        # only to make it, which nobody else in this process does at the same time.
        with _opening:
            self._create()
            try:
                db = sqlite3.connect(
                    f"file:{quote(self._where)}?mode=rw",
                    uri=True,
                    timeout=self._patience,
                    isolation_level=None,
                    check_same_thread=False,
                )
            except sqlite3.Error as error:
                raise self._error(error, "cannot be opened") from error
        try:
            self._set_up(db)
        except BaseException as error:
            db.close()
            if isinstance(error, (sqlite3.Error, UnicodeError)):
                raise self._error(error, "cannot be opened") from error
            raise
        return db

    def _create(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            self._judge()
            return
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path} cannot be created: {getattr(error, 'strerror', error)}") from error
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask is; SQLite gives its other files the same rights
        except OSError as error:
            raise StoreError(f"{self.path} cannot be kept from others: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if self.sync == "full":
            self._sync_folder()

    def _judge(self) -> None:
        """Refuses what SQLite would take for a new database, or for something that it could wait for."""
        try:
            status = self.path.stat()
        except OSError as error:  # a link that leads nowhere, or to where nobody may look
            raise StoreError(f"{self.path} cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{self.path} cannot be opened: it is not a regular file")
        if 0 < status.st_size < SMALLEST:
            raise StoreError(
                f"{self.path} is no SQLite database: it has {status.st_size} bytes, and not even the first page has "
                f"so few. Is it the right file? If it is, it was cut short: put a backup in its place"
            )

    def _sync_folder(self) -> None:
        """Waits for the file's name to be on the disk; else power loss could take it, with all that was synced."""
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreError(f'{self.path.parent} cannot be synced: {error.strerror}; use sync="normal"') from error

    def _set_up(self, db: sqlite3.Connection) -> None:
        full = self.sync == "full"
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA cell_size_check=ON")
        db.execute("PRAGMA secure_delete=ON")
        db.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
        db.execute(f"PRAGMA fullfsync={'ON' if full else 'OFF'}")
        prepare(db, self._where, self._patience)
        db.execute("PRAGMA wal_autocheckpoint=0")  # `_checkpoint` does it, since SQLite would keep its errors to itself
        db.execute("PRAGMA journal_size_limit=33554432")

    # --- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Keeps a batch, in one transaction."""
        with self._lock:
            db = self._writable()
            committing = True
            try:
                pages = append_one(db, batch, self._numbers)
                if pages is None:
                    committing = False
                    db.execute("BEGIN IMMEDIATE")
                    pages = write(db, batch)
                    committing = True
                    db.execute("COMMIT")
            except BaseException as error:
                self._undo(db, error, committing=committing)
                if isinstance(error, (sqlite3.Error, UnicodeError, OverflowError)):
                    unsure = "nobody knows whether this batch was kept: look once it is open again"
                    raise self._error(error, unsure if self._ended else "nothing of this batch was kept") from error
                raise
            self._pages += pages
            if batch.replaced or batch.cut or batch.dropped:
                self._remains = True
            if self._remains or self._pages >= CHECKPOINT_PAGES:
                self._checkpoint(db)

    def _writable(self) -> sqlite3.Connection:
        if self._ended:
            raise StoreError(f"{self.path} takes no more events: {self._ended}. Open the log again")
        return self._readable()

    def _undo(self, db: sqlite3.Connection, error: BaseException, *, committing: bool = False) -> None:
        """Takes back what a transaction did that failed. Where nobody knows what the disk has, no more is written."""
        self._poison(doubt(error, committing=committing))
        if db.in_transaction:  # after some errors SQLite has taken it back by itself
            try:
                db.execute("ROLLBACK")
            except sqlite3.Error as again:
                self._poison(f"a commit failed and could not be undone ({told(again)})")

    def _poison(self, why: str | None) -> None:
        self._ended = self._ended or why

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        """Brings what stands in the write-ahead log into the database; what fails is tried again after a later commit.

        All commits are safe where they are, so none of them fails by it. But where waiting for the disk failed, the
        next one is refused.
        """
        self._pages = 0
        problem = "somebody else is reading or writing"
        try:
            mode = "TRUNCATE" if self._remains else "PASSIVE"
            if not db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]:
                self._remains = False
                return
        except sqlite3.Error as error:
            self._poison(doubt(error))
            problem = told(error)
        if self._remains:
            problem = f"{problem}. What was erased still stands in it; the next commit tries to empty it again"
            logging.getLogger("quiesce").warning("%s: its write-ahead log was not emptied: %s", self.path, problem)

    def shrink(self) -> None:
        """Gives back the room of what is gone, and with it every byte that it left in pages that are not full.

        Copies the database and needs as much room meanwhile; nobody else can write until it is done.
        """
        with self._lock:
            db = self._writable()
            try:
                db.execute("VACUUM")
            except sqlite3.Error as error:
                self._undo(db, error, committing=True)
                raise self._error(error, "it could not be made smaller; nothing is lost") from error
            self._remains = True
            self._checkpoint(db)

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on, each checked against its digest."""
        no, first, _ = self._look(lambda db: find(db, run))
        due = max(start, first)
        at = start
        while no is not None:
            try:
                rows = self._fetch("events", f"seq, {COLUMNS}", "run = ? AND seq >= ? ORDER BY seq", (no, at))
            except Damaged as error:
                raise Broken(run, due, self._where, error.problem) from error
            if not rows:
                return
            for seq, *row in rows:
                if seq != due:
                    self._tell_missing(run, due, seq)
                yield record_of(run, seq, row, self._where)
                due += 1
            at = due

    def _tell_missing(self, run: RunId, due: int, found: object) -> None:
        no, first, _ = self._look(lambda db: find(db, run))
        if no is None or first > due:
            raise StoreError(f"run {run}: its events before {first} were taken away while it was read. Read it again")
        raise Broken(run, due, self._where, f"event {found!r:.20} stands where it should be")

    def first(self, run: RunId) -> int:
        """Returns the number of the first record that was not cut off."""
        return self._look(lambda db: find(db, run))[1]

    def length(self, run: RunId) -> int:
        """Returns how many records a run ever had."""
        return self._look(lambda db: find(db, run))[2]

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first records."""
        rows = self._look(lambda db: db.execute("SELECT run FROM runs ORDER BY no").fetchall())
        return [self._name(run) for (run,) in rows]

    def _name(self, run: Any) -> RunId:
        if type(run) is not str:
            raise Damaged(self._where, "cannot be read", f"{run!r:.80} stands where the name of a run should be")
        return RunId(run)

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        """Yields the events of all runs behind a position of the ledger."""
        table = "events LEFT JOIN runs ON runs.no = events.run"
        columns = f"position, events.run, runs.run, seq, {COLUMNS}"
        while rows := self._fetch(table, columns, "position > ? ORDER BY position", (position,)):
            for at, no, name, seq, *row in rows:
                position = at
                if no != 0:
                    run = self._name(name)
                    yield at, run, seq, record_of(run, seq, row, self._where)

    def position(self) -> int:
        """Returns where the ledger ends."""
        return self._look(top)

    def note(self, address: Address) -> Note | None:
        """Returns a note, or None."""
        query = f"SELECT {NOTE_COLUMNS} FROM notes WHERE space = ? AND owner = ? AND key = ?"
        row = self._look(lambda db: db.execute(query, address).fetchone())
        return None if row is None else note_of(address, row, self._where)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, Note]]:
        """Yields the notes of a space, of one owner or of all."""
        whose = "space = ?" if owner is None else "space = ? AND owner = ?"
        who = (space,) if owner is None else (space, owner)
        at: tuple[str, ...] = ()
        columns = f"owner, key, {NOTE_COLUMNS}"
        while rows := self._fetch("notes", columns, f"{whose} ORDER BY owner, key", (*who, *at)):
            for whom, key, *row in rows:
                address = Address(space, whom, key)
                yield address, note_of(address, row, self._where)
            if not at:
                whose = f"{whose} AND (owner, key) > (?, ?)"
            at = (whom, key)

    def size(self, run: RunId) -> int:
        """Returns how many bytes the events of a run take."""
        query = "SELECT sum(size) FROM events WHERE run = (SELECT no FROM runs WHERE run = ?)"
        found = self._look(lambda db: db.execute(query, (run,)).fetchone()[0])
        return int(found or 0)

    def check(self) -> Iterator[str]:
        """Yields what SQLite finds wrong with the file, which events are missing and which notes are not found."""
        for check in (check_file, check_events, check_families):
            try:
                problems = self._look(partial(_listed, check))
            except StoreError as error:
                yield str(error)
            except (TypeError, AttributeError):  # the columns of a damaged row can have any type
                yield f"{self.path}: a row of it has a column of another type than was written"
            else:
                yield from (f"{self.path}: {problem}" for problem in problems)

    def now(self) -> float:
        """Returns this machine's time, which all share who can open the file."""
        return time.time()

    def close(self) -> None:
        """Closes the database; the last to do so brings what is in the write-ahead log into it and removes the log."""
        with self._lock:
            if self._pid == os.getpid() and self._ended != CLOSED:
                if self._ended is None:
                    self._checkpoint(self._db)
                self._ended = CLOSED
                self._db.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _readable(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            raise StoreError(f"{self.path} was opened by the process that this one comes from. Open the log again here")
        if self._ended == CLOSED:
            raise StoreError(f"{self.path} cannot be read: {CLOSED}. Open the log again")
        return self._db

    def _look(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what a function finds in the database; it must not leave a cursor open."""
        with self._lock:
            try:
                return question(self._readable())
            except (sqlite3.Error, UnicodeError, OverflowError) as error:
                raise self._error(error, "cannot be read") from error

    def _fetch(self, table: str, columns: str, which: str, values: tuple[object, ...]) -> list[Any]:
        """Returns the next rows, not too many, and holds nothing afterwards."""
        rows: list[Any] = []
        size = 0
        with self._lock:
            try:
                with closing(self._readable().execute(f"SELECT {columns} FROM {table} WHERE {which}", values)) as found:
                    for row in found:
                        rows.append(row)
                        size += sum(len(column) for column in row if type(column) is bytes)
                        if len(rows) >= CHUNK_EVENTS or size >= CHUNK_BYTES:
                            break
            except (sqlite3.Error, UnicodeError) as error:
                if not rows:  # else the next call meets it, behind what is sound
                    raise self._error(error, "cannot be read") from error
        return rows

    def _error(self, error: BaseException, what: str) -> StoreError:
        return translate(error, self._where, what, self._patience)


def _listed(check: Callable[[sqlite3.Connection], Iterator[str]], db: sqlite3.Connection) -> list[str]:
    return list(check(db))
