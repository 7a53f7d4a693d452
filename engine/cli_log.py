"""Opens the log that a command names: what is only read has to be there, what is written is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..facts import FactLog
from ..facts.projection import Projection
from .cli_codes import Misuse

MEMORY = ":memory:"
_MAGIC = b"SQLite format 3\x00"


class Sync(StrEnum):
    """What a commit survives."""

    NORMAL = "normal"
    FULL = "full"


@contextmanager
def open_log(
    url: str, *, to_write: bool = False, sync: Sync = Sync.NORMAL, projections: Sequence[Projection[Any]] = ()
) -> Iterator[FactLog]:
    """Opens a log for the length of a block.

    Raises:
        Misuse: it is to be read and is not there, has no place to be written, or is a file of another kind.
    """
    path = path_of(url)
    if path is not None:
        _check_file(url, path, to_write)
    elif url != MEMORY and not to_write:
        _check_schema(url)
    with FactLog.open(url, sync=sync.value, projections=projections) as log:
        yield log


def path_of(url: str) -> Path | None:
    """Returns the file behind the url of a log; None where it is no file."""
    if url == MEMORY or url.startswith(("postgresql://", "postgres://")):
        return None
    return Path(url.removeprefix("file://").removeprefix("sqlite:///"))


def is_database(text: bytes) -> bool:
    """Tells whether what a file holds is a SQLite database."""
    return text.startswith(_MAGIC)


def refuse_input_as_log(input: str | None, log: str | None) -> None:
    """Raises Misuse if a run would be written behind its own input."""
    path = path_of(log) if log else None
    if input and path is not None and path.exists() and Path(input).exists() and path.samefile(input):
        raise Misuse(f"{log} is both the input and the log. Give the log a file of its own")


def _check_file(url: str, path: Path, to_write: bool) -> None:
    try:
        exists, is_file, has_place = path.exists(), path.is_file(), path.parent.is_dir()
    except (OSError, ValueError) as error:  # a name that no file can have, a folder that may not be entered
        raise Misuse(f"log {url} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not exists and not to_write:
        raise Misuse(f"no log at {url}. `quiesce run … --log {url}` writes one")
    if not exists and not has_place:
        raise Misuse(f"log {url} has no place: there is no directory {path.parent}")
    if exists and not is_file:
        raise Misuse(f"log {url} is no file. Give the name of one that ends in .db or .jsonl")
    if exists and path.name.endswith((".jsonl", ".ndjson")):
        _refuse_database(url, path)


def _refuse_database(url: str, path: Path) -> None:
    """Raises Misuse where a file is named like JSON lines and is a SQLite database.

    The opposite is left to SQLite: to open and close its file here would give up the locks of this process on it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise Misuse(f"log {url} cannot be read: {error.strerror or error}") from error
    if start == _MAGIC:
        raise Misuse(f"log {url} is a SQLite database, not JSON lines. Its name has to end in .db, .sqlite or .sqlite3")


def _check_schema(url: str) -> None:
    """Raises Misuse where a database holds no log: to open it would make one. Opening it tells of all other trouble."""
    try:
        import psycopg

        from ..facts.stores.postgres_link import Target
    except ImportError:
        return
    target = Target.of(url, None)
    try:
        with psycopg.connect(**target.parts) as connection:
            found = connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", [target.schema]).fetchone()
    except psycopg.Error:
        return
    if found is not None and not found[0]:
        raise Misuse(
            f"no log at {url}: the database has no schema {target.schema!r}. `quiesce run … --log {url}` makes it"
        )
