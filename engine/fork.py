"""Asks "what if": runs on from any point of a run with other inputs or other suggestors, beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..facts import Context, Fact, FactLog, Payload
from ..facts.branch import Branch, find_branch
from ..facts.view import Moment
from .begin import Had, begin
from .budget import Budget
from .cancel import CancelSwitch
from .errors import DuplicateName, InvalidOption, UnknownSuggestor
from .goal import Goal
from .observe import Observer
from .options import check_log, is_whole, run_id_or_random, seed_or_random, with_zone
from .result import Result
from .suggestor import Suggestor, as_suggestor

if TYPE_CHECKING:
    from .engine import Engine


async def fork(
    engine: Engine,
    log: FactLog,
    run: Result | str,
    *,
    at: int | None = None,
    add: Iterable[Any] = (),
    replace: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    seed: int | None = None,
    started: datetime | None = None,
    budget: Budget | None = None,
    packs: Iterable[str] | None = None,
    goals: Iterable[Goal] = (),
    stop_when_met: bool | None = None,
    observers: Iterable[Observer] = (),
    cancel: CancelSwitch | None = None,
) -> Result:
    """Runs on from a point of a run as a run of its own; `Engine.fork` says the rest."""
    if at is not None and not is_whole(at, -1):
        raise InvalidOption("at", at, "a cycle: 0 is after the inputs, -1 before them, None the end of the run")
    given = run_id_or_random(run_id)
    branch = find_branch(check_log(log), run.run_id if isinstance(run, Result) else run, at)
    _say(branch.context, add)
    recast, replaced = _recast(engine, replace or {})
    had = Had.of(branch.settings)
    asked = tuple(goals)
    plan = recast._plan(
        budget if budget is not None else had.budget,
        packs if packs is not None else _packs_left(had, engine, recast),
        asked,
        stop_when_met if stop_when_met is not None else had.stop_when_met and bool(asked),
        observers,
    )
    moment = Moment(given, *_seed_and_time(branch, seed, started))
    forked = begin(plan, branch.context, log, moment, recast._executor, replaced)
    return await recast._settle(forked, cancel)


def _seed_and_time(branch: Branch, seed: int | None, started: datetime | None) -> tuple[int, datetime]:
    """Returns those of the parent unless others are given, so that a fork differs only by what was asked for."""
    return (
        branch.seed if seed is None else seed_or_random(seed),
        branch.now if started is None else with_zone(started),
    )


def _say(context: Context, add: Iterable[Any]) -> None:
    if isinstance(add, (Payload, Fact, str, Mapping)) or not isinstance(add, Iterable):
        raise InvalidOption("add", add, "a list of payloads, (payload, id) or facts. Write: add=[…]")
    for item in add:
        match item:
            case Fact():
                context.add(item.payload, item.id, confidence=item.confidence)
            case Payload():
                context.add(item)
            case (Payload() as payload, str() | None as id):
                context.add(payload, id)
            case _:
                raise InvalidOption("add", item, "a payload, a (payload, id) or a fact")


def _recast(engine: Engine, replace: Mapping[str, Any]) -> tuple[Engine, dict[str, str]]:
    """Returns an engine in which others stand in the places of some, and who stands for whom."""
    if not isinstance(replace, Mapping):
        raise InvalidOption("replace", replace, "a dict. Write: replace={name: suggestor}, or {name: None} for nobody")
    present = {one.name: one for one in engine.suggestors}
    for name in replace:
        if name not in present:
            raise UnknownSuggestor(name, tuple(present))
    cast: dict[str, Suggestor] = {}
    replaced: dict[str, str] = {}
    for name, one in present.items():
        made = one
        if name in replace:
            if replace[name] is None:
                continue
            made = as_suggestor(replace[name], one.pack, one.place)
            replaced[made.name] = name
        if made.name in cast:
            raise DuplicateName(made.name, cast[made.name].origin, made.origin)
        cast[made.name] = made
    recast = copy(engine)
    recast._suggestors, recast._graphs = cast, {}
    return recast, replaced


def _packs_left(had: Had, engine: Engine, recast: Engine) -> tuple[str, ...] | None:
    """Returns the packs of the parent, without those of which nobody is left."""
    if had.packs is None:
        return None
    return tuple(pack for pack in had.packs if pack in recast.packs or pack not in engine.packs)
