"""Runs invocations side by side: tasks under limits, and one call at a time without any task."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from .clock import Clock
from ..facts import InternalError
from .answer import Invocation, Outcome
from .invoke import call_patiently, failed

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

    def __init__(self, clock: Clock, limit: int, began: Callable[[Invocation], None] | None = None) -> None:
        self.clock, self.limit, self.began = clock, limit, began
        self._queue: deque[Invocation] = deque()
        self._held: dict[int, deque[Invocation]] = {}  # by suggestor: those beyond its own limit
        self._busy: dict[int, int] = {}  # by suggestor: how many are running
        self._next: dict[int, float] = {}  # by suggestor with a rate: when the next may start
        self._running = 0
        self._delayed = 0
        self._ended: list[Ended] = []
        self._alarm: anyio.Event | None = None
        self._woken = False
        self._group: TaskGroup | None = None
        self._leaving = False
        self._fatal: BaseException | None = None

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
                return [await self._run_here()]
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
        self._ring()

    def _is_lonely(self) -> bool:
        if len(self._queue) != 1 or self._running or self._delayed:
            return False
        return self._queue[0].suggestor.options.rate is None

    async def _run_here(self) -> Ended:
        invocation = self._queue.popleft()
        if self.began is not None:
            self.began(invocation)
        start = self.clock.seconds()
        outcome = await call_patiently(invocation, self.clock)
        outcome.seconds = self.clock.seconds() - start
        return invocation, outcome

    def _spawn(self) -> None:
        if self._group is None:
            raise InternalError("an executor was used outside its block")
        while self._queue and self._running < self.limit:
            invocation = self._queue.popleft()
            place, options = invocation.suggestor.place, invocation.suggestor.options
            limit = 1 if options.serial else options.limit
            if limit is not None and self._busy.get(place, 0) >= limit:
                self._held.setdefault(place, deque()).append(invocation)
                continue
            self._busy[place] = self._busy.get(place, 0) + 1
            if options.rate is not None and (pause := self._reserve(place, options.rate)) > 0:
                self._delayed += 1
                self._group.start_soon(self._delay, invocation, pause)
                continue
            self._running += 1
            self._group.start_soon(self._run, invocation)

    def _reserve(self, place: int, rate: float) -> float:
        """Returns how long the next invocation of a suggestor has to wait for its turn."""
        now = self.clock.seconds()
        turn = max(now, self._next.get(place, now))
        self._next[place] = turn + 1 / rate
        return turn - now

    async def _delay(self, invocation: Invocation, pause: float) -> None:
        await self.clock.sleep(pause)
        self._delayed -= 1
        self._running += 1
        await self._run(invocation)

    async def _run(self, invocation: Invocation) -> None:
        if self.began is not None:
            self.began(invocation)
        start = self.clock.seconds()
        try:
            outcome = await call_patiently(invocation, self.clock)
        except anyio.get_cancelled_exc_class() as error:
            if self._is_cancelled():
                raise
            outcome = failed(invocation, error)  # a stray cancellation from inside the suggestor: its failure, not ours
        except BaseException as error:  # KeyboardInterrupt and its like end the run, from its own task
            self._fatal = error
            self._ring()
            return
        outcome.seconds = self.clock.seconds() - start
        self._running -= 1
        place = invocation.suggestor.place
        self._busy[place] -= 1
        if held := self._held.get(place):
            self._queue.appendleft(held.popleft())
        self._ended.append((invocation, outcome))
        if self._queue:
            self._spawn()
        self._ring()

    def _is_cancelled(self) -> bool:
        return self._leaving or anyio.current_effective_deadline() == float("-inf")

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.set()
