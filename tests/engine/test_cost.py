"""Holds the engine to S3 and S6 by counting, not by clocks: what a cycle costs does not grow with what is known.

A step here is a call or a line of Python, as `sys.settrace` sees them: a scan over all facts or all suggestors is a
step for each of them, however quick it is. What is copied in C takes no steps; it is seen as bytes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Protocol

import pytest
import trio

from quiesce.engine import Budget, Engine, Suggestor, suggestor
from quiesce.facts import Context, Fact, Payload, View

CYCLES = 12
FREE = Budget(cycles=None, facts=None)


class Known(Payload, key="seeds", family="cost-known"):
    """The family of which much is known."""

    n: int


class Tick(Payload, key="signals", family="cost-tick"):
    n: int


class Unheard(Payload, key="signals", family="cost-unheard"):
    """Nobody says it."""


class Edge(Payload, key="seeds", family="cost-edge"):
    a: int
    b: int


class Path(Payload, key="signals", family="cost-path"):
    a: int
    b: int


class Meter(Protocol):
    """Measures from mark to mark, inside its block."""

    found: list[int]

    def mark(self) -> None: ...
    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...


class Steps:
    """Counts the lines and calls of Python code between marks."""

    def __init__(self) -> None:
        self.total = 0
        self.found: list[int] = []
        self._marked = 0

    def mark(self) -> None:
        self.found.append(self.total - self._marked)
        self._marked = self.total

    def __enter__(self) -> Steps:
        gc.disable()  # who listens to the collector would be counted with us
        self._before = sys.gettrace()
        sys.settrace(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)
        gc.enable()

    def _count(self, _frame: object, _event: str, _argument: object) -> Any:
        self.total += 1
        return self._count


class Memory:
    """Notes the bytes that were held at most between marks, beyond those that were held at the first of them."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self._held = 0

    def mark(self) -> None:
        self.found.append(tracemalloc.get_traced_memory()[1] - self._held)
        tracemalloc.reset_peak()
        self._held = tracemalloc.get_traced_memory()[0]

    def __enter__(self) -> Memory:
        tracemalloc.start()
        return self

    def __exit__(self, *error: object) -> None:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def _no_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away the one thing in the loop that goes by the clock: turns for the event loop."""
    monkeypatch.setattr("quiesce.engine.settle.BREATH", inf)


def tick(meter: Meter, cycles: int = CYCLES) -> Suggestor:
    """Returns a suggestor that adds one tick in each cycle."""

    @suggestor(name="cost-tick")
    def work(one: Fact[Tick]) -> Tick | None:
        meter.mark()
        return Tick(n=one.payload.n + 1) if one.payload.n < 1000 + cycles else None

    return work


def tick_async(meter: Meter) -> Suggestor:
    """Returns one that does the same and is awaited."""

    @suggestor(name="cost-tick-async")
    async def work(one: Fact[Tick]) -> Tick | None:
        meter.mark()
        return Tick(n=one.payload.n + 1) if one.payload.n < 1000 + CYCLES else None

    return work


def grow(meter: Meter) -> Suggestor:
    """Returns one that adds to the very family of which much is known, and looks one up in it."""

    @suggestor(name="cost-grow", reads=[Known], writes=[Known])
    def work(view: View) -> Known | None:
        meter.mark()
        one, last = view.get(Known, "0"), view.new(Known)[-1]
        return Known(n=min(last.payload.n, 0) - 1) if one is not None and last.payload.n > -CYCLES else None

    return work


TICKING: list[Callable[[Any], Suggestor]] = [tick, tick_async, grow]


def knowing(known: int) -> Context:
    """Returns a context of so many facts, and a first tick."""
    context = Context()
    context.add(Tick(n=1000))
    for n in range(known):
        context.add(Known(n=n), id=str(n))
    return context


async def measure(meter: Meter, engine: Engine, context: Context) -> list[int]:
    """Returns what each cycle cost, from the third on: those before meet everything for the first time."""
    with meter:
        (await engine.run(context, budget=FREE)).unwrap()
    return meter.found[3:]


@pytest.mark.parametrize("ticking", TICKING)
async def test_a_cycle_takes_no_more_steps_however_many_facts_are_known(ticking: Callable[[Meter], Suggestor]) -> None:
    """Not one more: with a hundred known, and with ten thousand."""
    few, many = Steps(), Steps()
    with_few = await measure(few, Engine([ticking(few)]), knowing(100))
    with_many = await measure(many, Engine([ticking(many)]), knowing(10_000))

    assert with_few == with_many
    assert len(with_few) == CYCLES - 2


@pytest.mark.parametrize("ticking", [tick, tick_async])
async def test_a_cycle_copies_no_more_however_many_facts_are_known(ticking: Callable[[Meter], Suggestor]) -> None:
    """A copy of ten thousand references would be 80,000 bytes."""
    few, many = Memory(), Memory()
    with_few = await measure(few, Engine([ticking(few)]), knowing(100))
    with_many = await measure(many, Engine([ticking(many)]), knowing(10_000))

    assert max(with_many) < max(with_few) + 4_000


def idle(number: int) -> list[Suggestor]:
    """Returns suggestors that wait for what nobody says, and might write what is read."""

    def wait(view: View) -> None:
        raise AssertionError

    return [suggestor(name=f"idle-{place}", reads=[Unheard], writes=[Tick])(wait) for place in range(number)]


@pytest.mark.parametrize("ticking", [tick, tick_async])
async def test_a_cycle_takes_no_more_steps_however_many_suggestors_are_idle(
    ticking: Callable[[Meter], Suggestor],
) -> None:
    """Not one more: with ten that nothing wakes, and with five hundred."""
    few, many = Steps(), Steps()
    with_few = await measure(few, Engine([ticking(few), *idle(10)]), knowing(0))
    with_many = await measure(many, Engine([ticking(many), *idle(500)]), knowing(0))

    assert with_few == with_many
    assert len(with_few) == CYCLES - 2


@pytest.mark.parametrize("ticking", [tick, tick_async])
async def test_every_cycle_of_a_run_takes_the_same_steps(ticking: Callable[[Meter], Suggestor]) -> None:
    """So a run's cost is linear in its cycles: the last one knows all that the others have said."""
    steps = Steps()
    found = await measure(steps, Engine([ticking(steps)]), knowing(0))

    assert [found[0]] * (CYCLES - 2) == found


