"""Shows that a run is a trajectory: turns are steps, what became of proposals their outcome, the stop the verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings

from quiesce.engine import (
    Approve,
    Budget,
    CancelSwitch,
    Engine,
    Gate,
    Reject,
    Violation,
    goal,
    invariant,
    propose,
    suggestor,
)
from quiesce.facts import All, Context, CutOff, Fact, FactLog, Payload, UnknownRun, View
from quiesce.suggestors.trajectories.from_run import trajectory_of
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import Trajectory
from quiesce.suggestors.trajectories.verdict import RootCause, Verdict
from support.strategies import World, context_of, engine_of, worlds

FIXED: dict[str, Any] = {"run_id": "r", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}


class Order(Payload, key="seeds", family="trajectory-order"):
    n: int


class Offer(Payload, key="proposals", family="trajectory-offer"):
    n: int


class Note(Payload, key="signals", family="trajectory-note"):
    n: int


@suggestor(reads=[Order], writes=[Offer])
def offer(view: View) -> Any:
    for order in view.new(Order):
        yield propose(Offer(n=order.payload.n), id=order.id, confidence=0.8, tokens=5, cost=0.25)


@suggestor(reads=[Offer], writes=[Offer])
def mute(view: View) -> None:
    return None


@suggestor(reads=[Order], writes=[Offer, Note])
def fails(view: View) -> Any:
    raise KeyError("no price")


@suggestor(reads=[Order], writes=[Note])
def half(view: View) -> Any:
    yield propose(Note(n=1), id="good", confidence=0.6)
    yield propose(Note(n=2), id="", confidence=0.4)


@suggestor(reads=[Order], writes=[Note])
def refused(view: View) -> Any:
    yield Offer(n=1)


@suggestor
def also(order: Fact[Order], offers: All[Offer]) -> Note | None:
    if order.payload.n == 13:
        raise ValueError("unlucky")
    return Note(n=order.payload.n)


@suggestor
def loop(note: Fact[Note]) -> Note:
    return Note(n=note.payload.n + 1)


def run(engine: Engine, *orders: int, log: FactLog | None = None, **options: Any) -> tuple[FactLog, Trajectory]:
    context = Context()
    for number in orders or (1,):
        context.add(Order(n=number), id=f"o{number}")
    kept = log if log is not None else FactLog.open()
    engine.run_sync(context, log=kept, **{**FIXED, **options})
    return kept, trajectory_of(kept, "r")


def kinds(found: Trajectory) -> list[tuple[str, str]]:
    return [(step.action, step.outcome.kind) for step in found.steps]


def test_each_turn_is_a_step_with_the_outcome_of_what_it_proposed() -> None:
    _, found = run(Engine([offer, mute, fails, half, refused]))

    assert [
        ("offer", "success"), ("fails", "failure"), ("half", "partial"), ("refused", "failure"), ("mute", "skipped"),
    ] == kinds(found)  # fmt: skip
    assert [0.8, 1.0, 0.6, 1.0, 1.0] == [step.confidence for step in found.steps]
    assert StepOutcome.failure("raised KeyError: 'no price'") == found.steps[1].outcome
    assert "trajectory-note:good" in found.steps[2].outcome.model_dump()["achieved"]
    assert "Give a printable text" in found.steps[2].outcome.model_dump()["missing"]
    assert "declares writes=[Note]" in str(found.steps[3].outcome.problem)
    assert (Verdict.success(), 5, "0.25") == (found.verdict, found.total_tokens, found.metadata.attributes["cost"])


def test_calls_of_one_turn_are_judged_together() -> None:
    """Of three facts one raised: what the others brought is there."""
    _, found = run(Engine([also]), 12, 13, 14)

    assert [("also", "partial")] == kinds(found)
    outcome = found.steps[0].outcome.model_dump()
    assert "trajectory-note:o12; trajectory-note:o14" == outcome["achieved"]
    assert "raised ValueError: unlucky" == outcome["missing"]


def test_latency_is_what_the_log_keeps_beside_the_chain() -> None:
    log, found = run(Engine([offer, mute]))
    took = {name: one[0] for logged in log.events("r") for name, one in logged.beside.get("took", {}).items()}

    assert {"offer", "mute"} == set(took)
    assert [took[step.action] * 1_000 for step in found.steps] == [step.latency_ms for step in found.steps]
    assert sum(took.values()) * 1_000 == pytest.approx(found.latency_ms)


def test_without_telemetry_the_latency_is_nothing() -> None:
    log, _ = run(Engine([offer, mute]))
    bare = FactLog.open()
    bare.load(log.to_bytes("r"))

    assert {0.0} == {step.latency_ms for step in trajectory_of(bare, "r").steps}


@pytest.mark.parametrize(
    "beside",
    [
        {"took": 3},
        {"took": {"offer": "x"}},
        {"took": {"offer": [-1, 1]}},
        {"took": {"offer": []}},
        {"took": {"offer": [10**400, 1]}},
        {"took": {"offer": [1e308, 1]}},
        {"took": {"offer": [1e16, 1]}},
        {"took": {"offer": [1, 10**5000]}},
    ],
    ids=range(8),
)
def test_telemetry_of_any_shape_spoils_nothing(beside: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    log, found = run(Engine([offer]))
    events = [replace(logged, beside=beside) for logged in log.events("r")]
    monkeypatch.setattr(log, "events", lambda *_: iter(events))

    assert kinds(found) == kinds(trajectory_of(log, "r"))


def test_telemetry_of_more_years_than_there_are_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from quiesce.suggestors.trajectories import from_run

    log, found = run(Engine([offer]))
    monkeypatch.setattr(from_run, "LONGEST", 1e12)
    events = [replace(logged, beside={"took": {"offer": [9e11, 1]}}) for logged in log.events("r")]
    monkeypatch.setattr(log, "events", lambda *_: iter(events))

    assert kinds(found) == kinds(trajectory_of(log, "r"))


def test_the_stop_of_a_run_is_its_verdict() -> None:
    @invariant(reads=[Offer], on="commit")
    def cheap(view: View) -> Violation | None:
        return Violation("too dear") if any(one.payload.n > 5 for one in view.new(Offer)) else None

    @goal(reads=[Offer])
    def offered(view: View) -> bool:
        return len(view.all(Offer)) > 0

    spent, broken = Engine([also, loop]), Engine([offer], invariants=[cheap])

    assert Verdict.success() == run(Engine([offer]))[1].verdict
    assert Verdict.success() == run(Engine([offer, mute]), goals=[offered], stop_when_met=True)[1].verdict
    found = run(spent, budget=Budget(cycles=7))[1]
    assert Verdict.failure(RootCause.resource_constraint("cycles", 7)) == found.verdict
    assert "stopped at" in found.metadata.attributes["stop"]
    cause = RootCause.reasoning_error("logical_inconsistency", "cheap: too dear")
    assert Verdict.failure(cause) == run(broken, 9)[1].verdict


async def test_a_run_that_was_called_off_failed() -> None:
    switch = CancelSwitch()

    @suggestor
    def call_off(order: Fact[Order]) -> Note:
        switch.cancel("enough")
        return Note(n=1)

    context, log = Context(), FactLog.open()
    context.add(Order(n=1))
    await Engine([call_off, loop]).run(context, log=log, cancel=switch, **FIXED)

    assert Verdict.failure(RootCause.unknown("it was cancelled: enough")) == trajectory_of(log, "r").verdict


def test_a_conflict_is_a_contradiction() -> None:
    class Stern(Payload, key="strategies", family="trajectory-stern", on_conflict="stop"):
        n: int

    @suggestor(reads=[Order], writes=[Stern])
    def one(view: View) -> Any:
        return propose(Stern(n=1), id="x")

    @suggestor(reads=[Order], writes=[Stern])
    def other(view: View) -> Any:
        return propose(Stern(n=2), id="x")

    found = run(Engine([one, other]))[1]

    assert (True, "reasoning_error") == (found.failed, getattr(found.verdict.cause, "kind", None))
    assert "contradict each other" in str(found.verdict.cause)


@pytest.mark.parametrize("approve", [True, False])
def test_what_waits_for_a_person_is_partial_until_it_is_decided(approve: bool) -> None:
    log, engine = FactLog.open(), Engine([offer], gates=[Gate("offers", families=[Offer])])
    _, waiting = run(engine, log=log)
    (gate,) = [
        gate
        for logged in log.events("r")
        if (parked := getattr(logged.event, "parked", None))
        for gate in [parked.gate]
    ]
    decision = Approve(gate, by="ana") if approve else Reject(gate, by="ana", reason="too dear")
    engine.resume_sync("r", [decision], log=log)
    decided = trajectory_of(log, "r")

    assert ([("offer", "partial")], Verdict.partial(0.0)) == (kinds(waiting), waiting.verdict)
    assert "waits for approval at gate" in waiting.steps[0].outcome.model_dump()["missing"]
    assert [("offer", "success" if approve else "failure")] == kinds(decided)
    if not approve:
        assert StepOutcome.failure("trajectory-offer:o1 was rejected by ana: too dear") == decided.steps[0].outcome


def test_a_run_that_has_not_ended_is_unfinished() -> None:
    log, _ = run(Engine([offer, mute]))
    cut = FactLog.open()
    events = [logged.event for logged in log.events("r")]
    cut.append("r", events[:2], seq=0)  # type: ignore[arg-type]  # a text will do

    assert not trajectory_of(cut, "r").is_finished


def test_a_compacted_run_has_the_same_steps() -> None:
    log, before = run(Engine([offer, mute, fails, half, refused]))
    log.compact("r")
    after = trajectory_of(log, "r")

    assert [(one.action, one.outcome, one.confidence) for one in before.steps] == [
        (one.action, one.outcome, one.confidence) for one in after.steps
    ]
    assert (before.quality, before.verdict, before.uuid) == (after.quality, after.verdict, after.uuid)
    with pytest.raises(CutOff, match="cannot be told from what came before"):
        trajectory_of(log, "r", after=2)


def test_a_run_that_is_not_there_is_told() -> None:
    with pytest.raises(UnknownRun):
        trajectory_of(FactLog.open(), "r")


@pytest.mark.slow
@given(world=worlds())
@settings(max_examples=40)
async def test_any_run_is_a_trajectory_and_the_same_whenever_it_is_asked_for(world: World) -> None:
    log = FactLog.open()
    await engine_of(world).run(context_of(world), log=log, **FIXED)
    found = trajectory_of(log, "r")
    ran = [(cycle, name) for logged in log.events("r") for name in getattr(logged.event, "ran", ())
           for cycle in [getattr(logged.event, "cycle", 0)]]  # fmt: skip

    assert found == trajectory_of(log, "r")
    assert found == Trajectory.model_validate_json(found.model_dump_json())
    assert ran == [(int(step.metadata.attributes["cycle"]), step.action) for step in found.steps]
    assert 0 <= found.quality <= 1
    assert found.is_finished
