"""Names who kept a run going: the suggestors that still proposed, and the round in which they woke one another."""

from __future__ import annotations

from .run import Run
from .suggestor import Suggestor


def find_restless(run: Run) -> tuple[str, ...]:
    """Returns the suggestors that had something promoted in the last cycle, in registration order."""
    last = run.recent[-1] if run.recent else frozenset()
    return tuple(one.name for one in run.plan.graph.suggestors if one.name in last)


def find_loop(run: Run) -> tuple[str, ...]:
    """Returns suggestors that woke one another round and round in the last cycles: the shortest such round."""
    import networkx

    active: list[Suggestor] = [
        one for one in run.plan.graph.suggestors if sum(one.name in who for who in run.recent) > 1
    ]
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for one in active:
        for family in (family.name for family in one.families.values()):
            graph.add_edges_from((one.name, woken.name) for woken in run.plan.graph.woken_by(family) if woken in active)
    rounds: list[list[str]] = [
        [name, *networkx.shortest_path(graph, successor, name)[:-1]]
        for name in find_restless(run)
        if name in graph
        for successor in graph.successors(name)
        if networkx.has_path(graph, successor, name)
    ]
    if not rounds:
        return ()
    shortest = min(rounds, key=len)
    return tuple(shortest)
