"""Does chains, fans and lanes with libraries whose users draw edges: LangGraph, pydantic-graph, Burr."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import count, pairwise
from operator import add
from typing import Annotated, Any, TypedDict

import anyio
from measure import Sample, timed
from peer import TEN, THREE, Peer, Work, check
from shape import LANE_STAGES, seconds, times


class Count(TypedDict):
    """The state of a chain."""

    n: int


class Sums(TypedDict):
    """The state of a fan: what the branches say becomes a list."""

    n: int
    said: Annotated[list[int], add]


# --- LangGraph -------------------------------------------------------------------------------------------------------


def langgraph_chain(stages: int, *, awaits: bool = False, keeps: bool = False, saver: Any = None) -> Work:
    """Returns a run of a chain of nodes; with `keeps` each run has a saver in memory of its own."""
    graph = import_module("langgraph.graph")

    def plain(state: Count) -> Any:
        return {"n": state["n"] + 1}

    async def awaited(state: Count) -> Any:
        return {"n": state["n"] + 1}

    builder = graph.StateGraph(Count)
    _line(graph, builder, [f"step-{at}" for at in range(stages)], awaited if awaits else plain)
    return run_langgraph(builder, {"n": 0}, lambda state: state["n"] == stages, awaits=awaits, keeps=keeps, saver=saver)


def _line(graph: Any, builder: Any, names: list[str], node: Any) -> None:
    for name in names:
        builder.add_node(name, node)
    for before, after in pairwise([graph.START, *names, graph.END]):
        builder.add_edge(before, after)


def _langgraph_fan(width: int, *, keeps: bool = False) -> Work:
    graph = import_module("langgraph.graph")

    async def branch(state: Sums) -> Any:
        return {"said": [state["n"] + 1]}

    async def join(state: Sums) -> Any:
        return {"n": sum(state["said"])}

    builder = graph.StateGraph(Sums)
    names = [f"fan-{at}" for at in range(width)]
    builder.add_node("join", join)
    for name in names:
        builder.add_node(name, branch)
        builder.add_edge(graph.START, name)
    builder.add_edge(names, "join")
    builder.add_edge("join", graph.END)
    return run_langgraph(builder, {"n": 0, "said": []}, lambda state: state["n"] == width, awaits=True, keeps=keeps)


def _langgraph_lanes(lanes: int) -> Work:
    graph = import_module("langgraph.graph")

    def stage(lane: int, at: int) -> Any:
        async def work(state: Sums) -> Any:  # noqa: ARG001  LangGraph gives it
            await anyio.sleep(seconds(lane, at))
            return {"said": [lane]}

        return work

    builder = graph.StateGraph(Sums)
    for lane in range(lanes):
        names = [f"lane-{lane}-{at}" for at in range(LANE_STAGES)]
        for at, name in enumerate(names):
            builder.add_node(name, stage(lane, at))
        for before, after in pairwise([graph.START, *names, graph.END]):
            builder.add_edge(before, after)
    done = lanes * LANE_STAGES
    return run_langgraph(builder, {"n": 0, "said": []}, lambda state: len(state["said"]) == done, awaits=True)


def run_langgraph(
    builder: Any,
    given: dict[str, Any],
    is_right: Callable[[Any], bool],
    *,
    awaits: bool,
    keeps: bool = False,
    saver: Any = None,
) -> Work:
    """Returns a run of a graph, compiled before; each run is a thread of its own."""
    in_memory = import_module("langgraph.checkpoint.memory").InMemorySaver if keeps else None
    threads = count()

    async def run() -> None:
        # A saver of its own for each run, as Quiesce has a log of its own: what earlier runs left is not measured.
        app = builder.compile(checkpointer=in_memory()) if in_memory is not None else compiled
        config = {"recursion_limit": 10_000, "configurable": {"thread_id": str(next(threads))}}
        check(is_right(await app.ainvoke(given, config) if awaits else app.invoke(given, config)))

    compiled = builder.compile(checkpointer=saver) if saver is not None else builder.compile()
    return run


# --- pydantic-graph --------------------------------------------------------------------------------------------------


def _pydantic_graph_builder(output: Any = int) -> Any:
    try:
        return import_module("pydantic_graph").GraphBuilder(input_type=int, output_type=output)
    except AttributeError:
        raise ImportError("pydantic-graph is older than its GraphBuilder") from None


async def _add_one(context: Any) -> int:
    return int(context.inputs) + 1


def _pydantic_graph_chain(stages: int) -> Work:
    builder = _pydantic_graph_builder()
    before = builder.start_node
    for at in range(stages):
        after = builder.step(_add_one, node_id=f"step-{at}")
        builder.add(builder.edge_from(before).to(after))
        before = after
    builder.add(builder.edge_from(before).to(builder.end_node))
    return _run_pydantic_graph(builder.build(), stages)


def _pydantic_graph_fan(width: int) -> Work:
    joins = import_module("pydantic_graph.join")
    builder = _pydantic_graph_builder()
    steps = [builder.step(_add_one, node_id=f"fan-{at}") for at in range(width)]
    join = builder.join(joins.reduce_sum, initial=0)
    builder.add(builder.edge_from(builder.start_node).to(*steps))
    builder.add(builder.edge_from(*steps).to(join), builder.edge_from(join).to(builder.end_node))
    return _run_pydantic_graph(builder.build(), width)


def _run_pydantic_graph(graph: Any, result: int) -> Work:
    async def run() -> None:
        check(await graph.run(inputs=0) == result)

    return run


# --- Burr ------------------------------------------------------------------------------------------------------------


def _burr_chain(stages: int) -> Work:
    core = import_module("burr.core")
    graphs = import_module("burr.core.graph")

    @core.action(reads=["n"], writes=["n"])  # type: ignore[untyped-decorator]  # of a module imported by name
    def step(state: Any) -> Any:
        return state.update(n=state["n"] + 1)

    names = [f"step_{at}" for at in range(stages)]
    graph = graphs.GraphBuilder().with_actions(**dict.fromkeys(names, step)).with_transitions(*pairwise(names)).build()

    async def run() -> None:
        # Burr's application is its run, so making one belongs to the time; the graph was made before.
        app = core.ApplicationBuilder().with_graph(graph).with_state(n=0).with_entrypoint(names[0]).build()
        check(app.run(halt_after=[names[-1]])[2]["n"] == stages)

    return run


def _timed(make: Callable[..., Work], **options: bool) -> Callable[[int], Sample]:
    return lambda size: timed(make(size, **options), max(1, times(size) // 2))


CHAIN = {
    "LangGraph, sync": Peer(_timed(langgraph_chain), TEN),
    "LangGraph, sync, checkpoints in memory": Peer(_timed(langgraph_chain, keeps=True), TEN),
    "LangGraph, async": Peer(_timed(langgraph_chain, awaits=True), TEN, "Quiesce, async"),
    "pydantic-graph, async": Peer(_timed(_pydantic_graph_chain), THREE, "Quiesce, async"),
    "Burr, sync": Peer(_timed(_burr_chain), THREE),
}
FAN = {
    "LangGraph, async": Peer(_timed(_langgraph_fan), TEN),
    "LangGraph, async, checkpoints in memory": Peer(_timed(_langgraph_fan, keeps=True), TEN),
    "pydantic-graph, async": Peer(_timed(_pydantic_graph_fan), TEN),
}
LANES = {"LangGraph, async": Peer(lambda lanes: timed(_langgraph_lanes(lanes)))}
