"""Holds limits, order and rates to what they promise: who may be under way at a time, and when the next may begin."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import Engine, InvalidOption, InvocationEnded, Notice, Suggestor, suggestor
from quiesce.engine.testing import FakeClock, Turns
from quiesce.facts import Context, Fact, Payload
from support.runs import run_under, run_while


class Ticket(Payload, key="seeds", family="limits-ticket"):
    text: str = ""


class Plan(Payload, key="strategies", family="limits-plan"):
    queue: str = ""


def tickets(count: int) -> Context:
    context = Context()
    for number in range(count):
        context.add(Ticket(text=str(number)), id=f"t{number}")
    return context


class Busy:
    """Counts who is under way, from inside the suggestors."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.together = 0
        self.order: list[str] = []

    def patient(self, name: str, wait: Callable[[], Awaitable[Any]] | None = None, **options: Any) -> Suggestor:
        """Returns a suggestor that waits, by default for a few turns of others, before it answers."""

        async def answer(ticket: Fact[Ticket]) -> list[Plan]:
            self.order.append(ticket.id)
            self.now[name] = self.now.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self.now[name])
            self.together = max(self.together, sum(self.now.values()))
            await (wait or few_turns)()
            self.now[name] -= 1
            return [Plan(queue=f"{name} {ticket.id}")]

        return suggestor(name=name, **options)(answer)


async def few_turns() -> None:
    """Waits for as many turns as it takes everybody to begin: those who wait start others, twice as many each turn."""
    for _ in range(12):
        await anyio.lowlevel.checkpoint()


@given(limit=st.integers(1, 8), count=st.integers(1, 12))
async def test_the_engine_s_limit_bounds_all_together(limit: int, count: int) -> None:
    """And it is made use of."""
    busy = Busy()
    result = await Engine([busy.patient("a"), busy.patient("b")], limit=limit).run(tickets(count))

    assert (min(limit, 2 * count), 2 * count) == (busy.together, len(result.context.of(Plan)))


@given(limit=st.integers(1, 6), count=st.integers(1, 12))
async def test_a_suggestor_s_limit_bounds_it_alone(limit: int, count: int) -> None:
    busy = Busy()
    await Engine([busy.patient("a", limit=limit), busy.patient("b")]).run(tickets(count))

    assert {"a": min(limit, count), "b": count} == busy.most


async def test_a_serial_suggestor_is_called_one_by_one_in_order() -> None:
    busy = Busy()
    await Engine([busy.patient("a", serial=True)]).run(tickets(7))

    assert ({"a": 1}, [f"t{number}" for number in range(7)]) == (busy.most, busy.order)


async def test_who_is_held_back_does_not_hold_back_others() -> None:
    """All but one of `a` wait for it; `b` ends meanwhile."""
    turns, ended = Turns(), []

    @suggestor(serial=True)
    async def a(ticket: Fact[Ticket]) -> Plan:
        await turns.take("a")
        return Plan(queue=ticket.id)

    @suggestor
    async def b(ticket: Fact[Ticket]) -> None: ...

    def note(notice: Notice) -> None:
        if isinstance(notice, InvocationEnded):
            ended.append(notice.suggestor)

    async def release() -> None:
        await turns.started("b", 3)
        for _ in range(3):
            await turns.release("a")

    await run_while(release, Engine([a, b], limit=2, observers=[turns, note]), tickets(3))

    assert (["b"] * 3, 6) == ([name for name in ended[:4] if name == "b"], len(ended))


async def test_a_rate_spaces_calls_out() -> None:
    clock, times = FakeClock(), []

    @suggestor(rate=0.5)
    async def plan(ticket: Fact[Ticket]) -> Plan:
        times.append(clock.seconds())
        return Plan(queue=ticket.id)

    result = await run_under(clock, 60, Engine([plan], clock=clock), tickets(4))

    assert ([0.0, 2.0, 4.0, 6.0], 4) == (times, len(result.context.of(Plan)))


async def test_a_rate_spaces_calls_of_plain_functions_and_of_later_cycles_too() -> None:
    clock, times = FakeClock(), []

    @suggestor(rate=1)
    def again(plan: Fact[Plan]) -> list[Plan]:
        times.append(clock.seconds())
        return [Plan(queue=plan.payload.queue + "x")] if len(plan.payload.queue) < 3 else []

    context = Context()
    context.add(Plan(queue="x"))
    await run_under(clock, 60, Engine([again], clock=clock), context)

    assert [0.0, 1.0, 2.0] == times


async def test_a_rate_holds_nobody_else_back() -> None:
    clock, times = FakeClock(), []

    @suggestor(rate=0.1)
    async def slow(ticket: Fact[Ticket]) -> None: ...

    @suggestor
    async def quick(ticket: Fact[Ticket]) -> None:
        times.append(clock.seconds())

    await run_under(clock, 60, Engine([slow, quick], clock=clock, limit=1), tickets(3))

    assert [0.0] * 3 == times


async def test_a_rate_does_not_get_around_the_limit() -> None:
    """Those that were told to wait for their turn wait for a place too."""
    clock, busy = FakeClock(), Busy()

    slow = busy.patient("slow", partial(clock.sleep, 5), rate=10)
    await run_under(clock, 60, Engine([slow], clock=clock, limit=2), tickets(6))

    assert (2, 6) == (busy.together, len(busy.order))


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        *[("limit", value, "a whole number from 1") for value in (0, -1, 2.5, "8", True)],
        *[("lookahead", value, "a whole number from 0, or None for no bound") for value in (-1, 2.5, "8", True)],
    ],
)
def test_an_engine_s_option_out_of_range_is_refused(option: str, value: Any, allowed: str) -> None:
    make: Callable[..., Engine] = Engine
    with pytest.raises(InvalidOption) as caught:
        make(**{option: value})

    assert f"{option}={value!r} is not {allowed}" == str(caught.value)
