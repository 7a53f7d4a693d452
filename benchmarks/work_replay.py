"""Measures what is done with logs: replaying them, verifying them, forking a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter

import shape
from measure import Case, Sample, Section, Target

from quiesce.engine import Budget, Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, replay, verify

RUN = "measured"
RUNNERS = 100
"""Facts in a cycle."""
Work = Callable[[], Awaitable[None] | None]

_SECOND = Target(1_000)
_FORKS = count()


class Lap(Payload, key="signals"):
    runner: int
    n: int


async def write(log: FactLog, runners: int, laps: int) -> FactLog:
    """Writes a run of `laps` cycles into a log; each adds a fact for each runner, resting on the one before."""

    @suggestor
    def run(lap: Fact[Lap]) -> Lap | None:
        one = lap.payload
        return Lap(runner=one.runner, n=one.n + 1) if one.n + 1 < laps else None

    context = Context()
    for runner in range(runners):
        context.add(Lap(runner=runner, n=0))
    result = await Engine([run]).run(context, log=log, run_id=RUN, seed=1, budget=Budget(cycles=None))
    log.flush()
    if len(result.context) != runners * laps:
        raise AssertionError(f"{result.context}, not {runners * laps} laps")
    return log


async def replays(folder: Path) -> Section:
    """Replay, verification and forks of logs that were written before."""
    cases: list[Case] = []
    works: list[tuple[str, Callable[[FactLog, Path], Work], Target | None]] = [
        ("replay from memory", lambda memory, _path: lambda: _check(replay(memory, RUN)), _SECOND),
        ("replay from a JSON lines file", lambda _memory, path: lambda: _reopen(path, ".jsonl"), _SECOND),
        ("replay from SQLite", lambda _memory, path: lambda: _reopen(path, ".db"), _SECOND),
        ("verify a JSON lines file", lambda _memory, path: lambda: _verify(path, ".jsonl"), None),
        ("verify SQLite", lambda _memory, path: lambda: _verify(path, ".db"), None),
        ("fork at the middle", lambda memory, _path: partial(_fork, memory), None),
    ]
    logs = {facts: await _logs(folder, facts) for facts in shape.LOGGED}
    for name, make, target in works:
        for facts, (memory, path) in logs.items():
            held = target if facts == 100_000 else None
            cases.append(Case(f"Quiesce, {name}", _timed(make(memory, path)), target=held, size=facts))
    return Section(
        "Replay, verification and forks",
        f"cycles of {RUNNERS} facts, each resting on one before; files are opened and read anew each time. A fork "
        "is a run "
        "of its own from the middle, which says one fact more. LangGraph keeps the state of each step, here one number",
        cases,
        of="facts",
    )


async def _logs(folder: Path, facts: int) -> tuple[FactLog, Path]:
    laps, path = facts // RUNNERS, folder / f"replay-{facts}"
    for suffix in (".jsonl", ".db"):
        with FactLog.open(path.with_suffix(suffix)) as log:
            await write(log, RUNNERS, laps)
    return await write(FactLog.open(), RUNNERS, laps), path


def _reopen(path: Path, suffix: str) -> None:
    with FactLog.open(path.with_suffix(suffix)) as log:
        _check(replay(log, RUN))


def _check(context: Context) -> None:
    if len(context) < RUNNERS:
        raise AssertionError(f"{context}")


def _verify(path: Path, suffix: str) -> None:
    with FactLog.open(path.with_suffix(suffix)) as log:
        report = verify(log, RUN)
    if not report.ok:
        raise AssertionError(str(report))


async def _fork(log: FactLog) -> None:
    """Runs on from the middle with nobody to say more, so that what is measured is the fork."""
    run = f"fork-{next(_FORKS)}"
    half = log.length(RUN) // 2
    result = await Engine([]).fork(log, RUN, at=half, add=[(Lap(runner=-1, n=0), "more")], run_id=run)
    _check(result.unwrap().context)


def _timed(work: Work) -> Sample:
    async def sample() -> float:
        start = perf_counter()
        waiting = work()
        if waiting is not None:
            await waiting
        return (perf_counter() - start) * 1_000

    return sample
