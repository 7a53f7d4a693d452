"""What a state machine over logs lets happen: a small engine with secrets, and a store whose process can die."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import anyio.lowlevel

from quiesce.engine import Engine, Gate, propose, suggestor
from quiesce.facts import Fact, FactLog, Payload, Store, StoreError, View, projection
from quiesce.facts.stores import Batch, JsonLinesStore, MemoryStore, SqliteStore

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


class Secret(Payload, key="seeds", family="machine-secret"):
    n: int
    text: str


class Mark(Payload, key="hypotheses", family="machine-mark"):
    """Contested where two secrets come to different marks."""

    n: int


class Sum(Payload, key="signals", family="machine-sum"):
    """Revised to the union."""

    names: frozenset[int]

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


class Wish(Payload, key="proposals", family="machine-wish"):
    """Gated."""

    n: int


class Grant(Payload, key="signals", family="machine-grant"):
    n: int


class Seen(Payload, key="signals", family="machine-seen"):
    times: int


@suggestor(name="machine-mark", reads=[Secret], writes=[Mark])
def mark(view: View) -> Any:
    for secret in view.new(Secret):
        if secret.payload.n == 6:
            raise ValueError("six is too much")
        yield propose(Mark(n=secret.payload.n % 3), id=str(secret.payload.n % 2), because=[secret])


@suggestor(name="machine-sum", reads=[Mark], writes=[Sum])
async def add_up(view: View) -> Any:
    await anyio.lowlevel.checkpoint()
    return [propose(Sum(names=frozenset({one.payload.n})), id="all", because=[one]) for one in view.new(Mark)]


@suggestor(name="machine-wish", reads=[Sum], writes=[Wish])
def wish(view: View) -> Any:
    for one in view.new(Sum):
        n = len(one.payload.names)
        yield propose(Wish(n=n), id=str(n), because=[one])


@suggestor(name="machine-grant", pure=False, memo=True)
async def grant(wish: Fact[Wish]) -> Grant:
    await anyio.lowlevel.checkpoint()
    return Grant(n=wish.payload.n)


@projection(reads=[Mark, Grant], by=lambda fact: fact.family)
def seen(before: Seen | None, fact: Fact[Any]) -> Seen:
    return Seen(times=(before.times if before else 0) + 1)


engine = Engine([mark, add_up, wish, grant], gates=[Gate("wishes", families=[Wish])])


class Mortal:
    """A store whose process dies at its nth commit from now on: nothing is kept any more, and nobody is told."""

    def __init__(self, store: Store) -> None:
        self.under = store
        self.lazy = False
        self.left: int | None = None
        self.keeps_last = False
        self.died = False

    def commit(self, batch: Batch) -> None:
        if self.died:
            raise StoreError("the process is dead")
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.died = True
                if self.keeps_last:
                    self.under.commit(batch)
                raise StoreError("the process died")
        self.under.commit(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.under, name)


class Disk:
    """Where a log lies. `crash` gives the place back as a dead process leaves it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.number = 0
        self._memory = MemoryStore()
        self._folder().mkdir()

    def _folder(self) -> Path:
        return self.folder / str(self.number)

    def open(self) -> FactLog:
        """Returns a log over what is there."""
        stores: dict[str, Callable[[], Store]] = {
            "memory": lambda: self._memory,
            "sqlite": lambda: SqliteStore(self._folder() / "log.db"),
            "jsonl": lambda: JsonLinesStore(self._folder() / "log.jsonl"),
        }
        log = FactLog(Mortal(stores[self.kind]()))
        log.register(seen)
        return log

    def crash(self) -> None:
        """Copies the files as they are; what had them open goes on with the old ones."""
        self.number += 1
        shutil.copytree(self.folder / str(self.number - 1), self._folder())

    def holds(self, needle: bytes, log: FactLog) -> bool:
        """Tells whether bytes stand anywhere."""
        notes = [
            note.value
            for space in ("journal", "memo", "snapshot", "projection", "lease", "child")
            for _, note in log.store.notes(space)
        ]
        parts = [
            part
            for *_, record in log.store.since(0)
            for part in (record.raw, record.beside, *record.payloads.values(), *record.gone.values())
        ]
        files = [path.read_bytes() for path in self._folder().iterdir()]
        return any(needle in part for part in (*notes, *parts, *files))
