"""Writes to a store for a log: events as the next of their runs' chains, and notes beside them, each append whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

from . import forget
from . import lease as leases
from .bulk import building
from .chain import Head, Written, write
from .errors import LogError
from .event import Event, Parent, RunStarted
from .exported import Exported
from .fact import RunId
from .folding import families_of
from .holding import Leases, Said
from .lease import stamp
from .reader import Reader
from .seal import seal, unseal
from .stores import Address, Batch, Fenced, Put, Stale, Store

if TYPE_CHECKING:
    from .ledger import Ledger

NoteBody = bytes | Callable[[], bytes] | None
"""What a note is to hold; a function gives it when a lazy store is read. None takes the note away."""
Notes = Mapping[Address, NoteBody]
POINTS = 1_000
"""How many runs may be about to begin from others at a time."""


MANY = 1_000
"""So many facts are written in bulk."""


class Writer:
    """What one log has written, and what a lazy store has not taken yet. Whoever calls holds the lock of the log."""

    def __init__(self, store: Store, reader: Reader, held: Leases, lock: RLock) -> None:
        self.store, self.reader, self.held, self.lock = store, reader, held, lock
        self.ledger: Ledger | None = None
        self._heads: dict[RunId, Head] = {}
        self._put_off: dict[RunId, int] = {}  # how many events of each run a lazy store has not taken yet
        self._waiting: list[tuple[RunId | None, Said, Notes]] = []
        self._points: dict[tuple[RunId, int], int | None] = {}  # those found for runs that have not begun yet

    def append(
        self, run: RunId, events: Sequence[Event], beside: Mapping[str, Any] | None, seq: int | None, notes: Notes
    ) -> None:
        """Adds events to a run, and notes beside them; `FactLog.append` says the rest."""
        if seq is not None and self.length(run) != seq:
            if not self.store.lazy:
                self.forget_head(run)  # a server that crashed may have lost what it acknowledged: look what is there
            if (found := self.length(run)) != seq:
                raise self.held.find_taker(run) or Fenced(run, seq, found)
        said: Said = [(event, None if place else beside) for place, event in enumerate(events)]
        if self.store.lazy:
            self._waiting.append((run, said, notes))
            self._put_off[run] = self._put_off.get(run, 0) + len(said)
            return
        self._write(run, self.held.sign(run, said), notes)

    def keep(self, run: RunId | None, notes: Notes) -> None:
        """Keeps notes."""
        if self.store.lazy:
            self._waiting.append((run, [], notes))
        else:
            self._keep(run, notes)

    def flush(self) -> None:
        """Writes what a lazy store has put off."""
        while self._waiting:
            run, said, notes = self._waiting[0]
            if run is not None and said:
                self._write(run, said, notes)
            else:
                self._keep(run, notes)
            del self._waiting[0]
            if run is not None:
                self._put_off.pop(run, None)

    def take_in(self, runs: Mapping[RunId, Exported]) -> None:
        """Keeps runs that were exported elsewhere, all or none; each is checked before."""
        present = [run for run in runs if self.store.length(run)]
        if present:
            raise LogError(f"run {present[0]} is already in this log. Nothing was taken in")
        puts: dict[Address, Put | None] = {}
        batch = Batch(puts=puts)
        for run, exported in runs.items():
            alone = Reader(exported.as_store())
            alone.check(run)
            exported.add_to(batch, puts, stamp())
            parent = alone.started(run).parent
            if parent is not None and (parent.run in runs or self.store.length(parent.run)):
                puts[forget.child_of(parent.run)] = forget.child_put(parent.run)
            if alone.stopped(run) is None:
                address = leases.address_of(run)
                puts[address] = Put(seal(address, leases.unowned()), stamp())
        batch.touches, batch.touch = families_of(batch.records), stamp()
        self.commit(batch, None)

    def note(self, address: Address) -> bytes | None:
        """Returns what a note holds, or will once it is written; None if there is none."""
        for _, _, notes in reversed(self._waiting):  # not written for this: the log stays lazy
            if address in notes:
                body = notes[address]
                return body() if callable(body) else body
        note = self.store.note(address)
        return None if note is None else unseal(address, note.value)

    def length(self, run: RunId) -> int:
        """Returns where this log takes a run to end, with the events that wait to be written; a commit checks it."""
        head = self._heads.get(run)
        end = head.seq if head is not None and not self.store.lazy else self.store.length(run)
        return end + self._put_off.get(run, 0)

    def digest_of(self, run: RunId) -> str:
        """Returns the digest of a run's last event; empty while a lazy store has put off writing it."""
        head = self._heads.get(run)
        return "" if head is None or self._waiting else head.digest or ""

    def head(self, run: RunId) -> Head:
        """Returns where the next event of a run goes."""
        head = self._heads.get(run)
        if head is None:
            head = self._heads[run] = self.reader.head(run)
        return head

    def forget_head(self, run: RunId) -> None:
        """Lets what is really in the store be read again."""
        self._heads.pop(run, None)

    def point(self, run: RunId, seq: int) -> Parent | None:
        """Returns the point behind the first `seq` events of a run, and notes that another may go on from it."""
        epoch = forget.epoch_of(self.store)  # first: whoever forgets the point later is noticed by the next append
        digest = self.reader.digest_at(run, seq)
        if digest is None:
            return None
        self._points.pop((run, seq), None)
        self._points[run, seq] = epoch
        if len(self._points) > POINTS:
            del self._points[next(iter(self._points))]
        return Parent(run, seq, digest)

    def commit(self, batch: Batch, run: RunId | None) -> None:
        """Commits a batch, and with it what projections learn; tells who took the run over if that is why it fails."""
        try:
            if self.ledger is None:
                self.store.commit(batch)
            else:
                self.ledger.commit(batch, self.store.commit)
        except (Fenced, Stale) as error:
            taker = None if run is None else self.held.find_taker(run)
            if taker is None:
                raise
            raise taker from error
        if run is not None:
            self.held.kept(batch, run)

    def _write(self, run: RunId, said: Said, notes: Notes) -> None:
        if any(len(getattr(event, "facts", ())) > MANY for event, _ in said):
            with building():
                self._write_next(run, said, notes)
        else:
            self._write_next(run, said, notes)

    def _write_next(self, run: RunId, said: Said, notes: Notes) -> None:
        head = self.head(run)
        written = write(run, head, said)
        try:
            self._commit_written(run, head, written, said, notes)
        except BaseException:  # whatever it was goes on to the caller
            self.forget_head(run)  # what is really there is read again
            raise
        written.move(head)

    def _commit_written(self, run: RunId, head: Head, written: Written, said: Said, notes: Notes) -> None:
        first, last = said[0][0], said[-1][0]
        parent = first.parent if isinstance(first, RunStarted) else None
        while True:
            batch = Batch.of(run, head.seq, written.records)
            batch.puts = puts = _puts(notes)
            batch.touches, batch.touch = written.families, stamp()
            self.held.tie(batch, puts, run, last)
            if parent is not None:
                forget.bind(self.store, batch, parent, self._points)
            try:
                return self.commit(batch, run)
            except Stale as error:
                if parent is None or error.address != forget.EPOCH:
                    raise
                if self.point(parent.run, parent.seq) != parent:  # it notes the epoch of now
                    raise forget.Forgotten(run, parent.run) from error

    def _keep(self, run: RunId | None, notes: Notes) -> None:
        puts = _puts(notes)
        batch = Batch(puts=puts)
        if run is not None:
            self.held.tie(batch, puts, run, None)
        self.commit(batch, run)


def _puts(notes: Notes) -> dict[Address, Put | None]:
    puts: dict[Address, Put | None] = {}
    for address, said in notes.items():
        body = said() if callable(said) else said
        puts[address] = None if body is None else Put(seal(address, body), stamp())
    return puts
