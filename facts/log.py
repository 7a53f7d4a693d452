"""Keeps the events of runs as a chain that can be checked, whatever the store behind it."""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import forget
from . import lease as leases
from . import snapshot as snapshots
from .bulk import building
from .chain import Head, Written, write
from .context import Context
from .errors import LogError
from .event import Event, Parent, RunStarted, RunStopped
from .exported import read_runs, write_run
from .fact import RunId
from .folding import families_of
from .learned import ProjectionCheck, Values
from .lease import Holder, Lease, Leased, TakenOver, stamp
from .ledger import Ledger, ledger_of
from .payload import Payload
from .projection import Projection
from .read_event import read_event, read_head
from .record import Record
from .seal import BrokenNote, seal, unseal
from .snapshot import BrokenSnapshot, Snapshot
from .stores import Address, Batch, Fenced, Put, Stale, Store
from .stores.opening import Sync, open_store

if TYPE_CHECKING:
    from .compact import Compaction
    from .proof import FactProof, GrowthProof
    from .redact import Redaction
    from .retain import Retention

NoteBody = bytes | Callable[[], bytes] | None
"""What a note is to hold; a function gives it when a lazy store is read. None takes the note away."""
Notes = Mapping[Address, NoteBody]
Said = list[tuple[Event, Mapping[str, Any] | None]]
V = TypeVar("V", bound=Payload)
POINTS = 1_000
"""How many runs may be about to begin from others at a time."""


