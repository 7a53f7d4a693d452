"""Lets tests decide who finishes when: named turns, a clock moved by hand, and simulated finishing orders.

Users test their own suggestors with it. `simulate` is the quickest way to find out that a suggestor is not
deterministic: it runs one input under many finishing orders, without real time, and shows the first that leaves another
log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from random import Random
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel

from ..facts import Context, FactLog
from ..facts.event import RunStopped
from .answer import Invocation
from .clock import Clock
from .engine import Engine
from .errors import EngineError
from .executor import Ended, Executor
from .invoke import call_patiently, failed
from .observe import Committed, InvocationEnded, InvocationStarted, Notice, RunEnded, Teller

_ROUNDS = 20
"""How often other tasks get a turn before a test goes on: enough for a woken task to reach its next wait."""


class Turns:
    """Decides which invocation ends next: an observer of the engine, and a gate inside suggestors.

    ```python
    turns = Turns()

    @suggestor
    async def price(order: Fact[Order]) -> Price:
        await turns.take("price")                 # waits here until the test releases it
        return Price(cents=100)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Engine([price, stock], observers=[turns]).run, context)
        await turns.release("stock")              # returns once the engine has seen that it ended
        await turns.release("price")
    ```
    """

    def __init__(self) -> None:
        self._permits: dict[str, int] = {}
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._released: dict[str, int] = {}
        self._stopped = False
        self._changed = anyio.Event()

    def __call__(self, notice: Notice) -> None:
        """Takes a notice of the engine."""
        match notice:
            case InvocationStarted():
                self._started[notice.suggestor] = self._started.get(notice.suggestor, 0) + 1
            case InvocationEnded():
                self._ended[notice.suggestor] = self._ended.get(notice.suggestor, 0) + 1
            case Committed():
                self._stopped = isinstance(notice.event, RunStopped)
            case RunEnded():
                self._stopped = True
        self._ring()

    async def take(self, name: str) -> None:
        """Waits, inside a suggestor, until the test releases this name once more."""
        while not self._permits.get(name, 0):
            await self._changed.wait()
        self._permits[name] -= 1

    async def release(self, name: str) -> None:
        """Lets one invocation go on and returns once it has ended."""
        self._released[name] = self._released.get(name, 0) + 1
        self._permits[name] = self._permits.get(name, 0) + 1
        self._ring()
        await self._until(lambda: self._ended.get(name, 0) >= self._released[name], f"{name!r} ended")

    async def started(self, name: str, times: int = 1) -> None:
        """Returns once a suggestor has been called so many times."""
        await self._until(lambda: self._started.get(name, 0) >= times, f"{name!r} started {times} times")

    def has_started(self, name: str) -> bool:
        """Tells whether a suggestor has been called."""
        return self._started.get(name, 0) > 0

    async def _until(self, is_so: Callable[[], bool], what: str) -> None:
        while not is_so():
            if self._stopped:
                raise AssertionError(f"the run stopped before {what}")
            await self._changed.wait()

    def _ring(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@dataclass(slots=True)
class FakeTimer:
    """A block under a fake clock that is left once the test has moved the time far enough."""

    deadline: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    expired: bool = False

    @property
    def cancelled_caught(self) -> bool:
        """The time ran out and the block was left early."""
        return self.expired and self.scope.cancelled_caught


class FakeClock:
    """A clock that stands still until a test moves it: `Engine(…, clock=FakeClock())`.

    ```python
    clock = FakeClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Engine([slow], clock=clock).run, context)
        await clock.advance(30)                   # timeouts, retries and rates that are due happen now
    ```
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._seconds = 0.0
        self._turn = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> datetime:
        """Returns the start, moved by what the clock was advanced."""
        return self._start + timedelta(seconds=self._seconds)

    def seconds(self) -> float:
        """Returns how far the clock was advanced."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Waits until the test has advanced the clock so far."""
        if seconds > 0:
            bell = anyio.Event()
            self._at(self._seconds + seconds, bell.set)
            await bell.wait()
        else:
            await anyio.lowlevel.checkpoint()

    @contextmanager
    def timeout(self, seconds: float) -> Iterator[FakeTimer]:
        """Returns a block that is left early once the clock was advanced so far."""
        timer = FakeTimer(self._seconds + seconds)

        def expire() -> None:
            timer.expired = True
            timer.scope.cancel()

        if seconds <= 0:
            expire()
        else:
            self._at(timer.deadline, expire)
        with timer.scope:
            yield timer

    async def advance(self, seconds: float) -> None:
        """Moves the time forward, stopping at every moment at which something is due."""
        await _let_others_run()
        end = self._seconds + seconds
        while self._due and self._due[0][0] <= end:
            self._seconds, _, happen = heappop(self._due)
            happen()
            await _let_others_run()
        self._seconds = end
        await _let_others_run()

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        heappush(self._due, (moment, next(self._turn), happen))


async def _let_others_run() -> None:
    for _ in range(_ROUNDS):
        await anyio.lowlevel.checkpoint()


class SimulatedFault(Exception):
    """What a simulated invocation raises in place of its suggestor's answer."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event in which a simulated run differs from the reference."""

    seed: int
    event: int
    reference: str
    """The event in the reference, as text; empty if it has fewer events."""
    found: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: event {self.event} differs from the reference\n"
            f"  reference: {_shown(self.reference)}\n  this seed: {_shown(self.found)}\n"
            f"A suggestor's answer depends on something besides its view: a clock, a random number, an order of sets, "
            f"an object that it shares with another. Take these from view.now, view.rng, sorted(…)"
        )


