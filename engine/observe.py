"""Tells others what a run does: events as they are committed, invocations as they begin and end, log lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from ..facts.event import CycleCommitted, Event
from ..facts.fact import Ref, RunId
from .answer import Invocation, Outcome
from .stop import Stop, describe

LOGGER = "quiesce"


@dataclass(frozen=True, slots=True)
class InvocationStarted:
    """A suggestor is about to be called. Comes at once, in no promised order."""

    run: RunId
    suggestor: str
    cycle: int
    trigger: Ref | None


@dataclass(frozen=True, slots=True)
class InvocationEnded:
    """A call of a suggestor has ended, after all its attempts. Comes at once, in no promised order."""

    run: RunId
    suggestor: str
    cycle: int
    trigger: Ref | None
    proposals: int
    failed: bool
    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Committed:
    """An event was appended to the log. Comes in the order of the log."""

    run: RunId
    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over, however it came to that: nothing more is told of it, and what was still under way was dropped."""

    run: RunId
    error: BaseException | None
    """What it raised if it has no result: its task was cancelled, its log took no more, an observer raised."""


Notice = InvocationStarted | InvocationEnded | Committed | RunEnded
Observer = Callable[[Notice], None]
"""Called in a task of the run, so it must not block. What it raises ends the run."""


class Teller:
    """Tells observers when invocations begin and end; both in the task in which an invocation is called."""

    __slots__ = ("_observers", "_run")

    def __init__(self, run: RunId, observers: Sequence[Observer]) -> None:
        self._run, self._observers = run, observers

    def began(self, invocation: Invocation) -> None:
        """Tells that an invocation is about to be called."""
        trigger = invocation.trigger.ref if invocation.trigger is not None else None
        tell(self._observers, InvocationStarted(self._run, invocation.suggestor.name, invocation.cycle, trigger))

    def ended(self, invocation: Invocation, outcome: Outcome) -> None:
        """Tells what an invocation came to."""
        trigger = invocation.trigger.ref if invocation.trigger is not None else None
        proposals = 0 if outcome.failed else len(outcome.answers)
        notice = InvocationEnded(
            self._run, invocation.suggestor.name, invocation.cycle, trigger, proposals, outcome.failed,
            outcome.attempts, outcome.seconds,
        )  # fmt: skip
        tell(self._observers, notice)


class Speaker:
    """Writes log lines for a run, if anybody listens: whether is found out once, and nothing is formatted otherwise.

    Lines go to structlog if the program has configured it, else to the standard logger "quiesce".
    """

    __slots__ = ("debug", "info", "run")

    def __init__(self, run: RunId) -> None:
        self.run = run
        self.info = _is_enabled(logging.INFO)
        self.debug = self.info and _is_enabled(logging.DEBUG)

    def committed(self, event: CycleCommitted, seconds: float) -> None:
        """Tells of a cycle: a line at info, and one for each fact and rejection at debug."""
        line = _logger().bind(run=self.run, cycle=event.cycle)
        line.info(
            "cycle_committed", facts=len(event.facts), rejections=len(event.rejections), ran=len(event.ran),
            seconds=round(seconds, 6),
        )  # fmt: skip
        if self.debug:
            for fact in event.facts:
                line.debug("promoted", ref=fact.ref, by=fact.by, confidence=fact.confidence)
            for rejection in event.rejections:
                line.debug("rejected", ref=rejection.ref, by=rejection.by, reason=rejection.reason)

    def stopped(self, stop: Stop) -> None:
        """Tells why the run ended."""
        _logger().bind(run=self.run).info("run_stopped", stop=type(stop).__name__, why=describe(stop))


def tell(observers: Sequence[Observer], notice: Notice) -> None:
    """Gives a notice to every observer."""
    for observer in observers:
        observer(notice)


def tell_end(observers: Sequence[Observer], notice: RunEnded) -> None:
    """Gives the last notice to every observer; where the run raised something, that stands, and not what they raise."""
    for observer in observers:
        with nullcontext() if notice.error is None else suppress(Exception):
            observer(notice)


def _is_enabled(level: int) -> bool:
    """Tells whether a line of this level would be written; does not import structlog if nobody else has."""
    structlog: Any = sys.modules.get("structlog")
    if structlog is None or not structlog.is_configured():
        return logging.getLogger(LOGGER).isEnabledFor(level)
    bound = structlog.get_logger(LOGGER).bind()
    # The class is asked: what an object of structlog does not know it passes on to the logger that it wraps, as a line.
    wrapper_lets_pass = bound.is_enabled_for(level) if hasattr(type(bound), "is_enabled_for") else True
    wrapped = getattr(bound, "_logger", None)
    return bool(wrapper_lets_pass) and (not isinstance(wrapped, logging.Logger) or wrapped.isEnabledFor(level))


def _logger() -> Any:
    import structlog

    if structlog.is_configured():
        return structlog.get_logger(LOGGER)
    return structlog.wrap_logger(
        logging.getLogger(LOGGER),
        processors=[structlog.stdlib.filter_by_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
