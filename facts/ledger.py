"""Keeps what is learned from all runs of a log: values of projections, moved on in the transaction of each commit.

What a projection cannot do never stops a fact from being kept: where a fold fails, or the code of another version is in
the log, facts go in without it, a warning says so, and whoever asks for its values gets the error. Nothing is lost by
that, since the values are folded from the facts as soon as they can be.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Set
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from .context import Context
from .errors import LogError
from .folding import CANNOT, Bodies, Folding, Progress
from .learned import ProjectionCheck, Values, differing
from .lease import stamp as new_stamp
from .projection import Projection, ProjectionError
from .standing import (
    SPACE,
    TRIES,
    Base,
    Entry,
    base_stamp,
    bases_of,
    entry_of,
    put_again,
    put_entry,
    put_mark,
    read_base,
    read_entry,
    read_mark,
    read_values,
    replace_base,
    replace_values,
    too_fast,
    values_of,
)
from .stores import Address, Batch, Put, Stale, Store

if TYPE_CHECKING:
    from .log import FactLog


class ProjectionBehind(LogError):
    """Facts cannot leave a ledger before a projection has folded them, and this process cannot do that."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(
            f"projection {name!r} has not folded all facts of this log, and those that leave it would be lost to its "
            f"values. Nothing was changed: {reason}"
        )


