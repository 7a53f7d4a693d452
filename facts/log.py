"""Keeps the events of runs as a chain that can be checked, whatever the store behind it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self

from . import lease as leases
from .bulk import building
from .chain import Head, Written, write
from .errors import LogError, StoreError
from .event import Event, Parent, RunStarted, RunStopped
from .fact import RunId
from .lease import Holder, Lease, Leased, TakenOver, stamp
from .lines import BadLine, peek_commit, read_batch, write_batch
from .read_event import read_event, read_head
from .record import Record
from .seal import seal, unseal
from .stores import Address, Batch, Fenced, MemoryStore, Put, Stale, Store
from .stores.opening import Sync, open_store

NoteBody = bytes | Callable[[], bytes] | None
"""What a note is to hold; a function gives it when a lazy store is read. None takes the note away."""
Notes = Mapping[Address, NoteBody]
Said = list[tuple[Event, Mapping[str, Any] | None]]


class UnknownRun(LogError):
    """A log holds no run of this id."""

    def __init__(self, run: str, known: Sequence[str]) -> None:
        self.run, self.known = run, tuple(known)
        more = ", …" if len(known) > 5 else ""
        some = f"It holds {len(known)}: {', '.join(known[:5])}{more}" if known else "It is empty"
        super().__init__(f"run {run!r} is not in this log. {some}")


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
        self._token = secrets.token_hex(8)

    @classmethod
    def open(
        cls, url: str | Path = ":memory:", *, sync: Sync = "normal", lease: float = leases.SECONDS
    ) -> Self:  # fmt: skip
        """Opens a log: a SQLite file (.db, .sqlite, .sqlite3), "postgresql://…", a .jsonl file or ":memory:".

        `sync="normal"` survives the death of the process, `"full"` the loss of power as well. `lease` is for how many
        seconds a run is left alone by others once its process no longer says that it is alive.

        Raises:
            LogError: no store goes by that name, or it cannot be opened.
        """
        if isinstance(lease, bool) or not isinstance(lease, (int, float)) or not 0 < lease < float("inf"):
            raise LogError(f"lease={lease!r} is not a positive number of seconds")
        return cls(open_store(url, sync), lease=lease)

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
            if seq is not None and (found := self._length(run)) != seq:
                raise Fenced(run, seq, found)
            said: Said = [(event, None if place else beside) for place, event in enumerate(events)]
            if self.store.lazy:
                self._waiting.append((run, said, notes or {}))
                self._put_off[run] = self._put_off.get(run, 0) + len(said)
                return
            self._write(run, said, notes or {})

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
        runs = _read_runs(data)
        present = [run for run in runs if self.store.length(run)]
        if present:
            raise LogError(f"run {present[0]} is already in this log. Nothing was taken in")
        batch = Batch()
        for run, records in runs.items():
            FactLog(_Checked(run, records)).check(run)
            batch.ends[run] = 0
            batch.records[run] = records
        self.store.commit(batch)
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
                self.store.commit(Batch(expects={address: expected}, puts={address: Put(value, lease.stamp)}))
                lease.written = True
            self._leases[run] = lease
            leases.watch(self)

    def release(self, run: RunId) -> None:
        """Gives back the lease of a run that this process does not go on with, if it holds it."""
        with self._lock:
            lease = self._leases.pop(run, None)
            if lease is None or not lease.written:
                return
            value = None if self.stopped(run) else Put(seal(lease.address, lease.to_bytes(0.0, over=True)), stamp())
            try:
                self.store.commit(Batch(expects={lease.address: lease.stamp}, puts={lease.address: value}))
            except StoreError as error:  # it will be over by itself
                leases.tell_not_renewed(lease, error)

    def renew(self) -> None:
        """Renews the leases that this log holds and that are a third over; a background thread calls it."""
        with self._lock:
            for lease in list(self._leases.values()):
                if lease.written and lease.is_due():
                    try:
                        self._renew(lease)
                    except StoreError as error:  # the next append meets it too, and there is somebody to tell
                        leases.tell_not_renewed(lease, error)

    def holder(self, run: RunId | str) -> Holder | None:
        """Returns who holds a run that has begun and not stopped; None for any other."""
        self.flush()
        address = leases.address_of(RunId(str(run)))
        note = self.store.note(address)
        return None if note is None else Holder.read(str(run), unseal(address, note.value))

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
        """Yields the records of a run as the store has them.

        Raises:
            UnknownRun: the log holds no such run.
        """
        self.flush()
        found = False
        for record in self.store.read(RunId(run), start):
            found = True
            yield record
        if not found and not self.store.length(RunId(run)):
            raise UnknownRun(run, self.store.runs())

    def events(self, run: RunId | str, start: int = 0) -> Iterator[Logged]:
        """Yields the events of a run in order, from number `start` on."""
        for seq, record in enumerate(self.records(run, start), start):
            data = read_head(record.raw, str(run), seq)
            event = read_event(data, str(run), seq, record.payloads.get)
            yield Logged(RunId(str(run)), seq, event, record.digest, json.loads(record.beside))

    def started(self, run: RunId | str) -> RunStarted:
        """Returns the first event of a run."""
        first = next(iter(self.events(run))).event
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
        self.flush()
        note = self.store.note(address)
        return None if note is None else unseal(address, note.value)

    def notes(self, space: str, owner: str | None = None) -> Iterator[tuple[Address, bytes]]:
        """Yields the notes of a space, of one owner or of all, in the order of owner and key."""
        self.flush()
        for address, note in self.store.notes(space, owner):
            yield address, unseal(address, note.value)

    def _length(self, run: RunId) -> int:
        """Returns how many events a run has, those that wait to be written among them."""
        return self.store.length(run) + self._put_off.get(run, 0)

    def digest_of(self, run: RunId) -> str:
        """Returns the digest of a run's last event; empty while a lazy store has put off writing it."""
        head = self._heads.get(run)
        return "" if head is None or self._waiting else head.digest or ""

    def point(self, run: RunId, seq: int) -> Parent | None:
        """Returns the point behind the first `seq` events of a run, for another to go on from; None if it has fewer."""
        self.flush()
        for record in self.store.read(run, seq - 1):
            return Parent(run, seq, record.digest)
        return None

    def export(self, run: RunId | str) -> str:
        """Returns a run as JSON lines, to be kept, mailed or loaded elsewhere."""
        return self.to_bytes(run, beside=True).decode()

    def to_bytes(self, run: RunId | str, *, beside: bool = False) -> bytes:
        """Returns a run as the bytes of its JSON lines, each event as a batch.

        Without what stands beside the chain (the default) two runs that did the same have the same bytes.
        """
        parts = []
        for seq, record in enumerate(self.records(run)):
            kept = record if beside else Record(record.raw, record.digest, record.payloads)
            parts.append(write_batch(str(run), seq, [kept]))
        return b"".join(parts)

    def check(self, run: RunId | str) -> None:
        """Raises a LogError unless every event of a run follows the one before it and can be read."""
        previous: str | None = None
        for seq, record in enumerate(self.records(run)):
            data = read_head(record.raw, str(run), seq)
            if data.get("prev") != previous:
                raise LogError(f"run {run}: event {seq} does not follow event {seq - 1}")
            read_event(data, str(run), seq, record.payloads.get)
            previous = record.digest

    # --- inside -----------------------------------------------------------------------------------------------------

    def _head(self, run: RunId) -> Head:
        head = self._heads.get(run)
        if head is None:
            head = Head()
            for record in self.store.read(run):
                head.take(run, record)
            self._heads[run] = head
        return head

    def _write(self, run: RunId, said: Said, notes: Notes) -> None:
        with building():
            head = self._head(run)
            written = write(run, head, said)
            try:
                self._commit(self._batch(run, head, written, said[-1][0], notes), run)
            except BaseException:  # whatever it was goes on to the caller
                self._heads.pop(run, None)  # what is really there is read again
                raise
            written.move(head)

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
            self.store.commit(batch)
        except Stale as error:
            if lease is None or error.address != lease.address:
                raise
            raise self._taken_over(lease) from error
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
            raise self._taken_over(lease) from error
        lease.renewed = leases.monotonic()

    def _taken_over(self, lease: Lease) -> TakenOver:
        note = self.store.note(lease.address)
        holder = None
        if note is not None:
            holder = Holder.read(lease.run, unseal(lease.address, note.value))
        who = "it was taken over and ended" if holder is None else f"it was taken over by {holder.where}"
        return TakenOver(lease.run, lease.epoch, who)


