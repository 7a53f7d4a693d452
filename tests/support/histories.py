"""Writes histories of random worlds into logs, and gathers all that can be read of a run, for comparing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quiesce.engine import Approve, Reject
from quiesce.facts import (
    FactLog,
    JsonLinesStore,
    MemoryStore,
    Ref,
    RunId,
    SqliteStore,
    Store,
    diff,
    replay,
    verify,
    why_not,
)
from quiesce.facts.forget import Leaving
from quiesce.facts.lease import address_of, stamp, unowned
from quiesce.facts.seal import seal
from quiesce.facts.stores import Address, Batch, Put
from quiesce.facts.trail import Trail
from support.strategies import Plain, World, context_of, engine_of

START = datetime(2026, 1, 1, tzinfo=UTC)
STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "jsonl": lambda place: JsonLinesStore(place / "log.jsonl"),
    "sqlite": lambda place: SqliteStore(place / "log.db"),
}


def write_history(log: FactLog, world: World) -> None:
    """Writes a run, its decisions, a run that goes on from it, and one that was carried over from another log."""
    engine = engine_of(world)
    result = engine.run_sync(context_of(world), log=log, run_id="one", seed=1, started=START)
    result = go_on(log, world, "one")
    more = result.context.copy()
    more.add(Plain(value=7, depth=0), id="more")
    engine.run_sync(more, log=log, run_id="two", seed=2, started=START)
    elsewhere = engine.run_sync(context_of(world), run_id="zero", seed=3, started=START)
    engine.run_sync(elsewhere.context, log=log, run_id="three", seed=4, started=START)


def go_on(log: FactLog, world: World, run: str) -> Any:
    """Returns the result of a run after its open gates were decided, one so, the next otherwise."""
    context = replay(log, run)
    decisions = [
        Approve(gate, by="ana") if place % 2 else Reject(gate, by="bob", reason="no")
        for place, gate in enumerate(context.trail.gates)
    ]
    return engine_of(world).resume_sync(run, decisions, log=log, now=START)


def trail_of(trail: Trail) -> dict[str, Any]:
    """Returns all that a trail says; the order of its prints and gates counts."""
    said = {one.name: getattr(trail, one.name) for one in fields(Trail) if one.name != "home"}
    return {**said, "prints": list(trail.prints.items()), "gates": list(trail.gates.items())}


def few(refs: Sequence[Ref]) -> Sequence[Ref]:
    """Returns some of many, the first and others all over."""
    return refs[:: max(1, len(refs) // 3)]


def reads_of(log: FactLog, run: str) -> dict[str, Any]:
    """Returns everything that can be read of a run, of any cycle that is still there."""
    context, found = replay(log, run), verify(log, run)
    refs = [fact.ref for fact in context]
    began = began_at(log, run)
    own = [fact.ref for fact in context if fact.cycle > began]
    return {
        "facts": list(context),
        "families": context.families,
        "trail": trail_of(context.trail),
        "started": log.started(run),
        "stopped": log.stopped(run),
        "root": log.root_of(RunId(run)),
        "length": log.length(run),
        "verified": (found.ok, found.fault, found.events, found.facts, found.root, found.finished, set(found.gone)),
        "why": [str(context.why(ref)) for ref in few(refs)],
        "why not": [sorted(map(str, why_not(log, run, ref).findings)) for ref in ("world-plain:9", *refs[:1])],
        "proofs": [log.prove(run, ref).to_json() for ref in few(own)],
        "growth": [log.prove_growth(run, size).to_json() for size in (0, found.facts // 2, found.facts)],
        "diff": str(diff(log, run, "one")),
    }  # fmt: skip


def began_at(log: FactLog, run: str) -> int:
    """Returns the cycle from which a run went on."""
    parent = log.started(run).parent
    return -1 if parent is None else replay(log, parent.run).trail.cycle


def copy_of(log: FactLog, store: Store | None = None) -> FactLog:
    """Returns another log with the same runs."""
    copy = FactLog(store if store is not None else MemoryStore())
    copy.load("".join(log.export(run) for run in log.runs()))
    return copy


def cut_at(log: FactLog, run: str, end: int) -> None:
    """Compacts a run up to any of its events."""
    from quiesce.facts.compact import build
    from quiesce.facts.snapshot import address_of as snapshot_of

    name = RunId(run)
    snapshot, _, _ = build(log, name, end)
    leaving = Leaving(log)
    leaving.cut_off(name, end, Put(seal(snapshot_of(name), snapshot.to_bytes()), stamp()))
    log.store.commit(leaving.batch())


def broken_off(log: FactLog, run: str, events: int) -> FactLog:
    """Returns a log in which a run ends after some of its events, as a crash leaves it."""
    log.flush()
    store, name = MemoryStore(), RunId(run)
    address = address_of(name)
    records = list(log.store.read(name))[:events]
    batch = Batch.of(name, 0, records)
    batch.puts = {address: Put(seal(address, unowned()), stamp())}
    store.commit(batch)
    return FactLog(store)


def everything(store: Store, runs: Iterable[str], spaces: Iterable[str]) -> bytes:
    """Returns every byte that a store gives back of events and notes."""
    parts = []
    for run in runs:
        for record in store.read(RunId(run)):
            parts += [record.raw, record.beside, *record.payloads.values(), *record.gone.values()]
    for space in spaces:
        parts += [note.value for _, note in store.notes(space)]
    return b"\n".join(parts)


def note_at(store: Store, address: Address, body: bytes) -> None:
    """Keeps one note."""
    store.commit(Batch(puts={address: Put(seal(address, body), stamp())}))
