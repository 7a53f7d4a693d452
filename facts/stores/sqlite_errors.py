"""Says what SQLite's errors mean: whose turn it is, what to do, and when nobody knows what the disk has.

In a write-ahead log a transaction counts once its last frame, which is marked as a commit, is whole.

- Before COMMIT no such frame is written: whatever fails until then leaves nothing of the transaction, for certain.
- In COMMIT, a full disk means that a frame was not written whole: that is certain too.
- Any other input or output error in COMMIT can come behind that frame, when the disk is waited for or when the shared
  index grows. This process goes on without the transaction; one that reads the log after a crash may find it.
- Where waiting for the disk fails, whenever it is, nobody knows: the kernel forgets which pages it could not write, and
  to wait once more succeeds without writing them.
"""

from __future__ import annotations

import sqlite3

from ..errors import StoreError

_NOT_SYNCED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_ADVICE = {
    sqlite3.SQLITE_FULL: ". Make room on the disk and try again",
    sqlite3.SQLITE_IOERR: ". Look at the disk (dmesg), then open the log again",
    sqlite3.SQLITE_CORRUPT: ". The file is damaged: keep a copy of it, and put a backup in its place",
    sqlite3.SQLITE_NOTADB: ". Is it a fact log at all? If so it is damaged: put a backup in its place",
    sqlite3.SQLITE_READONLY: ". Ask for the right to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: ". SQLite makes files beside it, even to read: is its folder there, and may this user "
    "write to it? If not, copy the file, with its -wal if there is one, to a folder of yours",
}


class Locked(StoreError):
    """Somebody else kept the database to himself for too long."""

    def __init__(self, where: str, seconds: float) -> None:
        self.where, self.seconds = where, seconds
        super().__init__(
            f"{where} is locked: somebody else has been writing to it for more than {seconds:g} s. Nothing was "
            f"written. Find the process with: lsof {where} — then wait for it or end it, and try again"
        )


class Damaged(StoreError):
    """SQLite cannot make sense of a file."""

    def __init__(self, where: str, what: str, problem: str) -> None:
        self.where, self.problem = where, problem
        super().__init__(f"{where}: {what}: {problem}{_ADVICE[sqlite3.SQLITE_CORRUPT]}")


def translate(error: BaseException, where: str, what: str, patience: float) -> StoreError:
    """Returns what to tell the caller of an error of SQLite; `what` says what could not be done, or what was kept."""
    code = primary(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Locked(where, patience)
    if code == sqlite3.SQLITE_CORRUPT or isinstance(error, UnicodeDecodeError):
        return Damaged(where, what, told(error))
    return StoreError(f"{where}: {what}: {told(error)}{_ADVICE.get(code, '')}")


def doubt(error: BaseException, *, committing: bool = False) -> str | None:
    """Returns why nobody knows what the disk has after an error; None where it is certain."""
    if getattr(error, "sqlite_errorcode", None) in _NOT_SYNCED:
        return f"waiting for the disk failed ({told(error)})"
    if committing and primary(error) == sqlite3.SQLITE_IOERR:
        return f"a commit failed, and nobody knows whether the disk has it ({told(error)})"
    return None


def primary(error: BaseException) -> int:
    """Returns the kind of an error of SQLite, 0 for any other."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def told(error: BaseException) -> str:
    """Returns what SQLite says, with the name that its manual explains."""
    name = getattr(error, "sqlite_errorname", None)
    return f"{error} ({name})" if name else str(error)
