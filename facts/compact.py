"""Takes the first events of runs away and leaves what they came to: the same context, at a fraction of the bytes."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .bulk import building
from .chain import Head
from .context import Context
from .errors import LogError
from .event import (
    ContextCarried,
    CycleCommitted,
    GateDecided,
    GateOpened,
    RunResumed,
    RunStarted,
    seen_data,
)
from .fact import RunId
from .fold import apply
from .forget import (
    JOURNAL,
    Leaving,
    begun_at,
    child_of,
    counted,
    find_children,
    find_state,
    owned_notes,
    reasons,
    said_bytes,
    stamp_of,
)
from .lease import stamp
from .read_event import read_event, read_head
from .record import Record
from .replay import lineage
from .seal import seal
from .snapshot import Body, CutOff, Snapshot, address_of
from .stores import Address, Fenced, Put, Stale
from .stores.memory import size_of
from .trail import Trail

if TYPE_CHECKING:
    from .log import FactLog

RECENT = 64
"""Of how many last cycles it is kept who had facts promoted: as many as the engine looks back on."""
TOGETHER = 32 * 2**20
"""Bytes of snapshots in one transaction: a store that writes itself anew should not do so for each run."""


@dataclass(frozen=True, slots=True)
class Shortened:
    """One run that was compacted, or would be."""

    run: RunId
    cycle: int
    """The earliest cycle that can still be replayed."""
    events: int
    """How many events are a snapshot now."""
    kept: int
    """How many are left as they were."""
    before: int
    """How many bytes the run took, its journal and its snapshot included."""
    after: int
    """How many it takes now."""
    why: str = ""
    """What kept it from being cut further, if something did."""

    def __str__(self) -> str:
        why = f"; {self.why}" if self.why else ""
        return f"{self.run}  {counted(self.events, 'event')} up to cycle {self.cycle}, {self.kept} kept{why}"


@dataclass(frozen=True, slots=True)
class Compaction:
    """What compacting a log did, or would do."""

    runs: tuple[Shortened, ...]
    left: Mapping[RunId, str] = field(default_factory=dict)
    """The runs that were left as they are, and why; not those that `before` and `keep` leave alone."""
    dry_run: bool = False

    @property
    def before(self) -> int:
        """How many bytes the compacted runs took."""
        return sum(one.before for one in self.runs)

    @property
    def after(self) -> int:
        """How many they take now."""
        return sum(one.after for one in self.runs)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        what = "would be compacted" if self.dry_run else "compacted"
        for one in self.runs:
            yield f"{'would be cut' if self.dry_run else 'cut'}  {one}"
        yield from reasons(self.left)
        yield f"{counted(len(self.runs), 'run')} {what}: {said_bytes(self.before)} → {said_bytes(self.after)}"


def is_compacted(log: FactLog, run: RunId | str) -> bool:
    """Tells whether the first events of a run are there as a snapshot only, so that it cannot be rerun."""
    log.flush()
    return log.store.first(RunId(str(run))) > 0


def compact(
    log: FactLog, run: RunId | str | None, before: datetime | None, keep: int, dry_run: bool,
    progress: Callable[[int], None] | None,
) -> Compaction:  # fmt: skip
    """Compacts one run, or every finished one; see `FactLog.compact`."""
    log.flush()
    if run is not None:
        if before is not None or keep:
            raise LogError("compact takes a run, or before and keep to choose among all; not both")
        if run not in log:
            next(log.records(run))  # says which runs there are
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 0:
        raise LogError(f"keep={keep!r} is not a whole number from 0: how many of the newest runs are left alone")
    if before is not None and (not isinstance(before, datetime) or before.tzinfo is None):
        raise LogError(f"before={before!r} is not a time with its zone. Write: before=datetime(2026, 1, 1, tzinfo=UTC)")
    return _Work(log, dry_run, progress).do(None if run is None else RunId(str(run)), before, keep)


class _Work:
    """One call of `compact`."""

    def __init__(self, log: FactLog, dry_run: bool, progress: Callable[[int], None] | None) -> None:
        self.log, self.dry_run, self.progress = log, dry_run, progress
        self.children: dict[RunId, dict[RunId, int]] = {}
        self.done: list[Shortened] = []
        self.left: dict[RunId, str] = {}
        self._folds = _Folds(log)
        self._waiting: list[tuple[Shortened, Leaving]] = []
        self._bytes = 0

    def do(self, run: RunId | None, before: datetime | None, keep: int) -> Compaction:
        runs = self.log.runs()
        self.children = find_children(self.log, runs)
        if run is not None:
            self._take(run)
            self._commit(alone=True)
        else:
            for place, one in enumerate(self._choose(runs, before, keep), 1):
                try:
                    self._take(one)
                except LogError as error:  # damaged, or led by somebody: the others need not wait for it
                    self.left[one] = str(error)
                if self._bytes > TOGETHER:
                    self._commit()
                if self.progress is not None:
                    self.progress(place)
            self._commit()
        shrink = getattr(self.log.store, "shrink", None)
        if self.done and not self.dry_run and shrink is not None:
            shrink()
        return Compaction(tuple(self.done), self.left, self.dry_run)

    def _choose(self, runs: Iterable[RunId], before: datetime | None, keep: int) -> Iterator[RunId]:
        finished = []
        for run in runs:
            try:
                why = find_state(self.log, run)
            except LogError as error:
                why = str(error)
            if why is None:
                finished.append(run)
            else:
                self.left[run] = why
        for run in finished[: max(0, len(finished) - keep)]:
            try:
                if before is None or datetime.fromisoformat(begun_at(self.log, run)) < before:
                    yield run
            except (ValueError, TypeError) as error:
                self.left[run] = f"its log does not say when it began: {error}"
            except LogError as error:
                self.left[run] = str(error)

    def _take(self, run: RunId) -> None:
        """Plans what becomes of a run."""
        log, store = self.log, self.log.store
        child = stamp_of(store, child_of(run))
        length, first = store.length(run), store.first(run)
        end, why = length - 1, ""  # the last event stays: how a run ended is seen without its snapshot
        for other, seq in self.children.get(run, {}).items():
            if seq < end:
                end, why = seq, f"run {other} goes on from event {seq}"
        if end <= first:
            self.left[run] = why or "there is nothing to cut off"
            return
        leaving = Leaving(log)
        leaving.watch(run, length, child)
        with building():
            snapshot, cut, last = build(log, run, end, self._folds)
        note = Put(seal(address_of(run), snapshot.to_bytes()), stamp())
        leaving.cut_off(run, end, note)
        leaving.families.update(entry[0].partition(":")[0] for entry in snapshot.body.facts)
        size = store.size(run)
        before, after = size, size - sum(map(size_of, cut)) + len(note.value)
        old = store.note(address_of(run))
        before += 0 if old is None else len(old.value)
        for address, taken in owned_notes(store, run, [JOURNAL]):
            before += taken
            if _cycle_of(log, address) <= last:
                leaving.puts[address] = None
            else:  # of a cycle that is not committed yet: a run that is finished later must not ask again
                after += taken
        if after >= before:
            self.left[run] = why or "it would not become smaller"
            return
        self._waiting.append((Shortened(run, snapshot.cycle, end, length - end, before, after, why), leaving))
        self._bytes += len(note.value)

    def _commit(self, alone: bool = False) -> None:
        """Does what was planned, all in one transaction; if somebody was faster with a run, the others one by one."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        if not self.dry_run:
            whole = Leaving(self.log)
            for _, leaving in waiting:
                whole.add(leaving)
            try:
                whole.commit()
            except (Fenced, Stale) as error:
                if alone:
                    raise
                if len(waiting) == 1:
                    self.left[waiting[0][0].run] = str(error)
                    return
                for one in waiting:
                    self._waiting = [one]
                    self._commit()
                return
        self.done.extend(shortened for shortened, _ in waiting)


