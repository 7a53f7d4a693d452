"""Turns events into the records of a run's chain: each names the digest of the one before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from .canonical import payload_bytes
from .event import (
    CycleCommitted,
    Event,
    RunStopped,
    leaf_of_entry,
    payloads_of,
    write_event,
)
from .fact import RunId
from .merkle import MerkleTree
from .payload import Opaque
from .read_event import read_head
from .record import Record

_compact = json.JSONEncoder(separators=(",", ":")).encode
"""`json.dumps` with these separators, without making an encoder for each event."""


@dataclass(slots=True)
class Head:
    """Where the next event of a run goes."""

    seq: int = 0
    digest: str | None = None
    tree: MerkleTree = field(default_factory=MerkleTree)

    def take(self, run: RunId, record: Record) -> None:
        """Goes behind a record that a store has."""
        leaves = list(leaves_of(read_head(record.raw, run, self.seq)))
        self.seq, self.digest = self.seq + 1, record.digest
        self.tree.extend(leaves)


@dataclass(slots=True)
class Written:
    """Events as records, and where they leave their run once they are kept."""

    records: list[Record]
    leaves: list[bytes]
    seq: int
    digest: str | None
    families: set[str]
    """The families of the facts that cycles committed."""

    def move(self, head: Head) -> None:
        """Moves a head behind them."""
        head.tree.extend(self.leaves)
        head.seq, head.digest = self.seq, self.digest


def write(run: RunId, head: Head, said: Iterable[tuple[Event, Mapping[str, Any] | None]]) -> Written:
    """Returns events, each with what stands beside it, as the records that follow a head; the head stays."""
    seq, digest = head.seq, head.digest
    leaves: list[bytes] = []
    families: set[str] = set()
    records = []
    for each, beside in said:
        event = each
        if isinstance(event, RunStopped):
            tree = head.tree
            if leaves:
                tree = tree.copy()
                tree.extend(leaves)
            event = RunStopped(event.stop, event.promoted, tree.root().hex())
        raw = write_event(event, run, seq, digest, leaves)
        digest = sha256(raw).hexdigest()
        payloads: dict[str, bytes] = {}
        gone: dict[str, bytes] = {}
        for part in payloads_of(event):
            payload = part.payload
            if part.sha256 is None or payload is None:
                continue
            if isinstance(payload, Opaque) and payload.tombstone:  # it was redacted where it comes from
                gone[part.sha256.hex()] = payload.tombstone.encode()
            else:
                payloads[part.sha256.hex()] = payload_bytes(payload)
        text = _compact(beside).encode() if beside else b"{}"
        records.append(Record(raw, digest, payloads, text, gone))
        if isinstance(event, CycleCommitted):
            families.update(fact.family for fact in event.facts)
        seq += 1
    return Written(records, leaves, seq, digest, families)


def leaves_of(data: Mapping[str, Any]) -> Iterator[bytes]:
    """Yields the Merkle leaves of an event that `read_head` has read."""
    if data.get("kind") == RunStopped.kind:
        return
    before: Sequence[str] = ()
    for entry in data.get("facts", ()):
        before = before if entry["because"] == "same" else entry["because"]
        yield leaf_of_entry(entry, before)
