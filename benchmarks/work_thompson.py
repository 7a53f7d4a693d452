"""Measures Thompson sampling, what it learns, propensities and state files, beside numpy, MABWiser and Vowpal Wabbit.

`python benchmarks/work_thompson.py` prints the tables by themselves; it says which peers are not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import anyio
import numpy as np
from measure import Case, Sample, Section, Target, measure

from quiesce.suggestors.routing import propensity
from quiesce.suggestors.routing.linear_arm import LinearArm
from quiesce.suggestors.routing.linucb import LinUCB
from quiesce.suggestors.routing.propensity import propensities
from quiesce.suggestors.routing.thompson import ThompsonState

ARMS = [f"provider-{place}" for place in range(10)]
MANY = 100_000
PARAMETERS = [(1.0 + 2 * place, 20.0 - place) for place in range(10)]


def learned() -> ThompsonState:
    """Returns a state that knows ten providers."""
    state = ThompsonState()
    for name, (alpha, beta) in zip(ARMS, PARAMETERS, strict=True):
        for _ in range(int(alpha) - 1):
            state.update(name, success=True)
        for _ in range(int(beta) - 1):
            state.update(name, success=False)
    return state


def each(work: Callable[[], object], times: int = 5_000) -> Sample:
    """Returns a sample in microseconds of one call: the mean of the fastest of fifty bursts.

    A burst is short enough to be left alone now and then by whoever shares the machine.
    """

    async def sample() -> float:
        burst, fastest = max(1, times // 50), inf
        for _ in range(50):
            start = perf_counter()
            for _ in range(burst):
                work()
            fastest = min(fastest, perf_counter() - start)
        return fastest / burst * 1e6

    return sample


def once(work: Callable[[], object]) -> Sample:
    """Returns a sample in milliseconds: the faster of two calls."""

    async def sample() -> float:
        took = []
        for _ in range(2):
            start = perf_counter()
            work()
            took.append(perf_counter() - start)
        return min(took) * 1e3

    return sample


def mabwiser() -> Any:
    """Returns MABWiser's Thompson sampling with ten arms, trained on a hundred outcomes; None if it is not there."""
    if find_spec("mabwiser") is None:
        return None
    peer = import_module("mabwiser.mab")
    mab = peer.MAB(ARMS, peer.LearningPolicy.ThompsonSampling(), seed=1)
    rng = np.random.default_rng(1)
    mab.fit(rng.choice(ARMS, 100).tolist(), rng.integers(0, 2, 100).tolist())
    return mab


def mabwiser_linear(dim: int) -> Any:
    """Returns MABWiser's LinUCB, trained as far; None if it is not there."""
    if find_spec("mabwiser") is None:
        return None
    peer = import_module("mabwiser.mab")
    mab = peer.MAB(ARMS, peer.LearningPolicy.LinUCB(alpha=1.0), seed=1)
    rng = np.random.default_rng(1)
    mab.fit(rng.choice(ARMS, 200).tolist(), rng.integers(0, 2, 200).tolist(), rng.standard_normal((200, dim)))
    return mab


def selections() -> Section:
    """One selection among ten providers, one outcome."""
    state, rng, bare, peer = learned(), np.random.default_rng(1), np.random.default_rng(1), mabwiser()
    alpha, beta = np.array(PARAMETERS).T.copy()
    turns, names = count(), ARMS

    def choose_and_learn() -> None:
        chosen = state.select(names, rng)
        if chosen is not None:
            state.update(chosen.provider, next(turns) % 2 == 0)

    overrides = {names[3]: (4.0, 2.0), names[7]: (1.0, 9.0)}
    cases = [
        Case("numpy's beta variates alone", each(lambda: bare.beta(alpha, beta)), "µs", kind="floor"),
        Case("one selection", each(lambda: state.select(names, rng)), "µs", Target(12)),
        Case("one selection and its outcome", each(choose_and_learn), "µs"),
        Case("one selection, two with other parameters",
             each(lambda: state.select_with_priors(names, overrides, rng)), "µs"),
        Case("MABWiser, one selection", each(peer.predict, 1_000) if peer else None, "µs", kind="peer"),
        Case("one outcome", each(lambda: state.update("provider-3", True)), "µs", Target(2)),
        Case("one reward", each(lambda: state.update("provider-3", reward=0.25)), "µs", Target(2)),
        Case("MABWiser, one outcome", each(lambda: peer.partial_fit(["provider-3"], [1]), 500) if peer else None, "µs",
             kind="peer", against="one outcome"),
    ]  # fmt: skip
    return Section("Thompson sampling among ten providers", "ratios to numpy's ten variates, in one call", cases)


def bulk() -> Section:
    """A hundred thousand selections at once."""
    state, rng, bare = learned(), np.random.default_rng(1), np.random.default_rng(1)
    alpha, beta = np.array(PARAMETERS).T.copy()
    cases = [
        Case("numpy's beta variates alone", once(lambda: bare.beta(alpha, beta, size=(MANY, 10))), kind="floor"),
        Case("select_many", once(lambda: state.select_many(MANY, ARMS, rng)), target=Target(1.3, on="ratio")),
    ]
    return Section(f"{MANY:,} selections among ten providers in one call", "ratios to the variates", cases)


