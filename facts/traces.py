"""Gathers what the events of a run say besides facts: who ran, what was refused, parked and decided, how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

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
from .fact import RunId
from .log import FactLog
from .read_event import BrokenEvent, UnknownFormat
from .replay import lineage
from .stores import Broken
from .trail import Decision, Parked, Rejection, SuggestorPrint


@dataclass(slots=True)
class Traces:
    """What a run's events say besides facts, up to a cycle."""

    ran: dict[str, list[int]] = field(default_factory=dict)
    """Who was called, and in which cycles as far as the log still says."""
    rejections: list[Rejection] = field(default_factory=list)
    parked: dict[str, Parked] = field(default_factory=dict)
    """Every proposal that was ever parked, by gate."""
    decisions: list[Decision] = field(default_factory=list)
    prints: dict[str, SuggestorPrint] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    """The cycle in which the ref that is asked for was first promoted."""
    later: int | None = None
    """The same, where that was after the cycle that is asked for."""
    stop: RunStopped | None = None
    """Why the run ended, if it did and nothing came after."""
    went_on: bool = False
    """There were cycles after the one that is asked for."""

    @classmethod
    def read(cls, log: FactLog, run: RunId, ref: str, at: int | None) -> Traces:
        """Reads a run and what it goes on from, up to a cycle, and on to see when a ref became known.

        Raises:
            LogError: an event up to there cannot be read.
        """
        traces, last = cls(), -1
        try:
            for logged in lineage(log, run):
                event = logged.event
                if isinstance(event, (CycleCommitted, ContextCarried, Compacted)):
                    traces.went_on = traces.went_on or (at is not None and event.cycle > at)
                    last = event.cycle
                    cycle = next((fact.cycle for fact in event.facts if fact.ref == ref), None)
                    if cycle is not None and traces.went_on and traces.later is None:
                        traces.later = cycle
                    elif cycle is not None:
                        traces.since.setdefault(ref, cycle)
                traces.stop = event if isinstance(event, RunStopped) else None
                if not traces.went_on:
                    traces.take(event)
        except (Broken, BrokenEvent, UnknownFormat):
            if at is None or last < at:  # damage behind the cycle that is asked for is no matter
                raise
            traces.went_on = True
        return traces

    def take(self, event: Event) -> None:
        """Notes what an event says."""
        match event:
            case RunStarted() | RunResumed():
                self.prints.update((known.name, known) for known in event.suggestors)
            case CycleCommitted():
                for name in event.ran:
                    self.ran.setdefault(name, []).append(event.cycle)
                self.rejections += event.rejections
            case ContextCarried():
                self.prints.update((known.name, known) for known in event.suggestors)
                self.ran.update((name, []) for name in event.seen)
                self.rejections += event.losers
                self.parked.update((parked.gate, parked) for parked in event.gates)
            case GateOpened():
                self.parked[event.parked.gate] = event.parked
            case GateDecided():
                self.decisions.append(event.decision)
            case Compacted():
                self.prints.update((known.name, known) for known in event.prints)
                for name in (*event.ran, *event.seen):
                    self.ran.setdefault(name, [])
                for name, cycles in event.ran.items():
                    self.ran[name] += cycles
                self.rejections += [*event.losers, *event.rejections]
                for step in event.gates:
                    if isinstance(step, Decision):
                        self.decisions.append(step)
                    else:
                        self.parked[step.gate] = step
            case RunStopped():
                pass
