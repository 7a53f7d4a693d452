"""Keeps out faults that attacking the engine brought to light, one test each."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    Committed,
    Converged,
    Engine,
    EngineError,
    Gate,
    Notice,
    NotKept,
    Reject,
    Suggestor,
    Violation,
    invariant,
    propose,
    suggestor,
)
from quiesce.engine.testing import Turns, simulate
from quiesce.facts import Context, Decided, Fact, FactLog, Failure, Payload, RunStopped, View, replay, verify

FIXED: dict[str, Any] = {"run_id": "r", "seed": 0, "started": datetime(2026, 1, 1, tzinfo=UTC)}


class Ticket(Payload, key="seeds", family="attacks-ticket"):
    n: int = 0


class Plan(Payload, key="strategies", family="attacks-plan"):
    n: int = 0


class Review(Payload, key="evaluations", family="attacks-review"):
    n: int = 0


class Price(Payload, key="evaluations", family="attacks-price"):
    n: int = 0


def tickets(count: int) -> Context:
    context = Context()
    for n in range(count):
        context.add(Ticket(n=n), id=str(n))
    return context


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(n=ticket.payload.n)


def costly(cls: type[Payload], cost: float) -> Suggestor:
    @suggestor(reads=[Ticket], writes=[cls], name=cls.__name__)
    async def ask(view: View) -> Any:
        return propose(cls(), cost=cost)

    made: Suggestor = ask
    return made


async def test_the_sum_of_costs_does_not_depend_on_who_ended_first() -> None:
    """0.1 + 0.2 + 0.3 is another number in another order, so they are added up at once."""
    engine = Engine([costly(Plan, 0.1), costly(Review, 0.2), costly(Price, 0.3)])

    assert (await simulate(engine, tickets(1), seeds=range(20))).unwrap().ok


async def test_what_a_violation_names_is_known_in_its_cycle_or_not_rested_on() -> None:
    """A ref that other work had promoted ahead of the cycle is not known yet, with and without a barrier."""

    @suggestor
    async def slow(ticket: Fact[Ticket]) -> Price:
        return Price()

    @suggestor
    async def first(ticket: Fact[Ticket]) -> Plan:
        return Plan()

    @suggestor
    async def second(plan: Fact[Plan]) -> Review:
        return Review()

    @invariant(reads=[Price], on="cycle")
    def none(view: View) -> Violation | None:
        return Violation("there is a price", ["attacks-review:0"]) if view.all(Price) else None

    simulation = await simulate(Engine([slow, first, second], invariants=[none]), tickets(1), seeds=range(30))

    assert simulation.unwrap().ok


def test_each_gate_that_holds_a_proposal_has_to_be_passed() -> None:
    engine = Engine([plan], gates=[Gate("legal", families=[Plan]), Gate("finance", families=[Plan])])
    first = engine.run_sync(tickets(1))
    second = engine.resume_sync(first, [Approve(gate, by="ana") for gate in first.gates])
    third = engine.resume_sync(second, [Approve(gate, by="ben") for gate in second.gates])

    assert [AwaitingApproval, AwaitingApproval, Converged] == [type(one.stop) for one in (first, second, third)]
    asked = [[parked.policy for parked in one.gates.values()] for one in (first, second)]
    assert [["legal"], ["finance"]] == asked
    assert [0, 0, 1] == [len(one.context.of(Plan)) for one in (first, second, third)]


def test_a_gate_is_open_in_every_cycle_before_its_decision() -> None:
    engine = Engine([plan], gates=[Gate("all", families=[Plan])])
    first = engine.run_sync(tickets(1))
    engine.resume_sync(first, [Approve(gate, by="ana") for gate in first.gates])
    then = replay(first.log, first.run_id, at=1)

    assert (list(first.gates), {}) == (list(then.trail.gates), then.trail.decided)


def test_a_decision_in_a_later_run_is_a_fact_of_its_own() -> None:
    """What ana approved does not rest on what bob had rejected the day before."""
    engine = Engine([plan], gates=[Gate("all", families=[Plan])])
    first = engine.run_sync(tickets(1))
    refused = engine.resume_sync(first, [Reject(gate, by="bob") for gate in first.gates])
    known = refused.context.copy()
    known.add(Ticket(n=0), id="again")
    engine = Engine([suggestor(name="anew")(lambda_plan)], gates=[Gate("all", families=[Plan])])
    asked = engine.run_sync(known)
    done = engine.resume_sync(asked, [Approve(gate, by="ana") for gate in asked.gates])

    grounds = [done.context.find(ref) for fact in done.context.of(Plan).values() for ref in fact.because]
    decided = [fact.payload for fact in grounds if fact is not None and isinstance(fact.payload, Decided)]
    assert decided
    assert all(one.approved and one.by == "ana" for one in decided)


def lambda_plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(n=ticket.payload.n)


async def test_a_run_under_way_is_not_written_to_by_another() -> None:
    """Somebody resumes by its id what is still running: the second to write is fenced, and the log stays sound."""
    turns, log = Turns(), FactLog.open()

    @suggestor
    async def held(ticket: Fact[Ticket]) -> Plan:
        await turns.take("held")
        return Plan()

    engine, caught = Engine([held], observers=[turns]), []

    async def run() -> None:
        try:
            await engine.run(tickets(1), log=log, **FIXED)
        except NotKept as error:
            caught.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await turns.started("held")
        await Engine([]).resume("r", log=log, accept_changes=True)
        await turns.release("held")

    assert (1, True) == (len(caught), verify(log, "r").ok)


def test_a_log_that_was_opened_before_sees_that_a_run_has_gone_on(tmp_path: Path) -> None:
    engine, path = Engine([plan], gates=[Gate("all", families=[Plan])]), tmp_path / "log.jsonl"
    stale, log = FactLog.open(path), FactLog.open(path)
    first = engine.run_sync(tickets(1), log=log, run_id="r")
    gate = next(iter(first.gates))
    engine.resume_sync(first, [Approve(gate, by="ana")])
    log.close()

    with pytest.raises(EngineError, match="has gone on since this result"):
        engine.resume_sync(first, [Reject(gate, by="bob")], log=stale)
    assert verify(stale, "r").ok


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_whose_task_somebody_cancels_is_a_failure_of_its_own() -> None:
    """Trio has no way to cancel another's task."""

    @suggestor
    async def cancels_itself(ticket: Fact[Ticket]) -> Plan:
        await anyio.lowlevel.checkpoint()
        task = asyncio.current_task()
        if ticket.payload.n == 1 and task is not None:
            task.cancel()
        await asyncio.sleep(0)
        return Plan(n=ticket.payload.n)

    result = await Engine([cancels_itself]).run(tickets(3))

    assert (["0", "2"], 1) == (list(result.context.of(Plan)), len(result.context.of(Failure)))
    assert isinstance(result.stop, Converged)


