"""Holds the leases of one log: claims them, renews them, ties them to what is written, and finds out who took one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import RLock
from typing import Any

from . import lease as leases
from .errors import LogError
from .event import Event, RunStopped
from .fact import RunId
from .lease import Holder, Lease, Leased, TakenOver, stamp
from .reader import Reader
from .seal import seal, unseal
from .stores import Address, Batch, Put, Stale, Store

Said = list[tuple[Event, Mapping[str, Any] | None]]
"""Events, each with what stands beside it."""


class Leases:
    """The leases that a log holds, by run. Whoever calls holds the lock of the log, or is the thread that renews."""

    def __init__(self, store: Store, reader: Reader, lock: RLock, seconds: float) -> None:
        self.store, self.reader, self.lock, self.seconds = store, reader, lock, seconds
        self.by_run: dict[RunId, Lease] = {}
        self.token = secrets.token_hex(8)

    def claim(self, run: RunId) -> None:
        """Makes this process the writer of a run; the lease of a run without events is written with its first.

        Raises:
            Leased: another process is writing to it, or another task of this one.
        """
        if self.store.lazy:
            return
        address = leases.address_of(run)
        if run in self.by_run:
            raise Leased(run, "another task of this process", self.seconds)
        note = self.store.note(address)
        epoch, expected = 1, None
        if note is not None:
            holder, now = leases.read_holder(run, note.value), self.store.now()
            if holder is not None and not holder.is_over(now, run):
                raise Leased(run, holder.where, holder.until - now)
            epoch, expected = 2 if holder is None else holder.epoch + 1, note.stamp
        lease = Lease(run, epoch, stamp(), self.seconds, self.token, expected)
        self.by_run[run] = lease  # first: whoever sees the lease in the store must not take its holder for dead
        leases.watch(self)
        if self.store.length(run):
            try:
                self.store.commit(Batch(expects={address: expected}, puts={address: self._put(lease)}))
            except BaseException as error:
                del self.by_run[run]
                if not isinstance(error, Stale):
                    raise
                self.claim(run)  # somebody was faster: see who
                return
            lease.written = True

    def release(self, run: RunId) -> None:
        """Gives back the lease of a run that this process does not go on with, if it holds it."""
        lease = self.by_run.pop(run, None)
        if lease is None or not lease.written:
            return
        try:
            over = Put(seal(lease.address, lease.to_bytes(0.0, over=True)), stamp())
            value = None if self.reader.stopped(run) else over
            self.store.commit(Batch(expects={lease.address: lease.stamp}, puts={lease.address: value}))
        except (LogError, OSError) as error:  # it will be over by itself, and the caller may have worse to tell
            leases.tell_not_renewed(lease, error)

    def renew(self) -> None:
        """Renews those that are a third over; a background thread calls it."""
        with self.lock:
            due = [lease for lease in self.by_run.values() if lease.written and lease.is_due()]
            try:
                self._renew(due)
            except (LogError, OSError):  # one of them was taken over, or nothing can be written: see which
                for lease in due:
                    try:
                        self._renew([lease])
                    except (LogError, OSError) as error:  # the next append meets it too, and has somebody to tell
                        taker = self.find_taker(lease.run) if isinstance(error, Stale) else None
                        leases.tell_not_renewed(lease, taker or error)
                        if taker is None:
                            return

    def _renew(self, due: Sequence[Lease]) -> None:
        if not due:
            return
        expects = {lease.address: lease.stamp for lease in due}
        self.store.commit(Batch(expects=expects, puts={lease.address: self._put(lease) for lease in due}))
        for lease in due:
            lease.was_renewed()

    def holder(self, run: RunId) -> Holder | None:
        """Returns who holds a run, as the store says."""
        address = leases.address_of(run)
        note = self.store.note(address)
        return None if note is None else Holder.read(run, unseal(address, note.value))

    # --- writing under a lease --------------------------------------------------------------------------------------

    def tie(self, batch: Batch, puts: dict[Address, Put | None], run: RunId, last: Event | None) -> None:
        """Lets a batch be kept only while the run is this log's; the last event of a run gives the lease back."""
        lease = self.by_run.get(run)
        if lease is None or (last is None and not lease.written):
            return
        address = lease.address
        batch.expects = {**batch.expects, address: lease.stamp if lease.written else lease.before}
        if isinstance(last, RunStopped):
            if lease.written:
                puts[address] = None
        elif not lease.written:
            puts[address] = self._put(lease)

    def kept(self, batch: Batch, run: RunId) -> None:
        """Takes in what became of the lease of a run with a batch that was kept."""
        lease = self.by_run.get(run)
        if lease is not None and (put := batch.puts.get(lease.address, ...)) is not ...:
            lease.written = put is not None
            if put is None:
                del self.by_run[run]

    def sign(self, run: RunId, said: Said) -> Said:
        """Puts beside the end of a run that was taken over who ended it: its lease goes, and who wakes up may ask."""
        lease, (event, beside) = self.by_run.get(run), said[-1]
        if lease is None or lease.epoch == 1 or not isinstance(event, RunStopped):
            return said
        return [*said[:-1], (event, {**(beside or {}), "ended_by": leases.describe_myself()})]

    def find_taker(self, run: RunId) -> TakenOver | None:
        """Returns the error that says who took over a run that this log holds, if somebody did."""
        lease = self.by_run.get(run)
        if lease is None or not lease.written:
            return None
        note = self.store.note(lease.address)
        if note is None:
            return TakenOver(run, lease.epoch, f"it was taken over and ended{self._ended_by(run)}")
        if note.stamp == lease.stamp:
            return None
        holder = Holder.read(run, unseal(lease.address, note.value))
        return TakenOver(run, lease.epoch, f"it was taken over by {holder.where}")

    def _ended_by(self, run: RunId) -> str:
        """Returns who ended a run that was taken over, as far as it can be told."""
        with suppress(LogError, ValueError, AttributeError):
            last = self.reader.last(run)
            return "" if last is None else f" by {json.loads(last.beside).get('ended_by', 'nobody')}"
        return ""

    def _put(self, lease: Lease) -> Put:
        return Put(seal(lease.address, lease.to_bytes(self.store.now())), lease.stamp)
