"""Measures how long staggered lanes take beside their critical path: whether anybody waits for the slow."""

from __future__ import annotations

from typing import Any

import anyio
from measure import Case, Section, Target, timed
from shape import LANE_STAGES, LANES, QUICK, SLOW, seconds
from work import begin, family, settle

from quiesce.engine import Engine, Suggestor, suggestor
from quiesce.facts import Fact

CRITICAL = max(sum(seconds(lane, at) for at in range(LANE_STAGES)) for lane in range(LANES)) * 1_000

PARTS = [[family(f"lane-{lane}-{at}") for at in range(LANE_STAGES + 1)] for lane in range(LANES)]


def _stage(lane: int, at: int) -> Suggestor:
    before, after = PARTS[lane][at], PARTS[lane][at + 1]

    async def work(one: Any) -> Any:
        await anyio.sleep(seconds(lane, at))
        return after(n=one.payload.n + 1)

    work.__annotations__ = {"one": Fact[before], "return": after}  # type: ignore[valid-type]  # made in a loop
    made: Suggestor = suggestor(name=f"lane-{lane}-{at}")(work)
    return made


async def _sleep() -> None:
    """Shows what the timers of the event loop add by themselves."""

    async def lane(number: int) -> None:
        for at in range(LANE_STAGES):
            await anyio.sleep(seconds(number, at))

    async with anyio.create_task_group() as tasks:
        for number in range(LANES):
            tasks.start_soon(lane, number)


def lanes() -> Section:
    """Lanes that have nothing to do with each other."""
    stages = [_stage(lane, at) for lane in range(LANES) for at in range(LANE_STAGES)]
    context = begin(*(PARTS[lane][0](n=0) for lane in range(LANES)))
    facts = LANES * (LANE_STAGES + 1)
    return Section(
        f"{LANES} staggered lanes of {LANE_STAGES} stages",
        f"in each lane one stage takes {SLOW * 1000:.0f} ms, at a different place; the others {QUICK * 1000:.0f} ms",
        [
            Case("critical path, computed", quoted=CRITICAL),
            Case(
                "Quiesce",
                timed(settle(Engine(stages), context, facts)),
                target=Target(1.05, "ratio", "at most"),
            ),
            Case("the same sleeps in bare tasks, no engine", timed(_sleep)),
            Case("Quiesce, with a barrier (lookahead=0)", timed(settle(Engine(stages, lookahead=0), context, facts))),
        ],
    )
