"""Keeps the events of runs as a chain that can be checked, whatever the store behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Literal, Self

from .bulk import building
from .canonical import payload_bytes
from .errors import LogError
from .event import (
    ContextCarried,
    CycleCommitted,
    Event,
    Parent,
    RunStarted,
    RunStopped,
    leaf,
    leaf_of_entry,
    payloads_of,
    write_event,
)
from .fact import RunId
from .lines import BadLine, peek_commit, read_batch, write_batch
from .merkle import MerkleTree
from .read_event import read_event, read_head
from .record import Record
from .stores import Fenced, JsonLinesStore, MemoryStore, Store


class UnknownRun(LogError):
    """A log holds no run of this id."""

    def __init__(self, run: str, known: Sequence[str]) -> None:
        self.run, self.known = run, tuple(known)
        more = ", …" if len(known) > 5 else ""
        some = f"It holds {len(known)}: {', '.join(known[:5])}{more}" if known else "It is empty"
        super().__init__(f"run {run!r} is not in this log. {some}")


@dataclass(slots=True)
class _Head:
    """Where the next event of a run goes."""

    seq: int = 0
    digest: str | None = None
    tree: MerkleTree = field(default_factory=MerkleTree)


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it stands in a log."""

    run: RunId
    seq: int
    event: Event
    digest: str
    beside: Mapping[str, Any]


class FactLog:
    """An append-only log of runs.

    ```python
    log = FactLog.open("run.jsonl")                # or ":memory:"
    result = await engine.run(context, log=log)
    replay(log, result.run_id)                     # the context as it was
    ```
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._heads: dict[RunId, _Head] = {}
        self._lock = RLock()  # runs in several threads may share a log
        self._put_off: dict[RunId, int] = {}  # how many events of each run a lazy store has not taken yet
        self._waiting: list[tuple[RunId, list[tuple[Event, Mapping[str, Any] | None]]]] = []

    @classmethod
    def open(cls, url: str | Path = ":memory:", *, sync: Literal["normal", "full"] = "normal") -> Self:
        """Opens a log: ":memory:" or a file whose name ends in ".jsonl".

        Raises:
            LogError: no store goes by that name.
        """
        if sync not in ("normal", "full"):
            raise LogError(f'sync={sync!r} is not "normal" (survives a crash) or "full" (survives power loss)')
        name = str(url)
        if name == ":memory:":
            return cls(MemoryStore())
        if name.endswith((".jsonl", ".ndjson")):
            return cls(JsonLinesStore(name.removeprefix("file://"), sync))
        raise LogError(f"no store for {name!r}. Give ':memory:' or a file name that ends in .jsonl")

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(
        self, run: RunId, events: Sequence[Event], beside: Mapping[str, Any] | None = None, *, seq: int | None = None
    ) -> None:
        """Adds events to a run, all or none; `beside` is kept next to the first of them, outside the chain.

        With `seq` the run has to end at that event.

        Raises:
            Fenced: it does not: somebody else has written to it. Nothing was added.
        """
        with self._lock:
            self._append(run, events, beside, seq)

    def _append(self, run: RunId, events: Sequence[Event], beside: Mapping[str, Any] | None, seq: int | None) -> None:
        if seq is not None and (found := self._length(run)) != seq:
            raise Fenced(run, seq, found)
        batch = [(event, None if place else beside) for place, event in enumerate(events)]
        if self.store.lazy:
            self._waiting.append((run, batch))
            self._put_off[run] = self._put_off.get(run, 0) + len(batch)
            return
        self._write(run, batch)

    def flush(self) -> None:
        """Writes what a lazy store has put off; reading does it by itself."""
        with self._lock:
            while self._waiting:
                run, batch = self._waiting[0]
                self._write(run, batch)
                del self._waiting[0]
                self._put_off.pop(run, None)

    def load(self, text: str | bytes) -> list[RunId]:
        """Takes in runs that `export` wrote and returns their ids.

        Raises:
            LogError: the text is damaged or holds a run that is already here; nothing was taken in.
        """
        self.flush()
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        runs = _read_runs(data)
        present = [run for run in runs if self.store.length(run)]
        if present:
            raise LogError(f"run {present[0]} is already in this log. Nothing was taken in")
        for run, records in runs.items():
            FactLog(_Checked(run, records)).check(run)
        for run, records in runs.items():
            self.store.append(run, 0, records)
        return list(runs)

    def close(self) -> None:
        """Closes the store behind it."""
        self.flush()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    def runs(self) -> list[RunId]:
        """Returns the runs in the order in which they began."""
        self.flush()
        return self.store.runs()

    def length(self, run: RunId | str) -> int:
        """Returns how many events a run has; 0 for one that is not here."""
        self.flush()
        return self.store.length(RunId(str(run)))

    def __contains__(self, run: object) -> bool:
        self.flush()
        return self.store.length(RunId(str(run))) > 0

    def records(self, run: RunId | str, start: int = 0) -> Iterator[Record]:
        """Yields the records of a run as the store has them.

        Raises:
            UnknownRun: the log holds no such run.
        """
        self.flush()
        found = False
        for record in self.store.read(RunId(run), start):
            found = True
            yield record
        if not found and not self.store.length(RunId(run)):
            raise UnknownRun(run, self.store.runs())

    def events(self, run: RunId | str, start: int = 0) -> Iterator[Logged]:
        """Yields the events of a run in order, from number `start` on."""
        for seq, record in enumerate(self.records(run, start), start):
            data = read_head(record.raw, str(run), seq)
            event = read_event(data, str(run), seq, record.payloads.get)
            yield Logged(RunId(str(run)), seq, event, record.digest, json.loads(record.beside))

    def started(self, run: RunId | str) -> RunStarted:
        """Returns the first event of a run."""
        first = next(iter(self.events(run))).event
        if not isinstance(first, RunStarted):
            raise LogError(f"run {run}: event 0 is {first.kind}, not {RunStarted.kind}")
        return first

    def stopped(self, run: RunId | str) -> RunStopped | None:
        """Returns the last event of a run if it has ended, else None."""
        self.flush()
        length = self.store.length(RunId(str(run)))
        last = [logged.event for logged in self.events(run, max(0, length - 1))]
        return last[-1] if last and isinstance(last[-1], RunStopped) else None

    def root_of(self, run: RunId) -> str:
        """Returns the Merkle root over the facts of a run's events, in hex."""
        self.flush()
        return self._head(run).tree.root().hex()

    def _length(self, run: RunId) -> int:
        """Returns how many events a run has, those that wait to be written among them."""
        return self.store.length(run) + self._put_off.get(run, 0)

    def digest_of(self, run: RunId) -> str:
        """Returns the digest of a run's last event; empty while a lazy store has put off writing it."""
        head = self._heads.get(run)
        return "" if head is None or self._waiting else head.digest or ""

    def point(self, run: RunId, seq: int) -> Parent | None:
        """Returns the point behind the first `seq` events of a run, for another to go on from; None if it has fewer."""
        self.flush()
        for record in self.store.read(run, seq - 1):
            return Parent(run, seq, record.digest)
        return None

    def export(self, run: RunId | str) -> str:
        """Returns a run as JSON lines, to be kept, mailed or loaded elsewhere."""
        return self.to_bytes(run, beside=True).decode()

    def to_bytes(self, run: RunId | str, *, beside: bool = False) -> bytes:
        """Returns a run as the bytes of its JSON lines, each event as a batch.

        Without what stands beside the chain (the default) two runs that did the same have the same bytes.
        """
        parts = []
        for seq, record in enumerate(self.records(run)):
            kept = record if beside else Record(record.raw, record.digest, record.payloads)
            parts.append(write_batch(str(run), seq, [kept]))
        return b"".join(parts)

    def check(self, run: RunId | str) -> None:
        """Raises a LogError unless every event of a run follows the one before it and can be read."""
        previous: str | None = None
        for seq, record in enumerate(self.records(run)):
            data = read_head(record.raw, str(run), seq)
            if data.get("prev") != previous:
                raise LogError(f"run {run}: event {seq} does not follow event {seq - 1}")
            read_event(data, str(run), seq, record.payloads.get)
            previous = record.digest

    # --- inside -----------------------------------------------------------------------------------------------------

    def _head(self, run: RunId) -> _Head:
        head = self._heads.get(run)
        if head is None:
            head = _Head()
            for record in self.store.read(run):
                head.seq, head.digest = head.seq + 1, record.digest
                for text in leaves_of(read_head(record.raw, run, head.seq - 1)):
                    head.tree.append(text)
            self._heads[run] = head
        return head

    def _write(self, run: RunId, batch: Sequence[tuple[Event, Mapping[str, Any] | None]]) -> None:
        with building():
            self._write_batch(run, batch)

    def _write_batch(self, run: RunId, batch: Sequence[tuple[Event, Mapping[str, Any] | None]]) -> None:
        head = self._head(run)
        seq, digest = head.seq, head.digest
        leaves: list[bytes] = []
        records = []
        for said, beside in batch:
            event = said
            if isinstance(said, RunStopped):
                head.tree.extend(leaves)
                leaves = []
                event = RunStopped(said.stop, said.promoted, head.tree.root().hex())
            raw = write_event(event, run, seq, digest)
            digest = sha256(raw).hexdigest()
            payloads = {
                part.sha256.hex(): payload_bytes(part.payload)
                for part in payloads_of(event)
                if part.sha256 is not None and part.payload is not None
            }
            text = json.dumps(beside, separators=(",", ":")).encode() if beside else b"{}"
            records.append(Record(raw, digest, payloads, text))
            if isinstance(event, (CycleCommitted, ContextCarried)):
                leaves.extend(leaf(fact) for fact in event.facts)
            seq += 1
        try:
            self.store.append(run, head.seq, records)
        except BaseException:  # whatever it was goes on to the caller
            self._heads.pop(run, None)  # what is really there is read again
            raise
        head.tree.extend(leaves)
        head.seq, head.digest = seq, digest


