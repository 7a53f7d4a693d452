"""Holds the loop to what design section 4 promises: who is woken, by what, what they see, and when a run is quiet."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
    InvocationEnded,
    InvocationStarted,
    Notice,
    Proposal,
    Suggestor,
    describe,
    propose,
    suggestor,
)
from quiesce.engine.testing import Turns, assert_deterministic
from quiesce.facts import All, Context, Fact, FactLog, Failure, Payload, View, replay, verify
from quiesce.facts.event import ContextCarried, CycleCommitted, RunStarted
from support.runs import run_while


class Ticket(Payload, key="seeds", family="settling-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="settling-plan"):
    queue: str = ""


class Review(Payload, key="evaluations", family="settling-review"):
    verdict: str = ""


class Level(Payload, key="signals", family="settling-level"):
    value: int = 0

    def join(self, other: "Level") -> "Level":
        return self if self.value >= other.value else other


class Count(Payload, key="signals", family="settling-count"):
    value: int = 0


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)


@suggestor
def review(plan: Fact[Plan]) -> Review:
    return Review(verdict=plan.payload.queue)


def tickets(*ids: str, context: Context | None = None) -> Context:
    context = context if context is not None else Context()
    for id in ids:
        context.add(Ticket(text=id), id=id)
    return context


class Calls:
    """Notes who was called for what."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str | None]] = []

    def __call__(self, notice: Notice) -> None:
        if isinstance(notice, InvocationStarted):
            self.made.append((notice.suggestor, notice.trigger))

    def take(self) -> list[tuple[str, str | None]]:
        made, self.made = self.made, []
        return made


FIXED: dict[str, Any] = {"run_id": "fixed", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}


# --- S1 to S6 ---------------------------------------------------------------------------------------------------------


async def test_s1_the_same_input_leaves_the_same_bytes() -> None:
    @suggestor
    async def guess(ticket: Fact[Ticket], view: View) -> Review:
        await anyio.lowlevel.checkpoint()
        return Review(verdict=str(view.rng.integers(1_000_000)))

    engine = Engine([plan, guess])
    first, second = [await engine.run(tickets("t1", "t2"), log=FactLog.open(), **FIXED) for _ in range(2)]

    assert first.log.to_bytes("fixed") == second.log.to_bytes("fixed")
    assert first.context == second.context


async def test_s1_whoever_finishes_first_the_order_is_that_of_registration() -> None:
    """Here the last to be registered ends first."""
    turns = Turns()

    def taking(name: str) -> Suggestor:
        async def take(ticket: Fact[Ticket]) -> Proposal[Review]:
            await turns.take(name)
            return propose(Review(verdict=name), id=name)

        return suggestor(name=name)(take)

    engine = Engine([taking(name) for name in ("a", "b", "c")], observers=[turns])

    async def backwards() -> None:
        for name in ("c", "b", "a"):
            await turns.release(name)

    result = await run_while(backwards, engine, tickets("t1"))

    assert ["a", "b", "c"] == list(result.context.of(Review))


def test_s2_suggestors_of_one_cycle_do_not_see_each_other_s_proposals() -> None:
    seen = []

    @suggestor(reads=(Ticket, Plan), writes=[])
    def look(view: View) -> None:
        seen.append((view.cycle, [found.id for found in view.all(Plan)]))

    Engine([plan, look]).run_sync(tickets("t1"))

    assert [(1, []), (2, ["t1"])] == seen


def test_s3_only_who_reads_what_is_new_is_called() -> None:
    calls = Calls()

    @suggestor
    def recount(count: Fact[Count]) -> None: ...

    Engine([recount, review, plan], observers=[calls]).run_sync(tickets("t1", "t2"))

    expected = [("plan", "settling-ticket:t1"), ("plan", "settling-ticket:t2"),
                ("review", "settling-plan:t1"), ("review", "settling-plan:t2")]  # fmt: skip
    assert expected == calls.take()


@given(start=st.integers(0, 20), top=st.integers(0, 20))
def test_s4_a_loop_over_a_join_ends(start: int, top: int) -> None:
    """Facts are only revised upward, and there is a top."""

    @suggestor
    def climb(level: Fact[Level]) -> Level:
        return Level(value=min(top, level.payload.value + 1))

    context = Context()
    context.add(Level(value=start), id="water")
    result = Engine([climb]).run_sync(context)

    assert max(start, top) == result.context.of(Level)["water"].payload.value
    assert Converged(max(0, top - start) + 1) == result.stop


