"""Holds the state of one run while it settles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..facts import Context, Fact, FactLog, View
from ..facts.event import Event
from ..facts.fact import RunId
from ..facts.trail import Seen
from ..facts.view import Moment
from .budget import Budget
from .clock import Clock
from .cycle import Cycle
from .executor import Executor
from .gate import Gate
from .goal import Goal, Outcome
from .graph import Graph
from .invariant import Invariant
from .observe import Observer, Speaker, Teller
from .promote import Promoter
from .recorder import Recorder
from .suggestor import Suggestor

RECENT = 64
"""How many cycles back a loop among suggestors is looked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be done with: everything that its caller chose."""

    graph: Graph
    budget: Budget
    lookahead: int | None
    invariants: tuple[Invariant, ...]
    gates: tuple[Gate, ...]
    packs: tuple[str, ...] | None
    goals: tuple[Goal, ...]
    stop_when_met: bool
    observers: tuple[Observer, ...]
    clock: Clock


@dataclass(slots=True, eq=False)
class Run:
    """One run on its way from its input to its stop."""

    id: RunId
    plan: Plan
    context: Context
    log: FactLog
    moment: Moment
    executor: Executor
    promoter: Promoter
    speaker: Speaker
    teller: Teller | None
    began: float
    """The clock's seconds when it started or resumed."""
    opening: tuple[Event, ...] = ()
    """What its log begins or goes on with: folded already, and written with whatever is written first."""
    concluded: bool = False
    """The log says why it stopped."""
    head: int = 0
    """The first cycle that is not committed."""
    cycles: dict[int, Cycle] = field(default_factory=dict)
    """Cycles that are not committed, by number."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """What each suggestor was last shown, those of uncommitted cycles among them."""
    goals: dict[str, Outcome] = field(default_factory=dict)
    recent: list[frozenset[str]] = field(default_factory=list)
    """Who had something promoted, for each of the last cycles."""
    fresh: frozenset[str] | None = None
    """The families in which its last cycle brought something, where it goes on behind one that suggestors ran in.

    None at its start, and behind inputs and decisions: then whoever has not seen all that is known is woken.
    """
    until: int | None = None
    """The last cycle that it is to commit, where it only repeats a record."""
    cancelled: str | None = None
    """Why somebody called the run off."""
    recorder: Recorder | None = None
    """Where answers are recorded, and found again; None if no suggestor asks for it."""
    ahead: int = 0
    """Facts promoted in cycles that are not committed."""

    def cycle(self, number: int) -> Cycle:
        """Returns a cycle that is not committed, new if need be."""
        found = self.cycles.get(number)
        if found is None:
            found = self.cycles[number] = Cycle(number)
        return found

    def view(self, suggestor: Suggestor, cycle: int, trigger: Fact[Any] | None = None) -> View:
        """Returns what a suggestor sees in a cycle."""
        return self.view_since(self.seen.get(suggestor.name), suggestor, cycle, trigger)

    def view_since(self, seen: Seen | None, suggestor: Suggestor, cycle: int, trigger: Fact[Any] | None = None) -> View:
        """Returns what it sees where it was last shown so much."""
        return View(
            self.context._shelves, cycle, suggestor.name, suggestor.read_names, seen.sizes if seen else _NEVER,
            self.moment, trigger.ref if trigger is not None else None,
        )  # fmt: skip

    def view_for(self, name: str, reads: Mapping[str, str], after: int) -> View:
        """Returns what an invariant or a goal sees at the end of a cycle; new is what that cycle brought."""
        since = {
            family: self.context._shelves[family].size_at(after - 1)
            for family in reads
            if family in self.context._shelves
        }
        return View(self.context._shelves, after + 1, name, reads, since, self.moment)

    def abandon(self, last: int | None = None) -> None:
        """Takes back whatever was promoted after a cycle; by default in cycles that are not committed."""
        last = self.head - 1 if last is None else last
        shelves = self.context._shelves
        for name, shelf in list(shelves.items()):
            size = shelf.size_at(last)
            if size < shelf.size:
                shelves[name] = shelf.copy(size)

    def watermark(self, suggestor: Suggestor, cycle: int) -> Seen:
        """Returns how much a suggestor is shown when it runs in a cycle."""
        shelves = self.context._shelves
        names: Iterable[str] = tuple(shelves) if suggestor.read_names is None else suggestor.read_names
        sizes = {}
        last = cycle - 1
        for name in names:
            shelf = shelves.get(name)
            if shelf is not None and (size := shelf.size_at(last)):
                sizes[name] = size
        return Seen(suggestor.options.version, sizes)


_NEVER: Mapping[str, int] = {}
