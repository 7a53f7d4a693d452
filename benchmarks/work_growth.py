"""Measures what a cycle costs that adds one fact, with a thousand facts known and with a million."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from measure import Case, Sample, Section, Target

from quiesce.engine import Budget, Engine, Suggestor, suggestor
from quiesce.facts import Context, Fact, Payload, View

FEW, MANY, CYCLES = 1_000, 1_000_000, 500


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

    def cycle(self, make: Callable[[Watch], Suggestor]) -> Sample:
        """Returns a sample of what a cycle costs."""

        async def sample() -> float:
            watch = Watch()
            self.runs += 1
            self.context.add(Tick(n=self.runs * 10 * CYCLES))
            self.context.add(Known(n=-self.runs * 10 * CYCLES))
            result = await Engine([make(watch)]).run(self.context, budget=Budget(cycles=None, facts=None))
            result.unwrap()
            self.context = result.context
            return watch.read()

        return sample


async def growth() -> Section:
    """The cost of a cycle beside the number of facts known."""
    growing = {known: await _knowing(known) for known in (FEW, MANY)}
    cases = []
    for name, make in (
        ("to another family", apart),
        ("to another family, async", apart_async),
        ("to the big family itself", within),
    ):
        few, many = (f"one fact {name}, {known:,} known" for known in (FEW, MANY))
        cases.append(Case(few, growing[FEW].cycle(make), "µs", against=few))
        cases.append(Case(many, growing[MANY].cycle(make), "µs", Target(1.2, "ratio", "at most"), against=few))
    return Section(
        "A cycle that adds one fact",
        f"mean of {CYCLES} cycles inside a run that goes on from what is known, memory log on; "
        f"the ratio is to the line above",
        cases,
    )


async def _knowing(known: int) -> Growing:
    context = Context()
    for n in range(known):
        context.add(Known(n=n), id=str(n))
    result = await Engine([]).run(context, budget=Budget(cycles=None, facts=None))
    return Growing(result.context)