async def test_s5_nobody_waits_for_who_cannot_matter() -> None:
    """Two cycles behind `plan` go by while `slow`, whom nobody reads, is still in the first."""
    turns = Turns()

    @suggestor
    async def slow(ticket: Fact[Ticket]) -> Count:
        await turns.take("slow")
        return Count(value=1)

    @suggestor
    async def plan_async(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue="a")

    @suggestor
    async def review_async(plan: Fact[Plan]) -> Review:
        return Review(verdict="a")

    engine = Engine([slow, plan_async, review_async], observers=[turns])

    async def wait_for_the_end_of_the_others() -> None:
        await turns.started("review_async")
        await turns.release("slow")

    result = await run_while(wait_for_the_end_of_the_others, engine, tickets("t1"))

    assert {Count: 1, Plan: 1, Review: 2} == {type(fact.payload): fact.cycle for fact in result.context if fact.cycle}


async def test_s5_a_barrier_is_there_for_who_asks() -> None:
    """With lookahead=0 nobody starts before the cycle before is over."""
    turns, order = Turns(), []

    @suggestor
    async def slow(ticket: Fact[Ticket]) -> Count:
        await turns.take("slow")
        return Count(value=1)

    def note(notice: Notice) -> None:
        if isinstance(notice, InvocationStarted | InvocationEnded):
            order.append((type(notice).__name__.removeprefix("Invocation"), notice.suggestor))

    engine = Engine([slow, plan, review], observers=[turns, note], lookahead=0)

    async def end_slow() -> None:
        await turns.release("slow")

    await run_while(end_slow, engine, tickets("t1"))

    assert order.index(("Ended", "slow")) < order.index(("Started", "review"))


async def test_s6_an_engine_of_sync_suggestors_creates_no_task(anyio_backend: str) -> None:
    """Nothing else runs while it settles: there is nobody to hand over to."""
    tasks = []

    def note(notice: Notice) -> None:
        tasks.append(anyio.get_current_task().id)

    await Engine([plan, review], observers=[note]).run(tickets("t1"))

    assert {anyio.get_current_task().id} == set(tasks)


# --- who is woken -----------------------------------------------------------------------------------------------------


def test_a_suggestor_without_reads_runs_once_in_the_first_cycle() -> None:
    calls = []

    @suggestor(reads=[], writes=[Plan])
    def start(view: View) -> Plan:
        calls.append(view.cycle)
        return Plan(queue="first")

    engine = Engine([start, review])
    first = engine.run_sync()
    second = engine.run_sync(tickets("t1", context=first.context))

    assert [1] == calls
    assert ["first"] == [fact.payload.verdict for fact in second.context.of(Review).values()]


def test_a_context_without_anything_is_quiet_at_once() -> None:
    assert Converged(0) == Engine([plan]).run_sync().stop
    assert Converged(0) == Engine().run_sync(tickets("t1")).stop


def test_who_does_not_accept_is_asked_again_when_something_is_new() -> None:
    """What it did not take stays new to it."""
    shown = []

    def enough(view: View) -> bool:
        return len(view.all(Plan)) >= 2

    @suggestor(reads=[Plan], writes=[Review], accepts=enough)
    def compare(view: View) -> Review:
        shown.append([found.id for found in view.new(Plan)])
        return Review(verdict="compared")

    engine = Engine([plan, compare])
    first = engine.run_sync(tickets("t1"))
    second = engine.run_sync(tickets("t2", context=first.context))

    assert [["t1", "t2"]] == shown
    assert ([], ["compared"]) == (
        list(first.context.of(Review)),
        [fact.payload.verdict for fact in second.context.of(Review).values()],
    )


def test_a_per_fact_suggestor_may_accept_too() -> None:
    def enough(view: View) -> bool:
        return len(view.all(Ticket)) >= 2

    @suggestor(accepts=enough)
    def pair(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue=ticket.id)

    engine = Engine([pair])
    first = engine.run_sync(tickets("t1"))
    second = engine.run_sync(tickets("t2", context=first.context))

    assert ([], ["t1", "t2"]) == (list(first.context.of(Plan)), list(second.context.of(Plan)))


