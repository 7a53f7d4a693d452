"""Finishes the runs that a crash left unfinished, so that their logs are those of runs that were never interrupted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..facts import Context, FactLog, QuiesceError, RunId
from ..facts.event import Compacted, ContextCarried, CycleCommitted, RunResumed, RunStarted
from ..facts.fold import apply
from ..facts.lease import Leased
from ..facts.replay import lineage
from ..facts.stores import Fenced, Stale
from ..facts.view import Moment
from .begin import ExecutorFactory, Had, claim, giving_back, go_on
from .changes import check_cast
from .commit import NotKept
from .errors import EngineError, InvalidOption
from .goal import Goal
from .observe import Observer
from .options import check_log, each
from .recorder import NotJournaled
from .result import Result
from .run import RECENT, Plan, Run
from .side_by_side import side_by_side

if TYPE_CHECKING:
    from .engine import Engine

SHOWN = 5
"""Runs that are named where many were left for the same reason."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of the runs that were unfinished."""

    results: Mapping[RunId, Result] = field(default_factory=dict)
    """The runs that were gone on with, and how each ended."""
    skipped: Mapping[RunId, Exception] = field(default_factory=dict)
    """The runs that were left as they are, and why: another process is writing to them, the suggestors differ, …"""

    def __str__(self) -> str:
        told = [str(result) for result in self.results.values()]
        for runs, error in self.left():
            if len(runs) == 1:
                told.append(f"run {runs[0]} was left as it is: {error}")
            else:
                told.append(f"{len(runs):,} runs were left as they are: {held(runs, error)}")
        return "\n".join(told) or "no run was unfinished"

    def left(self) -> list[tuple[list[RunId], Exception]]:
        """Returns the runs that were left as they are, and why; those that one process is writing together."""
        found: list[tuple[list[RunId], Exception]] = []
        of_holder: dict[str, list[RunId]] = {}
        for run, error in self.skipped.items():
            if isinstance(error, Leased) and error.holder in of_holder:
                of_holder[error.holder].append(run)
                continue
            found.append(([run], error))
            if isinstance(error, Leased):
                of_holder[error.holder] = found[-1][0]
        return found

    def unwrap(self) -> Recovery:
        """Returns itself if every run was gone on with, else raises the first reason why one was not."""
        for error in self.skipped.values():
            raise error
        return self


def held(runs: Sequence[RunId], error: Exception) -> str:
    """Returns why several runs were left as they are: who is writing to them."""
    named = ", ".join(runs[:SHOWN]) + (", …" if len(runs) > SHOWN else "")
    return f"they are being written by {getattr(error, 'holder', 'another process')}: {named}"


@dataclass(slots=True)
class Left:
    """An unfinished run as its log has it."""

    name: RunId
    context: Context
    seed: int
    now: datetime
    recent: deque[frozenset[str]]
    is_open: bool = True
    """Its last cycle is what came from outside, at its start or when it was resumed."""

    @classmethod
    def read(cls, log: FactLog, name: RunId) -> Left:
        """Reads a run up to its last event."""
        left = cls(name, Context(), 0, datetime.now(UTC), deque(maxlen=RECENT))
        follows_start = False
        for logged in lineage(log, name):
            event = logged.event
            apply(left.context, event, logged.run)
            left.context._trail.digest = logged.digest
            if logged.run != name:
                continue
            if isinstance(event, Compacted):
                left.seed, left.now = event.started.seed, datetime.fromisoformat(event.at)
                left.recent.extend(event.recent)
            elif isinstance(event, RunStarted):
                left.seed, left.now = event.seed, datetime.fromisoformat(event.started)
            elif isinstance(event, RunResumed):
                left.now = datetime.fromisoformat(event.at)
                left.recent.clear()
            elif isinstance(event, CycleCommitted):
                left.recent.append(frozenset(fact.by for fact in event.facts) if event.ran else frozenset())
                outside = bool(event.facts or event.rejections or event.cycle == 0) and not event.ran
                left.is_open = follows_start and outside
            follows_start = isinstance(event, (RunStarted, RunResumed, ContextCarried))
        return left

    def fresh(self) -> frozenset[str] | None:
        """Returns the families in which the last cycle brought something; None if everybody is to be asked."""
        if self.is_open:
            return None
        last = self.context.trail.cycle
        shelves = self.context._shelves
        return frozenset(name for name, shelf in shelves.items() if shelf.size > shelf.size_at(last - 1))

    def go_on(self, plan: Plan, log: FactLog, executor: ExecutorFactory) -> Run:
        """Returns the run as it was when its last event was written; this process is its writer from here on."""
        claim(log, self.name, self.context.trail.seq)
        with giving_back(log, self.name):
            run = go_on(plan, self.context, log, Moment(self.name, self.seed, self.now), executor)
        run.recent = list(self.recent)
        run.fresh = self.fresh()
        return run


async def recover(
    engine: Engine,
    log: FactLog,
    runs: Iterable[str] | None = None,
    *,
    goals: Iterable[Goal] = (),
    accept_changes: bool = False,
    concurrency: int = 8,
    observers: Iterable[Observer] = (),
) -> Recovery:
    """Finishes unfinished runs; `Engine.recover` says the rest."""
    if isinstance(runs, str):
        raise InvalidOption("runs", runs, f"a list of ids. Write: runs=[{runs!r}]")
    chosen = [RunId(run) for run in runs] if runs is not None else check_log(log).unfinished()
    wanted = each("goals", goals, Goal)
    results: dict[RunId, Result] = {}
    skipped: dict[RunId, Exception] = {}

    async def one(name: RunId) -> None:
        try:
            results[name] = await _finish(engine, log, name, wanted, accept_changes, observers)
        except (NotKept, NotJournaled) as error:
            if not isinstance(error.__cause__, (Fenced, Stale)):
                raise  # the log takes no more: the others would only pay for answers that it cannot keep
            skipped[name] = error  # somebody has taken over this one
        except QuiesceError as error:
            skipped[name] = error

    await side_by_side(chosen, one, concurrency)
    return Recovery(
        {run: results[run] for run in chosen if run in results},
        {run: skipped[run] for run in chosen if run in skipped},
    )


async def _finish(
    engine: Engine,
    log: FactLog,
    name: RunId,
    goals: Sequence[Goal],
    accept_changes: bool,
    observers: Iterable[Observer],
) -> Result:
    if log.stopped(name) is not None:
        raise EngineError(
            f"run {name} is not unfinished: it has stopped. To go on with it: engine.resume(…), quiesce resume {name}"
        )
    left = Left.read(check_log(log), name)
    trail = left.context.trail
    had = Had.of(trail.settings)
    plan = engine._plan(had.budget, had.packs, had.find_goals(goals), had.stop_when_met, observers)
    if not accept_changes:
        check_cast(name, trail, plan, engine.suggestors)
    return await engine._settle(left.go_on(plan, log, engine._executor), None)
