"""Finds out who is woken: whoever reads what is new."""

from __future__ import annotations

from collections.abc import Iterable

from .run import Run
from .suggestor import Suggestor


def wake(run: Run, families: Iterable[str], cycle: int) -> list[Suggestor]:
    """Returns the suggestors that new facts of some families wake in a cycle, and makes them pending there."""
    woken: list[Suggestor] = []
    for family in families:
        for suggestor in run.plan.graph.woken_by(family):
            found = run.cycle(cycle)
            if suggestor.place not in found.pending:
                found.pending[suggestor.place] = suggestor
                found.open += 1
                woken.append(suggestor)
    return woken


def wake_first(run: Run, cycle: int) -> list[Suggestor]:
    """Returns the suggestors for which a context holds something that they have not seen, at the start of a run."""
    woken: list[Suggestor] = []
    for suggestor in run.plan.graph.suggestors:
        if _has_news(run, suggestor):
            found = run.cycle(cycle)
            found.pending[suggestor.place] = suggestor
            found.open += 1
            woken.append(suggestor)
    return woken


def _has_news(run: Run, suggestor: Suggestor) -> bool:
    seen = run.seen.get(suggestor.name)
    shelves = run.context._shelves
    wakes = tuple(shelves) if suggestor.wakes is None else suggestor.wakes
    if not wakes:
        return seen is None  # it reads nothing: it runs once
    sizes = seen.sizes if seen is not None else {}
    return any(name in shelves and shelves[name].size > sizes.get(name, 0) for name in wakes)
