"""S1 and S5: who finishes first leaves no trace in the log."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine.testing import simulate
from quiesce.facts import replay, verify
from support.strategies import Plain, World, context_of, engine_of, worlds

FIXED: dict[str, Any] = {"run_id": "fixed", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}
CASES = int(os.environ.get("SOAK_CASES") or 20_000)


def run_log(world: World, lookahead: int | None, pauses: list[int], backend: str) -> bytes:
    """Runs a world with real tasks, goes on with what came out of it, and returns both logs."""

    async def run() -> bytes:
        engine = engine_of(world, lookahead, pauses)
        first = await engine.run(context_of(world), **FIXED)
        known = first.context.copy()
        known.add(Plain(value=9, depth=0), id="late")
        second = await engine.run(known, **{**FIXED, "run_id": "second"})
        order = " ".join(fact.ref for fact in second.context)
        return first.log.to_bytes("fixed") + second.log.to_bytes("second") + order.encode()

    return anyio.run(run, backend=backend)


def check_world(world: World, seeds: list[int], pauses: list[int]) -> None:
    """Compares a world's log over orders, backends and ways to schedule."""
    context = context_of(world)
    nearby = anyio.run(partial(simulate, engine_of(world, 1), context, seeds=seeds, **FIXED)).unwrap()
    simulated = anyio.run(partial(simulate, engine_of(world), context, seeds=seeds, **FIXED)).unwrap()
    reference = run_log(world, 0, [], "asyncio")
    assert reference == run_log(world, None, pauses, "asyncio")
    assert reference == run_log(world, None, pauses, "trio")
    assert reference == run_log(world, None, [0], "asyncio")
    assert simulated.log == nearby.log
    assert reference.startswith(simulated.log)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(world=worlds(), seed=st.integers(0, 2**32), pauses=st.lists(st.integers(0, 9), max_size=12))
@pytest.mark.slow
def test_the_log_does_not_depend_on_who_finishes_first(world: World, seed: int, pauses: list[int]) -> None:
    """Any order, either backend, with and without a barrier: the same bytes."""
    check_world(world, [seed, seed + 1, seed + 2], pauses)


@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(world=worlds(), seed=st.integers(0, 2**32), pauses=st.lists(st.integers(0, 9), max_size=12))
@pytest.mark.soak
def test_the_log_does_not_depend_on_who_finishes_first_at_length(world: World, seed: int, pauses: list[int]) -> None:
    """The same, many times over."""
    check_world(world, [seed, seed + 1, seed + 2], pauses)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(world=worlds())
@pytest.mark.slow
def test_a_log_replays_to_the_context_as_it_was_at_every_cycle(world: World) -> None:
    """`replay(at=c)` is what a run that was stopped after cycle c knew; the whole log is sound."""
    engine = engine_of(world)
    whole = anyio.run(partial(engine.run, context_of(world), **FIXED))

    assert whole.context == replay(whole.log, "fixed")
    assert verify(whole.log, "fixed").ok
    for cycle in range(whole.context.trail.cycle + 1):
        shorter = engine_of(dataclasses.replace(world, cycles=cycle))
        then = anyio.run(partial(shorter.run, context_of(world), **FIXED)).context
        assert then == replay(whole.log, "fixed", at=cycle)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(world=worlds())
@pytest.mark.slow
def test_a_converged_context_run_again_executes_nothing(world: World) -> None:
    """Whoever had seen everything is not called again, with the live context and with a replayed one."""
    engine = engine_of(world)
    first = anyio.run(partial(engine.run, context_of(world), **FIXED))
    if type(first.stop).__name__ != "Converged":
        return
    for context in (first.context, replay(first.log, "fixed")):
        again = anyio.run(partial(engine.run, context, run_id="again"))

        assert again.cycles == 0
        assert first.context == again.context


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(world=worlds())
def test_a_run_does_not_change_the_context_that_it_is_given(world: World) -> None:
    """Neither what is known nor what waits to be taken in; nor does adding to one of the two reach the other."""
    given_one, untouched = context_of(world), context_of(world)
    result = anyio.run(partial(engine_of(world).run, given_one, **FIXED))
    log = result.log.to_bytes("fixed")
    given_one.add(Plain(value=8, depth=0), id="after")
    untouched.add(Plain(value=8, depth=0), id="after")

    assert untouched == given_one
    assert untouched.inputs == given_one.inputs
    assert result.context.find("world-plain:after") is None
    assert log == result.log.to_bytes("fixed")
    again = anyio.run(partial(engine_of(world).run, context_of(world), **FIXED))
    assert log == again.log.to_bytes("fixed")
