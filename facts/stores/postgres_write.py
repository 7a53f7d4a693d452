"""Turns a batch into the calls of the schema's functions that keep it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from secrets import randbits
from typing import Any

from ..errors import StoreError
from ..fact import RunId
from ..record import Record
from .batch import Address, Batch, Put
from .postgres_row import make_row, named, to_text
from .postgres_schema import VERSION

CHUNK_ROWS = 1000
CHUNK_BYTES = 8 << 20
"""How many events go into one call."""
Statement = tuple[bytes, list[Any]]


@dataclass(slots=True)
class Work:
    """What a batch asks of the server."""

    schema: str
    batch: Batch
    token: int
    """Tells this batch from any other that appends to the same run."""
    expects: list[tuple[Address, int | None]]
    puts: list[tuple[Address, Put | None]]
    statements: list[Statement] = field(default_factory=list)


def work_of(batch: Batch, schema: str) -> Work:
    """Returns the statements that keep a batch, in the order that the schema explains."""
    puts = sorted(batch.puts.items())
    work = Work(schema, batch, randbits(62), list(batch.expects.items()), puts)
    runs = list(dict.fromkeys([*batch.ends, *batch.cut, *(run for run, _ in batch.replaced), *batch.dropped]))
    if runs or work.expects or batch.touches or puts:
        work.statements.append(_call_keep(work, runs))
    for run, records in batch.records.items():
        work.statements += _call_add(schema, run, batch.ends[run], records)
    replaced: dict[RunId, list[tuple[int, Record]]] = {}
    for (run, seq), record in batch.replaced.items():
        replaced.setdefault(run, []).append((seq, record))
    work.statements += [_call_replace(schema, run, rows) for run, rows in replaced.items()]
    for run, before in (*batch.cut.items(), *((run, None) for run in batch.dropped)):
        work.statements.append(_call(schema, "cut", "%b::text, %b::bigint", [to_text(run), before]))
    if puts:
        work.statements.append(_call_put(work))
    return work


def _call(schema: str, name: str, parameters: str, values: list[Any]) -> Statement:
    return f"SELECT {schema}.{name}_v{VERSION}({parameters})".encode(), values


def _call_keep(work: Work, runs: Sequence[RunId]) -> Statement:
    batch = work.batch
    return _call(
        work.schema,
        "keep",
        "%b::text[], %b::bigint[], %b::bigint[], %b::bigint, %b::text[], %b::text[], %b::text[], %b::bigint[], "
        "%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint",
        [
            [to_text(run) for run in runs],
            [batch.ends.get(run, -1) for run in runs],
            [len(batch.records.get(run, ())) for run in runs],
            work.token,
            *_columns(address for address, _ in work.expects),
            [stamp for _, stamp in work.expects],
            *_columns(address for address, _ in work.puts),
            [_array(put.families if put else ()) for _, put in work.puts],
            [to_text(family) for family in sorted(batch.touches)],
            batch.touch,
        ],
    )


def _call_add(schema: str, run: RunId, start: int, records: Sequence[Record]) -> Iterator[Statement]:
    rows = []
    for seq, record in enumerate(records, start):
        if not named(record.payloads):
            raise StoreError(f"run {run}: event {seq} names a payload by another digest than its own")
        rows.append(make_row(run, seq, record))
    while rows:
        count = taken = 0
        while count < min(len(rows), CHUNK_ROWS) and (not count or taken < CHUNK_BYTES):
            taken += rows[count].size
            count += 1
        columns = [list(column) for column in zip(*rows[:count], strict=True)]
        raws, digests, seals, besides, payloads, gones, sizes = columns
        yield _call(
            schema,
            "add",
            "%b::text, %b::bigint, %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], "
            "%b::bigint[]",
            [to_text(run), start, raws, digests, seals, besides, payloads, gones, sizes],
        )
        start += count
        del rows[:count]


def _call_replace(schema: str, run: RunId, rows: list[tuple[int, Record]]) -> Statement:
    made = [make_row(run, seq, record) for seq, record in rows]
    return _call(
        schema,
        "replace",
        "%b::text, %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bigint[]",
        [
            to_text(run),
            [seq for seq, _ in rows],
            [row.seal for row in made],
            [row.beside for row in made],
            [row.payloads for row in made],
            [row.gone for row in made],
            [row.size for row in made],
        ],
    )


def _call_put(work: Work) -> Statement:
    expects = work.batch.expects
    return _call(
        work.schema,
        "put",
        "%b::text[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::boolean[]",
        [
            *_columns(address for address, _ in work.puts),
            [0 if put is None else put.stamp for _, put in work.puts],
            [_array(put.families if put else ()) for _, put in work.puts],
            [None if put is None else put.value for _, put in work.puts],
            [address in expects and expects[address] is None for address, _ in work.puts],
        ],
    )


def _columns(addresses: Iterable[Address]) -> list[list[str]]:
    """Returns addresses as three columns."""
    rows = list(addresses)
    return [[to_text(row[place]) for row in rows] for place in range(3)]


def _array(names: Sequence[str]) -> str:
    """Returns names as PostgreSQL writes an array."""
    quoted = (to_text(name).replace("\\", "\\\\").replace('"', '\\"') for name in names)
    return "{" + ",".join(f'"{name}"' for name in quoted) + "}"
