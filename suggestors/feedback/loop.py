"""Runs calls of models in an event loop of its own, in a thread of its own.

A client of a model keeps connections, and those belong to the event loop in which they were made. Runs come and go,
each `run_sync` with a loop of its own, some of them on trio, which many clients do not know. So all calls are made in
this one loop: connections outlive runs, limits hold over all runs of the process, and a run on trio judges like others.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Loop:
    """One asyncio loop in a daemon thread, started when it is first needed; after a fork, started anew."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    async def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns what a coroutine function returns in the loop; where the caller is cancelled, so is the call."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return await _wait_on_trio(self.submit(function))
        return await asyncio.wrap_future(self.submit(function))

    def submit(self, function: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Starts a coroutine function in the loop."""
        return _without_trio().run(asyncio.run_coroutine_threadsafe, _started(function), self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None or self._process != os.getpid():  # threads do not survive a fork
                self._loop, self._process = asyncio.new_event_loop(), os.getpid()
                serve = partial(_serve, self._loop)
                threading.Thread(target=serve, name="quiesce-judges", daemon=True).start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


async def _started(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await function()


async def _wait_on_trio(future: Future[T]) -> T:
    import trio  # it is running, so it is there

    token, done = trio.lowlevel.current_trio_token(), trio.Event()

    def wake(_future: Future[T]) -> None:
        with suppress(trio.RunFinishedError):  # nobody waits any more
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    try:
        await done.wait()
    finally:
        future.cancel()
    return future.result()


def _without_trio() -> Context:
    """Returns a copy of the present context in which nothing says that trio is running."""
    context = Context()
    for variable, value in copy_context().items():
        if "async_library" not in variable.name:
            context.run(variable.set, value)
    return context


LOOP = Loop()
"""The loop of this process."""
