"""Measures what durability costs: a chain on a disk, bytes for each fact, facts appended a second, and recovery."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from time import perf_counter

import shape
from floors import commits
from measure import Case, Sample, Section, Target, timed
from shape import said
from work import LINKS, begin, chained

from quiesce.engine import Budget, Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, RunId, replay
from quiesce.facts.canonical import digest_of, encode
from quiesce.facts.event import CycleCommitted, RunStarted
from quiesce.facts.fact import Ref, make_fact
from quiesce.facts.family import family_of
from quiesce.facts.stores.opening import Sync

BATCH = 100
"""How many facts are appended at once."""
RUN = RunId("measured")


class Step(Payload, key="signals", family="durable-step"):
    """What a step of a pipeline says: a number and a sentence, as short answers of models are."""

    n: int
    said: str


class Row(Payload, key="signals", family="durable-row"):
    n: int


def _budget() -> Budget:
    return Budget(cycles=None)


async def durable(folder: Path) -> Section:
    """A chain of dependent steps, each of which is on the disk before the next begins."""
    cases: list[Case] = []
    for name, awaits, suffix, sync in (
        ("Quiesce, sync, SQLite", False, "db", "normal"),
        ("Quiesce, async, SQLite", True, "db", "normal"),
        ("Quiesce, sync, SQLite, each step synced to the disk", False, "db", "full"),
        ("Quiesce, sync, JSON lines", False, "jsonl", "normal"),
        ("Quiesce, sync, memory only", False, "", "normal"),
    ):
        url = folder / f"chain-{suffix}-{sync}-{awaits}.{suffix}"
        log = FactLog.open(url, sync="full" if sync == "full" else "normal") if suffix else None
        for stages in shape.STAGES:
            work = timed(_chain(log, stages, awaits=awaits), max(1, shape.times(stages) // 3))
            cases.append(Case(name, on_a_quiet_disk(work), size=stages))
    floor = [case for how in ("NORMAL", "FULL") for case in commits(folder, shape.STAGES, how)]
    return Section(
        "Durable chain of dependent steps on SQLite",
        "one log for all runs, opened before; each cycle is a transaction; each sample begins on a quiet disk. The "
        "peers "
        "leave SQLite at its own setting, which waits for the disk at times, as Quiesce does when each step is synced",
        [*cases, *floor],
        of="steps",
    )


def on_a_quiet_disk(sample: Sample) -> Sample:
    """Waits until the disk has what others have written before: nobody pays for them."""

    async def quiet() -> float:
        os.sync()
        return await sample()

    return quiet


def _chain(log: FactLog | None, stages: int, *, awaits: bool) -> Callable[[], Awaitable[object]]:
    engine = chained(stages, awaits=awaits)

    async def run() -> None:
        result = await engine.run(begin(LINKS[0](n=0)), log=log if log is not None else FactLog.open())
        if len(result.context) != stages + 1:
            raise AssertionError(f"{result}")

    return run


async def appends(folder: Path) -> Section:
    """Facts that a log takes in a second, a hundred to a cycle."""
    sink = Target(50_000, kind="at least")
    urls: list[tuple[str, str, Sync, Target | None]] = [
        ("Quiesce, SQLite", "db", "normal", sink),
        ("Quiesce, SQLite, each cycle synced to the disk", "db", "full", None),
        ("Quiesce, JSON lines", "jsonl", "normal", None),
        ("Quiesce, memory, written at once", "", "normal", None),
    ]
    cases = [
        Case(name, _append(folder, suffix, sync), "facts/s", target) for name, suffix, sync, target in urls
    ]  # fmt: skip
    return Section(
        f"Appending {shape.APPENDED:,} facts",
        f"cycles of {BATCH} facts that rest on one each; encoding, hashing, the Merkle tree and the store",
        cases,
    )


def _append(folder: Path, suffix: str, sync: Sync) -> Sample:
    family = family_of(Row)
    numbers = count()
    payloads = [Row(n=n) for n in range(shape.APPENDED)]
    digests = [digest_of(encode(payload, family)) for payload in payloads]

    async def sample() -> float:
        path = folder / f"append-{sync}-{next(numbers)}.{suffix}"
        cycles = [
            CycleCommitted(cycle, ("w",), [
                make_fact(payloads[at], str(at), "w", cycle, 1.0, (Ref("seed:s"),), digests[at])
                for at in range(cycle * BATCH, (cycle + 1) * BATCH)
            ])
            for cycle in range(shape.APPENDED // BATCH)
        ]  # fmt: skip
        with FactLog.open(path if suffix else ":memory:", sync=sync) as log:
            log.append(RUN, [RunStarted("2026-01-01T00:00:00+00:00", 1, (), {})])
            start = perf_counter()
            for cycle in cycles:
                log.append(RUN, [cycle])
            log.flush()
            took = perf_counter() - start
        path.unlink(missing_ok=True)
        return shape.APPENDED / took

    return sample


async def left(folder: Path) -> Section:
    """Bytes that a durable run leaves."""
    cases = [
        Case(f"Quiesce, {name}", _left(folder, suffix, stages), "kB", _held(stages), size=stages, once=True)
        for suffix, name in (("db", "SQLite"), ("jsonl", "JSON lines"))
        for stages in shape.STAGES
    ]
    return Section(
        "Bytes that a durable chain leaves",
        "size of the database after the run, its write-ahead log taken in; each step says a sentence of 100 "
        "characters, "
        "which stays known. A slope of 1 is in proportion to the steps, 2 to their square; below 1 is what is "
        "there anyway",
        cases,
        of="steps",
    )


def _held(stages: int) -> Target | None:
    return Target(1.02, on="slope", kind="at most") if stages == shape.STAGES[-1] else None


def _left(folder: Path, suffix: str, stages: int) -> Sample:
    async def sample() -> float:
        path = folder / f"left-{stages}.{suffix}"
        with FactLog.open(path) as log:
            await write_steps(log, stages)
        return path.stat().st_size / 1_000

    return sample


async def growth_on_disk(folder: Path) -> Section:
    """Bytes that each further fact adds to a log, from ten cycles to ten thousand."""
    cases = []
    for suffix, name in (("db", "SQLite"), ("jsonl", "JSON lines")):
        known: dict[int, int] = {}
        for before, cycles in ((10, 100), (100, 1_000), (1_000, 10_000)):
            target = Target(0.01, on="slope", kind="at most") if cycles == 10_000 else None
            sample = _bytes(folder, suffix, before, cycles, known)
            cases.append(Case(f"Quiesce, {name}", sample, "B/fact", target, size=cycles, once=True))
    return Section(
        "Bytes that each further fact adds to a log",
        "from a tenth as many cycles to so many; one fact of 120 bytes a cycle: text of the event, payload, what "
        "stands "
        "beside. A slope of 0: a fact costs as much in a long run as in a short one",
        cases,
        of="cycles",
    )


def _bytes(folder: Path, suffix: str, before: int, cycles: int, known: dict[int, int]) -> Sample:
    async def sample() -> float:
        for length in (before, cycles):
            if length not in known:
                with FactLog.open(folder / f"growth-{length}.{suffix}") as log:
                    await write_steps(log, length)
                    known[length] = log.store.size(RUN)
        return (known[cycles] - known[before]) / (cycles - before)

    return sample


async def write_steps(log: FactLog, cycles: int) -> None:
    """Writes a run of so many cycles, each of which adds one fact."""

    @suggestor
    def on(one: Fact[Step]) -> Step | None:
        n = one.payload.n + 1
        return Step(n=n, said=said(n)) if n < cycles else None

    context = Context()
    context.add(Step(n=0, said=said(0)))
    await Engine([on]).run(context, log=log, run_id=RUN, seed=1, budget=_budget())


async def recovery(folder: Path) -> Section:
    """How long it takes until a run of which only the last cycle is missing can go on."""
    cases = []
    for cycles in shape.RECOVERED:
        path, small = folder / f"recover-{cycles}.db", folder / f"recover-{cycles}-compacted.db"
        with FactLog.open(path) as log:
            await write_steps(log, cycles)
        shutil.copy(path, small)
        with FactLog.open(small) as log:
            log.compact(RUN)
        for name, file in (("nothing compacted", path), ("all compacted", small)):
            cases.append(Case(f"Quiesce, {name}", timed(_reopen(file)), size=cycles))
    return Section(
        "Opening a log and reading a run back",
        "one fact a cycle, on SQLite: what recovery does before it goes on. It grows with what is not compacted",
        cases,
        of="cycles",
    )


def _reopen(path: Path) -> Callable[[], Awaitable[object]]:
    async def work() -> object:
        with FactLog.open(path) as log:
            return replay(log, RUN)

    return work
