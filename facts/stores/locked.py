"""Sees to it that one process at a time writes to a file, also where another file takes its place."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..errors import StoreError


def lock_file(path: Path) -> int:
    """Returns the number of the file that stands at a path, made if need be, open to be appended to and locked.

    Raises:
        StoreError: somebody else has locked it, or it cannot be opened.
    """
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise StoreError(
                f"{path} is being written by another process, or by another FactLog of this one. "
                f"Close it there, or log to a file of its own"
            ) from error
        except OSError as error:
            os.close(file)
            raise StoreError(f"{path} cannot be locked: {error.strerror}") from error
        if is_in_place(path, file):
            return file
        os.close(file)  # another took its place before it was locked: lock that one


def is_in_place(path: Path, file: int) -> bool:
    """Tells whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def sync_folder(path: Path) -> None:
    """Waits for a file's name to be on the disk; else power loss could take it, with all that was synced.

    Raises:
        OSError: nobody knows whether it is.
    """
    folder = os.open(Path(os.path.realpath(path)).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
