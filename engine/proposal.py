"""Lets a suggestor say more than a payload: under which id, because of what, how surely, at what cost."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Generic, TypeVar

from ..facts import Fact, Payload
from .errors import InvalidOption

P = TypeVar("P", bound=Payload)
P_co = TypeVar("P_co", bound=Payload, covariant=True)


class Proposal(Generic[P_co]):
    """What a suggestor would like to be known. Made by `propose`."""

    __slots__ = ("because", "confidence", "cost", "id", "payload", "tokens")

    def __init__(
        self,
        payload: P_co,
        id: str | None = None,
        because: tuple[Fact[Any] | str, ...] | None = None,
        confidence: float = 1.0,
        tokens: int = 0,
        cost: float = 0.0,
    ) -> None:
        self.payload = payload
        self.id = id
        self.because = because
        self.confidence = confidence
        self.tokens = tokens
        self.cost = cost

    def __repr__(self) -> str:
        return f"<Proposal {self.payload!r} id={self.id!r} confidence={self.confidence!r}>"


def propose(
    payload: P,
    *,
    id: str | None = None,
    because: Iterable[Fact[Any] | str] | None = None,
    confidence: float = 1.0,
    tokens: int = 0,
    cost: float = 0.0,
) -> Proposal[P]:
    """Returns a proposal to return or yield from a suggestor.

    ```python
    propose(Plan(queue="billing"), id=ticket.id, because=[ticket], confidence=0.9)
    ```

    Without an id it is named by its content; without `because` it rests on what the view handed out through `new` and
    `get` (in the per-fact form: on its trigger). `tokens` and `cost` count against the run's budget.
    """
    if tokens.__class__ is not int or tokens < 0:
        raise InvalidOption("tokens", tokens, "a whole number from 0")
    if cost.__class__ not in (float, int) or not 0 <= cost < inf:
        raise InvalidOption("cost", cost, "a finite number from 0")
    if isinstance(because, str):
        raise InvalidOption("because", because, "a list of facts or refs")
    return Proposal(payload, id, None if because is None else tuple(because), confidence, tokens, cost)
