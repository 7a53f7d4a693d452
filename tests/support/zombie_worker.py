"""Runs in a process that a test stops in the midst of a call.

It tells "calling" when it has called, goes on once somebody writes to a named pipe, and tells how its run ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from quiesce.engine import Engine, Gate, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, QuiesceError

FIXED: dict[str, Any] = {"run_id": "r", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}


class Ask(Payload, key="seeds", family="zombie-ask"):
    text: str


class Said(Payload, key="strategies", family="zombie-said"):
    text: str


class Final(Payload, key="proposals", family="zombie-final"):
    text: str


def engine_of(which: str, wait: Callable[[], object] = lambda: None) -> Engine:
    """Returns an engine whose first suggestor waits: an impure one that is journaled, or a pure one."""

    @suggestor(name="zombie-answer", pure=which != "impure")
    def answer(ask: Fact[Ask]) -> Said:
        wait()
        return Said(text=ask.payload.text.upper())

    @suggestor(name="zombie-conclude")
    def conclude(said: Fact[Said]) -> Final:
        return Final(text=said.payload.text)

    return Engine([answer, conclude], gates=[Gate("final", families=[Final])] if which == "gated" else [])


def asked() -> Context:
    """Returns what the run begins with."""
    context = Context()
    context.add(Ask(text="hello"), id="a")
    return context


class _Aloud(logging.Handler):
    """Tells when a lease was not renewed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(f"warned {record.getMessage()}")


def live(tell: Callable[[str], None], url: str, which: str, lease: float, gate: Path) -> None:
    """Runs, and tells how that ended."""
    lock = Lock()

    def say(line: str) -> None:
        with lock:  # the thread that renews leases has its say too
            tell(line)

    def wait() -> None:
        say("calling")
        gate.read_bytes()  # a named pipe: until somebody writes to it

    logging.getLogger("quiesce").addHandler(_Aloud(say))
    with FactLog.open(url, lease=lease) as log:
        try:
            result = engine_of(which, wait).run_sync(asked(), log=log, **FIXED)
            say(f"ended {type(result.stop).__name__}")
        except QuiesceError as error:
            say(f"ended {type(error).__name__} {type(error.__cause__).__name__} {error}")
