"""Holds the payload classes that tests of the facts floor share, and runs that are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from quiesce.engine import Engine, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, View
from quiesce.facts.canonical import digest_of, encode
from quiesce.facts.event import CycleCommitted, RunStarted, RunStopped
from quiesce.facts.fact import Ref, RunId, make_fact
from quiesce.facts.family import family_of
from quiesce.facts.shelf import Shelf
from quiesce.facts.trail import SuggestorPrint
from quiesce.facts.view import Moment

STARTED = "2026-01-01T00:00:00+00:00"
STOPPED = {"kind": "converged", "cycles": 1}


class Note(Payload, key="seeds", family="facts-note"):
    """Contested where two say different things."""

    text: str


class Answer(Payload, key="strategies", family="facts-answer"):
    text: str


class Tags(Payload, key="signals", family="facts-tags"):
    """Revised to the union."""

    names: frozenset[str]

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


class Rule(Payload, key="constraints", family="facts-rule", on_conflict="stop"):
    text: str


class Guess(Payload, key="hypotheses", family="facts-guess", on_conflict="confidence"):
    text: str


class Anything(Payload, key="signals", family="facts-anything"):
    value: Any


class Count(Payload, key="signals", family="facts-count"):
    n: int


class Level(Payload, key="signals", family="facts-level"):
    value: float


class Box(Payload, key="signals", family="facts-box"):
    """What can change before it is a fact."""

    items: list[int] = Field(default_factory=list)
    names: dict[str, list[int]] = Field(default_factory=dict)
    seen: set[int] = Field(default_factory=set)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel, frozen=True):
    x: int
    y: float


class Rich(Payload, key="signals", family="facts-rich"):
    """One field of each kind that JSON has no word for."""

    raw: bytes
    price: Decimal
    at: datetime
    on: date
    lasts: timedelta
    colour: Colour
    kind: Literal["a", "b"]
    point: Point
    points: tuple[Point, ...]
    pair: tuple[int, str]
    maybe: int | None
    which: int | str
    uuid: UUID
    names: frozenset[str]
    by_day: Mapping[date, Colour]
    path: Path


def note_fact(
    id: str, text: str = "a", cycle: int = 0, because: tuple[str, ...] = (), by: str = "input", confidence: float = 1.0
) -> Fact[Note]:
    """Returns a fact as an engine would make it."""
    payload = Note(text=text)
    digest = digest_of(encode(payload, family_of(Note)))
    return make_fact(payload, id, by, cycle, confidence, tuple(map(Ref, because)), digest)


def started(*reads: str, name: str = "answer") -> RunStarted:
    """Returns the beginning of a run in which one suggestor takes part."""
    return RunStarted(STARTED, 1, (SuggestorPrint(name, "1", reads, ("facts-answer",)),), {})


def written_log(store: FactLog | None = None, run: str = "r") -> FactLog:
    """Returns a log with one run of three cycles, each a batch of its own: an input, what follows, and what then."""
    log = store if store is not None else FactLog.open()
    name = RunId(run)
    log.append(name, [started("facts-note")])
    log.append(name, [CycleCommitted(0, (), [note_fact("a", "one"), note_fact("b", "two")])])
    log.append(name, [CycleCommitted(1, ("answer",), [note_fact("c", "three", 1, ("facts-note:a",), "answer")])])
    log.append(name, [CycleCommitted(2, ("answer",), [note_fact("d", "four", 2, ("facts-note:c",), "answer", 0.5)])])
    log.append(name, [RunStopped(STOPPED, 4)])
    return log


@suggestor(name="facts-answer")
def answer(note: Fact[Note]) -> Answer:
    """Answers every note."""
    return Answer(text=note.payload.text.upper())


@suggestor(name="facts-tag", reads=[Answer], writes=[Tags])
def tag(view: View) -> Any:
    """Collects the texts of all answers in one fact, which is revised."""
    for one in view.new(Answer):
        yield propose(Tags(names=frozenset({one.payload.text})), id="all", because=[one])


def engine() -> Engine:
    """Returns an engine of both, with nothing that talks."""
    return Engine([answer, tag])


def notes(*texts: str) -> Context:
    """Returns a context of notes, named by their texts."""
    context = Context()
    for text in texts:
        context.add(Note(text=text), id=text)
    return context


def view_of(context: Context, cycle: int, reads: tuple[type[Payload], ...] | None, **options: Any) -> View:
    """Returns a view of a context as a suggestor has it in a cycle."""
    shelves: dict[str, Shelf] = context._shelves
    named = None if reads is None else {family_of(cls).name: cls.__name__ for cls in reads}
    moment = Moment(RunId("r"), options.pop("seed", 1), datetime.fromisoformat(STARTED))
    return View(shelves, cycle, options.pop("suggestor", "reader"), named, options.pop("since", {}), moment, **options)
