"""Runs durable chains with LangGraph and DBOS on SQLite, looks at the bytes they leave, and at LangGraph's history."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from itertools import count, pairwise
from operator import add
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Annotated, Any, TypedDict

import anyio.to_thread
from measure import Sample, timed
from peer import TEN, Peer, Work, check
from peers_graphs import Count, langgraph_chain, run_langgraph
from shape import said


class Said(TypedDict):
    """The state of a chain that keeps what its steps say."""

    said: Annotated[list[str], add]


def sqlite_saver(folder: Path | None = None) -> Any:
    """Returns LangGraph's saver on a database of its own, as it is when nothing is set."""
    module = import_module("langgraph.checkpoint.sqlite")
    path = (folder or Path(mkdtemp(prefix="langgraph-"))) / "log.db"
    return module.SqliteSaver(sqlite3.connect(path, check_same_thread=False))


def _chain_that_says(stages: int, saver: Any, *, delta: bool) -> Work:
    """Returns a run of a chain whose state collects a sentence of each step."""
    graph = import_module("langgraph.graph")
    builder = graph.StateGraph(_delta_state() if delta else Said)
    names = [f"step-{at}" for at in range(stages)]
    for at, name in enumerate(names):
        builder.add_node(name, lambda state, at=at: {"said": [said(at)]})  # noqa: ARG005  LangGraph gives the state
    for before, after in pairwise([graph.START, *names, graph.END]):
        builder.add_edge(before, after)
    return run_langgraph(
        builder, {"said": []}, lambda state: len(state["said"]) == stages, awaits=False, saver=saver
    )  # fmt: skip


@cache
def _delta_state() -> Any:
    """Returns a state of which only the differences are stored; LangGraph calls this a beta."""
    channel = import_module("langgraph.channels.delta").DeltaChannel

    def extend(before: list[str], writes: Sequence[list[str]]) -> list[str]:
        return [*before, *(text for write in writes for text in write)]

    # TypedDict's other form wants the types of its fields to be known to type checkers.
    return type("Delta", (dict,), {"__annotations__": {"said": Annotated[list[str], channel(extend)]}})


def _langgraph(stages: int) -> Sample:
    return timed(langgraph_chain(stages, saver=sqlite_saver()))


def _langgraph_says(stages: int) -> Sample:
    return timed(_chain_that_says(stages, sqlite_saver(), delta=False))


def _langgraph_delta(stages: int) -> Sample:
    return timed(_chain_that_says(stages, sqlite_saver(), delta=True))


def _langgraph_bytes(stages: int, *, delta: bool = False) -> Sample:
    saver = sqlite_saver()
    return _left(_chain_that_says(stages, saver, delta=delta), saver.conn)


def _langgraph_delta_bytes(stages: int) -> Sample:
    return _langgraph_bytes(stages, delta=True)


def _left(work: Work, connection: sqlite3.Connection) -> Sample:
    """Returns how many kilobytes one run adds to a database that was empty."""

    async def sample() -> float:
        await work()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        file = connection.execute("PRAGMA database_list").fetchall()[0][2]
        return Path(file).stat().st_size / 1_000  # noqa: ASYNC240  nothing else is going on

    return sample


# --- DBOS ------------------------------------------------------------------------------------------------------------


@cache
def _dbos() -> tuple[Any, Any, Path]:
    """Returns DBOS, a workflow of so many steps, and the database: one for the process, since DBOS is a singleton."""
    dbos = import_module("dbos").DBOS
    database = Path(mkdtemp(prefix="dbos-")) / "log.sqlite"
    dbos(config={"name": "quiesce-bench", "system_database_url": f"sqlite:///{database}", "log_level": "ERROR"})

    @dbos.step()  # type: ignore[untyped-decorator]  # of a module that is imported by name
    def say(at: int) -> str:
        return said(at)

    @dbos.workflow()  # type: ignore[untyped-decorator]  # the same
    def chain(stages: int) -> int:
        return len([say(at) for at in range(stages)])

    dbos.launch()
    return dbos, chain, database


def _dbos_chain(stages: int) -> Sample:
    _, chain, _ = _dbos()

    async def run() -> None:
        check(await anyio.to_thread.run_sync(chain, stages) == stages)

    return timed(run)


def _dbos_bytes(stages: int) -> Sample:
    _, chain, database = _dbos()

    async def sample() -> float:
        before = _used(database)
        await anyio.to_thread.run_sync(chain, stages)
        return (_used(database) - before) / 1_000

    return sample


def _used(database: Path) -> int:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return os.stat(database).st_size  # noqa: PTH116


# --- what was ---------------------------------------------------------------------------------------------------------


def _langgraph_history(steps: int) -> Sample:
    """Reads the state after every step back, the nearest that there is to a replay."""
    app, config = _ran(steps)

    async def sample() -> float:
        start = perf_counter()
        check(sum(1 for _ in app.get_state_history(config)) >= steps)
        return (perf_counter() - start) * 1_000

    return sample


def _langgraph_fork(steps: int) -> Sample:
    """Changes the state as it was after half of the steps, in a branch of the thread."""
    app, config = _ran(steps)
    half = list(app.get_state_history(config))[steps // 2].config
    numbers = count()

    async def sample() -> float:
        start = perf_counter()
        app.update_state(half, {"n": 1_000_000 + next(numbers)})
        return (perf_counter() - start) * 1_000

    return sample


@cache
def _ran(steps: int) -> tuple[Any, Any]:
    graph = import_module("langgraph.graph")
    builder = graph.StateGraph(Count)
    builder.add_node("step", lambda state: {"n": state["n"] + 1})
    builder.add_edge(graph.START, "step")
    builder.add_conditional_edges("step", lambda state: "step" if state["n"] < steps else graph.END)
    app = builder.compile(checkpointer=sqlite_saver())
    config = {"recursion_limit": steps + 10, "configurable": {"thread_id": "1"}}
    check(app.invoke({"n": 0}, config)["n"] == steps)
    return app, config


CHAIN = {
    "LangGraph, SqliteSaver": Peer(_langgraph, TEN),
    "LangGraph, SqliteSaver, state keeps what is said": Peer(_langgraph_says, TEN, quick_up_to=100),
    "LangGraph, SqliteSaver, delta channel (beta)": Peer(_langgraph_delta, TEN, quick_up_to=100),
    "DBOS on SQLite": Peer(_dbos_chain, TEN, quick_up_to=20),
}
BYTES = {
    "LangGraph, SqliteSaver": Peer(_langgraph_bytes, unit="kB", once=True),
    "LangGraph, SqliteSaver, delta channel (beta)": Peer(_langgraph_delta_bytes, unit="kB", once=True),
    "DBOS on SQLite": Peer(_dbos_bytes, unit="kB", once=True),
}
HISTORY = {
    "LangGraph, state history of as many steps": Peer(_langgraph_history, up_to=1_000, quick_up_to=300),
    "LangGraph, update_state in the middle": Peer(
        _langgraph_fork, against="Quiesce, fork at the middle", up_to=1_000, quick_up_to=300
    ),
}
