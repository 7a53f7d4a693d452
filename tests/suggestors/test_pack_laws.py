"""Holds the whole pack to the laws of the engine: the same log whatever the timing, a ledger that agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import Converged, Suggestor, suggestor
from quiesce.facts import Context, Fact, FactLog, Failure, Payload, replay, verify
from quiesce.suggestors import (
    Feedback,
    Outcome,
    Posterior,
    ProviderRequest,
    ProvidersPack,
    Quarantine,
    ResponseObservation,
    RouteDecision,
    RouteRequest,
)
from support.pack_worker import NAMES, STARTED, answer, caller, pack_of, paid, run_one

Said = tuple[Payload, str]
names = st.sampled_from(NAMES)
ids = st.sampled_from([f"r{number}" for number in range(6)])


@st.composite
def inputs(draw: st.DrawFn) -> list[Said]:
    """Draws what a run may begin with: requests, routes, and signals that came late or from elsewhere."""
    requests = st.builds(
        ProviderRequest,
        required_capabilities=st.lists(st.sampled_from(["text_generation", "vision"]), max_size=2).map(tuple),
    )
    routes = st.builds(
        RouteRequest, providers=st.lists(names, max_size=3).map(tuple), tags=st.sampled_from([(), ("t",)])
    )
    outcomes = st.builds(
        Outcome, request_id=ids, provider=names, success=st.sampled_from([True, False, None]),
        cost=st.floats(0, 1), tags=st.sampled_from([(), ("t",), ("t", "u")]), quality=st.sampled_from([None, 0.0, 1.0]),
    )  # fmt: skip
    observed = st.builds(
        ResponseObservation, provider=names, output_tokens=st.sampled_from([0, 3, 100]), is_error=st.booleans(),
        has_tool_use=st.booleans(), request_had_tools=st.booleans(), stop_reason=st.sampled_from(["stop", "odd", None]),
    )  # fmt: skip
    feedback = st.builds(
        Feedback, user_message=st.sampled_from(["No, that is wrong.", "Thanks!", "and then?"]),
        assistant_response=st.just("It is 42."), provider=names,
    )  # fmt: skip
    said = st.one_of(
        st.tuples(requests, ids), st.tuples(routes, ids), st.tuples(outcomes, ids),
        st.tuples(feedback, ids), st.tuples(observed, st.integers(0, 40).map(str)),
    )  # fmt: skip
    return draw(st.lists(said, min_size=1, max_size=30))


@dataclass(frozen=True)
class Slow:
    """Plays the provider in an async suggestor, which lets others go first as often as the request says."""

    salt: int

    def suggestor(self) -> Suggestor:
        @suggestor(name="laws-call", writes=[Outcome, ResponseObservation, Feedback])
        async def call(decision: Fact[RouteDecision]) -> Any:
            for _ in range(sha256(f"{self.salt}{decision.id}".encode()).digest()[0] % 5):
                await anyio.lowlevel.checkpoint()
            return list(answer(decision.id, decision.payload.provider))

        made: Suggestor = call
        return made


def context_of(pack: ProvidersPack, log: FactLog, said: Sequence[Said]) -> Context:
    context = pack.context(log)
    for payload, id in said:
        context.add(payload, id=id)
    return context


async def runs_of(batches: Sequence[Sequence[Said]], salt: int, **options: Any) -> list[bytes]:
    """Returns the logs of runs that learn from one another."""
    pack = pack_of()
    engine = pack.engine(Slow(salt).suggestor(), **options)
    with pack.open(":memory:") as log:
        for number, said in enumerate(batches):
            result = await engine.run(
                context_of(pack, log, said), log=log, run_id=f"run-{number}", seed=number,
                started=STARTED + timedelta(minutes=5 * number),
            )  # fmt: skip
            assert isinstance(result.stop, Converged)
            assert {} == dict(result.context.of(Failure))
        return [log.to_bytes(run) for run in log.runs()]


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(inputs(), min_size=1, max_size=3), salt=st.integers(1, 99))
def test_s1_the_log_is_the_same_on_asyncio_and_trio_ahead_of_the_barrier_and_behind_it(
    batches: list[list[Said]], salt: int
) -> None:
    """Byte for byte, whoever of the providers answers first."""
    reference = anyio.run(partial(runs_of, batches, 0, lookahead=0), backend="asyncio")

    assert reference == anyio.run(partial(runs_of, batches, salt), backend="asyncio")
    assert reference == anyio.run(partial(runs_of, batches, salt + 1), backend="trio")


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(inputs(), min_size=1, max_size=3))
def test_what_a_run_ends_with_is_what_the_ledger_knows(batches: list[list[Said]]) -> None:
    """The fold of the run and that of the ledger are one function; stored values are what a fold from scratch gives."""
    pack = pack_of()
    engine = pack.engine(caller(pure=True))
    with pack.open(":memory:") as log:
        for number, said in enumerate(batches):
            began = STARTED + timedelta(minutes=5 * number)
            result = engine.run_sync(context_of(pack, log, said), log=log, run_id=f"run-{number}", started=began)
            ends = {id: fact.payload for id, fact in result.context.of(Posterior).items()}
            out = {id: Quarantine.model_dump(fact.payload) for id, fact in result.context.of(Quarantine).items()}
            known = {id: one.model_dump() for id, one in log.values(pack.quarantines).items()}

            assert ends == dict(log.values(pack.posteriors))
            assert out == {id: known[id] for id in out}
        assert [] == [str(check) for check in log.check_projections() if not check.ok]


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(inputs(), min_size=1, max_size=2))
def test_a_rerun_decides_the_same_and_calls_nobody(batches: list[list[Said]]) -> None:
    """Nothing that was learned since, and no other run in between, changes what a record comes to."""
    pack = pack_of()
    with TemporaryDirectory() as folder, pack.open(":memory:") as log:
        engine = pack.engine(caller(Path(folder) / "calls"))
        for number, said in enumerate(batches):
            engine.run_sync(context_of(pack, log, said), log=log, run_id=f"run-{number}", seed=number, started=STARTED)
        paid_for = paid(Path(folder))
        for run in reversed(list(log.runs())):
            found = engine.rerun_sync(log, run)

            assert found.same, str(found)
        assert paid_for == paid(Path(folder))


def test_a_fork_asks_what_if_with_what_was_known_then() -> None:
    """What if the first had been out: the same request, another decision, and the run that was is as it was."""
    pack = pack_of()
    engine = pack.engine(caller(pure=True))
    with pack.open(":memory:") as log:
        whole = run_one(pack, engine, log, "r1", 1)
        chosen = replay(log, "r1").of(RouteDecision)["r1"].payload.provider
        out = (Quarantine(backend=chosen, reason="what if"), "by-hand")
        fork = engine.fork_sync(log, "r1", at=0, add=[out], run_id="what-if")

        assert chosen != fork.context.of(RouteDecision)["r1"].payload.provider
        assert whole == log.to_bytes("r1")
        assert verify(log, "what-if").ok
