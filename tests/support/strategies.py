"""Draws random worlds: suggestor graphs with conflicts, joins, failures, gates and budgets, and inputs for them.

A world is described by plain data, so that Hypothesis can shrink it; `engine_of` makes a fresh engine of it. What a
suggestor does depends on its view alone, by a hash, so a world is deterministic as long as the engine is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self

import anyio.lowlevel
from hypothesis import strategies as st

from quiesce.engine import ANY, Budget, Engine, Gate, Proposal, Violation, invariant, propose, suggestor
from quiesce.engine.invariant import Invariant, When
from quiesce.facts import All, Contested, Context, Fact, Failure, Payload, Rejected, View


class Plain(Payload, key="signals", family="world-plain"):
    """Contested where two say different things."""

    value: int
    depth: int


class Other(Payload, key="strategies", family="world-other"):
    value: int
    depth: int


class Weighed(Payload, key="strategies", family="world-weighed", on_conflict="confidence"):
    value: int
    depth: int


class Strict(Payload, key="constraints", family="world-strict", on_conflict="stop"):
    value: int
    depth: int


class Grown(Payload, key="evaluations", family="world-grown"):
    """Revised to the union."""

    names: frozenset[int]
    depth: int

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names, depth=max(self.depth, other.depth))


class Highest(Payload, key="evaluations", family="world-highest"):
    """Revised to the maximum."""

    value: int
    depth: int

    def join(self, other: Self) -> Self:
        return max(self, other, key=lambda one: (one.value, one.depth))


FAMILIES: tuple[type[Payload], ...] = (Plain, Other, Weighed, Strict, Grown, Highest)
DIAGNOSTICS: tuple[type[Payload], ...] = (Failure, Contested, Rejected)
MAX_DEPTH = 6


@dataclass(frozen=True)
class Member:
    """One suggestor of a world."""

    reads: tuple[int, ...]
    """Indices into FAMILIES, then DIAGNOSTICS; empty: it reads everything."""
    writes: tuple[int, ...]
    form: str
    """"fact", "view" or "generator"."""
    awaits: bool
    salt: int
    trouble: int
    """Of 8 calls, how many go wrong in some way."""
    background: bool
    """In the per-fact form: its second read is looked at as a whole, and wakes nobody."""
    picky: bool
    """It accepts only some views."""


@dataclass(frozen=True)
class World:
    """A random world."""

    members: tuple[Member, ...]
    inputs: tuple[tuple[int, int, int], ...]
    """Family, id, value."""
    gated: int | None
    """A gate for the family of this index."""
    unsure: bool
    """A gate for whatever has little confidence."""
    cycles: int
    facts: int
    guarded: When | None
    """When an invariant is asked that some worlds break, if there is one."""


def worlds() -> st.SearchStrategy[World]:
    """Draws chains, fans, joins, self-loops, cycles and suggestors that read everything."""
    families = st.integers(0, len(FAMILIES) - 1)
    readable = st.integers(0, len(FAMILIES) + len(DIAGNOSTICS) - 1)
    members = st.builds(
        Member,
        reads=st.lists(readable, max_size=3, unique=True).map(tuple),
        writes=st.lists(families, min_size=1, max_size=2, unique=True).map(tuple),
        form=st.sampled_from(["fact", "view", "generator"]),
        awaits=st.booleans(),
        salt=st.integers(0, 2**16),
        trouble=st.sampled_from([0, 0, 1, 3]),
        background=st.booleans(),
        picky=st.sampled_from([False, False, True]),
    )
    return st.builds(
        World,
        members=st.lists(members, min_size=2, max_size=8).map(tuple),
        inputs=st.lists(st.tuples(families, st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=4).map(tuple),
        gated=st.none() | st.none() | families,
        unsure=st.sampled_from([False, False, True]),
        cycles=st.sampled_from([3, 8, 12]),
        facts=st.sampled_from([10, 60, 60]),
        guarded=st.sampled_from([None, None, None, "commit", "cycle", "convergence"]),
    )


def context_of(world: World) -> Context:
    """Returns the input of a world; of what its families would stop at, what was said first."""
    context = Context()
    for family, id, value in world.inputs:
        cls = FAMILIES[family]
        if cls is not Strict or f"world-strict:{id}" not in context:
            context.add(make(cls, value, 0), id=str(id))
    return context


def make(cls: type[Payload], value: int, depth: int) -> Payload:
    """Returns a payload of any of the families."""
    if cls is Grown:
        return Grown(names=frozenset({value}), depth=depth)
    return cls(value=value, depth=depth)  # type: ignore[call-arg]  # all the others have these fields


def engine_of(world: World, lookahead: int | None = None, pauses: Iterable[int] = ()) -> Engine:
    """Returns an engine for a world; an async member waits as many checkpoints as `pauses` says, one after another."""
    engine = Engine(
        gates=_gates(world),
        invariants=[] if world.guarded is None else [_not_too_many(world.guarded)],
        budget=Budget(cycles=world.cycles, facts=world.facts),
        lookahead=lookahead,
    )
    ticks = _endless(pauses)
    for place, member in enumerate(world.members):
        engine.register(_suggestor_of(place, member, ticks))
    return engine


def impure(engine: Engine) -> Engine:
    """Returns an engine whose suggestors are all journaled."""
    variant = engine._variant(engine._executor, engine.lookahead)
    variant._suggestors = {
        name: replace(one, options=replace(one.options, pure=False), awaits=engine._suggestors[name].awaits)
        for name, one in variant._suggestors.items()
    }
    return variant


def _gates(world: World) -> list[Gate]:
    gates = [] if world.gated is None else [Gate("one family", [FAMILIES[world.gated]])]
    return [*gates, Gate("unsure", below_confidence=0.3)] if world.unsure else gates


def _not_too_many(on: When) -> Invariant:
    @invariant(reads=[Plain, Highest], on=on)
    def not_too_many(view: View) -> Violation | None:
        known = (
            [*view.all(Plain), *view.all(Highest)] if on == "convergence" else [*view.new(Plain), *view.new(Highest)]
        )
        return Violation("three at once", [fact.ref for fact in known]) if len(known) > 2 else None

    return not_too_many


def _suggestor_of(place: int, member: Member, ticks: Iterator[int]) -> Any:
    readable = (*FAMILIES, *DIAGNOSTICS)
    reads = [readable[index] for index in member.reads]
    writes = [FAMILIES[index] for index in member.writes]
    name = f"m{place}"

    def answer(facts: Iterable[Fact[Any]]) -> Iterator[Payload | Proposal[Any]]:
        for fact in facts:
            yield from _answers(member, writes, fact)

    def accepts(view: View) -> bool:
        known = [fact for cls in reads for fact in view.all(cls)] if reads else view.new_facts()
        return (len(known) + member.salt) % 3 > 0

    options = suggestor(
        reads=reads or ANY, writes=writes, name=name, accepts=accepts if member.picky else None
    )  # fmt: skip

    async def wait() -> None:
        for _ in range(next(ticks)):
            await anyio.lowlevel.checkpoint()

    if member.form == "fact" and reads:
        trigger = reads[0]

        def for_fact(fact: Any) -> Any:
            return list(answer([fact]))

        async def for_fact_later(fact: Any) -> Any:
            await wait()
            return list(answer([fact]))

        def before(fact: Any, others: Any) -> Any:
            return list(answer([fact, *others[-1:]]))

        async def before_later(fact: Any, others: Any) -> Any:
            await wait()
            return list(answer([fact, *others[-1:]]))

        if member.background and len(reads) > 1:
            for function in (before, before_later):
                function.__annotations__ = {"fact": Fact[trigger], "others": All[reads[1]]}  # type: ignore[valid-type]
            return options(before_later if member.awaits else before)
        for simple in (for_fact, for_fact_later):
            simple.__annotations__ = {"fact": Fact[trigger]}  # type: ignore[valid-type]  # made while running
        return options(for_fact_later if member.awaits else for_fact)

    def news(view: View) -> list[Fact[Any]]:
        return [fact for cls in reads for fact in view.new(cls)] if reads else view.new_facts()

    def for_view(view: View) -> Any:
        return list(answer(news(view))) if member.form == "view" else answer(news(view))

    async def for_view_later(view: View) -> Any:
        await wait()
        return list(answer(news(view)))

    async def stream(view: View) -> Any:
        for item in answer(news(view)):
            await wait()
            yield item

    chosen = for_view if not member.awaits else for_view_later if member.form == "view" else stream
    return options(chosen)


def _answers(member: Member, writes: list[type[Payload]], fact: Fact[Any]) -> Iterator[Payload | Proposal[Any]]:
    """Yields what a member says to a fact: mostly something small under few ids, sometimes trouble."""
    draw = sha256(f"{member.salt}/{fact.ref}/{fact.digest}".encode()).digest()
    depth = getattr(fact.payload, "depth", MAX_DEPTH - 1) + 1
    if depth > MAX_DEPTH:
        return
    if draw[0] % 8 < member.trouble:
        if draw[1] % 3 == 0:
            raise ValueError(f"trouble with {fact.ref}")
        if draw[1] % 3 == 1:
            undeclared = next(cls for cls in FAMILIES if cls not in writes)
            yield make(undeclared, 0, depth)
            return
        yield propose(make(writes[0], 0, depth), id="\x00", confidence=0.5)
        return
    for turn in range(1 + draw[2] % 2):
        cls = writes[draw[3 + turn] % len(writes)]
        payload = make(cls, draw[5 + turn] % 3, depth if draw[7] % 2 else 0)
        sure = (0.1, 0.5, 1.0)[draw[8 + turn] % 3]
        yield propose(payload, id=str(draw[10 + turn] % 3), confidence=sure) if draw[12] % 4 else payload


def _endless(pauses: Iterable[int]) -> Iterator[int]:
    known = list(pauses) or [0]
    while True:
        yield from known
