"""Calls suggestors: fills their parameters, takes what they return, and turns whatever goes wrong into a value."""

from __future__ import annotations

from asyncio import CancelledError  # nothing is awaited in a plain function: who raises one there made it himself
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from inspect import isasyncgen, isawaitable
from types import CoroutineType
from typing import Any, Literal

import anyio.to_thread

from ..facts import Fact, Failure, Payload, View
from ..facts.fact import clean_message
from .answer import Invocation, Lapse, Outcome, collect, collect_async, collect_each
from .clock import Clock
from .errors import Nonsense
from .suggestor import Suggestor

MAX_BACKOFF = 30.0


def call_inline(invocation: Invocation) -> Outcome:
    """Calls a sync suggestor where we stand."""
    try:
        return collect(invocation, _call(invocation))
    except (Exception, CancelledError) as error:  # noqa: BLE001  a user's function: its failure is a fact
        return failed(invocation, error)


def call_facts_inline(
    suggestor: Suggestor, cycle: int, triggers: Sequence[Fact[Any]], look: Callable[[], View]
) -> Outcome:
    """Calls a sync per-fact suggestor that takes nothing but its fact, for each of many facts, as fast as it goes."""
    call = suggestor.call
    whole = Outcome([])
    answers = whole.answers
    for index, trigger in enumerate(triggers):
        try:
            result = call(trigger)
            if result is None:
                continue
            if isinstance(result, Payload) and (draft := collect_each(suggestor, cycle, trigger, result)) is not None:
                answers.append(draft)
                continue
            one = collect(Invocation(suggestor, cycle, index, look(), trigger), result)
        except (Exception, CancelledError) as error:  # noqa: BLE001  a user's function: its failure is a fact
            one = failed(Invocation(suggestor, cycle, index, look(), trigger), error)
        answers.extend(one.answers)
        whole.tokens += one.tokens
        whole.costs += one.costs
    return whole


async def call_patiently(invocation: Invocation, clock: Clock) -> Outcome:
    """Calls an async or blocking suggestor with its timeouts and retries."""
    options = invocation.suggestor.options
    if options.deadline is None:
        if options.timeout is None and not options.retries:
            try:
                return await _answer(invocation)
            except Exception as error:  # noqa: BLE001  a user's function: its failure is a fact, not the end of the run
                return failed(invocation, error)
        return await _attempt_all(invocation, clock)
    with clock.timeout(options.deadline):
        return await _attempt_all(invocation, clock)
    outcome = _late(invocation, "deadline", options.deadline)
    outcome.attempts = invocation.attempts
    return outcome


async def _attempt_all(invocation: Invocation, clock: Clock) -> Outcome:
    options = invocation.suggestor.options
    while _is_worth_another(outcome := await _attempt(invocation, clock)) and invocation.attempts <= options.retries:
        await clock.sleep(_pause(invocation, invocation.attempts))
    outcome.attempts = invocation.attempts
    return outcome


def _is_worth_another(outcome: Outcome) -> bool:
    lapse = outcome.answers[0] if outcome.failed else None
    return isinstance(lapse, Lapse) and lapse.failure.kind != "nonsense"


async def _attempt(invocation: Invocation, clock: Clock) -> Outcome:
    timeout = invocation.suggestor.options.timeout
    invocation.attempts += 1
    if invocation.attempts > 1:  # an attempt that was left behind in a thread keeps its own view
        invocation = replace(invocation, view=invocation.view.again())
    try:
        if timeout is None:
            return _told(await _answer(invocation), invocation)
        with clock.timeout(timeout):
            return _told(await _answer(invocation), invocation)
        return _late(invocation, "timeout", timeout)
    except Exception as error:  # noqa: BLE001  a user's function: its failure is a fact, not the end of the run
        return failed(invocation, error)


def _told(outcome: Outcome, invocation: Invocation) -> Outcome:
    outcome.of_this_run = invocation.view.of_this_run
    return outcome


async def _answer(invocation: Invocation) -> Outcome:
    if invocation.suggestor.options.thread:
        limiter = anyio.CapacityLimiter(1)  # its own: else a timeout would count the wait for one of anyio's threads
        return await anyio.to_thread.run_sync(call_inline, invocation, abandon_on_cancel=True, limiter=limiter)
    result = _call(invocation)
    if result.__class__ is CoroutineType:  # nearly always; the general questions below take longer than the rest
        return collect(invocation, await result)
    if isasyncgen(result):
        return await collect_async(invocation, result)
    if isawaitable(result):
        result = await result
    return collect(invocation, result)


def _call(invocation: Invocation) -> Any:
    view = invocation.view
    slots = invocation.suggestor.slots
    if len(slots) == 1 and invocation.trigger is not None:
        return invocation.suggestor.call(invocation.trigger)
    given: list[Any] = []
    for _, kind, cls in slots:
        if kind == "fact":
            given.append(invocation.trigger)
        elif kind == "view":
            given.append(view)
        else:
            given.append(view.all(cls or Payload))  # an All[…] slot has a class
    return invocation.suggestor.call(*given)


def failed(invocation: Invocation, error: BaseException) -> Outcome:
    kind: Literal["raised", "nonsense"] = "nonsense" if isinstance(error, Nonsense) else "raised"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  a user's class: that it cannot be shown is no reason to lose its name
        message = "(its text cannot be shown)"
    return _failure(invocation, kind, type(error).__name__, message)


def _late(invocation: Invocation, kind: Literal["timeout", "deadline"], seconds: float) -> Outcome:
    what = "one attempt" if kind == "timeout" else "all attempts together"
    return _failure(invocation, kind, "TimeoutError", f"{what} took longer than {seconds:g} s ({kind}={seconds:g})")


def _failure(
    invocation: Invocation, kind: Literal["raised", "timeout", "deadline", "nonsense"], error: str, message: str
) -> Outcome:
    trigger = invocation.trigger.ref if invocation.trigger is not None else None
    failure = Failure(
        suggestor=invocation.suggestor.name,
        cycle=invocation.cycle,
        trigger=trigger,
        kind=kind,
        error=error,
        message=clean_message(message),
    )
    because = (trigger,) if trigger is not None else invocation.view.take_handed()
    return Outcome([Lapse(failure, because)], failed=True)


def _pause(invocation: Invocation, attempt: int) -> float:
    """Doubles with each attempt; up to a quarter is taken off by a hash, so that many do not come back at once."""
    base = min(invocation.suggestor.options.backoff * 2.0 ** (attempt - 1), MAX_BACKOFF)
    spread = int.from_bytes(sha256(f"{invocation.view.invocation}/{attempt}".encode()).digest()[:4]) / 2**32
    return float(base * (1 - spread / 4))
