"""Measures how long staggered lanes take beside their critical path: whether anybody waits for the slow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import shape
from measure import Case, Section, Target, timed
from shape import LANE_STAGES, QUICK, SLOW, seconds
from work import begin, family, settle

from quiesce.engine import Engine, Suggestor, suggestor
from quiesce.facts import Fact

CRITICAL = (SLOW + (LANE_STAGES - 1) * QUICK) * 1_000
PARTS = [[family(f"lane-{lane}-{at}") for at in range(LANE_STAGES + 1)] for lane in range(max(shape.LANES))]


def _stage(lane: int, at: int) -> Suggestor:
    before, after = PARTS[lane][at], PARTS[lane][at + 1]

    async def work(one: Any) -> Any:
        await anyio.sleep(seconds(lane, at))
        return after(n=one.payload.n + 1)

    work.__annotations__ = {"one": Fact[before], "return": after}  # type: ignore[valid-type]  # made in a loop
    made: Suggestor = suggestor(name=f"lane-{lane}-{at}")(work)
    return made


def _bare(lanes: int) -> Callable[[], Awaitable[object]]:
    """Shows what the timers of the event loop add by themselves."""

    async def lane(number: int) -> None:
        for at in range(LANE_STAGES):
            await anyio.sleep(seconds(number, at))

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(lanes):
                tasks.start_soon(lane, number)

    return run


def lanes() -> Section:
    """Lanes that have nothing to do with each other."""

    def run(count: int, lookahead: int | None = None) -> Callable[[], Awaitable[object]]:
        stages = [_stage(lane, at) for lane in range(count) for at in range(LANE_STAGES)]
        engine = Engine(stages) if lookahead is None else Engine(stages, lookahead=lookahead)
        return settle(engine, begin(*(PARTS[lane][0](n=0) for lane in range(count))), count * (LANE_STAGES + 1))

    target = Target(1.05, "ratio", "at most")
    makespan: dict[str, tuple[Callable[[int], Callable[[], Awaitable[object]]], Target | None]] = {
        "Quiesce": (run, target),
        "the same sleeps in bare tasks, no engine": (_bare, None),
        "Quiesce, with a barrier (lookahead=0)": (lambda count: run(count, 0), None),
    }
    return Section(
        f"Staggered lanes of {LANE_STAGES} stages: makespan beside the critical path",
        f"in each lane one stage takes {SLOW * 1000:.0f} ms, at a different place; the others {QUICK * 1000:.0f} "
        "ms. The ratio of the first three lines is to the critical path",
        [
            *(
                Case(
                    name,
                    timed(make(count)),
                    target=held if count == 8 else None,
                    size=count,
                    kind="floor" if make is _bare else "ours",
                    against="critical path, computed" if held else None,
                )
                for name, (make, held) in makespan.items()
                for count in shape.LANES
            ),
            *(Case("critical path, computed", quoted=CRITICAL, size=count, kind="floor") for count in shape.LANES),
        ],
        of="lanes",
    )
