"""Holds streams to it: events come as they are committed, in the order of the log, and leaving calls the run off."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from quiesce.engine import Committed, Converged, Engine, EngineError, InvalidOption, Stream, suggestor
from quiesce.engine.testing import Turns
from quiesce.facts import Context, Fact, FactLog, Payload, replay, verify
from quiesce.facts.event import CycleCommitted


class Ticket(Payload, key="seeds", family="stream-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="stream-plan"):
    queue: str = ""


class Review(Payload, key="evaluations", family="stream-review"):
    verdict: str = ""


@suggestor
async def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.id)


@suggestor
async def review(plan: Fact[Plan]) -> Review:
    return Review(verdict=plan.id)


def one_ticket() -> Context:
    context = Context()
    context.add(Ticket(text="a"), id="t1")
    return context


def ignore(_: Committed) -> None: ...


async def read(stream: Stream, take: Callable[[Committed], None] = ignore) -> None:
    async with stream as events:
        async for committed in events:
            take(committed)


async def test_events_come_in_the_order_of_the_log() -> None:
    stream = Engine([plan, review]).stream(one_ticket())
    async with stream as events:
        seen = [committed async for committed in events]

    result = stream.result
    assert [(one.seq, one.event.kind) for one in result.log.events(result.run_id)] == [
        (one.seq, one.event.kind) for one in seen
    ]
    assert ({result.run_id}, Converged(2)) == ({one.run for one in seen}, result.stop)


def test_a_stream_is_read_inside_its_block_and_says_so() -> None:
    """Left early outside a block, it could not call the run off in the task that began it."""
    stream = Engine([plan]).stream(one_ticket())

    with pytest.raises(EngineError, match=r"Write: async with engine\.stream\(context\) as events"):
        aiter(stream)


async def test_an_event_comes_before_the_run_has_ended() -> None:
    """The plan is told of while the review is still held back."""
    turns = Turns()

    @suggestor
    async def held(plan: Fact[Plan]) -> Review:
        await turns.take("held")
        return Review(verdict="late")

    stream = Engine([plan, held], observers=[turns]).stream(one_ticket())
    async with stream as events:
        async for committed in events:
            if has(committed, "stream-plan:t1"):
                await turns.release("held")

    assert ["late"] == [fact.payload.verdict for fact in stream.result.context.of(Review).values()]


def has(committed: Committed, ref: str) -> bool:
    return isinstance(committed.event, CycleCommitted) and ref in [fact.ref for fact in committed.event.facts]


async def test_leaving_early_calls_the_run_off() -> None:
    """What it has committed is in the log, with the reason."""
    left, log = [], FactLog.open()

    @suggestor
    async def never(plan: Fact[Plan]) -> Review:
        try:
            await anyio.sleep_forever()
        finally:
            left.append(plan.id)
        raise AssertionError

    async with Engine([plan, never]).stream(one_ticket(), log=log, run_id="left") as events:
        async for committed in events:
            if has(committed, "stream-plan:t1"):
                break

    stopped = log.stopped("left")
    assert stopped is not None
    assert ({"kind": "cancelled", "reason": "its task was cancelled"}, ["t1"]) == (stopped.stop, left)
    assert (True, ["t1"]) == (verify(log, "left").ok, list(replay(log, "left").of(Plan)))


async def test_there_is_no_result_before_the_end() -> None:
    stream = Engine([plan]).stream(one_ticket())

    with pytest.raises(EngineError) as caught:
        _ = stream.result

    assert "the run has not ended; read its events to the end first" == str(caught.value)


async def test_what_is_wrong_with_the_options_is_told_as_by_run() -> None:
    """Not wrapped in a group of one: an `except` around it should find it."""
    with pytest.raises(InvalidOption) as caught:
        await read(Engine([plan]).stream(one_ticket(), seed=-1))

    assert "seed=-1 is not a whole number from 0 to 2**63 - 1" == str(caught.value)


async def test_what_the_reader_raises_comes_out_as_it_is() -> None:
    def refuse(_: Committed) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read(Engine([plan]).stream(one_ticket()), refuse)


async def test_observers_are_told_too() -> None:
    told: list[Any] = []
    stream = Engine([plan], observers=[told.append]).stream(one_ticket(), observers=[told.append])
    async with stream as events:
        seen = [committed async for committed in events]

    assert [one for one in seen for _ in range(2)] == [one for one in told if isinstance(one, Committed)]
