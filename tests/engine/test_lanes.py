"""Holds the engine to S5: nobody waits for the slow, down to the moment at which each run ends.

Latencies are virtual: suggestors sleep by a fake clock, so a makespan is an exact number.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import new_class
from typing import Any, cast

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from quiesce.engine import Engine, Suggestor, suggestor
from quiesce.engine.testing import FakeClock
from quiesce.facts import Context, Fact, Payload

LANES, STAGES = 8, 4
Latencies = Sequence[Sequence[int]]
"""Seconds by lane and stage."""


class Part(Payload):
    """What stands in a lane between two stages."""

    n: int


PARTS = [
    [
        cast(type[Part], new_class("Part", (Part,), {"key": "signals", "family": f"lanes-{lane}-{at}"}))
        for at in range(5)
    ]
    for lane in range(LANES)
]


def stage(clock: FakeClock, lane: int, at: int, seconds: int) -> Suggestor:
    """Returns a suggestor that takes a part of a lane one stage further."""
    before, after = PARTS[lane][at], PARTS[lane][at + 1]

    async def work(part: Any) -> Any:
        await clock.sleep(seconds)
        return after(n=part.payload.n + 1)

    work.__annotations__ = {"part": Fact[before], "return": after}  # type: ignore[valid-type]  # made in a loop
    made: Suggestor = suggestor(name=f"lanes-{lane}-{at}")(work)
    return made


async def makespan(latencies: Latencies, lookahead: int | None) -> float:
    """Returns after how many virtual seconds a run ends in which each lane works through its stages."""
    clock, ended = FakeClock(), []
    stages = [stage(clock, lane, at, seconds) for lane, row in enumerate(latencies) for at, seconds in enumerate(row)]
    context = Context()
    for lane in range(len(latencies)):
        context.add(PARTS[lane][0](n=0))

    async def run() -> None:
        await Engine(stages, lookahead=lookahead, clock=clock).run(context)
        ended.append(clock.seconds())

    with anyio.fail_after(30):  # what hangs is red within half a minute
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await clock.advance(sum(map(sum, latencies)) + 1)
    return ended[0]


STAGGERED = [[100 if at == lane % STAGES else 10 for at in range(STAGES)] for lane in range(LANES)]
"""One slow stage in each lane, at a different place."""


async def test_staggered_lanes_end_after_the_critical_path() -> None:
    """Three quick stages and a slow one; a barrier would let each of the four cycles last as long as its slowest."""
    assert (130.0, 400.0) == (await makespan(STAGGERED, None), await makespan(STAGGERED, 0))


async def test_a_bound_on_how_far_to_look_ahead_lies_between() -> None:
    """With one cycle ahead, whoever is quick waits less than behind a barrier and longer than without a bound."""
    found = [await makespan(STAGGERED, lookahead) for lookahead in (0, 1, 2, 3)]

    assert sorted(found, reverse=True) == found
    assert (400.0, 130.0) == (found[0], found[3])
    assert 130.0 < found[1] < 400.0


@settings(max_examples=25)
@given(
    latencies=st.integers(1, STAGES).flatmap(
        lambda stages: st.lists(
            st.lists(st.integers(1, 1000), min_size=stages, max_size=stages), min_size=1, max_size=LANES
        )
    )
)
async def test_no_lane_waits_for_another_whatever_the_latencies(latencies: Latencies) -> None:
    """Ahead of the barrier a run lasts as long as its slowest lane; behind it, the slowest of each stage add up."""
    critical_path = max(map(sum, latencies))
    with_barrier = sum(map(max, zip(*latencies, strict=True)))

    assert (critical_path, with_barrier) == (await makespan(latencies, None), await makespan(latencies, 0))