def leaves_of(data: Mapping[str, Any]) -> Iterator[bytes]:
    """Yields the Merkle leaves of an event that `read_head` has read."""
    if data.get("kind") == RunStopped.kind:
        return
    before: Sequence[str] = ()
    for entry in data.get("facts", ()):
        before = before if entry["because"] == "same" else entry["because"]
        yield leaf_of_entry(entry, before)


def _read_runs(data: bytes) -> dict[RunId, list[Record]]:
    """Returns the records of each run in a text of JSON lines, each batch checked."""
    runs: dict[RunId, list[Record]] = {}
    batch: list[tuple[int, bytes]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        batch.append((number, line))
        if line.startswith(b'{"commit":"'):
            try:
                records = [record for _, record in read_batch(batch)]
            except BadLine as error:
                raise LogError(f"the text is damaged: {error}. Nothing was taken in") from None
            commit = peek_commit(line)
            if commit is None:
                raise LogError(f"the text is damaged: line {number} is no commit line. Nothing was taken in")
            runs.setdefault(RunId(commit[0]), []).extend(records)
            batch = []
    if batch:
        raise LogError(
            f"the text is torn: its last batch (from line {batch[0][0]}) has no commit line. Nothing was taken in"
        )
    return runs


class _Checked(MemoryStore):
    """A store over records that are to be checked before they are kept."""

    def __init__(self, run: RunId, records: Sequence[Record]) -> None:
        super().__init__()
        self._runs[run] = list(records)
