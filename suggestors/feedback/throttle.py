"""Keeps calls within limits: so many at a time, so many a second. Rules are no calls, and wait for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic


class Throttle:
    """Lets calls through, in the order in which they come. For one event loop."""

    def __init__(
        self,
        limit: int | None,
        rate: float | None,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._room = None if limit is None else asyncio.Semaphore(limit)
        self._apart = 0.0 if rate is None else 1.0 / rate
        self._clock, self._sleep = clock, sleep
        self._door = asyncio.Lock()
        self._next = float("-inf")
        self._closed_until = float("-inf")

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Waits for its turn; a call is under way until the block ends."""
        if self._room is None:
            await self._turn()
            yield
            return
        async with self._room:
            await self._turn()
            yield

    def pause(self, seconds: float) -> None:
        """Lets nobody through for a while: the other side has said that there are too many."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    async def _turn(self) -> None:
        came = self._clock()
        async with self._door:  # one after the other: who is called off while waiting takes nobody's turn along
            while (wait := (at := max(came, self._next, self._closed_until)) - self._clock()) > 0:
                await self._sleep(wait)
            self._next = at + self._apart
