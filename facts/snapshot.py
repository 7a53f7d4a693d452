"""Holds what the first events of a run came to, in their place: the note that compaction leaves.

A snapshot is one JSON line, by which a run can go on without reading the rest, and two compressed parts: the text of
the first event, and everything that reads need of the others: facts in the order of their leaves, proposals that were
refused or parked, decisions, what was redacted, and where the suggestors were.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

from .errors import LogError
from .event import Compacted, RunStarted, fact_entry, leaf_of_entry
from .fact import RunId
from .merkle import MerkleTree
from .read_event import BrokenEvent, UnknownFormat, read_compacted, read_event, read_head
from .stores import Address

SPACE = "snapshot"
FORMAT = 1
"""The version of the snapshots that this build writes and reads."""
ROOM, SWELL = 16 * 2**20, 100
"""A part of a snapshot is read up to so many bytes, and so many times as many as it takes; more is not compressed."""


class BrokenSnapshot(LogError):
    """The snapshot of a compacted run cannot be read."""

    def __init__(self, run: str, problem: str) -> None:
        self.run, self.problem = run, problem
        super().__init__(
            f"run {run}: its snapshot, which stands for its first events, {problem}. Nothing of the run can be "
            f"replayed without it. Load the run from an export that was made before"
        )


class CutOff(LogError):
    """What is asked for was in events that compaction took away."""

    def __init__(self, run: str, cycle: int, wish: str) -> None:
        self.run, self.cycle, self.wish = run, cycle, wish
        super().__init__(
            f"run {run} was compacted: what it did up to cycle {cycle} is kept as its outcome only, so {wish}. "
            f"The earliest that can be replayed is replay(log, {run!r}, at={cycle})"
        )


@dataclass(slots=True)
class Body:
    """What a snapshot says of events, as JSON data; the builder of `compact` fills it."""

    facts: list[list[Any]] = field(default_factory=list)
    """Each as its members in the order of an event, but "because" is null where it is that of the fact before, and
    the last is the place of its payload; its digest where that was redacted."""
    losers: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[dict[str, Any]] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[str | None] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns it as one JSON object."""
        return {
            "facts": self.facts, "losers": self.losers, "rejections": self.rejections, "gates": self.gates,
            "payloads": self.payloads, "gone": self.gone, **self.rest,
        }  # fmt: skip

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Returns what `to_json` gave.

        Raises:
            TypeError, KeyError: it is something else.
        """
        names = ("facts", "losers", "rejections", "gates", "payloads")
        lists = [data[name] for name in names]
        gone = data["gone"]
        if not all(isinstance(one, list) for one in lists) or not isinstance(gone, dict):
            raise TypeError("its members have not the types that they should")
        rest = {name: value for name, value in data.items() if name not in (*names, "gone")}
        return cls(lists[0], lists[1], lists[2], lists[3], lists[4], gone, rest)


class Snapshot:
    """A snapshot as it was kept; its parts are read when they are asked for."""

    def __init__(
        self, run: RunId, events: int, cycle: int, digest: str, tree: MerkleTree, started: bytes, body: bytes
    ) -> None:
        self.run = run
        self.events = events
        """How many events it stands for: the number of the first that is still there."""
        self.cycle = cycle
        self.digest = digest
        """The digest of the last event that it stands for."""
        self.tree = tree
        """The Merkle tree over the facts of those events."""
        self._started, self._body = started, body  # compressed

    # --- bytes ------------------------------------------------------------------------------------------------------

    @classmethod
    def make(
        cls, run: RunId, events: int, cycle: int, digest: str, tree: MerkleTree, started: bytes, body: Body
    ) -> Self:  # fmt: skip
        """Returns a snapshot of events."""
        return cls(run, events, cycle, digest, tree, _compress(started), _pack(body))

    def with_body(self, body: Body) -> Snapshot:
        """Returns the snapshot with another body, such as one from which payloads were redacted."""
        return Snapshot(self.run, self.events, self.cycle, self.digest, self.tree, self._started, _pack(body))

    def to_bytes(self) -> bytes:
        """Returns it as a note holds it."""
        head = {
            "v": FORMAT, "events": self.events, "cycle": self.cycle, "digest": self.digest, "size": self.tree.size,
            "frontier": [node.hex() for node in self.tree.frontier], "started": len(self._started),
        }  # fmt: skip
        return b"%b\n%b%b" % (json.dumps(head, separators=(",", ":")).encode(), self._started, self._body)

    @classmethod
    def read(cls, run: RunId, raw: bytes) -> Self:
        """Returns the snapshot that a note holds.

        Raises:
            BrokenSnapshot: it cannot be read.
        """
        line, _, parts = raw.partition(b"\n")
        try:
            head = json.loads(line)
            if head["v"] != FORMAT:
                raise BrokenSnapshot(run, f"has format version {head['v']!r}, but this build reads {FORMAT}")
            numbers = [head["events"], head["cycle"], head["size"], head["started"]]
            if not all(type(number) is int for number in numbers) or not isinstance(head["digest"], str):
                raise TypeError("a member has another type")
            tree = MerkleTree.of(head["size"], [bytes.fromhex(node) for node in head["frontier"]])
            border = head["started"]
            return cls(run, head["events"], head["cycle"], head["digest"], tree, parts[:border], parts[border:])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BrokenSnapshot(run, f"cannot be read: {error!r:.200}") from error

    # --- content ----------------------------------------------------------------------------------------------------

    @cached_property
    def body(self) -> Body:
        """What it says of the events, as JSON data."""
        try:
            return Body.of(json.loads(_unpack(self._body)))
        except (ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
            raise BrokenSnapshot(self.run, f"cannot be read: {error!r:.200}") from error

    @property
    def started(self) -> bytes:
        """The text of the first event."""
        try:
            return _unpack(self._started)
        except zlib.error as error:
            raise BrokenSnapshot(self.run, f"cannot be read: {error}") from error

    @cached_property
    def digests(self) -> list[str | None]:
        """The digest of each payload, by its place; None for one that was redacted."""
        try:
            return [
                None if text is None else sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
                for text in self.body.payloads
            ]
        except (AttributeError, UnicodeEncodeError) as error:
            raise BrokenSnapshot(self.run, f"holds a payload that is none: {error}") from error

    def places(self) -> dict[str, int]:
        """Returns the place of each payload, by its digest."""
        return {digest: place for place, digest in enumerate(self.digests) if digest is not None}

    @cached_property
    def payloads(self) -> dict[str, bytes]:
        """The payloads by digest."""
        return {
            digest: text.encode("utf-8", "surrogateescape")
            for digest, text in zip(self.digests, self.body.payloads, strict=True)
            if digest is not None and text is not None
        }

    @property
    def gone(self) -> dict[str, bytes]:
        """The tombstones of what was redacted, by digest."""
        try:
            return {digest: text.encode("utf-8", "backslashreplace") for digest, text in self.body.gone.items()}
        except AttributeError as error:
            raise BrokenSnapshot(self.run, f"holds a tombstone that is none: {error}") from error

    @cached_property
    def first(self) -> tuple[RunStarted, str]:
        """The first event of the run, and its digest."""
        try:
            raw = self.started
            event = read_event(read_head(raw, self.run, 0), self.run, 0, dict[str, bytes]().get)
        except (BrokenEvent, UnknownFormat) as error:
            raise BrokenSnapshot(self.run, f"cannot be read: {error}") from error
        if not isinstance(event, RunStarted):
            raise BrokenSnapshot(self.run, f"begins with {event.kind}, not with {RunStarted.kind}")
        return event, sha256(raw).hexdigest()

    def entries(self) -> list[dict[str, Any]]:
        """Returns the facts as events would have them, every lineage written out."""
        digests = self.digests
        entries: list[dict[str, Any]] = []
        because: Any = []
        try:
            for ref, key, version, by, cycle, lineage, confidence, place in self.body.facts:
                because = lineage if lineage is not None else because
                digest = place if isinstance(place, str) else digests[place]
                if digest is None or (place.__class__ is int and place < 0):
                    raise ValueError(f"its payload is said to be at {place!r:.60}")
                entries.append(fact_entry(ref, key, version, by, cycle, because, confidence, digest))
        except (TypeError, ValueError, IndexError) as error:
            raise BrokenSnapshot(self.run, f"holds a fact that cannot be read: {error!r:.200}") from error
        return entries

    def leaves(self) -> Iterator[bytes]:
        """Yields the Merkle leaves of the facts."""
        try:
            for entry in self.entries():
                yield leaf_of_entry(entry, entry["because"])
        except (TypeError, ValueError, AttributeError) as error:
            raise BrokenSnapshot(self.run, f"holds a fact that cannot be read: {error!r:.200}") from error

    def event(self) -> Compacted:
        """Returns what it says as the event that stands first in the run."""
        entries = self.entries()
        shared = [_shared(entry, before) for entry, before in zip(entries, [None, *entries], strict=False)]
        data = {**self.body.to_json(), "facts": shared}
        started, first = self.first
        try:
            return read_compacted(
                started, first, self.events, self.cycle, data, self.run, self.payloads.get, self.gone
            )  # fmt: skip
        except BrokenEvent as error:
            raise BrokenSnapshot(self.run, error.problem) from error


def address_of(run: RunId) -> Address:
    """Returns where the snapshot of a run stands."""
    return Address(SPACE, run, "")


def _shared(entry: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """Returns a fact's entry so that facts with one lineage share it once they are read."""
    return {**entry, "because": "same"} if before is not None and entry["because"] is before["because"] else entry


def _pack(body: Body) -> bytes:
    text = json.dumps(body.to_json(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _compress(text.encode("utf-8", "backslashreplace"))


def _compress(plain: bytes) -> bytes:
    packed = zlib.compress(plain)
    return packed if len(plain) <= _room(packed) else zlib.compress(plain, 0)


def _room(packed: bytes) -> int:
    """Returns how many bytes may come out of some: a snapshot from elsewhere must not fill the memory with nothing."""
    return ROOM + SWELL * len(packed)


def _unpack(packed: bytes) -> bytes:
    reader, room = zlib.decompressobj(), _room(packed)
    plain = reader.decompress(packed, room)
    if not reader.eof and len(plain) == room:
        raise zlib.error(f"more than {room:,} bytes come out of {len(packed):,}, and no snapshot is written like that")
    if not reader.eof or reader.unused_data:
        raise zlib.error("it is cut short, or something stands behind it")
    return plain
