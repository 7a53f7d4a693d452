"""Tells the time and waits: the one place where a run meets real clocks, so that tests can bring their own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from time import perf_counter
from typing import Protocol

import anyio


class Timer(Protocol):
    """What a timeout says about itself once its block has ended."""

    @property
    def cancelled_caught(self) -> bool:
        """The time ran out and the block was left early."""


class Clock(Protocol):
    """Where a run takes its times from. `quiesce.engine.testing.FakeClock` is one that tests move by hand."""

    def now(self) -> datetime:
        """Returns the wall clock's time, with its zone; asked once when a run starts or resumes."""

    def seconds(self) -> float:
        """Returns a time in seconds that only moves forward."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    def timeout(self, seconds: float) -> AbstractContextManager[Timer]:
        """Returns a block that is left early once the time has run out."""


class RealClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Returns the present time in UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Returns the process's performance counter."""
        return perf_counter()

    async def sleep(self, seconds: float) -> None:
        """Waits in real time."""
        await anyio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractContextManager[Timer]:
        """Returns anyio's own scope."""
        return anyio.move_on_after(seconds)
