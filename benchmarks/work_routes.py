"""Measures what a routed request costs: the decision, the posterior, a run of its own, the evaluation of many."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio
import numpy as np
from measure import Case, Sample, Section, measure

from quiesce.engine import Engine, suggestor
from quiesce.facts import Context, Fact, FactLog
from quiesce.suggestors.routing.decided import LoggedDecision
from quiesce.suggestors.routing.evaluate import evaluate, uniform
from quiesce.suggestors.routing.forgetting import Forgetting
from quiesce.suggestors.routing.learning import OutcomeLearning
from quiesce.suggestors.routing.names import posterior_id
from quiesce.suggestors.routing.payloads import Outcome, Posterior, RouteDecision, RouteRequest
from quiesce.suggestors.routing.posterior import fold
from quiesce.suggestors.routing.router import ThompsonRouter

REQUESTS, ARMS = 500, 10
NAMES = tuple(f"p{n}" for n in range(ARMS))


@suggestor
def call(decision: Fact[RouteDecision]) -> Outcome:
    """Answers at once, so that only the routing is measured."""
    return Outcome(request_id=decision.id, provider=decision.payload.provider, success=True, cost=0.01)


def known_of(name: str, place: int) -> Posterior:
    """Returns a posterior that differs from place to place, in cost too."""
    return Posterior(provider=name, successes=50.0 + place, failures=50.0, observations=100, cost=place / 9)


def deciding(known: int, tags: tuple[str, ...] = (), price: float = 0.0) -> Sample:
    """Returns a sample of microseconds for a request among many of one run, beside so many that were decided before."""
    router = ThompsonRouter(price=price)

    async def sample() -> float:
        context = Context()
        for place, name in enumerate(NAMES):
            for tag in (None, *tags):
                value = Posterior(
                    provider=name, successes=50.0 + place, failures=50.0, observations=100, cost=place / 9
                )
                context.add(value, id=posterior_id(name, tag))
        for n in range(known):
            context.add(RouteRequest(providers=NAMES, tags=tags), id=f"before-{n}")
        engine = Engine([router])
        if known:
            context = (await engine.run(context)).context
        for n in range(REQUESTS):
            context.add(RouteRequest(providers=NAMES, tags=tags), id=f"r{n}")
        start = perf_counter()
        result = await engine.run(context)
        taken = perf_counter() - start
        if len(result.context.of(RouteDecision)) != known + REQUESTS:
            raise AssertionError("a request was not decided")
        return taken / REQUESTS * 1e6

    return sample


def folding(forgetting: Forgetting) -> Sample:
    """Returns a sample of microseconds for one outcome in a posterior, without an engine."""
    said = [Outcome(request_id="r", provider="a", reward=n % 7 / 7, at=float(n)) for n in range(2_000)]

    async def sample() -> float:
        value: Posterior | None = None
        start = perf_counter()
        for outcome in said:
            value = fold(value, outcome, forgetting)
        return (perf_counter() - start) / len(said) * 1e6

    return sample


async def looping() -> float:
    """Returns the milliseconds of a request that is a run of its own, on SQLite, learned values read and written."""
    router, learning = ThompsonRouter(), OutcomeLearning()
    engine = Engine([router, call, learning])
    with (
        TemporaryDirectory() as folder,
        FactLog.open(Path(folder) / "log.db", projections=[*learning.projections, *router.projections]) as log,
    ):
        start = perf_counter()
        for n in range(100):
            context = log.context()
            context.add(RouteRequest(providers=NAMES), id=f"r{n}")
            await engine.run(context, log=log)
        return (perf_counter() - start) / 100 * 1e3


def evaluating(count: int) -> Sample:
    """Returns a sample of milliseconds for the three estimates over so many decisions."""
    rng = np.random.default_rng(1)
    shares = tuple(float(one) for one in rng.dirichlet(np.ones(ARMS) * 5))
    known = [
        LoggedDecision(
            str(n),
            RouteDecision(
                provider=NAMES[arm], alpha=1, beta=1, sample=0.5, exploit=True, propensity=shares[arm], eligible=NAMES,
                propensities=shares, policy="thompson",
            ),
            float(rng.random()),
        )
        for n, arm in enumerate(rng.choice(ARMS, count, p=shares))
    ]  # fmt: skip

    async def sample() -> float:
        start = perf_counter()
        evaluate(known, uniform)
        return (perf_counter() - start) * 1e3

    return sample


def routes() -> list[Section]:
    """What routing costs."""
    return [
        Section(
            f"A decision among {ARMS} candidates, with all propensities",
            f"one of {REQUESTS} requests of a run, everything the engine does counted in",
            [
                Case("nothing decided before", deciding(0), "µs"),
                Case("5,000 decided before", deciding(5_000), "µs"),
                Case("with a tag", deciding(0, ("x",)), "µs"),
                Case("with a price", deciding(0, price=0.5), "µs"),
            ],
        ),
        Section(
            "An outcome in a posterior",
            "the fold alone",
            [
                Case("none", folding(Forgetting()), "µs"),
                Case("discount", folding(Forgetting("discount")), "µs"),
                Case("window of 200", folding(Forgetting("window")), "µs"),
            ],
        ),
        Section(
            "A run for each request", "SQLite, decision, outcome, learning", [Case("request to posterior", looping)]
        ),
        Section("Evaluation", "three estimates", [Case("10,000 decisions", evaluating(10_000))]),
    ]


async def main() -> None:
    """Prints the tables."""
    for section in routes():
        print(f"{section.title}\n  {section.note}")
        for row in await measure(section, 5):
            print(f"  {row.case.name:28} {row.median or 0:8.3g} {row.case.unit}")


if __name__ == "__main__":
    anyio.run(main)
