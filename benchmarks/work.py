"""Makes what is measured of the kernel: chains, fans, one-to-one maps, closures, as users would write them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from types import new_class
from typing import Any, cast

import shape
from floors import floors
from measure import Case, Section, Target, timed
from peers import QUOTED

from quiesce.engine import Engine, Suggestor, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, View


class Number(Payload):
    """A number; each stage of a chain has a family of its own for it."""

    n: int


def family(name: str) -> type[Number]:
    """Returns a payload class with a family of this name."""
    return cast(type[Number], new_class("Number", (Number,), {"key": "signals", "family": name}))


LINKS = [family(f"link-{place}") for place in range(max(*shape.STAGES, *shape.WIDTHS) + 1)]


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


def chained(stages: int, *, awaits: bool = False) -> Engine:
    """Returns an engine of so many suggestors, each woken by the one before."""
    return Engine([step(f"step-{at}", LINKS[at], LINKS[at + 1], awaits=awaits) for at in range(stages)])


def chain() -> Section:
    """A chain of suggestors, each woken by the one before."""
    cases: list[Case] = []
    context = begin(LINKS[0](n=0))
    rust = QUOTED["chain"][1]
    for name, awaits, written in (
        ("Quiesce, sync", False, False),
        ("Quiesce, async", True, False),
        ("Quiesce, sync, log written at once", False, True),
        ("Quiesce, async, log written at once", True, True),
    ):
        for stages in shape.STAGES:
            work = settle(chained(stages, awaits=awaits), context, stages + 1, written=written)
            target = Target(2.5 * rust[stages], kind="at most") if not (awaits or written) else None
            cases.append(Case(name, timed(work, shape.times(stages)), target=target, size=stages))
    return Section(
        "Chain of dependent steps in one run",
        "memory log on, a family for each link; Quiesce commits, digests and explains every step. LangGraph without "
        "checkpoints, pydantic-graph and Burr keep nothing of a run. Quiesce, sync, is held to 2.5 times the Rust "
        "engine",
        [*cases, *floors(shape.STAGES, "pydantic validation", "SHA-256 of 100 bytes", "a task switch")],
        of="steps",
    )


def fan() -> Section:
    """Many suggestors side by side, and one that joins what they say."""

    def engine(width: int, *, awaits: bool) -> Engine:
        said = LINKS[1 : width + 1]

        @suggestor(reads=said, writes=[Sum])
        def join(view: View) -> Sum:
            return Sum(n=sum(fact.payload.n for cls in said for fact in view.new(cls)))

        return Engine([*(step(f"fan-{at}", LINKS[0], LINKS[at + 1], awaits=awaits) for at in range(width)), join])

    context = begin(LINKS[0](n=0))
    cases = [
        Case(name, timed(settle(engine(width, awaits=awaits), context, width + 2, written=written), shape.times(width)),
             size=width)
        for name, awaits, written in (
            ("Quiesce, async", True, False),
            ("Quiesce, sync, one after the other", False, False),
            ("Quiesce, async, log written at once", True, True),
        )
        for width in shape.WIDTHS
    ]  # fmt: skip
    return Section(
        "Suggestors fanned out and joined",
        "memory log on; the async ones are tasks of their own",
        [*cases, *floors(shape.WIDTHS, "pydantic validation", "a task")],
        of="wide",
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
    each, batch = Engine([map_each]), Engine([map_all])
    cases: list[Case] = []

    def add(name: str, make: Callable[[int], Callable[[], Awaitable[object]]], target: Target | None = None) -> None:
        for seeds in shape.SEEDS:
            is_held = seeds == shape.SEEDS[-1]
            cases.append(
                Case(name, timed(make(seeds), shape.times(seeds)), target=target if is_held else None, size=seeds)
            )

    contexts = {seeds: _seeds(seeds) for seeds in shape.SEEDS}
    rust = Target(QUOTED["map"][1][10_000])
    add("Quiesce, a call per fact (form 1)", lambda n: settle(each, contexts[n], 2 * n), rust)
    add("Quiesce, one call for all (form 2)", lambda n: settle(batch, contexts[n], 2 * n), rust)
    add("Quiesce, form 1, log written at once", lambda n: settle(each, contexts[n], 2 * n, written=True), rust)
    add("Quiesce, inputs added in the time", lambda n: _from_nothing(batch, n))
    return Section(
        "Facts mapped one to one",
        "memory log on, provenance and digests; the inputs are known before, except where it says so. Rule engines "
        "match "
        "while facts are added, so they are compared with the run that adds them too. A fact that durable_rules has no "
        "rule for is not kept, so a second rule asks for it",
        [*cases, *floors(shape.SEEDS, "pydantic validation", "SHA-256 of 100 bytes", "JSON of a payload")],
        of="facts",
    )


def _from_nothing(engine: Engine, seeds: int) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        await settle(engine, _seeds(seeds), 2 * seeds)()

    return run


def _seeds(seeds: int) -> Context:
    return begin(*(Seed(n=n) for n in range(seeds)))


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
    engine = Engine([first, further])
    cases = [
        Case(name, timed(settle(engine, begin(*(Edge(a=a, b=a + 1) for a in range(edges))), paths(edges) + edges,
                                written=written)), size=edges)
        for name, written in (("Quiesce", False), ("Quiesce, log written at once", True))
        for edges in shape.EDGES
    ]  # fmt: skip
    return Section(
        "Transitive closure of a chain of edges",
        f"{paths(shape.EDGES[-1]):,} paths of {shape.EDGES[-1]} edges, in as many cycles, each resting on a path "
        "and an "
        f"edge; memory log on. The work is in proportion to the square of the edges; the floors are of one path each",
        [*cases, *_path_floors()],
        of="edges",
    )


def _path_floors() -> list[Case]:
    """Returns floors for as many facts as there are paths, in the rows of the edges."""
    by_paths = {paths(edges): edges for edges in shape.EDGES}
    return [
        replace(case, size=by_paths[case.size or 0])
        for case in floors(tuple(by_paths), "pydantic validation", "SHA-256 of 100 bytes")
    ]


def paths(edges: int) -> int:
    """Returns how many paths a chain of edges has."""
    return edges * (edges + 1) // 2
