"""Finds the store that a url or a file name asks for; those that need more than Python are imported only then."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ..errors import LogError
from .base import Store
from .jsonl import JsonLinesStore
from .memory import MemoryStore

Sync = Literal["normal", "full"]

NAMES = '":memory:", a file that ends in .db, .sqlite or .sqlite3, a file that ends in .jsonl, or "postgresql://…"'


def open_store(url: str | Path, sync: Sync = "normal") -> Store:
    """Returns the store behind a url, new if need be.

    Raises:
        LogError: no store goes by that name.
    """
    if sync not in ("normal", "full"):
        raise LogError(f'sync={sync!r} is not "normal" (survives a crash) or "full" (survives power loss)')
    name = str(url)
    if name == ":memory:":
        return MemoryStore()
    if name.startswith(("postgresql://", "postgres://")):
        try:
            from .postgres import PostgresStore
        except ImportError as error:
            raise LogError(str(error)) from error

        return PostgresStore(name, sync)
    path = name.removeprefix("file://").removeprefix("sqlite:///")
    if path.endswith((".jsonl", ".ndjson")):
        return JsonLinesStore(path, sync)
    if path.endswith((".db", ".sqlite", ".sqlite3")):
        from .sqlite import SqliteStore

        return SqliteStore(path, sync)
    shown = re.sub("//.*@", "//…@", name)  # a mistyped url may hold a password
    raise LogError(f"no store for {shown!r}. Give {NAMES}")
