"""Leaves aside what cannot be read: facts whose payload was redacted, or is of a newer version than this process knows.

A view shows them like any other fact; what stands in the place of the payload has none of its fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ..facts import Fact, Payload, View

P = TypeVar("P", bound=Payload)


def readable(facts: Iterable[Fact[P]], cls: type[P]) -> list[Fact[P]]:
    """Returns the facts whose payload can be read."""
    return [fact for fact in facts if isinstance(fact.payload, cls)]


def look_up(view: View, cls: type[P], id: str) -> Fact[P] | None:
    """Returns one fact of a view; None if it is not known, or cannot be read."""
    fact = view.get(cls, id)
    return fact if fact is not None and isinstance(fact.payload, cls) else None