async def test_context_variables_of_one_call_are_not_seen_by_the_next() -> None:
    """Neither by the next in the same worker, whether it waits or not."""
    who, seen = ContextVar("who", default="nobody"), []

    async def answer(ticket: Fact[Ticket]) -> Plan:
        seen.append(who.get())
        who.set(ticket.id)
        if ticket.payload.n % 2:
            await anyio.lowlevel.checkpoint()
        return Plan(n=ticket.payload.n)

    await Engine([suggestor(answer)]).run(tickets(6))

    assert ["nobody"] * 6 == seen


def test_a_message_that_cannot_be_written_does_not_stop_the_log() -> None:
    log = FactLog.open()

    def refuse(_notice: Any) -> None:
        raise ValueError("file \udcff")

    with pytest.raises(ValueError, match="file"):
        Engine([plan]).run_sync(tickets(1), log=log, run_id="r", observers=[refuse])
    after = Engine([plan]).run_sync(tickets(1), log=log, run_id="after")

    assert (True, True) == (verify(log, "r").ok, verify(log, "after").ok)
    assert isinstance(after.stop, Converged)


@pytest.mark.parametrize("open_log", [FactLog.open, lambda: None], ids=["memory", "jsonl"])
def test_runs_in_several_threads_can_share_a_log(open_log: Callable[[], FactLog | None], tmp_path: Path) -> None:
    log = open_log() or FactLog.open(tmp_path / "log.jsonl")
    engine, base = Engine([plan]), tickets(20)

    def work(name: int) -> None:
        for n in range(5):
            engine.run_sync(base.copy(), run_id=f"{name}-{n}", log=log)

    threads = [Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 30 == len(log.runs())
    assert all(verify(log, run).ok for run in log.runs())


def test_observers_are_told_of_the_root_that_the_log_keeps() -> None:
    told: list[Notice] = []
    result = Engine([plan]).run_sync(tickets(2), observers=[told.append])
    roots = [one.event.root for one in told if isinstance(one, Committed) and isinstance(one.event, RunStopped)]

    assert [verify(result.log, result.run_id).root] == roots
