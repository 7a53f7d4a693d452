"""Keeps events in this process only: for tests, and for runs whose result is all that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..fact import RunId
from ..record import Record
from .base import Fenced


class MemoryStore:
    """A store that ends with the process."""

    lazy = True

    def __init__(self) -> None:
        self._runs: dict[RunId, list[Record]] = {}

    def append(self, run: RunId, seq: int, records: Sequence[Record]) -> None:
        """Adds records to a run that ends at `seq`."""
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
        """Does nothing: there is nothing to give up."""
