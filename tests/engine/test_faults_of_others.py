"""Holds the engine to it that it has none of the faults found in engines like it: one test for each."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    Budget,
    BudgetExhausted,
    Committed,
    Converged,
    Engine,
    Gate,
    GateError,
    Invariant,
    InvariantViolated,
    Proposal,
    Reject,
    Result,
    Violation,
    goal,
    invariant,
    propose,
    suggestor,
)
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context, Decided, Fact, FactLog, Failure, Malformed, Payload, Rejected, View, replay, verify
from quiesce.facts.event import CycleCommitted
from support.runs import run_under


class Ticket(Payload, key="seeds", family="faults-ticket"):
    text: str = ""


class Rule(Payload, key="constraints", family="faults-rule"):
    text: str = ""


class Plan(Payload, key="strategies", family="faults-plan", max_bytes=10_000):
    queue: str = ""


class Letter(Payload, key="strategies", family="faults-letter"):
    text: str = ""


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)


@suggestor
def write(plan: Fact[Plan]) -> Letter:
    return Letter(text=plan.payload.queue)


PLANS = Gate("plans", families=[Plan])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def tickets(*ids: str, context: Context | None = None) -> Context:
    context = context if context is not None else Context()
    for id in ids:
        context.add(Ticket(text=id), id=id)
    return context


def none_of(cls: type[Payload], on: Any, name: str) -> Invariant:
    return invariant(reads=[cls], on=on, name=name)(lambda view: Violation("one") if view.all(cls) else None)


def promoted(result: Result) -> list[str]:
    """Returns the refs of every fact in the log of a run, in order."""
    events = [logged.event for logged in result.log.events(result.run_id)]
    return [fact.ref for event in events if isinstance(event, CycleCommitted) for fact in event.facts]


# --- the loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["commit", "cycle", "convergence"])
def test_the_quiet_cycle_is_checked_before_a_run_converges(on: Any) -> None:
    """F.8, J.25: the check of meaning was skipped in the last cycle, in which nothing new was proposed."""
    result = Engine([plan, write], invariants=[none_of(Letter, on, "no_letters")]).run_sync(tickets("t1"))

    assert ("no_letters", on) == (result.stop.invariant, result.stop.on)  # type: ignore[union-attr]  # it is a violation


@given(facts=st.integers(0, 12))
def test_no_budget_of_facts_is_ever_overshot(facts: int) -> None:
    """F.9: the check came after the merge, so the overshoot was in the context when it was found."""
    result = Engine([plan, write]).run_sync(tickets("t1", "t2", "t3"), budget=Budget(facts=facts))

    assert len(promoted(result)) <= facts
    assert isinstance(result.stop, Converged if facts >= 9 else BudgetExhausted)


def test_inputs_count_against_the_budget() -> None:
    """F.9, J.24: staged inputs were not checked against any budget."""
    result = Engine([plan]).run_sync(tickets("t1", "t2", "t3"), budget=Budget(facts=2))

    assert BudgetExhausted("facts", 2, 3, (), ()) == result.stop


def test_saying_the_same_twice_is_no_conflict() -> None:
    """F.10, J.20: any duplicate id was a conflict that ended the run, the identical one too."""

    @suggestor
    def again(ticket: Fact[Ticket]) -> Plan:
        return Plan(queue=ticket.payload.text)

    result = Engine([plan, again]).run_sync(tickets("t1", "t1"))

    assert (Converged(1), ["faults-ticket:t1", "faults-plan:t1"]) == (result.stop, promoted(result))


@pytest.mark.parametrize(
    "proposal", [propose(Plan(), id=""), propose(Plan(), id="a\nb"), propose(Plan(queue="x" * 10_000))]
)
def test_ids_and_sizes_are_checked(proposal: Proposal[Plan]) -> None:
    """F.11, J.21: neither was, although the comments said so."""

    @suggestor
    def careless(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return proposal

    result = Engine([careless]).run_sync(tickets("t1"))

    assert (0, 1) == (len(result.context.of(Plan)), len(result.context.of(Rejected)))


@pytest.mark.parametrize("because", [[], ["nothing:known"], [""]])
def test_one_proposal_without_sound_reasons_takes_nothing_from_the_others(because: list[str]) -> None:
    """F.12, J.23: one proposal with an empty provenance ended the run for all."""

    @suggestor
    def groundless(ticket: Fact[Ticket]) -> Proposal[Letter]:
        return propose(Letter(text="a"), because=because)

    result = Engine([groundless, plan]).run_sync(tickets("t1"))

    assert (["t1"], True) == (list(result.context.of(Plan)), isinstance(result.stop, Converged))


def test_inputs_are_promoted_in_the_order_in_which_they_were_added() -> None:
    """F.14, J.26: across keys the order was that of a hash map, another one in every process."""
    context = Context()
    for number in range(20):
        context.add(Ticket(text=str(number)) if number % 3 else Rule(text=str(number)), id=str(number))
    result = Engine([plan]).run_sync(context, budget=Budget(cycles=0))

    assert [str(number) for number in range(20)] == [ref.partition(":")[2] for ref in promoted(result)]


def test_blank_input_is_kept() -> None:
    """F.14: input of white space only was dropped without a word."""
    context = Context()
    context.admit("faults-ticket", "t1", b"   ")
    result = Engine([plan]).run_sync(context)

    assert [b"   "] == [fact.payload.raw for fact in result.context.of(Malformed).values()]


@pytest.mark.parametrize("on", ["commit", "cycle"])
def test_inputs_are_checked_by_the_invariants(on: Any) -> None:
    """F.16, J.24: staged inputs were not checked."""
    result = Engine([plan], invariants=[none_of(Ticket, on, "no_tickets")]).run_sync(tickets("t1"))

    assert (InvariantViolated("no_tickets", on, "one", ()), []) == (result.stop, list(result.context.of(Plan)))


def test_a_suggestor_of_nothing_does_not_run_for_ever() -> None:
    """F.7: suggestors without dependencies ran in every cycle, and the run never settled."""
    calls = []

    @suggestor(reads=[], writes=[Ticket])
    def source(view: View) -> Ticket:
        calls.append(view.cycle)
        return Ticket(text="a")

    assert (Converged(3), [1]) == (Engine([source, plan, write]).run_sync().stop, calls)


# --- people in the loop -----------------------------------------------------------------------------------------------


async def test_a_pause_survives_its_process(tmp_path: Path) -> None:
    """F.18, J.31: the pause was an object in memory and could not be written down."""
    path = tmp_path / "run.jsonl"
    with FactLog.open(path) as log:
        stop = (await Engine([plan], gates=[PLANS]).run(tickets("t1"), log=log, run_id="r")).stop
    assert isinstance(stop, AwaitingApproval)

    with FactLog.open(path) as log:
        result = await Engine([plan], gates=[PLANS]).resume("r", [Approve(stop.gates[0], by="ana")], log=log)

        assert ["t1"] == list(result.context.of(Plan))


async def test_gates_expire() -> None:
    """F.18, J.31: a gate could be given a time, but nothing ever came of it."""
    engine = Engine([plan], gates=[Gate("soon", families=[Plan], expires=timedelta(hours=1), default="approve")])
    result = await engine.run(tickets("t1"), started=NOON)
    late = await engine.resume(result, now=NOON + timedelta(hours=1))

    assert (["t1"], ["expiry"]) == (
        list(late.context.of(Plan)),
        [fact.payload.by for fact in late.context.of(Decided).values()],
    )


async def test_after_one_approval_the_other_proposals_are_still_gated() -> None:
    """F.19, J.27: what was left of the paused effect went past the gate when the first was decided."""
    engine = Engine([plan], gates=[PLANS])
    result = await engine.run(tickets("t1", "t2", "t3"))
    first, *others = result.gates
    after = await engine.resume(result, [Approve(first, by="ana")])

    assert (["t1"], others) == (list(after.context.of(Plan)), list(after.gates))


async def test_what_was_rejected_is_not_promoted_by_a_second_proposal() -> None:
    """F.19, J.27: the rejected id was promoted when it was proposed once more."""

    @suggestor
    def insist(decided: Fact[Decided]) -> Proposal[Plan]:
        return propose(Plan(queue="t1"), id="t1")

    engine = Engine([plan, insist], gates=[PLANS])
    result = await engine.run(tickets("t1"))
    after = await engine.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    assert ([], {}, True) == (list(after.context.of(Plan)), after.gates, isinstance(after.stop, Converged))


async def test_resuming_does_not_set_the_cycle_back() -> None:
    """F.19, J.28: the logical clock began again at zero after a pause."""
    engine = Engine([plan, write], gates=[PLANS])
    result = await engine.run(tickets("t1"))
    after = await engine.resume(result, [Approve(next(iter(result.gates)), by="ana")])

    facts = [after.context.of(Ticket)["t1"], after.context.of(Plan)["t1"], after.context.of(Letter)["t1"]]
    assert [0, 2, 3] == [fact.cycle for fact in facts]
    assert after.context == replay(after.log, after.run_id)


async def test_inputs_of_the_time_of_a_pause_are_not_lost() -> None:
    """F.19, J.29: what was staged while a run was paused was gone after it was resumed."""
    engine = Engine([plan], gates=[PLANS])
    result = await engine.run(tickets("t1"))
    tickets("t2", context=result.context)
    after = await engine.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    assert ["t1", "t2"] == list(after.context.of(Ticket))
    assert ["faults-plan:t2"] == [one.ref for one in after.gates.values()]


async def test_a_wrong_gate_does_not_use_up_the_pause() -> None:
    """F.20, J.32: an unknown gate id was an error, and the pause was gone with it."""
    engine = Engine([plan], gates=[PLANS])
    result = await engine.run(tickets("t1"))
    with pytest.raises(GateError):
        await engine.resume(result, [Approve("g-of-somebody-else", by="ana")])

    after = await engine.resume(result, [Approve(next(iter(result.gates)), by="ana")])

    assert ["t1"] == list(after.context.of(Plan))


async def test_a_rejection_in_one_run_is_none_in_the_next() -> None:
    """F.21, J.30: the engine remembered what was rejected, and every later run went without."""
    engine = Engine([plan], gates=[PLANS])
    result = await engine.run(tickets("t1"))
    await engine.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    assert list(result.gates) == list((await engine.run(tickets("t1"))).gates)


async def test_the_same_content_under_a_new_id_is_not_asked_for_again() -> None:
    """F.21: a new id asked again, for ever."""

    @suggestor
    def insist(decided: Fact[Decided]) -> list[Plan]:
        return [Plan(queue="t1")]

    engine = Engine([plan, insist], gates=[PLANS], budget=Budget(cycles=20))
    result = await engine.run(tickets("t1"))
    after = await engine.resume(result, [Reject(next(iter(result.gates)), by="ana")])

    assert ({}, True) == (after.gates, isinstance(after.stop, Converged))


def test_every_way_to_run_asks_the_gates() -> None:
    """J.30: the plain `run` did not know of the gates; only another method did."""
    engine = Engine([plan], gates=[PLANS])

    async def all_ways() -> list[list[str]]:
        stream = engine.stream(tickets("t1"))
        async with stream as events:
            async for _ in events:
                pass
        (many,) = await engine.run_many([tickets("t1")])
        return [list(one.context.of(Plan)) for one in (await engine.run(tickets("t1")), many, stream.result)]

    assert [[], [], [], []] == [*anyio.run(all_ways), list(engine.run_sync(tickets("t1")).context.of(Plan))]


async def test_a_resumed_run_tells_of_its_facts_as_every_other_does() -> None:
    """F.22, J.28: no event told of facts that were promoted in runs with gates, nor of diagnostics."""
    told: list[str] = []

    def note(notice: Any) -> None:
        if isinstance(notice, Committed) and isinstance(notice.event, CycleCommitted):
            told.extend(fact.ref for fact in notice.event.facts)

    @suggestor
    def fail(ticket: Fact[Ticket]) -> None:
        raise ValueError("a diagnostic")

    engine = Engine([plan, fail, write], gates=[PLANS], observers=[note])
    result = await engine.run(tickets("t1"))
    after = await engine.resume(result, [Approve(next(iter(result.gates)), by="ana")])

    assert sorted(fact.ref for fact in after.context) == sorted(told)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "resource"), [(Budget(tokens=59), "tokens"), (Budget(cost=0.5), "cost")])
def test_limits_of_tokens_and_cost_are_enforced(budget: Budget, resource: str) -> None:
    """F.24, J.35: an intent could name them, and nobody looked."""

    @suggestor
    def ask(ticket: Fact[Ticket]) -> Proposal[Plan]:
        return propose(Plan(), tokens=20, cost=0.25)

    result = Engine([ask]).run_sync(tickets("t1", "t2", "t3"), budget=budget)

    assert (resource, []) == (result.stop.resource, list(result.context.of(Plan)))  # type: ignore[union-attr]  # it is spent


async def test_a_limit_of_time_is_enforced_against_what_hangs() -> None:
    """F.24, J.35, J.22: a time limit could be named, and a suggestor that hung hung the engine."""
    clock = FakeClock()

    @suggestor
    async def hang(ticket: Fact[Ticket]) -> Plan:
        await anyio.sleep_forever()
        raise AssertionError

    result = await run_under(clock, 10, Engine([hang], clock=clock), tickets("t1"), budget=Budget(seconds=5))

    assert BudgetExhausted("seconds", 5, 5.0, (), ()) == result.stop


async def test_what_a_suggestor_raises_stays_in_it() -> None:
    """F.28, J.22: a panic went through the engine and took the run with it."""

    @suggestor
    async def panic(ticket: Fact[Ticket]) -> Plan:
        raise RuntimeError("panic")

    result = await Engine([panic, plan]).run(tickets("t1"))

    assert (["t1"], ["panic"]) == (
        list(result.context.of(Plan)),
        [fact.payload.message for fact in result.context.of(Failure).values()],
    )


# --- the record -------------------------------------------------------------------------------------------------------


def test_what_comes_out_of_a_log_goes_on_with_the_clock_where_it_was() -> None:
    """F.30, J.34: a restored snapshot began at time zero again."""
    engine = Engine([plan, write])
    result = engine.run_sync(tickets("t1"))
    restored = replay(result.log, result.run_id)
    after = engine.run_sync(tickets("t2", context=restored), log=result.log)

    assert (result.context.trail.cycle + 1, ["t1", "t2"]) == (
        after.context.of(Ticket)["t2"].cycle,
        list(after.context.of(Letter)),
    )


def test_every_check_that_the_log_names_was_made() -> None:
    """F.32, J.36: checks were recorded as passed that nobody had run."""
    asked: set[str] = set()

    def asks(name: str) -> Any:
        return lambda view: asked.add(name)

    checks = [invariant(reads=[Ticket], on=on, name=on)(asks(on)) for on in ("commit", "cycle", "convergence")]
    wanted = goal(reads=[Ticket], name="wanted")(asks("wanted"))
    result = Engine([plan], invariants=checks).run_sync(tickets("t1"), goals=[wanted])

    settings = result.log.started(result.run_id).settings
    assert asked == {*settings["goals"], *(known["name"] for known in settings["invariants"])}


@given(first=st.lists(st.text(max_size=3), max_size=3), second=st.lists(st.text(max_size=3), max_size=3))
def test_other_settings_leave_another_log(first: list[str], second: list[str]) -> None:
    """F.33, J.36: a hash over glued texts gave two policies one name; here SHA-256 covers them as JSON."""
    logs = []
    for names in (first, second):
        checks = [invariant(reads=[Ticket], name=name or "-")(lambda view: None) for name in names]
        result = Engine([plan], invariants=checks).run_sync(run_id="r", seed=1, started=NOON)
        logs.append(result.log.to_bytes("r"))

    assert ([name or "-" for name in first] == [name or "-" for name in second]) == (logs[0] == logs[1])


def test_times_in_the_log_are_those_of_the_clock() -> None:
    """F.39, F.17, J.37: events bore a placeholder for a time, the epoch."""
    clock = FakeClock(NOON)
    result = Engine([plan], clock=clock).run_sync(tickets("t1"))

    assert NOON.isoformat() == result.log.started(result.run_id).started


def test_what_an_observer_raises_is_not_swallowed() -> None:
    """F.39, J.37: the observer of the experience store swallowed every error, so a gap in it went unseen."""

    def full(notice: Any) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        Engine([plan], observers=[full]).run_sync(tickets("t1"))


def test_events_of_two_runs_do_not_take_each_other_s_names(tmp_path: Path) -> None:
    """F.39, J.37: event ids were counted anew in every process and clashed; the store was in memory only."""
    for _ in range(2):
        with FactLog.open(tmp_path / "runs.jsonl") as log:
            Engine([plan]).run_sync(tickets("t1"), log=log)

    with FactLog.open(tmp_path / "runs.jsonl") as log:
        assert [True, True] == [verify(log, run).ok for run in log.runs()]
        assert [["t1"], ["t1"]] == [list(replay(log, run).of(Plan)) for run in log.runs()]


def test_whether_a_goal_is_met_is_never_left_open() -> None:
    """F.25: without an evaluator a run "converged" with criteria that nobody had looked at."""

    @goal(reads=[Letter])
    def written(view: View) -> bool:
        return len(view.all(Letter)) > 0

    results = [engine.run_sync(tickets("t1"), goals=[written]) for engine in (Engine([plan]), Engine([plan, write]))]

    assert ["Unmet", "Met"] == [type(result.goals["written"]).__name__ for result in results]


def test_a_conflict_is_told_in_words() -> None:
    """F.10: the error was a dump of the objects; here a fact names both sides, and `why` tells who lost."""

    @suggestor
    def other(ticket: Fact[Ticket]) -> Iterator[Proposal[Plan]]:
        yield propose(Plan(queue="other"), id=ticket.id)

    result = Engine([plan, other]).run_sync(tickets("t1"))

    lost = "×  lost: Plan(queue='other') by other (contested)"
    assert (Converged(1), True) == (result.stop, lost in str(result.why("faults-plan:t1")))
