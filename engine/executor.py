"""Runs invocations side by side: tasks under limits, and one call at a time without any task."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Protocol, Self, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from ..facts import InternalError
from .answer import Invocation, Outcome
from .clock import Clock
from .invoke import call_patiently, failed
from .observe import Teller

Ended = tuple[Invocation, Outcome]


class Executor(Protocol):
    """Calls suggestors that await. The engine decides what is due; an executor decides only when it happens.

    Contract: each submitted invocation comes back from `wait` exactly once, unless the executor is left before.
    The order in which they come back is free: nothing that is committed depends on it.
    """

    async def __aenter__(self) -> Self:
        """Begins."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Calls off whatever is still running."""

    def submit(self, invocation: Invocation) -> None:
        """Takes an invocation that is due."""

    async def kick(self) -> None:
        """Lets what was submitted begin before the caller does something that blocks."""

    async def wait(self) -> list[Ended]:
        """Returns what has ended since the last call, at least one; an empty list if `wake` was called."""

    def wake(self) -> None:
        """Makes `wait` return."""


class Tasks:
    """One task for each invocation, at most `limit` at a time, and within each suggestor's own limits.

    Where a single invocation is all there is to do, it is awaited where we stand and no task is made.
    """

    def __init__(self, clock: Clock, limit: int, teller: Teller | None = None) -> None:
        self.clock, self.limit, self.teller = clock, limit, teller
        self._queue: deque[Invocation] = deque()
        self._held: dict[int, deque[Invocation]] = {}  # by suggestor: those beyond its own limit
        self._busy: dict[int, int] = {}  # by suggestor: how many are running
        self._next: dict[int, float] = {}  # by suggestor with a rate: when the next may start
        self._turned: set[Invocation] = set()  # those of a suggestor with a rate whose turn has come
        self._running = 0
        self._delayed = 0
        self._ended: list[Ended] = []
        self._alarm: anyio.Event | None = None
        self._woken = False
        self._group: TaskGroup | None = None
        self._leaving = False
        self._fatal: BaseException | None = None
        self._here: anyio.CancelScope | None = None

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._leaving = True
        group, self._group = self._group, None
        if group is None:
            return None
        group.cancel_scope.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return await group.__aexit__(kind, error, trace)
        await group.__aexit__(None, None, None)  # so that an error of ours leaves as it is, not in an exception group
        return None

    def submit(self, invocation: Invocation) -> None:
        """Takes an invocation that is due."""
        self._queue.append(invocation)

    async def kick(self) -> None:
        """Starts what may start, and lets it run up to its first wait."""
        if self._queue:
            self._spawn()
            await anyio.lowlevel.checkpoint()

    async def wait(self) -> list[Ended]:
        """Returns what has ended since the last call."""
        if not self._ended and not self._woken:
            if self._is_lonely():
                return await self._run_here()
            self._spawn()
            while not self._ended and not self._woken and self._fatal is None:
                self._alarm = anyio.Event()
                await self._alarm.wait()
                self._alarm = None
        if self._fatal is not None:
            raise self._fatal
        self._woken = False
        ended, self._ended = self._ended, []
        return ended

    def wake(self) -> None:
        """Makes `wait` return."""
        self._woken = True
        if self._here is not None:
            self._here.cancel()
        self._ring()

    def _is_lonely(self) -> bool:
        if len(self._queue) != 1 or self._running or self._delayed:
            return False
        return self._queue[0].suggestor.options.rate is None

    async def _run_here(self) -> list[Ended]:
        invocation = self._queue.popleft()
        ended: list[Ended] = []
        self._here = anyio.CancelScope()
        with self._here:
            ended.append((invocation, await self._call(invocation)))
        self._here = None
        self._woken = False
        return ended

    async def _call(self, invocation: Invocation) -> Outcome:
        if self.teller is not None:
            self.teller.began(invocation)
        start = self.clock.seconds()
        try:
            outcome = await call_patiently(invocation, self.clock)
        except anyio.get_cancelled_exc_class() as error:
            if self._leaving or is_being_cancelled():
                raise
            outcome = failed(invocation, error)  # a stray cancellation from inside the suggestor: its failure, not ours
        outcome.seconds = self.clock.seconds() - start
        if self.teller is not None:
            self.teller.ended(invocation, outcome)
        return outcome

    def _spawn(self, workers: int = 1) -> None:
        """Starts workers for what may start; each starts more once it has met an invocation that really waits."""
        if self._leaving:
            return  # nothing starts any more
        if self._group is None:
            raise InternalError("an executor was used outside its block")
        while workers and (invocation := self._next_due()) is not None:
            self._group.start_soon(self._work, invocation)
            workers -= 1

    def _next_due(self) -> Invocation | None:
        """Takes the next invocation that the limits let start."""
        while self._queue and self._running < self.limit and not self._leaving:
            invocation = self._queue.popleft()
            place, options = invocation.suggestor.place, invocation.suggestor.options
            limit = 1 if options.serial else options.limit
            if limit is not None and self._busy.get(place, 0) >= limit:
                self._held.setdefault(place, deque()).append(invocation)
                continue
            self._busy[place] = self._busy.get(place, 0) + 1
            pause = 0.0
            if options.rate is not None and invocation not in self._turned:
                pause = self._reserve(place, options.rate)
            if pause > 0 and self._group is not None:
                self._delayed += 1
                self._group.start_soon(self._delay, invocation, pause)
                continue
            self._turned.discard(invocation)
            self._running += 1
            return invocation
        return None

    def _reserve(self, place: int, rate: float) -> float:
        """Returns how long the next invocation of a suggestor has to wait for its turn."""
        now = self.clock.seconds()
        turn = max(now, self._next.get(place, now))
        self._next[place] = turn + 1 / rate
        return turn - now

    async def _delay(self, invocation: Invocation, pause: float) -> None:
        await self.clock.sleep(pause)
        self._delayed -= 1
        self._busy[invocation.suggestor.place] -= 1
        self._turned.add(invocation)
        self._queue.appendleft(invocation)
        self._spawn()

    async def _work(self, first: Invocation) -> None:
        """Calls one invocation after the other, as long as none of them waits for anything.

        Most of the cost of a short async call is its task. So a worker takes the first step of a call by hand; if that
        was the whole of it, it goes on with the next call. If the call waits, others are started for the rest of the
        queue and this worker stays with its call, in the task in which it began.
        """
        invocation: Invocation | None = first
        try:
            while invocation is not None:
                call, variables = self._call(invocation), copy_context()
                try:
                    waits_for = variables.run(call.send, None)
                except StopIteration as end:
                    self._end(invocation, end.value)
                    invocation = self._next_due()
                    continue
                self._spawn(workers=2)
                self._end(invocation, await _Rest(call, variables, waits_for))
                self._spawn()
                invocation = None
        except anyio.get_cancelled_exc_class() as error:
            if self._leaving or invocation is None or anyio.current_effective_deadline() == float("-inf"):
                raise
            outcome = failed(invocation, error)  # somebody cancelled this one task: its failure, not ours
            if self.teller is not None:
                self.teller.ended(invocation, outcome)
            self._end(invocation, outcome)
            _uncancel()
            self._spawn()
        except BaseException as error:  # noqa: BLE001  KeyboardInterrupt and its like end the run, from its own task
            self._fatal = error
        self._ring()

    def _end(self, invocation: Invocation, outcome: Outcome) -> None:
        self._running -= 1
        place = invocation.suggestor.place
        self._busy[place] -= 1
        if held := self._held.get(place):
            self._queue.appendleft(held.popleft())
        self._ended.append((invocation, outcome))
        self._ring()

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.set()


class _Rest:
    """The rest of a coroutine whose first step has been taken, in context variables of its own."""

    __slots__ = ("_call", "_variables", "_waits_for")

    def __init__(self, call: Coroutine[Any, Any, Outcome], variables: Context, waits_for: Any) -> None:
        self._call, self._variables, self._waits_for = call, variables, waits_for

    def __await__(self) -> Generator[Any, Any, Outcome]:
        call, run, waits_for = self._call, self._variables.run, self._waits_for
        try:
            while True:
                try:
                    given = yield waits_for
                except GeneratorExit:
                    call.close()
                    raise
                except BaseException as error:  # noqa: BLE001  it is the call's to deal with
                    waits_for = run(call.throw, error)
                else:
                    waits_for = run(call.send, given)
        except StopIteration as end:
            return cast(Outcome, end.value)


def is_being_cancelled() -> bool:
    """Tells whether the current task is meant to end; if not, a cancellation that it meets is somebody's mistake."""
    if anyio.current_effective_deadline() == float("-inf"):
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True  # not asyncio: there nobody can raise a cancellation by mistake
    return task is not None and task.cancelling() > 0


def _uncancel() -> None:
    """Takes back a cancellation of this task alone, which anyio would take for one of its whole group."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
