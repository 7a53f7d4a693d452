"""Judges feedback, with an engine or without: asks the rules, then what is remembered, then the model."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from functools import partial
from hashlib import sha256
from threading import Lock
from time import perf_counter
from typing import Final, Literal

from ...engine import InvalidOption
from ...facts import FactLog
from .asking import Judgement, Manner, judge_by
from .latency import Latencies
from .loop import LOOP
from .memo import Kept, Memo
from .model import AskedModel
from .payloads import Feedback, FeedbackVerdict, JudgeFailure
from .prompt import PROMPT_VERSION
from .rules import find_signal
from .throttle import Throttle

RULES_VERSION = "1"
RULES: Final = f"rules/{RULES_VERSION}"
NO_SIGN = 0.5
"""How sure the rules are, without a model behind them, that what they know nothing of is no correction."""


class Judging:
    """What a judge does, usable without an engine; see `FeedbackJudge` for the options."""

    def __init__(
        self, model: AskedModel | None, manner: Manner, *, clear: float | None, limit: int | None, rate: float | None,
        memo: bool | float | timedelta | FactLog, secret: bytes, reasons: bool = True,
    ) -> None:  # fmt: skip
        self.model, self.manner, self.clear, self.secret = model, manner, clear, secret
        self.reasons = reasons
        self.took, self.calls_took = Latencies(), Latencies()
        self._failed: Counter[str] = Counter()
        self._counting = Lock()
        self._limits = limit, rate
        self._memo_for = _seconds(memo)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._throttle = Throttle(*self._limits)
        self._memo: Memo[Judgement] = Memo(self._memo_for or None, _is_verdict)
        several = f"/x{manner.samples}" if manner.samples > 1 else ""
        self.judge = RULES if model is None else f"{model.name}/{PROMPT_VERSION}{several}"
        self._kept = Kept(memo, self.version) if isinstance(memo, FactLog) else None

    @property
    def version(self) -> str:
        """Names all that its answers depend on, so that recorded ones of another manner are not taken for its own."""
        manner = self.manner  # not how patiently it asks: that changes no answer
        said = repr((
            self.judge, RULES_VERSION, self.clear, self.reasons, manner.threshold, manner.samples, manner.agreement,
            manner.cutting, manner.user_limit, manner.assistant_limit,
        ))  # fmt: skip
        return f"{RULES_VERSION}-{sha256(said.encode()).hexdigest()[:12]}"

    def by_rules(self, feedback: Feedback) -> FeedbackVerdict | None:
        """Returns the verdict of the rules; None if they leave it to the model."""
        if self.clear is None:
            return None
        signal = find_signal(feedback)
        if signal is None or signal.score < self.clear:
            if self.model is not None:
                return None
            return FeedbackVerdict(
                is_correction=False, kind="neutral", confidence=NO_SIGN, reasoning="no rule applies", judge=RULES
            )
        below = signal.is_correction and signal.score < self.manner.threshold
        return FeedbackVerdict(
            is_correction=signal.is_correction and not below, kind="neutral" if below else signal.kind,
            confidence=signal.score, reasoning=f"rule: {signal.because}", judge=RULES, below_threshold=below,
        )  # fmt: skip

    async def judgement(self, feedback: Feedback) -> Judgement:
        """Returns what rules or model say about a feedback, and what it cost."""
        if (verdict := self.by_rules(feedback)) is not None:
            return Judgement(verdict)
        key = _content(feedback)
        if self._kept is not None and (known := self._kept.find(key)) is not None:
            return Judgement(known)
        began = perf_counter()
        judgement, own = await LOOP.call(partial(self._ask, feedback, key))
        if not own:  # it was paid for by another
            return Judgement(judgement.found)
        self.took.add(perf_counter() - began)
        if self._kept is not None and isinstance(judgement.found, FeedbackVerdict):
            self._kept.keep(key, judgement.found)
        return judgement

    def fact(self, feedback: Feedback, judgement: Judgement) -> FeedbackVerdict | JudgeFailure:
        """Returns a judgement as a payload, with whose answer it is about."""
        credit = {"provider": feedback.provider, "request_id": feedback.request_id}
        found = judgement.found
        if isinstance(found, FeedbackVerdict):
            told = {} if self.reasons else {"reasoning": ""}
            return found.model_copy(update={**credit, **told, "judge": found.judge or self.judge})
        # What others said comes behind the first colon.
        message = found.message if self.reasons else found.message.partition(": ")[0]
        with self._counting:
            self._failed[found.kind] += 1
        return JudgeFailure(
            kind=found.kind, message=message, judge=self.judge, attempts=judgement.spent.calls, **credit
        )

    @property
    def failures(self) -> dict[str, int]:
        """How many feedbacks got no judgement so far, by the kind of the failure."""
        with self._counting:
            return dict(sorted(self._failed.items()))

    def close(self) -> None:
        """Closes the connections to the model."""
        if self.model is not None and self._loop is not None:
            LOOP.submit(self.model.close).result()

    async def _ask(self, feedback: Feedback, key: bytes) -> tuple[Judgement, bool]:
        """Asks the model, unless the same was asked before; runs in the loop."""
        model = self.model
        if model is None:
            raise AssertionError("rules always answer where there is no model")
        self._settle()
        ask = partial(judge_by, model, feedback, self.manner, self._throttle, self.secret, took=self.calls_took)
        if self._memo_for is False:
            return await ask(), True
        return await self._memo.get(key, ask)

    def _settle(self) -> None:
        """Starts afresh in another loop than before: after a fork, what waits in the old one waits for ever."""
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self.model is not None:
            self.model.forget()
            self._throttle, self._memo = Throttle(*self._limits), Memo(self._memo_for or None, _is_verdict)
        self._loop = loop


def _is_verdict(judgement: Judgement) -> bool:
    return isinstance(judgement.found, FeedbackVerdict)


def _content(feedback: Feedback) -> bytes:
    """Returns a digest of what a feedback says, whoever it is about."""
    whole = sha256()
    for text in (feedback.user_message, feedback.assistant_response, *feedback.earlier):
        raw = text.encode("utf-8", "surrogatepass")
        whole.update(b"%d:" % len(raw))
        whole.update(raw)
    return whole.digest()


def _seconds(memo: object) -> float | Literal[False] | None:
    """Returns for how long answers are remembered: False for not at all, None for good."""
    if isinstance(memo, (bool, FactLog)):
        return False if memo is False else None
    seconds = memo.total_seconds() if isinstance(memo, timedelta) else memo
    if isinstance(seconds, (int, float)) and seconds > 0:
        return float(seconds)
    raise InvalidOption("memo", memo, "True, False, a positive number of seconds, a positive timedelta or a FactLog")
