"""Reads from a log what was decided and what came of it, over all of its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...facts import Fact, FactLog
from .payloads import Outcome, RouteDecision


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decision, and the reward that came of it."""

    request: str
    decision: RouteDecision
    reward: float | None
    """None: nothing has come of it yet, or nothing that says anything about its provider."""
    run: str = ""


Reward = Callable[[Outcome], float | None]
"""What an outcome is worth; None if it says nothing about its provider."""


def gained(outcome: Outcome) -> float | None:
    """Returns the reward that an outcome states: what providers are judged by."""
    return outcome.gained


def logged_decisions(log: FactLog, reward: Reward = gained) -> list[LoggedDecision]:
    """Returns every decision of a log with its reward, in the order of the runs.

    An outcome belongs to the decision of its own run, or else to the latest decision before it under that id. It has
    to name the provider of the decision: what came of another provider's help is no reward for this one. Of several
    the last counts.
    """
    found: list[tuple[str, str, RouteDecision]] = []
    places: dict[tuple[str, str], int] = {}
    latest: dict[str, int] = {}
    rewards: dict[int, float] = {}
    for run in log.runs():
        outcomes: list[Outcome] = []
        for payload, id in _said(log, run):
            if isinstance(payload, RouteDecision):
                places[run, id] = latest[id] = len(found)
                found.append((run, id, payload))
            else:
                outcomes.append(payload)
        for outcome in outcomes:
            place = places.get((run, outcome.request_id), latest.get(outcome.request_id))
            worth = reward(outcome)
            if place is not None and worth is not None and found[place][2].provider == outcome.provider:
                rewards[place] = worth
    return [LoggedDecision(id, decision, rewards.get(place), run) for place, (run, id, decision) in enumerate(found)]


def _said(log: FactLog, run: str) -> Iterator[tuple[RouteDecision | Outcome, str]]:
    for logged in log.events(run):
        if logged.event.kind not in ("cycle_committed", "compacted"):
            continue
        facts: list[Fact[object]] = list(getattr(logged.event, "facts", ()))  # type: ignore[type-var]  # any payload
        for fact in facts:
            if isinstance(fact.payload, (RouteDecision, Outcome)):
                yield fact.payload, fact.id