def _puts(notes: Notes) -> dict[Address, Put | None]:
    puts: dict[Address, Put | None] = {}
    for address, said in notes.items():
        body = said() if callable(said) else said
        puts[address] = None if body is None else Put(seal(address, body), stamp())
    return puts


def _read_runs(data: bytes) -> dict[RunId, list[Record]]:
    """Returns the records of each run in a text of JSON lines, each batch checked."""
    runs: dict[RunId, list[Record]] = {}
    batch: list[tuple[int, bytes]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        batch.append((number, line))
        if line.startswith(b'{"commit":"'):
            try:
                records = [record for _, record in read_batch(batch)]
            except BadLine as error:
                raise LogError(f"the text is damaged: {error}. Nothing was taken in") from None
            commit = peek_commit(line)
            if commit is None:
                raise LogError(f"the text is damaged: line {number} is no commit line. Nothing was taken in")
            runs.setdefault(RunId(commit[0]), []).extend(records)
            batch = []
    if batch:
        raise LogError(
            f"the text is torn: its last batch (from line {batch[0][0]}) has no commit line. Nothing was taken in"
        )
    return runs


class _Checked(MemoryStore):
    """A store over records that are to be checked before they are kept."""

    def __init__(self, run: RunId, records: Sequence[Record]) -> None:
        super().__init__()
        self.commit(Batch.of(run, 0, records))
