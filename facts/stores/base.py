"""States what a store must do: the protocol that every store follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .batch import Address, Batch, Note


class Fenced(StoreError):
    """Somebody else has written to this run since it was read."""

    def __init__(self, run: str, expected: int, found: int) -> None:
        self.run, self.expected, self.found = run, expected, found
        super().__init__(
            f"run {run}: another writer has appended to it (this one would write event {expected}, the log is at "
            f"{found}). Nothing was written. Let one process own a run, or start a run of your own"
        )


class Stale(StoreError):
    """Somebody else has changed a note since it was read. Nothing was written; read it and try again."""

    def __init__(self, address: Address) -> None:
        self.address = address
        super().__init__(f"{address.space} {address.owner} {address.key} was changed by somebody else in the meantime")


class Broken(StoreError):
    """Stored bytes are not what was written."""

    def __init__(self, run: str, seq: int, where: str, problem: str) -> None:
        self.run, self.seq, self.where, self.problem = run, seq, where, problem
        intact = "Events before it can be replayed" if seq else "Nothing before it can be used"
        super().__init__(f"run {run}: event {seq} is damaged ({where}: {problem}). {intact}")


class NewerFormat(StoreError):
    """A store was written by a newer build, in a layout that this one does not know."""

    def __init__(self, where: str, found: int, known: int) -> None:
        self.where, self.found, self.known = where, found, known
        super().__init__(
            f"{where} is laid out in version {found}, and this build of quiesce knows versions up to {known}. "
            f"Nothing was changed. Open it with a newer quiesce: pip install --upgrade quiesce"
        )


class Store(Protocol):
    """Keeps the events of runs in order, and notes beside them, for good.

    The events of all runs together are the *ledger*: each has a position, a whole number from 1 that grows in the
    order of the commits; it may leave gaps. Of the runs of one batch, the one named first comes first.

    Contract (`quiesce.facts.testing.StoreContract` checks all but the last):

    - `commit` is all or nothing: after an error, nothing of the batch can be read.
    - Records come back byte for byte, in the order in which they were added; runs do not mix. So do notes.
    - A second writer's `commit` (`ends` or `expects` do not hold) raises `Fenced` or `Stale` and changes nothing. That
      is checked inside the transaction: of two that expect the same, in whatever processes, one succeeds.
    - `read` raises `Broken` where stored bytes changed, after yielding every record before them.
    - After `close`, nothing that `commit` returned from is missing; no test can see a power loss, so say how you know.
    - Where a commit failed and nobody knows what the disk has, every later `commit` of this store object is refused.
    """

    lazy: bool
    """Committing may wait until somebody reads: true where nothing outlives the process anyway."""

    def commit(self, batch: Batch) -> None:
        """Keeps a batch, or raises and keeps nothing of it."""

    def read(self, run: RunId, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run from number `start` on, or from the first that was not cut off.

        Nothing for an unknown run.
        """

    def first(self, run: RunId) -> int:
        """Returns the number of the first record that was not cut off; 0 for an unknown run."""

    def length(self, run: RunId) -> int:
        """Returns the number of the next record of a run: how many it ever had; 0 for an unknown one."""

    def runs(self) -> list[RunId]:
        """Returns the runs in the order of their first records."""

    def since(self, position: int) -> Iterator[tuple[int, RunId, int, Record]]:
        """Yields the events of all runs behind a position of the ledger: position, run, number, record."""

    def position(self) -> int:
        """Returns where the ledger ends: the position of its last event; 0 if there never was one."""

    def note(self, address: Address) -> Note | None:
        """Returns a note, or None."""

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, Note]]:
        """Yields the notes of a space, of one owner or of all, in the order of owner and key."""

    def size(self, run: RunId) -> int:
        """Returns how many bytes the events of a run take: their texts, payloads and what stands beside them."""

    def check(self) -> Iterator[str]:
        """Yields what is wrong with the store as such, a sentence each; what `read` finds need not be told again."""

    def now(self) -> float:
        """Returns the time in seconds since 1970, on a clock that all who write to this store agree on."""

    def close(self) -> None:
        """Gives up what the store holds; a later commit is an error."""
