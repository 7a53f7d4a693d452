"""Applies events to a context, one after the other: the one meaning of a log, live and in replay."""

from __future__ import annotations

from collections.abc import Mapping

from .context import Context
from .event import (
    Compacted,
    ContextCarried,
    CycleCommitted,
    Event,
    GateDecided,
    GateOpened,
    RunResumed,
    RunStarted,
    RunStopped,
)
from .fact import RunId, split_ref
from .shelf import Shelf
from .trail import Decision, Seen, SuggestorPrint, Trail

ANY_FAMILY = "*"
"""How a suggestor that reads everything is recorded."""


def apply(context: Context, event: Event, run: RunId) -> None:
    """Brings a context from before an event to after it, facts and trail."""
    if isinstance(event, CycleCommitted):
        seen = {name: see(context._trail.prints.get(name), context._shelves) for name in event.ran}
        put_facts(context, event)
        advance(context._trail, event, run, seen)
        return
    if isinstance(event, (ContextCarried, Compacted)):
        put_facts(context, event)
    advance(context._trail, event, run, {})


def put_facts(context: Context, event: CycleCommitted | ContextCarried | Compacted) -> None:
    """Puts the facts of an event on their shelves."""
    order = context._order
    for fact in event.facts:
        family = fact.family
        order.setdefault(family)
        context._shelf_of(family, fact.key).append(fact)


def advance(trail: Trail, event: Event, run: RunId, seen: Mapping[str, Seen]) -> None:
    """Brings a trail from before an event to after it; `seen` is what those who ran in a cycle were shown."""
    trail.seq += 1
    match event:
        case CycleCommitted():
            trail.cycle = event.cycle
            trail.cycles += bool(event.ran)
            trail.facts += len(event.facts)
            trail.tokens += event.tokens
            trail.cost += event.cost
            trail.seen.update(seen)
            for rejection in event.rejections:
                if rejection.reason == "contested":
                    trail.losers.setdefault(rejection.ref, []).append(rejection)
        case RunStarted():
            trail.run, trail.seq = run, 1
            trail.cycles = trail.facts = trail.tokens = 0
            trail.cost = 0.0
            trail.decided.clear()  # what people decided holds for the run in which they did; open gates stay open
            trail.declined.clear()
            trail.parent = event.parent.run if event.parent else None
            _cast(trail, event)
            trail.seen = take_over(event, trail.seen)
        case RunResumed():
            _cast(trail, event)
        case ContextCarried():
            trail.cycle = event.cycle
            trail.prints = {known.name: known for known in event.suggestors} | trail.prints
            trail.seen.update(event.seen)
            trail.gates.update((parked.gate, parked) for parked in event.gates)
            for loser in event.losers:
                trail.losers.setdefault(loser.ref, []).append(loser)
        case GateOpened():
            trail.gates[event.parked.gate] = event.parked
        case GateDecided():
            _decide(trail, event.decision)
        case RunStopped():
            pass
        case Compacted():
            _leap(trail, event, run)


def see(known: SuggestorPrint | None, shelves: Mapping[str, Shelf]) -> Seen:
    """Returns what a suggestor is shown when it runs now."""
    if known is None:
        return Seen("", {})
    reads = tuple(shelves) if known.reads == (ANY_FAMILY,) else known.reads
    return Seen(known.version, {name: shelves[name].size for name in reads if name in shelves and shelves[name].size})


def take_over(event: RunStarted, seen: Mapping[str, Seen]) -> dict[str, Seen]:
    """Returns who has seen what when a run starts: whoever takes the place of another, what that one had seen."""
    versions = {known.name: known.version for known in event.suggestors}
    taken = {
        name: Seen(versions.get(name, ""), seen[before].sizes)
        for name, before in event.replaced.items()
        if before in seen
    }
    return {name: one for name, one in seen.items() if name not in event.replaced} | taken


def _decide(trail: Trail, decision: Decision) -> None:
    trail.decided[decision.gate] = decision
    parked = trail.gates.pop(decision.gate, None)
    if parked is not None and not decision.approved:
        trail.declined.add((split_ref(parked.ref)[0], parked.sha256))


def _leap(trail: Trail, event: Compacted, run: RunId) -> None:
    """Brings a trail over all the events that a snapshot stands for."""
    advance(trail, event.started, run, {})
    trail.seq, trail.cycle = event.events, event.cycle
    trail.prints = {known.name: known for known in event.prints}
    trail.cast, trail.settings, trail.seen = event.cast, event.settings, dict(event.seen)
    trail.cycles, trail.facts = event.cycles, event.promoted
    trail.tokens, trail.cost = event.tokens, event.cost
    for loser in (*event.losers, *(lost for lost in event.rejections if lost.reason == "contested")):
        trail.losers.setdefault(loser.ref, []).append(loser)
    for step in event.gates:
        if isinstance(step, Decision):
            _decide(trail, step)
        else:
            trail.gates[step.gate] = step


def _cast(trail: Trail, event: RunStarted | RunResumed) -> None:
    trail.prints.update((known.name, known) for known in event.suggestors)
    trail.cast = tuple(known.name for known in event.suggestors)
    trail.settings = event.settings
