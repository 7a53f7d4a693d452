"""Measures the whole providers pack: what one request costs from the question to what was learned of it.

`python benchmarks/work_pack.py` prints the figures of docs/providers.md. They are processor time: nothing is waited for
here, and what else the machine does is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import anyio
from measure import Case, Row, Sample, Section, measure

from quiesce.engine import Proposal, Suggestor, propose, suggestor
from quiesce.facts import Fact, FactLog, replay
from quiesce.suggestors.drift.payloads import ResponseObservation
from quiesce.suggestors.feedback.payloads import Feedback
from quiesce.suggestors.pack import ProvidersPack, providers
from quiesce.suggestors.routing.payloads import Outcome, RouteDecision
from quiesce.suggestors.selection.payloads import Backend, ProviderRequest

TIMES, BATCH = 20, 50
_NUMBERS = count()


def caller() -> Suggestor:
    """Returns a provider that costs nothing: what is measured is what stands around it."""

    @suggestor(writes=[Outcome, ResponseObservation, Feedback], pure=False, version="1")
    def call(decision: Fact[RouteDecision]) -> Iterator[Proposal[Any]]:
        name, id = decision.payload.provider, decision.id
        yield propose(Outcome(request_id=id, provider=name, success=True, tokens=90, cost=0.1), id=id)
        observed = ResponseObservation(
            provider=name, output_tokens=90, has_tool_use=False, request_had_tools=False, stop_reason="stop"
        )
        yield propose(observed, id=id)
        yield propose(Feedback(user_message="Thanks!", assistant_response="It is 42.", provider=name), id=id)

    made: Suggestor = call
    return made


def pack_of(backends: int) -> ProvidersPack:
    does = frozenset({"text_generation"})
    return providers([Backend(name=f"p{number}", kind="llm", capabilities=does) for number in range(backends)])


class Desk:
    """A pack at work on a log."""

    def __init__(self, place: str | Path, backends: int = 3) -> None:
        self.pack = pack_of(backends)
        self.log: FactLog = self.pack.open(place)
        self.engine = self.pack.engine(caller())
        self.last = ""

    async def serve(self, requests: int = 1) -> None:
        """Runs requests, in one run."""
        context = self.pack.context(self.log)
        self.last = f"run-{next(_NUMBERS)}"
        for number in range(requests):
            context.add(ProviderRequest(required_capabilities=("text_generation",)), id=f"{self.last}-{number}")
        await self.engine.run(context, log=self.log, run_id=self.last, seed=1)

    def runs(self, times: int, requests: int = 1) -> Sample:
        """Returns a sample in milliseconds for each request."""

        async def sample() -> float:
            start = process_time()
            for _ in range(times):
                await self.serve(requests)
            return (process_time() - start) / (times * requests) * 1e3

        return sample

    def again(self, *, rerun: bool) -> Sample:
        """Returns a sample in milliseconds for replaying, or rerunning, the last run."""

        async def sample() -> float:
            start = process_time()
            for _ in range(TIMES):
                if rerun:
                    (await self.engine.rerun(self.log, self.last)).unwrap()
                else:
                    replay(self.log, self.last)
            return (process_time() - start) / TIMES * 1e3

        return sample


async def pack(folder: Path) -> Section:
    """What a request costs, from what is known before it to what is known after it."""
    memory, sqlite, many = Desk(":memory:"), Desk(folder / "pack.db"), Desk(folder / "many.db", 50)
    single = Desk(folder / "single.db")
    await single.serve()
    return Section(
        "One request through the providers pack",
        "Selection, routing, a call that takes no time, an outcome, an observation, feedback; learned, in the log.",
        [
            Case("a request a run, in memory", memory.runs(TIMES)),
            Case("a request a run, SQLite", sqlite.runs(TIMES)),
            Case("a request a run, SQLite, 50 backends", many.runs(TIMES)),
            Case(f"{BATCH} requests a run, SQLite, each", sqlite.runs(2, BATCH)),
            Case("its replay", single.again(rerun=False)),
            Case("its rerun", single.again(rerun=True)),
        ],
    )


async def main() -> list[Row]:
    """Returns what was measured."""
    with TemporaryDirectory(prefix="quiesce-bench-") as folder:
        return await measure(await pack(Path(folder)), 5)


if __name__ == "__main__":
    for row in anyio.run(main):
        print(f"{row.case.name:40} {row.median:8.2f} {row.case.unit}")