def test_a_view_shows_what_is_new_since_its_suggestor_last_ran() -> None:
    shown = []

    @suggestor(reads=[Ticket, Level], writes=[Level])
    def batch(view: View) -> Iterator[Any]:
        shown.append((view.cycle, [f.id for f in view.new(Ticket)], [f.payload.value for f in view.new(Level)]))
        for _ in view.new(Ticket):
            yield propose(Level(value=1), id="water")
        for level in view.new(Level):
            yield propose(Level(value=min(2, level.payload.value + 1)), id=level.id)

    Engine([batch]).run_sync(tickets("t1"))

    assert [(1, ["t1"], []), (2, [], [1]), (3, [], [2])] == shown


def test_a_view_does_not_change_while_it_is_looked_at() -> None:
    kept: list[View] = []

    @suggestor(reads=(Plan, Ticket), writes=[])
    def keep(view: View) -> None:
        kept.append(view)

    Engine([plan, keep]).run_sync(tickets("t1"))

    assert [[], ["t1"]] == [[found.id for found in view.all(Plan)] for view in kept]
    assert [None, "t1"] == [found and found.id for found in (view.get(Plan, "t1") for view in kept)]


def test_a_revision_wakes_who_reads_it_and_shows_the_last_one() -> None:
    shown = []

    @suggestor
    def watch(level: Fact[Level], levels: All[Level]) -> None:
        shown.append((level.payload.value, [found.payload.value for found in levels]))

    @suggestor
    def climb(level: Fact[Level]) -> Level:
        return Level(value=min(2, level.payload.value + 1))

    context = Context()
    context.add(Level(value=0), id="water")
    Engine([watch, climb]).run_sync(context)

    assert [(0, [0]), (1, [1]), (2, [2])] == shown


def test_the_same_again_wakes_nobody() -> None:
    calls = Calls()

    @suggestor
    def repeat(plan: Fact[Plan]) -> Proposal[Plan]:
        return propose(Plan(queue=plan.payload.queue), id=plan.id)

    result = Engine([plan, repeat], observers=[calls]).run_sync(tickets("t1"))

    assert [("plan", "settling-ticket:t1"), ("repeat", "settling-plan:t1")] == calls.take()
    assert Converged(2) == result.stop


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["the same log", "another log"])
def test_a_converged_context_run_again_executes_nothing(where: str) -> None:
    calls = Calls()
    engine = Engine([plan, review], observers=[calls])
    first = engine.run_sync(tickets("t1"))
    calls.take()

    second = engine.run_sync(first.context, log=first.log if where == "the same log" else FactLog.open())

    assert ([], Converged(0), first.context) == (calls.take(), second.stop, second.context)
    assert second.context == replay(second.log, second.run_id)


@pytest.mark.parametrize("where", ["the same log", "another log"])
def test_a_new_fact_wakes_only_what_it_touches(where: str) -> None:
    calls = Calls()
    engine = Engine([plan, review], observers=[calls])
    first = engine.run_sync(tickets("t1"))
    calls.take()

    log = first.log if where == "the same log" else FactLog.open()
    second = engine.run_sync(tickets("t2", context=first.context), log=log)

    assert [("plan", "settling-ticket:t2"), ("review", "settling-plan:t2")] == calls.take()
    assert (["t1", "t2"], 5) == (list(second.context.of(Review)), second.context.of(Review)["t2"].cycle)
    assert second.context == replay(log, second.run_id)


@pytest.mark.parametrize("where", ["the same log", "another log"])
def test_a_new_version_of_a_suggestor_sees_everything_again(where: str) -> None:
    def make(version: str) -> Suggestor:
        @suggestor(version=version, name="judge")
        def judge(plan: Fact[Plan]) -> Proposal[Review]:
            return propose(Review(verdict=version), id=f"{plan.id}-{version}")

        return judge

    first = Engine([plan, make("1")]).run_sync(tickets("t1", "t2"))
    log = first.log if where == "the same log" else FactLog.open()
    calls = Calls()
    second = Engine([plan, make("2")], observers=[calls]).run_sync(first.context, log=log)

    assert [("judge", "settling-plan:t1"), ("judge", "settling-plan:t2")] == calls.take()
    assert ["t1-1", "t2-1", "t1-2", "t2-2"] == list(second.context.of(Review))
    assert second.context == replay(log, second.run_id)
    assert Converged(0) == Engine([plan, make("2")]).run_sync(second.context).stop


