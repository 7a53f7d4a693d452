"""Measures trajectories: recording a step, making one of a run, learning from one, and finding patterns among many.

`python benchmarks/work_trajectories.py` prints the figures of docs/trajectories.md.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from measure import Case, Sample, Section, Target, measure

from quiesce.engine import Budget, Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload
from quiesce.suggestors.trajectories.from_run import trajectory_of
from quiesce.suggestors.trajectories.learn import PROJECTIONS
from quiesce.suggestors.trajectories.nearest import Vectors
from quiesce.suggestors.trajectories.outcome import StepOutcome
from quiesce.suggestors.trajectories.payloads import Trajectory
from quiesce.suggestors.trajectories.recorder import TrajectoryRecorder
from quiesce.suggestors.trajectories.recording import record_trajectory
from quiesce.suggestors.trajectories.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS, TURNS, DIMENSION, QUERIES = 200, 1_000, 384, 20
AT = datetime(2026, 1, 1, tzinfo=UTC)
_NUMBERS = count()


class Beat(Payload, key="signals", family="benchmark-beat"):
    n: int


@suggestor
def beat(one: Fact[Beat]) -> Beat | None:
    return Beat(n=one.payload.n + 1) if one.payload.n < TURNS else None


def _record(log: FactLog | None) -> Trajectory:
    with TrajectoryRecorder([1.0, float(next(_NUMBERS) % 17)], log=log) as recorder:
        for _ in range(STEPS):
            recorder.start_step()
            recorder.add_step("search", "the question names a place", StepOutcome.success(), 0.9)
        recorder.add_lesson("look twice")
        return recorder.complete(Verdict.success())


def _each(work: Callable[[], object], times: int, after: Callable[[], object] = lambda: None) -> Sample:
    """Returns a sample in microseconds for each of the things that one call does."""

    async def sample() -> float:
        start = perf_counter()
        work()
        took = perf_counter() - start
        after()
        return took / times * 1e6

    return sample


async def recording(folder: Path) -> Section:
    """What a step costs that is recorded, and what a run and a trajectory cost that are taken in."""
    memory, sqlite = FactLog.open(), FactLog.open(folder / "trajectories.db")
    learning = FactLog.open(folder / "learning.db", projections=PROJECTIONS)
    runs = FactLog.open()
    context = Context()
    context.add(Beat(n=1))
    await Engine([beat]).run(context, log=runs, run_id="run", budget=Budget(cycles=None))
    lost = StepOutcome.failure("timeout")

    def learn() -> None:
        with TrajectoryRecorder([1.0, float(next(_NUMBERS) % 17)]) as recorder:
            recorder.add_step("search", "", lost, 0.9)
            recorder.add_step("cache", "", StepOutcome.success(), 0.9)
            recorder.add_lesson("look twice")
        record_trajectory(learning, recorder.trajectory)

    cases = [
        Case("a step, in memory", _each(lambda: _record(None), STEPS), "µs", Target(50)),
        Case("a step, into a memory log", _each(lambda: _record(memory), STEPS, memory.flush), "µs"),
        Case("a step, into SQLite", _each(lambda: _record(sqlite), STEPS), "µs", Target(500)),
        Case("a turn of a run, as a step", _each(lambda: trajectory_of(runs, "run"), TURNS), "µs", Target(100)),
        Case("a trajectory, learned from by all projections", _each(learn, 1), "µs"),
    ]
    return Section("Trajectories", f"{STEPS} steps with start_step and add_step; a run of {TURNS:,} turns", cases)


async def similar() -> Section:
    """A search among many vectors, beside scipy's k-d tree and a bare product of numpy."""
    cases: list[Case] = []
    for size in (10_000, 100_000, 200_000):
        cases += _searches(size)
    note = f"{DIMENSION} dimensions, 100 clusters; beyond 100,000 with the index"
    return Section("The five most similar patterns", note, cases, of="patterns")


def _searches(size: int) -> list[Case]:
    import numpy as np
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(size)
    centres = rng.standard_normal((100, DIMENSION), dtype=np.float32)
    rows: NDArray[Any] = centres[rng.integers(0, 100, size)]
    rows += 0.3 * rng.standard_normal((size, DIMENSION), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rows[:: size // QUERIES][:QUERIES] + 0.01 * rng.standard_normal((QUERIES, DIMENSION))
    known = Vectors(DIMENSION)
    known.extend(rows)
    known.nearest(queries[0], 5)  # the index is built with the first search
    bare = Case("numpy: a product and a partition", _each(lambda: _bare(rows, queries), QUERIES), "µs", size=size,
                kind="floor")  # fmt: skip
    ours = Case("similar", _each(lambda: _ask(known, queries), QUERIES), "µs", Target(2, "ratio", "at most"), size=size)
    if size > 10_000:
        return [bare, ours]
    tree: Any = cKDTree(rows)  # a larger one takes minutes
    asked = _each(lambda: [tree.query(one, 5) for one in queries], QUERIES)
    return [bare, ours, Case("scipy cKDTree", asked, "µs", size=size, kind="peer")]


def _bare(rows: NDArray[Any], queries: NDArray[Any]) -> None:
    import numpy as np

    for query in queries.astype(np.float32):
        np.argpartition(rows @ query, len(rows) - 5)[-5:]


def _ask(known: Vectors, queries: NDArray[Any]) -> None:
    for query in queries:
        known.nearest(query, 5)


async def main() -> None:
    """Prints what was measured."""
    with TemporaryDirectory(prefix="quiesce-bench-") as folder:
        for section in (await recording(Path(folder)), await similar()):
            print(f"{section.title} ({section.note})")
            for row in await measure(section, 7):
                size = f", {row.case.size:,}" if row.case.size else ""
                ratio = f"  {row.ratio:.2f} x" if row.ratio else ""
                print(f"  {row.case.name + size:48} {row.median or 0:10,.1f} {row.case.unit}{ratio}")


if __name__ == "__main__":
    anyio.run(main)
