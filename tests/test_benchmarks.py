"""Holds how the main costs of the kernel grow, and the table that benchmarks make.

Time is not measured here, since it depends on who else uses the machine. What is counted is work: the instructions of
Python's interpreter that a run takes (the same every time, up to a few), and the memory that it has at most beyond what
it had. The first finds loops over what is known, the second finds copies and sorts of it, which are one instruction.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from math import log
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from quiesce.engine import Budget, Engine, Result, Suggestor, propose, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, View, replay, verify
from support.pages import ROOT

PROPORTIONAL = 1.02
"""A slope on logarithmic axes: 32 times as much work may take 34.3 times as many instructions."""
SMALLEST, SOME = 2, (10, 66, 258)


class Link(Payload, key="signals", family="benchmarks-link"):
    n: int


class Item(Payload, key="seeds", family="benchmarks-item"):
    n: int


class Mapped(Payload, key="strategies", family="benchmarks-mapped"):
    n: int


class Edge(Payload, key="seeds", family="benchmarks-edge"):
    a: int
    b: int


class Path_(Payload, key="signals", family="benchmarks-path"):
    a: int
    b: int


class Total(Payload, key="evaluations", family="benchmarks-total"):
    n: int


def instructions(work: Callable[[], object]) -> int:
    """Returns how many instructions of the interpreter a call takes, in all functions that it calls."""
    count = 0

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def grown(work: Callable[[], object]) -> int:
    """Returns how many bytes a call has in memory at most, beyond what there was before."""
    was_on = tracemalloc.is_tracing()
    gc.collect()
    gc.disable()  # when it runs would depend on what was done before
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        gc.enable()
        if not was_on:
            tracemalloc.stop()


def slope(costs: dict[int, int]) -> float:
    """Returns how costs grow from the smallest size to the largest: 1 is in proportion, 0 not at all."""
    (small, *_, large) = sorted(costs)
    return log(costs[large] / costs[small]) / log(large / small)


def costs(make: Callable[[int], Callable[[], object]], sizes: tuple[int, ...] = SOME) -> dict[int, int]:
    """Returns the instructions for what comes on top of the smallest work, by how much more there is to do.

    So what a run takes once is left out. Each work is done and counted once before, for what is made only once, and
    since newer Pythons do not count a function until it was traced once.
    """
    found = {}
    for size in (SMALLEST, *sizes):
        instructions(make(size))
        found[size] = instructions(make(size))
    return {size - SMALLEST: found[size] - found[SMALLEST] for size in sizes}


# --- chains, fans, maps, closures ------------------------------------------------------------------------------------


@suggestor
def onward(link: Fact[Link]) -> Link | None:
    return Link(n=link.payload.n - 1) if link.payload.n else None


@suggestor
async def onward_awaited(link: Fact[Link]) -> Link | None:
    return Link(n=link.payload.n - 1) if link.payload.n else None


@suggestor
def map_each(item: Fact[Item]) -> Mapped:
    return Mapped(n=item.payload.n)


@suggestor(reads=[Item], writes=[Mapped])
def map_all(view: View) -> Iterator[Any]:
    for item in view.new(Item):
        yield propose(Mapped(n=item.payload.n), id=item.id, because=[item])


@suggestor
def first(edge: Fact[Edge]) -> Path_:
    return Path_(a=edge.payload.a, b=edge.payload.b)


@suggestor(reads=[Path_, Edge], writes=[Path_])
def further(view: View) -> Iterator[Any]:
    for path in view.new(Path_):
        edge = view.get(Edge, str(path.payload.b))
        if edge is not None:
            yield propose(Path_(a=path.payload.a, b=edge.payload.b), because=[path, edge])


def of(*payloads: Payload) -> Context:
    context = Context()
    for place, payload in enumerate(payloads):
        context.add(payload, id=str(place))
    return context


def settled(engine: Engine, context: Context, facts: int, where: str | Path = ":memory:") -> FactLog:
    """Runs an engine to the end, writes its log out, and checks how much is known."""
    log = FactLog.open(where)
    result = engine.run_sync(context, log=log, run_id="r", seed=1, budget=Budget(cycles=None, facts=None))
    log.flush()

    assert facts == len(result.unwrap().context)

    return log


@pytest.mark.slow
@pytest.mark.parametrize("one", [onward, onward_awaited], ids=["sync", "async"])
def test_a_chain_costs_in_proportion_to_its_steps(one: Suggestor) -> None:
    engine = Engine([one])
    found = costs(lambda steps: lambda: settled(engine, of(Link(n=steps)), steps + 1))

    assert slope(found) < PROPORTIONAL, found


@pytest.mark.slow
def test_a_fan_costs_in_proportion_to_its_width() -> None:
    def make(width: int) -> Callable[[], object]:
        @suggestor(reads=[Mapped], writes=[Total])
        def join(view: View) -> Total:
            return Total(n=len(view.new(Mapped)))

        branches = [branch(at) for at in range(width)]
        engine = Engine([*branches, join])
        return lambda: settled(engine, of(Item(n=0)), width + 2)

    found = costs(make)

    assert slope(found) < PROPORTIONAL, found


def branch(at: int) -> Suggestor:
    """Returns one of many suggestors that are woken by the same fact."""

    @suggestor(name=f"branch-{at}")
    async def say(item: Fact[Item]) -> Mapped:
        return Mapped(n=item.payload.n + at)

    return say


@pytest.mark.slow
@pytest.mark.parametrize("one", [map_each, map_all], ids=["a call for each", "one call for all"])
def test_a_map_costs_in_proportion_to_its_facts(one: Suggestor) -> None:
    engine = Engine([one])
    found = costs(lambda facts: lambda: settled(engine, of(*(Item(n=n) for n in range(facts))), 2 * facts))

    assert slope(found) < PROPORTIONAL, found


@pytest.mark.slow
def test_a_closure_costs_in_proportion_to_its_paths() -> None:
    """One more edge adds as many paths as there are edges, in one more cycle."""
    engine = Engine([first, further])

    def make(edges: int) -> Callable[[], object]:
        context = of(*(Edge(a=a, b=a + 1) for a in range(edges)))
        return lambda: settled(engine, context, edges * (edges + 1) // 2 + edges)

    found = {}
    for edges in (10, 20, 40):
        instructions(make(edges))
        found[edges] = instructions(make(edges)) - instructions(make(edges - 1))

    assert slope(found) < PROPORTIONAL, found


# --- what is known does not matter -----------------------------------------------------------------------------------


@suggestor(reads=[Link, Item], writes=[Link])
def look_up(view: View) -> Link | None:
    (link,) = view.new(Link)
    return Link(n=link.payload.n - 1) if link.payload.n and view.get(Item, "0") is not None else None


def known(facts: int) -> Result:
    """Returns a run that knows so many facts."""
    return Engine([]).run_sync(of(*(Item(n=n) for n in range(facts))), budget=Budget(cycles=None, facts=None))


def gone_on(facts: int, cycles: int = 40) -> Callable[[], object]:
    """Returns a run that goes on from so many facts and adds one in each of its cycles."""
    context = known(facts).context
    context.add(Link(n=cycles))

    def work() -> None:
        after = Engine([look_up]).run_sync(context, run_id="r", seed=1, budget=Budget(cycles=None, facts=None))

        assert len(context) + cycles == len(after.unwrap().context)

    return work


@pytest.mark.slow
@pytest.mark.parametrize("measure", [instructions, grown])
def test_a_run_costs_the_same_however_much_is_known(measure: Callable[[Callable[[], object]], int]) -> None:
    """One that adds a fact in each of forty cycles. A copy of ten thousand facts would double its memory."""
    instructions(gone_on(100))
    found = {facts: measure(gone_on(facts)) for facts in (100, 1_000, 10_000)}

    assert abs(slope(found)) < 0.03, found


# --- logs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r.db", "r.jsonl"])
def test_a_durable_chain_costs_in_proportion_to_its_steps(name: str, tmp_path: Path) -> None:
    engine = Engine([onward])

    def make(steps: int) -> Callable[[], object]:
        folder = tmp_path / str(steps)
        folder.mkdir(exist_ok=True)
        where = folder / f"{len(list(folder.iterdir()))}-{name}"
        return lambda: settled(engine, of(Link(n=steps)), steps + 1, where).close()

    found = costs(make)

    assert slope(found) < PROPORTIONAL, found


def test_a_fact_leaves_as_many_bytes_in_a_long_run_as_in_a_short_one() -> None:
    """Up to the digits of the numbers in it."""
    sizes = {n: len(settled(Engine([onward]), of(Link(n=n)), n + 1).to_bytes("r")) for n in (50, 100, 500)}
    early, late = (sizes[100] - sizes[50]) / 50, (sizes[500] - sizes[100]) / 400

    assert early <= late < 1.03 * early


@pytest.mark.slow
@pytest.mark.parametrize("read", [replay, verify])
def test_reading_a_log_costs_in_proportion_to_its_facts(read: Callable[[FactLog, str], object]) -> None:
    logs = {steps: settled(Engine([onward]), of(Link(n=steps)), steps + 1) for steps in (SMALLEST, *SOME)}
    found = costs(lambda steps: lambda: read(logs[steps], "r"))

    assert slope(found) < PROPORTIONAL, found


# --- the counting itself ----------------------------------------------------------------------------------------------


def test_what_is_counted_finds_loops_and_copies() -> None:
    """A cost that grows is seen: a loop by its instructions, a copy by its memory."""
    values = {size: list(range(size)) for size in (1_000, 10_000)}
    loops = {size: instructions(lambda size=size: [None for _ in values[size]]) for size in values}  # type: ignore[misc]
    copies = {size: grown(lambda size=size: sorted(values[size])) for size in values}  # type: ignore[misc]

    assert (True, True) == (slope(loops) > 0.9, slope(copies) > 0.9)


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Returns what imports a module of benchmarks/, where scripts import each other by their bare names."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    return module


def measured(benchmarks: Callable[[str], Any]) -> Any:
    """Returns the data of a table of one section with made-up samples."""
    measure, report = benchmarks("measure"), benchmarks("report")
    ten = measure.Target(10, on="ratio", kind="at least")
    cases = [
        *(measure.Case("Quiesce", size=size) for size in (20, 100, 200)),
        *(measure.Case("A peer", target=ten, size=size, kind="peer") for size in (20, 100, 200)),
        measure.Case("Quoted", quoted=0.5, size=200, kind="peer"),
        measure.Case("Not there", kind="peer"),
    ]
    rows = [measure.Row(case) for case in cases]
    for row in rows[:6]:
        row.samples = [row.case.size * (1 + place / 10) * (12 if row.case.kind == "peer" else 1) for place in range(5)]
    rows[5].samples = [sample / 2 for sample in rows[5].samples]
    measure.compare(rows)
    section = measure.Section("Chain", "a note", cases, of="steps")
    about = {
        "day": "2026-11-21", "python": "CPython", "platform": "linux", "cores": 2, "memory": "8 GiB",
        "versions": {"pydantic": "2"}, "repetitions": 5, "quick": False, "load_before": 0.0,
    }  # fmt: skip
    return json.loads(json.dumps(report.to_data(about, [report.Measured("chain", section, rows)])))


def test_rows_are_compared_at_their_own_size(benchmarks: Callable[[str], Any]) -> None:
    """With the first case of the section that has it; a quoted figure with each sample."""
    rows = measured(benchmarks)["sections"][0]["rows"]
    found = {(row["name"], row["size"]): row["ratio"] and round(row["ratio"], 6) for row in rows}

    assert found == {
        ("Quiesce", 20): None, ("Quiesce", 100): None, ("Quiesce", 200): None,
        ("A peer", 20): 12.0, ("A peer", 100): 12.0, ("A peer", 200): 6.0,
        ("Quoted", 200): round(0.5 / 240, 6), ("Not there", None): None,
    }  # fmt: skip
    assert 1.0 == pytest.approx(rows[0]["slope"])
    assert [True, True, False] == [row["met"] for row in rows if row["name"] == "A peer"]


def test_the_table_says_what_was_missed_and_what_is_quoted_or_not_there(benchmarks: Callable[[str], Any]) -> None:
    table = benchmarks("report").to_markdown(measured(benchmarks))

    assert "| A peer | 200 | 1,440 ms | 1,200–1,680 | 6 × | 6–6 | 0.75 | ≥ 10 × | missed |" in table
    assert "| Quoted | 200 | 0.5 ms | quoted |" in table
    assert "| Not there |  | not installed |" in table
    assert "2 of 3 targets met. Missed:\n\n- Chain: A peer, 200 (6 ×, held to ≥ 10 ×)" in table


@pytest.mark.slow
def test_the_same_data_make_the_same_picture(benchmarks: Callable[[str], Any], tmp_path: Path) -> None:
    chart, data = benchmarks("chart"), measured(benchmarks)
    drawn = [chart.draw(data, tmp_path / name) for name in ("one", "two")]

    assert [["one.svg", "one.png"], ["two.svg", "two.png"]] == drawn
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"A peer  6\xc3\x97" in (tmp_path / "one.svg").read_bytes()