async def closure(edges: int) -> int:
    """Returns the steps that the transitive closure of a chain takes."""

    @suggestor
    def first(edge: Fact[Edge]) -> Path:
        return Path(a=edge.payload.a, b=edge.payload.b)

    @suggestor(reads=[Path, Edge], writes=[Path])
    def further(view: View) -> Iterator[Path]:
        for path in view.new(Path):
            edge = view.get(Edge, str(path.payload.b))
            if edge is not None:
                yield Path(a=path.payload.a, b=edge.payload.b)

    context = Context()
    for a in range(edges):
        context.add(Edge(a=a, b=a + 1), id=str(a))
    steps = Steps()
    with steps:
        result = await Engine([first, further]).run(context)
    assert edges * (edges + 1) // 2 == len(result.context.of(Path))
    return steps.total


async def test_a_closure_takes_steps_in_proportion_to_its_cycles_and_facts() -> None:
    """A chain of n edges has n cycles and n(n + 1)/2 paths: so the steps are quadratic in n, exactly."""
    await closure(3)  # what is looked up once in a process is looked up now
    steps = [await closure(edges) for edges in (10, 20, 30, 40)]
    third_difference = steps[3] - 3 * steps[2] + 3 * steps[1] - steps[0]

    assert 0 == third_difference, f"steps for 10, 20, 30 and 40 edges: {steps}"


async def log_bytes(cycles: int, known: int = 0) -> int:
    """Returns the size of a run's log."""
    result = await Engine([tick(Memory(), cycles)]).run(knowing(known), budget=FREE, run_id="r", seed=1)
    return len(result.log.to_bytes("r"))


async def test_a_cycle_adds_the_same_bytes_to_the_log_however_long_the_run() -> None:
    """Cycles 200 to 299 and 800 to 899: each number in them has as many digits."""
    early = await log_bytes(299) - await log_bytes(199)
    late = await log_bytes(899) - await log_bytes(799)

    assert early == late


async def test_a_cycle_adds_the_same_bytes_to_the_log_however_much_is_known() -> None:
    with_few = await log_bytes(20, known=10) - await log_bytes(10, known=10)
    with_many = await log_bytes(20, known=1_000) - await log_bytes(10, known=1_000)

    assert with_few == with_many


class _Spawned(trio.abc.Instrument):
    """Counts tasks as the event loop makes them, on asyncio and on trio."""

    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: object) -> None:
        self.count += 1

    def make(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        self.count += 1
        return asyncio.Task(work, loop=loop, **options)


@contextmanager
def spawned(backend: str) -> Iterator[_Spawned]:
    """Counts the tasks that are made inside the block."""
    counter = _Spawned()
    if backend == "trio":
        trio.lowlevel.add_instrument(counter)
        yield counter
        trio.lowlevel.remove_instrument(counter)
    else:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(counter.make)
        yield counter
        loop.set_task_factory(None)


def also(one: Suggestor, name: str) -> Suggestor:
    """Returns a suggestor that does the same under another name."""
    made: Suggestor = suggestor(name=name)(one.call)
    return made


@pytest.mark.parametrize(
    ("suggestors", "tasks"),
    [
        pytest.param([tick(Memory())], 0, id="one sync"),
        pytest.param([tick(Memory()), also(tick(Memory()), "other")], 0, id="two sync"),
        pytest.param([tick_async(Memory())], 0, id="a chain of async ones"),
        pytest.param([tick_async(Memory()), tick(Memory())], CYCLES + 1, id="an async one beside a sync one"),
        pytest.param(
            [tick_async(Memory()), also(tick_async(Memory()), "other")],
            CYCLES + 1,
            id="two async, of which neither waits",
        ),
    ],
)
async def test_a_task_is_made_only_for_what_runs_side_by_side(
    suggestors: list[Suggestor], tasks: int, anyio_backend_name: str
) -> None:
    """Sync suggestors, and an async one that is all there is to do, are called where the loop stands."""
    with spawned(anyio_backend_name) as counter:
        result = await Engine(suggestors).run(knowing(0))

    assert (tasks, CYCLES + 1) == (counter.count, len(result.context.of(Tick)))
