"""Tells how the suggestors at hand differ from those that a run was made with, so that nobody goes on with it unawares.

A run may be paused for days, and the code upgraded meanwhile. The log holds the print of every suggestor that took
part, with the gates and invariants; whatever is not as it was is named, all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..facts.trail import SuggestorPrint, Trail
from .errors import ChangedSuggestors
from .run import Plan
from .suggestor import Suggestor


def check_cast(run: str, trail: Trail, plan: Plan, at_hand: Sequence[Suggestor] = ()) -> None:
    """Raises ChangedSuggestors unless a run can go on with a plan as it was last started or resumed.

    `at_hand` is every suggestor of the engine: one that is left out only because other packs were asked for has not
    changed. What the log does not say (logs written by hand) is not compared.
    """
    changes = tuple(find_changes(trail, plan, at_hand))
    if changes:
        raise ChangedSuggestors(run, changes)


def find_changes(trail: Trail, plan: Plan, at_hand: Sequence[Suggestor] = ()) -> Iterator[str]:
    """Yields each difference between what a run recorded and what it would go on with, a clause each."""
    yield from _suggestors(trail, plan, at_hand)
    settings = trail.settings
    if "gates" in settings:
        yield from _named("gate", settings["gates"], [gate.to_json() for gate in plan.gates])
    if "invariants" in settings:
        present = [{"name": known.name, "on": known.on} for known in plan.invariants]
        yield from _named("invariant", settings["invariants"], present)


def _suggestors(trail: Trail, plan: Plan, at_hand: Sequence[Suggestor]) -> Iterator[str]:
    present = {known.name: known for known in plan.graph.prints}
    packs = {one.name: one.pack for one in (*at_hand, *plan.graph.suggestors)}
    then = trail.settings.get("packs")
    packs_then = None if then is None else tuple(then)
    recorded = {name: trail.prints[name] for name in trail.cast if name in trail.prints}
    for name, was in recorded.items():
        if name in present:
            differences = "; ".join(_differences(was, present[name]))
            if differences:
                yield f"suggestor {name!r} has changed: {differences}"
        elif name not in packs or packs_then == plan.packs:
            yield f"suggestor {name!r} is missing"
    for name in present:
        is_of_other_pack = then is not None and packs[name] is not None and packs[name] not in then
        if name not in recorded and not is_of_other_pack:
            yield f"suggestor {name!r} is new"
    before = [name for name in recorded if name in present]
    now = [name for name in present if name in recorded]
    if before != now:  # who comes first wins where two contest
        yield f"the order of suggestors has changed: {', '.join(before)} → {', '.join(now)}"


def _differences(was: SuggestorPrint, now: SuggestorPrint) -> Iterator[str]:
    for part in fields(SuggestorPrint):
        old, new = getattr(was, part.name), getattr(now, part.name)
        if isinstance(old, tuple):  # the order in which families are declared changes nothing
            if set(old) != set(new):
                yield f"{part.name} {', '.join(sorted(old)) or 'nothing'} → {', '.join(sorted(new)) or 'nothing'}"
        elif old != new:
            yield f"{part.name} {old!r} → {new!r}"


def _named(what: str, was: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    recorded = {one.get("name"): one for one in was}
    present = {one.get("name"): one for one in now}
    for name, old in recorded.items():
        new = present.get(name)
        if new is None:
            yield f"{what} {name!r} is missing"
        elif differences := [
            f"{part} {old.get(part)!r} → {new.get(part)!r}" for part in new if old.get(part) != new.get(part)
        ]:
            yield f"{what} {name!r} has changed: {'; '.join(differences)}"
    for name in present:
        if name not in recorded:
            yield f"{what} {name!r} is new"
