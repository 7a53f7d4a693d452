"""Explains a fact: the tree of facts and suggestors that it rests on, and who lost against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import FactError
from .fact import Fact, Ref
from .show import show
from .trail import Rejection, Trail

MAX_INDENT = 120
"""Columns after which a deep tree goes on at the margin, so that its text grows with its facts only."""


class Knows(Protocol):
    """Anything that finds facts by ref."""

    def find(self, ref: str) -> Fact[Any] | None:
        """Returns the fact, or None."""


@dataclass(frozen=True, slots=True)
class Why:
    """One fact and, under it, what it rests on.

    `str()` draws a tree in which each fact is told once; later mentions refer to it. `mermaid()` draws the graph.
    """

    ref: Ref
    fact: Fact[Any] | None
    """None where a ref is named that this context does not hold."""
    version: str | None
    """The version of the suggestor that proposed it, where it has one."""
    because: tuple[Why, ...]
    losers: tuple[Rejection, ...]
    told: bool = False
    """It was explained higher up, so nothing stands under it here."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yields the tree, a line each."""
        pending: list[tuple[Why, str, str]] = [(self, "", "")]  # what to show, its lead, the lead of what is below
        while pending:  # a lineage can be longer than Python's stack
            why, lead, below = pending.pop()
            yield lead + why._label()
            for loser in why.losers:
                yield f"{below}×  lost: {show(loser.payload)} by {loser.by} ({loser.reason})"
            last = len(why.because) - 1
            for place in range(last, -1, -1):
                branch, bar = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
                if len(below) < MAX_INDENT:
                    pending.append((why.because[place], below + branch, below + bar))
                else:  # go on at the margin
                    pending.append((why.because[place], f"⋯ {why.ref} rests on ", ""))

    def refs(self) -> tuple[Ref, ...]:
        """Returns every ref in the tree, each once, this one first."""
        return tuple(dict.fromkeys(why.ref for why in self.walk()))

    def walk(self) -> Iterator[Why]:
        """Yields this explanation and all below it, from the top."""
        pending = [self]
        while pending:
            why = pending.pop()
            yield why
            pending.extend(reversed(why.because))

    def mermaid(self) -> str:
        """Returns the graph in mermaid's notation, arrows from reason to consequence."""
        names: dict[Ref, str] = {}
        nodes: list[str] = []
        arrows: list[str] = []
        for why in self.walk():
            if why.ref not in names:
                names[why.ref] = f"f{len(names)}"
                nodes.append(f'    {names[why.ref]}["{_escaped(why.ref)}<br/>{_escaped(why._who())}"]')
        for why in self.walk():
            if not why.told:
                arrows.extend(f"    {names[reason.ref]} --> {names[why.ref]}" for reason in why.because)
        return "\n".join(["flowchart LR", *nodes, *dict.fromkeys(arrows)])

    def to_json(self) -> dict[str, Any]:
        """Returns the graph as JSON data: this fact's ref and every fact of the tree once."""
        return {"ref": self.ref, "facts": [why._record() for why in self.walk() if not why.told]}

    def _record(self) -> dict[str, Any]:
        fact = self.fact
        if fact is None:
            return {"ref": self.ref, "known": False}
        return {
            "ref": self.ref,
            "known": True,
            "payload": fact.payload.model_dump(mode="json"),
            "by": fact.by,
            "version": self.version,
            "cycle": fact.cycle,
            "confidence": fact.confidence,
            "because": [reason.ref for reason in self.because],
            "losers": [{"by": loser.by, "reason": loser.reason} for loser in self.losers],
        }

    def _label(self) -> str:
        if self.fact is None:
            return f"{self.ref}  (not in this context)"
        if self.told:
            return f"{self.ref}  (see above)"
        return f"{self.ref}  {show(self.fact.payload)}  {self._who()}"

    def _who(self) -> str:
        fact = self.fact
        if fact is None:
            return "not in this context"
        version = f" v{self.version}" if self.version else ""
        confidence = "" if fact.confidence == 1 else f", confidence {fact.confidence:g}"
        return f"by {fact.by}{version} in cycle {fact.cycle}{confidence}"


def explain(known: Knows, ref: str, trail: Trail) -> Why:
    """Returns the explanation of a fact.

    Raises:
        FactError: the fact is not known.
    """
    if known.find(ref) is None:
        raise FactError(f"{ref!r} is not known here. A ref is family:id, as in context.find('plan:t1')")
    parent: dict[Ref, Ref | None] = {}  # under which fact each is told; a dict keeps the order of the telling
    pending: list[tuple[Ref | None, Ref]] = [(None, Ref(ref))]
    while pending:  # depth first, without recursion: a lineage can be longer than Python's stack
        above, current = pending.pop()
        if current not in parent:
            parent[current] = above
            fact = known.find(current)
            pending.extend((current, reason) for reason in reversed(fact.because if fact else ()))
    whys: dict[Ref, Why] = {}
    for current in reversed(parent):
        whys[current] = _why(known, current, trail, parent, whys)
    return whys[Ref(ref)]


def _why(known: Knows, ref: Ref, trail: Trail, parent: dict[Ref, Ref | None], whys: dict[Ref, Why]) -> Why:
    fact = known.find(ref)
    version = trail.version_of(fact.by) if fact else None
    below: list[Why] = []
    for reason in dict.fromkeys(fact.because if fact else ()):
        if parent[reason] == ref:
            below.append(whys[reason])
        else:
            found = known.find(reason)
            below.append(Why(reason, found, None, (), (), told=found is not None))
    return Why(ref, fact, version, tuple(below), tuple(trail.losers.get(ref, ())))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
