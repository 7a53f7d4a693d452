"""Keeps what was learned in one JSON file that many processes may save into, and loads it whatever has become of it.

A save takes a lock beside the file, reads what others have saved meanwhile, writes what the caller makes of both to a
new file under a name that nobody can guess, and renames that over the old one. Whoever reads without the lock finds the
old file or the new one, whole. A load never stops a program from starting: a file that is not there is no news, and one
that cannot be read is set aside under another name, with a warning. Only a file that a newer Quiesce has written, or
that holds another kind of state, is refused and left alone.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ...facts import StoreError
from .swap import keep_copy, locked, make_folders, remove_left_overs, replace, set_aside

T = TypeVar("T")

LOCK_SECONDS = 30.0
"""How long a save waits for others that save into the same file."""


class StateFileError(StoreError):
    """A state file cannot be written, or has to be left alone. What it held is still there."""

    def __init__(self, path: str | Path, problem: str) -> None:
        self.path, self.problem = str(path), problem
        super().__init__(f"state file {self.path}: {problem}")


class NewerStateFile(StateFileError):
    """A newer Quiesce has written a state file. It was left alone."""

    def __init__(self, path: str | Path, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(
            path,
            f"it has schema version {found}, and this Quiesce reads versions up to {known}. It was left alone: "
            f"upgrade Quiesce, or use another path",
        )


class Unreadable(Exception):
    """What stands in a file is no state; raised by a codec, and met by who reads the file."""


class _NoFile(Unreadable):
    pass


class Codec(Protocol[T]):
    """How one kind of state stands in a file."""

    kind: str
    version: int
    limit: int
    """How many bytes a file may have; a larger one is not read."""

    def read(self, document: dict[str, Any], problems: list[str]) -> T:
        """Returns what a document holds; notes entries that were left out. Raises Unreadable if it is no state."""
        ...

    def write(self, value: T) -> dict[str, Any]:
        """Returns what is to stand in the file."""
        ...


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a state file holds."""

    value: T | None = None
    """None: there is no file, or none that could be read."""
    lineage: str = ""
    """What all files have in common that were saved one after the other; another one begins with a new file."""
    problems: tuple[str, ...] = ()
    """What was wrong, a sentence each."""


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    found: Found[T]
    data: bytes = b""
    broken: str = ""
    """Why the file cannot be used; empty: it can, or there is none."""
    movable: bool = True
    """It is a file, and can be set aside."""


def load(path: str | Path, codec: Codec[T]) -> Found[T]:
    """Returns what a file holds; sets a file aside that cannot be read, and warns.

    Raises:
        NewerStateFile: a newer Quiesce has written it.
        StateFileError: it holds another kind of state.
    """
    target = real(path)
    read = _read(target, codec)
    if read.broken:
        try:
            with locked(target, LOCK_SECONDS):
                read = _read(target, codec)  # somebody else may have put it right meanwhile
                if read.broken:
                    read = _Read(Found(problems=(_put_away(target, read),)))
        except OSError as error:
            problem = f"{read.broken}. It could not be set aside: {error.strerror or error}; begun with the prior"
            read = _Read(Found(problems=(problem,)))
    for problem in read.found.problems:
        _warn(target, problem)
    return read.found


def save(
    path: str | Path,
    codec: Codec[T],
    merge: Callable[[Found[T]], T],
    accept: Callable[[T, str], None],
    *,
    wait: float = LOCK_SECONDS,
) -> None:
    """Puts in the place of a file what `merge` makes of what it holds; `accept` is told once it stands there.

    Raises:
        StateFileError: nothing was changed, unless it says that the disk has not confirmed what was written.
    """
    target = real(path)
    placed = False

    def stands(value: T, lineage: str) -> None:
        nonlocal placed
        placed = True
        accept(value, lineage)

    try:
        make_folders(target.parent)
        with locked(target, wait):
            remove_left_overs(target)
            before = _clear(target, _read(target, codec))
            value, lineage = merge(before), before.lineage or secrets.token_hex(16)
            replace(target, _encode(target, codec, value, lineage), lambda: stands(value, lineage))
    except OSError as error:
        what = "it was written, but the disk has not confirmed it" if placed else "it was not written"
        raise StateFileError(target, f"{what}: {error.strerror or error}") from error


