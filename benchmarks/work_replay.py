"""Measures logs: how many facts a second are replayed from them, and how many bytes a fact takes in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from measure import Case, Sample, Section, Target

from quiesce.engine import Budget, Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, replay, verify

FACTS = 100_000
RUN = "measured"


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
    """Replay from memory and from a file."""
    memory = await write(FactLog.open(), 1_000, FACTS // 1_000)
    wide, narrow = folder / "wide.jsonl", folder / "narrow.jsonl"
    with FactLog.open(wide) as log:
        await write(log, 1_000, FACTS // 1_000)
    with FactLog.open(narrow) as log:
        await write(log, 1, FACTS // 10)
    fast = Target(100_000, kind="at least")
    return Section(
        f"Replay of {FACTS:,} facts",
        "100 cycles of 1,000 facts, each resting on one before; a file is opened and read anew each time",
        [
            Case("replay from memory", _rate(lambda: replay(memory, RUN), FACTS), "facts/s", fast),
            Case("replay from a JSON lines file", _rate(lambda: _reopen(wide), FACTS), "facts/s", fast),
            Case(
                f"replay from JSON lines, {FACTS // 10:,} cycles of one fact",
                _rate(lambda: _reopen(narrow), FACTS // 10), "facts/s",
            ),
            Case("verify a JSON lines file", _rate(lambda: _verify(wide), FACTS), "facts/s"),
        ],
    )  # fmt: skip


async def sizes(folder: Path) -> Section:
    """Bytes of a file for each fact in it."""
    cases = []
    for shape, runners in (("1,000 facts a cycle", 1_000), ("one fact a cycle", 1)):
        base = None
        for laps in (10, 100) if runners > 1 else (100, 1_000, 10_000):
            name = f"{runners * laps:,} facts, {shape}"
            base = base or name
            path = folder / f"size-{runners}-{laps}.jsonl"
            cases.append(Case(name, _size(path, runners, laps), "B/fact", against=base))
    return Section(
        "Size of a JSON lines log",
        "payloads of two numbers, provenance, digests, one event a cycle; the ratio is to the shortest run",
        cases,
    )


def _reopen(path: Path) -> Context:
    with FactLog.open(path) as log:
        return replay(log, RUN)


def _verify(path: Path) -> None:
    with FactLog.open(path) as log:
        report = verify(log, RUN)
    if not report.ok:
        raise AssertionError(str(report))


def _rate(work: Callable[[], object], facts: int) -> Sample:
    async def sample() -> float:
        start = perf_counter()
        work()
        return facts / (perf_counter() - start)

    return sample


def _size(path: Path, runners: int, laps: int) -> Sample:
    known: dict[Path, float] = {}

    async def sample() -> float:
        if path not in known:
            with FactLog.open(path) as log:
                await write(log, runners, laps)
            known[path] = path.stat().st_size / (runners * laps)  # noqa: ASYNC240  nothing else is going on
        return known[path]

    return sample
