"""Works ahead of the barrier: finds out which suggestors may start although slower ones are still running.

Say `fast` has ended in cycle 3 and `slow` has not. Two questions are asked, of the cycles in order:

1. May what `fast` proposed for "prices" be promoted already? It may if nobody who is still running, or woken and not
   started, can write to "prices" in cycle 3 or before: then "prices" is *final through 3*.
2. May `buy`, which "prices" woke, start in cycle 4? It may if everything it reads is final through 3.

Whoever stands in the way is remembered with the question, and the question is asked again when he has ended. The
oldest cycle needs no questions: whoever is woken in it may start, and when all of it has ended it is promoted whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from .graph import Graph
from .run import Run
from .suggestor import Suggestor
from .wake import wake

_PROMOTE, _START = 0, 1
Busy = tuple[int, int]
"""A suggestor's place and a cycle in which it is running or woken."""


class Ahead:
    """The open questions of one run."""

    __slots__ = ("_asked", "_blocked", "_graph", "_late", "_live", "_questions", "_run")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._graph: Graph = run.plan.graph
        self._live: dict[int, list[int]] = {}  # by place: the cycles in which it is running or woken, ascending
        self._questions: list[tuple[int, int, str, int]] = []  # cycle, kind, family, place: earliest cycle first
        self._blocked: dict[Busy, list[tuple[int, int, str, int]]] = {}
        self._late: list[tuple[int, int, str, int]] = []  # beyond how far the run may look ahead
        self._asked: set[tuple[str, int]] = set()

    def woken(self, suggestor: Suggestor, cycle: int) -> None:
        """Notes that a suggestor is woken; it may not start before it has been asked about."""
        cycles = self._live.setdefault(suggestor.place, [])
        if cycles and cycles[-1] > cycle:
            cycles.append(cycle)
            cycles.sort()
        else:
            cycles.append(cycle)
        if cycle > self._run.head:
            heappush(self._questions, (cycle, _START, "", suggestor.place))

    def ended(self, suggestor: Suggestor, cycle: int, families: set[str]) -> None:
        """Notes that a suggestor has ended in a cycle, and what it proposed for."""
        place = suggestor.place
        cycles = self._live[place]
        cycles.remove(cycle)
        if not cycles:
            del self._live[place]
        for question in self._blocked.pop((place, cycle), ()):
            heappush(self._questions, question)
        for family in families:
            if (family, cycle) not in self._asked:
                self._asked.add((family, cycle))
                heappush(self._questions, (cycle, _PROMOTE, family, -1))

    def committed(self, cycle: int) -> None:
        """Notes that a cycle is over: what was too far ahead may be asked again."""
        while self._questions and self._questions[0][0] <= cycle:
            heappop(self._questions)  # answered by the commit
        for question in self._late:
            heappush(self._questions, question)
        self._late.clear()
        self._asked = {pair for pair in self._asked if pair[1] > cycle}

    def find_startable(self) -> list[tuple[Suggestor, int]]:
        """Promotes what is final and returns who may start ahead of the oldest cycle."""
        run = self._run
        startable: list[tuple[Suggestor, int]] = []
        while self._questions:
            question = heappop(self._questions)
            cycle, kind, family, place = question
            if kind == _PROMOTE:
                self._ask_promotion(question, family, cycle)
                continue
            found = run.cycles.get(cycle)
            if found is None or place not in found.pending:
                continue  # it has started with its cycle
            if cycle == run.head:
                continue  # it will
            if self._is_too_far(cycle):
                self._late.append(question)
                continue
            blocker = self._find_blocker(self._graph.hops_to_suggestor(place), cycle)
            if blocker is not None:
                self._blocked.setdefault(blocker, []).append(question)
                continue
            startable.append((found.pending.pop(place), cycle))
        return startable

    def _ask_promotion(self, question: tuple[int, int, str, int], family: str, cycle: int) -> None:
        run = self._run
        found = run.cycles.get(cycle)
        if found is None or (cycle == run.head and not found.open):
            return  # committed, or about to be
        blocker = self._find_blocker(self._graph.hops_to_family(family), cycle)
        if blocker is not None:
            self._blocked.setdefault(blocker, []).append(question)
            return
        self._asked.discard((family, cycle))
        before = len(found.facts)
        if run.promoter.promote_family(found, family):
            run.ahead += len(found.facts) - before
            for suggestor in wake(run, [family], cycle + 1):
                self.woken(suggestor, cycle + 1)

    def _find_blocker(self, hops: Mapping[int, int], cycle: int) -> Busy | None:
        """Returns somebody who can still matter by this cycle, or None."""
        live = self._live
        if len(live) <= len(hops):
            for place, cycles in live.items():
                away = hops.get(place)
                if away is not None and cycles[0] + away <= cycle:
                    return place, cycles[0]
            return None
        for place, away in hops.items():
            found = live.get(place)
            if found is not None and found[0] + away <= cycle:
                return place, found[0]
        return None

    def _is_too_far(self, cycle: int) -> bool:
        """Tells whether starting now would run ahead of what the caller or the budget allows."""
        run = self._run
        budget, trail = run.plan.budget, run.context._trail
        lookahead = run.plan.lookahead
        if lookahead is not None and cycle > run.head + lookahead:
            return True
        if budget.cycles is not None and cycle - run.head >= budget.cycles - trail.cycles:
            return True
        return budget.facts is not None and trail.facts + run.ahead > budget.facts
