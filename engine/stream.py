"""Hands out the events of a run while it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import anyio

from .errors import EngineError
from .keywords import RunOptions
from .observe import Committed
from .result import Result


class Stream:
    """The events of one run, as they are committed. Made by `Engine.stream`."""

    def __init__(self, start: Callable[..., Awaitable[Result]], options: RunOptions) -> None:
        self._start, self._options = start, options
        self._result: Result | None = None
        self._scope = self._open()

    @property
    def result(self) -> Result:
        """The result, once the run has ended."""
        if self._result is None:
            raise EngineError("the run has not ended; read its events to the end first")
        return self._result

    async def __aenter__(self) -> AsyncIterator[Committed]:
        return await self._scope.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._scope.__aexit__(*error)

    def __aiter__(self) -> AsyncIterator[Committed]:
        raise EngineError(
            "a stream is read inside its block, so that leaving it early calls the run off. "
            "Write: async with engine.stream(context) as events: async for committed in events: …"
        )

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[AsyncIterator[Committed]]:
        send, receive = anyio.create_memory_object_stream[Committed](inf)

        def observe(notice: Any) -> None:
            if isinstance(notice, Committed):
                send.send_nowait(notice)

        failures: list[Exception] = []  # of the run or of its reader; raised as they are, not in a group of one

        async def work() -> None:
            with send:
                observers = (*self._options.get("observers", ()), observe)
                try:
                    self._result = await self._start(**{**self._options, "observers": observers})
                except Exception as error:  # noqa: BLE001  see above
                    failures.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            with receive:
                try:
                    yield receive
                except Exception as error:  # noqa: BLE001  see above
                    failures.append(error)
            tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]
