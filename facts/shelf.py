"""Keeps the facts of one family in the order of their promotion, shared by every context that knows a prefix of them.

The store behind a shelf only ever grows at its end. A context, a view or a result holds a *shelf*: the store and how
much of it counts. Copying a context copies shelves, never facts. Whoever appends while the store ends where its shelf
ends extends the store; whoever comes second finds that the store has gone on without it, copies its prefix and goes
its own way. So branches never see each other, and a run over a context with a million facts starts at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import sha256
from operator import attrgetter, itemgetter
from threading import Lock
from typing import Any, Generic, TypeVar, overload

from .fact import Fact
from .payload import Payload

P_co = TypeVar("P_co", bound=Payload, covariant=True)
_cycle = attrgetter("cycle")


class _Store:
    __slots__ = ("earlier", "facts", "index", "lock", "sums")

    def __init__(self) -> None:
        self.facts: list[Fact[Any]] = []
        self.index: dict[str, int] = {}  # id -> position of its last revision
        self.earlier: dict[int, int] = {}  # position of a revision -> position of the one before it
        self.sums: list[tuple[int, bytes]] = []  # digests over the first facts, for the sizes that were asked for
        self.lock = Lock()


class Shelf:
    """The facts of one family that one context knows, oldest first; a revised fact stands once for each revision."""

    __slots__ = ("_store", "family", "key", "size")

    def __init__(self, family: str, key: str) -> None:
        self.family, self.key = family, key
        self._store = _Store()
        self.size = 0

    def copy(self, size: int | None = None) -> Shelf:
        """Returns a shelf over the first `size` facts (all of them by default) without copying any."""
        other = Shelf.__new__(Shelf)
        other.family, other.key, other._store = self.family, self.key, self._store
        other.size = self.size if size is None else size
        return other

    def append(self, fact: Fact[Any]) -> None:
        """Adds a fact, or the next revision of one, at the end."""
        store = self._store
        with store.lock:
            position = self.size
            facts = store.facts
            if len(facts) == position:
                before = store.index.setdefault(fact.id, position)
                if before != position:
                    store.earlier[position] = before  # before the index: a reader in another thread must find back
                    store.index[fact.id] = position
                facts.append(fact)
                self.size = position + 1
                return
        self._store = _prefix(store, self.size)
        self.append(fact)

    def offer(self, fact: Fact[Any]) -> Fact[Any] | None:
        """Adds a fact unless something is known under its id; returns what is."""
        store = self._store
        with store.lock:
            position = self.size
            if len(store.facts) == position:
                before = store.index.setdefault(fact.id, position)
                if before != position:
                    return store.facts[before]
                store.facts.append(fact)
                self.size = position + 1
                return None
        known = self.get(fact.id, self.size)
        if known is None:
            self.append(fact)
        return known

    def size_at(self, cycle: int) -> int:
        """Returns how many of the facts were promoted in this cycle or before it."""
        size = self.size
        facts = self._store.facts
        if not size or facts[size - 1].cycle <= cycle:
            return size
        return bisect_right(facts, cycle, hi=size, key=_cycle)

    def get(self, id: str, size: int) -> Fact[Any] | None:
        """Returns the last revision of a fact among the first `size`, or None."""
        store = self._store
        position = store.index.get(id)
        while position is not None and position >= size:
            position = store.earlier.get(position)
        return None if position is None else store.facts[position]

    def digest(self, size: int) -> bytes:
        """Returns a digest over the first `size` facts: their ids, payloads and confidence; what was summed is kept."""
        store = self._store
        with store.lock:
            place = bisect_right(store.sums, size, key=itemgetter(0))
            start, summed = store.sums[place - 1] if place else (0, b"")
            for fact in store.facts[start:size]:  # one by one: the sum must not depend on which sizes were asked for
                summed = sha256(b"%b%b%a %b" % (summed, fact.sha256, fact.confidence, fact.id.encode())).digest()
            if start < size:
                store.sums.insert(place, (size, summed))
        return summed

    def slice(self, start: int, end: int) -> list[Fact[Any]]:
        """Returns the facts and revisions from one position to another."""
        return self._store.facts[start:end]

    def is_current(self, position: int, size: int) -> bool:
        """Tells whether no later revision of the fact at a position is among the first `size`."""
        store = self._store
        last: int | None = store.index[store.facts[position].id]
        while last is not None and last >= size:
            last = store.earlier.get(last)
        return last == position

    @property
    def revised(self) -> bool:
        """Some id may stand more than once."""
        return bool(self._store.earlier)


def _prefix(store: _Store, size: int) -> _Store:
    """Returns a store of its own with the first facts of another."""
    copy = _Store()
    copy.facts = store.facts[:size]
    for position, fact in enumerate(copy.facts):
        before = copy.index.setdefault(fact.id, position)
        if before != position:
            copy.earlier[position] = before
            copy.index[fact.id] = position
    return copy


class All(Sequence[Fact[P_co]], Generic[P_co]):
    """The facts of one family as a read-only sequence in order of promotion, each in its last revision.

    As an annotation of a suggestor's parameter, `All[Rule]` asks for every rule that is known.
    """

    __slots__ = ("_end", "_shelf", "_stable", "_start")

    def __init__(self, shelf: Shelf | None, start: int = 0, end: int = 0) -> None:
        self._shelf, self._start, self._end = shelf, start, end
        self._stable: list[Fact[P_co]] | None = None

    def facts(self) -> list[Fact[P_co]]:
        """Returns the facts as a list, without those that were revised later; found once, when first asked for."""
        if self._stable is None:
            shelf = self._shelf
            if shelf is None or self._start >= self._end:
                self._stable = []
            else:
                found = shelf.slice(self._start, self._end)
                if shelf.revised:
                    end = self._end
                    found = [
                        fact for position, fact in enumerate(found, self._start) if shelf.is_current(position, end)
                    ]
                self._stable = found
        return self._stable

    def __iter__(self) -> Iterator[Fact[P_co]]:
        return iter(self.facts())

    def __len__(self) -> int:
        if self._stable is None and (self._shelf is None or not self._shelf.revised):
            return max(0, self._end - self._start)
        return len(self.facts())

    @overload
    def __getitem__(self, at: int) -> Fact[P_co]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Fact[P_co]]: ...
    def __getitem__(self, at: int | slice) -> Fact[P_co] | Sequence[Fact[P_co]]:
        return self.facts()[at]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, (str, bytes)):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have no hash either

    def __repr__(self) -> str:
        return repr(self.facts())


class Shelved(Sequence[Fact[Any]]):
    """Every fact and revision of some shelves, in order: what a context holds, without copying it."""

    __slots__ = ("_shelves",)

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self._shelves = tuple(shelves)

    def __iter__(self) -> Iterator[Fact[Any]]:
        for shelf in self._shelves:
            yield from shelf.slice(0, shelf.size)

    def __len__(self) -> int:
        return sum(shelf.size for shelf in self._shelves)

    @overload
    def __getitem__(self, at: int) -> Fact[Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Fact[Any]]: ...
    def __getitem__(self, at: int | slice) -> Fact[Any] | Sequence[Fact[Any]]:
        return list(self)[at]
