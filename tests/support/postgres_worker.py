"""Settles runs into a log while its server is restarted: `python -m support.postgres_worker <url> <sync> <from> <to>`.

Says on standard output, as one line of JSON, which errors it met on the way.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from quiesce.engine import Engine, suggestor
from quiesce.facts import Context, Fact, FactLog, Payload, RunId, StoreError, View
from quiesce.facts.stores.postgres_link import ServerError


class Seed(Payload, key="seeds", family="pg-chaos-seed"):
    n: int


class Step(Payload, key="hypotheses", family="pg-chaos-step"):
    n: int
    depth: int


class Sum(Payload, key="evaluations", family="pg-chaos-sum"):
    total: int

    def join(self, other: Sum) -> Sum:
        return Sum(total=max(self.total, other.total))


@suggestor
def begin(seed: Fact[Seed]) -> Step:
    return Step(n=seed.payload.n, depth=0)


@suggestor(reads=[Step], writes=[Step, Sum])
def go_on(view: View) -> Iterator[Payload]:
    for step in view.new(Step):
        n, depth = step.payload.n, step.payload.depth
        if depth < 3 + n % 5:
            yield Step(n=n * 7 % 101, depth=depth + 1)
        yield Sum(total=n)


ENGINE = Engine([begin, go_on])


def settle(log: FactLog, number: int) -> None:
    """Settles one run: always the same for the same number."""
    context = Context()
    for n in range(number % 3 + 1):
        context.add(Seed(n=number + n), id=str(n))
    ENGINE.run_sync(context, log=log, run_id=name_of(number), seed=number, started=datetime(2026, 1, 1, tzinfo=UTC))


def name_of(number: int) -> RunId:
    """Returns the id of a run."""
    return RunId(f"run {number}")


def finish(log: FactLog, number: int, errors: Counter[str]) -> None:
    """Settles one run, however often the log fails on the way."""
    run = name_of(number)
    while True:
        try:
            if run not in log:
                settle(log, number)
            elif log.stopped(run) is None:
                ENGINE.recover_sync(log, [run])
            if log.stopped(run) is not None:
                return
        except StoreError as error:
            cause: BaseException | None = error
            while cause is not None:
                errors[type(cause).__name__] += 1
                cause = cause.__cause__


def open_log(url: str, sync: str) -> FactLog:
    """Opens the log, however often its server is away just then."""
    while True:
        try:
            return FactLog.open(url, sync="full" if sync == "full" else "normal", lease=5)
        except ServerError:
            continue


def main() -> None:
    """Settles the runs that are asked for."""
    url, sync, first, end = sys.argv[1:]
    errors: Counter[str] = Counter()
    with open_log(url, sync) as log:
        for number in range(int(first), int(end)):
            finish(log, number, errors)
        for number in range(int(first), int(end)):  # a server that crashed may have lost the last ones
            finish(log, number, errors)
    sys.stdout.write(json.dumps(errors) + "\n")


if __name__ == "__main__":
    main()
