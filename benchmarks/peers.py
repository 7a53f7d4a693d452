"""Does the same works with other libraries, where they are installed; quotes the figures of one that is no library.

Each work is done in a process of its own (`python peers.py chain "LangGraph, sync"`: a line in, a figure out), so that
what a peer keeps in memory does not slow down the kernel, nor the other way round.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from importlib import import_module
from itertools import count
from operator import add
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Annotated, Any, TypedDict

import anyio
import anyio.to_thread
from measure import Case, Sample, Target, timed
from shape import EDGES, LANE_STAGES, LANES, SEEDS, STAGES, WIDTH, seconds

Work = Callable[[], Awaitable[object]]


QUOTED = {
    "chain": Case("Converge (Rust), sync", quoted=2.0),
    "fan": Case("Converge (Rust), one after the other", quoted=0.32),
    "map": Case("Converge (Rust)", quoted=359.0),
}


TARGETS = {"durable": Target(10, on="ratio", kind="at least")}
"""What peers have to take at least, compared with the first line of a section."""


def cases(section: str, until: ExitStack) -> list[Case]:
    """Returns the peers of a section; their processes live until the stack is left."""
    found = [_start(section, name, until) for name in WORKS.get(section, {})]
    return [*found, QUOTED[section]] if section in QUOTED else found


def _start(section: str, name: str, until: ExitStack) -> Case:
    process = subprocess.Popen(
        [sys.executable, __file__, section, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    until.enter_context(process)
    if process.stdin is None or process.stdout is None or process.stdout.readline() != "ready\n":
        return Case(name)
    asked, answered = process.stdin, process.stdout

    async def sample() -> float:
        if section == "durable":
            os.sync()  # what others have written is on the disk: nobody pays for them
        asked.write("again\n")
        asked.flush()
        return float(answered.readline())

    return Case(name, sample, target=TARGETS.get(section))


async def serve(section: str, name: str) -> None:
    """Does one work for each line that comes in."""
    try:
        sample = WORKS[section][name]()
    except ImportError:
        print("not installed")
        return
    print("ready", flush=True)
    for _ in sys.stdin:
        print(await sample(), flush=True)


# --- LangGraph -------------------------------------------------------------------------------------------------------


class Count(TypedDict):
    """The state of a chain."""

    n: int


class Sums(TypedDict):
    """The state of a fan: what the branches say becomes a list."""

    n: int
    said: Annotated[list[int], add]


def _langgraph_chain(*, awaits: bool = False, keeps: bool = False, saver: Any = None) -> Work:
    graph = import_module("langgraph.graph")

    def plain(state: Count) -> Any:
        return {"n": state["n"] + 1}

    async def awaited(state: Count) -> Any:
        return {"n": state["n"] + 1}

    builder = graph.StateGraph(Count)
    names = [f"step-{at}" for at in range(STAGES)]
    for name in names:
        builder.add_node(name, awaited if awaits else plain)
    for before, after in zip([graph.START, *names], [*names, graph.END], strict=True):
        builder.add_edge(before, after)
    return _langgraph(builder, {"n": 0}, lambda state: state["n"] == STAGES, awaits=awaits, keeps=keeps, saver=saver)


def _langgraph_durable() -> Work:
    folder = Path(mkdtemp(prefix="langgraph-"))
    sqlite = import_module("langgraph.checkpoint.sqlite")
    saver = sqlite.SqliteSaver(sqlite3.connect(folder / "log.sqlite", check_same_thread=False))
    return _langgraph_chain(saver=saver)


def _langgraph_fan(*, keeps: bool = False) -> Work:
    graph = import_module("langgraph.graph")

    async def branch(state: Sums) -> Any:
        return {"said": [state["n"] + 1]}

    async def join(state: Sums) -> Any:
        return {"n": sum(state["said"])}

    builder = graph.StateGraph(Sums)
    names = [f"fan-{at}" for at in range(WIDTH)]
    builder.add_node("join", join)
    for name in names:
        builder.add_node(name, branch)
        builder.add_edge(graph.START, name)
    builder.add_edge(names, "join")
    builder.add_edge("join", graph.END)
    return _langgraph(builder, {"n": 0, "said": []}, lambda state: state["n"] == WIDTH, awaits=True, keeps=keeps)


def _langgraph_lanes() -> Work:
    graph = import_module("langgraph.graph")

    def stage(lane: int, at: int) -> Any:
        async def work(state: Sums) -> Any:  # noqa: ARG001  LangGraph gives it
            await anyio.sleep(seconds(lane, at))
            return {"said": [lane]}

        return work

    builder = graph.StateGraph(Sums)
    for lane in range(LANES):
        names = [f"lane-{lane}-{at}" for at in range(LANE_STAGES)]
        for at, name in enumerate(names):
            builder.add_node(name, stage(lane, at))
        for before, after in zip([graph.START, *names], [*names, graph.END], strict=True):
            builder.add_edge(before, after)
    done = LANES * LANE_STAGES
    return _langgraph(builder, {"n": 0, "said": []}, lambda state: len(state["said"]) == done, awaits=True)


def _langgraph(
    builder: Any,
    given: dict[str, Any],
    is_right: Callable[[Any], bool],
    *,
    awaits: bool,
    keeps: bool = False,
    saver: Any = None,
) -> Work:
    in_memory = import_module("langgraph.checkpoint.memory").InMemorySaver if keeps else None
    threads = count()

    async def run() -> None:
        # A saver of its own for each run, as Quiesce has a log of its own: what earlier runs left is not measured.
        app = builder.compile(checkpointer=in_memory()) if in_memory is not None else compiled
        config = {"recursion_limit": 2 * STAGES, "configurable": {"thread_id": str(next(threads))}}
        _check(is_right(await app.ainvoke(given, config) if awaits else app.invoke(given, config)))

    compiled = builder.compile(checkpointer=saver) if saver is not None else builder.compile()
    return run


# --- DBOS ------------------------------------------------------------------------------------------------------------


def _dbos_durable() -> Work:
    dbos = import_module("dbos").DBOS
    database = Path(mkdtemp(prefix="dbos-")) / "log.sqlite"
    dbos(config={"name": "quiesce-bench", "system_database_url": f"sqlite:///{database}", "log_level": "ERROR"})

    @dbos.step()  # type: ignore[untyped-decorator]  # of a module that is imported by name
    def add_one(n: int) -> int:
        return n + 1

    @dbos.workflow()  # type: ignore[untyped-decorator]  # the same
    def chain() -> int:
        n = 0
        for _ in range(STAGES):
            n = add_one(n)
        return n

    dbos.launch()

    async def run() -> None:
        _check(await anyio.to_thread.run_sync(chain) == STAGES)

    return run


# --- pydantic-graph --------------------------------------------------------------------------------------------------


def _pydantic_graph_chain() -> Work:
    try:
        builder = import_module("pydantic_graph").GraphBuilder(input_type=int, output_type=int)
    except AttributeError:
        raise ImportError("pydantic-graph is older than its GraphBuilder") from None

    async def work(context: Any) -> int:
        return int(context.inputs) + 1

    before = builder.start_node
    for at in range(STAGES):
        after = builder.step(work, node_id=f"step-{at}")
        builder.add(builder.edge_from(before).to(after))
        before = after
    builder.add(builder.edge_from(before).to(builder.end_node))
    graph = builder.build()

    async def run() -> None:
        _check(await graph.run(inputs=0) == STAGES)

    return run


# --- CLIPS -----------------------------------------------------------------------------------------------------------


def _clips_map() -> Sample:
    rules = """
    (deftemplate seed (slot n))
    (deftemplate mapped (slot n))
    (defrule map (seed (n ?n)) => (assert (mapped (n ?n))))
    """
    return _clips(rules, "seed", [{"n": n} for n in range(SEEDS)], SEEDS)


def _clips_closure() -> Sample:
    rules = """
    (deftemplate edge (slot a) (slot b))
    (deftemplate path (slot a) (slot b))
    (defrule first (edge (a ?a) (b ?b)) => (assert (path (a ?a) (b ?b))))
    (defrule further (path (a ?a) (b ?b)) (edge (a ?b) (b ?c)) => (assert (path (a ?a) (b ?c))))
    """
    return _clips(rules, "edge", [{"a": a, "b": a + 1} for a in range(EDGES)], EDGES * (EDGES + 1) // 2)


def _clips(rules: str, template: str, inputs: list[dict[str, int]], fired: int) -> Sample:
    """CLIPS matches while facts are asserted, so asserting them belongs to the time."""
    environment = import_module("clips").Environment()
    for construct in rules.strip().splitlines():
        environment.build(construct.strip())
    known = environment.find_template(template)

    async def sample() -> float:
        environment.reset()
        start = perf_counter()
        for values in inputs:
            known.assert_fact(**values)
        _check(environment.run() == fired)
        return (perf_counter() - start) * 1_000

    return sample


def _check(is_right: bool) -> None:
    if not is_right:
        raise AssertionError("a peer gave another result than Quiesce does")


WORKS: dict[str, dict[str, Callable[[], Sample]]] = {
    "chain": {
        "LangGraph, sync": lambda: timed(_langgraph_chain(), 3),
        "LangGraph, async": lambda: timed(_langgraph_chain(awaits=True), 3),
        "LangGraph, sync, checkpoints in memory": lambda: timed(_langgraph_chain(keeps=True), 3),
        "pydantic-graph, async": lambda: timed(_pydantic_graph_chain(), 3),
    },
    "fan": {
        "LangGraph, async": lambda: timed(_langgraph_fan(), 3),
        "LangGraph, async, checkpoints in memory": lambda: timed(_langgraph_fan(keeps=True), 3),
    },
    "map": {"CLIPS (C), inputs added in the time": _clips_map},
    "closure": {"CLIPS (C), inputs added in the time": _clips_closure},
    "durable": {
        "LangGraph, sync, SqliteSaver": lambda: timed(_langgraph_durable()),
        "DBOS on SQLite": lambda: timed(_dbos_durable()),
    },
    "lanes": {"LangGraph, async": lambda: timed(_langgraph_lanes())},
}

if __name__ == "__main__":
    anyio.run(serve, sys.argv[1], sys.argv[2])
