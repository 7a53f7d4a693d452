"""The log of runs: what users open, write to, read, learn from and forget in, whatever the store behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import lease as leases
from .context import Context
from .errors import LogError
from .event import Event, Parent, RunStarted, RunStopped
from .exported import read_runs
from .fact import RunId
from .holding import Leases
from .learned import ProjectionCheck, Values
from .lease import Holder
from .ledger import ledger_of
from .payload import Payload
from .projection import Projection
from .reader import Logged, Reader, Reading, UnknownRun
from .record import Record
from .seal import unseal
from .snapshot import Snapshot
from .stores import Address, Store
from .stores.opening import Sync, open_store
from .writer import Notes, Writer

if TYPE_CHECKING:
    from .compact import Compaction
    from .proof import FactProof, GrowthProof
    from .redact import Redaction
    from .retain import Retention

V = TypeVar("V", bound=Payload)

__all__ = ["FactLog", "Logged", "Reading", "UnknownRun"]


class FactLog:
    """An append-only log of runs.

    ```python
    log = FactLog.open("runs.db")                  # SQLite; or "postgresql://…", "run.jsonl", ":memory:"
    result = await engine.run(context, log=log)
    replay(log, result.run_id)                     # the context as it was
    ```
    """

    def __init__(self, store: Store, *, lease: float = leases.SECONDS) -> None:
        self.store = store
        self._lock = RLock()  # runs in several threads may share a log
        self._reader = Reader(store)
        self._held = Leases(store, self._reader, self._lock, lease)
        self._writer = Writer(store, self._reader, self._held, self._lock)

    @classmethod
    def open(
        cls,
        url: str | Path = ":memory:",
        *,
        sync: Sync = "normal",
        lease: float = leases.SECONDS,
        projections: Sequence[Projection[Any]] = (),
    ) -> Self:
        """Opens a log: a SQLite file (.db, .sqlite, .sqlite3), "postgresql://…", a .jsonl file or ":memory:".

        `sync="normal"` survives the death of the process, `"full"` the loss of power as well. `lease` is for how many
        seconds a run is left alone by others once its process no longer says that it is alive. `projections` are
        registered before anything else is done; see `register`.

        Raises:
            LogError: no store goes by that name, or it cannot be opened.
        """
        if isinstance(lease, bool) or not isinstance(lease, (int, float)) or not 0 < lease < float("inf"):
            raise LogError(f"lease={lease!r} is not a positive number of seconds")
        log = cls(open_store(url, sync), lease=lease)
        try:
            log.register(*projections)
        except BaseException:  # nobody gets the log, so nobody would close it
            log.close()
            raise
        return log

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(
        self,
        run: RunId,
        events: Sequence[Event],
        beside: Mapping[str, Any] | None = None,
        *,
        seq: int | None = None,
        notes: Notes | None = None,
    ) -> None:
        """Adds events to a run, and notes beside them, all or none; `beside` is kept next to the first event.

        With `seq` the run has to end at that event. A run that this log holds a lease on has to be still its own; the
        event that stops the run gives the lease back.

        Raises:
            Fenced: somebody else has written to it, or has taken it over. Nothing was added.
        """
        with self._lock:
            self._writer.append(run, events, beside, seq, notes or {})

    def keep(self, notes: Notes, *, run: RunId | None = None) -> None:
        """Keeps notes, all or none; if they are about a run that this log holds a lease on, only while it does."""
        with self._lock:
            self._writer.keep(run, notes)

    def flush(self) -> None:
        """Writes what a lazy store has put off; reading does it by itself."""
        with self._lock:
            self._writer.flush()

    def load(self, text: str | bytes) -> list[RunId]:
        """Takes in runs that `export` wrote and returns their ids.

        Raises:
            LogError: the text is damaged or holds a run that is already here; nothing was taken in.
        """
        runs = read_runs(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        with self._lock:
            self._writer.flush()
            self._writer.take_in(runs)
        return list(runs)

    def close(self) -> None:
        """Closes the store behind it."""
        with self._lock:
            self._writer.flush()
            self._held.by_run.clear()
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- learning ---------------------------------------------------------------------------------------------------

    def register(self, *projections: Projection[Any], progress: Callable[[int], None] | None = None) -> None:
        """Keeps projections from now on: their values move on in the transaction of each commit.

        One that this log does not know, or knows in another version, is folded over the whole ledger first.

        Raises:
            ProjectionError: another one goes by its name or has its values, here or in the log.
        """
        if projections:
            self._writer.ledger = ledger_of(self)
        for one in projections:
            ledger_of(self).register(one, progress)

    def values(self, projection: Projection[V] | str) -> Values[V]:
        """Returns the values of a registered projection by id, every fact of the ledger in them.

        Raises:
            ProjectionError: it is not registered here.
            LogError: a fact cannot be folded, or what is stored is damaged; the text says what to do.
        """
        return ledger_of(self).values(projection if isinstance(projection, str) else projection.name)

    def context(self) -> Context:
        """Returns a new context that begins with the values of every registered projection, as facts.

        What a run begins with is in its own log, so it replays as it was, whatever has been learned since.
        """
        return ledger_of(self).context()

    def rebuild(
        self, name: str | None = None, *, anew: bool = False, progress: Callable[[int], None] | None = None
    ) -> None:
        """Folds the values of one projection, or of every registered one, from scratch, and puts them in place.

        A fold begins with the values of the moment at which facts last left the ledger; with `anew` it begins with
        nothing, so that what has left counts no more. `progress` is called with the number of events folded.
        """
        ledger_of(self).rebuild(name, anew, progress)

    def check_projections(self, progress: Callable[[int], None] | None = None) -> list[ProjectionCheck]:
        """Compares the stored values of every projection with a fold from scratch; nothing is changed."""
        return ledger_of(self).check(progress)

    def drop_projection(self, name: str) -> None:
        """Takes a projection that is wanted no more out of the log, with its values; the facts stay."""
        ledger_of(self).drop(name)

    # --- leases -----------------------------------------------------------------------------------------------------

    def claim(self, run: RunId) -> None:
        """Makes this process the one that may write to a run, until the run stops or `release` is called.

        That of a run that has no events yet is written with its first.

        Raises:
            Leased: another process is writing to it, or another task of this one.
        """
        with self._lock:
            self._held.claim(run)

    def release(self, run: RunId) -> None:
        """Gives back the lease of a run that this process does not go on with, if it holds it."""
        with self._lock:
            self._held.release(run)

    def renew(self) -> None:
        """Renews the leases that this log holds and that are a third over; a background thread does so by itself."""
        self._held.renew()

    def unfinished(self) -> list[RunId]:
        """Returns the runs that have begun and not stopped, in the order in which they began.

        Some may be under way right now: `holder` tells in which process.
        """
        self.flush()
        if self.store.lazy:
            return [run for run in self.store.runs() if self._reader.stopped(run) is None]
        held = {address.owner for address, _ in self.store.notes(leases.SPACE)}
        return [run for run in self.store.runs() if run in held and self._goes_on(run)] if held else []

    def _goes_on(self, run: RunId) -> bool:
        """Tells whether a run that has a lease has not stopped: one that was about to be resumed has."""
        try:
            return self._reader.stopped(run) is None
        except LogError:
            return True  # whoever goes on with it is told what is wrong

    def holder(self, run: RunId | str) -> Holder | None:
        """Returns who holds a run that has begun and not stopped; None for any other."""
        self.flush()
        return self._held.holder(RunId(str(run)))

    # --- keeping and forgetting -------------------------------------------------------------------------------------

    def compact(
        self,
        run: RunId | str | None = None,
        *,
        before: datetime | None = None,
        keep: int = 0,
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Compaction:
        """Puts a snapshot in the place of the first events of runs; what can be read afterwards is the same.

        ```python
        print(log.compact(keep=100, dry_run=True))     # what would go, and how many bytes
        ```

        Without a run: every finished run but the newest `keep`; with `before`, those whose log says that they were
        started or last resumed before that time. With a run: that one, even if it is paused or unfinished. The
        cycles of a compacted run are there as their outcome only, so it can be verified, explained, resumed and gone
        on from, but not replayed to an earlier cycle, and not rerun. A run is cut no further than to where another
        goes on from it, and its last event stays. `progress` is called with the number of runs done.

        Raises:
            Leased: another process is writing to that run.
            LogError: the log holds no such run, or it cannot be read. Nothing was changed.
        """
        from .compact import compact

        with self._lock:
            return compact(self, run, before, keep, dry_run, progress)

    def retain(
        self,
        *,
        age: timedelta | None = None,
        count: int | None = None,
        damaged: bool = False,
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Retention:
        """Drops the finished runs that are older than `age`, and those beyond the newest `count`, all or none.

        ```python
        print(log.retain(age=timedelta(days=90), dry_run=True))
        ```

        A run's age is counted from when it was started or last resumed, as its log says. A run that is unfinished or
        waits for approval stays, and so does one that a run which stays goes on from: `left` says why. Runs that
        cannot be read any more go with `damaged`, whatever their age; export what is sound of them before.

        Raises:
            LogError: neither is given, or one makes no sense.
            Fenced, Stale: somebody has gone on with one of the runs in the meantime. Nothing was dropped.
        """
        from .retain import retain

        with self._lock:
            return retain(self, age, count, damaged, dry_run, progress)

    def redact(
        self,
        run: RunId | str,
        refs: str | Iterable[str],
        *,
        reason: str,
        by: str,
        everywhere: bool = False,
        dry_run: bool = False,
    ) -> Redaction:
        """Erases what a run said under some refs, for good; a tombstone says why, by whom and when.

        ```python
        log.redact(result.run_id, ["ticket:t1"], reason="erasure request 17", by="ana")
        ```

        It takes every revision, what was refused or parked under the refs, and recorded answers that hold the same;
        with `everywhere`, from every run that holds one of the payloads, and with them what the runs that this one
        goes on from said under the refs. The chains still stand, and can be verified, replayed and proved.

        What cannot be erased: digests (a short value can be guessed from its hash), refs and ids, reasons of
        rejections, what other facts took over, what projections have learned, exports and backups.

        Raises:
            NotHere: the run has no such fact of its own.
            Leased: another process is writing to one of the runs. Nothing was changed.
            LogError: the reason or the name is blank.
        """
        from .redact import redact

        with self._lock:
            return redact(self, run, refs, reason, by, everywhere, dry_run)

    def prove(self, run: RunId | str, ref: str, *, payload: bool = True) -> FactProof:
        """Proves that a fact stands in a run, to whoever has the run's root: the last revision, if there are more.

        Raises:
            NotHere: the run has no such fact of its own; if a run that it goes on from has, that one is named.
        """
        from .proof import prove

        return prove(self, run, ref, payload)

    def prove_growth(self, run: RunId | str, size: int) -> GrowthProof:
        """Proves that a run begins with the facts that it had when there were `size` of them.

        Raises:
            ProofError: it never had so many.
        """
        from .proof import prove_growth

        return prove_growth(self, run, size)

    # --- reading ----------------------------------------------------------------------------------------------------

    def runs(self) -> list[RunId]:
        """Returns the runs in the order in which they began."""
        self.flush()
        return self.store.runs()

    def length(self, run: RunId | str) -> int:
        """Returns how many events a run has; 0 for one that is not here."""
        self.flush()
        return self.store.length(RunId(str(run)))

    def __contains__(self, run: object) -> bool:
        self.flush()
        return self.store.length(RunId(str(run))) > 0

    def records(self, run: RunId | str, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run as the store has them, from the first that was not compacted.

        Raises:
            UnknownRun: the log holds no such run.
        """
        yield from self.read(run, start).records

    def read(self, run: RunId | str, start: int = 0) -> Reading:
        """Returns what the log has of a run: the records from `start` on, and what stands for those before.

        Raises:
            UnknownRun: the log holds no such run.
            BrokenSnapshot: it was compacted, and the snapshot cannot be read.
        """
        self.flush()
        return self._reader.read(RunId(str(run)), start)

    def snapshot(self, run: RunId | str) -> Snapshot | None:
        """Returns what stands for the first events of a run that was compacted; None for any other.

        Raises:
            BrokenSnapshot: it is missing or cannot be read.
        """
        self.flush()
        return self._reader.snapshot(RunId(str(run)))

    def events(self, run: RunId | str, start: int = 0) -> Iterator[Logged]:
        """Yields the events of a run in order, from number `start` on.

        Where those were compacted, the first is a `Compacted` that stands for all up to the number that it has.
        """
        self.flush()
        return self._reader.events(RunId(str(run)), start)

    def started(self, run: RunId | str) -> RunStarted:
        """Returns the first event of a run."""
        self.flush()
        return self._reader.started(RunId(str(run)))

    def stopped(self, run: RunId | str) -> RunStopped | None:
        """Returns the last event of a run if it has ended, else None."""
        self.flush()
        return self._reader.stopped(RunId(str(run)))

    def root_of(self, run: RunId) -> str:
        """Returns the Merkle root over the facts of a run's events, in hex."""
        with self._lock:
            self._writer.flush()
            return self._writer.head(run).tree.root().hex()

    def note(self, address: Address) -> bytes | None:
        """Returns what a note holds; None if there is none.

        Raises:
            BrokenNote: it is not what was kept.
        """
        with self._lock:
            return self._writer.note(address)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, bytes]]:
        """Yields the notes of a space, of one owner or of all, in the order of owner and key."""
        self.flush()
        for address, note in self.store.notes(space, owner):
            yield address, unseal(address, note.value)

    def digest_of(self, run: RunId) -> str:
        """Returns the digest of a run's last event; empty while a lazy store has put off writing it."""
        return self._writer.digest_of(run)

    def point(self, run: RunId, seq: int) -> Parent | None:
        """Returns the point behind the first `seq` events of a run, for another to go on from.

        None if it has fewer, or if it was compacted beyond that point.
        """
        with self._lock:
            self._writer.flush()
            return self._writer.point(run, seq)

    def export(self, run: RunId | str) -> str:
        """Returns a run as JSON lines, to be kept, mailed or loaded elsewhere."""
        return self.to_bytes(run, beside=True).decode()

    def to_bytes(self, run: RunId | str, *, beside: bool = False) -> bytes:
        """Returns a run as the bytes of its JSON lines, each event as a batch.

        Without what stands beside the chain (the default) two runs that did the same have the same bytes.
        """
        self.flush()
        return self._reader.to_bytes(RunId(str(run)), beside=beside)

    def check(self, run: RunId | str) -> None:
        """Raises a LogError unless every event of a run follows the one before it and can be read."""
        self.flush()
        self._reader.check(RunId(str(run)))
