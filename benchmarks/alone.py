"""Does what needs an interpreter of its own: `python alone.py WORK WHO SIZE [FOLDER]` prints figures, one a line.

`hold` keeps so many facts and prints the bytes of memory for each. `crash` begins a durable run of so many steps and
dies in the middle of it, as a killed process does. `resume` finishes such a run and prints how many milliseconds it
took, and how many steps that had ended were done again.
"""

from __future__ import annotations

import collections
import gc
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from shape import said

NOT_INSTALLED, DIED = 3, 9


def main(work: str, who: str, size: int, folder: Path) -> None:
    """Does a work."""
    if work == "hold":
        print(_hold(HOLDERS[who], size))
        return
    finish = DURABLE[who](Steps(folder, size, dies=work == "crash"))
    start = perf_counter()
    finish()
    print((perf_counter() - start) * 1_000)
    done = collections.Counter((folder / "done").read_text().split())
    if len(done) != size:
        raise AssertionError(f"{len(done)} steps were done, not {size}")
    print(sum(times - 1 for times in done.values()))


# --- memory ----------------------------------------------------------------------------------------------------------


def _hold(make: Callable[[int], object], size: int) -> float:
    make(10)  # what is imported and cached the first time is not counted
    gc.collect()
    before = _resident()
    held = make(size)
    gc.collect()
    took = _resident() - before
    del held
    return took / size


def _resident() -> int:
    """Returns the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _dict_of_models(size: int) -> object:
    from floors import Bare

    return {str(n): Bare(n=n) for n in range(size)}


def _dict_of_dicts(size: int) -> object:
    return {str(n): {"n": n} for n in range(size)}


def _context(size: int) -> Any:
    from quiesce.facts import Context

    context, family = Context(), _known()
    for n in range(size):
        context.add(family(n=n), id=str(n))
    return context


def _run(size: int) -> object:
    """Facts that a run took in, with the memory log that holds them too."""
    from quiesce.engine import Budget, Engine
    from quiesce.facts import FactLog

    log = FactLog.open()
    result = Engine([]).run_sync(_context(size), log=log, budget=Budget(cycles=None, facts=None))
    return result.unwrap(), log


def _known() -> Any:
    from quiesce.facts import Payload

    if not _FAMILY:
        _FAMILY.append(type("Known", (Payload,), {"__annotations__": {"n": int}, "__module__": __name__}, key="seeds"))
    return _FAMILY[0]


_FAMILY: list[Any] = []


def _clips(size: int) -> object:
    import clips  # type: ignore[import-not-found, import-untyped, unused-ignore]  # nothing is said about its types

    environment = clips.Environment()
    environment.build("(deftemplate known (slot n))")
    template = environment.find_template("known")
    for n in range(size):
        template.assert_fact(n=n)
    return environment


HOLDERS: dict[str, Callable[[int], object]] = {
    "Quiesce, context": _context,
    "Quiesce, after a run, with its log": _run,
    "dict of pydantic models": _dict_of_models,
    "dict of dicts": _dict_of_dicts,
    "CLIPS (C)": _clips,
}


# --- crashes ---------------------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """A durable run of steps that note in a file that they were done."""

    folder: Path
    size: int
    dies: bool

    def do(self, at: int) -> str:
        """Does a step; in the middle of a run that is to die, the process is gone before the step is."""
        if self.dies and at == self.size // 2:
            os._exit(DIED)
        with (self.folder / "done").open("a") as done:
            done.write(f"{at}\n")
        return said(at)


def _quiesce(steps: Steps) -> Callable[[], object]:
    from quiesce.engine import Budget, Engine, suggestor
    from quiesce.facts import Context, Fact, FactLog, Payload

    class Step(Payload, key="signals"):
        n: int
        said: str

    @suggestor(pure=False)
    def step(one: Fact[Step]) -> Step | None:
        n = one.payload.n + 1
        return Step(n=n, said=steps.do(n)) if n < steps.size else None

    engine, path = Engine([step]), steps.folder / "log.db"

    def begin() -> None:
        context = Context()
        context.add(Step(n=0, said=steps.do(0)))
        engine.run_sync(context, log=FactLog.open(path), budget=Budget(cycles=None))

    def go_on() -> None:
        with FactLog.open(path) as log:
            engine.recover_sync(log)

    return begin if steps.dies else go_on


def _langgraph(steps: Steps, **options: Any) -> Callable[[], object]:
    import sqlite3

    from langgraph.checkpoint.sqlite import SqliteSaver  # type: ignore[import-not-found, unused-ignore]
    from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found, unused-ignore]
    from peers_graphs import Count

    def step(state: Count) -> Any:
        steps.do(state["n"])
        return {"n": state["n"] + 1}

    builder = StateGraph(Count)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: "step" if state["n"] < steps.size else END)
    config = {"recursion_limit": steps.size + 10, "configurable": {"thread_id": "1"}}

    def run() -> None:
        saver = SqliteSaver(sqlite3.connect(steps.folder / "log.db", check_same_thread=False))
        builder.compile(checkpointer=saver).invoke({"n": 0} if steps.dies else None, config, **options)

    return run


def _langgraph_sync(steps: Steps) -> Callable[[], object]:
    return _langgraph(steps, durability="sync")


def _dbos(steps: Steps) -> Callable[[], object]:
    from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found, unused-ignore]

    url = f"sqlite:///{steps.folder / 'log.db'}"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "CRITICAL", "application_version": "1"})

    @DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]  # of a module that may be missing
    def step(at: int) -> str:
        return steps.do(at)

    @DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]  # the same
    def chain(size: int) -> int:
        return len([step(at) for at in range(size)])

    def run() -> None:
        DBOS.launch()  # takes up what was left
        if steps.dies:
            with SetWorkflowID("one"):
                chain(steps.size)
        else:
            DBOS.retrieve_workflow("one").get_result(polling_interval_sec=0.01)

    return run


DURABLE: dict[str, Callable[[Steps], Callable[[], object]]] = {
    "Quiesce, SQLite": _quiesce,
    "LangGraph, SqliteSaver": _langgraph,
    'LangGraph, SqliteSaver, durability="sync"': _langgraph_sync,
    "DBOS on SQLite": _dbos,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of libraries that are not ours
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4] if len(sys.argv) > 4 else "."))
    except ImportError as problem:
        print(problem, file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    sys.stdout.flush()
    os._exit(0)  # threads of libraries are not waited for
