"""Runs an engine while a test moves its clock or releases its turns."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from quiesce.engine import Engine, Result
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context


async def run_while(test: Callable[[], Awaitable[Any]], engine: Engine, context: Context, **options: Any) -> Result:
    """Returns the result of a run beside which a test did something."""
    results: list[Result] = []

    async def run() -> None:
        results.append(await engine.run(context, **options))

    with anyio.fail_after(30):  # what hangs is red within half a minute
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await test()
    return results[0]


async def run_under(clock: FakeClock, seconds: float, engine: Engine, context: Context, **options: Any) -> Result:
    """Returns the result of a run during which a fake clock moved on by so many seconds."""

    async def advance() -> None:
        await clock.advance(seconds)

    return await run_while(advance, engine, context, **options)