@pytest.mark.parametrize("where", ["the same log", "another log"])
def test_a_suggestor_that_is_new_to_a_context_sees_everything(where: str) -> None:
    first = Engine([plan]).run_sync(tickets("t1", "t2"))
    log = first.log if where == "the same log" else FactLog.open()
    calls = Calls()

    second = Engine([plan, review], observers=[calls]).run_sync(first.context, log=log)

    assert [("review", "settling-plan:t1"), ("review", "settling-plan:t2")] == calls.take()
    assert ["t1", "t2"] == list(second.context.of(Review))


def test_a_suggestor_that_was_away_sees_what_it_missed() -> None:
    """Packs and registrations change from run to run; what was seen is remembered by name."""
    first = Engine([plan, review]).run_sync(tickets("t1"))
    second = Engine([plan]).run_sync(tickets("t2", context=first.context))
    calls = Calls()
    Engine([plan, review], observers=[calls]).run_sync(second.context)

    assert [("review", "settling-plan:t2")] == calls.take()


def test_in_the_same_log_a_run_names_its_parent_and_repeats_nothing() -> None:
    engine, log = Engine([plan]), FactLog.open()
    first = engine.run_sync(tickets("t1"), log=log, run_id="first")
    engine.run_sync(tickets("t2", context=first.context), log=log, run_id="second")

    started = log.started("second")
    kinds = [type(logged.event) for logged in log.events("second")]
    assert started.parent is not None
    assert ("first", first.context.trail.seq) == (started.parent.run, started.parent.seq)
    assert ContextCarried not in kinds
    assert [verify(log, run).ok for run in ("first", "second")] == [True, True]


def test_in_another_log_a_run_carries_its_context() -> None:
    """So that it can be replayed where its parent is not."""
    engine, log = Engine([plan]), FactLog.open()
    first = engine.run_sync(tickets("t1"))
    second = engine.run_sync(tickets("t2", context=first.context), log=log)

    kinds = [type(logged.event) for logged in log.events(second.run_id)]
    assert log.started(second.run_id).parent is None
    assert [RunStarted, ContextCarried] == kinds[:2]
    assert verify(log, second.run_id).ok
    assert Converged(0) == engine.run_sync(replay(log, second.run_id)).stop


def test_branches_of_one_context_do_not_see_each_other() -> None:
    engine = Engine([plan, review])
    base = engine.run_sync(tickets("t1"))

    left = engine.run_sync(tickets("left", context=base.context.copy()), log=base.log)
    right = engine.run_sync(tickets("right", context=base.context.copy()), log=base.log)

    assert [["t1", "left"], ["t1", "right"], ["t1"]] == [list(one.context.of(Review)) for one in (left, right, base)]
    assert [left.context, right.context] == [replay(base.log, run.run_id) for run in (left, right)]


def test_a_run_does_not_change_the_context_that_it_is_given() -> None:
    context = tickets("t1")
    before, inputs = context.copy(), context.inputs

    Engine([plan, review]).run_sync(context)

    assert (before, inputs, None) == (context, context.inputs, context.trail.run)


@given(parts=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=1, max_size=4))
def test_going_on_knows_what_one_run_over_everything_knows(parts: list[list[str]]) -> None:
    """In whatever pieces the input comes, the same facts are known at the end, and nobody was called twice for one."""
    calls = Calls()
    engine = Engine([plan, review], observers=[calls])
    context = Context()
    for part in parts:
        context = engine.run_sync(tickets(*part, context=context)).context
    piecewise = calls.take()
    whole = engine.run_sync(tickets(*(id for part in parts for id in part))).context

    assert {fact.ref for fact in whole} == {fact.ref for fact in context}
    assert sorted(calls.take(), key=str) == sorted(piecewise, key=str)


# --- what never settles -----------------------------------------------------------------------------------------------


@suggestor
def count_on(count: Fact[Count]) -> Count:
    return Count(value=count.payload.value + 1)