def _clear(target: Path, read: _Read[T]) -> Found[T]:
    """Keeps what would be lost if a file was written over: one that cannot be used, or not all of it."""
    if read.broken and not read.movable:
        raise StateFileError(target, read.broken)
    if read.broken:
        _warn(target, _put_away(target, read))
        return Found()
    if read.found.problems:
        copy = keep_copy(target, read.data)
        _warn(target, f"{'; '.join(read.found.problems)}. What it held was kept as {copy.name}")
    return read.found


def _put_away(target: Path, read: _Read[Any]) -> str:
    if not read.movable:
        return f"{read.broken}; begun with the prior"
    return f"{read.broken}. It was set aside as {set_aside(target).name}; begun with the prior"


def _warn(target: Path, problem: str) -> None:
    logging.getLogger("quiesce").warning("state file %s: %s", target, problem)


def _encode(target: Path, codec: Codec[T], value: T, lineage: str) -> bytes:
    head = {"format": f"quiesce.{codec.kind}", "version": codec.version, "lineage": lineage}
    data = json.dumps({**head, **codec.write(value)}, separators=(",", ":"), allow_nan=False).encode()
    if len(data) > codec.limit:
        raise StateFileError(target, f"{len(data):,} bytes are more than the {codec.limit:,} that would be read again")
    return data


def real(path: str | Path) -> Path:
    """Returns where a file really is, so that a link to it stays one."""
    return Path(os.path.realpath(path))


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(target: Path, codec: Codec[T]) -> _Read[T]:
    try:
        data = _bytes_of(target, codec.limit)
    except FileNotFoundError:
        return _Read(Found())
    except OSError as error:
        return _Read(Found(), broken=f"it cannot be read: {error.strerror or error}")
    except _NoFile:
        return _Read(Found(), broken="it is a folder, a pipe or a device, not a file", movable=False)
    except Unreadable as why:
        return _Read(Found(), broken=str(why))
    problems: list[str] = []
    try:
        document = _parse(data, problems)
        _check_head(target, document, codec)
        value = codec.read(document, problems)
    except Unreadable as why:
        return _Read(Found(), data, broken=str(why))
    lineage = document.get("lineage")
    if not isinstance(lineage, str) or not lineage:
        lineage = sha256(data).hexdigest()[:32]  # of a file that something else wrote: the same for all who read it
    return _Read(Found(value, lineage, tuple(problems)), data)


def _bytes_of(target: Path, limit: int) -> bytes:
    file = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # nobody may be writing into a pipe
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise _NoFile
        if known.st_size > limit:
            raise Unreadable(f"it has {known.st_size:,} bytes, and {limit:,} are the most that are read")
        with open(file, "rb", closefd=False) as reader:
            return reader.read(limit)
    finally:
        os.close(file)


def _parse(data: bytes, problems: list[str]) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            times = Counter(name for name, _ in pairs)
            twice = sorted(name for name, many in times.items() if many > 1)[:5]
            problems.append(f"{', '.join(map(repr, twice))} stands there more than once; the last one counts")
        return found

    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=members, parse_int=_whole)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {error}"[:200]) from None
    if not isinstance(document, dict):
        raise Unreadable("it holds no JSON object")
    return document


def _whole(digits: str) -> int | float:
    """Returns a whole number; Python refuses to make an int of thousands of digits."""
    return int(digits) if len(digits) < 20 else float(digits)


def _check_head(target: Path, document: Mapping[str, Any], codec: Codec[Any]) -> None:
    kind, version = document.get("format"), document.get("version", codec.version)
    if kind is not None and not isinstance(kind, str):
        raise Unreadable("its format is no text")
    if kind is not None and kind.startswith("quiesce.") and kind != f"quiesce.{codec.kind}":
        raise StateFileError(target, f"it holds {kind}, not quiesce.{codec.kind}. It was left alone: give another path")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise Unreadable("its schema version is no whole number from 1")
    if version > codec.version:
        raise NewerStateFile(target, version, codec.version)
