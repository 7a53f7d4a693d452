"""Does to a store all that can be done to one, step by step, and tells what it then holds: for tests with faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from quiesce.facts import MemoryStore, Record, RunId, Store
from quiesce.facts.stores import Address, Batch, Put

A, B, C = RunId("a"), RunId("b"), RunId("c")
LEASE = Address("lease", A, "")
MEMO = Address("memo", "", "one")
JOURNAL = Address("journal", C, "call 1")
SECRET = b"the one that is to be erased"


def record(run: str, seq: int, payloads: Sequence[bytes] = (), *, gone: Sequence[bytes] = ()) -> Record:
    """Returns an event that names payloads, some of which may be gone."""
    raw = b'{"v":1,"run":"%s","seq":%d,"text":"of %d"}' % (run.encode(), seq, seq)
    there = {sha256(body).hexdigest(): body for body in payloads}
    away = {sha256(body).hexdigest(): b'{"by":"ana","reason":"asked"}' for body in gone}
    return Record(raw, sha256(raw).hexdigest(), there, b'{"took":%d}' % seq if seq else b"{}", away)


def body(text: str | bytes) -> bytes:
    """Returns a payload."""
    return b'{"text":"%s"}' % (text if isinstance(text, bytes) else text.encode())


WORK: tuple[Batch, ...] = (
    Batch(
        ends={A: 0},
        records={A: [record("a", 0, [body("x"), body("y")]), record("a", 1, [body(SECRET)])]},
        puts={LEASE: Put(b"held by one", 11)},
    ),
    Batch(
        ends={A: 2},
        expects={LEASE: 11},
        records={A: [record("a", 2)]},
        puts={MEMO: Put(b"m" * 600, 12, ("seen", "told"))},
    ),
    Batch(
        ends={B: 0},
        records={B: [record("b", 0, [body("z" * 9000)]), record("b", 1), record("b", 2, [body("x")])]},
        touches={"told"},
        touch=13,
    ),
    Batch(expects={LEASE: 11}, puts={LEASE: Put(b"held by two", 14)}),
    Batch(
        ends={C: 0, A: 3},
        records={C: [record("c", 0, [body(SECRET), body("c")])], A: [record("a", 3, [body("y" * 300)])]},
        puts={JOURNAL: Put(b"done", 15)},
    ),
    Batch(replaced={(A, 1): record("a", 1, gone=[body(SECRET)])}),
    Batch(ends={B: 3}, records={B: [record("b", 3)]}, cut={B: 2}),
    Batch(dropped={C}),
    Batch(ends={A: 4}, expects={LEASE: 14}, records={A: [record("a", 4)]}, puts={LEASE: None, MEMO: None}),
)
"""Batches to be committed one after the other; each says what it needs, so that none can be kept twice unseen."""


def state_of(store: Store) -> dict[str, Any]:
    """Returns all that can be read from a store."""
    runs = {run: (store.first(run), store.length(run), list(store.read(run))) for run in store.runs()}
    spaces = ("lease", "memo", "journal")
    notes = {address: note for space in spaces for address, note in store.notes(space)}
    return {"runs": runs, "notes": notes, "ledger": list(store.since(0)), "position": store.position()}


def states() -> Iterator[dict[str, Any]]:
    """Yields what a store holds before the first batch of the work and after each."""
    model = MemoryStore()
    yield state_of(model)
    for batch in WORK:
        model.commit(batch)
        yield state_of(model)


STATES = tuple(states())


def commit_all(say: Callable[[int], None], open_store: Callable[..., Store], path: Path, *args: Any) -> None:
    """Does the work in a store, and says the number of each batch once it is kept."""
    store = open_store(path, *args)
    for number, batch in enumerate(WORK, 1):
        store.commit(batch)
        say(number)
    store.close()


def append_each(
    say: Callable[[int], None], open_store: Callable[..., Store], path: Path, run: RunId = A, end: int | None = None
) -> None:
    """Appends one event after the other to a run, for ever or to an end; says how many there are when one is kept."""
    store = open_store(path)
    seq = store.length(run)
    while end is None or seq < end:
        store.commit(Batch.of(run, seq, [record(run, seq, [body(str(seq))])]))
        seq += 1
        say(seq)
    store.close()
