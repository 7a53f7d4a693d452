"""Writes the golden logs of a format version, once, and says what each has to be read as ever after.

`PYTHONPATH=tests python -m support.golden` writes those of the version that this build writes into tests/golden, and
refuses where there are some already: a build that reads an old log to something else is wrong, not the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from quiesce.engine import (
    Approve,
    Budget,
    CancelSwitch,
    Engine,
    Gate,
    Reject,
    Violation,
    goal,
    invariant,
    propose,
    suggestor,
)
from quiesce.facts import Context, Fact, FactLog, Payload, RunId, View, family, replay, verify
from quiesce.facts.canonical import payload_bytes
from quiesce.facts.event import FORMAT
from quiesce.facts.trail import Trail

FOLDER = Path(__file__).parents[1] / "golden"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIXED: dict[str, Any] = {"seed": 7, "started": START}


class Ticket(Payload, key="seeds", family="golden-ticket"):
    text: str


class Plan(Payload, key="strategies", family="golden-plan"):
    """Contested where two say different things."""

    queue: str


class Tags(Payload, key="hypotheses", family="golden-tags"):
    """Revised to the union."""

    names: frozenset[str]

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


class Guess(Payload, key="evaluations", family="golden-guess", on_conflict="confidence"):
    value: int


class Stern(Payload, key="constraints", family="golden-stern", on_conflict="stop"):
    text: str


class Refund(Payload, key="proposals", family="golden-refund"):
    cents: Decimal
    at: datetime
    raw: bytes


class Packet(Payload, key="signals", family="golden-packet", version=2):
    """Was written by version 1."""

    boxes: int
    fragile: bool


@Packet.upcast(from_version=1)
def _add_fragile(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "fragile": False}


# --- what a golden log has to be read as ------------------------------------------------------------------------------


def describe(log: FactLog, run: str) -> dict[str, Any]:
    """Returns what a run is read as: its chain, its root, and the context after each of its cycles."""
    found = verify(log, run).unwrap()
    logged = list(log.events(run))
    cycles = [one.event.cycle for one in logged if one.event.kind in ("cycle_committed", "context_carried")]  # type: ignore[union-attr]  # these have one
    return {
        "kinds": [one.event.kind for one in logged],
        "digests": [one.digest for one in logged],
        "root": found.root,
        "facts": found.facts,
        "finished": found.finished,
        "gone": list(found.gone),
        "contexts": {str(cycle): digest_of(replay(log, run, at=cycle)) for cycle in cycles},
        "trail": _sha(_told(replay(log, run).trail)),
    }


def digest_of(context: Context) -> str:
    """Returns the digest of all that a context knows, payloads as they are read today among it."""
    return _sha(
        [
            [
                fact.ref, fact.key, fact.version, fact.by, fact.cycle, fact.confidence, list(fact.because), fact.digest,
                payload_bytes(fact.payload).decode(),
            ]
            for fact in context
        ]
    )  # fmt: skip


def _told(trail: Trail) -> dict[str, Any]:
    """Returns what a log says of how its run came about, by names that do not change when trails learn more."""
    return {
        "run": trail.run, "parent": trail.parent, "cycle": trail.cycle, "seq": trail.seq, "digest": trail.digest,
        "cast": list(trail.cast), "settings": trail.settings,
        "seen": {name: [seen.version, dict(seen.sizes)] for name, seen in trail.seen.items()},
        "gates": {gate: [parked.ref, parked.by, parked.expires] for gate, parked in trail.gates.items()},
        "decided": {gate: [one.approved, one.by, one.reason, one.at] for gate, one in trail.decided.items()},
        "declined": sorted([family, digest.hex()] for family, digest in trail.declined),
        "losers": {ref: [[lost.by, lost.cycle] for lost in losers] for ref, losers in trail.losers.items()},
        "spent": [trail.cycles, trail.facts, trail.tokens, trail.cost],
    }  # fmt: skip


def _sha(data: Any) -> str:
    return sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# --- writing ----------------------------------------------------------------------------------------------------------


def write(folder: Path, version: int = FORMAT) -> Path:
    """Writes the golden logs of this build's format into a folder of their own.

    Raises:
        FileExistsError: they are there.
    """
    place = folder / f"v{version}"
    if place.exists():
        raise FileExistsError(
            f"{place} is there. Golden logs are never written anew: if they read differently now, the build is wrong. "
            f"For a new format raise FORMAT in facts/event.py"
        )
    place.mkdir(parents=True)
    expected: dict[str, Any] = {}
    for name, log in logs().items():
        (place / f"{name}.jsonl").write_bytes(text_of(log))
        again = FactLog.open()
        again.load(text_of(log))
        expected[name] = {str(run): describe(again, str(run)) for run in again.runs()}
    (place / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    return place


def text_of(log: FactLog) -> bytes:
    """Returns all runs of a log as `export` gives them."""
    return b"".join(log.export(run).encode() for run in log.runs())


def logs() -> dict[str, FactLog]:
    """Returns logs in which every kind of event stands, and everything that can stand in one."""
    with _families_of_then() as (old_packet, foreign):
        plain = _plain_runs(old_packet, foreign)
    carried = FactLog.open()
    source = _gated(FactLog.open(), "source")
    source.add(Ticket(text="later"), id="later")
    Engine([plan, refund]).run_sync(source, log=carried, run_id="carried", **FIXED)
    redacted = FactLog.open()
    Engine([plan]).run_sync(_tickets("secret", "open"), log=redacted, run_id="redacted", **FIXED)
    secret = ["golden-ticket:secret", "golden-plan:secret"]
    redacted.redact("redacted", secret, reason="asked to be forgotten", by="ana")
    return {"plain": plain, "people": _people(), "carried": carried, "stops": _stops(), "redacted": redacted}


@contextmanager
def _families_of_then() -> Iterator[tuple[Any, Any]]:
    """Gives the classes that a log was written with, which are other ones today, or none."""
    today = family._families
    family._families = {name: known for name, known in today.items() if name != "golden-packet"}
    try:

        class OldPacket(Payload, key="signals", family="golden-packet"):
            boxes: int

        class Foreign(Payload, key="signals", family="golden-foreign"):
            anything: dict[str, list[float]]

        yield OldPacket, Foreign
    finally:
        family._families = today


@suggestor(version="1")
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)


@suggestor
def rival(ticket: Fact[Ticket]) -> Plan | None:
    return Plan(queue="rival ünd\n\"'\\ \u2028") if ticket.id in ("a", "f") else None


@suggestor(reads=[Plan], writes=[Tags])
def tag(view: View) -> Iterator[Any]:
    for one in view.new(Plan):
        yield propose(Tags(names=frozenset({one.payload.queue, "all"})), id="all", because=[one])


@suggestor(reads=[Ticket], writes=[Guess], pure=False)
def guess(view: View) -> Iterator[Any]:
    known = view.all(Ticket)
    for turn, one in enumerate(known):
        yield propose(Guess(value=turn), id="g", confidence=0.25 * (turn + 1), tokens=10, cost=0.1)
        if turn < 2:
            yield propose(Guess(value=turn), id=one.id, because=known, confidence=1 / 3)


@suggestor(reads=[Ticket], writes=[Plan])
def stray(view: View) -> Iterator[Any]:
    yield Stern(text="undeclared")
    yield propose(Plan(queue="x"), id="\x00")


@suggestor
def fail(ticket: Fact[Ticket]) -> Plan | None:
    if ticket.id == "d":
        raise ValueError("this one fails")
    return None


@suggestor
def refund(plan: Fact[Plan]) -> Refund:
    return Refund(cents=Decimal("9.90"), at=START, raw=plan.payload.queue.encode())


def _tickets(*texts: str) -> Context:
    context = Context()
    for text in texts:
        context.add(Ticket(text=text), id=text)
    return context


def _plain_runs(old_packet: Any, foreign: Any) -> FactLog:
    log = FactLog.open()
    context = _tickets("a", "b", "c", "d")
    context.add(old_packet(boxes=3), id="p")
    context.add(foreign(anything={"x": [0.1, 1e300]}), id="f", confidence=0.5)
    context.add(Plan(queue="first"), id="c")
    context.add(Plan(queue="second"), id="c", by="ana", because=["golden-ticket:c"])
    context.admit("golden-ticket", "broken", b'{"text": \xff}')
    engine = Engine([plan, rival, tag, guess, stray, fail])
    first = engine.run_sync(context, log=log, run_id="first", **FIXED)
    more = first.context.copy()
    more.add(Ticket(text="e"), id="e")
    Engine([plan, tag]).run_sync(more, log=log, run_id="second", budget=Budget(cycles=1), **FIXED)
    left_out = {"rival": None, "guess": None, "stray": None, "fail": None}
    engine.fork_sync(
        log, "first", at=1, add=[(Ticket(text="f"), "f")], replace={"plan": rival, **left_out}, run_id="fork"
    )
    return log


def _gated(log: FactLog, run: str) -> Context:
    gates = [Gate("refunds", [Refund], expires=timedelta(hours=4), default="approve")]
    return Engine([plan, rival, refund], gates=gates).run_sync(_tickets("a"), log=log, run_id=run, **FIXED).context


def _people() -> FactLog:
    """Approved, rejected, proposed again, expired."""
    log = FactLog.open()
    gates = [Gate("refunds", [Refund], expires=timedelta(hours=4), default="approve"), Gate("unsure", [], 0.3)]
    engine = Engine([plan, refund], gates=gates)
    first = engine.run_sync(_tickets("a", "b", "c"), log=log, run_id="gated", **FIXED)
    one, two, _ = first.gates
    decisions: list[Approve | Reject] = [Approve(one, by="ana", reason="we saw the photo"), Reject(two, by="ben")]
    second = engine.resume_sync(first, decisions, now=START + timedelta(hours=1))
    second.context.add(Plan(queue="b"), id="again")
    engine.resume_sync(second, now=START + timedelta(hours=5))
    return log


def _stops() -> FactLog:
    log = FactLog.open()

    @invariant(reads=[Plan], on="commit")
    def no_plans(view: View) -> Violation | None:
        return Violation("there is a plan", view.all(Plan)) if view.all(Plan) else None

    @goal(reads=[Plan])
    def planned(view: View) -> bool:
        return len(view.all(Plan)) > 0

    @suggestor(reads=[Ticket], writes=[Stern])
    def stern(view: View) -> Iterator[Any]:
        yield from (propose(Stern(text=text), id="s") for text in "ab")

    switch = CancelSwitch()
    switch.cancel("enough")
    for name, engine, options in (
        ("refused", Engine([plan], invariants=[no_plans]), {}),
        ("conflict", Engine([stern]), {}),
        ("cancelled", Engine([plan]), {"cancel": switch}),
        ("met", Engine([plan]), {"goals": [planned], "stop_when_met": True}),
    ):
        engine.run_sync(_tickets("a"), log=log, run_id=name, **options, **FIXED)
    log.append(RunId("unfinished"), [one.event for one in log.events("met")][:3])
    return log


if __name__ == "__main__":
    write(FOLDER)
