"""Judges identical feedback once: what was answered is remembered, and who asks meanwhile waits for the same answer."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from ...facts import FactLog, LogError
from ...facts.stores import Address
from .payloads import FeedbackVerdict

T = TypeVar("T")

KEPT = 4_096


class Memo(Generic[T]):
    """Keeps answers by a digest of the question, the least used leave first. For one event loop.

    It holds nothing that a replay would miss: what a run was answered is in its journal.
    """

    def __init__(
        self, seconds: float | None, worth: Callable[[T], bool], *, kept: int = KEPT,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        self.seconds, self.worth, self.kept, self._clock = seconds, worth, kept, clock
        self._known: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._asked: dict[bytes, _Question[T]] = {}

    async def get(self, key: bytes, ask: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Returns an answer, and whether what it cost is this call's: of those that waited, the first has to pay.

        Only what is worth it is remembered. Where all who wait for it are cancelled, so is the question.
        """
        if (known := self._find(key)) is not None:
            return known[0], False
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Question(asyncio.create_task(self._ask(key, ask)))
        asked.waiting += 1
        try:
            answer = await asyncio.shield(asked.task)
        finally:
            asked.waiting -= 1
            if not asked.waiting and not asked.task.done():
                asked.task.cancel()
                if self._asked.get(key) is asked:
                    del self._asked[key]
        own, asked.is_paid = not asked.is_paid, True  # who asked first may have been cancelled meanwhile
        return answer, own

    async def _ask(self, key: bytes, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        this = asyncio.current_task()
        try:
            answer = await ask()
        finally:
            asked = self._asked.get(key)
            if asked is not None and asked.task is this:
                del self._asked[key]
        if self.worth(answer):
            self._known[key] = self._clock(), answer
        while len(self._known) > self.kept:
            self._known.popitem(last=False)
        return answer

    def _find(self, key: bytes) -> tuple[T] | None:
        if (known := self._known.get(key)) is None:
            return None
        when, answer = known
        if self.seconds is not None and self._clock() - when >= self.seconds:
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return (answer,)


@dataclass(slots=True)
class _Question(Generic[T]):
    """What is being asked, and how many wait for the answer."""

    task: asyncio.Task[T]
    waiting: int = 0
    is_paid: bool = False


class Kept:
    """Keeps verdicts in a log by a digest of the question, for every process that judges on it."""

    def __init__(self, log: FactLog, version: str) -> None:
        self.log, self.version = log, version

    def find(self, key: bytes) -> FeedbackVerdict | None:
        """Returns the verdict that was kept; damage is no matter where one can ask anew."""
        try:
            raw = self.log.note(self._address(key))
            return None if raw is None else FeedbackVerdict.model_validate_json(raw)
        except (LogError, ValidationError) as error:
            logging.getLogger("quiesce").warning("a kept judgement cannot be used, and is asked for anew: %s", error)
            return None

    def keep(self, key: bytes, verdict: FeedbackVerdict) -> None:
        """Keeps a verdict without its reasoning, which may quote what is to be forgotten one day."""
        bare = verdict.model_copy(update={"reasoning": ""})
        try:
            self.log.keep({self._address(key): bare.model_dump_json().encode()})
        except LogError as error:
            logging.getLogger("quiesce").warning("a judgement could not be kept for other runs: %s", error)

    def _address(self, key: bytes) -> Address:
        return Address("judgement", "", f"{self.version}/{key.hex()}")
