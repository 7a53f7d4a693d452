"""Writes a run as text and reads it back, whole, or with the snapshot that stands for its first events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from .errors import LogError
from .fact import RunId
from .lines import BadLine, Commit, peek_commit, read_batch, write_batch
from .record import Record
from .snapshot import address_of
from .stores import Address, Batch, MemoryStore, Note, Put
from .stores.notes import Changed, read_note, write_notes

PADS = 1_000_000
"""The most events that the snapshots in a text may stand for: as many are written for a moment, and cut off."""


@dataclass(slots=True)
class Exported:
    """A run as it stands in a text."""

    run: RunId
    first: int = 0
    """How many events the snapshot stands for."""
    snapshot: bytes | None = None
    """The sealed note."""
    records: list[Record] = field(default_factory=list)

    def add_to(self, batch: Batch, puts: dict[Address, Put | None], stamp: int) -> None:
        """Adds the run to a batch, as one that is not there yet.

        A store numbers events from 0 on; so that the first of a compacted run gets its number, empty ones stand before
        it, which the same batch cuts off.
        """
        batch.ends[self.run] = 0
        batch.records[self.run] = [*(_pad(self.run, seq) for seq in range(self.first)), *self.records]
        if self.snapshot is not None:
            batch.cut = {**batch.cut, self.run: self.first}
            puts[address_of(self.run)] = Put(self.snapshot, stamp)

    def as_store(self) -> MemoryStore:
        """Returns a store that holds the run and nothing else, to look at it before it is kept."""
        store, puts = MemoryStore(), dict[Address, Put | None]()
        batch = Batch(puts=puts)
        self.add_to(batch, puts, 1)
        store.commit(batch)
        return store


def write_run(run: str, first: int, snapshot: bytes | None, records: Sequence[Record]) -> bytes:
    """Returns a run as lines, each event as a batch; before them the note with the snapshot, if it has one."""
    parts = []
    if snapshot is not None:
        parts.append(write_notes([Changed(address_of(RunId(run)), Note(snapshot, 0, 0))], 1))
        parts.append(Commit(run, first, cut=True).to_line())
    parts.extend(write_batch(run, seq, [record]) for seq, record in enumerate(records, first))
    return b"".join(parts)


def read_runs(data: bytes) -> dict[RunId, Exported]:
    """Returns the runs in a text of JSON lines, each batch checked.

    Raises:
        LogError: the text is damaged or torn.
    """
    runs: dict[RunId, Exported] = {}
    snapshots: dict[str, bytes] = {}
    batch: list[tuple[int, bytes]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        batch.append((number, line))
        if line.startswith(b'{"commit":"'):
            commit = peek_commit(line)
            try:
                if commit is not None and commit.run is None:
                    snapshots |= _read_snapshots(batch)
                else:
                    _read_part(runs, snapshots, commit, batch)
            except BadLine as error:
                raise LogError(f"the text is damaged: {error}. Nothing was taken in") from None
            batch = []
    if batch:
        raise LogError(
            f"the text is torn: its last batch (from line {batch[0][0]}) has no commit line. Nothing was taken in"
        )
    pads = 0
    for run in runs.values():
        pads += run.first
        if pads > PADS:
            raise LogError(
                f"the snapshots in the text stand for more than {PADS:,} events, up to run {run.run}. Nothing was "
                f"taken in. Export and load fewer runs at a time"
            )
        if run.first and not run.records:
            problem = f"no event of run {run.run} stands behind its snapshot"
            raise LogError(f"the text is torn: {problem}. Nothing was taken in")
    return runs


def _read_part(
    runs: dict[RunId, Exported], snapshots: dict[str, bytes], commit: Commit | None, batch: list[tuple[int, bytes]]
) -> None:  # fmt: skip
    records = [record for _, record in read_batch(batch)]
    number = batch[-1][0]
    if commit is None or commit.run is None:
        raise BadLine(f"line {number} is no commit line")
    name = RunId(commit.run)
    if commit.cut:
        if name in runs or records or name not in snapshots or commit.seq < 1:
            raise BadLine(f"line {number} cuts run {name} off, but its snapshot does not stand before it")
        runs[name] = Exported(name, commit.seq, snapshots.pop(name))
        return
    runs.setdefault(name, Exported(name)).records.extend(records)


def _read_snapshots(batch: list[tuple[int, bytes]]) -> dict[str, bytes]:
    found = {}
    for place, (number, line) in enumerate(batch[:-1], 1):
        try:
            change = read_note(line, place)
        except BadLine as error:
            raise BadLine(f"line {number}: {error}") from None
        if not isinstance(change, Changed) or change.note is None:
            raise BadLine(f"line {number}: it is no note that an export has")
        if change.address != address_of(RunId(change.address.owner)):
            raise BadLine(f"line {number}: it is a {change.address.space} note, which no export has")
        found[change.address.owner] = change.note.value
    return found


def _pad(run: str, seq: int) -> Record:
    raw = b'{"v":1,"run":%b,"seq":%d,"kind":"cut"}' % (json.dumps(run).encode(), seq)
    return Record(raw, sha256(raw).hexdigest())
