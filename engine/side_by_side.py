"""Does something for each of many, a bounded number at a time; the first exception calls the others off."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from .errors import InvalidOption
from .options import is_whole

T = TypeVar("T")


async def side_by_side(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[None]], concurrency: int
) -> None:
    """Awaits `work(item)` for each item; items are taken no faster than that.

    Raises:
        InvalidOption: the concurrency is no whole number from 1.
        Exception: the first that `work` or the items raised, as it is; whatever was under way was cancelled.
    """
    if not is_whole(concurrency, 1):
        raise InvalidOption("concurrency", concurrency, "a whole number from 1")
    slots = anyio.Semaphore(concurrency)
    failures: list[Exception] = []

    async def one(item: T) -> None:
        try:
            await work(item)
        except Exception as error:  # noqa: BLE001  raised below as it is, not in a group of one
            fail(error)
        finally:
            slots.release()

    def fail(error: Exception) -> None:
        failures.append(error)
        tasks.cancel_scope.cancel()

    async def start(item: T) -> None:
        await slots.acquire()
        tasks.start_soon(one, item)

    async with anyio.create_task_group() as tasks:
        try:
            if isinstance(items, AsyncIterable):
                async for item in items:
                    await start(item)
            else:
                for item in items:
                    await start(item)
        except Exception as error:  # noqa: BLE001  the items' own, raised below as it is
            fail(error)
    if failures:
        raise failures[0]
