"""Measures how long staggered lanes take beside their critical path: whether anybody waits for the slow."""

from __future__ import annotations

from typing import Any

import anyio

from measure import Case, Section, Target, timed
from quiesce.engine import Engine, Suggestor, suggestor
from quiesce.facts import Fact
from work import begin, family, settle

LANES, STAGES = 8, 4
SLOW, QUICK = 0.1, 0.01
"""Seconds."""
CRITICAL = (SLOW + (STAGES - 1) * QUICK) * 1_000

PARTS = [[family(f"lane-{lane}-{at}") for at in range(STAGES + 1)] for lane in range(LANES)]


def seconds(lane: int, at: int) -> float:
    """Returns how long a stage takes: in each lane one is slow, at a different place."""
    return SLOW if at == lane % STAGES else QUICK


def _stage(lane: int, at: int) -> Suggestor:
    before, after = PARTS[lane][at], PARTS[lane][at + 1]

    async def work(one: Any) -> Any:
        await anyio.sleep(seconds(lane, at))
        return after(n=one.payload.n + 1)

    work.__annotations__ = {"one": Fact[before], "return": after}  # type: ignore[valid-type]  # made in a loop
    return suggestor(name=f"lane-{lane}-{at}")(work)


def lanes() -> Section:
    """Lanes that have nothing to do with each other."""
    stages = [_stage(lane, at) for lane in range(LANES) for at in range(STAGES)]
    context = begin(*(PARTS[lane][0](n=0) for lane in range(LANES)))
    facts = LANES * (STAGES + 1)
    return Section(
        f"{LANES} staggered lanes of {STAGES} stages",
        f"in each lane one stage takes {SLOW * 1000:.0f} ms, at a different place; the others {QUICK * 1000:.0f} ms",
        [
            Case("critical path, computed", quoted=CRITICAL),
            Case(
                "Quiesce",
                timed(settle(Engine(stages), context, facts)),
                target=Target(1.05, "ratio", "at most"),
            ),
            Case("Quiesce, with a barrier (lookahead=0)", timed(settle(Engine(stages, lookahead=0), context, facts))),
        ],
    )
