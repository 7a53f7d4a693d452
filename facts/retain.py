"""Drops whole runs that are old, or too many, and never one that a kept run rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .errors import LogError
from .fact import RunId
from .forget import (
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

if TYPE_CHECKING:
    from .log import FactLog


@dataclass(frozen=True, slots=True)
class Dropped:
    """One run that was dropped, or would be."""

    run: RunId
    why: str
    bytes: int
    """How many bytes it took, with its journal and its snapshot."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What keeping a log to an age or a count did, or would do."""

    runs: tuple[Dropped, ...]
    left: Mapping[RunId, str] = field(default_factory=dict)
    """The runs that should have gone by their age or the count, and why they are still there."""
    kept: int = 0
    """How many runs the log holds afterwards."""
    dry_run: bool = False

    @property
    def bytes(self) -> int:
        """How many bytes the dropped runs took."""
        return sum(one.bytes for one in self.runs)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        what = "would be dropped" if self.dry_run else "dropped"
        for one in self.runs:
            yield f"{what}  {one.run}  {one.why}"
        yield from reasons(self.left)
        runs = f"{counted(len(self.runs), 'run')} {what}: {said_bytes(self.bytes)}"
        yield f"{runs}; {self.kept:,} kept"


def retain(
    log: FactLog,
    age: timedelta | None,
    count: int | None,
    damaged: bool,
    dry_run: bool,
    progress: Callable[[int], None] | None,
) -> Retention:
    """Drops runs; see `FactLog.retain`."""
    if age is None and count is None and not damaged:
        raise LogError("retain takes age=timedelta(…), count=…, or both: what is beyond one of them goes")
    if age is not None and (not isinstance(age, timedelta) or age < timedelta()):
        raise LogError(f"age={age!r} is not a timedelta of zero or more. Write: age=timedelta(days=90)")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        raise LogError(f"count={count!r} is not a whole number from 0: how many of the newest runs stay")
    log.flush()
    work = _Work(log)
    work.look(progress)
    work.choose(age, count)
    work.choose_damaged(wanted=damaged)
    work.spare_parents()
    dropped = tuple(Dropped(run, why, work.size(run)) for run, why in work.chosen.items())
    if dropped and not dry_run:
        work.leaving().commit()
        for one in dropped:
            log._writer.forget_head(one.run)
        shrink = getattr(log.store, "shrink", None)
        if shrink is not None:
            shrink()
    return Retention(dropped, work.left, len(work.runs) - len(dropped), dry_run)


class _Work:
    """One call of `retain`."""

    def __init__(self, log: FactLog) -> None:
        self.log = log
        self.runs: list[RunId] = []
        self.chosen: dict[RunId, str] = {}
        self.left: dict[RunId, str] = {}
        self._finished: list[RunId] = []
        self._unfinished: dict[RunId, str] = {}
        self._damaged: dict[RunId, str] = {}
        self._children: dict[RunId, dict[RunId, int]] = {}
        self._seen: dict[RunId, tuple[int, int | None]] = {}

    def look(self, progress: Callable[[int], None] | None) -> None:
        """Reads how long each run is, whether it has ended, and who goes on from it."""
        store = self.log.store
        self.runs = self.log.runs()
        for place, run in enumerate(self.runs, 1):
            self._seen[run] = store.length(run), stamp_of(store, child_of(run))
            try:
                why = find_state(self.log, run)
                if why is None:
                    _families(self.log, run)  # a run that ended can be damaged in its midst
            except LogError as error:
                self._damaged[run] = why = f"it is damaged: {error}"
            if why is None:
                self._finished.append(run)
            else:
                self._unfinished[run] = why
            if progress is not None:
                progress(place)
        self._children = find_children(self.log, self.runs)

    def choose(self, age: timedelta | None, count: int | None) -> None:
        """Finds the runs that are too old or too many."""
        if count is not None:
            for run in self._finished[: max(0, len(self._finished) - count)]:
                self.chosen[run] = f"is not among the newest {count}"
        if age is None:
            return
        now = datetime.fromtimestamp(self.log.store.now(), UTC)
        for run in (*self._finished, *self._unfinished):
            try:
                began = datetime.fromisoformat(begun_at(self.log, run))
                is_old = now - began > age
            except (ValueError, TypeError, OverflowError):
                if run not in self.chosen:
                    self.left[run] = "its log does not say when it began"
                continue
            except LogError:
                is_old, began = True, now
            if is_old and run in self._unfinished:
                self.left[run] = self._unfinished[run]
            elif is_old:
                self.chosen[run] = f"began at {began.isoformat(timespec='seconds')}"

    def choose_damaged(self, *, wanted: bool) -> None:
        """Lets damaged runs go if that is wanted, and tells of them if not."""
        for run, why in self._damaged.items():
            if wanted:
                self.left.pop(run, None)
                self.chosen[run] = why.removeprefix("it ")
            else:
                self.left[run] = f"{why}. To drop damaged runs: retain(damaged=True), quiesce retain --damaged"

    def spare_parents(self) -> None:
        """Takes out the runs that others go on from which stay."""
        pending = [run for run in self.runs if run not in self.chosen]
        rests_on = {child: parent for parent, children in self._children.items() for child in children}
        while pending:
            run = pending.pop()
            parent = rests_on.get(run)
            if parent is not None and self.chosen.pop(parent, None) is not None:
                self.left[parent] = f"run {run}, which stays, goes on from it"
                pending.append(parent)

    def size(self, run: RunId) -> int:
        """Returns how many bytes go away with a run; of a damaged one, as many as can be told."""
        try:
            events = self.log.store.size(run)
        except LogError:
            events = 0
        return events + sum(taken for _, taken in owned_notes(self.log.store, run))

    def leaving(self) -> Leaving:
        """Returns the batch that drops what was chosen."""
        leaving = Leaving(self.log)
        for run in self.chosen:
            length, child = self._seen[run]
            leaving.watch(run, length, child)
            leaving.dropped.add(run)
            try:
                leaving.families.update(_families(self.log, run))
            except LogError:  # it is damaged, and goes all the same
                leaving.any_family = True
        return leaving


def _families(log: FactLog, run: RunId) -> set[str]:
    from .folding import families_of

    reading = log.read(run)
    found = families_of({run: reading.records})
    if reading.snapshot is not None:
        found.update(str(entry["ref"]).partition(":")[0] for entry in reading.snapshot.entries())
    return found
