"""Keeps events in this process only: for tests, and for runs whose result is all that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .base import Fenced


class MemoryStore:
    """A store that ends with the process."""

    lazy = True

    def __init__(self) -> None:
        self._runs: dict[RunId, list[Record]] = {}
        self._closed = False

    def append(self, run: RunId, seq: int, records: Sequence[Record]) -> None:
        """Adds records to a run that ends at `seq`."""
        if self._closed:
            raise StoreError("this log in memory was closed. Open another")
        kept = self._runs.get(run, [])
        if len(kept) != seq:
            raise Fenced(run, seq, len(kept))
        self._runs.setdefault(run, kept).extend(records)

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on."""
        yield from self._runs.get(run, [])[start:]

    def length(self, run: RunId) -> int:
        """Returns how many records a run has."""
        return len(self._runs.get(run, ()))

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first records."""
        return list(self._runs)

    def close(self) -> None:
        """Takes no more events; what is there can still be read, since a result may hold it."""
        self._closed = True
