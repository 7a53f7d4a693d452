"""Holds the options of run to what they fix: its id, its seed, its time; and what a view tells of them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Budget, Engine, EngineError, InLoop, InvalidOption, Result, suggestor
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context, Fact, FactLog, Payload, View


class Ticket(Payload, key="seeds", family="options-ticket"):
    text: str = ""


class Draw(Payload, key="signals", family="options-draw"):
    number: float = 0
    now: datetime | None = None
    invocation: str = ""


@suggestor
def draw(ticket: Fact[Ticket], view: View) -> Draw:
    return Draw(number=view.rng.random(), now=view.now, invocation=view.invocation)


@suggestor
def draw_too(ticket: Fact[Ticket], view: View) -> list[Draw]:
    return [Draw(number=view.rng.random(), now=view.now, invocation=view.invocation)]


@suggestor(reads=[Ticket], writes=[Draw])
def draw_for_all(view: View) -> list[Draw]:
    return [Draw(number=view.rng.random(), now=view.now, invocation=view.invocation)]


def tickets(*ids: str) -> Context:
    context = Context()
    for id in ids:
        context.add(Ticket(text=id), id=id)
    return context


def drawn(result: Result) -> dict[str, float]:
    return {fact.payload.invocation: fact.payload.number for fact in result.context.of(Draw).values()}


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


# --- seed -------------------------------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_numbers() -> None:
    engine = Engine([draw, draw_too, draw_for_all])
    first, second, other = [engine.run_sync(tickets("t1", "t2"), run_id="r", seed=seed) for seed in (7, 7, 8)]

    assert drawn(first) == drawn(second)
    assert not set(drawn(first).values()) & set(drawn(other).values())


def test_each_invocation_draws_its_own_numbers() -> None:
    """Whoever runs before or beside it: a suggestor more changes nothing of what the others draw."""
    few = drawn(Engine([draw]).run_sync(tickets("t1"), run_id="r", seed=7))
    many = drawn(Engine([draw_too, draw, draw_for_all]).run_sync(tickets("t1", "t2"), run_id="r", seed=7))

    assert 5 == len(set(many.values()))
    assert few == {name: many[name] for name in few}


def test_a_generator_is_numpy_s_and_goes_on() -> None:
    found = []

    @suggestor(reads=[Ticket], writes=[])
    def roll(view: View) -> None:
        found.extend(
            [isinstance(view.rng, np.random.Generator), view.rng is view.rng, view.rng.random() != view.rng.random()]
        )

    Engine([roll]).run_sync(tickets("t1"))

    assert [True, True, True] == found


def test_the_seed_is_in_the_log_also_where_nobody_gave_one() -> None:
    engine, log = Engine([draw]), FactLog.open()
    given = engine.run_sync(tickets("t1"), log=log, seed=7)
    free = engine.run_sync(tickets("t1"), log=log, run_id="free")
    again = engine.run_sync(tickets("t1"), run_id="free", seed=log.started("free").seed)

    assert (7, drawn(free)) == (log.started(given.run_id).seed, drawn(again))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "7", True])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        Engine().run_sync(seed=seed)

    assert f"seed={seed!r} is not a whole number from 0 to 2**63 - 1" == str(caught.value)


@given(seed=st.integers(0, 2**63 - 1))
def test_any_other_seed_is_taken(seed: int) -> None:
    result = Engine().run_sync(seed=seed)

    assert seed == result.log.started(result.run_id).seed


# --- run id -----------------------------------------------------------------------------------------------------------


def test_a_run_has_an_id_of_its_own_or_the_one_given() -> None:
    ids = [Engine().run_sync(run_id=run_id).run_id for run_id in (None, None, "mine", "Übung 7")]

    assert (4, ["mine", "Übung 7"]) == (len(set(ids)), ids[2:])


@pytest.mark.parametrize("run_id", ["", "  ", "a\nb", "a\0", "x" * 201, 7])
def test_a_run_id_that_cannot_name_a_run_is_refused(run_id: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        Engine().run_sync(run_id=run_id)

    shown = repr(run_id) if len(repr(run_id)) <= 80 else repr(run_id)[:79] + "…"
    assert f"run_id={shown} is not a printable text of 1 to 200 characters" == str(caught.value)


def test_a_run_id_is_used_once_in_a_log() -> None:
    log = FactLog.open()
    Engine().run_sync(log=log, run_id="mine")
    before = log.to_bytes("mine")

    with pytest.raises(EngineError) as caught:
        Engine().run_sync(tickets("t1"), log=log, run_id="mine")

    assert "run 'mine' is in this log already. Give another run_id, or resume that run" == str(caught.value)
    assert before == log.to_bytes("mine")


# --- time -------------------------------------------------------------------------------------------------------------


def test_now_is_the_run_s_logical_time_in_every_cycle() -> None:
    clock = FakeClock(NOON)
    given = Engine([draw], clock=clock).run_sync(tickets("t1"), started=NOON - timedelta(days=1))
    free = Engine([draw], clock=clock).run_sync(tickets("t1"))

    times = [[fact.payload.now for fact in result.context.of(Draw).values()] for result in (given, free)]
    assert [[NOON - timedelta(days=1)], [NOON]] == times


@pytest.mark.parametrize(
    ("started", "kept"),
    [
        (NOON, "2026-01-01T12:00:00+00:00"),
        (NOON.replace(tzinfo=None), "2026-01-01T12:00:00+00:00"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-01-01T14:00:00+02:00"),
    ],
)
def test_a_time_keeps_its_zone_and_is_utc_without_one(started: datetime, kept: str) -> None:
    result = Engine().run_sync(started=started)

    assert kept == result.log.started(result.run_id).started


@pytest.mark.parametrize("started", ["2026-01-01", 0, NOON.date()])
def test_a_time_that_is_none_is_refused(started: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        Engine().run_sync(started=started)

    assert f"started={started!r} is not a datetime" == str(caught.value)


# --- invocation -------------------------------------------------------------------------------------------------------


def test_an_invocation_is_named_by_run_suggestor_cycle_and_trigger() -> None:
    result = Engine([draw, draw_for_all]).run_sync(tickets("t1", "t2"), run_id="r")

    expected = ["r/draw/1/options-ticket:t1", "r/draw/1/options-ticket:t2", "r/draw_for_all/1"]
    assert expected == list(drawn(result))


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_run_sync_in_a_running_loop_is_told() -> None:
    with pytest.raises(InLoop) as caught:
        Engine().run_sync()

    assert "run_sync was called inside a running event loop. Write: await engine.run(…)" == str(caught.value)


@pytest.mark.parametrize(("given", "shown"), [("tickets", "str"), ([], "list"), ({}, "dict")])
def test_what_is_no_context_is_told(given: Any, shown: str) -> None:
    with pytest.raises(EngineError) as caught:
        Engine().run_sync(given)

    assert f"engine.run takes a Context, not a {shown}. Write: context.add(payload)" == str(caught.value)


def test_the_settings_that_matter_are_in_the_log() -> None:
    result = Engine([draw]).run_sync(tickets("t1"), stop_when_met=True)

    settings = dict(result.log.started(result.run_id).settings)
    kept = {"gates": [], "goals": [], "invariants": [], "stop_when_met": True, "budget": Budget().to_json()}
    assert kept == {name: settings.get(name) for name in kept}


async def test_what_an_observer_raises_ends_the_run() -> None:
    """It is code of the caller's, and its error goes to the caller."""

    def refuse(notice: Any) -> None:
        raise ZeroDivisionError("not today")

    with pytest.raises(ZeroDivisionError, match="not today"):
        await Engine([draw], observers=[refuse]).run(tickets("t1"))
