"""Where events are kept: one protocol, and the stores that need nothing but Python."""

from typing import TYPE_CHECKING

from .base import Broken, Fenced, Stale, Store
from .batch import Address, Batch, Note, Put
from .jsonl import JsonLinesStore
from .memory import MemoryStore

if TYPE_CHECKING:
    from .sqlite import SqliteStore

__all__ = [
    "Address",
    "Batch",
    "Broken",
    "Fenced",
    "JsonLinesStore",
    "MemoryStore",
    "Note",
    "Put",
    "SqliteStore",
    "Stale",
    "Store",
]

if not TYPE_CHECKING:  # type checkers would take any name for granted

    def __getattr__(name: str) -> object:
        if name != "SqliteStore":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .sqlite import SqliteStore  # it loads sqlite3, which takes a while and which not every log needs

        return SqliteStore
