"""Knows who writes what and who reads it, and from that how soon one suggestor can affect another.

The scheduler asks one question again and again: may `merge` run in cycle 7 although `slow` is still busy in cycle 3?
It may if nothing that `slow` writes can reach what `merge` reads by then. `slow` writes in cycle 3; whoever that wakes
writes in cycle 4 at the earliest, and so on, one cycle a hop. So `merge` waits for `slow` exactly when
3 + hops ≤ 6, hops being the shortest way from `slow` to anything that `merge` reads. The hops are found backwards from
`merge`, once, and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..facts import Contested, Decided, Failure, Payload, Rejected, Violated
from ..facts.family import family_of
from .suggestor import Suggestor

ENGINE_PAYLOADS: tuple[type[Payload], ...] = (Failure, Contested, Rejected, Violated, Decided)
"""What the engine itself writes; every suggestor can cause it."""
ENGINE_FAMILIES = frozenset(family_of(cls).name for cls in ENGINE_PAYLOADS)


class Graph:
    """The suggestors that take part in a run, by what they read and write."""

    __slots__ = (
        "_before",
        "_behind",
        "all_sync",
        "awake_anyway",
        "places",
        "prints",
        "suggestors",
        "wakers",
        "writers",
    )

    def __init__(self, suggestors: Sequence[Suggestor]) -> None:
        self.suggestors = tuple(suggestors)
        self.places: dict[int, Suggestor] = {one.place: one for one in suggestors}
        self.wakers: dict[str, list[Suggestor]] = {}
        """Whom new facts of a family wake, in registration order."""
        self.awake_anyway = [one for one in suggestors if one.wakes is None]
        """Those whom every new fact wakes."""
        self.prints = tuple(one.fingerprint() for one in suggestors)
        self.writers: dict[str, list[Suggestor]] = {}
        self.all_sync = not any(one.awaits for one in suggestors)
        for one in suggestors:
            for family in one.wakes or ():
                self.wakers.setdefault(family, []).append(one)
            for family in _written(one):
                self.writers.setdefault(family, []).append(one)
        for family in ENGINE_FAMILIES:
            self.writers[family] = list(self.suggestors)
        self._before: dict[int, dict[int, int]] = {}
        self._behind: dict[str, dict[int, int]] = {}

    def woken_by(self, family: str) -> Iterable[Suggestor]:
        """Returns whom a new fact of a family wakes."""
        found = self.wakers.get(family, ())
        return [*found, *self.awake_anyway] if self.awake_anyway else found

    def hops_to_family(self, family: str) -> Mapping[int, int]:
        """Returns, by place, in how many cycles at the earliest each suggestor can affect a family (0: writes it)."""
        found = self._behind.get(family)
        if found is None:
            found = self._behind[family] = self._walk_back(self.writers.get(family, ()), 0)
        return found

    def hops_to_suggestor(self, place: int) -> Mapping[int, int]:
        """Returns, by place, how many cycles later at the earliest a suggestor can change what another one sees."""
        found = self._before.get(place)
        if found is None:
            found = self._before[place] = self._walk_back(self._writers_for(self.places[place]), 1)
        return found

    def _writers_for(self, one: Suggestor) -> list[Suggestor]:
        if one.read_names is None:
            return list(self.suggestors)
        return [writer for family in one.read_names for writer in self.writers.get(family, ())]

    def _wake_sources(self, one: Suggestor) -> list[Suggestor]:
        if one.wakes is None:
            return list(self.suggestors)
        return [writer for family in one.wakes for writer in self.writers.get(family, ())]

    def _walk_back(self, first: Iterable[Suggestor], hops: int) -> dict[int, int]:
        """Breadth first, from those who write it themselves to those who wake them, and so on."""
        found: dict[int, int] = {}
        level = list(first)
        while level:
            fresh = [one for one in {one.place: one for one in level}.values() if one.place not in found]
            for one in fresh:
                found[one.place] = hops
            level = [source for one in fresh for source in self._wake_sources(one)]
            hops += 1
        return found


def _written(one: Suggestor) -> set[str]:
    return {family.name for family in one.families.values()}
