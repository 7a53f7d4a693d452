"""Makes what is measured of the kernel: chains, fans, one-to-one maps, closures, as users would write them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from types import new_class
from typing import Any, cast

from measure import Case, Section, Target, timed
from shape import EDGES, SEEDS, STAGES, WIDTH

from quiesce.engine import Engine, Suggestor, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, View


class Number(Payload):
    """A number; each stage of a chain has a family of its own for it."""

    n: int


def family(name: str) -> type[Number]:
    """Returns a payload class with a family of this name."""
    return cast(type[Number], new_class("Number", (Number,), {"key": "signals", "family": name}))


LINKS = [family(f"link-{place}") for place in range(STAGES + 1)]


class Sum(Payload, key="evaluations"):
    n: int


class Seed(Payload, key="seeds"):
    n: int


class Mapped(Payload, key="strategies"):
    n: int


class Edge(Payload, key="seeds"):
    a: int
    b: int


class Path(Payload, key="signals"):
    a: int
    b: int


def step(name: str, before: type[Number], after: type[Number], *, awaits: bool) -> Suggestor:
    """Returns a suggestor from one family to another."""

    def plain(one: Any) -> Any:
        return after(n=one.payload.n + 1)

    async def awaited(one: Any) -> Any:
        return after(n=one.payload.n + 1)

    work: Callable[..., Any] = awaited if awaits else plain
    work.__annotations__ = {"one": Fact[before], "return": after}  # type: ignore[valid-type]  # made in a loop
    made: Suggestor = suggestor(name=name)(work)
    return made


def begin(*payloads: Payload) -> Context:
    """Returns a context of these inputs."""
    context = Context()
    for payload in payloads:
        context.add(payload)
    return context


def settle(engine: Engine, context: Context, facts: int, *, written: bool = False) -> Callable[[], Awaitable[object]]:
    """Returns a call that runs an engine and checks how much is known in the end.

    A memory log puts off writing (JSON, hashes, Merkle tree) until it is read; `written` makes it do so at once.
    """

    async def run() -> None:
        log = FactLog.open()
        result = await engine.run(context, log=log)
        if written:
            log.flush()
        known = len(result.context)
        if known != facts:
            raise AssertionError(f"{known} facts are known, not {facts}: {result.stop}")

    return run


def chain() -> Section:
    """A chain of suggestors, each woken by the one before."""
    sync, awaited = (
        Engine([step(f"step-{at}", LINKS[at], LINKS[at + 1], awaits=awaits) for at in range(STAGES)])
        for awaits in (False, True)
    )
    context = begin(LINKS[0](n=0))
    facts = STAGES + 1
    return Section(
        f"A chain of {STAGES} suggestors in one run",
        "memory log on, a family for each link; Quiesce commits, digests and explains every step",
        [
            Case("Quiesce, sync", timed(settle(sync, context, facts), 10), target=Target(6)),
            Case("Quiesce, async", timed(settle(awaited, context, facts), 10), target=Target(12)),
            Case("Quiesce, sync, log written at once", timed(settle(sync, context, facts, written=True), 10)),
            Case("Quiesce, async, log written at once", timed(settle(awaited, context, facts, written=True), 10)),
        ],
    )


def fan() -> Section:
    """Many suggestors side by side, and one that joins what they say."""

    @suggestor(reads=LINKS[1 : WIDTH + 1], writes=[Sum])
    def join(view: View) -> Sum:
        return Sum(n=sum(fact.payload.n for cls in LINKS[1 : WIDTH + 1] for fact in view.new(cls)))

    def engine(*, awaits: bool) -> Engine:
        return Engine([*(step(f"fan-{at}", LINKS[0], LINKS[at + 1], awaits=awaits) for at in range(WIDTH)), join])

    context = begin(LINKS[0](n=0))
    sync, awaited = engine(awaits=False), engine(awaits=True)
    facts = WIDTH + 2
    return Section(
        f"{WIDTH} suggestors fanned out and joined",
        "memory log on; the async ones are tasks of their own",
        [
            Case("Quiesce, async", timed(settle(awaited, context, facts), 20), target=Target(3)),
            Case("Quiesce, sync, one after the other", timed(settle(sync, context, facts), 20)),
            Case("Quiesce, async, log written at once", timed(settle(awaited, context, facts, written=True), 20)),
        ],
    )


@suggestor
def map_each(seed: Fact[Seed]) -> Mapped:
    """Form 1: one call for each fact."""
    return Mapped(n=seed.payload.n)


@suggestor(reads=[Seed], writes=[Mapped])
def map_all(view: View) -> Iterator[Any]:
    """Form 2: one call for all of them."""
    for seed in view.new(Seed):
        yield propose(Mapped(n=seed.payload.n), id=seed.id, because=[seed])


def mapped() -> Section:
    """Many facts, one to one."""
    context = begin(*(Seed(n=n) for n in range(SEEDS)))
    each, batch = Engine([map_each]), Engine([map_all])
    facts = 2 * SEEDS

    async def from_nothing() -> None:
        await settle(each, begin(*(Seed(n=n) for n in range(SEEDS))), facts)()

    return Section(
        f"{SEEDS:,} facts mapped one to one",
        "memory log on, provenance and digests; the inputs are known before, except where it says so",
        [
            Case("Quiesce, a call per fact (form 1)", timed(settle(each, context, facts)), target=Target(90)),
            Case("Quiesce, one call for all (form 2)", timed(settle(batch, context, facts)), target=Target(90)),
            Case("Quiesce, form 1, log written at once", timed(settle(each, context, facts, written=True))),
            Case("Quiesce, form 1, inputs added in the time", timed(from_nothing)),
        ],
    )


@suggestor
def first(edge: Fact[Edge]) -> Path:
    """Every edge is a path."""
    return Path(a=edge.payload.a, b=edge.payload.b)


@suggestor(reads=[Path, Edge], writes=[Path])
def further(view: View) -> Iterator[Any]:
    """Every new path leads on by the edges from its end."""
    edges: dict[int, list[Fact[Edge]]] = {}
    for edge in view.all(Edge):
        edges.setdefault(edge.payload.a, []).append(edge)
    for path in view.new(Path):
        for edge in edges.get(path.payload.b, ()):
            yield propose(Path(a=path.payload.a, b=edge.payload.b), because=[path, edge])


def closure() -> Section:
    """The transitive closure of a chain of edges."""
    context = begin(*(Edge(a=a, b=a + 1) for a in range(EDGES)))
    engine = Engine([first, further])
    paths = EDGES * (EDGES + 1) // 2
    return Section(
        f"The transitive closure of a chain of {EDGES} edges",
        f"{paths:,} paths in {EDGES} cycles, each resting on a path and an edge; memory log on",
        [
            Case("Quiesce", timed(settle(engine, context, paths + EDGES)), target=Target(200)),
            Case("Quiesce, log written at once", timed(settle(engine, context, paths + EDGES, written=True))),
        ],
    )
