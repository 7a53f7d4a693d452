"""Keeps events until it is told to keep no more."""

from __future__ import annotations

from quiesce.facts import Batch, MemoryStore


class Refusing(MemoryStore):
    """A store over memory that passes for one on a disk; it raises at every commit once it has an error to raise."""

    lazy = False
    error: Exception | None = None

    def commit(self, batch: Batch) -> None:
        if self.error is not None:
            raise self.error
        super().commit(batch)
