"""Holds cancellation to it that it is quick, that it says so in the log, and that the log is sound."""

import asyncio
from typing import Any

import anyio
import pytest

from quiesce.engine import Cancelled, CancelSwitch, Committed, Converged, Engine, Notice, Result, describe, suggestor
from quiesce.engine.testing import Turns
from quiesce.facts import Context, Fact, FactLog, Payload, replay, verify
from quiesce.facts.event import CycleCommitted
from support.runs import run_while


class Ticket(Payload, key="seeds", family="cancel-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="cancel-plan"):
    queue: str = ""


class Review(Payload, key="evaluations", family="cancel-review"):
    verdict: str = ""


class Step(Payload, key="signals", family="cancel-step"):
    number: int = 0


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.id)


@suggestor
async def never(plan: Fact[Plan]) -> Review:
    await anyio.sleep_forever()
    raise AssertionError


@suggestor
async def never_either(plan: Fact[Plan]) -> Review:
    await anyio.sleep_forever()
    raise AssertionError


@suggestor
def step_on(step: Fact[Step]) -> list[Step]:
    return [Step(number=step.payload.number + 1)]


def one_ticket() -> Context:
    context = Context()
    context.add(Ticket(text="a"), id="t1")
    return context


ALONE, BESIDE = [plan, never], [plan, never, never_either]


@pytest.mark.parametrize("suggestors", [ALONE, BESIDE], ids=["alone", "beside others"])
async def test_a_switch_calls_a_run_off_that_waits(suggestors: list[Any]) -> None:
    """It returns what it has; what was under way is dropped."""
    turns, switch = Turns(), CancelSwitch()

    async def cancel() -> None:
        await turns.started("never")
        switch.cancel("the operator said so")

    result = await run_while(cancel, Engine(suggestors, observers=[turns]), one_ticket(), cancel=switch)

    assert (Cancelled("the operator said so"), ["t1"]) == (result.stop, list(result.context.of(Plan)))
    assert "was cancelled: the operator said so" == describe(result.stop)
    assert (True, result.context) == (verify(result.log, result.run_id).ok, replay(result.log, result.run_id))


def test_a_switch_that_was_thrown_before_calls_off_at_once() -> None:
    switch = CancelSwitch()
    switch.cancel()

    result = Engine([plan]).run_sync(one_ticket(), cancel=switch)

    assert (Cancelled("no reason given"), []) == (result.stop, list(result.context.of(Plan)))


def test_a_switch_stops_a_run_of_plain_functions_between_cycles() -> None:
    switch = CancelSwitch()

    def note(notice: Notice) -> None:
        if isinstance(notice, Committed) and isinstance(notice.event, CycleCommitted) and notice.event.cycle == 3:
            switch.cancel("three is enough")

    context = Context()
    context.add(Step(number=0))
    result = Engine([step_on], observers=[note]).run_sync(context, cancel=switch)

    assert (Cancelled("three is enough"), 4) == (result.stop, len(result.context.of(Step)))


async def test_one_switch_calls_off_every_run_that_was_given_it() -> None:
    turns, switch = Turns(), CancelSwitch()
    engine = Engine([plan, never], observers=[turns])
    results: list[Result] = []

    async def run() -> None:
        results.extend(await engine.run_many([one_ticket(), one_ticket()], cancel=switch))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await turns.started("never", 2)
            switch.cancel("both")

    assert [Cancelled("both")] * 2 == [result.stop for result in results]


async def test_a_switch_thrown_after_the_run_changes_nothing() -> None:
    switch = CancelSwitch()
    result = await Engine([plan]).run(one_ticket(), cancel=switch)
    switch.cancel()

    assert Converged(1) == result.stop


async def test_a_run_that_was_called_off_can_go_on() -> None:
    """What was under way is called again."""
    turns, switch, verdicts = Turns(), CancelSwitch(), [anyio.sleep_forever, anyio.lowlevel.checkpoint]

    @suggestor
    async def review(plan: Fact[Plan]) -> Review:
        await verdicts.pop(0)()
        return Review(verdict="at last")

    async def cancel() -> None:
        await turns.started("review")
        switch.cancel()

    engine = Engine([plan, review], observers=[turns])
    result = await run_while(cancel, engine, one_ticket(), cancel=switch)
    resumed = await engine.resume(result)

    assert ({"t1": "at last"}, Converged(2)) == (
        {id: fact.payload.verdict for id, fact in resumed.context.of(Review).items()},
        resumed.stop,
    )


@pytest.mark.parametrize("suggestors", [ALONE, BESIDE], ids=["alone", "beside others"])
async def test_a_cancelled_scope_ends_the_run_with_a_word_in_the_log(suggestors: list[Any]) -> None:
    turns, log = Turns(), FactLog.open()
    engine = Engine(suggestors, observers=[turns])

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await engine.run(one_ticket(), log=log, run_id="scoped")
            raise AssertionError("it was cancelled")

        tasks.start_soon(run)
        await turns.started("never")
        tasks.cancel_scope.cancel()

    check_cancelled(log, "scoped")


def check_cancelled(log: FactLog, run: str) -> None:
    stopped = log.stopped(run)
    assert stopped is not None
    assert {"kind": "cancelled", "reason": "its task was cancelled"} == stopped.stop
    assert (True, ["t1"]) == (verify(log, run).ok, list(replay(log, run).of(Plan)))


@pytest.mark.parametrize("suggestors", [ALONE, BESIDE], ids=["alone", "beside others"])
def test_a_cancelled_task_of_asyncio_ends_the_run_with_a_word_in_the_log(suggestors: list[Any]) -> None:
    """By asyncio's own task.cancel, which knows nothing of scopes."""
    log = FactLog.open()

    async def main() -> None:
        turns = Turns()
        engine = Engine(suggestors, observers=[turns])
        task = asyncio.create_task(engine.run(one_ticket(), log=log, run_id="native"))
        await turns.started("never")
        task.cancel("shutting down")
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    check_cancelled(log, "native")


async def test_a_timeout_around_a_run_is_a_cancellation() -> None:
    log = FactLog.open()

    with anyio.move_on_after(0.02) as scope:
        await Engine(BESIDE).run(one_ticket(), log=log, run_id="late")

    assert scope.cancelled_caught
    check_cancelled(log, "late")