@dataclass(frozen=True, slots=True)
class Simulation:
    """What `simulate` found."""

    log: bytes
    """The log of the reference."""
    runs: int
    divergence: Divergence | None = None

    @property
    def ok(self) -> bool:
        """Every finishing order left the same log."""
        return self.divergence is None

    def unwrap(self) -> Simulation:
        """Returns itself, or raises AssertionError with the first event that differs."""
        if self.divergence is not None:
            raise AssertionError(str(self.divergence))
        return self


async def simulate(
    engine: Engine,
    context: Context,
    *,
    seeds: Iterable[int] = range(100),
    faults: float = 0.0,
    fault_seed: int = 0,
    **options: Any,
) -> Simulation:
    """Runs one input under many random finishing orders, without real time, and compares the logs byte for byte.

    The reference is the loop with a barrier and no latency. Each seed draws a latency for every invocation, sync
    suggestors among them, and works ahead as the engine does. `faults` is the share of invocations that fail; which
    ones depends on `fault_seed` alone, so it is the same in every run. Stops at the first seed whose log differs.
    Other options are those of `Engine.run`.
    """
    fixed: dict[str, Any] = {"run_id": "simulated", "seed": 0, "started": datetime(2026, 1, 1, tzinfo=UTC), **options}

    async def log_of(seed: int | None, lookahead: int | None) -> bytes:
        def executor(clock: Clock, teller: Teller | None) -> Executor:
            return Simulated(clock, teller, seed, faults, fault_seed)

        variant = engine._variant(executor, lookahead)
        result = await variant.run(context, log=FactLog.open(), **fixed)
        return result.log.to_bytes(result.run_id)

    reference = await log_of(None, 0)
    runs = 0
    for seed in seeds:
        found = await log_of(seed, engine.lookahead)
        runs += 1
        if found != reference:
            return Simulation(reference, runs, _find_divergence(seed, reference, found))
    return Simulation(reference, runs)


async def assert_deterministic(
    engine: Engine, context: Context, *, seeds: Iterable[int] = range(100), faults: float = 0.0, **options: Any
) -> None:
    """Raises AssertionError, with the first event that differs, unless every finishing order leaves the same log."""
    simulation = (await simulate(engine, context, seeds=seeds, faults=faults, **options)).unwrap()
    if not simulation.runs:
        raise EngineError("assert_deterministic was given no seeds, so it has shown nothing")


class Simulated:
    """An executor in which invocations end in an order drawn from a seed; nothing runs side by side and no time passes.

    Without a seed they end in the order in which they were submitted.
    """

    def __init__(
        self,
        clock: Clock,
        teller: Teller | None,
        seed: int | None,
        faults: float = 0.0,
        fault_seed: int = 0,
    ) -> None:
        self._clock, self._teller = clock, teller
        self._random = None if seed is None else Random(seed)
        self._faults, self._fault_seed = faults, fault_seed
        self._now = 0.0
        self._turn = count()
        self._under_way: list[tuple[float, int, Invocation]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._under_way.clear()
        return None

    def submit(self, invocation: Invocation) -> None:
        """Takes an invocation and draws how long it will be under way."""
        latency = 0.0 if self._random is None else self._random.choice((0.0, 0.1, 1.0, 10.0)) * self._random.random()
        heappush(self._under_way, (self._now + latency, next(self._turn), invocation))

    async def kick(self) -> None:
        """Does nothing: nothing runs before it ends."""

    async def wait(self) -> list[Ended]:
        """Calls the suggestor that ends next, and perhaps those right behind it."""
        ended = [await self._end_next()]
        while self._under_way and self._random is not None and self._random.random() < 0.2:
            ended.append(await self._end_next())
        return ended

    def wake(self) -> None:
        """Does nothing: `wait` never sleeps."""

    async def _end_next(self) -> Ended:
        self._now, _, invocation = heappop(self._under_way)
        if self._teller is not None:
            self._teller.began(invocation)
        if self._is_faulty(invocation):
            outcome = failed(invocation, SimulatedFault("this call was made to fail"))
        else:
            outcome = await call_patiently(invocation, _NoPauses(self._clock))
        if self._teller is not None:
            self._teller.ended(invocation, outcome)
        return invocation, outcome

    def _is_faulty(self, invocation: Invocation) -> bool:
        trigger = invocation.trigger.ref if invocation.trigger is not None else ""
        name = f"{self._fault_seed}/{invocation.suggestor.name}/{invocation.cycle}/{trigger}"
        return int.from_bytes(sha256(name.encode()).digest()[:4]) < self._faults * 2**32


class _NoPauses:
    """A clock under which pauses between attempts take no time."""

    def __init__(self, clock: Clock) -> None:
        self.now, self.seconds, self.timeout = clock.now, clock.seconds, clock.timeout

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002  the name in the protocol
        """Only lets others run."""
        await anyio.lowlevel.checkpoint()


def _find_divergence(seed: int, reference: bytes, found: bytes) -> Divergence:
    ours, theirs = _events(reference), _events(found)
    for number in range(max(len(ours), len(theirs))):
        one = ours[number] if number < len(ours) else ""
        two = theirs[number] if number < len(theirs) else ""
        if one != two:
            return Divergence(seed, number, one, two)
    return Divergence(seed, len(ours), "", "payloads differ under equal digests")


def _events(log: bytes) -> list[str]:
    return [line.decode() for line in log.split(b"\n") if line.startswith(b'{"event":')]


def _shown(event: str) -> str:
    if not event:
        return "(no such event)"
    start = event.find('"kind"')
    text = event[start:]
    return text if len(text) <= 1000 else text[:1000] + "…"


__all__ = [
    "Divergence",
    "FakeClock",
    "FakeTimer",
    "Simulated",
    "SimulatedFault",
    "Simulation",
    "Turns",
    "assert_deterministic",
    "simulate",
]