def test_a_loop_without_a_join_ends_by_the_budget_which_names_it() -> None:
    context = Context()
    context.add(Count(value=0))
    result = Engine([count_on], budget=Budget(cycles=5)).run_sync(context)

    assert BudgetExhausted("cycles", 5, 5, ("count_on",), ("count_on",)) == result.stop
    assert "stopped at 5 of 5 cycles; still proposing: count_on; round and round: count_on → count_on" == describe(
        result.stop
    )


def test_a_loop_of_several_is_named_in_the_order_of_the_round() -> None:
    @suggestor
    def ping(count: Fact[Count]) -> list[Level]:
        return [Level(value=count.payload.value)]

    @suggestor
    def pong(level: Fact[Level]) -> list[Count]:
        return [Count(value=level.payload.value + 1)]

    @suggestor
    def watch(level: Fact[Level]) -> Review:
        return Review(verdict=str(level.payload.value))

    context = Context()
    context.add(Count(value=0))
    stop = Engine([ping, pong, watch], budget=Budget(cycles=8)).run_sync(context).stop

    assert isinstance(stop, BudgetExhausted)
    assert {("ping", "pong"), ("pong", "ping")} >= {stop.loop}
    assert "watch" not in stop.loop


def test_of_several_loops_the_shortest_is_named() -> None:
    """It is the easiest to understand; the others are likely to go through it."""

    @suggestor
    def ping(count: Fact[Count]) -> list[Level]:
        return [Level(value=count.payload.value)]

    @suggestor
    def pong(level: Fact[Level]) -> list[Count]:
        return [Count(value=level.payload.value + 5)]

    context = Context()
    context.add(Count(value=0))
    stop = Engine([ping, pong, count_on], budget=Budget(cycles=4)).run_sync(context).stop

    assert ("count_on",) == stop.loop  # type: ignore[union-attr]  # it is a spent budget


def test_a_failure_that_causes_failures_ends_by_the_budget() -> None:
    """Reacting to failures by failing is a loop like any other."""

    @suggestor
    def worse(failure: Fact[Failure]) -> Plan:
        raise ValueError("and again")

    @suggestor
    def first(ticket: Fact[Ticket]) -> Plan:
        raise ValueError("once")

    result = Engine([first, worse], budget=Budget(cycles=6)).run_sync(tickets("t1"))

    assert ("cycles", 6) == (result.stop.resource, len(result.context.of(Failure)))  # type: ignore[union-attr]  # it is


async def test_every_finishing_order_leaves_the_same_log() -> None:
    """With failures, a join and a suggestor that reads everything that the others write."""

    @suggestor
    async def raise_level(plan: Fact[Plan]) -> Proposal[Level]:
        if plan.id == "t2":
            raise ValueError("no")
        return propose(Level(value=len(plan.id)), id="all")

    @suggestor
    async def sum_up(level: Fact[Level], plans: All[Plan], failures: All[Failure]) -> Review:
        return Review(verdict=f"{level.payload.value} {len(plans)} {len(failures)}")

    engine = Engine([sum_up, raise_level, plan, review])

    await assert_deterministic(engine, tickets("t1", "t2", "t-three"), seeds=range(20), faults=0.1)


def events_of(log: FactLog, run: str, cls: type[Any]) -> list[Any]:
    return [logged.event for logged in log.events(run) if isinstance(logged.event, cls)]


def test_the_log_names_who_ran_in_each_cycle() -> None:
    result = Engine([review, plan]).run_sync(tickets("t1"))

    ran = [event.ran for event in events_of(result.log, result.run_id, CycleCommitted)]
    assert [(), ("plan",), ("review",)] == [tuple(names) for names in ran]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_every_cycle_can_be_looked_at(at: int) -> None:
    result = Engine([plan, review]).run_sync(tickets("t1", "t2"))

    cycles: Callable[[Context], list[int]] = lambda context: sorted({fact.cycle for fact in context})  # noqa: E731  # short
    assert list(range(at + 1)) == cycles(replay(result.log, result.run_id, at=at))


def test_events_are_told_in_the_order_of_the_log() -> None:
    told: list[Committed] = []

    def note(notice: Notice) -> None:
        if isinstance(notice, Committed):
            told.append(notice)

    result = Engine([plan, review], observers=[note]).run_sync(tickets("t1"))

    logged = [(one.seq, type(one.event)) for one in result.log.events(result.run_id)]
    assert logged == [(one.seq, type(one.event)) for one in told]
