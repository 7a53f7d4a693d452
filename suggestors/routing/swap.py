"""Lets one process at a time put a file in the place of another: whole, or not at all, and never over a stranger's.

Of what is done here, each step is safe to be killed in: what is left then is the old file or the new one, and at most a
lock that nobody holds and a new file under a name of its own, which the next save removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Busy(OSError):
    """Others have held a lock all the time."""


@contextmanager
def locked(target: Path, wait: float) -> Iterator[None]:
    """Lets one process (and one thread) at a time in; the lock's file goes when the last one leaves."""
    path = target.with_name(f".{target.name}.lock")
    file = _lock(path, time.monotonic() + wait)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108  whoever waits for it sees that it is gone, and locks a new one
        os.close(file)


def _lock(path: Path, until: float) -> int:
    pause = 0.001
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _stands(path, file):
                return file
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(file)
                raise Busy(errno.EAGAIN, "others have been saving into it all the time; try again") from None
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        except BaseException:  # whatever it was goes on; closing gives the lock back
            os.close(file)
            raise
        os.close(file)


def _stands(path: Path, file: int) -> bool:
    """Tells whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False))  # noqa: PTH116
    except FileNotFoundError:
        return False


def replace(target: Path, data: bytes, placed: Callable[[], None]) -> None:
    """Lets a new file take the place of another; calls `placed` if it has, whatever comes after that."""
    name, file = write_new(lambda: target.with_name(f".{target.name}.{secrets.token_hex(16)}.new"), data)
    is_there = False
    try:
        try:
            os.replace(name, target)  # noqa: PTH105
        finally:
            is_there = _stands(target, file)
            if is_there:
                placed()
    except BaseException:  # whatever it was goes on; a new file that took no place is removed
        if not is_there:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108
        raise
    finally:
        os.close(file)
    _sync_folder(target.parent)


def write_new(name: Callable[[], Path], data: bytes) -> tuple[Path, int]:
    """Writes a file that was not there before, and waits for the disk; returns its name and number."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        new = name()
        try:
            file = os.open(new, flags, 0o600)
        except FileExistsError:
            continue  # somebody guessed it, or set a trap: nothing was touched
        break
    try:
        os.fchmod(file, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except BaseException:
        os.close(file)
        with suppress(OSError):
            os.unlink(new)  # noqa: PTH108
        raise
    return new, file


def keep_copy(target: Path, data: bytes) -> Path:
    """Keeps what a file holds under a name that is not in use, and returns that."""
    copy, file = write_new(lambda: _unused(target), data)
    os.close(file)
    return copy


def set_aside(target: Path) -> Path:
    """Renames a file to a name that is not in use, and returns that. Only who has the lock may."""
    aside = _unused(target)
    os.rename(target, aside)  # noqa: PTH104
    _sync_folder(target.parent)
    return aside


def _unused(target: Path) -> Path:
    while True:
        aside = target.with_name(f"{target.name}.broken-{secrets.token_hex(4)}")
        if not os.path.lexists(aside):
            return aside


def remove_left_overs(target: Path) -> None:
    """Removes what killed processes have left; only who has the lock may."""
    left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.new")
    with suppress(OSError):  # it does no harm
        for name in os.listdir(target.parent):  # noqa: PTH208
            if left.fullmatch(name):
                os.unlink(target.parent / name)  # noqa: PTH108


def make_folders(folder: Path) -> None:
    """Makes a folder and those above it, and waits until the disk knows them."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)  # noqa: PTH102
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Waits for the names in a folder to be on the disk; else power loss could take them."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives know no such thing
            raise
    finally:
        os.close(file)
