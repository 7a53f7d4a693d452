"""Holds stops to one union: each is described, written and read back."""

import json
from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce import engine
from quiesce.engine import (
    AwaitingApproval,
    Budget,
    BudgetExhausted,
    Cancelled,
    Conflict,
    Converged,
    Engine,
    GoalsMet,
    InvariantViolated,
    Stop,
    Unsettled,
    describe,
    suggestor,
)
from quiesce.engine.stop import stop_from_json, stop_to_json
from quiesce.facts import Context, Fact, FactLog, Payload

EACH: list[tuple[Stop, str]] = [
    (Converged(1), "converged after 1 cycle"),
    (Converged(0), "converged after 0 cycles"),
    (GoalsMet(("planned", "sent")), "met its goals: planned, sent"),
    (BudgetExhausted("cost", 1.5, 1.75, ()), "stopped at 1.75 of 1.5 cost"),
    (
        BudgetExhausted("cycles", 9, 9, ("a", "b"), ("a", "b")),
        "stopped at 9 of 9 cycles; still proposing: a, b; round and round: a → b → a",
    ),
    (
        InvariantViolated("one_queue", "commit", "a plan names none", ()),
        "violated 'one_queue' on commit: a plan names none",
    ),
    (
        InvariantViolated("one_queue", "cycle", "a plan names none", ("plan:t1", "plan:t2")),
        "violated 'one_queue' on cycle: a plan names none (plan:t1, plan:t2)",
    ),
    (Conflict("plan:t1", "a", "b"), "stopped on a conflict about plan:t1: a and b contradict each other"),
    (AwaitingApproval(("g-1", "g-2")), "waits for approval of g-1, g-2"),
    (
        AwaitingApproval(("g-1",), "2026-01-01T00:00:00+00:00"),
        "waits for approval until 2026-01-01T00:00:00+00:00 of g-1",
    ),
    (Cancelled("the operator said so"), "was cancelled: the operator said so"),
]


@pytest.mark.parametrize(("stop", "text"), EACH)
def test_each_stop_is_told_in_one_sentence(stop: Stop, text: str) -> None:
    assert text == describe(stop)


def test_the_examples_are_of_every_stop_that_there_is() -> None:
    assert set(get_args(Stop)) == {type(stop) for stop, _ in EACH}


def test_one_union_lists_the_stops() -> None:
    """What the engine exports and what can be read from a log are the same."""
    from quiesce.engine.stop import _kinds

    assert set(get_args(Stop)) == set(_kinds.values())
    assert {stop.__name__ for stop in get_args(Stop)} <= set(engine.__all__)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(0, 10**9),
    "float": st.floats(0, 1e12) | st.integers(0, 10**9),
    "str": st.text(),
    "str | None": st.none() | st.text(),
    "tuple[str, ...]": st.lists(st.text()).map(tuple),
    "Resource": st.sampled_from(["cycles", "facts", "seconds", "tokens", "cost"]),
    "Literal['commit', 'cycle', 'convergence']": st.sampled_from(["commit", "cycle", "convergence"]),
}


def stops() -> st.SearchStrategy[Stop]:
    """Returns a strategy over every member of the union, made from its fields."""
    made: list[st.SearchStrategy[Stop]] = []
    for cls in get_args(Stop):
        parts = {field.name: VALUES[str(field.type).replace('"', "'")] for field in fields(cls)}
        made.append(st.builds(cls, **parts))
    return st.one_of(made)


@given(stop=stops())
def test_a_stop_that_was_written_is_read_back(stop: Stop) -> None:
    assert stop == stop_from_json(json.loads(json.dumps(stop_to_json(stop))))


@given(stop=stops())
def test_every_stop_can_be_described(stop: Stop) -> None:
    assert describe(stop).strip()


@pytest.mark.parametrize(
    "data", [{}, {"kind": "gone"}, {"kind": "converged"}, {"kind": "converged", "cycles": 1, "more": 2}]
)
def test_what_is_no_stop_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no stop that this build knows") as caught:
        stop_from_json(data)

    assert f"{data!r} is no stop that this build knows" == str(caught.value)


# --- in a result ------------------------------------------------------------------------------------------------------


class Step(Payload, key="signals", family="stops-step"):
    number: int = 0


class Owner(Payload, key="signals", family="stops-owner", on_conflict="stop"):
    name: str = ""


@suggestor
def step_on(step: Fact[Step]) -> list[Step]:
    return [Step(number=step.payload.number + 1)] if step.payload.number < 3 else []


def first_step() -> Context:
    context = Context()
    context.add(Step(number=0), id="s")
    return context


def test_the_stop_stands_in_the_log() -> None:
    log = FactLog.open()
    result = Engine([step_on]).run_sync(first_step(), log=log)

    stopped = log.stopped(result.run_id)
    assert stopped is not None
    assert (result.stop, 4) == (stop_from_json(stopped.stop), stopped.promoted)


def test_unwrap_returns_a_settled_result_and_raises_for_any_other() -> None:
    engine = Engine([step_on])
    settled = engine.run_sync(first_step())
    early = engine.run_sync(first_step(), budget=Budget(cycles=1), run_id="early")

    with pytest.raises(Unsettled) as caught:
        early.unwrap()

    told = "Its context and log are in the result; result.stop says why"
    stopped = "stopped at 1 of 1 cycles; still proposing: step_on"
    assert (settled, f"run early {stopped}. {told}") == (settled.unwrap(), str(caught.value))


def test_a_result_is_told_in_one_line() -> None:
    result = Engine([step_on]).run_sync(first_step(), run_id="r1")

    assert "run r1 converged after 4 cycles; 4 facts" == str(result)


def test_a_family_that_tolerates_no_conflict_ends_the_run() -> None:
    """The first in the order of registration stands; the stop names the first who contradicts."""

    @suggestor
    def ana(step: Fact[Step]) -> Owner:
        return Owner(name="ana")

    @suggestor
    def ben(step: Fact[Step]) -> Owner:
        return Owner(name="ben")

    @suggestor
    def cleo(step: Fact[Step]) -> Owner:
        return Owner(name="cleo")

    result = Engine([ana, ben, cleo]).run_sync(first_step())

    assert Conflict("stops-owner:s", "ana", "ben") == result.stop
    assert ["ana"] == [fact.payload.name for fact in result.context.of(Owner).values()]
