"""Maps facts, takes closures and adds to a million facts with rule engines: CLIPS, experta, durable_rules, egglog."""

from __future__ import annotations

import collections
import collections.abc
import gc
from importlib import import_module
from itertools import count
from time import perf_counter
from typing import Any

import shape
from measure import Sample, Target
from peer import Peer, check

HUNDRED = Target(100, on="ratio", kind="at least")


# --- CLIPS -----------------------------------------------------------------------------------------------------------


def _clips_map(seeds: int) -> Sample:
    rules = """
    (deftemplate seed (slot n))
    (deftemplate mapped (slot n))
    (defrule map (seed (n ?n)) => (assert (mapped (n ?n))))
    """
    return _clips(rules, "seed", [{"n": n} for n in range(seeds)], seeds)


def _clips_closure(edges: int) -> Sample:
    rules = """
    (deftemplate edge (slot a) (slot b))
    (deftemplate path (slot a) (slot b))
    (defrule first (edge (a ?a) (b ?b)) => (assert (path (a ?a) (b ?b))))
    (defrule further (path (a ?a) (b ?b)) (edge (a ?b) (b ?c)) => (assert (path (a ?a) (b ?c))))
    """
    return _clips(rules, "edge", [{"a": a, "b": a + 1} for a in range(edges)], edges * (edges + 1) // 2)


def _clips_environment(rules: str) -> Any:
    environment = import_module("clips").Environment()
    for construct in rules.strip().splitlines():
        environment.build(construct.strip())
    return environment


def _clips(rules: str, template: str, inputs: list[dict[str, int]], fired: int) -> Sample:
    """CLIPS matches while facts are asserted, so asserting them belongs to the time."""
    environment = _clips_environment(rules)
    known = environment.find_template(template)

    async def sample() -> float:
        environment.reset()
        start = perf_counter()
        for values in inputs:
            known.assert_fact(**values)
        check(environment.run() == fired)
        return (perf_counter() - start) * 1_000

    return sample


def _clips_known(known: int) -> Sample:
    """Counts from tick to tick beside so many facts, which another rule looks at one by one, as a suggestor may."""
    environment = _clips_environment(
        "(deftemplate known (slot n))\n(deftemplate tick (slot n) (slot last))\n"
        "(defrule next (tick (n ?n) (last ?last)) (test (< ?n ?last)) => (assert (tick (n (+ ?n 1)) (last ?last))))"
    )
    template, ticks = environment.find_template("known"), environment.find_template("tick")
    for n in range(known):
        template.assert_fact(n=n)
    runs = count()

    async def sample() -> float:
        first = next(runs) * 10 * shape.CYCLES
        start = perf_counter()
        ticks.assert_fact(n=first, last=first + shape.CYCLES)
        check(environment.run() == shape.CYCLES)
        return (perf_counter() - start) / shape.CYCLES * 1e6

    return sample


# --- experta ---------------------------------------------------------------------------------------------------------


def _experta() -> Any:
    """Returns experta, whose frozendict 1.2 looks for names in `collections` that Python 3.10 took away.

    `make bench` installs both without their pins (pip install --no-deps experta frozendict==1.2 schema); the names
    are given back in this process only.
    """
    for name in ("Mapping", "MutableMapping", "Sequence", "Iterable", "Callable", "Hashable"):
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    return import_module("experta")


def _experta_map(seeds: int) -> Sample:
    experta = _experta()
    seed, mapped = (type(name, (experta.Fact,), {}) for name in ("Seed", "Mapped"))

    def each(self: Any, n: int) -> None:
        self.declare(mapped(n=n))

    rules = type("Rules", (experta.KnowledgeEngine,), {"each": experta.Rule(seed(n=experta.MATCH.n))(each)})
    return _run_experta(rules, [seed(n=n) for n in range(seeds)], 2 * seeds)


def _experta_closure(edges: int) -> Sample:
    experta = _experta()
    edge, path = (type(name, (experta.Fact,), {}) for name in ("Edge", "Path"))
    match = experta.MATCH

    def first(self: Any, a: int, b: int) -> None:
        self.declare(path(a=a, b=b))

    def further(self: Any, a: int, c: int) -> None:
        self.declare(path(a=a, b=c))

    rules = {
        "first": experta.Rule(edge(a=match.a, b=match.b))(first),
        "further": experta.Rule(path(a=match.a, b=match.b), edge(a=match.b, b=match.c))(further),
    }
    inputs = [edge(a=a, b=a + 1) for a in range(edges)]
    return _run_experta(type("Rules", (experta.KnowledgeEngine,), rules), inputs, edges + edges * (edges + 1) // 2)


def _run_experta(rules: Any, inputs: list[Any], facts: int) -> Sample:
    async def sample() -> float:
        engine = rules()
        engine.reset()
        start = perf_counter()
        for fact in inputs:
            engine.declare(fact.copy())
        engine.run()
        took = perf_counter() - start
        check(len(engine.facts) == facts + 1)  # its InitialFact
        del engine
        gc.collect()  # what it leaves is in circles, and belongs to no later sample
        return took * 1_000

    return sample


# --- durable_rules ---------------------------------------------------------------------------------------------------


def _durable_rules_map(seeds: int) -> Sample:
    lang = import_module("durable.lang")
    name = f"map-{seeds}"
    with lang.ruleset(name):

        @lang.when_all(+lang.m.seed)  # type: ignore[untyped-decorator]  # of a module imported by name
        def each(c: Any) -> None:
            c.assert_fact({"mapped": c.m.seed})

        # A fact that no rule asks for is not kept, so one asks for it and does nothing.
        @lang.when_all(+lang.m.mapped)  # type: ignore[untyped-decorator]  # the same
        def keep(c: Any) -> None: ...

    return _run_durable_rules(lang, name, [{"seed": n} for n in range(seeds)], 2 * seeds)


def _durable_rules_closure(edges: int) -> Sample:
    lang = import_module("durable.lang")
    name, m = f"closure-{edges}", lang.m
    with lang.ruleset(name):

        @lang.when_all(m.kind == "edge")  # type: ignore[untyped-decorator]  # of a module imported by name
        def first(c: Any) -> None:
            c.assert_fact({"kind": "path", "a": c.m.a, "b": c.m.b})

        @lang.when_all(  # type: ignore[untyped-decorator]  # the same
            lang.c.path << (m.kind == "path"), lang.c.edge << (m.kind == "edge") & (m.a == lang.c.path.b)
        )
        def further(c: Any) -> None:
            c.assert_fact({"kind": "path", "a": c.path.a, "b": c.edge.b})

    inputs = [{"kind": "edge", "a": a, "b": a + 1} for a in range(edges)]
    return _run_durable_rules(lang, name, inputs, edges + edges * (edges + 1) // 2)


def _run_durable_rules(lang: Any, name: str, inputs: list[dict[str, Any]], facts: int) -> Sample:
    """Each sample is a session of its own: facts of one do not match those of another."""
    sessions = count()

    async def sample() -> float:
        sid = f"s{next(sessions)}"
        start = perf_counter()
        for fact in inputs:
            lang.assert_fact(name, fact | {"sid": sid})
        took = perf_counter() - start
        check(len(lang.get_facts(name, sid)) == facts)
        lang.delete_state(name, sid)
        return took * 1_000

    return sample


# --- egglog ----------------------------------------------------------------------------------------------------------


def _egglog_map(seeds: int) -> Sample:
    egglog = import_module("egglog")
    seed, mapped, n = egglog.relation("seed", egglog.i64), egglog.relation("mapped", egglog.i64), _egglog_var("n")
    inputs = [seed(egglog.i64(at)) for at in range(seeds)]
    return _run_egglog([egglog.rule(seed(n)).then(mapped(n))], inputs, mapped, seeds)


def _egglog_closure(edges: int) -> Sample:
    egglog = import_module("egglog")
    edge, path = (egglog.relation(name, egglog.i64, egglog.i64) for name in ("edge", "path"))
    a, b, c = (_egglog_var(name) for name in "abc")
    rules = [egglog.rule(edge(a, b)).then(path(a, b)), egglog.rule(path(a, b), edge(b, c)).then(path(a, c))]
    inputs = [edge(egglog.i64(at), egglog.i64(at + 1)) for at in range(edges)]
    return _run_egglog(rules, inputs, path, edges * (edges + 1) // 2)


def _egglog_var(name: str) -> Any:
    egglog = import_module("egglog")
    return egglog.var(name, egglog.i64)


def _run_egglog(rules: list[Any], inputs: list[Any], relation: Any, found: int) -> Sample:
    egglog = import_module("egglog")

    async def sample() -> float:
        graph = egglog.EGraph()
        graph.register(*rules)
        start = perf_counter()
        graph.register(*inputs)
        graph.run(egglog.run().saturate())
        took = perf_counter() - start
        check(graph.function_size(relation) == found)
        return took * 1_000

    return sample


MAP = {
    "CLIPS (C)": Peer(_clips_map, Target(1 / 1.5, on="ratio", kind="at least"), "Quiesce, inputs added in the time"),
    "experta": Peer(_experta_map, HUNDRED, "Quiesce, inputs added in the time", quick_up_to=1_000),
    "durable_rules": Peer(_durable_rules_map, None, "Quiesce, inputs added in the time", quick_up_to=1_000),
    "egglog": Peer(_egglog_map, None, "Quiesce, inputs added in the time", quick_up_to=1_000),
}
CLOSURE = {
    "CLIPS (C)": Peer(_clips_closure, Target(1 / 6, on="ratio", kind="at least")),
    "experta": Peer(_experta_closure, HUNDRED, quick_up_to=50),
    "durable_rules": Peer(_durable_rules_closure, quick_up_to=50),
    "egglog": Peer(_egglog_closure),
}
KNOWN = {"CLIPS (C)": Peer(_clips_known, unit="µs")}
