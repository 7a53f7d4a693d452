"""Holds goals to it that their outcome stands in the result, and that a run may end once they are met."""

from collections.abc import Callable
from typing import Any

import pytest

from quiesce.engine import (
    Blocked,
    Budget,
    BudgetExhausted,
    Converged,
    Engine,
    Goal,
    GoalsMet,
    InvalidOption,
    Met,
    Unmet,
    goal,
    suggestor,
)
from quiesce.facts import Context, Fact, Payload, View


class Ticket(Payload, key="seeds", family="goals-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="goals-plan"):
    queue: str = ""


class Step(Payload, key="signals", family="goals-step"):
    number: int = 0


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.id)


@suggestor
def step_on(step: Fact[Step]) -> list[Step]:
    return [Step(number=step.payload.number + 1)]


@goal(reads=[Plan])
def planned(view: View) -> bool:
    return len(view.all(Plan)) > 0


@goal(reads=[Step])
def far_enough(view: View) -> Met | Unmet:
    far = [fact.ref for fact in view.all(Step) if fact.payload.number >= 3]
    return Met(tuple(far)) if far else Unmet("not at three yet")


def context(*payloads: Payload) -> Context:
    made = Context()
    for payload in payloads:
        made.add(payload, id="x" if isinstance(payload, Ticket) else None)
    return made


def test_the_outcomes_stand_in_the_result() -> None:
    @goal(reads=[Ticket], required=False)
    def answered(view: View) -> Blocked:
        return Blocked("nobody is at the desk")

    result = Engine([plan]).run_sync(context(Ticket()), goals=[planned, far_enough, answered])

    expected = {"planned": Met(), "far_enough": Unmet("not at three yet"), "answered": Blocked("nobody is at the desk")}
    assert (expected, Converged(1)) == (result.goals, result.stop)


def test_a_run_may_end_once_its_goals_are_met() -> None:
    result = Engine([step_on]).run_sync(context(Step(number=0)), goals=[far_enough], stop_when_met=True)

    assert (GoalsMet(("far_enough",)), 3) == (result.stop, result.cycles)
    assert result is result.unwrap()


def test_without_being_asked_to_a_run_does_not_end_there() -> None:
    result = Engine([step_on], budget=Budget(cycles=5)).run_sync(context(Step(number=0)), goals=[far_enough])

    assert isinstance(result.stop, BudgetExhausted)
    assert isinstance(result.goals["far_enough"], Met)


def test_all_required_goals_must_be_met_and_no_other() -> None:
    @goal(reads=[Step], required=False)
    def nice(view: View) -> bool:
        return False

    @goal(reads=[Step])
    def further(view: View) -> bool:
        return len(view.all(Step)) >= 6

    result = Engine([step_on]).run_sync(context(Step(number=0)), goals=[nice, far_enough, further], stop_when_met=True)

    assert (GoalsMet(("far_enough", "further")), 5, Unmet()) == (result.stop, result.cycles, result.goals["nice"])


def test_goals_that_the_input_meets_end_the_run_before_anybody_is_called() -> None:
    result = Engine([step_on]).run_sync(context(Step(number=3)), goals=[far_enough], stop_when_met=True)

    assert (GoalsMet(("far_enough",)), 0) == (result.stop, result.cycles)


def test_a_goal_is_asked_of_a_context_that_brings_nothing_new() -> None:
    """Its outcome stands in every result, also where no cycle was needed."""
    engine = Engine([plan])
    first = engine.run_sync(context(Ticket()))

    assert {"planned": Met()} == engine.run_sync(first.context, goals=[planned]).goals
    assert {"planned": Unmet()} == engine.run_sync(goals=[planned]).goals


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        (lambda view: 1 / 0, Unmet("the test raised ZeroDivisionError: division by zero")),
        (lambda view: "yes", Unmet("the test returned 'yes'; it returns a bool, Met, Unmet or Blocked")),
        (lambda view: None, Unmet("the test returned None; it returns a bool, Met, Unmet or Blocked")),
    ],
)
def test_a_goal_that_cannot_be_checked_is_unmet(test: Callable[[View], Any], outcome: Unmet) -> None:
    result = Engine([plan]).run_sync(context(Ticket()), goals=[Goal("odd", test, (Plan,))], stop_when_met=True)

    assert ({"odd": outcome}, Converged(1)) == (result.goals, result.stop)


def test_what_is_no_goal_is_refused() -> None:
    with pytest.raises(InvalidOption) as caught:
        Engine().run_sync(goals=[len])  # type: ignore[list-item]

    assert f"goals={len!r} is not a list of Goal objects; use the decorator of that name" == str(caught.value)


def test_one_class_where_a_list_belongs_is_told() -> None:
    with pytest.raises(InvalidOption) as caught:
        goal(reads=Plan)  # type: ignore[arg-type]  # that is the mistake

    assert f"goal.reads={Plan!r} is not a list of payload classes" == str(caught.value)
