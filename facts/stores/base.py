"""States what a store must do: the protocol that every store follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..errors import StoreError
from ..fact import RunId
from ..record import Record


class Fenced(StoreError):
    """Somebody else has written to this run since it was read."""

    def __init__(self, run: str, expected: int, found: int) -> None:
        self.run, self.expected, self.found = run, expected, found
        super().__init__(
            f"run {run}: another writer has appended to it (this one would write event {expected}, the log is at "
            f"{found}). Nothing was written. Let one process own a run, or start a run of your own"
        )


class Broken(StoreError):
    """Stored bytes are not what was written."""

    def __init__(self, run: str, seq: int, where: str, problem: str) -> None:
        self.run, self.seq, self.where, self.problem = run, seq, where, problem
        intact = "Events before it can be replayed" if seq else "Nothing before it can be used"
        super().__init__(f"run {run}: event {seq} is damaged ({where}: {problem}). {intact}")


class Store(Protocol):
    """Keeps the events of runs, in order, for good.

    Contract (`tests/contracts/store.py` checks all but the last):

    - `append` is all or nothing: after an error, no event of the batch can be read.
    - Records come back byte for byte, in the order in which they were appended; runs do not mix.
    - A second writer's `append` (its `seq` is not where the run ends) raises `Fenced` and changes nothing.
    - `read` raises `Broken` where stored bytes changed, after yielding every record before them.
    - After `close`, nothing that `append` returned from is missing; no test can see a power loss, so say how you know.
    """

    lazy: bool
    """Appending may wait until somebody reads: true where nothing outlives the process anyway."""

    def append(self, run: RunId, seq: int, records: Sequence[Record]) -> None:
        """Adds records to a run that ends at `seq` (0 for a new one)."""

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on; nothing for an unknown run."""

    def length(self, run: RunId) -> int:
        """Returns how many records a run has; 0 for an unknown one."""

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first records."""

    def close(self) -> None:
        """Gives up what the store holds; a later append is an error."""
