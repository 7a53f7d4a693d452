"""Measures what durability costs: a chain on a disk, bytes for each fact, facts appended a second, and recovery."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from time import perf_counter

from measure import Case, Sample, Section, Target, timed
from shape import STAGES
from work import LINKS, begin, step

from quiesce.engine import Budget, Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, RunId, replay
from quiesce.facts.canonical import digest_of, encode
from quiesce.facts.event import CycleCommitted, RunStarted
from quiesce.facts.fact import Ref, make_fact
from quiesce.facts.family import family_of
from quiesce.facts.stores.opening import Sync

BATCH, BATCHES = 100, 300
"""How many facts are appended at once, and how often."""
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
    for name, awaits, sync in (
        ("Quiesce, sync, SQLite", False, "normal"),
        ("Quiesce, async, SQLite", True, "normal"),
        ("Quiesce, sync, SQLite, each step synced to the disk", False, "full"),
        ("Quiesce, sync, JSON lines", False, "normal"),
    ):
        suffix = "jsonl" if "JSON" in name else "db"
        log = FactLog.open(folder / f"chain-{len(cases)}.{suffix}", sync="full" if sync == "full" else "normal")
        cases.append(Case(name, on_a_quiet_disk(timed(_chain(log, awaits=awaits), 3))))
    cases.append(Case("Quiesce, sync, memory only", on_a_quiet_disk(timed(_chain(None, awaits=False), 3))))
    return Section(
        f"Durable chain of {STAGES} steps",
        "one log for all runs, opened before; each cycle is a transaction; each sample begins on a quiet disk",
        cases,
    )


def on_a_quiet_disk(sample: Sample) -> Sample:
    """Waits until the disk has what others have written before: nobody pays for them."""

    async def quiet() -> float:
        os.sync()
        return await sample()

    return quiet


def _chain(log: FactLog | None, *, awaits: bool) -> Callable[[], Awaitable[object]]:
    engine = Engine([step(f"step-{at}", LINKS[at], LINKS[at + 1], awaits=awaits) for at in range(STAGES)])

    async def run() -> None:
        result = await engine.run(begin(LINKS[0](n=0)), log=log if log is not None else FactLog.open())
        if len(result.context) != STAGES + 1:
            raise AssertionError(f"{result}")

    return run


async def appends(folder: Path) -> Section:
    """Facts that a log takes in a second, a hundred to a cycle."""
    sink = Target(50_000, kind="at least")
    urls: list[tuple[str, str, Sync, Target | None]] = [
        ("SQLite", "db", "normal", sink),
        ("SQLite, each cycle synced to the disk", "db", "full", None),
        ("JSON lines", "jsonl", "normal", None),
        ("memory, written at once", "", "normal", None),
    ]
    cases = [
        Case(name, _append(folder, suffix, sync), "facts/s", target) for name, suffix, sync, target in urls
    ]  # fmt: skip
    return Section(
        f"Appending {BATCH * BATCHES:,} facts",
        f"cycles of {BATCH} facts that rest on one each; encoding, hashing, the Merkle tree and the store",
        cases,
    )


def _append(folder: Path, suffix: str, sync: Sync) -> Sample:
    family = family_of(Row)
    numbers = count()
    payloads = [Row(n=n) for n in range(BATCH * BATCHES)]
    digests = [digest_of(encode(payload, family)) for payload in payloads]

    async def sample() -> float:
        path = folder / f"append-{sync}-{next(numbers)}.{suffix}"
        cycles = [
            CycleCommitted(cycle, ("w",), [
                make_fact(payloads[at], str(at), "w", cycle, 1.0, (Ref("seed:s"),), digests[at])
                for at in range(cycle * BATCH, (cycle + 1) * BATCH)
            ])
            for cycle in range(BATCHES)
        ]  # fmt: skip
        with FactLog.open(path if suffix else ":memory:", sync=sync) as log:
            log.append(RUN, [RunStarted("2026-01-01T00:00:00+00:00", 1, (), {})])
            start = perf_counter()
            for cycle in cycles:
                log.append(RUN, [cycle])
            log.flush()
            took = perf_counter() - start
        path.unlink(missing_ok=True)
        return BATCH * BATCHES / took

    return sample


async def growth_on_disk(folder: Path) -> Section:
    """Bytes that each further fact adds to a log, from ten cycles to ten thousand."""
    cases = []
    for suffix, name in (("db", "SQLite"), ("jsonl", "JSON lines")):
        known: dict[int, int] = {}
        base: str | None = None
        for before, cycles in ((10, 100), (100, 1_000), (1_000, 10_000)):
            title = f"{name}, from {before:,} cycles to {cycles:,}"
            target = None if base is None else Target(1.02, on="ratio", kind="at most")
            cases.append(Case(title, _bytes(folder, suffix, before, cycles, known), "B/fact", target, against=base))
            base = base or title
    return Section(
        "Bytes that each further fact adds to a log",
        "one fact of 120 bytes a cycle: text of the event, payload, what stands beside; the ratio is to the first line",
        cases,
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
        return Step(n=n, said=_said(n)) if n < cycles else None

    context = Context()
    context.add(Step(n=0, said=_said(0)))
    await Engine([on]).run(context, log=log, run_id=RUN, seed=1, budget=_budget())


def _said(n: int) -> str:
    return f"step {n:05} of the pipeline was done as it was asked for, and nothing stands in the way of the next one"


async def recovery(folder: Path) -> Section:
    """How long it takes until a run of which only the last cycle is missing can go on."""
    cases = []
    for cycles in (1_000, 10_000):
        path = folder / f"recover-{cycles}.db"
        with FactLog.open(path) as log:
            await write_steps(log, cycles)
        cases.append(Case(f"{cycles:,} cycles, nothing compacted", timed(_reopen(path))))
        small = folder / f"recover-{cycles}-compacted.db"
        shutil.copy(path, small)
        with FactLog.open(small) as log:
            log.compact(RUN)
        cases.append(Case(f"{cycles:,} cycles, all compacted", timed(_reopen(small))))
    return Section(
        "Opening a log and reading a run back",
        "one fact a cycle, on SQLite: what recovery does before it goes on. It grows with what is not compacted",
        cases,
    )


def _reopen(path: Path) -> Callable[[], Awaitable[object]]:
    async def work() -> object:
        with FactLog.open(path) as log:
            return replay(log, RUN)

    return work
