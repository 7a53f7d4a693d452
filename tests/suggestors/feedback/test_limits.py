"""Shows the parts under the judge: limits, memory, times and the loop, each with a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, InvalidOption, suggestor
from quiesce.facts import Context, Fact
from quiesce.suggestors.feedback.asking import Manner, judge_by
from quiesce.suggestors.feedback.latency import Latencies, quantile
from quiesce.suggestors.feedback.loop import LOOP, Loop
from quiesce.suggestors.feedback.memo import Memo
from quiesce.suggestors.feedback.payloads import Feedback, FeedbackVerdict
from quiesce.suggestors.feedback.throttle import Throttle
from quiesce.suggestors.feedback.verdict import Answer, Unjudged


class Hands:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def in_loop(work: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(_whole(work))


async def _whole(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


@settings(max_examples=40)
@given(rate=st.floats(0.1, 100), calls=st.integers(1, 12))
def test_calls_are_as_far_apart_as_the_rate_says(rate: float, calls: int) -> None:
    hands = Hands()
    throttle = Throttle(None, rate, clock=hands.read, sleep=hands.sleep)
    began: list[float] = []

    async def work() -> None:
        for _ in range(calls):
            async with throttle.call():
                began.append(hands.now)

    in_loop(work)

    assert [pytest.approx(place / rate) for place in range(calls)] == began


def test_a_pause_holds_for_everybody_and_grows() -> None:
    hands = Hands()
    throttle = Throttle(None, None, clock=hands.read, sleep=hands.sleep)

    async def work() -> float:
        throttle.pause(5)
        throttle.pause(2)
        async with throttle.call():
            return hands.now

    assert 5.0 == in_loop(work)


def test_too_many_requests_hold_back_everybody() -> None:
    """What a server says to one call ("come back in five seconds") holds for all: they ask the same server."""
    hands = Hands()
    throttle = Throttle(None, None, clock=hands.read, sleep=hands.sleep)
    began: list[tuple[float, str]] = []

    class Busy:
        async def ask(self, messages: Any, spent: Any) -> Answer:
            began.append((hands.now, "first" if "first" in messages[1]["content"] else "second"))
            if len(began) == 1:
                raise Unjudged("rate_limit", "too many", after=5.0)
            return Answer(is_correction=False, kind="neutral", confidence=1.0)

    async def alone(seconds: float) -> None:
        raise AssertionError("one call waits by itself, and the others go on")

    async def judge(message: str) -> Any:
        feedback = Feedback(user_message=message, assistant_response="")
        return await judge_by(cast(Any, Busy()), feedback, Manner(), throttle, b"s", sleep=alone)

    async def work() -> Any:
        first = asyncio.create_task(judge("first"))
        await asyncio.sleep(0)
        second = asyncio.create_task(judge("second"))
        return await first, await second

    in_loop(work)

    assert [(0.0, "first"), (5.0, "first"), (5.0, "second")] == sorted(began)


def test_who_is_called_off_while_waiting_takes_nobodys_turn() -> None:
    """A run of a thousand that is called off must not hold up the next one for as long as it would have taken."""
    hands = Hands()
    throttle = Throttle(None, 1.0, clock=hands.read, sleep=hands.sleep)

    async def call() -> float:
        async with throttle.call():
            return hands.now

    async def work() -> float:
        await call()
        waiting = [asyncio.create_task(call()) for _ in range(1_000)]
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return await call()

    assert in_loop(work) <= 2.0


def test_after_a_pause_the_rate_still_holds() -> None:
    """Those who waited for a server that had too much to do do not all come at once when it opens again."""
    hands = Hands()
    throttle = Throttle(None, 1.0, clock=hands.read, sleep=hands.sleep)
    began: list[float] = []

    async def call() -> None:
        async with throttle.call():
            began.append(hands.now)

    async def work() -> None:
        throttle.pause(10)
        await asyncio.gather(*(call() for _ in range(4)))

    in_loop(work)

    assert [10.0, 11.0, 12.0, 13.0] == began


def test_no_more_than_the_limit_are_under_way() -> None:
    throttle = Throttle(2, None)
    most = under_way = 0

    async def one() -> None:
        nonlocal most, under_way
        async with throttle.call():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    async def work() -> None:
        await asyncio.gather(*(one() for _ in range(9)))

    in_loop(work)

    assert 2 == most


def test_a_memo_asks_once_however_many_want_to_know() -> None:
    asked: list[int] = []
    memo: Memo[int] = Memo(None, lambda answer: answer > 0)

    async def ask() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        return len(asked)

    async def work() -> Any:
        at_once = await asyncio.gather(*(memo.get(b"a", ask) for _ in range(5)))
        return at_once, await memo.get(b"a", ask), await memo.get(b"b", ask)

    at_once, later, other = in_loop(work)

    assert [(1, True), *[(1, False)] * 4] == at_once
    assert ((1, False), (2, True)) == (later, other)


def test_a_memo_forgets_what_is_old_what_is_not_worth_it_and_what_is_too_much() -> None:
    hands = Hands()
    memo: Memo[str] = Memo(10, lambda answer: answer != "bad", kept=2, clock=hands.read)

    async def owns(key: bytes, answer: str = "good") -> bool:
        async def ask() -> str:
            return answer

        return (await memo.get(key, ask))[1]

    async def work() -> list[bool]:
        seen = [await owns(b"a"), await owns(b"a"), await owns(b"bad", "bad"), await owns(b"bad", "bad")]
        hands.now = 10
        seen += [
            await owns(b"a"),
            await owns(b"b"),
            await owns(b"a"),
            await owns(b"c"),
            await owns(b"b"),
            await owns(b"a"),
        ]
        return seen

    assert [True, False, True, True, True, True, False, True, True, True] == in_loop(work)


def test_who_is_cancelled_takes_the_answer_from_nobody() -> None:
    memo: Memo[str] = Memo(None, bool)

    async def work() -> Any:
        go, ended = asyncio.Event(), asyncio.Event()

        async def ask() -> str:
            try:
                await go.wait()
            finally:
                ended.set()
            return "answer"

        one, two = (asyncio.create_task(memo.get(b"a", ask)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.sleep(0)
        go.set()
        answer = await two
        go.clear()
        ended.clear()
        alone = asyncio.create_task(memo.get(b"b", ask))
        await asyncio.sleep(0)
        alone.cancel()
        await ended.wait()  # nobody waits for it any more
        go.set()
        return answer, await memo.get(b"b", ask)

    answer, again = in_loop(work)

    assert (("answer", True), ("answer", True)) == (answer, again)  # who asked first is gone: the next pays


@settings(max_examples=40)
@given(seconds=st.lists(st.floats(0, 1e6), max_size=60), kept=st.integers(1, 20))
def test_latencies_count_all_and_show_the_latest(seconds: list[float], kept: int) -> None:
    latencies = Latencies(kept)
    for one in seconds:
        latencies.add(one)
    now, last = latencies.now, sorted(seconds[-kept:])

    assert len(seconds) == now.count
    if not last:
        assert (None, None, None, None) == (now.p50, now.p95, now.p99, now.longest)
        assert "0 judgements" == str(now)
        return
    assert last[-1] == now.longest
    assert [quantile(last, share) for share in (0.5, 0.95, 0.99)] == [now.p50, now.p95, now.p99]
    for share in (0.5, 0.95, 0.99):
        assert sum(one <= quantile(last, share) for one in last) >= share * len(last)


def test_the_median_is_the_lower_one() -> None:
    """A register fault: of two values the upper was called the median."""
    assert (1.0, 2.0, 3.0) == (
        quantile([1.0, 2.0], 0.5),
        quantile([1.0, 2.0, 3.0], 0.5),
        quantile([1.0, 2.0, 3.0], 0.95),
    )


@pytest.mark.parametrize("kept", [0, -1, 1.5, True])
def test_a_window_of_nothing_is_refused(kept: Any) -> None:
    """A register fault: a capacity of 0 kept everything for ever."""
    with pytest.raises(InvalidOption, match="a whole number from 1"):
        Latencies(kept)


async def test_as_an_observer_it_takes_what_invocations_took() -> None:
    latencies = Latencies(of="other")

    @suggestor(name="other")
    async def other(feedback: Fact[Feedback]) -> FeedbackVerdict:
        return FeedbackVerdict(is_correction=False, kind="neutral", confidence=1.0)

    context = Context()
    context.add(Feedback(user_message="a", assistant_response="b"), id="f")
    await Engine([other], observers=[latencies, Latencies(of="nobody")]).run(context)

    assert 1 == latencies.now.count


spoken: ContextVar[str] = ContextVar("spoken")


async def test_the_loop_is_one_for_all_and_sees_the_callers_context() -> None:
    """Trace ids travel in context variables; which library is running does not."""
    spoken.set("here")

    async def where() -> tuple[int, str]:
        await anyio.lowlevel.checkpoint()
        return threading.get_ident(), spoken.get()

    one, two = await LOOP.call(where), await LOOP.call(where)

    assert one == two == (one[0], "here")
    assert threading.get_ident() != one[0]


async def test_what_a_call_raises_comes_out() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await LOOP.call(fails)


async def test_a_call_that_is_cancelled_ends_in_the_loop() -> None:
    began, ended = threading.Event(), threading.Event()

    async def waits() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(LOOP.call, waits)
        await anyio.to_thread.run_sync(began.wait)
        tasks.cancel_scope.cancel()

    assert await anyio.to_thread.run_sync(ended.wait, 10)


def test_after_a_fork_the_loop_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads do not survive a fork: a child that waited for its parent's loop would wait for ever."""
    loop = Loop()

    async def ident() -> int:
        return threading.get_ident()

    parent = loop.submit(ident).result()
    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert parent != loop.submit(ident).result()
