"""Draws the graph of an engine: who writes what and who reads it, for networkx, mermaid and Graphviz.

A suggestor and a family may go by one name, so the nodes are `suggestor:plan` and `family:plan`; what may read
everything (`reads=ANY`) hangs on the one node `anything`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ..facts.family import Family, family_of
from .suggestor import Suggestor, _Any

if TYPE_CHECKING:
    import networkx

ANYTHING: Final = "anything"
"""The node from which edges lead to suggestors with `reads=ANY`."""


def as_networkx(suggestors: Iterable[Suggestor]) -> networkx.MultiDiGraph[str]:
    """Returns suggestors and families as a graph, in the order of registration.

    Nodes have a `name` and a `kind` ("suggestor", "family" or "anything"), suggestors a `pack`, families a `key` and
    whether they have a `join`. Edges have a `kind`: "wakes" from a family whose new facts wake a suggestor, "reads"
    from one that it sees in the background (`All[…]` beside a `Fact[…]`), "writes" from a suggestor to a family.
    """
    import networkx

    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
    for one in suggestors:
        node = suggestor_node(one.name)
        reads = () if isinstance(one.reads, _Any) else tuple(map(family_of, one.reads))
        awake = None if one.wakes is None else frozenset(one.wakes)
        sources = {family.name: _add_family(graph, family) for family in (*reads, *_triggers(one))}
        if one.read_names is None:
            graph.add_node(ANYTHING, kind="anything", name=ANYTHING, key=None, pack=None)
        graph.add_node(node, kind="suggestor", name=one.name, key=None, pack=one.pack)
        for name, source in sources.items():
            _add_edge(graph, source, node, "wakes" if awake is None or name in awake else "reads")
        if one.read_names is None:
            _add_edge(graph, ANYTHING, node, "wakes" if awake is None else "reads")
        for family in one.families.values():
            _add_edge(graph, node, _add_family(graph, family), "writes")
    return graph


def to_mermaid(graph: networkx.MultiDiGraph[str]) -> str:
    """Returns a graph in mermaid's notation: families are rounded and grouped by key, background reads dotted."""
    ids = _short_ids(graph)
    lines = ["flowchart LR"]
    for place, (key, families) in enumerate(_by_key(graph)):
        lines.append(f'    subgraph k{place}["{_in_mermaid(key)}"]')
        lines += [f'        {ids[node]}(["{_in_mermaid(graph.nodes[node]["name"])}"])' for node in families]
        lines.append("    end")
    for node, known in graph.nodes(data=True):
        if known["kind"] != "family":
            opening, closing = ("[", "]") if known["kind"] == "suggestor" else ("{{", "}}")
            lines.append(f'    {ids[node]}{opening}"{_in_mermaid(known["name"])}"{closing}')
    for source, target, known in graph.edges(data=True):
        lines.append(f"    {ids[source]} {'-.->' if known['kind'] == 'reads' else '-->'} {ids[target]}")
    return "\n".join(lines)


def to_dot(graph: networkx.MultiDiGraph[str]) -> str:
    """Returns a graph in Graphviz's notation: families are rounded and grouped by key, background reads dashed."""
    ids = _short_ids(graph)
    lines = ["digraph quiesce {", "    rankdir=LR;", "    node [shape=box];"]
    for place, (key, families) in enumerate(_by_key(graph)):
        lines += [f"    subgraph cluster_{place} {{", f"        label={_in_dot(key)};"]
        lines += [
            f"        {ids[node]} [label={_in_dot(graph.nodes[node]['name'])}, style=rounded];" for node in families
        ]
        lines.append("    }")
    for node, known in graph.nodes(data=True):
        if known["kind"] != "family":
            shape = "" if known["kind"] == "suggestor" else ", shape=hexagon"
            lines.append(f"    {ids[node]} [label={_in_dot(known['name'])}{shape}];")
    for source, target, known in graph.edges(data=True):
        lines.append(f"    {ids[source]} -> {ids[target]}{' [style=dashed]' if known['kind'] == 'reads' else ''};")
    return "\n".join([*lines, "}"])


def suggestor_node(name: str) -> str:
    """Returns the node of a suggestor."""
    return f"suggestor:{name}"


def family_node(name: str) -> str:
    """Returns the node of a family."""
    return f"family:{name}"


def _triggers(one: Suggestor) -> tuple[Family, ...]:
    return () if one.trigger is None else (family_of(one.trigger),)


def _add_family(graph: networkx.MultiDiGraph[str], family: Family) -> str:
    node = family_node(family.name)
    if node not in graph:  # an older version of the same family is the same node
        graph.add_node(node, kind="family", name=family.name, key=family.key, pack=None, join=family.joins)
    return node


def _add_edge(graph: networkx.MultiDiGraph[str], source: str, target: str, kind: str) -> None:
    graph.add_edge(source, target, key=kind, kind=kind)


def _short_ids(graph: networkx.MultiDiGraph[str]) -> dict[str, str]:
    """Returns a name for each node that needs no escaping: its kind's first letter, and its place."""
    return {node: f"{graph.nodes[node]['kind'][0]}{place}" for place, node in enumerate(graph.nodes)}


def _by_key(graph: networkx.MultiDiGraph[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields the families of each key, in the order in which the graph came upon them."""
    groups: dict[str, list[str]] = {}
    for node, known in graph.nodes(data=True):
        if known["kind"] == "family":
            groups.setdefault(known["key"], []).append(node)
    yield from groups.items()


def _in_mermaid(text: str) -> str:
    """Returns a text to stand between quotes; whatever mermaid might give a meaning to is written as its number.

    Not only quotes: `#`, `%%{`, backticks, backslashes and `style:` mean something to it inside of quotes too.
    """
    return _escaped(text, lambda char: char.isalnum() or char in " _-.,", lambda char: f"#{ord(char)};")


def _in_dot(text: str) -> str:
    """Returns a quoted label; inside of it a backslash begins an escape (of the node's name, say), `&` an entity."""
    written = {"\\": "\\\\", '"': '\\"', "&": "&amp;"}
    return f'"{_escaped(text, lambda char: char not in written, written.__getitem__)}"'


def _escaped(text: str, is_plain: Callable[[str], bool], written: Callable[[str], str]) -> str:
    return "".join(char if is_plain(char) else written(char) for char in text)
