"""Measures what is for users to choose: forms, tasks, batches, the journal, the memo, Python's collector."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio.lowlevel
import shape
from measure import Case, Sample, Section, timed
from work import Mapped, Seed, begin, map_all, map_each, settle

from quiesce.engine import Budget, Engine, Suggestor, propose, suggestor
from quiesce.facts import Fact, FactLog, View


@suggestor(name="map-all-unnamed", reads=[Seed], writes=[Mapped])
def map_all_unnamed(view: View) -> Iterator[Any]:
    """Names nothing: no id, no reason."""
    for seed in view.new(Seed):
        yield Mapped(n=seed.payload.n)


@suggestor(name="map-each-awaited")
async def map_each_awaited(seed: Fact[Seed]) -> Mapped:
    """Form 1, each call a task."""
    return Mapped(n=seed.payload.n)


@suggestor(name="map-all-awaited", reads=[Seed], writes=[Mapped])
async def map_all_awaited(view: View) -> list[Any]:
    """Form 2: one task that asks for all at a time."""
    await anyio.lowlevel.checkpoint()
    return [propose(Mapped(n=seed.payload.n), id=seed.id, because=[seed]) for seed in view.new(Seed)]


async def choices(folder: Path) -> Section:
    """The same work, done as one may choose."""
    facts, calls = shape.CHOSEN, shape.CALLS
    context = begin(*(Seed(n=n) for n in range(facts)))

    def mapped(one: Suggestor) -> Callable[[], Awaitable[object]]:
        return settle(Engine([one]), context, 2 * facts)

    numbers = count()

    def in_batches(size: int) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            with FactLog.open(folder / f"batches-{next(numbers)}.db") as log:
                for first in range(0, facts, size):
                    part = begin(*(Seed(n=n) for n in range(first, min(first + size, facts))))
                    await Engine([map_all]).run(part, log=log, budget=Budget(facts=None))

        return run

    return Section(
        f"What a user may choose: {facts:,} facts mapped, {calls:,} calls recorded",
        "the first line is form 1, sync, in memory; batches are runs on one SQLite log, inputs "
        "added in the time; journal and memo are on SQLite, a second run finds in the memo what the first has said",
        [
            Case("Quiesce, form 1, sync", timed(mapped(map_each))),
            Case("Quiesce, form 1, async: a task for each fact", timed(mapped(map_each_awaited))),
            Case("Quiesce, form 2, sync, id and reasons given", timed(mapped(map_all))),
            Case("Quiesce, form 2, async: one task", timed(mapped(map_all_awaited))),
            Case("Quiesce, form 2, sync, id and reasons left out", timed(mapped(map_all_unnamed))),
            Case("Quiesce, form 1, sync, Python's collector off", _without_collector(mapped(map_each))),
            Case("Quiesce, one run of all on SQLite", timed(in_batches(facts))),
            Case("Quiesce, ten runs of a tenth on SQLite", timed(in_batches(facts // 10))),
            Case("Quiesce, 100 runs of a hundredth on SQLite", timed(in_batches(facts // 100))),
            *_recorded(folder),
        ],
    )


def _recorded(folder: Path) -> list[Case]:
    """Calls of which nothing is recorded, and calls that are journaled, memoised, and found in the memo."""
    calls = shape.CALLS
    plain = f"Quiesce, {calls:,} calls on SQLite, pure"
    ways: dict[str, tuple[dict[str, Any], bool]] = {
        plain: ({}, False),
        f"Quiesce, {calls:,} calls on SQLite, journaled (pure=False)": ({"pure": False}, False),
        f"Quiesce, {calls:,} calls on SQLite, memo=True, all new": ({"memo": True}, False),
        f"Quiesce, {calls:,} calls on SQLite, memo=True, all known": ({"memo": True}, True),
    }
    cases: list[Case] = []
    for name, (options, again) in ways.items():
        made: Any = suggestor(name=f"recorded-{len(cases)}", **options)(_call)
        cases.append(Case(name, _calls(folder, f"recorded-{len(cases)}", made, again=again), against=plain))
    return cases


def _call(seed: Fact[Seed]) -> Mapped:
    return Mapped(n=seed.payload.n)


def _calls(folder: Path, name: str, made: Suggestor, *, again: bool) -> Sample:
    engine, numbers = Engine([made]), count()

    async def sample() -> float:
        with FactLog.open(folder / f"{name}-{next(numbers)}.db") as log:
            context = begin(*(Seed(n=n) for n in range(shape.CALLS)))
            if again:
                await engine.run(context, log=log)
            start = perf_counter()
            await engine.run(context, log=log)
            return (perf_counter() - start) * 1_000

    return sample


def _without_collector(work: Callable[[], Awaitable[object]]) -> Sample:
    """Collects by hand after each sample, outside of its time."""
    sample = timed(work)

    async def quiet() -> float:
        gc.disable()
        try:
            return await sample()
        finally:
            gc.enable()
            gc.collect()

    return quiet
