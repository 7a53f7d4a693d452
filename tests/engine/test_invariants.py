"""Holds invariants to their three moments: before a commit, with each cycle, and at the claim to have converged."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from quiesce.engine import (
    Converged,
    Engine,
    InvalidOption,
    Invariant,
    InvariantViolated,
    Result,
    Violation,
    describe,
    invariant,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, Payload, View, Violated, replay, verify
from quiesce.facts.event import CycleCommitted

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Ticket(Payload, key="seeds", family="invariants-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="invariants-plan"):
    queue: str = ""


class Review(Payload, key="evaluations", family="invariants-review"):
    verdict: str = ""


@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)


@suggestor
def review(plan: Fact[Plan]) -> Review:
    return Review(verdict=plan.payload.queue)


def no_bad(cls: Any, on: Any) -> Invariant:
    """Returns an invariant that no fact of a class says "bad"."""

    @invariant(reads=[cls], on=on, name="no_bad")
    def check(view: View) -> Violation | None:
        wrong = [fact for fact in view.all(cls) if "bad" in fact.payload.model_dump().values()]
        return Violation("somebody says bad", wrong) if wrong else None

    return check


def run(check: Invariant, *texts: str, context: Context | None = None) -> Result:
    context = context if context is not None else Context()
    for text in texts:
        context.add(Ticket(text=text), id=text)
    return Engine([plan, review], invariants=[check]).run_sync(context)


def violated(result: Result) -> list[tuple[str, int, tuple[str, ...], tuple[str, ...]]]:
    found = [(fact, fact.payload) for fact in result.context.of(Violated).values()]
    return [(payload.on, payload.cycle, payload.refs, fact.because) for fact, payload in found]


def rejections(result: Result) -> list[tuple[str, str, Any]]:
    events = [logged.event for logged in result.log.events(result.run_id)]
    lost = [one for event in events if isinstance(event, CycleCommitted) for one in event.rejections]
    return [(one.ref, one.reason, one.payload) for one in lost]


@pytest.mark.parametrize("on", ["commit", "cycle", "convergence"])
def test_an_invariant_that_holds_changes_nothing(on: str) -> None:
    result = run(no_bad(Plan, on), "good")

    assert (Converged(2), []) == (result.stop, violated(result))


def test_a_structural_violation_keeps_the_cycle_s_facts_out() -> None:
    """The log has them as rejections; the diagnostic is all that the cycle brings."""
    result = run(no_bad(Plan, "commit"), "good", "bad")

    assert InvariantViolated("no_bad", "commit", "somebody says bad", ("invariants-plan:bad",)) == result.stop
    assert ([], []) == (list(result.context.of(Plan)), list(result.context.of(Review)))
    refused = "refused: invariant 'no_bad' would not hold"
    assert [
        ("invariants-plan:good", refused, Plan(queue="good")), ("invariants-plan:bad", refused, Plan(queue="bad"))
    ] == rejections(result)  # fmt: skip
    assert [("commit", 1, ("invariants-plan:bad",), ())] == violated(result)


def test_a_semantic_violation_leaves_the_facts_beside_it() -> None:
    result = run(no_bad(Plan, "cycle"), "good", "bad")

    assert InvariantViolated("no_bad", "cycle", "somebody says bad", ("invariants-plan:bad",)) == result.stop
    assert (["good", "bad"], []) == (list(result.context.of(Plan)), list(result.context.of(Review)))
    assert [("cycle", 1, ("invariants-plan:bad",), ("invariants-plan:bad",))] == violated(result)


def test_an_acceptance_violation_stands_against_the_claim_to_have_converged() -> None:
    """Everything is known by then; the violation is a cycle of its own."""
    result = run(no_bad(Plan, "convergence"), "bad")

    assert InvariantViolated("no_bad", "convergence", "somebody says bad", ("invariants-plan:bad",)) == result.stop
    assert ["bad"] == list(result.context.of(Review))
    assert [("convergence", 3, ("invariants-plan:bad",), ("invariants-plan:bad",))] == violated(result)


def test_the_stop_tells_what_is_wrong_with_which_fact() -> None:
    text = describe(run(no_bad(Plan, "cycle"), "bad").stop)

    assert "violated 'no_bad' on cycle: somebody says bad (invariants-plan:bad)" == text


@pytest.mark.parametrize(("on", "kept"), [("commit", []), ("cycle", ["bad"])])
def test_inputs_are_checked_as_everything_else_is(on: str, kept: list[str]) -> None:
    result = run(no_bad(Ticket, on), "bad")

    assert InvariantViolated("no_bad", on, "somebody says bad", ("invariants-ticket:bad",)) == result.stop  # type: ignore[arg-type]  # one of three
    assert (kept, []) == (list(result.context.of(Ticket)), list(result.context.of(Plan)))


@pytest.mark.parametrize("on", ["commit", "cycle", "convergence"])
def test_the_last_cycle_is_checked_too(on: str) -> None:
    """Here nothing is woken after the cycle that breaks it."""
    result = run(no_bad(Review, on), "bad")

    assert ("no_bad", on) == (result.stop.invariant, result.stop.on)  # type: ignore[union-attr]  # it is a violation


@pytest.mark.parametrize("on", ["commit", "cycle", "convergence"])
def test_a_violated_run_has_a_sound_log(on: str) -> None:
    result = run(no_bad(Plan, on), "good", "bad")

    assert verify(result.log, result.run_id).ok
    assert result.context == replay(result.log, result.run_id)


def boom(view: View) -> Violation | None:
    raise ValueError("cannot say")


def odd(view: View) -> Violation | None:
    return False  # type: ignore[return-value]  # that is the mistake


def undeclared(view: View) -> Violation | None:
    return Violation("there is one") if view.all(Ticket) else None


READ = "suggestor 'check' read Ticket in cycle 2, but declares reads=[Plan]. Add it: reads=[Plan, Ticket]"


@pytest.mark.parametrize(
    ("predicate", "reason"),
    [
        (boom, "the predicate raised ValueError: cannot say"),
        (odd, "the predicate returned False; it returns None or Violation(reason)"),
        (undeclared, f"the predicate raised UndeclaredRead: {READ}"),
    ],
)
def test_an_invariant_that_cannot_be_checked_does_not_hold(predicate: Callable[[View], Any], reason: str) -> None:
    check = invariant(reads=[Plan], on="cycle", name="check")(predicate)

    assert InvariantViolated("check", "cycle", reason, ()) == run(check, "good").stop


def test_a_violation_may_name_what_is_not_known() -> None:
    """It stands in the stop and in the diagnostic, which rests on what is known only."""
    check = invariant(reads=[Plan], on="cycle", name="check")(lambda view: Violation("odd", ["no-such:fact"]))
    result = run(check, "good")

    assert [("cycle", 1, ("no-such:fact",), ())] == violated(result)


def test_an_invariant_is_asked_only_when_something_that_it_reads_is_new() -> None:
    """A cycle's cost grows with what is new in it; the claim to have converged is checked in any case."""
    asked = []

    def note(on: str) -> Callable[[View], None]:
        return lambda view: asked.append((on, view.cycle - 1))

    checks = [invariant(reads=[Plan], on=on, name=on)(note(on)) for on in ("commit", "cycle", "convergence")]
    context = Context()
    context.add(Ticket(text="good"), id="good")
    Engine([plan, review], invariants=checks).run_sync(context)

    assert [("commit", 1), ("cycle", 1), ("convergence", 3)] == asked


