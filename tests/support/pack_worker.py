"""A small world around the providers pack, for tests that start, kill and compare whole processes.

The provider is played by a suggestor whose answer depends on nothing but the request and the provider, so that a run
can be compared with one that was never killed. Each call writes a line to a file: that is how often it was paid for.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quiesce.engine import Engine, Notice, Proposal, RunEnded, Suggestor, propose, suggestor
from quiesce.facts import Context, Fact, FactLog
from quiesce.suggestors import (
    Backend,
    Feedback,
    Outcome,
    ProviderRequest,
    ProvidersPack,
    ResponseObservation,
    RouteDecision,
    RouteRequest,
    providers,
)

NAMES = ("ada", "bob", "cyd")
DOES = frozenset({"text_generation"})
BACKENDS = tuple(Backend(name=name, kind="llm", capabilities=DOES) for name in NAMES)
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
Say = Callable[[Any], None]


def pack_of(**options: Any) -> ProvidersPack:
    return providers(BACKENDS, **options)


def caller(side: Path | None = None, *, pure: bool = False) -> Suggestor:
    """Returns the suggestor that plays the provider; it writes a line to the file whenever it is called."""

    @suggestor(name="pack-call", writes=[Outcome, ResponseObservation, Feedback], pure=pure, version="1")
    def call(decision: Fact[RouteDecision]) -> Iterator[Proposal[Any]]:
        if side is not None:
            _write_down(side, decision.id)
        yield from answer(decision.id, decision.payload.provider)

    made: Suggestor = call
    return made


def answer(id: str, provider: str) -> Iterator[Proposal[Any]]:
    """Yields what comes of asking a provider: "bob" fails often and "cyd" decays."""
    chance = int.from_bytes(sha256(f"{provider}/{id}".encode()).digest()[:4]) / 2**32
    there = not (provider == "bob" and chance < 0.5)
    tokens = 0 if provider == "cyd" and chance < 0.7 else 100
    yield propose(Outcome(request_id=id, provider=provider, success=there, tokens=tokens, cost=chance), id=id)
    observed = ResponseObservation(
        provider=provider, output_tokens=tokens, has_tool_use=False, request_had_tools=False, is_error=not there,
        stop_reason="stop",
    )  # fmt: skip
    yield propose(observed, id=id)
    if there:
        said = "No, that is wrong." if tokens == 0 else "Thanks!"
        feedback = Feedback(user_message=said, assistant_response="It is 42.", provider=provider, request_id=id)
        yield propose(feedback, id=id)


def run_one(pack: ProvidersPack, engine: Engine, log: FactLog, id: str, number: int, **options: Any) -> bytes:
    """Runs one request and returns its log."""
    context = pack.context(log)
    context.add(ProviderRequest(required_capabilities=("text_generation",)), id=id)
    moment = STARTED + timedelta(minutes=number)
    engine.run_sync(context, log=log, run_id=id, seed=number, started=moment, **options)
    return log.to_bytes(id)


# --- several processes at once ----------------------------------------------------------------------------------------


def serve(say: Say, url: str, name: str, first: int, last: int, sensitivity: str | None = "normal") -> None:
    """Runs requests that leave no choice, as fast as it can; says what it decided."""
    pack = pack_of(sensitivity=sensitivity)
    engine = pack.engine(caller())
    with pack.open(url) as log:
        for number in range(first, last):
            context = pack.context(log)
            id = f"{name}-{number}"
            context.add(RouteRequest(providers=(NAMES[number % len(NAMES)],)), id=id)
            result = engine.run_sync(context, log=log, run_id=id, seed=number, started=STARTED)
            say([fact.payload.provider for fact in result.context.of(RouteDecision).values()])


# --- a run that is killed ---------------------------------------------------------------------------------------------


def inputs(pack: ProvidersPack, log: FactLog) -> Context:
    """Returns what the run begins with: something learned, and three requests."""
    context = pack.context(log)
    for number in range(3):
        context.add(ProviderRequest(required_capabilities=("text_generation",)), id=f"k{number}")
    return context


def live(say: Say, folder: Path, die_at: int | None) -> None:
    """Learns a little, then runs three requests, and kills itself when so many notices of that have come."""
    pack, seen = pack_of(), 0
    engine = pack.engine(caller(folder / "calls"))

    def watch(notice: Notice) -> None:
        nonlocal seen
        seen += 1
        if not isinstance(notice, RunEnded):
            say((type(notice).__name__, getattr(notice, "suggestor", "")))
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with pack.open(folder / "log.db") as log:
        run_one(pack, pack.engine(caller()), log, "before", 1)
        engine.run_sync(inputs(pack, log), log=log, run_id="killed", seed=5, started=STARTED, observers=[watch])


def recover(say: Say, folder: Path) -> None:
    """Finishes what a killed process left; says what is in the log then, and how often each request was paid for."""
    pack = pack_of()
    with pack.open(folder / "log.db") as log:
        (pack.engine(caller(folder / "calls")).recover_sync(log)).unwrap()
        say(log.to_bytes("killed") if "killed" in list(log.runs()) else b"")
        say([str(check) for check in log.check_projections() if not check.ok])
        say(values_of(log, pack))
    say(paid(folder))


def values_of(log: FactLog, pack: ProvidersPack) -> dict[str, dict[str, str]]:
    """Returns what is known, by projection and id."""
    return {
        one.name: {id: value.model_dump_json() for id, value in log.values(one).items()} for one in pack.projections
    }


def paid(folder: Path) -> Counter[str]:
    """Returns how often each request was paid for."""
    side = folder / "calls"
    return Counter(side.read_text().splitlines()) if side.exists() else Counter()


def _write_down(side: Path, line: str) -> None:
    with side.open("a") as file:
        file.write(f"{line}\n")


def warm() -> None:
    """Lets everything be loaded that a run loads late."""
    with TemporaryDirectory() as folder:
        live(lambda _: None, Path(folder), None)
        recover(lambda _: None, Path(folder))
