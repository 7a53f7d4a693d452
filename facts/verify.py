"""Checks a run from end to end: every event follows the one before, payloads are what was hashed, the root stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .bulk import building
from .chain import leaves_of
from .context import Context
from .errors import LogError, QuiesceError
from .event import Compacted, ContextCarried, CycleCommitted, Event, RunStarted, RunStopped
from .fact import RunId
from .fold import apply
from .log import FactLog
from .merkle import MerkleTree
from .read_event import BrokenEvent, UnknownFormat, read_event, read_head
from .record import Record
from .replay import lineage
from .snapshot import BrokenSnapshot, Snapshot
from .stores import Broken
from .tombstone import Tombstone


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong with a run."""

    event: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking a run found."""

    run: RunId
    events: int
    """How many events are sound."""
    facts: int
    root: str
    """The Merkle root over the facts of the sound events."""
    cycle: int | None
    """The last sound cycle."""
    finished: bool
    """The last sound event says that the run stopped."""
    gone: tuple[str, ...]
    """Digests of payloads that were redacted; the chain stands without them."""
    fault: Fault | None = None
    tombstones: tuple[Tombstone, ...] = ()
    """Why each of them is gone, by whom and when."""
    compacted: int = 0
    """How many of the events are there as a snapshot only."""

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.fault is None

    def __str__(self) -> str:
        if self.fault is None:
            state = "stopped" if self.finished else "unfinished"
            cut = f" ({self.compacted} of them compacted)" if self.compacted else ""
            sound = f"{self.events} events{cut} and {self.facts} facts are sound"
            return f"run {self.run}: {sound}{self._redacted()}; {state}; root {self.root}"
        intact = "Nothing before it is intact"
        if self.cycle is not None:
            intact = f"Cycles up to {self.cycle} are intact: replay(log, {str(self.run)!r}, at={self.cycle})"
        return f"run {self.run}: event {self.fault.event} {self.fault.problem}. {intact}"

    def _redacted(self) -> str:
        if not self.gone:
            return ""
        said = Counter(f"{one.reason}, by {one.by}" for one in self.tombstones).most_common()
        told = "; ".join(f"{count} for {why}" for why, count in said[:3])
        more = "; …" if len(said) > 3 else ""
        return f", {len(self.gone)} payload{'' if len(self.gone) == 1 else 's'} redacted ({told}{more})"

    def unwrap(self) -> Verification:
        """Returns itself if nothing is wrong, else raises LogError."""
        if self.fault is not None:
            raise LogError(str(self))
        return self


def verify(log: FactLog, run: RunId | str, progress: Callable[[int], None] | None = None) -> Verification:
    """Checks the chain, the payloads, the refold and the root of a run; names the first event that is wrong.

    `progress` is called with the number of events checked, now and then.
    """
    check = _Check(log, RunId(str(run)))
    try:
        reading = log.read(run)
        if reading.snapshot is not None:
            with building():
                check.take_snapshot(reading.snapshot)
        for record in reading.records:
            with building():
                check.take(record)
            if progress is not None and check.seq % 64 == 0:
                progress(check.seq)
    except Broken as error:
        check.fault = Fault(error.seq, f"is damaged ({error.where}, {error.problem})")
    except (BrokenEvent, UnknownFormat) as error:
        check.fault = Fault(error.seq, getattr(error, "problem", str(error)))
    except BrokenSnapshot as error:
        check.fault = Fault(0, f"and those behind it are a snapshot that {error.problem}")
    except _Wrong as wrong:
        check.fault = Fault(check.seq, str(wrong))
    return check.result()


class _Wrong(Exception):
    """Says what is wrong with the event at hand."""


class _Check:
    """Walks over the records of a run and remembers what it needs to judge the next."""

    def __init__(self, log: FactLog, run: RunId) -> None:
        self.log, self.run = log, run
        self.seq = 0
        self.previous: str | None = None
        self.tree = MerkleTree()
        self.context = Context()
        self.cycle: int | None = None
        self.finished = False
        self.gone: list[str] = []
        self.tombstones: list[Tombstone] = []
        self.compacted = 0
        self.fault: Fault | None = None

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """Checks what stands for the first events: its facts against its root; the next event names its digest."""
        event = snapshot.event()
        self._refold(event)
        self.tree.extend(snapshot.leaves())
        if (self.tree.size, self.tree.root()) != (snapshot.tree.size, snapshot.tree.root()):
            raise _Wrong("and those behind it are a snapshot that names a root that is not that of its facts")
        if not snapshot.gone.keys().isdisjoint(snapshot.payloads):
            raise _Wrong("and those behind it are a snapshot that holds what is said to be redacted")
        self._take_tombstones(snapshot.gone)
        self.seq = self.compacted = snapshot.events
        self.previous = snapshot.digest

    def take(self, record: Record) -> None:
        if sha256(record.raw).hexdigest() != record.digest:
            raise _Wrong("does not match its digest")
        data = read_head(record.raw, self.run, self.seq)
        if data.get("prev") != self.previous:
            raise _Wrong(f"does not follow event {self.seq - 1}" if self.seq else "is first, but names one before it")
        self._check_payloads(record, data)
        event = read_event(data, self.run, self.seq, record.payloads.get, record.gone)
        self._refold(event)
        self.tree.extend(leaves_of(data))
        if isinstance(event, RunStopped) and event.root != self.tree.root().hex():
            raise _Wrong("names a root that is not that of the facts before it")
        self.finished = isinstance(event, RunStopped)
        self.seq += 1
        self.previous = record.digest

    def _check_payloads(self, record: Record, data: Mapping[str, Any]) -> None:
        for digest, raw in record.payloads.items():
            if sha256(raw).hexdigest() != digest:
                raise _Wrong(f"has a payload that does not match its digest, {digest[:12]}…")
        named = [entry for part in ("facts", "rejections", "losers", "gates") for entry in _entries(data.get(part))]
        named.append(data)
        digests = dict.fromkeys(name for entry in named if isinstance(name := entry.get("digest"), str))
        for digest in record.payloads:
            if digest not in digests:
                raise _Wrong(f"has a payload that it does not name, {digest[:12]}…")
        for digest in record.gone:
            if digest not in digests:
                raise _Wrong(f"has a tombstone for a payload that it does not name, {digest[:12]}…")
            if digest in record.payloads:
                raise _Wrong(f"has a payload that is said to be redacted, {digest[:12]}…")
        self._take_tombstones(record.gone)

    def _take_tombstones(self, gone: Mapping[str, bytes]) -> None:
        for digest, raw in gone.items():
            try:
                self.tombstones.append(Tombstone.read(raw))
            except ValueError as error:
                raise _Wrong(f"has lost a payload, {digest[:12]}…, and {error}") from error
            self.gone.append(digest)

    def _refold(self, event: Event) -> None:
        if self.seq == 0 and not isinstance(event, (RunStarted, Compacted)):
            raise _Wrong(f"is {event.kind}, but a run begins with {RunStarted.kind}")
        started = event.started if isinstance(event, Compacted) else event
        if isinstance(started, RunStarted):
            if self.seq:
                raise _Wrong("begins the run a second time")
            if started.parent is not None:
                self._begin_from_parent(started)
        expected = self.context._trail.cycle + 1
        cycle = getattr(event, "cycle", None)
        if event.kind == "cycle_committed" and cycle != expected:
            raise _Wrong(f"commits cycle {cycle} where cycle {expected} is due")
        if isinstance(event, (ContextCarried, CycleCommitted, Compacted)):
            self._check_facts(event)
        apply(self.context, event, self.run)
        if cycle is not None:
            self.cycle = cycle

    def _check_facts(self, event: ContextCarried | CycleCommitted | Compacted) -> None:
        beside: set[str] | None = None
        for fact in event.facts:
            if fact.cycle != event.cycle and isinstance(event, CycleCommitted):
                raise _Wrong(f"says that {fact.ref} is of cycle {fact.cycle}, but commits cycle {event.cycle}")
            if fact.cycle > event.cycle and isinstance(event, Compacted):
                raise _Wrong(f"says that {fact.ref} is of cycle {fact.cycle}, but ends with cycle {event.cycle}")
            for reason in fact.because:
                if reason in self.context:
                    continue
                beside = {other.ref for other in event.facts} if beside is None else beside
                if reason not in beside:
                    raise _Wrong(f"says that {fact.ref} rests on {reason}, which is not known by then")

    def _begin_from_parent(self, event: RunStarted) -> None:
        parent = event.parent
        if parent is None:
            return
        try:
            for logged in lineage(self.log, self.run):
                if logged.run == self.run:
                    break
                apply(self.context, logged.event, logged.run)
        except QuiesceError as error:
            raise _Wrong(f"goes on from run {parent.run}, which cannot be read: {error}") from error

    def result(self) -> Verification:
        return Verification(
            self.run, self.seq, self.tree.size, self.tree.root().hex(), self.cycle, self.finished, tuple(self.gone),
            self.fault, tuple(self.tombstones), self.compacted,
        )  # fmt: skip


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
