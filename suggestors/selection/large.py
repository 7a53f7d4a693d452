"""Matches large graphs in which every class has one slot and every backend room for one, with scipy where it can help.

The same story as in `matching.py`, and the same result but for who of several equals fills which slot: scipy finds a
maximum matching, what can be reached from open slots, and how that is connected. The exchanges are made here; they look
at few nodes each, and only these few are taken out of scipy's arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

Parts = list[tuple[list[int], list[int]]]


class Units:
    """One matching of slots and backends, one for one."""

    def __init__(self, serves: Sequence[Sequence[int]], backends: int) -> None:
        import numpy
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_bipartite_matching

        self.serves = serves
        lengths = numpy.fromiter(map(len, serves), numpy.int32, len(serves))
        self.ends = numpy.zeros(len(serves) + 1, numpy.int32)
        numpy.cumsum(lengths, out=self.ends[1:])
        self.targets = numpy.fromiter(chain.from_iterable(serves), numpy.int32, int(self.ends[-1]))
        self.rows = numpy.repeat(numpy.arange(len(serves), dtype=numpy.int32), lengths)
        self.graph: Any = csr_array(
            (numpy.ones(len(self.targets), numpy.int8), self.targets, self.ends), shape=(len(serves), backends)
        )
        found = maximum_bipartite_matching(self.graph, perm_type="column")
        self.taker: list[int] = found.tolist()
        """By slot, the backend that fills it; -1: none."""
        self.holder: list[int] = [-1] * backends
        """By backend, the slot that it fills; -1: none."""
        for slot, backend in enumerate(self.taker):
            if backend >= 0:
                self.holder[backend] = slot
        self.open = {slot: None for slot, backend in enumerate(self.taker) if backend < 0}
        self.reached: set[int] = set()
        """The slots that could stay open."""

    def find_short(self) -> Parts:
        """Returns the slots that could stay open and the backends that could fill them, in connected parts."""
        import numpy
        from scipy.sparse.csgraph import breadth_first_order, connected_components

        count = len(self.serves)
        holder = numpy.array(self.holder, numpy.int32)[self.targets]
        onward = numpy.where(holder < 0, self.rows, holder)  # who would have to give way; oneself where nobody has to
        starts = numpy.fromiter(self.open, numpy.int32, len(self.open))
        # One more node, from which all open slots are reached: there is a search from one node only.
        ways = self._square(numpy.append(onward, starts), numpy.append(self.ends, len(onward) + len(starts)))
        reached = breadth_first_order(ways, count, return_predecessors=False)[1:]
        is_reached = numpy.zeros(count, bool)
        is_reached[reached] = True
        within = self._square(numpy.where(is_reached[self.rows], onward, self.rows), self.ends)
        _, labels = connected_components(within, directed=False)
        slots: list[int] = numpy.flatnonzero(is_reached).tolist()
        self.reached = set(slots)
        parts: dict[int, list[int]] = {}
        for slot, label in zip(slots, labels[is_reached].tolist(), strict=True):
            parts.setdefault(label, []).append(slot)
        taker = self.taker  # whoever could fill a slot of a part fills one of it: else that could be filled
        return [(part, sorted(taker[slot] for slot in part if taker[slot] >= 0)) for part in parts.values()]

    def _square(self, targets: Any, ends: Any) -> Any:
        import numpy
        from scipy.sparse import csr_array

        return csr_array((numpy.ones(len(targets), numpy.int8), targets, ends), shape=(len(ends) - 1, len(ends) - 1))

    def prefer_early_slots(self) -> None:
        """Has the last slots stay open that can."""
        asked = self._asked()
        left, settled = set(self.open), set[int]()
        for slot in range(len(self.serves) - 1, -1, -1):
            if slot in left:
                left.discard(slot)
            elif slot in self.reached and slot not in settled:
                left.discard(self._give_up(slot, left, settled, asked))
            if not left:
                return

    def _asked(self) -> Callable[[int], list[int]]:
        """Returns a function that tells which slots a backend could fill."""
        turned = self.graph.tocsc()
        ends, slots = turned.indptr.tolist(), turned.indices

        def asked(backend: int) -> list[int]:
            found: list[int] = slots[ends[backend] : ends[backend + 1]].tolist()
            return found

        return asked

    def _give_up(self, slot: int, left: set[int], settled: set[int], asked: Callable[[int], list[int]]) -> int:
        """Opens a slot for the sake of one that is open, by whatever detour; returns which, or -1."""
        taker = self.taker
        came = {slot: -1}  # slot -> from which one it takes over
        front = [slot]
        for giver in front:
            for other in asked(taker[giver]):
                if other in came or other in settled:
                    continue
                came[other] = giver
                if other in left:
                    self._hand_on(other, came)
                    return other
                if taker[other] >= 0:
                    front.append(other)
        settled.update(came)
        return -1

    def _hand_on(self, slot: int, came: dict[int, int]) -> None:
        end = slot
        while (giver := came[slot]) >= 0:
            self.taker[slot] = self.taker[giver]
            self.holder[self.taker[slot]] = slot
            slot = giver
        self.taker[slot] = -1
        del self.open[end]
        self.open[slot] = None

    def prefer_first_backends(self) -> None:
        """Has the last backends stay unused that can."""
        import numpy

        wanted = numpy.bincount(self.targets, minlength=len(self.holder)).tolist()
        free = {backend for backend, slot in enumerate(self.holder) if slot < 0 and wanted[backend]}
        settled: set[int] = set()
        for backend in range(len(self.holder) - 1, min(free, default=len(self.holder)), -1):
            if self.holder[backend] >= 0 and backend not in settled:
                self._stand_in(backend, free, settled)

    def _stand_in(self, backend: int, free: set[int], settled: set[int]) -> None:
        """Lets an earlier backend that is free take over from this one, by whatever detour."""
        came = {backend: -1}  # backend -> from which one it takes over
        front = [backend]
        for giver in front:
            for other in self.serves[self.holder[giver]]:
                if other in came or other in settled:
                    continue
                came[other] = giver
                if other not in free:
                    front.append(other)
                elif other < backend:
                    self._take_over(other, came)
                    free.discard(other)
                    free.add(backend)
                    return
        settled.update(came)

    def _take_over(self, backend: int, came: dict[int, int]) -> None:
        while (giver := came[backend]) >= 0:
            slot = self.holder[giver]
            self.holder[backend], self.taker[slot] = slot, backend
            backend = giver
        self.holder[backend] = -1
