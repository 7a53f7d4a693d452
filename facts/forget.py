"""Keeps forgetting safe: what another run goes on from stays, and what has left the ledger is still counted.

Whoever takes events out of a log must not meet a run that begins from them at the same moment. Two kinds of notes see
to it. A run that goes on from another writes, with its first events, a *child* note beside its parent; whoever forgets
expects that note to be as he saw it. And whoever forgets writes the *epoch* of the log anew; a run that begins expects
it to be as it was when its parent was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import LogError
from .fact import RunId
from .lease import Leased, read_holder, stamp
from .lease import address_of as lease_of
from .record import Record
from .seal import seal
from .stores import Address, Batch, Put, Stale, Store

if TYPE_CHECKING:
    from .event import Parent
    from .log import FactLog

EPOCH = Address("epoch", "", "")
CHILD, JOURNAL, MEMO, SNAPSHOT = "child", "journal", "memo", "snapshot"
OWNED = ("child", "journal", "lease", "memo", "snapshot")
"""The spaces whose notes may belong to a run and go away with it."""
ATTEMPTS = 20
AWAITING = "awaiting_approval"
"""The kind of stop of a run that waits for people."""


class Forgotten(LogError):
    """The run that another was to go on from was compacted or dropped in the meantime."""

    def __init__(self, run: str, parent: str) -> None:
        self.run, self.parent = run, parent
        super().__init__(
            f"run {run} cannot begin: run {parent}, from which it was to go on, was compacted or dropped in the "
            f"meantime. Nothing was written. Run again: it takes over what is known as facts of its own"
        )


def epoch_of(store: Store) -> int | None:
    """Returns the stamp that changes whenever events are taken out of the log."""
    note = store.note(EPOCH)
    return None if note is None else note.stamp


def child_of(run: RunId) -> Address:
    """Returns where it is noted that another run goes on from this one."""
    return Address(CHILD, run, "")


def child_put(parent: RunId) -> Put:
    """Returns the note that another run goes on from this one; its stamp is what matters."""
    return Put(seal(child_of(parent), b""), stamp())


def bind(store: Store, batch: Batch, parent: Parent, points: Mapping[tuple[RunId, int], int | None]) -> None:
    """Ties the batch with which a run begins to its parent: nobody has forgotten that since it was found."""
    point = parent.run, parent.seq
    if point in points:
        batch.expects = {**batch.expects, EPOCH: points[point]}
    if store.length(parent.run):
        batch.puts = {**batch.puts, child_of(parent.run): child_put(parent.run)}


def stamp_of(store: Store, address: Address) -> int | None:
    """Returns the stamp of a note; None if there is none."""
    note = store.note(address)
    return None if note is None else note.stamp


def find_children(log: FactLog, runs: Iterable[RunId]) -> dict[RunId, dict[RunId, int]]:
    """Returns who goes on from each run of a log, and from which of its events on."""
    children: dict[RunId, dict[RunId, int]] = {}
    for run in runs:
        try:
            parent = log.started(run).parent
        except LogError:
            continue  # damaged, so it cannot be replayed, whatever its parent has
        if parent is not None:
            children.setdefault(parent.run, {})[run] = parent.seq
    return children


def find_state(log: FactLog, run: RunId) -> str | None:
    """Returns why a run is not finished, as a sentence without its subject; None if it is."""
    stopped = log.stopped(run)
    if stopped is None:
        return "it has not ended"
    return "it waits for approval" if stopped.stop.get("kind") == AWAITING else None


def begun_at(log: FactLog, run: RunId) -> str:
    """Returns when a run was started or last resumed, as its log says (ISO 8601)."""
    reading = log.read(run)
    at = log.started(run).started
    if reading.snapshot is not None:
        at = str(reading.snapshot.body.rest["at"])
    for seq, record in enumerate(reading.records, reading.start):
        if b'"kind":"run_resumed"' in record.raw:
            event = next(iter(log.events(run, seq))).event
            at = getattr(event, "at", at)
    return at


def check_lease(log: FactLog, run: RunId) -> int | None:
    """Returns the stamp of a run's lease, to be expected by a batch that changes the run; None if it has none.

    Raises:
        Leased: another process is writing to the run.
    """
    address = lease_of(run)
    note = log.store.note(address)
    if note is None:
        return None
    holder, now = read_holder(run, note.value), log.store.now()
    if holder is not None and run not in log._held.by_run and not holder.is_over(now, run):
        raise Leased(run, holder.where, holder.until - now)
    return note.stamp


@dataclass(slots=True)
class Leaving:
    """A batch that takes events out of a log, as it is put together."""

    log: FactLog
    ends: dict[RunId, int] = field(default_factory=dict)
    expects: dict[Address, int | None] = field(default_factory=dict)
    puts: dict[Address, Put | None] = field(default_factory=dict)
    cut: dict[RunId, int] = field(default_factory=dict)
    dropped: set[RunId] = field(default_factory=set)
    replaced: dict[tuple[RunId, int], Record] = field(default_factory=dict)
    families: set[str] = field(default_factory=set)
    """The families of the facts that leave the ledger, or lose their payloads in it."""
    any_family: bool = False
    """Nobody can tell all of them: what leaves is damaged."""

    def watch(self, run: RunId, length: int, child: int | None) -> None:
        """Expects a run to be as it was read: as long, led by nobody else, and with the same runs that go on from it.

        Raises:
            Leased: another process is writing to the run.
        """
        self.ends[run] = length
        self.expects[lease_of(run)] = check_lease(self.log, run)
        self.expects[child_of(run)] = child

    def cut_off(self, run: RunId, before: int, note: Put) -> None:
        """Lets a snapshot take the place of a run's first events."""
        self.cut[run] = before
        self.puts[Address(SNAPSHOT, run, "")] = note

    def add(self, other: Leaving) -> None:
        """Adds what another batch would take."""
        self.ends |= other.ends
        self.expects |= other.expects
        self.puts |= other.puts
        self.cut |= other.cut
        self.dropped |= other.dropped
        self.replaced |= other.replaced
        self.families |= other.families
        self.any_family |= other.any_family

    def batch(self) -> Batch:
        """Returns the batch; to it belongs all that depends on what leaves, such as what projections have learned."""
        from .ledger import rebase

        batch = Batch(ends=self.ends, expects=self.expects, cut=self.cut, dropped=self.dropped, replaced=self.replaced)
        batch.puts = {**self.puts, EPOCH: Put(seal(EPOCH, b""), stamp())}
        if self.families or self.any_family:
            rebase(self.log, batch, None if self.any_family else self.families)
        return batch

    def commit(self) -> None:
        """Takes it all out, or nothing.

        Raises:
            Fenced, Stale: somebody has changed one of the runs since it was read.
            ProjectionBehind: what leaves would be missing in a projection.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self.log.store.commit(self.batch())
            except Stale as error:  # a projection has moved on: look at it again
                if error.address in self.expects or attempt == ATTEMPTS - 1:
                    raise
        return None


def owned_notes(store: Store, run: RunId, spaces: Iterable[str] = OWNED) -> Iterator[tuple[Address, int]]:
    """Yields the notes that go away with a run, and how many bytes each takes."""
    for space in spaces:
        for address, note in store.notes(space, run):
            yield address, len(note.value)


def said_bytes(count: int) -> str:
    """Returns a number of bytes as people read it."""
    return f"{count:,} byte{'' if count == 1 else 's'}"


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def reasons(left: Mapping[RunId, str], limit: int = 20) -> Iterator[str]:
    """Yields why runs were left as they are, a line each."""
    for place, (run, why) in enumerate(left.items()):
        if place == limit:
            yield f"left  and {counted(len(left) - limit, 'more run')}"
            return
        yield f"left  {run}  {why}"