class Ledger:
    """The projections that a process has registered with a log."""

    def __init__(self, store: Store, lock: AbstractContextManager[Any]) -> None:
        self.store = store
        self._lock = lock
        self._foldings: dict[str, Folding] = {}
        self._read: dict[str, Folding] = {}  # values with what has come since they were put, for who asks again

    # --- registering ------------------------------------------------------------------------------------------------

    def register(self, projection: Projection[Any], progress: Progress | None = None) -> None:
        """Keeps a projection from now on; one that is new, or of another version, is folded from scratch first."""
        if not isinstance(projection, Projection):
            name = getattr(projection, "__name__", type(projection).__name__)
            raise ProjectionError(name, "that is no projection. Write @projection(reads=[…], by=…) above the function")
        known = self._foldings.get(projection.name)
        if known is not None and known.projection is projection:
            return
        self._check_names(projection, known)
        folding = Folding(projection, self.store)
        try:
            if self._is_sound(projection):
                folding.refresh(self._lock)
            else:
                folding = self._fold_anew(projection, False, progress)
        except CANNOT as error:
            _set_aside(folding, error)
        with self._lock:
            self._foldings[projection.name] = folding

    def _check_names(self, projection: Projection[Any], known: Folding | None) -> None:
        if known is not None:
            raise ProjectionError(
                projection.name,
                "another function goes by this name in this log. Give one of them another: @projection(name=…)",
            )
        for other in self._foldings.values():
            if other.projection.value_family == projection.value_family:
                raise ProjectionError(
                    projection.name,
                    f"its values are of family {projection.value_family!r}, and so are those of "
                    f"{other.projection.name!r}: as facts of a context they would be mixed up. Return another class",
                )

    def _is_sound(self, projection: Projection[Any]) -> bool:
        """Tells whether the store has values that can be gone on from; if it has none, facts count from now on."""
        name = projection.name
        with self._lock:
            entry = read_entry(self.store, name)
            if entry is None:
                seen, stamp = new_stamp(), new_stamp()
                puts = {
                    entry_of(name): put_entry(projection, seen),
                    Address(values_of(name), "", ""): put_mark(name, projection.version, seen, 0, stamp, 0),
                }
                with suppress(Stale):  # somebody else has registered it just now
                    self.store.commit(Batch(expects={entry_of(name): None}, puts=puts))
                return False
        if entry.value != projection.value_family:
            raise ProjectionError(
                name,
                f"its values in this log are of family {entry.value!r}, and {projection.value.__name__} is of family "
                f"{projection.value_family!r}. Give the projection another name, or take the one in the log away: "
                f"log.drop_projection({name!r})",
            )
        if entry.version == projection.version and entry.reads != projection.families:
            raise ProjectionError(
                name,
                f"version {entry.version!r} of it in this log reads {', '.join(entry.reads)}; this one reads "
                f"{', '.join(projection.families)}. Give it another version, and its values are folded anew",
            )
        return entry.version == projection.version and read_mark(self.store, name).at is None

    # --- committing -------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch, send: Callable[[Batch], None]) -> None:
        """Sends a batch with the values that its facts change; called under the lock."""
        before = batch.puts, batch.expects
        for attempt in range(TRIES):
            drafts = [draft for folding in self._readers(batch.touches) if (draft := self._draft(folding, batch))]
            if not drafts:
                break
            puts, expects = dict(before[0]), dict(before[1])  # the lease first: to have lost it is worse
            for folding, changes, stamp in drafts:
                expects[entry_of(folding.projection.name)] = folding.seen
                puts.update(folding.puts(changes, batch.touch, stamp))
            batch.puts, batch.expects = puts, expects
            try:
                send(batch)
            except Stale as error:
                if not any(error.address == entry_of(folding.projection.name) for folding, _, _ in drafts):
                    raise
                for folding, _, _ in drafts:
                    folding.seen = None
                _pause(attempt)
                continue
            for folding, changes, stamp in drafts:
                folding.accept(changes, batch.touch, stamp)
            return
        batch.puts, batch.expects = before
        send(batch)

    def _readers(self, families: Set[str]) -> list[Folding]:
        return [
            folding
            for folding in self._foldings.values()
            if folding.failure is None and not families.isdisjoint(folding.projection.families)
        ]

    def _draft(self, folding: Folding, batch: Batch) -> tuple[Folding, Bodies, int] | None:
        for _ in range(TRIES):
            try:
                if folding.seen is None:
                    folding.refresh()
                return folding, folding.draft(batch), new_stamp()
            except CANNOT as error:
                if folding.seen is not None and not folding.is_current():
                    folding.seen = None  # it was folded onto values that others have moved on: no wonder
                    continue
                _set_aside(folding, error)
                return None
        return None

    # --- asking -----------------------------------------------------------------------------------------------------

    def values(self, name: str) -> Values[Any]:
        """Returns the values of a projection, the facts of the whole ledger in them."""
        folding = self._find(name)
        with self._lock:
            now, _ = self._now(folding)
        bodies = now.values()
        return Values(name, now.watermark, {id: folding.projection.decode(bodies[id]) for id in sorted(bodies)})

    def context(self) -> Context:
        """Returns a context that starts with every value as a fact."""
        context = Context()
        for name in list(self._foldings):
            values = self.values(name)
            for id, payload in values.items():
                context.add(payload, id=id, by=f"projection {name}@{values.watermark}")
        return context

    def _find(self, name: str) -> Folding:
        folding = self._foldings.get(name)
        if folding is None:
            known = ", ".join(self._foldings) or "none"
            raise ProjectionError(name, f"it is not registered with this log; known: {known}. Write: log.register(…)")
        return folding

    def _now(self, folding: Folding) -> tuple[Folding, Entry]:
        """Returns all values of now, from one and the same moment, with the entry that they belong to."""
        name = folding.projection.name
        for _ in range(TRIES):
            try:
                before = base_stamp(self.store, name)
                entry = folding.check(read_entry(self.store, name))
                now = self._read.get(name)
                mark = read_mark(self.store, name)
                if now is None or now.put != mark.stamp:
                    mark, values = read_values(self.store, name)
                    now = Folding(folding.projection, self.store, Base(mark.watermark, values))
                    now.put = mark.stamp
                if mark.version != entry.version:
                    continue
                if mark.is_behind(entry) and now.seen != entry.stamp:
                    now.catch_up()
                    now.seen = entry.stamp
                    self._read[name] = now
            except CANNOT as error:
                self._read.pop(name, None)
                folding.failure = error
                raise
            if base_stamp(self.store, name) == before:  # else facts may have left before they were folded
                folding.failure = None
                return now, entry
            self._read.pop(name, None)
        raise too_fast(name)

    # --- rebuilding and checking ------------------------------------------------------------------------------------

    def rebuild(self, name: str | None, anew: bool, progress: Progress | None) -> None:
        """Replaces stored values by a fold from scratch."""
        for one in [name] if name is not None else list(self._foldings):
            folding = self._fold_anew(self._find(one).projection, anew, progress)
            with self._lock:
                self._foldings[one] = folding

    def _fold_anew(self, projection: Projection[Any], anew: bool, progress: Progress | None) -> Folding:
        """Folds a projection from scratch and puts its values in place of those that are stored."""
        name = projection.name
        address, folding, base = entry_of(name), None, Base(0, {})
        if self.store.note(address) is None:
            self._is_sound(projection)  # facts count from here on
        for _ in range(TRIES):
            if folding is None:
                base = Base(0, {}, base_stamp(self.store, name)) if anew else read_base(self.store, name)
                folding = Folding(projection, self.store, base)
            entry = self._stamp(address)
            if folding.seen != entry:
                folding.catch_up(lock=self._lock, progress=progress)
                folding.seen = entry
            with self._lock:
                expected = self._stamp(address)
                if base_stamp(self.store, name) != base.stamp:
                    folding = None  # facts have left the ledger in the meantime
                    continue
                if folding.seen != expected:
                    folding.catch_up(progress=progress)
                    folding.seen = expected
                bodies, seen, stamp = folding.values(), new_stamp(), new_stamp()
                puts = replace_values(self.store, values_of(name), bodies, stamp)
                puts[address] = put_entry(projection, seen)
                puts[Address(values_of(name), "", "")] = put_mark(name, projection.version, seen, len(bodies), stamp)
                if anew:
                    puts.update(self._all_gone(bases_of(name)))
                try:
                    self.store.commit(Batch(expects={address: expected}, puts=puts))
                except Stale:
                    continue
                folding.accept({}, seen, stamp)
                return folding
        raise too_fast(name)

    def _stamp(self, address: Address) -> int | None:
        note = self.store.note(address)
        return None if note is None else note.stamp

    def check(self, progress: Progress | None) -> list[ProjectionCheck]:
        """Compares the stored values of every projection with a fold from scratch."""
        with self._lock:
            stored = [address.key for address, _ in self.store.notes(SPACE, "")]
        return [self._check(name, progress) for name in sorted({*stored, *self._foldings})]

    def _check(self, name: str, progress: Progress | None) -> ProjectionCheck:
        entry: Entry | None = None
        folding = self._foldings.get(name)
        try:
            for _ in range(TRIES):
                broken: list[str] = []
                with self._lock:
                    entry = read_entry(self.store, name)
                    problem = _why_not(folding, entry)
                    if folding is None or problem is not None:
                        return ProjectionCheck(name, "" if entry is None else entry.version, 0, 0, (), problem)
                    base = read_base(self.store, name)
                    mark, stored = read_values(self.store, name, broken)
                fold = Folding(folding.projection, self.store, base)
                fold.catch_up(until=mark.watermark, lock=self._lock, progress=progress)
                differ = differing(folding.projection, stored, fold.values(), broken)
                fold.catch_up(lock=self._lock, progress=progress)  # what has come since can be folded, too
                if base_stamp(self.store, name) == base.stamp and mark.version == folding.projection.version:
                    return ProjectionCheck(name, mark.version, mark.watermark, len(stored) + len(broken), differ)
        except CANNOT as error:
            return ProjectionCheck(name, "" if entry is None else entry.version, 0, 0, (), str(error))
        raise too_fast(name)

    # --- forgetting -------------------------------------------------------------------------------------------------

    def drop(self, name: str) -> None:
        """Takes a projection out of the log, with all that it has learned."""
        with self._lock:
            for _ in range(TRIES):
                note = self.store.note(entry_of(name))
                if note is None:
                    raise ProjectionError(name, "it is not in this log")
                puts = {entry_of(name): None, **self._all_gone(values_of(name)), **self._all_gone(bases_of(name))}
                with suppress(Stale):
                    self.store.commit(Batch(expects={entry_of(name): note.stamp}, puts=puts))
                    self._foldings.pop(name, None)
                    self._read.pop(name, None)
                    return
        raise too_fast(name)

    def _all_gone(self, space: str) -> dict[Address, Put | None]:
        return {address: None for address, _ in self.store.notes(space, "")}

    def rebase(self, batch: Batch, families: Set[str] | None) -> None:
        """See `rebase`."""
        puts: dict[Address, Put | None] = dict(batch.puts)
        expects = dict(batch.expects)
        for address, _ in list(self.store.notes(SPACE, "")):
            name = address.key
            try:
                entry = read_entry(self.store, name)
                if entry is None or (families is not None and families.isdisjoint(entry.reads)):
                    continue
                entry, base = self._complete(entry)
            except CANNOT as error:
                raise ProjectionBehind(name, str(error)) from error
            seen, stamp = new_stamp(), new_stamp()
            expects[address] = entry.stamp
            puts[address] = put_again(entry, seen)
            puts.update(replace_values(self.store, values_of(name), base.values, stamp))
            puts[Address(values_of(name), "", "")] = put_mark(name, entry.version, seen, len(base.values), stamp)
            puts.update(replace_base(self.store, name, base, stamp))
        batch.puts, batch.expects = puts, expects

    def _complete(self, entry: Entry) -> tuple[Entry, Base]:
        """Returns the values of a projection with all facts in them, and the entry that they belong to."""
        folding = self._foldings.get(entry.name)
        if folding is not None and entry.version == folding.projection.version:
            now, entry = self._now(folding)
            return entry, Base(now.watermark, now.values())
        mark, values = read_values(self.store, entry.name)
        if mark.is_behind(entry):
            raise ProjectionBehind(
                entry.name,
                f"register version {entry.version!r} of it in this process, FactLog.open(…, projections=[…]), or take "
                f"it out of the log: log.drop_projection({entry.name!r})",
            )
        return entry, Base(mark.watermark, values)


