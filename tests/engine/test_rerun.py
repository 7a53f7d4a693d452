"""Shows that a record can be run again without calling anybody impure, and where what comes out parts from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import (
    Approve,
    AwaitingApproval,
    Budget,
    CancelSwitch,
    Engine,
    EngineError,
    Gate,
    Reject,
    Rerun,
    goal,
    propose,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, LogError, Payload, RunResumed, RunStarted, RunStopped, View
from support.strategies import Plain, World, context_of, engine_of, impure, worlds


class Ask(Payload, key="seeds", family="rerun-ask"):
    n: int = 0


class Said(Payload, key="strategies", family="rerun-said"):
    text: str


class Done(Payload, key="proposals", family="rerun-done"):
    text: str


FIXED: dict[str, Any] = {"run_id": "r", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}
asked: list[str] = []


@suggestor(writes=[Said], pure=False, version="1")
async def ask(question: Fact[Ask]) -> Any:
    asked.append(question.id)
    return propose(Said(text=f"call {len(asked)}"), id=question.id, tokens=3)


@suggestor
def finish(said: Fact[Said]) -> Done:
    return Done(text=said.payload.text)


def asks(count: int = 2) -> Context:
    context = Context()
    for n in range(count):
        context.add(Ask(n=n), id=str(n))
    return context


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(world=worlds(), decide=st.booleans(), journaled=st.booleans())
@pytest.mark.slow
def test_a_record_of_anything_comes_out_as_it_was(world: World, decide: bool, journaled: bool) -> None:
    """Contests, failures, gates, resumptions, budgets, violations, parents: with nobody called who is journaled."""
    engine = impure(engine_of(world)) if journaled else engine_of(world)
    log = FactLog.open()

    async def live() -> None:
        result = await engine.run(context_of(world), log=log, **FIXED)
        gates = list(result.gates)
        if decide and gates:
            chosen = [Approve(gate, by="ana") if at % 2 else Reject(gate, by="ben") for at, gate in enumerate(gates)]
            result = await engine.resume(result, chosen)
        known = result.context.copy()
        known.add(Plain(value=9, depth=0), id="late")
        await engine.run(known, log=log, **{**FIXED, "run_id": "child"})

    anyio.run(live)
    before = {run: log.to_bytes(run, beside=True) for run in log.runs()}
    for run in ("r", "child"):
        found = anyio.run(partial(engine.rerun, log, run))

        assert found.same, str(found)
        assert () == found.changes
        unfounded = sum(_took_in_too_much(log, run))  # what was too much is not in the record
        assert len(list(log.events(run))) - unfounded == found.compared
        assert log.to_bytes(run) == found.log.to_bytes(run) or unfounded
    assert before == {run: log.to_bytes(run, beside=True) for run in log.runs()}


def _took_in_too_much(log: FactLog, run: str) -> Iterator[bool]:
    events = [logged.event for logged in log.events(run)]
    for before, event in pairwise(events):
        if isinstance(before, (RunStarted, RunResumed)) and isinstance(event, RunStopped):
            yield event.stop["kind"] == "budget_exhausted"


def test_nobody_impure_is_called() -> None:
    engine = Engine([ask, finish])
    log = FactLog.open()
    engine.run_sync(asks(), log=log, **FIXED)
    calls = len(asked)
    found = engine.rerun_sync(log, "r")

    assert (True, calls) == (found.same, len(asked))
    assert "run r came out as recorded: 5 events" == str(found)
    assert log.to_bytes("r") == found.log.to_bytes("r")
    assert found.unwrap() is found


def test_the_first_fact_that_differs_is_shown_from_both_sides() -> None:
    @suggestor(name="finish")
    def other(said: Fact[Said]) -> Done:
        return Done(text=said.payload.text if said.id == "0" else "something else")

    log = FactLog.open()
    Engine([ask, finish]).run_sync(asks(), log=log, **FIXED)
    found = Engine([ask, other]).rerun_sync(log, "r")
    assert found.parting is not None
    recorded = found.parting.recorded

    assert (2, "facts", 3) == (found.parting.cycle, found.parting.what, found.compared)
    assert recorded.startswith("rerun-done:1 Done(text='call ")
    assert "rerun-done:1 Done(text='something else') by finish because of rerun-said:1" == found.parting.now
    assert not found
    with pytest.raises(LogError, match="parts from its record after 3 events, in cycle 2, facts"):
        found.unwrap()


def test_an_impure_suggestor_of_another_version_parts_where_it_would_be_called() -> None:
    newer = suggestor(ask.call, writes=[Said], pure=False, version="2", name="ask")
    log = FactLog.open()
    Engine([ask, finish]).run_sync(asks(), log=log, **FIXED)
    calls = len(asked)
    found = Engine([newer, finish]).rerun_sync(log, "r")
    assert found.parting is not None

    assert ("call", calls) == (found.parting.what, len(asked))
    assert "'ask' is impure, and nothing was recorded of it in version '2' for what it is shown" in found.parting.now
    assert ("suggestor 'ask' has changed: version '1' → '2'",) == found.changes
    assert "changed since:\n  suggestor 'ask' has changed" in str(found)


def test_answers_are_found_by_what_was_shown_and_not_by_place() -> None:
    """A suggestor that was put in between shifts every cycle behind it."""

    class Between(Payload, key="signals", family="rerun-between"):
        n: int = 0

    @suggestor(name="early")
    def early(question: Fact[Ask]) -> Between:
        return Between(n=question.payload.n)

    log = FactLog.open()
    Engine([ask, finish]).run_sync(asks(), log=log, **FIXED)
    calls = len(asked)
    found = Engine([early, ask, finish]).rerun_sync(log, "r")
    assert found.parting is not None

    assert calls == len(asked)
    assert ("ran", "ask", "early") == (found.parting.what, found.parting.recorded, found.parting.now)
    assert ("suggestor 'early' is new",) == found.changes


def test_a_suggestor_that_is_no_more_parts_where_it_ran() -> None:
    log = FactLog.open()
    Engine([ask, finish]).run_sync(asks(), log=log, **FIXED)
    found = Engine([ask]).rerun_sync(log, "r")
    assert found.parting is not None

    assert ("end", "cycle 2: finish ran, 2 facts") == (found.parting.what, found.parting.recorded)
    assert found.parting.now.startswith("stopped: {'kind': 'converged'")


def test_a_record_that_was_called_off_is_compared_as_far_as_it_goes() -> None:
    switch = CancelSwitch()

    @suggestor(name="stops")
    def stops(said: Fact[Said]) -> Done:
        switch.cancel("enough")
        return Done(text=said.payload.text)

    @suggestor(name="after")
    def after(done: Fact[Done]) -> Ask | None:
        return Ask(n=7)

    engine = Engine([ask, stops, after])
    log = FactLog.open()
    engine.run_sync(asks(1), log=log, cancel=switch, **FIXED)
    found = engine.rerun_sync(log, "r")

    assert found.same, str(found)


def test_an_unfinished_record_is_compared_as_far_as_it_goes() -> None:
    whole = FactLog.open()
    engine = Engine([ask, finish])
    engine.run_sync(asks(), log=whole, **FIXED)
    records = list(whole.records("r"))
    from quiesce.facts import RunId
    from quiesce.facts.stores import Batch, MemoryStore

    store = MemoryStore()
    store.commit(Batch.of(RunId("r"), 0, records[:3]))
    log = FactLog(store)
    log.keep(dict(whole.notes("journal", "r")))
    found = engine.rerun_sync(log, "r")

    assert (True, 3) == (found.same, found.compared)


def test_a_run_with_goals_needs_them() -> None:
    @goal(reads=[Done])
    def done(view: View) -> bool:
        return len(view.all(Done)) > 0

    engine = Engine([ask, finish])
    log = FactLog.open()
    engine.run_sync(asks(), log=log, goals=[done], stop_when_met=True, **FIXED)
    with pytest.raises(EngineError, match="not at hand: done"):
        engine.rerun_sync(log, "r")

    assert engine.rerun_sync(log, "r", goals=[done]).same


def test_decisions_are_given_again() -> None:
    engine = Engine([ask, finish], gates=[Gate("all", families=[Done])])
    log = FactLog.open()
    waiting = engine.run_sync(asks(3), log=log, **FIXED)
    one, two, three = waiting.gates
    engine.resume_sync("r", [Approve(one, by="ana")], log=log)
    engine.resume_sync("r", [Reject(two, by="ben", reason="no")], log=log)
    found: Rerun = engine.rerun_sync(log, "r")

    assert found.same, str(found)
    assert [three] == list(found.context.trail.gates)


def test_a_budget_of_the_record_holds_again() -> None:
    @suggestor(name="on")
    def on(question: Fact[Ask]) -> Ask:
        return Ask(n=question.payload.n + 1)

    log = FactLog.open()
    Engine([on]).run_sync(asks(1), log=log, budget=Budget(cycles=5), **FIXED)

    assert Engine([on]).rerun_sync(log, "r").same


def test_a_run_that_is_not_there_is_told_of() -> None:
    with pytest.raises(LogError, match="run 's' is not in this log"):
        Engine([]).rerun_sync(FactLog.open(), "s")


def test_a_result_can_be_rerun_by_itself() -> None:
    engine = Engine([finish], gates=[Gate("all", families=[Done])])
    context = Context()
    context.add(Said(text="a"))
    result = engine.run_sync(context)

    assert isinstance(result.stop, AwaitingApproval)
    assert engine.rerun_sync(result.log, result).same
