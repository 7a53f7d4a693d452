"""Measures what a cycle costs that adds one fact, with a thousand facts known, with more, and with a million."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import shape
from measure import Case, Sample, Section, Target
from shape import CYCLES

from quiesce.engine import Budget, Engine, Suggestor, suggestor
from quiesce.facts import Context, Fact, Payload, View


class Known(Payload, key="seeds"):
    n: int


class Tick(Payload, key="signals"):
    n: int


class Watch:
    """Notes when each cycle calls its suggestor."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def look(self) -> bool:
        """Notes the moment and tells whether there is another cycle to come."""
        self.moments.append(perf_counter())
        return len(self.moments) < CYCLES

    def read(self) -> float:
        """Returns the microseconds of a cycle: the mean from the second call, when all is known, to the last."""
        moments = self.moments[1:]
        return (moments[-1] - moments[0]) / (len(moments) - 1) * 1e6


def apart(watch: Watch) -> Suggestor:
    """Returns a suggestor that adds to another family than the big one."""

    @suggestor
    def tick(one: Fact[Tick]) -> Tick | None:
        return Tick(n=one.payload.n + 1) if watch.look() else None

    return tick


def apart_async(watch: Watch) -> Suggestor:
    """Returns one that does the same and is awaited."""

    @suggestor
    async def tick(one: Fact[Tick]) -> Tick | None:
        return Tick(n=one.payload.n + 1) if watch.look() else None

    return tick


def within(watch: Watch) -> Suggestor:
    """Returns one that adds to the big family itself, and looks one fact up in it."""

    @suggestor(reads=[Known], writes=[Known])
    def grow(view: View) -> Known | None:
        last, first = view.new(Known)[-1], view.get(Known, "0")
        return Known(n=last.payload.n - 1) if watch.look() and first is not None else None

    return grow


class Growing:
    """A context that goes on from run to run: what is known stays, and each run adds little to it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.runs = 0

    def cycle(self, make: Callable[[Watch], Suggestor], begin: Callable[[int], Payload]) -> Sample:
        """Returns a sample of what a cycle costs; `begin` makes the one fact that wakes the suggestor."""

        async def sample() -> float:
            watch = Watch()
            self.runs += 1
            self.context.add(begin(self.runs * 10 * CYCLES))
            result = await Engine([make(watch)]).run(self.context, budget=Budget(cycles=None, facts=None))
            cycles = result.unwrap().context.trail.cycle - self.context.trail.cycle
            if cycles != 1 + CYCLES:  # the input's own, then one for each call
                raise AssertionError(f"there were {cycles} cycles for {CYCLES} calls: not one fact in each")
            self.context = result.context
            return watch.read()

        return sample


def fresh(context: Context) -> Sample:
    """Returns a sample of what a cycle costs in the very run that takes in everything that is known."""

    async def sample() -> float:
        watch = Watch()
        result = await Engine([apart(watch)]).run(context, budget=Budget(cycles=None, facts=None))
        result.unwrap()
        return watch.read()

    return sample


async def growth() -> Section:
    """The cost of a cycle beside the number of facts known."""
    added = {known: _added(known) for known in shape.KNOWN}
    growing = {known: await _settled(context) for known, context in added.items()}
    most = shape.KNOWN[-1]
    cases = [
        Case(f"Quiesce, one fact {name}", growing[known].cycle(make, begin), "µs", _held(known), size=known)
        for name, make, begin in (
            ("to another family", apart, _tick),
            ("to another family, async", apart_async, _tick),
            ("to the big family itself", within, _known),
        )
        for known in shape.KNOWN
    ]
    cases += [
        Case("Quiesce, with all as inputs of this run", fresh(added[known]), "µs", size=known) for known in shape.KNOWN
    ]
    return Section(
        f"A cycle that adds one fact where up to {most:,} are known",
        f"mean of {CYCLES} cycles, memory log on, in a run that goes on from what is known; the slope says whether "
        "it is "
        "constant. In the last series most of the growth is Python's collector, which meets the long list of "
        "inputs once",
        cases,
        of="known",
    )


def _held(known: int) -> Target | None:
    """Constant: fifty times as many may cost a fifth more."""
    return Target(0.05, on="slope", kind="at most") if known == shape.KNOWN[-1] else None


def _tick(run: int) -> Tick:
    return Tick(n=run)


def _known(run: int) -> Known:
    return Known(n=-run)


def _added(known: int) -> Context:
    context = Context()
    context.add(Tick(n=0))
    for n in range(known):
        context.add(Known(n=n), id=str(n))
    return context


async def _settled(context: Context) -> Growing:
    result = await Engine([apart(Watch())]).run(context, budget=Budget(cycles=None, facts=None))
    return Growing(result.context)
