"""Measures the selection of backends: matchings beside networkx and scipy, and requests that are answered in a run.

`python benchmarks/work_selection.py` prints both tables by themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import perf_counter

import anyio
from measure import Case, Sample, Section, Target, measure

from quiesce.engine import Budget, Engine
from quiesce.facts import Context
from quiesce.suggestors.selection.assign import answer, assign
from quiesce.suggestors.selection.payloads import Backend, ProviderAssignment, ProviderRequest
from quiesce.suggestors.selection.policy import Policy
from quiesce.suggestors.selection.pool import Pool
from quiesce.suggestors.selection.select import ProviderSelection

SIZES = (10, 100, 1_000, 5_000)
"""Slots of a request, and as many backends; each slot can be filled by five."""
REQUESTS = (300, 1_000, 3_000)
"""Requests of one run, each for three slots among ten backends."""
RUST = {1_000: 24.7, 3_000: 70.9}
"""Milliseconds that the Rust engine Converge 3.9.3 takes for as many, as quoted; it was not measured here."""

Pairs = list[tuple[str, str]]


def graph(size: int, degree: int = 5) -> tuple[ProviderRequest, list[Backend]]:
    """Returns a request for so many capabilities, each of which five of as many backends have, drawn at random."""
    chance = random.Random(size)
    has: list[set[str]] = [set() for _ in range(size)]
    for slot in range(size):
        for place in chance.sample(range(size), degree):
            has[place].add(f"c{slot}")
    backends = [Backend(name=f"b{at}", kind="llm", capabilities=frozenset(some)) for at, some in enumerate(has)]
    return ProviderRequest(required_capabilities=tuple(f"c{slot}" for slot in range(size))), backends


def by_scipy(request: ProviderRequest, backends: list[Backend]) -> Pairs:
    """Returns the pairs of a maximum matching, without a word on what is open."""
    import numpy
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    wanted = request.required_capabilities
    place = {capability: at for at, capability in enumerate(wanted)}
    slots, columns = [], []
    for at, backend in enumerate(backends):
        for capability in backend.capabilities:
            slots.append(place[capability])
            columns.append(at)
    ones = numpy.ones(len(slots), numpy.int8)
    table = csr_array((ones, (slots, columns)), shape=(len(wanted), len(backends)))
    found = maximum_bipartite_matching(table, perm_type="column").tolist()
    return [(wanted[slot], backends[at].name) for slot, at in enumerate(found) if at >= 0]


def by_networkx(request: ProviderRequest, backends: list[Backend]) -> Pairs:
    """Returns the same by networkx."""
    import networkx

    drawn: networkx.Graph[tuple[str, str]] = networkx.Graph()
    for backend in backends:
        drawn.add_edges_from((("slot", one), ("backend", backend.name)) for one in backend.capabilities)
    top = [("slot", one) for one in request.required_capabilities]
    found = networkx.bipartite.hopcroft_karp_matching(drawn, top)
    return [(one, found["slot", one][1]) for one in request.required_capabilities if ("slot", one) in found]


def _pairs(found: ProviderAssignment) -> Pairs:
    return list(found.assignments)


def _sample(work: Callable[[], Pairs], size: int, filled: int) -> Sample:
    """Returns a sample in milliseconds: the mean of as many calls as take long enough to be told."""
    times = max(1, 1_000 // size)

    async def sample() -> float:
        start = perf_counter()
        found = work()
        for _ in range(times - 1):
            found = work()
        took = perf_counter() - start
        if len(found) != filled:
            raise AssertionError(f"{len(found)} slots were filled, not {filled}")
        return took / times * 1_000

    return sample


def matching() -> Section:
    """Maximum matchings: from a request and backends to pairs."""
    cases = []
    for size in SIZES:
        request, backends = graph(size)
        pool, filled = Pool(backends), len(by_scipy(request, backends))
        works: list[tuple[str, Callable[[], Pairs], Target | None, str]] = [
            ("Quiesce, with who was left out and why", _whole(request, backends), None, "ours"),
            ("Quiesce, the pool made before", _behind(request, pool), _held(size), "ours"),
            ("Quiesce, the cheapest by a policy", _whole(request, backends, Policy()), None, "ours"),
            ("scipy, from the same request and backends to pairs", _by(by_scipy, request, backends), None, "peer"),
            ("networkx, the same", _by(by_networkx, request, backends), None, "peer"),
        ]
        for name, work, target, kind in works:
            sample = _sample(work, size, filled)
            cases.append(Case(name, sample, "ms", target, size=size, kind="ours" if kind == "ours" else "peer"))
    return Section(
        "Matching of slots and backends, five edges a slot",
        "from a request and backends as payloads to pairs; ours is an assignment, by the earlier or cheaper backends "
        "where there is a choice, and says why what is open is",
        cases,
        of="slots",
    )


def _held(size: int) -> Target | None:
    return Target(5.0) if size == 1_000 else None


def _whole(request: ProviderRequest, backends: list[Backend], policy: Policy | None = None) -> Callable[[], Pairs]:
    return lambda: _pairs(assign("r", request, backends, policy))


def _behind(request: ProviderRequest, pool: Pool) -> Callable[[], Pairs]:
    return lambda: _pairs(answer(request, pool))


def _by(
    peer: Callable[[ProviderRequest, list[Backend]], Pairs], request: ProviderRequest, backends: list[Backend]
) -> Callable[[], Pairs]:
    return lambda: peer(request, backends)


# --- requests in a run --------------------------------------------------------------------------------------------

NAMES = ("text_generation", "reasoning", "code", "vision", "tool_use", "embedding")


def selections() -> Section:
    """Requests of three slots among ten backends: one by itself, and thousands in a run."""
    chance = random.Random(1)
    pool = [
        Backend(name=f"b{at}", kind="llm", capabilities=frozenset(chance.sample(NAMES, 3)), cost_class="low")
        for at in range(10)
    ]
    asked = [tuple(chance.sample(NAMES, 3)) for _ in range(REQUESTS[-1])]
    one = ProviderRequest(required_capabilities=asked[0])
    cases = [
        Case("assign, one request", _micro(lambda: assign("r", one, pool)), "µs", Target(100)),
        Case("assign, one request, a policy", _micro(lambda: assign("r", one, pool, Policy())), "µs", Target(100)),
    ]
    for count in REQUESTS:
        limit = Target(RUST[count]) if count in RUST else None
        cases += [
            Case("a run that answers them", _run(_context(pool, asked[:count]), count), "ms", limit, size=count),
            Case("adding them, then the run", _add_and_run(pool, asked[:count]), "ms", limit, size=count),
        ]
        if count in RUST:
            cases.append(Case("Converge 3.9.3 (Rust), as quoted", None, "ms", quoted=RUST[count], size=count))
    return Section(
        "Provider selection, three slots among ten backends",
        "a new engine for each run, memory log on; requests of three capabilities out of six, drawn at random",
        cases,
        of="requests",
    )


def _context(pool: list[Backend], asked: list[tuple[str, ...]]) -> Context:
    context = Context()
    for one in pool:
        context.add(one, id=one.name)
    for at, capabilities in enumerate(asked):
        context.add(ProviderRequest(required_capabilities=capabilities), id=f"r{at}")
    return context


def _run(context: Context, count: int) -> Sample:
    async def sample() -> float:
        start = perf_counter()
        result = await Engine([ProviderSelection()]).run(context, budget=Budget(facts=None))
        took = perf_counter() - start
        if len(result.context.of(ProviderAssignment)) != count:
            raise AssertionError(f"{len(result.context.of(ProviderAssignment))} answers to {count} requests")
        return took * 1_000

    return sample


def _add_and_run(pool: list[Backend], asked: list[tuple[str, ...]]) -> Sample:
    async def sample() -> float:
        start = perf_counter()
        context = _context(pool, asked)
        added = (perf_counter() - start) * 1_000
        return added + await _run(context, len(asked))()

    return sample


def _micro(work: Callable[[], object]) -> Sample:
    async def sample() -> float:
        start = perf_counter()
        for _ in range(1_000):
            work()
        return (perf_counter() - start) * 1_000

    return sample


async def main() -> None:
    """Prints both tables."""
    for section in (matching(), selections()):
        print(f"{section.title}\n  {section.note}")
        for row in await measure(section, 7):
            shown = "–" if row.median is None else f"{row.median:,.3g}"
            spread = f"{min(row.samples):.3g}–{max(row.samples):.3g}" if row.samples else "quoted"
            print(f"  {row.case.name:52} {row.case.size or '':>6} {shown:>8} {row.case.unit}  {spread}")


if __name__ == "__main__":
    anyio.run(main)
