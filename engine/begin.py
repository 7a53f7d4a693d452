"""Begins a run: what is written first, and what it takes over from the run before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..facts import Context, FactLog, RunId
from ..facts.event import ContextCarried, Parent, RunStarted
from ..facts.fold import take_over
from ..facts.shelf import Shelved
from ..facts.trail import Trail
from ..facts.view import Moment
from .budget import Budget
from .clock import Clock
from .errors import EngineError
from .executor import Executor
from .goal import Goal
from .observe import Speaker, Teller
from .promote import Promoter
from .recorder import Recorder, read_journal
from .run import Plan, Run

ExecutorFactory = Callable[[Clock, Teller | None], Executor]


def begin(
    plan: Plan, base: Context, log: FactLog, moment: Moment, executor: ExecutorFactory,
    replaced: Mapping[str, str] | None = None,
) -> Run:  # fmt: skip
    """Returns a run over a copy of a context, and with it how its log begins.

    In a fork `replaced` says who takes the place of whom: it has seen what that one had seen.
    """
    if moment.run in log:
        raise EngineError(f"run {moment.run!r} is in this log already. Give another run_id, or resume that run")
    log.claim(moment.run)
    with giving_back(log, moment.run):
        return _begin(plan, base, log, moment, executor, replaced)


@contextmanager
def giving_back(log: FactLog, run: RunId) -> Iterator[None]:
    """Gives a run back that was claimed, if what comes before its first event fails."""
    try:
        yield
    except BaseException:  # whatever it was goes on to the caller
        log.release(run)
        raise


def _begin(
    plan: Plan, base: Context, log: FactLog, moment: Moment, executor: ExecutorFactory,
    replaced: Mapping[str, str] | None,
) -> Run:  # fmt: skip
    context = base.copy()
    trail = context._trail
    parent = _find_parent(base, log)
    carried = _carry(context) if trail.run is not None and parent is None else None
    run = go_on(plan, context, log, moment, executor)
    present = {one.name for one in plan.graph.suggestors}  # a replacement may be of a pack that takes no part
    places = {new: old for new, old in (replaced or {}).items() if new in present}
    started = RunStarted(moment.now.isoformat(), moment.seed, plan.graph.prints, settings_of(plan), parent, places)
    if places:
        seen = take_over(started, trail.seen)
        run.seen = {name: one for name, one in run.seen.items() if name not in places}
        run.seen.update((name, seen[name]) for name in places if name in seen)
    run.opening = (started,)
    if carried is not None:
        context._trail = Trail()  # told anew by the event, as in a replay
        run.opening = (started, carried)
    return run


def claim(log: FactLog, run: RunId, seq: int) -> None:
    """Makes this process the writer of a run that was read up to an event.

    Raises:
        Leased: another process is writing to it.
        EngineError: it has gone on since it was read.
    """
    log.claim(run)
    with giving_back(log, run):
        if not log.store.lazy and (found := log.length(run)) != seq:
            raise EngineError(
                f"run {run} has gone on while it was read: it was at event {seq}, the log is at {found}. Try again"
            )


def go_on(plan: Plan, context: Context, log: FactLog, moment: Moment, executor: ExecutorFactory) -> Run:
    """Returns a run that goes on with a context as it is; nothing is written."""
    versions = {one.name: one.options.version for one in plan.graph.suggestors}
    seen = {
        name: seen for name, seen in context._trail.seen.items() if versions.get(name, seen.version) == seen.version
    }
    teller = Teller(moment.run, plan.observers) if plan.observers else None
    return Run(
        moment.run, plan, context, log, moment, executor(plan.clock, teller),
        Promoter(context, plan.gates, moment, plan.graph.places), Speaker(moment.run), teller,
        plan.clock.seconds(), seen=seen, recorder=_recorder(plan, context, log, moment.run),
    )  # fmt: skip


def _recorder(plan: Plan, context: Context, log: FactLog, run: RunId) -> Recorder | None:
    """Returns what records answers; for a run that goes on, with those that no cycle has taken in yet."""
    recorded = [one for one in plan.graph.suggestors if one.recorded]
    if not recorded:
        return None
    goes_on = context._trail.run == run
    return Recorder(log, run, plan.clock, read_journal(log, run, context._trail.cycle) if goes_on else None)


def settings_of(plan: Plan) -> dict[str, Any]:
    """Returns what the log keeps of a run's settings: all that can change what is committed."""
    return {
        "budget": plan.budget.to_json(),
        "gates": [gate.to_json() for gate in plan.gates],
        "goals": [goal.name for goal in plan.goals],
        "packs": None if plan.packs is None else list(plan.packs),
        "invariants": [{"name": known.name, "on": known.on} for known in plan.invariants],
        "stop_when_met": plan.stop_when_met,
    }


def _find_parent(base: Context, log: FactLog) -> Parent | None:
    """Returns the point from which a context's run goes on, if it is in this log; None if it has to be carried.

    A run of the same id in another log is another run, so the digest must be the same too, or the store itself.
    """
    trail = base.trail
    if trail.run is None or trail.run not in log:
        return None
    point = log.point(trail.run, trail.seq)
    if point is None or (trail.home is not log.store and point.digest != trail.digest):
        return None
    return point


def _carry(context: Context) -> ContextCarried:
    trail = context._trail
    shelves = [shelf.copy(shelf.size_at(trail.cycle)) for shelf in context._in_order()]
    return ContextCarried(
        trail.cycle, Shelved(shelves), tuple(trail.prints.values()), dict(sorted(trail.seen.items())),
        tuple(trail.gates.values()),
        tuple(lost for losers in trail.losers.values() for lost in losers),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Had:
    """What a run was last started or resumed with, read back from its log."""

    budget: Budget | None
    packs: tuple[str, ...] | None
    goals: tuple[str, ...]
    stop_when_met: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Had:
        """Returns what the settings in a log say; what they do not say is left to the engine."""
        limits, packs = settings.get("budget"), settings.get("packs")
        return cls(
            Budget(**limits) if isinstance(limits, dict) else None,
            tuple(packs) if packs is not None else None,
            tuple(settings.get("goals", ())),
            bool(settings.get("stop_when_met", False)),
        )

    def find_goals(self, known: Sequence[Goal]) -> tuple[Goal, ...]:
        """Returns the goals that the run had, from those at hand."""
        by_name = {goal.name: goal for goal in known}
        missing = [name for name in self.goals if name not in by_name]
        if missing:
            raise EngineError(
                f"the run has goals that are not at hand: {', '.join(missing)}. "
                f"Write: engine.resume(…, goals=[{', '.join(self.goals)}]), or goals=[] to go on without"
            )
        return tuple(by_name[name] for name in self.goals)
