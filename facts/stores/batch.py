"""Says what a store keeps in one step: events behind the end of a run, and notes beside them, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from ..fact import RunId
from ..record import Record


class Address(NamedTuple):
    """Where a note stands. Three texts; `owner` is the run that it goes away with, or empty."""

    space: str
    """What kind of note it is: "lease", "journal", "memo", "projection", …"""
    owner: str
    key: str


class Put(NamedTuple):
    """A note that is to be kept."""

    value: bytes
    stamp: int
    """A number that no other change of a note has: who read it can tell whether it is still the same."""
    families: tuple[str, ...] = ()
    """Families of facts: an append that touches one of them gives the note another stamp."""


class Note(NamedTuple):
    """A note as it stands in a store."""

    value: bytes
    stamp: int
    position: int
    """Where the ledger ended when it was last put: the position of the last event then, those of its batch included."""
    families: tuple[str, ...] = ()


@dataclass(slots=True)
class Batch:
    """What is kept in one transaction. Everything is checked first: `ends`, then `expects`."""

    ends: dict[RunId, int] = field(default_factory=dict)
    """Where runs have to end (0: not there at all), else nothing is kept and `Fenced` is raised."""
    expects: Mapping[Address, int | None] = field(default_factory=dict)
    """Which stamps notes have to have (None: there is none), else nothing is kept and `Stale` is raised."""
    records: dict[RunId, Sequence[Record]] = field(default_factory=dict)
    """What is added behind the ends of runs, each of which is in `ends`."""
    puts: Mapping[Address, Put | None] = field(default_factory=dict)
    """Notes to keep, in place of what stands there; None takes one away."""
    touches: Set[str] = frozenset()
    """Every note with one of these families that is not put here gets the stamp `touch`; all else of it stays."""
    touch: int = 0
    replaced: Mapping[tuple[RunId, int], Record] = field(default_factory=dict)
    """Events that get other payloads, `beside` or `gone`; text, digest and position stay."""
    cut: Mapping[RunId, int] = field(default_factory=dict)
    """Runs that lose their events before a number; the others keep theirs."""
    dropped: Set[RunId] = frozenset()
    """Runs that go away, with every note that they own."""

    @classmethod
    def of(cls, run: RunId, seq: int, records: Sequence[Record]) -> Self:
        """Returns the batch that adds records to a run that ends at `seq` (0 for a new one)."""
        return cls(ends={run: seq}, records={run: records})