class UnknownRun(LogError):
    """A log holds no run of this id."""

    def __init__(self, run: str, known: Sequence[str]) -> None:
        self.run, self.known = run, tuple(known)
        more = ", …" if len(known) > 5 else ""
        some = f"It holds {len(known)}: {', '.join(known[:5])}{more}" if known else "It is empty"
        super().__init__(f"run {run!r} is not in this log. {some}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a log has of a run, from some event on."""

    snapshot: Snapshot | None
    """What stands for the events before `start`, where they were compacted and asked for."""
    start: int
    """The number of the first record."""
    records: Iterator[Record]


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it stands in a log."""

    run: RunId
    seq: int
    event: Event
    digest: str
    beside: Mapping[str, Any]


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
        self.lease_seconds = lease
        self._heads: dict[RunId, Head] = {}
        self._lock = RLock()  # runs in several threads may share a log
        self._put_off: dict[RunId, int] = {}  # how many events of each run a lazy store has not taken yet
        self._waiting: list[tuple[RunId | None, Said, Notes]] = []
        self._leases: dict[RunId, Lease] = {}
        self._points: dict[tuple[RunId, int], int | None] = {}  # those found for runs that have not begun yet
        self._token = secrets.token_hex(8)
        self._ledger: Ledger | None = None

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
            if seq is not None and self._length(run) != seq:
                self._forget_head(run)  # a server that crashed may have lost what it acknowledged: look what is there
                if (found := self._length(run)) != seq:
                    raise self._find_taker(run) or Fenced(run, seq, found)
            said: Said = [(event, None if place else beside) for place, event in enumerate(events)]
            if self.store.lazy:
                self._waiting.append((run, said, notes or {}))
                self._put_off[run] = self._put_off.get(run, 0) + len(said)
                return
            self._write(run, self._sign(run, said), notes or {})

    def keep(self, notes: Notes, *, run: RunId | None = None) -> None:
        """Keeps notes, all or none; if they are about a run that this log holds a lease on, only while it does."""
        with self._lock:
            if self.store.lazy:
                self._waiting.append((run, [], notes))
                return
            self._keep(run, notes)

    def flush(self) -> None:
        """Writes what a lazy store has put off; reading does it by itself."""
        with self._lock:
            while self._waiting:
                run, said, notes = self._waiting[0]
                if run is not None and said:
                    self._write(run, said, notes)
                else:
                    self._keep(run, notes)
                del self._waiting[0]
                if run is not None:
                    self._put_off.pop(run, None)

    def load(self, text: str | bytes) -> list[RunId]:
        """Takes in runs that `export` wrote and returns their ids.

        Raises:
            LogError: the text is damaged or holds a run that is already here; nothing was taken in.
        """
        self.flush()
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        runs = read_runs(data)
        present = [run for run in runs if self.store.length(run)]
        if present:
            raise LogError(f"run {present[0]} is already in this log. Nothing was taken in")
        puts: dict[Address, Put | None] = {}
        batch = Batch(puts=puts)
        for run, exported in runs.items():
            alone = FactLog(exported.as_store())
            alone.check(run)
            exported.add_to(batch, puts, stamp())
            parent = alone.started(run).parent
            if parent is not None and (parent.run in runs or self.store.length(parent.run)):
                puts[forget.child_of(parent.run)] = forget.child_put(parent.run)
            if alone.stopped(run) is None:
                address = leases.address_of(run)
                puts[address] = Put(seal(address, leases.unowned()), stamp())
        batch.touches, batch.touch = families_of(batch.records), stamp()
        with self._lock:
            self._commit(batch, None)
        return list(runs)

    def close(self) -> None:
        """Closes the store behind it."""
        with self._lock:
            self.flush()
            self._leases.clear()
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
            self._ledger = ledger_of(self)
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
            if self.store.lazy:
                return
            address = leases.address_of(run)
            if run in self._leases:
                raise Leased(run, "another task of this process", self.lease_seconds)
            note = self.store.note(address)
            epoch, expected = 1, None
            if note is not None:
                holder, now = Holder.read(run, unseal(address, note.value)), self.store.now()
                if not holder.is_over(now, run):
                    raise Leased(run, holder.where, holder.until - now)
                epoch, expected = holder.epoch + 1, note.stamp
            lease = Lease(run, epoch, stamp(), self.lease_seconds, self._token)
            if self.store.length(run):
                value = seal(address, lease.to_bytes(self.store.now()))
                try:
                    self.store.commit(Batch(expects={address: expected}, puts={address: Put(value, lease.stamp)}))
                except Stale:  # somebody was faster: see who
                    self.claim(run)
                    return
                lease.written = True
            self._leases[run] = lease
            leases.watch(self)

    def release(self, run: RunId) -> None:
        """Gives back the lease of a run that this process does not go on with, if it holds it."""
        with self._lock:
            lease = self._leases.pop(run, None)
            if lease is None or not lease.written:
                return
            try:
                value = None if self.stopped(run) else Put(seal(lease.address, lease.to_bytes(0.0, over=True)), stamp())
                self.store.commit(Batch(expects={lease.address: lease.stamp}, puts={lease.address: value}))
            except (LogError, OSError) as error:  # it will be over by itself, and the caller may have worse to tell
                leases.tell_not_renewed(lease, error)

    def renew(self) -> None:
        """Renews the leases that this log holds and that are a third over; a background thread calls it."""
        with self._lock:
            for lease in list(self._leases.values()):
                if lease.written and lease.is_due():
                    try:
                        self._renew(lease)
                    except (LogError, OSError) as error:  # the next append meets it too, and has somebody to tell
                        leases.tell_not_renewed(lease, error)

    def unfinished(self) -> list[RunId]:
        """Returns the runs that have begun and not stopped, in the order in which they began.

        Some may be under way right now: `holder` tells in which process.
        """
        self.flush()
        if self.store.lazy:
            return [run for run in self.store.runs() if self.stopped(run) is None]
        held = {address.owner for address, _ in self.store.notes(leases.SPACE)}
        return [run for run in self.store.runs() if run in held and self._goes_on(run)] if held else []

    def _goes_on(self, run: RunId) -> bool:
        """Tells whether a run that has a lease has not stopped: one that was about to be resumed has."""
        try:
            return self.stopped(run) is None
        except LogError:
            return True  # whoever goes on with it is told what is wrong

    def holder(self, run: RunId | str) -> Holder | None:
        """Returns who holds a run that has begun and not stopped; None for any other."""
        self.flush()
        address = leases.address_of(RunId(str(run)))
        note = self.store.note(address)
        return None if note is None else Holder.read(str(run), unseal(address, note.value))

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
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Retention:
        """Drops the finished runs that are older than `age`, and those beyond the newest `count`, all or none.

        ```python
        print(log.retain(age=timedelta(days=90), dry_run=True))
        ```

        A run's age is counted from when it was started or last resumed, as its log says. A run that is unfinished or
        waits for approval stays, and so does one that a run which stays goes on from: `left` says why.

        Raises:
            LogError: neither is given, or one makes no sense.
            Fenced, Stale: somebody has gone on with one of the runs in the meantime. Nothing was dropped.
        """
        from .retain import retain

        with self._lock:
            return retain(self, age, count, dry_run, progress)

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
        return self._read(RunId(run), start)

    def _read(self, name: RunId, start: int = 0) -> Reading:
        while True:
            first = self.store.first(name)
            found = self._snapshot(name) if start < first else None
            records = self.store.read(name, max(start, first))
            head = next(records, None)
            # Whoever compacts the run between these steps must not make what is left look damaged: look again.
            if self.store.first(name) != first or (found is not None and found.events != first):
                if self.store.first(name) == first:
                    raise BrokenSnapshot(name, f"is not that of its first {first} events")
                continue
            if head is None:
                if not self.store.length(name):
                    raise UnknownRun(name, self.store.runs())
                return Reading(found, max(start, first), iter(()))
            return Reading(found, max(start, first), chain([head], records))

    def snapshot(self, run: RunId | str) -> Snapshot | None:
        """Returns what stands for the first events of a run that was compacted; None for any other.

        Raises:
            BrokenSnapshot: it is missing or cannot be read.
        """
        self.flush()
        return self._snapshot(RunId(run))

    def _snapshot(self, name: RunId) -> Snapshot | None:
        note = self.store.note(snapshots.address_of(name))
        if note is None:
            if self.store.first(name):
                raise BrokenSnapshot(name, "is missing")
            return None
        try:
            return Snapshot.read(name, unseal(snapshots.address_of(name), note.value))
        except BrokenNote as error:
            raise BrokenSnapshot(name, "is damaged: it does not match its digest") from error

    def events(self, run: RunId | str, start: int = 0) -> Iterator[Logged]:
        """Yields the events of a run in order, from number `start` on.

        Where those were compacted, the first is a `Compacted` that stands for all up to the number that it has.
        """
        reading = self.read(run, start)
        name = RunId(str(run))
        if reading.snapshot is not None:
            yield Logged(name, reading.start - 1, reading.snapshot.event(), reading.snapshot.digest, {})
        for seq, record in enumerate(reading.records, reading.start):
            data = read_head(record.raw, str(run), seq)
            event = read_event(data, str(run), seq, record.payloads.get, record.gone)
            yield Logged(name, seq, event, record.digest, json.loads(record.beside))

    def started(self, run: RunId | str) -> RunStarted:
        """Returns the first event of a run."""
        reading = self.read(run)
        if reading.snapshot is not None:
            return reading.snapshot.first[0]
        record = next(reading.records)
        data = read_head(record.raw, str(run), 0)
        first = read_event(data, str(run), 0, record.payloads.get, record.gone)
        if not isinstance(first, RunStarted):
            raise LogError(f"run {run}: event 0 is {first.kind}, not {RunStarted.kind}")
        return first

    def stopped(self, run: RunId | str) -> RunStopped | None:
        """Returns the last event of a run if it has ended, else None."""
        self.flush()
        length = self.store.length(RunId(str(run)))
        last = [logged.event for logged in self.events(run, max(0, length - 1))]
        return last[-1] if last and isinstance(last[-1], RunStopped) else None

    def root_of(self, run: RunId) -> str:
        """Returns the Merkle root over the facts of a run's events, in hex."""
        self.flush()
        return self._head(run).tree.root().hex()

    def note(self, address: Address) -> bytes | None:
        """Returns what a note holds; None if there is none.

        Raises:
            BrokenNote: it is not what was kept.
        """
        with self._lock:
            for _, _, notes in reversed(self._waiting):  # not written for this: the log stays lazy
                if address in notes:
                    body = notes[address]
                    return body() if callable(body) else body
        note = self.store.note(address)
        return None if note is None else unseal(address, note.value)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, bytes]]:
        """Yields the notes of a space, of one owner or of all, in the order of owner and key."""
        self.flush()
        for address, note in self.store.notes(space, owner):
            yield address, unseal(address, note.value)

    def _length(self, run: RunId) -> int:
        """Returns where this log takes a run to end, with the events that wait to be written; a commit checks it."""
        head = self._heads.get(run)
        end = head.seq if head is not None and not self.store.lazy else self.store.length(run)
        return end + self._put_off.get(run, 0)

    def digest_of(self, run: RunId) -> str:
        """Returns the digest of a run's last event; empty while a lazy store has put off writing it."""
        head = self._heads.get(run)
        return "" if head is None or self._waiting else head.digest or ""

    def point(self, run: RunId, seq: int) -> Parent | None:
        """Returns the point behind the first `seq` events of a run, for another to go on from.

        None if it has fewer, or if it was compacted beyond that point.
        """
        self.flush()
        return self._point(run, seq)

    def _point(self, run: RunId, seq: int) -> Parent | None:
        epoch = forget.epoch_of(self.store)  # first: whoever forgets the point later is noticed by the next append
        first = self.store.first(run)
        if seq < first or seq < 1:
            return None
        if seq == first:
            found = self._snapshot(run)
            digest = found.digest if found is not None and found.events == seq else None
        else:
            digest = next((record.digest for record in self.store.read(run, seq - 1)), None)
        if digest is None:
            return None
        self._points.pop((run, seq), None)
        self._points[run, seq] = epoch
        if len(self._points) > POINTS:
            del self._points[next(iter(self._points))]
        return Parent(run, seq, digest)

    def export(self, run: RunId | str) -> str:
        """Returns a run as JSON lines, to be kept, mailed or loaded elsewhere."""
        return self.to_bytes(run, beside=True).decode()

    def to_bytes(self, run: RunId | str, *, beside: bool = False) -> bytes:
        """Returns a run as the bytes of its JSON lines, each event as a batch.

        Without what stands beside the chain (the default) two runs that did the same have the same bytes.
        """
        reading = self.read(run)
        records = list(reading.records)
        if not beside:
            records = [Record(one.raw, one.digest, one.payloads, gone=one.gone) for one in records]
        snapshot = None
        if reading.snapshot is not None:
            address = snapshots.address_of(RunId(run))
            snapshot = seal(address, reading.snapshot.to_bytes())
        return write_run(str(run), reading.start, snapshot, records)

    def check(self, run: RunId | str) -> None:
        """Raises a LogError unless every event of a run follows the one before it and can be read."""
        reading = self.read(run)
        previous: str | None = None
        if reading.snapshot is not None:
            reading.snapshot.event()
            previous = reading.snapshot.digest
        for seq, record in enumerate(reading.records, reading.start):
            data = read_head(record.raw, str(run), seq)
            if data.get("prev") != previous:
                raise LogError(f"run {run}: event {seq} does not follow event {seq - 1}")
            read_event(data, str(run), seq, record.payloads.get, record.gone)
            previous = record.digest

    # --- inside -----------------------------------------------------------------------------------------------------

    def _head(self, run: RunId) -> Head:
        head = self._heads.get(run)
        if head is None:
            head = Head()
            if self.store.length(run):
                reading = self._read(run)
                if (found := reading.snapshot) is not None:
                    head = Head(found.events, found.digest, found.tree.copy())
                for record in reading.records:
                    head.take(run, record)
            self._heads[run] = head
        return head

    def _forget_head(self, run: RunId) -> None:
        if not self.store.lazy:
            self._heads.pop(run, None)

    def _write(self, run: RunId, said: Said, notes: Notes) -> None:
        with building():
            head = self._head(run)
            written = write(run, head, said)
            try:
                self._commit_written(run, head, written, said, notes)
            except BaseException:  # whatever it was goes on to the caller
                self._heads.pop(run, None)  # what is really there is read again
                raise
            written.move(head)

    def _commit_written(self, run: RunId, head: Head, written: Written, said: Said, notes: Notes) -> None:
        parent = said[0][0].parent if isinstance(said[0][0], RunStarted) else None
        while True:
            batch = self._batch(run, head, written, said[-1][0], notes)
            if parent is not None:
                forget.bind(self, batch, parent)
            try:
                return self._commit(batch, run)
            except Stale as error:
                if parent is None or error.address != forget.EPOCH:
                    raise
                if self._point(parent.run, parent.seq) != parent:  # it notes the epoch of now
                    raise forget.Forgotten(run, parent.run) from error

    def _batch(self, run: RunId, head: Head, written: Written, last: Event, notes: Notes) -> Batch:
        batch = Batch.of(run, head.seq, written.records)
        batch.puts = puts = _puts(notes)
        batch.touches, batch.touch = written.families, stamp()
        lease = self._leases.get(run)
        if lease is not None:
            address = lease.address
            batch.expects = {address: lease.stamp if lease.written else None}
            if isinstance(last, RunStopped):
                if lease.written:
                    puts[address] = None
            elif not lease.written:
                puts[address] = Put(seal(address, lease.to_bytes(self.store.now())), lease.stamp)
        return batch

    def _commit(self, batch: Batch, run: RunId | None) -> None:
        lease = None if run is None else self._leases.get(run)
        try:
            if self._ledger is None:
                self.store.commit(batch)
            else:
                self._ledger.commit(batch, self.store.commit)
        except (Fenced, Stale) as error:
            taker = None if run is None else self._find_taker(run)
            if taker is None:
                raise
            raise taker from error
        if lease is not None and (put := batch.puts.get(lease.address, ...)) is not ...:
            lease.written = put is not None
            if put is None:
                self._leases.pop(lease.run, None)

    def _keep(self, run: RunId | None, notes: Notes) -> None:
        batch = Batch(puts=_puts(notes))
        lease = None if run is None else self._leases.get(run)
        if lease is not None and lease.written:
            batch.expects = {lease.address: lease.stamp}
        self._commit(batch, run)

    def _renew(self, lease: Lease) -> None:
        value = seal(lease.address, lease.to_bytes(self.store.now()))
        put = Put(value, lease.stamp)
        try:
            self.store.commit(Batch(expects={lease.address: lease.stamp}, puts={lease.address: put}))
        except Stale as error:
            raise self._find_taker(lease.run) or error from error
        lease.was_renewed()

    def _sign(self, run: RunId, said: Said) -> Said:
        """Puts beside the end of a run that was taken over who ended it: its lease goes, and who wakes up may ask."""
        lease, (event, beside) = self._leases.get(run), said[-1]
        if lease is None or lease.epoch == 1 or not isinstance(event, RunStopped):
            return said
        return [*said[:-1], (event, {**(beside or {}), "ended_by": leases.describe_myself()})]

    def _ended_by(self, run: RunId) -> str:
        """Returns who ended a run that was taken over, as far as it can be told."""
        with suppress(LogError, ValueError, AttributeError):
            last = deque(self.store.read(run, max(0, self.store.length(run) - 1)), maxlen=1)
            return "".join(f" by {json.loads(record.beside).get('ended_by', 'nobody')}" for record in last)
        return ""

    def _find_taker(self, run: RunId) -> TakenOver | None:
        """Returns the error that says who took over a run that this log holds, if somebody did."""
        lease = self._leases.get(run)
        if lease is None or not lease.written:
            return None
        note = self.store.note(lease.address)
        if note is None:
            return TakenOver(run, lease.epoch, f"it was taken over and ended{self._ended_by(run)}")
        if note.stamp == lease.stamp:
            return None
        holder = Holder.read(run, unseal(lease.address, note.value))
        return TakenOver(run, lease.epoch, f"it was taken over by {holder.where}")


def _puts(notes: Notes) -> dict[Address, Put | None]:
    puts: dict[Address, Put | None] = {}
    for address, said in notes.items():
        body = said() if callable(said) else said
        puts[address] = None if body is None else Put(seal(address, body), stamp())
    return puts