def chances() -> Section:
    """Propensities, of parameters that were never asked for."""
    rng = np.random.default_rng(2)

    def fresh(size: int) -> Callable[[], object]:
        asked = [[(float(a), float(b)) for a, b in rng.integers(1, 60, (size, 2))] for _ in range(400)]
        turn = count()

        def ask() -> object:
            params = asked[next(turn) % len(asked)]
            propensity._remembered.cache_clear()
            propensity._asked.cache_clear()
            return propensities(params)

        return ask

    cases = [
        Case("2 candidates", each(fresh(2), 400), "µs"),
        Case("10 candidates", each(fresh(10), 400), "µs", Target(150, kind="at most")),
        Case("100 candidates", each(fresh(100), 100), "µs"),
        Case("10 candidates, asked again", each(lambda: propensities(PARAMETERS)), "µs"),
    ]
    return Section("Propensities", "the probability of each candidate to win; parameters from 1 to 60", cases)


def contextual() -> Section:
    """LinUCB with 32 features."""
    dim = 32
    rng, peer = np.random.default_rng(3), mabwiser_linear(dim)
    state, arm = LinUCB(dim, warmup=0), LinearArm(dim)
    requests = rng.standard_normal((500, dim))
    for turn, x in enumerate(requests):
        state.update(ARMS[turn % 10], x, success=turn % 3 == 0)
        arm.update(x, 1.0)
    turns = count()

    def request() -> Any:
        return requests[next(turns) % len(requests)]

    cases = [
        Case("one selection", each(lambda: state.select(ARMS, request(), rng), 500), "µs"),
        Case("MABWiser's LinUCB, one selection",
             each(lambda: peer.predict([request()]), 200) if peer else None, "µs", kind="peer"),
        Case("one outcome", each(lambda: state.update("provider-3", request(), success=True), 500), "µs"),
        Case("MABWiser's LinUCB, one outcome",
             each(lambda: peer.partial_fit(["provider-3"], [1], [request()]), 200) if peer else None, "µs",
             kind="peer", against="one outcome"),
        Case("inverting one matrix instead of a rank-one update", each(arm.invert, 500), "µs", kind="floor",
             against="one outcome"),
    ]  # fmt: skip
    vowpal = vowpal_wabbit(dim)
    if vowpal is not None:
        cases.append(Case("Vowpal Wabbit, one prediction (its own exploration)", each(vowpal, 200), "µs", kind="peer"))
    return Section(f"LinUCB among ten providers, {dim} features", "one request at a time", cases)


def vowpal_wabbit(dim: int) -> Callable[[], object] | None:
    """Returns a prediction of Vowpal Wabbit's contextual bandit; None if it is not there."""
    if find_spec("vowpalwabbit") is None:
        return None
    workspace = import_module("vowpalwabbit").Workspace("--cb_explore_adf --quiet --squarecb")
    x = np.random.default_rng(4).standard_normal(dim)
    shared = "shared |x " + " ".join(f"f{place}:{value:.4f}" for place, value in enumerate(x))
    lines = [shared, *(f"|a {name}" for name in ARMS)]
    return lambda: workspace.predict(lines)


def files(folder: Path) -> Section:
    """Saves and loads."""
    small, large = learned(), ThompsonState()
    for place in range(1_000):
        large.update(f"provider-{place}", success=True)
    raw = folder / "raw"

    def write() -> None:
        file = os.open(raw, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(file, b"x" * 600)
        os.fsync(file)
        os.close(file)

    cases = [
        Case("writing and syncing 600 bytes, bare", once(write), kind="floor"),
        Case("a save of 10 providers", once(lambda: small.save(folder / "small.json"))),
        Case("a save of 1,000 providers", once(lambda: large.save(folder / "large.json"))),
        Case("a load of 10 providers", once(lambda: ThompsonState.load(folder / "small.json"))),
        Case("a load of 1,000 providers", once(lambda: ThompsonState.load(folder / "large.json"))),
    ]
    return Section("State files", "a save locks, reads, merges, writes, syncs file and folder, and renames", cases)


async def main() -> None:
    """Prints all tables."""
    with TemporaryDirectory(prefix="quiesce-bench-") as name:
        for section in (selections(), bulk(), chances(), contextual(), files(Path(name))):
            print(f"{section.title}\n  {section.note}")
            for row in await measure(section, 7):
                if row.median is None:
                    print(f"  {row.case.name:52} {row.case.missing}")
                    continue
                ratio = "" if row.ratio is None else f"{row.ratio:8.3g} ×"
                spread = f"{min(row.samples):.3g}–{max(row.samples):.3g}"
                met = {True: "met", False: "MISSED", None: ""}[row.is_met]
                print(f"  {row.case.name:52} {row.median:8.3g} {row.case.unit} {spread:>16} {ratio:10} {met}")
            print()


if __name__ == "__main__":
    anyio.run(main)
