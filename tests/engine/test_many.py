"""Holds run_many to the order of its contexts, to its bound, and to what happens when one of them fails."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import (
    Budget,
    BudgetExhausted,
    Committed,
    Converged,
    Engine,
    EngineError,
    InvalidOption,
    Notice,
    suggestor,
)
from quiesce.engine.testing import Turns
from quiesce.facts import Context, Fact, FactLog, Payload, replay, verify
from quiesce.facts.event import RunStarted, RunStopped


class Ticket(Payload, key="seeds", family="many-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="many-plan"):
    queue: str = ""


@suggestor
async def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)


def contexts(count: int) -> Iterator[Context]:
    for number in range(count):
        context = Context()
        context.add(Ticket(text=str(number)), id="t")
        yield context


def queues(results: list[Any]) -> list[str]:
    return [result.context.of(Plan)["t"].payload.queue for result in results]


class Busy:
    """Counts how many runs are under way."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, Committed) and isinstance(notice.event, RunStarted):
            self.begun += 1
            self.now += 1
            self.most = max(self.most, self.now)
        if isinstance(notice, Committed) and isinstance(notice.event, RunStopped):
            self.now -= 1


@given(count=st.integers(0, 12), concurrency=st.integers(1, 5))
async def test_results_come_in_the_order_of_the_contexts(count: int, concurrency: int) -> None:
    busy = Busy()
    results = await Engine([plan], observers=[busy]).run_many(contexts(count), concurrency=concurrency)

    assert [str(number) for number in range(count)] == queues(results)
    assert (count, True) == (busy.begun, busy.most <= concurrency)


async def test_results_come_in_that_order_whoever_ends_first() -> None:
    """Each run, when it stops, lets the one before it go on."""
    doors = [anyio.Event() for _ in range(3)]

    @suggestor
    async def wait(ticket: Fact[Ticket]) -> Plan:
        if ticket.payload.text == "2":
            doors[2].set()
        await doors[int(ticket.payload.text)].wait()
        return Plan(queue=ticket.payload.text)

    stopped = []

    def open_next(notice: Notice) -> None:
        if isinstance(notice, Committed) and isinstance(notice.event, RunStopped):
            stopped.append(notice.run)
            doors[2 - len(stopped)].set()

    results = await Engine([wait], observers=[open_next]).run_many(contexts(3), run_id="r")

    assert (["r-2", "r-1", "r-0"], ["0", "1", "2"]) == (stopped, queues(results))


async def test_contexts_may_come_from_a_stream_that_is_read_no_faster_than_they_are_run() -> None:
    busy, behind = Busy(), []

    async def stream() -> AsyncIterator[Context]:
        for context in contexts(6):
            behind.append(busy.now)
            yield context

    results = await Engine([plan], observers=[busy]).run_many(stream(), concurrency=2)

    assert [str(number) for number in range(6)] == queues(results)
    assert max(*behind, busy.most) <= 2


async def test_a_run_that_stops_early_is_a_result_like_the_others() -> None:
    """Stops are values; the other runs go on."""

    @suggestor
    def count_on(plan: Fact[Plan]) -> list[Plan]:
        return [Plan(queue=plan.payload.queue + "1")] if plan.payload.queue.startswith("1") else []

    results = await Engine([plan, count_on]).run_many(contexts(3), budget=Budget(cycles=5))

    assert [Converged, BudgetExhausted, Converged] == [type(result.stop) for result in results]


async def test_misuse_is_raised_as_it_is_and_calls_the_others_off() -> None:
    """Not in a group of one: an `except` around it should find it."""
    turns = Turns()

    @suggestor
    async def never(ticket: Fact[Ticket]) -> Plan:
        await turns.take("never")
        raise AssertionError

    log = FactLog.open()
    with pytest.raises(EngineError) as caught:
        await Engine([never]).run_many([*contexts(2), "odd"], log=log, run_id="batch")  # type: ignore[list-item]  # that is the mistake

    assert "engine.run takes a Context, not a str. Write: context.add(payload)" == str(caught.value)
    assert [True] * len(log.runs()) == [verify(log, run).ok for run in log.runs()]


async def test_each_run_has_an_id_of_its_own_in_one_log() -> None:
    log = FactLog.open()
    results = await Engine([plan]).run_many(contexts(3), log=log, run_id="batch")

    assert ["batch-0", "batch-1", "batch-2"] == [result.run_id for result in results] == sorted(log.runs())
    assert [result.context for result in results] == [replay(log, result.run_id) for result in results]


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "2", True])
async def test_a_bound_that_is_none_is_refused(concurrency: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        await Engine([plan]).run_many(contexts(1), concurrency=concurrency)

    assert f"concurrency={concurrency!r} is not a whole number from 1" == str(caught.value)
