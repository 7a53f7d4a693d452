"""Writes a cycle into the log, or ends the run instead: one append, or none of it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from ..facts import StoreError, Violated
from ..facts.event import CycleCommitted, Event, GateDecided, GateOpened, RunStopped
from ..facts.fold import advance
from ..facts.stores import Address
from .cycle import LAST, Cycle
from .goal import Met
from .invariant import Invariant, Violation
from .observe import Committed, tell
from .promote import refuse
from .restless import find_loop, find_restless
from .run import RECENT, Run
from .stop import BudgetExhausted, GoalsMet, InvariantViolated, Resource, Stop, stop_to_json


class NotKept(StoreError):
    """A store could not take events; they are in `events`, and the run ends here."""

    def __init__(self, run: str, seq: int, events: Sequence[Event], reason: str) -> None:
        self.run, self.seq, self.events, self.reason = run, seq, tuple(events), reason
        kinds = ", ".join(event.kind for event in events)
        before = "Everything before it is in the log" if seq else "Nothing of the run is in the log"
        super().__init__(
            f"run {run}: event {seq} ({kinds}) could not be kept: {reason}. {before}; "
            f"what could not be kept is in the `events` of this error"
        )


def commit(run: Run, cycle: Cycle, decided: Sequence[GateDecided] = ()) -> Stop | None:
    """Commits a complete cycle and returns why the run ends with it, if it does."""
    stop: Stop | None = _find_overshoot(run, cycle)
    if stop is not None:
        return stop
    stop = _check_structure(run, cycle) if run.plan.invariants else None
    if stop is not None:  # nothing of the cycle stands: its gates stay open, and who ran has still to be heard
        decided, cycle.seen = (), {}
    else:
        if cycle.conflicts:
            stop = min(cycle.conflicts, key=lambda conflict: conflict[0])[1]
        violated = _check(run, cycle, "cycle") if run.plan.invariants else None
        stop = stop or violated
    ran = tuple(_in_order(run, cycle))
    rejections = tuple([rejection for _, rejection in cycle.rejections]) if cycle.rejections else ()
    event = CycleCommitted(cycle.number, ran, cycle.facts, rejections, cycle.tokens, cycle.cost)
    events: list[Event] = [event]
    if decided or cycle.parked or stop is not None:
        events += [
            *decided,
            *[GateOpened(parked) for _, parked in cycle.parked],
            *_stopped(run, stop, len(cycle.facts)),
        ]
    append(run, events, cycle)
    run.head = cycle.number + 1
    if not run.context._order.keys() >= cycle.fresh:
        run.context._order.update(dict.fromkeys(fact.family for fact in cycle.facts))
    _remember(run, cycle)
    return stop or (ask_goals(run, cycle.number, cycle.fresh) if run.plan.goals else None)


def fold_opening(run: Run) -> None:
    """Brings the trail behind the events with which a run begins or goes on; they are written with the next ones.

    So a run whose beginning is in the log has its inputs there too, and can be finished by another process.
    """
    for event in run.opening:
        advance(run.context._trail, event, run.id, {})


def append(run: Run, events: Sequence[Event], cycle: Cycle | None = None, *, tell_others: bool = True) -> None:
    """Appends events to the log, folds them into the trail and tells whoever listens."""
    trail = run.context._trail
    seq, folded = trail.seq, 0
    if run.opening:
        folded = len(run.opening)
        seq -= folded
        events = [*run.opening, *events]
    beside: dict[str, Any] = {}
    notes: dict[Address, bytes] | None = None
    if cycle is not None:
        notes = cycle.notes_beside
        if cycle.took:
            beside["took"] = {name: [round(took, 6), attempts] for name, (took, attempts) in cycle.took.items()}
        if cycle.reused:
            beside["reused"] = cycle.reused
    try:
        run.log.append(run.id, events, beside, seq=seq, notes=notes)
    except (StoreError, OSError) as error:
        raise NotKept(run.id, seq, events, str(error)) from error
    run.opening = ()
    log = run.log
    trail.home = log.store
    trail.digest = "" if log.store.lazy else log.digest_of(run.id)
    for event in events[folded:] if folded else events:
        advance(trail, event, run.id, cycle.seen if cycle is not None and isinstance(event, CycleCommitted) else {})
    if run.plan.observers and tell_others:
        for place, event in enumerate(events):
            told = replace(event, root=run.log.root_of(run.id)) if isinstance(event, RunStopped) else event
            tell(run.plan.observers, Committed(run.id, seq + place, told))
    if run.speaker.info and cycle is not None:
        committed = next(event for event in events if isinstance(event, CycleCommitted))
        run.speaker.committed(committed, sum(seconds for seconds, _ in cycle.took.values()))


def conclude(run: Run, stop: Stop, *, tell_others: bool = True) -> Stop:
    """Writes the end of a run into its log."""
    if not run.concluded:
        append(run, _stopped(run, stop, 0), tell_others=tell_others)
    if run.speaker.info:
        run.speaker.stopped(stop)
    return stop


def _stopped(run: Run, stop: Stop | None, more: int) -> list[RunStopped]:
    """Returns the event that ends a run with a cycle that brings so many facts more; none if it goes on."""
    if stop is None:
        return []
    run.concluded = True
    return [RunStopped(stop_to_json(stop), run.context._trail.facts + more)]


def check_convergence(run: Run) -> Stop | None:
    """Asks the acceptance invariants when a run claims to have converged; a violation is a cycle of its own."""
    cycle = Cycle(run.head)
    stop = _check(run, cycle, "convergence", everything=True)
    if stop is None:
        return None
    append(run, [CycleCommitted(cycle.number, (), cycle.facts), *_stopped(run, stop, len(cycle.facts))], cycle)
    run.context._order.update(dict.fromkeys(fact.family for fact in cycle.facts))
    run.head = cycle.number + 1
    return stop


def exhausted(
    run: Run, resource: Resource, limit: float, observed: float, refused: Cycle | None = None
) -> BudgetExhausted:
    """Returns the stop for a spent budget, with who would have gone on; `refused` is the cycle that was too much."""
    if refused is not None:
        _remember(run, refused)
    restless = find_restless(run)
    return BudgetExhausted(resource, limit, observed, restless, find_loop(run))


def _in_order(run: Run, cycle: Cycle) -> list[str]:
    """Returns who ran in a cycle, in registration order."""
    seen = cycle.seen
    if len(seen) < 2:
        return list(seen)
    return [name for place in sorted(cycle.ended) if (name := run.plan.graph.places[place].name) in seen]


def _find_overshoot(run: Run, cycle: Cycle) -> BudgetExhausted | None:
    budget, trail = run.plan.budget, run.context._trail
    facts = trail.facts + len(cycle.facts)
    if budget.facts is not None and facts > budget.facts:
        return exhausted(run, "facts", budget.facts, facts, cycle)
    if budget.tokens is not None and trail.tokens + cycle.tokens > budget.tokens:
        return exhausted(run, "tokens", budget.tokens, trail.tokens + cycle.tokens, cycle)
    if budget.cost is not None and trail.cost + cycle.cost > budget.cost:
        return exhausted(run, "cost", budget.cost, trail.cost + cycle.cost, cycle)
    if budget.seconds is not None and (observed := run.plan.clock.seconds() - run.began) > budget.seconds:
        return exhausted(run, "seconds", budget.seconds, observed)
    return None


def _check_structure(run: Run, cycle: Cycle) -> Stop | None:
    """Asks the structural invariants; where one does not hold, what the cycle brought is refused as a whole."""
    found = _find_violation(run, cycle, "commit", False)
    if found is None:
        return None
    broken, violation = found
    for at, fact in zip(cycle.places, cycle.facts, strict=True):
        reason = f"refused: invariant {broken.name!r} would not hold"
        cycle.rejections.append((at, refuse(fact, reason)))
    run.abandon(cycle.number - 1)
    for _, parked in cycle.parked:
        run.promoter.parked.pop(parked.gate, None)
    cycle.facts, cycle.places = [], []  # not cleared: the list may be that of somebody's inputs
    cycle.parked.clear()
    return _violate(run, cycle, broken, violation)


def _check(run: Run, cycle: Cycle, on: str, everything: bool = False) -> Stop | None:
    found = _find_violation(run, cycle, on, everything)
    return None if found is None else _violate(run, cycle, *found)


def _find_violation(run: Run, cycle: Cycle, on: str, everything: bool) -> tuple[Invariant, Violation] | None:
    for invariant in run.plan.invariants:
        if invariant.on != on or not (everything or cycle.fresh & invariant.read_names.keys()):
            continue
        violation = invariant.ask(run.view_for(invariant.name, invariant.read_names, cycle.number))
        if violation is not None:
            return invariant, violation
    return None


def _violate(run: Run, cycle: Cycle, invariant: Invariant, violation: Violation) -> Stop:
    refs = tuple(violation.refs)
    note = Violated(
        invariant=invariant.name, on=invariant.on, cycle=cycle.number, reason=violation.reason, refs=refs
    )  # fmt: skip
    run.abandon(cycle.number)  # what was promoted ahead of this cycle is not known yet, and must not stand before it
    known = tuple(fact.ref for ref in refs if (fact := run.context.find(ref)) is not None)
    run.promoter.say(cycle, LAST, note, known)
    return InvariantViolated(invariant.name, invariant.on, violation.reason, refs)


def ask_goals(run: Run, cycle: int, fresh: Set[str] = frozenset()) -> Stop | None:
    """Asks the goals that read what is new, and those that were never asked, at the end of a cycle."""
    if not run.plan.goals:
        return None
    for goal in run.plan.goals:
        if goal.name not in run.goals or fresh & goal.read_names.keys():
            run.goals[goal.name] = goal.ask(run.view_for(goal.name, goal.read_names, cycle))
    required = [goal.name for goal in run.plan.goals if goal.required]
    if run.plan.stop_when_met and required and all(isinstance(run.goals[name], Met) for name in required):
        return GoalsMet(tuple(required))
    return None


def _remember(run: Run, cycle: Cycle) -> None:
    recent = run.recent
    recent.append(frozenset([fact.by for fact in cycle.facts]) if cycle.ended else frozenset())
    if len(recent) > RECENT:
        del recent[:-RECENT]
