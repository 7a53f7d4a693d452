"""Runs a recorded run again, without calling anybody impure, and tells where today's suggestors part from the record.

The record is taken apart into *parts*: what a run began with, and each time it was resumed. Of each, what came from
outside is given again (inputs, decisions); everything else has to come out of the suggestors as it did then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..facts import Context, Fact, FactLog, LogError, RunId
from ..facts.compact import check_rest
from ..facts.context import ENGINE
from ..facts.event import (
    ContextCarried,
    CycleCommitted,
    Event,
    GateDecided,
    GateOpened,
    RunResumed,
    RunStarted,
    RunStopped,
)
from ..facts.fact import make_fact
from ..facts.fold import apply, put_facts, take_over
from ..facts.log import Logged
from ..facts.replay import lineage
from ..facts.show import show
from ..facts.trail import Decision, Parked, Rejection, Trail
from ..facts.view import Moment
from .begin import ExecutorFactory, Had, go_on, settings_of
from .changes import find_changes
from .goal import Goal
from .journal import BrokenEntry, Entry
from .options import check_log, each
from .recorder import Asked, Recorder, Unrecorded, read_journal
from .result import Result
from .run import Plan, Run
from .settle import settle

if TYPE_CHECKING:
    from .engine import Engine

REFUSED = "refused: invariant"


@dataclass(frozen=True, slots=True)
class Parting:
    """The first place in which a run that was run again differs from its record."""

    cycle: int
    what: str
    """"ran", "facts", "rejections", "spent", "gate", "decision", "stop", "call" or "end"."""
    recorded: str
    """What the record says there, as text; empty if it says nothing."""
    now: str
    """What came out this time; empty if nothing did."""

    def __str__(self) -> str:
        return (
            f"cycle {self.cycle}, {self.what}\n  recorded: {self.recorded or '(nothing)'}\n"
            f"  now:      {self.now or '(nothing)'}"
        )


@dataclass(frozen=True, slots=True)
class Rerun:
    """What running a recorded run again showed."""

    run: RunId
    compared: int
    """How many events came out as they were recorded."""
    parting: Parting | None
    """The first that did not; None if all did."""
    changes: tuple[str, ...]
    """What is different about the suggestors, their gates and invariants since; a sentence each."""
    log: FactLog
    """A log in memory with the run as it came out this time, under the same id."""
    context: Context
    """What it came to know."""

    @property
    def same(self) -> bool:
        """Everything came out as it was recorded."""
        return self.parting is None

    def __bool__(self) -> bool:
        return self.same

    def __str__(self) -> str:
        changed = "".join(f"\n  {change}" for change in self.changes)
        since = f"\nchanged since:{changed}" if changed else ""
        if self.parting is None:
            return f"run {self.run} came out as recorded: {self.compared} events{since}"
        return f"run {self.run} parts from its record after {self.compared} events, in {self.parting}{since}"

    def unwrap(self) -> Rerun:
        """Returns itself if everything came out as recorded, else raises LogError."""
        if self.parting is not None:
            raise LogError(str(self))
        return self


@dataclass(slots=True)
class _Part:
    """One stretch of a record: from a start or a resumption to the next stop."""

    opening: RunStarted | RunResumed
    carried: ContextCarried | None = None
    given: CycleCommitted | None = None
    """The cycle that takes in what came from outside."""
    decisions: list[Decision] = field(default_factory=list)
    events: list[Logged] = field(default_factory=list)

    @property
    def stop(self) -> Mapping[str, Any] | None:
        last = self.events[-1].event if self.events else None
        return last.stop if isinstance(last, RunStopped) else None

    @property
    def is_at_its_beginning(self) -> bool:
        """No cycle of it was read yet."""
        return not any(isinstance(one.event, CycleCommitted) for one in self.events)

    @property
    def is_open_ended(self) -> bool:
        """Nothing in the record says that it had to end there.

        Somebody or the clock ended it, or what came from outside was more than its budget and is not in the record.
        """
        stop = self.stop
        if stop is None or stop.get("kind") == "cancelled" or stop.get("resource") == "seconds":
            return True
        return stop.get("kind") == "budget_exhausted" and self.last_cycle is None

    @property
    def last_cycle(self) -> int | None:
        cycles = [one.event.cycle for one in self.events if isinstance(one.event, CycleCommitted)]
        return cycles[-1] if cycles else None


async def rerun(engine: Engine, log: FactLog, run: Result | str, *, goals: Iterable[Goal] = ()) -> Rerun:
    """Runs a recorded run again; `Engine.rerun` says the rest."""
    name = run.run_id if isinstance(run, Result) else RunId(run)
    asked = each("goals", goals, Goal) or (run.asked if isinstance(run, Result) else ())

    def plan(had: Had) -> Plan:
        return engine._plan(had.budget, had.packs, had.find_goals(asked), had.stop_when_met, ())

    return await _run_again(check_log(log), name, plan, engine)


async def _run_again(log: FactLog, run: RunId, plan: Callable[[Had], Plan], engine: Engine) -> Rerun:
    check_rest(log, run, "it cannot be run again")
    context = Context()
    own: list[Logged] = []
    for logged in lineage(log, run):
        if logged.run == run:
            own.append(logged)
        else:
            apply(context, logged.event, logged.run)
            context._trail.digest = logged.digest
    known = read_journal(log, run)
    kept = FactLog.open()
    compared, parting = 0, None
    changes: tuple[str, ...] = ()
    moment: Moment | None = None
    for part in _take_apart(run, own):
        had = Had.of(part.opening.settings)
        made = plan(had)
        changes = tuple(dict.fromkeys([*changes, *find_changes(_recorded_cast(part.opening), made, engine.suggestors)]))
        moment = _moment(run, part.opening, moment)
        start = kept.length(run)
        again = _prepare(part, made, context, kept, moment, engine._executor, known)
        try:
            await settle(again, tuple(part.decisions))
        except (Unrecorded, BrokenEntry) as error:
            parting = Parting(again.head, "call", "", str(error))
        context = again.context
        found = [logged.event for logged in kept.events(run, start)] if kept.length(run) > start else []
        same, differs = _compare(part, found)
        compared += same
        parting = differs if differs is not None and (parting is None or differs.what != "end") else parting
        if parting is not None:
            break
    return Rerun(run, compared, parting, changes, kept, context)


def _take_apart(run: RunId, own: Sequence[Logged]) -> Iterator[_Part]:
    part: _Part | None = None
    for logged in own:
        event = logged.event
        if isinstance(event, (RunStarted, RunResumed)):
            if part is not None:
                yield part
            part = _Part(event)
            part.events.append(logged)
            continue
        if part is None:
            raise LogError(
                f"run {run} cannot be run again: its record begins with {event.kind}, not with its start. "
                f"What was compacted is gone; replay shows what it came to know"
            )
        if isinstance(event, ContextCarried):
            part.carried = event
        elif isinstance(event, CycleCommitted) and part.is_at_its_beginning and not event.ran:
            part.given = event
        elif isinstance(event, GateDecided):
            part.decisions.append(event.decision)
        part.events.append(logged)
    if part is not None:
        yield part


def _recorded_cast(opening: RunStarted | RunResumed) -> Trail:
    """Returns a trail that knows who took part and under which settings."""
    trail = Trail()
    trail.prints = {known.name: known for known in opening.suggestors}
    trail.cast = tuple(trail.prints)
    trail.settings = opening.settings
    return trail


def _moment(run: RunId, opening: RunStarted | RunResumed, before: Moment | None) -> Moment:
    if isinstance(opening, RunStarted):
        return Moment(run, opening.seed, datetime.fromisoformat(opening.started))
    return Moment(run, before.seed if before is not None else 0, datetime.fromisoformat(opening.at))


def _prepare(
    part: _Part, plan: Plan, context: Context, log: FactLog, moment: Moment, executor: ExecutorFactory,
    known: Mapping[Asked, Entry],
) -> Run:  # fmt: skip
    opening: list[Event] = [replace(part.opening, suggestors=plan.graph.prints, settings=settings_of(plan))]
    if part.carried is not None:
        put_facts(context, part.carried)
        opening.append(part.carried)
    _give(context, part)
    run = go_on(plan, context, log, moment, executor)
    if isinstance(part.opening, RunStarted):
        run.seen.update(take_over(part.opening, context._trail.seen))
    run.opening = tuple(opening)
    run.recorder = Recorder(log, moment.run, plan.clock, known, strict=True)
    if part.is_open_ended:
        run.until = part.last_cycle if part.last_cycle is not None else -1
    return run


def _give(context: Context, part: _Part) -> None:
    """Lets a context wait for the next run with what came from outside in a part."""
    given = part.given
    if given is None:
        return
    cast = {known.name for known in part.opening.suggestors}
    refused = [lost for lost in given.rejections if lost.reason.startswith(REFUSED)]
    facts = list(given.facts)
    if refused:
        facts = [_as_fact(lost) for lost in refused if lost.payload is not None]
    decided = next((at for at, fact in enumerate(facts) if fact.by == ENGINE and fact.family == "decided"), len(facts))
    inputs = [fact for fact in facts[:decided] if not (fact.by == ENGINE and fact.family == "violated")]
    for fact in inputs:
        context._shelf_of(fact.family, fact.key).append(fact)
        context._order.setdefault(fact.family)
    context._inputs = inputs
    context._fresh = {fact.family for fact in inputs}
    context._lost = [lost for lost in given.rejections if lost.reason == "contested" and lost.by not in cast]
    context._shared = False


def _as_fact(lost: Rejection) -> Fact[Any]:
    payload: Any = lost.payload
    id = lost.ref.partition(":")[2]
    return make_fact(payload, id, lost.by, lost.cycle, lost.confidence, lost.because, lost.sha256 or b"")


def _compare(part: _Part, found: Sequence[Event]) -> tuple[int, Parting | None]:
    """Returns how many events are the same, and the first that is not."""
    cycle, same = -1, 0
    for logged, event in zip_longest(part.events, found):
        recorded = None if logged is None else logged.event
        cycle = next((one.cycle for one in (recorded, event) if isinstance(one, CycleCommitted)), cycle)
        if part.is_open_ended and (recorded is None or isinstance(recorded, RunStopped)):
            break  # it was called off; how it would have gone on is no matter
        difference = _differ(recorded, event)
        if difference is not None:
            return same, Parting(cycle, *difference)
        same += 1
    return same, None


def _differ(recorded: Event | None, now: Event | None) -> tuple[str, str, str] | None:
    """Returns what is different about two events and both sides of it, or None."""
    if recorded is None or now is None or type(recorded) is not type(now):
        return "end", _text(recorded), _text(now)
    match recorded, now:
        case CycleCommitted(), CycleCommitted():
            for what, left, right in (
                ("ran", recorded.ran, now.ran),
                ("facts", recorded.facts, now.facts),
                ("rejections", recorded.rejections, now.rejections),
            ):
                for one, other in zip_longest(left, right):
                    if one != other:
                        return what, _text(one), _text(other)
            if (recorded.tokens, recorded.cost) != (now.tokens, now.cost):
                return "spent", _spent(recorded), _spent(now)
        case GateOpened(), GateOpened():
            if recorded.parked != now.parked:
                return "gate", _text(recorded.parked), _text(now.parked)
        case GateDecided(), GateDecided():
            if recorded.decision != now.decision:
                return "decision", _text(recorded), _text(now)
        case RunStopped(), RunStopped():
            if (recorded.stop, recorded.promoted) != (_plain(now.stop), now.promoted):
                return "stop", _text(recorded), _text(now)
        case _:
            return None  # who took part and what was carried was given
    return None


def _plain(value: Any) -> Any:
    """Returns a stop as a log gives it back: lists for tuples."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _spent(event: CycleCommitted) -> str:
    return f"{event.tokens} tokens, cost {event.cost:g}"


def _text(said: object) -> str:
    match said:
        case None:
            return ""
        case str():
            return said
        case Fact():
            sure = "" if said.confidence == 1 else f", confidence {said.confidence:g}"
            because = f" because of {', '.join(said.because)}" if said.because else ""
            return f"{said.ref} {show(said.payload)} by {said.by}{sure}{because}"
        case Rejection():
            return f"{said.ref} {show(said.payload)} by {said.by} refused: {said.reason}"
        case Parked():
            return f"gate {said.gate} ({said.policy}) holds {said.ref} {show(said.payload)} by {said.by}"
        case CycleCommitted():
            who = ", ".join(said.ran) or "nobody"
            return f"cycle {said.cycle}: {who} ran, {len(said.facts)} facts"
        case RunStopped():
            return f"stopped: {dict(said.stop)}"
        case GateDecided():
            return f"{said.decision.by} {'approved' if said.decision.approved else 'rejected'} {said.decision.ref}"
        case GateOpened():
            return _text(said.parked)
        case _:
            return f"{getattr(said, 'kind', said)}"