def build(log: FactLog, run: RunId, end: int, folds: _Folds | None = None) -> tuple[Snapshot, list[Record], int]:
    """Returns a snapshot of a run's first events, the records among them, and the last cycle of the whole run.

    Raises:
        LogError: an event cannot be read.
    """
    reading = log.read(run)
    context = (folds or _Folds(log)).before(run)
    builder = _Builder(context._trail.cycle)
    head, cut = Head(), []
    if (old := reading.snapshot) is not None:
        head = Head(old.events, old.digest, old.tree.copy())
        builder.go_on(old)
        apply(context, old.event(), run)
    found: tuple[int, Trail, Head] | None = None
    for seq, record in enumerate(reading.records, reading.start):
        data = read_head(record.raw, run, seq)
        if data.get("prev") != head.digest:
            raise LogError(f"run {run}: event {seq} does not follow event {seq - 1}. Nothing was compacted")
        apply(context, read_event(data, run, seq, record.payloads.get, record.gone), run)
        if seq < end:
            builder.take(data, record)
            cut.append(record)
        head.take(run, record)
        if head.seq == end:
            found = context._trail.cycle, context._trail.copy(), Head(end, head.digest, head.tree.copy())
    if found is None or builder.started is None:
        raise LogError(f"run {run} has changed while it was read. Nothing was compacted; try again")
    cycle, trail, at = found
    if folds is not None:
        folds.keep(run, head.seq, context)
    snapshot = Snapshot.make(run, end, cycle, at.digest or "", at.tree, builder.started, builder.finish(trail))
    return snapshot, cut, context._trail.cycle


