"""Measures what parts of a work take by themselves, in the same table: nobody who does the part can be faster."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from pathlib import Path
from time import perf_counter

import anyio
import anyio.lowlevel
import shape
from measure import Case, Sample
from pydantic import BaseModel, ConfigDict


class Bare(BaseModel):
    """What a payload is made of, with nothing of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int


def floors(sizes: tuple[int, ...], *names: str) -> list[Case]:
    """Returns the floors that are asked for, once for each unit of each size."""
    return [Case(f"floor: {name}", _FLOORS[name](size), size=size, kind="floor") for name in names for size in sizes]


def _repeated(once: Callable[[int], object]) -> Callable[[int], Sample]:
    def make(size: int) -> Sample:
        async def sample() -> float:
            rounds = shape.times(size, 10_000)
            start = perf_counter()
            for _ in range(rounds):
                for n in range(size):
                    once(n)
            return (perf_counter() - start) / rounds * 1_000

        return sample

    return make


def _switches(size: int) -> Sample:
    async def sample() -> float:
        start = perf_counter()
        for _ in range(size):
            await anyio.lowlevel.checkpoint()
        return (perf_counter() - start) * 1_000

    return sample


def _tasks(size: int) -> Sample:
    async def work() -> None: ...

    async def sample() -> float:
        start = perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(size):
                tasks.start_soon(work)
        return (perf_counter() - start) * 1_000

    return sample


def commits(folder: Path, sizes: tuple[int, ...], synchronous: str) -> list[Case]:
    """Returns bare transactions of one row of 300 bytes each: what SQLite takes by itself."""
    name = f"floor: an SQLite transaction, synchronous={synchronous}"
    return [Case(name, _commits(folder, size, synchronous), size=size, kind="floor") for size in sizes]


def _commits(folder: Path, size: int, synchronous: str) -> Sample:
    connection = sqlite3.connect(folder / f"floor-{synchronous}-{size}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE event (number INTEGER PRIMARY KEY, text BLOB NOT NULL)")
    numbers, text = count(), b"x" * 300

    async def sample() -> float:
        os.sync()
        start = perf_counter()
        for _ in range(size):
            connection.execute("INSERT INTO event VALUES (?, ?)", (next(numbers), text))
        return (perf_counter() - start) * 1_000

    return sample


_FLOORS: dict[str, Callable[[int], Sample]] = {
    "pydantic validation": _repeated(lambda n: Bare(n=n)),
    "SHA-256 of 100 bytes": _repeated(lambda n: sha256(b"%100d" % n).digest()),
    "JSON of a payload": _repeated(lambda n: json.dumps({"n": n}).encode()),
    "a task switch": _switches,
    "a task": _tasks,
}
