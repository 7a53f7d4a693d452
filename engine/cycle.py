"""Collects what belongs to one cycle until it can be committed."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from sys import float_info
from typing import Any

from ..facts import Contested, Fact, Payload
from ..facts.fact import Ref
from ..facts.stores import Address
from ..facts.trail import Parked, Rejection, Seen
from .answer import Answer
from .stop import Conflict
from .suggestor import Suggestor

Place = int
"""Where an answer stands in the order of promotion: its suggestor's place, then its turn among that one's answers."""

FIRST, LAST = -1, 1 << 80
"""Before and behind every answer of a cycle."""


def place_of(suggestor: int, turn: int) -> Place:
    """Returns the place of a suggestor's answer."""
    return (suggestor << 40) + turn


class Cycle:
    """One cycle on its way: who is woken, what has ended, what was promoted so far."""

    # Written by hand: one is made for every cycle, and a dataclass asks each default factory in turn.
    __slots__ = (
        "conflicts", "contests", "costs", "early", "ended", "facts", "fresh", "notes", "notes_beside", "number", "open",
        "parked", "pending", "places", "rejections", "reused", "seen", "tokens", "took",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.pending: dict[int, Suggestor] = {}
        """Woken and not started, by place."""
        self.open = 0
        """How many suggestors are woken or running in it; 0 once it can be committed."""
        self.ended: dict[int, Sequence[Answer]] = {}
        """What each suggestor answered, by place."""
        self.tokens = 0
        self.costs: list[float] = []
        self.seen: dict[str, Seen] = {}
        """Who ran, and what they were shown."""
        self.early: set[str] = set()
        """Families promoted before the cycle was complete."""
        self.facts: list[Fact[Any]] = []
        self.places: list[Place] = []
        """The place of each of the facts."""
        self.rejections: list[tuple[Place, Rejection]] = []
        self.parked: list[tuple[Place, Parked]] = []
        self.notes: list[tuple[Place, Payload, tuple[Ref, ...]]] = []
        """Diagnostics that the engine will promote once the cycle is complete."""
        self.contests: list[tuple[Place, Contested, Rejection]] = []
        """Losers, and the diagnostic that names each."""
        self.conflicts: list[tuple[Place, Conflict]] = []
        self.fresh: set[str] = set()
        """Families in which something is new."""
        self.notes_beside: dict[Address, bytes] = {}
        """What is kept beside its events: answers that other runs may reuse."""
        self.reused: dict[str, int] = {}
        """How many answers of each suggestor were known before."""
        self.took: dict[str, tuple[float, int]] = {}
        """Seconds and attempts by suggestor, for what stands beside the log."""

    @property
    def cost(self) -> float:
        """What its suggestors reported, rounded once, so that it does not matter who ended first."""
        try:
            return fsum(self.costs)
        except OverflowError:
            return float_info.max