def rebase(log: FactLog, batch: Batch, families: Set[str] | None = None) -> None:
    """Adds to a batch with which facts leave the ledger what keeps their share in the values of every projection.

    The present values become what a fold from scratch begins with, so a later rebuild still gives the same. With
    `families`, the families of the facts that leave, projections that read none of them are left alone. `Stale` from
    here or from the commit says that somebody has appended in the meantime: build the batch again.

    Raises:
        ProjectionBehind: a projection has not folded all there is, and its code is not in this process.
    """
    with log._lock:
        ledger_of(log).rebase(batch, families)


def ledger_of(log: FactLog) -> Ledger:
    """Returns the ledger of a log, also where no projection is registered."""
    log.flush()
    ledger = log._writer.ledger
    return ledger if ledger is not None else Ledger(log.store, log._lock)


def _set_aside(folding: Folding, error: LogError) -> None:
    folding.failure = error
    logging.getLogger("quiesce").warning("facts are kept without %s: %s", folding.projection.name, error)


def _why_not(folding: Folding | None, entry: Entry | None) -> str | None:
    if folding is None:
        return "its code is not in this process. Import it and register it: log.register(…)"
    if entry is None:
        return "it was taken out of the log"
    if entry.version != folding.projection.version:
        return f"version {entry.version!r} is in the log, and version {folding.projection.version!r} in this process"
    return None


def _pause(attempt: int) -> None:
    if attempt > 2:
        time.sleep(random.random() * 0.001 * min(attempt, 20))  # so that not all who failed try again at once
