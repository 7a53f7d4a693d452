"""Collects what belongs to one cycle until it can be committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Cycle:
    """One cycle on its way: who is woken, what has ended, what was promoted so far."""

    number: int
    pending: dict[int, Suggestor] = field(default_factory=dict)
    """Woken and not started, by place."""
    open: int = 0
    """How many suggestors are woken or running in it; 0 once it can be committed."""
    ended: dict[int, Sequence[Answer]] = field(default_factory=dict)
    """What each suggestor answered, by place."""
    tokens: int = 0
    costs: list[float] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    """Who ran, and what they were shown."""
    early: set[str] = field(default_factory=set)
    """Families promoted before the cycle was complete."""
    facts: list[Fact[Any]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    """The place of each of the facts."""
    rejections: list[tuple[Place, Rejection]] = field(default_factory=list)
    parked: list[tuple[Place, Parked]] = field(default_factory=list)
    notes: list[tuple[Place, Payload, tuple[Ref, ...]]] = field(default_factory=list)
    """Diagnostics that the engine will promote once the cycle is complete."""
    contests: list[tuple[Place, Contested, Rejection]] = field(default_factory=list)
    """Losers, and the diagnostic that names each."""
    conflicts: list[tuple[Place, Conflict]] = field(default_factory=list)
    fresh: set[str] = field(default_factory=set)
    """Families in which something is new."""
    notes_beside: dict[Address, bytes] = field(default_factory=dict)
    """What is kept beside its events: answers that other runs may reuse."""
    reused: dict[str, int] = field(default_factory=dict)
    """How many answers of each suggestor were known before."""
    took: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Seconds and attempts by suggestor, for what stands beside the log."""

    @property
    def cost(self) -> float:
        """What its suggestors reported, rounded once, so that it does not matter who ended first."""
        try:
            return fsum(self.costs)
        except OverflowError:
            return float_info.max