def test_the_first_violation_in_the_order_given_is_the_stop() -> None:
    checks = [invariant(reads=[Plan], on="cycle", name=name)(lambda view: Violation("no")) for name in ("one", "two")]
    context = Context()
    context.add(Ticket(text="good"), id="good")

    assert "one" == Engine([plan], invariants=checks).run_sync(context).stop.invariant  # type: ignore[union-attr]  # it is a violation


def test_a_view_of_an_invariant_shows_the_cycle_that_is_checked() -> None:
    """Before it is committed too: `new` is what the cycle would bring, `all` is everything with it."""
    shown = []

    @invariant(reads=[Ticket, Plan], on="commit")
    def look(view: View) -> None:
        shown.append(([fact.id for fact in view.new(Plan)], len(view.all(Plan)), len(view.new(Ticket))))

    context = Context()
    context.add(Ticket(text="a"), id="a")
    engine = Engine([plan], invariants=[look])
    first = engine.run_sync(context)
    first.context.add(Ticket(text="b"), id="b")
    engine.run_sync(first.context)

    assert [([], 0, 1), (["a"], 1, 0), ([], 1, 1), (["b"], 2, 0)] == shown


@pytest.mark.parametrize("on", ["never", None])
def test_a_moment_that_does_not_exist_is_refused(on: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        invariant(reads=[Plan], on=on)

    assert f'invariant.on={on!r} is not "commit", "cycle" or "convergence"' == str(caught.value)


def test_one_class_where_a_list_belongs_is_told() -> None:
    with pytest.raises(InvalidOption) as caught:
        invariant(reads=Plan)  # type: ignore[arg-type]  # that is the mistake

    assert f"invariant.reads={Plan!r} is not a list of payload classes" == str(caught.value)


def test_what_is_no_invariant_is_refused_by_the_engine() -> None:
    with pytest.raises(InvalidOption) as caught:
        Engine(invariants=[boom])  # type: ignore[list-item]  # that is the mistake

    assert f"invariants={boom!r} is not a list of Invariant objects; use the decorator of that name" == str(
        caught.value
    )


async def test_a_run_goes_on_after_a_violation_once_the_invariant_is_gone() -> None:
    """What was refused is proposed again, since its suggestor's cycle was refused as a whole."""
    log = FactLog.open()
    context = Context()
    context.add(Ticket(text="bad"), id="bad")
    broken = await Engine([plan, review], invariants=[no_bad(Plan, "cycle")]).run(context, log=log)

    mended = await Engine([plan, review]).resume(broken, accept_changes=True)

    assert (["bad"], True) == (list(mended.context.of(Review)), isinstance(mended.stop, Converged))


@pytest.mark.parametrize("on", ["commit", "cycle", "convergence"])
def test_a_violation_by_an_input_leaves_the_context_that_was_given_alone(on: str) -> None:
    """What the engine says of it stands in the run's context; the input waits in the caller's as before."""
    context = Context()
    said = context.add(Ticket(text="bad"), id="t")
    engine = Engine([plan], invariants=[no_bad(Ticket, on)])
    first = engine.run_sync(context, run_id="r", seed=1, started=NOON)
    again = engine.run_sync(context, run_id="r", seed=1, started=NOON)

    assert ((said,), [said]) == (context.inputs, list(context))
    assert first.log.to_bytes("r") == again.log.to_bytes("r")
