"""What other processes do in the tests of ledgers: `python -m support.ledger_worker <url> <name> <runs> <knows>`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from quiesce.facts import Context, Fact, FactLog, Payload, RunId, projection
from quiesce.facts.event import CycleCommitted, RunStopped
from support.at_once import run_at_once
from support.payloads import STOPPED, started


class Done(Payload, key="signals", family="ledger-worker-done"):
    who: str
    n: int


class Sum(Payload, key="signals", family="ledger-worker-sum"):
    n: int


class Order(Payload, key="signals", family="ledger-worker-order"):
    """A digest of who came after whom."""

    text: str


@projection(reads=[Done], by=lambda fact: ["all", fact.payload.who], name="sums")
def sums(before: Sum | None, fact: Fact[Done]) -> Sum:
    return Sum(n=(before.n if before else 0) + fact.payload.n)


@projection(reads=[Done], by=lambda fact: "all", name="order")
def order(before: Order | None, fact: Fact[Done]) -> Order:
    text = before.text if before else ""
    return Order(text=f"{hash_of(text)}{fact.payload.who}{fact.payload.n}")


def hash_of(text: str) -> int:
    """Returns a number that depends on every character and on their order, the same in every process."""
    value = 0
    for character in text:
        value = (value * 31 + ord(character)) % 1_000_003
    return value


BOTH = (sums, order)


def work(log: FactLog, name: str, runs: int) -> None:
    """Writes runs, each of two cycles with a fact each."""
    for number in range(runs):
        facts: list[Fact[Any]] = [Context().add(Done(who=name, n=n), id=f"{name}-{number}-{n}") for n in (1, 2)]
        run = RunId(f"{name}-{number}")
        log.claim(run)
        log.append(run, [started(), CycleCommitted(0, (), facts[:1])])
        log.append(run, [CycleCommitted(1, (), facts[1:]), RunStopped(STOPPED, 2)])


def count_in_processes(url: str, runs: int) -> tuple[dict[str, int], list[bool]]:
    """Lets four processes that know the projections, and one that does not, write as fast as they can.

    Returns what was counted, and whether each projection is what a fold from scratch gives.
    """
    words = [sys.executable, "-m", "support.ledger_worker", url]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    codes = run_at_once(
        [[*words, name, str(runs), "knows" if name != "e" else "does not"] for name in "abcde"], environment
    )

    assert [0] * 5 == codes
    with FactLog.open(url, projections=BOTH) as log:
        counts = {id: value.n for id, value in log.values(sums).items()}
        return counts, [check.ok for check in log.check_projections()]


if __name__ == "__main__":
    url, name, runs, knows = sys.argv[1:]
    with FactLog.open(url, projections=BOTH if knows == "knows" else ()) as log:
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        work(log, name, int(runs))