class _Builder:
    """Gathers what a snapshot says of events from the events themselves, so that nothing is encoded anew."""

    def __init__(self, began: int) -> None:
        self.body = Body()
        self.started: bytes | None = None
        self._began = began
        self._at = ""
        self._recent: deque[list[str]] = deque(maxlen=RECENT)
        self._ran: dict[str, list[int]] = {}
        self._places: dict[str, int] = {}
        self._because: list[str] | None = None

    def go_on(self, old: Snapshot) -> None:
        """Begins with what was compacted before."""
        body = old.body
        self.body = Body(
            list(body.facts), list(body.losers), list(body.rejections), list(body.gates), list(body.payloads),
            dict(body.gone),
        )  # fmt: skip
        self.started = old.started
        self._at, self._began = body.rest["at"], body.rest["began"]
        self._recent.extend(one["who"] for one in body.rest["recent"])
        self._ran = {name: list(cycles) for name, cycles in body.rest["ran"].items()}
        self._places = old.places()
        self._because = next((one["because"] for one in reversed(old.entries())), None)

    def take(self, data: Mapping[str, Any], record: Record) -> None:
        """Takes the next event."""
        for digest, raw in record.payloads.items():
            if digest not in self._places and digest not in self.body.gone:
                self._places[digest] = len(self.body.payloads)
                self.body.payloads.append(raw.decode("utf-8", "surrogateescape"))
        for digest, told in record.gone.items():
            if digest not in self._places:
                self.body.gone.setdefault(digest, told.decode())
        kind = data["kind"]
        if kind == RunStarted.kind:
            self.started, self._at = record.raw, data["started"]
        elif kind == ContextCarried.kind:
            self._take_facts(data["facts"])
            self.body.losers.extend(data["losers"])
            self.body.gates.extend(data["gates"])
        elif kind == CycleCommitted.kind:
            self._take_facts(data["facts"])
            self.body.rejections.extend(data["rejections"])
            who = {entry["by"] for entry in data["facts"]} if data["ran"] else set()
            self._recent.append(sorted(who))
            for name in data["ran"]:
                self._ran.setdefault(name, []).append(data["cycle"])
        elif kind in (GateOpened.kind, GateDecided.kind):
            head = ("v", "run", "seq", "prev", "kind")
            self.body.gates.append({name: value for name, value in data.items() if name not in head})
        elif kind == RunResumed.kind:
            self._at = data["at"]
            self._recent.clear()

    def _take_facts(self, entries: Iterable[Mapping[str, Any]]) -> None:
        lineage: list[str] = []
        for entry in entries:
            lineage = lineage if entry["because"] == "same" else entry["because"]
            digest = entry["digest"]
            self.body.facts.append([
                entry["ref"], entry["key"], entry["version"], entry["by"], entry["cycle"],
                None if lineage == self._because else lineage, float(entry["confidence"]),
                self._places.get(digest, digest),
            ])  # fmt: skip
            self._because = lineage

    def finish(self, trail: Trail) -> Body:
        """Returns the body, with where the suggestors are."""
        self.body.rest = {
            "began": self._began, "at": self._at, "cast": list(trail.cast), "settings": dict(trail.settings),
            "suggestors": [known.to_json() for known in trail.prints.values()],
            "seen": seen_data(dict(sorted(trail.seen.items()))), "cycles": trail.cycles, "promoted": trail.facts,
            "tokens": trail.tokens, "cost": trail.cost, "ran": self._ran,
            "recent": [{"who": who} for who in self._recent],
        }  # fmt: skip
        return self.body


class _Folds:
    """Gives the context that a run begins with; remembers the ends of the last runs, from which others may go on."""

    def __init__(self, log: FactLog) -> None:
        self.log = log
        self._ends: dict[tuple[RunId, int], Context] = {}

    def before(self, run: RunId) -> Context:
        """Returns what was known when a run began."""
        parent = self.log.started(run).parent
        context = Context()
        if parent is None:
            return context
        known = self._ends.get((parent.run, parent.seq))
        if known is not None:
            return known.copy()
        for logged in lineage(self.log, run):
            if logged.run == run:
                break
            apply(context, logged.event, logged.run)
        return context

    def keep(self, run: RunId, seq: int, context: Context) -> None:
        """Remembers the end of a run."""
        self._ends[run, seq] = context
        if len(self._ends) > 8:
            del self._ends[next(iter(self._ends))]


def check_rest(log: FactLog, run: RunId | str, wish: str) -> None:
    """Raises CutOff if a run was compacted, for whoever needs every event; `wish` is what cannot be done."""
    found = log.snapshot(run)
    if found is not None:
        raise CutOff(str(run), found.cycle, wish)


def _cycle_of(log: FactLog, address: Address) -> int:
    """Returns the cycle of a journaled invocation; one that does not say it is of the first."""
    body = log.note(address)
    try:
        cycle = json.loads(body or b"{}").get("cycle", -1)
    except (ValueError, AttributeError, RecursionError):
        return -1
    return cycle if isinstance(cycle, int) else -1
