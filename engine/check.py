"""Lints a set of suggestors before any run, from what they read and write alone.

It knows the wiring, not what the functions do: a finding is something to look at, and says what to look for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ..facts import Malformed, Payload
from ..facts.family import Family, family_of
from .draw import ANYTHING, as_networkx, family_node, suggestor_node
from .graph import ENGINE_FAMILIES
from .suggestor import Suggestor

if TYPE_CHECKING:
    import networkx

Level = Literal["error", "warning", "info"]

_LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "info")
_FROM_ELSEWHERE: Final = ENGINE_FAMILIES | {family_of(Malformed).name}
"""What comes into a context although no suggestor writes it and nobody adds it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an engine that is wrong, looks wrong, or is good to know."""

    level: Level
    code: str
    """Names the lint, for programs; it does not change from version to version."""
    where: str
    """The suggestor or family that it is about."""
    message: str
    """What it is, and what to do."""

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message} ({self.code})"


def check(suggestors: Sequence[Suggestor], inputs: Iterable[type[Payload]] = ()) -> list[Finding]:
    """Returns what there is to say about suggestors, the gravest first, else in the order of registration.

    `inputs` are the payload classes that come from outside. Without them, whatever nobody writes is presumed to.

    Codes: `never-wakes` is an error; `endless-loop`, `never-written` and `unversioned` are warnings; `presumed-input`,
    `result`, `reads-anything`, `late-background`, `contested` and `joined-loop` are good to know.
    """
    wiring = _Wiring(suggestors, inputs)
    found = [
        *wiring.find_sleepers(), *wiring.find_unwritten(), *wiring.find_loops(), *wiring.find_unversioned(),
        *wiring.find_readers_of_anything(), *wiring.find_late_backgrounds(), *wiring.find_contests(),
        *wiring.find_results(),
    ]  # fmt: skip
    return sorted(found, key=lambda finding: _LEVELS.index(finding.level))


class _Wiring:
    """Who reads and writes which family, by name, in the order of registration."""

    def __init__(self, suggestors: Sequence[Suggestor], inputs: Iterable[type[Payload]]) -> None:
        self.suggestors = tuple(suggestors)
        self.inputs = {family_of(cls).name for cls in inputs}
        self.families: dict[str, Family] = {}
        self.classes: dict[str, str] = {}
        self.readers: dict[str, list[Suggestor]] = {}
        self.writers: dict[str, list[Suggestor]] = {}
        for one in self.suggestors:
            for name, cls in (one.read_names or {}).items():
                self.classes.setdefault(name, cls)
                self.readers.setdefault(name, []).append(one)
            for made, family in one.families.items():
                self.families[family.name] = family
                self.classes.setdefault(family.name, made.__name__)
                if one not in self.writers.setdefault(family.name, []):
                    self.writers[family.name].append(one)

    # --- who wakes --------------------------------------------------------------------------------------------------

    def find_sleepers(self) -> Iterator[Finding]:
        """Yields who cannot be woken, however the run goes; without inputs, what has to come in for it to be."""
        awake = self._awake(self.inputs or self._unwritten())
        asleep = [one for one in self.suggestors if one.name not in awake]
        if not self.inputs:
            yield from self._presume_loops(asleep)
            return
        for one in asleep:
            wakes = one.wakes or ()
            shown = _listed([self.classes[family] for family in wakes], "or")
            reasons = ", ".join(f"{family} {self._source(family)}" for family in wakes)
            yield Finding(
                "error", "never-wakes", one.name,
                f"suggestor {one.name!r} never runs: {reasons}. Register who writes {shown}, or add it to a "
                f"context and name it: engine.check(inputs=[…, {self.classes[wakes[0]]}])",
            )  # fmt: skip

    def _presume_loops(self, asleep: Sequence[Suggestor]) -> Iterator[Finding]:
        """Yields an input for each loop that only wakes itself: the others who sleep are woken by those."""
        names = {one.name for one in asleep}
        wakes = self._wakes()
        kept = [node for node, known in wakes.nodes(data=True) if known["kind"] == "family" or known["name"] in names]
        wakes = _within(wakes, kept)
        for knot in _knots(wakes):
            if all(before in knot for node in knot for before in wakes.predecessors(node)):
                first = next(before for before in wakes.predecessors(next(iter(knot))) if before in knot)
                yield self._presumed(wakes.nodes[first]["name"])

    def _awake(self, inputs: Iterable[str]) -> set[str]:
        """Returns the names of those who can be woken, given what comes from outside."""
        known = {*inputs, *_FROM_ELSEWHERE}
        awake: set[str] = set()
        waiting = list(self.suggestors)
        while True:
            woken = [one for one in waiting if not one.wakes or not known.isdisjoint(one.wakes)]
            if not woken:
                return awake
            for one in woken:
                awake.add(one.name)
                known.update(family.name for family in one.families.values())
            waiting = [one for one in waiting if one.name not in awake]

    def _source(self, family: str) -> str:
        writers = [one.name for one in self.writers.get(family, ())]
        return f"comes only from {_listed(writers)}, and that never runs" if writers else "is written by nobody"

    # --- what comes in, and what is left ----------------------------------------------------------------------------

    def find_unwritten(self) -> Iterator[Finding]:
        """Yields families that are read and that no suggestor writes."""
        for family in self.readers:
            if family in self.writers or family in self.inputs or family in _FROM_ELSEWHERE:
                continue
            if not self.inputs:
                yield self._presumed(family)
                continue
            cls, readers = self.classes[family], _listed([one.name for one in self.readers[family]])
            yield Finding(
                "warning", "never-written", family,
                f"family {family!r} is read by {readers}, but no suggestor writes it and it is not among the inputs. "
                f"Register who writes it, or add {cls} to engine.check(inputs=[…])",
            )  # fmt: skip

    def find_results(self) -> Iterator[Finding]:
        """Yields families that are written and that no suggestor reads."""
        if any(one.read_names is None for one in self.suggestors):
            return
        for family, writers in self.writers.items():
            if family not in self.readers:
                yield Finding(
                    "info", "result", family,
                    f"family {family!r} is a result: {_listed([one.name for one in writers])} "
                    f"{'writes' if len(writers) == 1 else 'write'} it and no suggestor reads it. "
                    f"If one should, add it to that one's reads",
                )  # fmt: skip

    def _unwritten(self) -> set[str]:
        return self.readers.keys() - self.writers.keys()

    def _presumed(self, family: str) -> Finding:
        writers = _listed([one.name for one in self.writers.get(family, ())])
        why = f"only {writers} writes it, and would have to be woken by it first" if writers else "nobody writes it"
        return Finding(
            "info", "presumed-input", family,
            f"family {family!r} is presumed to come from outside: {why}. "
            f"Name what does, to be sure: engine.check(inputs=[{self.classes[family]}])",
        )  # fmt: skip

    # --- what may go on for ever ------------------------------------------------------------------------------------

    def find_loops(self) -> Iterator[Finding]:
        """Yields loops of suggestors that wake one another."""
        wakes = self._wakes()
        told: set[str] = set()
        for knot in _knots(_within(wakes, [node for node, known in wakes.nodes(data=True) if not known.get("join")])):
            told |= knot.keys()
            yield self._endless(_within(wakes, knot))
        for knot in _knots(wakes):
            if told.isdisjoint(knot):
                yield self._bounded(_within(wakes, knot))

    def _wakes(self) -> networkx.DiGraph[str]:
        """Returns who wakes whom: an edge from each suggestor to what it writes, and on to whom that wakes.

        Not by failures and the like: everyone can cause those, so everyone who reads them would be on a loop.
        """
        import networkx

        drawn = as_networkx(self.suggestors)
        wakes: networkx.DiGraph[str] = networkx.DiGraph()
        wakes.add_nodes_from(drawn.nodes(data=True))
        wakes.add_edges_from(
            (source, target) for source, target, known in drawn.edges(data=True) if known["kind"] != "reads"
        )
        if ANYTHING in wakes:
            wakes.add_edges_from((family_node(family), ANYTHING) for family in self.writers)
        return wakes

    def _shortest_loop(self, knot: networkx.DiGraph[str]) -> list[str]:
        """Returns the nodes of the shortest loop, beginning and ending with the one that was registered first."""
        import networkx

        ours = [node for one in self.suggestors if (node := suggestor_node(one.name)) in knot]
        loops = []
        for node in ours:
            ways = networkx.single_source_shortest_path(knot, node)
            back = [ways[before] for before in knot.predecessors(node) if before in ways]
            loops.append([*min(back, key=len), node])
        return min(loops, key=len)

    def _endless(self, knot: networkx.DiGraph[str]) -> Finding:
        loop = self._shortest_loop(knot)
        around, through = _names(knot, loop, "suggestor"), _names(knot, loop[1:], "family")
        others = [one.name for one in self.suggestors if suggestor_node(one.name) in knot and one.name not in around]
        more = f" {_listed(others)} {'is' if len(others) == 1 else 'are'} on loops with them." if others else ""
        return Finding(
            "warning", "endless-loop", around[0],
            f"{' → '.join(around)} can run on without a join: each new {_listed(through, 'or')} may bring "
            f"another.{more} Define join on {_listed([self.classes[family] for family in through], 'or')}, "
            f"propose under ids that repeat, or bound the run: Budget(cycles=…)",
        )  # fmt: skip

    def _bounded(self, knot: networkx.DiGraph[str]) -> Finding:
        loop = self._shortest_loop(knot)
        around, through = _names(knot, loop, "suggestor"), _names(knot, loop[1:], "family")
        joined = [family for family in through if knot.nodes[family_node(family)]["join"]]
        return Finding(
            "info", "joined-loop", around[0],
            f"{' → '.join(around)} is a loop, and ends once {_listed(joined)} joins to nothing new. "
            f"It needs ids that repeat: with new ids each time it runs on",
        )  # fmt: skip

    # --- one by one -------------------------------------------------------------------------------------------------

    def find_unversioned(self) -> Iterator[Finding]:
        """Yields impure suggestors whose answers of one model or prompt cannot be told from those of another."""
        for one in self.suggestors:
            if not one.options.pure and not one.options.version:
                yield Finding(
                    "warning", "unversioned", one.name,
                    f"suggestor {one.name!r} is impure (pure=False) and has no version, so what was recorded of it "
                    f"before a change is taken for its answer after it. "
                    f'Write: version="1", and another whenever its model or prompt changes',
                )  # fmt: skip

    def find_readers_of_anything(self) -> Iterator[Finding]:
        """Yields suggestors that may read everything, and so wait for everyone."""
        for one in self.suggestors:
            if one.read_names is None:
                yield Finding(
                    "info", "reads-anything", one.name,
                    f"suggestor {one.name!r} has reads=ANY, so in each cycle it waits for everyone else. "
                    f"Name what it reads, if that is less than everything: reads=[…]",
                )  # fmt: skip

    def find_late_backgrounds(self) -> Iterator[Finding]:
        """Yields suggestors that see a family in the background only, while others still write it."""
        for one in self.suggestors:
            if one.wakes is None or one.read_names is None:
                continue
            for family, cls in one.read_names.items():
                writers = [other.name for other in self.writers.get(family, ()) if other is not one]
                if family not in one.wakes and writers:
                    yield Finding(
                        "info", "late-background", one.name,
                        f"suggestor {one.name!r} has All[{cls}] in the background, so what {_listed(writers)} writes "
                        f"later does not wake it again. "
                        f"If it should, take a View: @suggestor(reads=[…, {cls}], writes=[…])",
                    )  # fmt: skip

    def find_contests(self) -> Iterator[Finding]:
        """Yields families that several suggestors write and for which nobody has said what to do when they differ."""
        for family, writers in self.writers.items():
            known = self.families[family]
            if len(writers) > 1 and not known.joins and known.on_conflict == "contest":
                yield Finding(
                    "info", "contested", family,
                    f"family {family!r} is written by {_listed([one.name for one in writers])} and has no join: where "
                    f"they give one id different content, the first promoted stands and a Contested fact names both. "
                    f'Define join on {self.classes[family]}, or choose on_conflict="stop" or "confidence"',
                )  # fmt: skip


def _within(graph: networkx.DiGraph[str], nodes: Collection[str]) -> networkx.DiGraph[str]:
    """Returns the part of a graph between some of its nodes, in its order: a view would have the order of a set."""
    import networkx

    part: networkx.DiGraph[str] = networkx.DiGraph()
    part.add_nodes_from((node, known) for node, known in graph.nodes(data=True) if node in nodes)
    part.add_edges_from((source, target) for source, target in graph.edges if source in part and target in part)
    return part


def _knots(graph: networkx.DiGraph[str]) -> list[dict[str, None]]:
    """Returns the nodes that lie on loops together: by the first suggestor of each knot, with which it begins."""
    import networkx

    number: dict[str, int] = {}
    for place, members in enumerate(networkx.strongly_connected_components(graph)):
        if len(members) > 1:  # no node wakes itself: between a suggestor and itself there is a family
            number |= dict.fromkeys(members, place)
    knots: dict[int, dict[str, None]] = {}
    for node in sorted(graph, key=lambda node: graph.nodes[node]["kind"] != "suggestor"):
        if node in number:
            knots.setdefault(number[node], {})[node] = None
    return list(knots.values())


def _names(graph: networkx.DiGraph[str], nodes: Iterable[str], kind: str) -> list[str]:
    """Returns the names of the suggestors, or the families, among some nodes."""
    return [graph.nodes[node]["name"] for node in nodes if graph.nodes[node]["kind"] == kind]


def _listed(names: Sequence[str], link: str = "and") -> str:
    return f" {link} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
