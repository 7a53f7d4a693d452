"""Holds budgets to it: an overshoot is never committed, the stop says what was measured, and the run can go on."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import (
    Budget,
    BudgetExhausted,
    Converged,
    Engine,
    InvalidOption,
    InvocationStarted,
    Notice,
    Proposal,
    describe,
    propose,
    suggestor,
)
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context, Fact, FactLog, Payload, View, replay, verify
from support.runs import run_under


class Ticket(Payload, key="seeds", family="budget-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="budget-plan"):
    queue: str = ""


class Step(Payload, key="signals", family="budget-step"):
    number: int = 0


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.id)


@suggestor
def step_on(step: Fact[Step]) -> list[Step]:
    """Ends at ten."""
    return [Step(number=step.payload.number + 1)] if step.payload.number < 10 else []


@suggestor
def ask(ticket: Fact[Ticket]) -> Proposal[Plan]:
    """Costs 30 tokens and a quarter."""
    return propose(Plan(queue=ticket.id), tokens=30, cost=0.25)


def tickets(count: int) -> Context:
    context = Context()
    for number in range(count):
        context.add(Ticket(text=str(number)), id=f"t{number}")
    return context


def first_step() -> Context:
    context = Context()
    context.add(Step(number=0))
    return context


def steps(context: Context) -> list[int]:
    return [fact.payload.number for fact in context.of(Step).values()]


# --- cycles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cycles", [0, 1, 4])
def test_cycles_are_counted_and_the_next_is_not_begun(cycles: int) -> None:
    """The input is no cycle; so many cycles are committed, and no call of the next is made."""
    calls = []

    def note(notice: Notice) -> None:
        if isinstance(notice, InvocationStarted):
            calls.append(notice.cycle)

    result = Engine([step_on], budget=Budget(cycles=cycles), observers=[note]).run_sync(first_step())

    restless = ("step_on",) if cycles else ()
    loop = restless if cycles > 1 else ()  # once is no round yet
    assert BudgetExhausted("cycles", cycles, cycles, restless, loop) == result.stop
    assert (list(range(1, cycles + 1)), list(range(cycles + 1))) == (calls, steps(result.context))


def test_a_run_that_needs_exactly_its_cycles_converges() -> None:
    assert Converged(11) == Engine([step_on], budget=Budget(cycles=11)).run_sync(first_step()).stop


# --- facts ------------------------------------------------------------------------------------------------------------


def test_facts_are_counted_with_the_inputs() -> None:
    """Three inputs and three plans."""
    engine = Engine([plan])

    exact = engine.run_sync(tickets(3), budget=Budget(facts=6))
    short = engine.run_sync(tickets(3), budget=Budget(facts=5))

    assert Converged(1) == exact.stop
    assert BudgetExhausted("facts", 5, 6, ("plan",), ()) == short.stop


def test_a_cycle_that_would_overshoot_is_not_committed_in_part() -> None:
    """Neither the context nor the log knows anything of it."""
    result = Engine([plan]).run_sync(tickets(3), budget=Budget(facts=5))

    assert ([], 3) == (list(result.context.of(Plan)), len(result.context))
    assert result.context == replay(result.log, result.run_id)
    assert verify(result.log, result.run_id).ok


def test_inputs_alone_can_overshoot() -> None:
    """They go the way of every other fact; nothing of them is lost to who raises the budget."""
    engine = Engine([plan])
    short = engine.run_sync(tickets(3), budget=Budget(facts=2))

    assert BudgetExhausted("facts", 2, 3, (), ()) == short.stop
    assert 0 == len(replay(short.log, short.run_id))
    assert ["t0", "t1", "t2"] == [fact.id for fact in short.context.inputs]
    assert ["t0", "t1", "t2"] == list(engine.run_sync(short.context, log=short.log).context.of(Plan))


# --- tokens and cost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "stop"),
    [
        (Budget(tokens=89), BudgetExhausted("tokens", 89, 90, ("ask",), ())),
        (Budget(cost=0.7), BudgetExhausted("cost", 0.7, 0.75, ("ask",), ())),
        (Budget(tokens=90, cost=0.75), Converged(1)),
    ],
)
def test_tokens_and_cost_are_what_proposals_report(budget: Budget, stop: Any) -> None:
    result = Engine([ask]).run_sync(tickets(3), budget=budget)

    assert stop == result.stop
    assert (3 if isinstance(stop, Converged) else 0) == len(result.context.of(Plan))


def test_what_was_spent_stands_in_the_trail_and_in_the_log() -> None:
    result = Engine([ask]).run_sync(tickets(3))

    spent = [(trail.tokens, trail.cost) for trail in (result.context.trail, replay(result.log, result.run_id).trail)]
    assert [(90, 0.75)] * 2 == spent


def test_a_refused_proposal_has_cost_what_it_cost() -> None:
    @suggestor
    def waste(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return propose(Plan(queue="a"), id="", tokens=7)

    assert 7 == Engine([waste]).run_sync(tickets(1)).context.trail.tokens


# --- seconds ----------------------------------------------------------------------------------------------------------


async def test_seconds_end_a_run_whose_suggestors_are_slow() -> None:
    clock = FakeClock()

    @suggestor
    async def slow(step: Fact[Step]) -> list[Step]:
        await clock.sleep(10)
        return [Step(number=step.payload.number + 1)]

    result = await run_under(clock, 60, Engine([slow], clock=clock), first_step(), budget=Budget(seconds=35))

    assert BudgetExhausted("seconds", 35, 35.0, ("slow",), ("slow",)) == result.stop
    assert [0, 1, 2, 3] == steps(result.context)


def test_seconds_end_a_run_of_plain_functions_at_the_next_commit() -> None:
    """A function that does not return cannot be stopped, but what came too late is not committed."""
    clock = FakeClock()

    @suggestor
    def slow(step: Fact[Step]) -> list[Step]:
        clock._seconds += 10
        return [Step(number=step.payload.number + 1)]

    result = Engine([slow], clock=clock).run_sync(first_step(), budget=Budget(seconds=35))

    assert BudgetExhausted("seconds", 35, 40.0, ("slow",), ("slow",)) == result.stop
    assert [0, 1, 2, 3] == steps(result.context)


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(cycles=st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_a_run_in_pieces_comes_to_the_same_as_one(cycles: list[int]) -> None:
    """Each new run over a context that a budget stopped goes on where it stopped."""
    engine, log = Engine([step_on]), FactLog.open()
    context = first_step()
    for each in cycles:
        context = engine.run_sync(context, log=log, budget=Budget(cycles=each)).context

    assert list(range(min(10, sum(cycles)) + 1)) == steps(context)


async def test_a_stopped_run_can_be_resumed_with_more() -> None:
    """By its result or by its id; what it used before counts."""
    engine = Engine([step_on])
    short = await engine.run(first_step(), budget=Budget(cycles=4))
    longer = await engine.resume(short, budget=Budget(cycles=7))
    whole = await engine.resume(short.run_id, log=short.log, budget=Budget(cycles=1_000))

    assert [list(range(5)), list(range(8)), list(range(11))] == [steps(one.context) for one in (short, longer, whole)]
    assert [(4, 4), (7, 7)] == [(one.stop.limit, one.stop.observed) for one in (short, longer)]  # type: ignore[union-attr]  # they are
    assert (Converged(11), whole.context) == (whole.stop, replay(whole.log, whole.run_id))


async def test_the_suggestor_that_overshot_is_called_again_once_there_is_more() -> None:
    engine = Engine([plan])
    short = await engine.run(tickets(3), budget=Budget(facts=5))

    whole = await engine.resume(short, budget=Budget())

    assert (["t0", "t1", "t2"], Converged(1)) == (list(whole.context.of(Plan)), whole.stop)


async def test_inputs_that_overshot_are_taken_in_once_there_is_more() -> None:
    engine = Engine([plan])
    short = await engine.run(tickets(3), budget=Budget(facts=2))

    assert ["t0", "t1", "t2"] == list((await engine.resume(short, budget=Budget())).context.of(Plan))


# --- who is to blame --------------------------------------------------------------------------------------------------


def test_the_stop_names_who_still_proposed_and_no_loop_where_there_is_none() -> None:
    @suggestor(reads=[Ticket], writes=[Plan])
    def once(view: View) -> Iterator[Plan]:
        yield Plan(queue="a")

    @suggestor
    def count(plan: Fact[Plan]) -> Step:
        return Step(number=1)

    result = Engine([once, count, step_on]).run_sync(tickets(1), budget=Budget(cycles=1))

    assert "stopped at 1 of 1 cycles; still proposing: once" == describe(result.stop)


# --- what is no budget ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cycles", "facts", "seconds", "tokens", "cost"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "3", True])
def test_a_limit_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        Budget(**{name: value})

    assert f"Budget.{name}={value!r} is not a number from 0, or None for no limit" == str(caught.value)


def test_a_run_has_bounds_by_default() -> None:
    """A thousand cycles and a million facts; time and money only if they are asked for."""
    defaults = {"cycles": 1_000, "facts": 1_000_000, "seconds": None, "tokens": None, "cost": None}

    assert defaults == Budget().to_json()
