"""What other processes do in the test of quarantines: `python quarantine_worker.py <url> <name> <runs>`."""

from __future__ import annotations

import sys

from quiesce.engine import Engine
from quiesce.facts import FactLog
from quiesce.suggestors.selection.known import known_quarantines
from quiesce.suggestors.selection.payloads import Quarantine
from quiesce.suggestors.selection.select import ProviderSelection


def work(log: FactLog, name: str, runs: int) -> None:
    """Says in each run something about a quarantine that all processes know, and about one of its own."""
    engine = Engine([ProviderSelection()])
    for number in range(1, runs + 1):
        context = log.context()
        lifted = name if number % 2 else ""
        context.add(Quarantine(backend="shared", reason=name, number=number, lifted=lifted), id="shared")
        context.add(Quarantine(backend=name, reason=f"run {number}", number=number), id=name)
        engine.run_sync(context, log=log, run_id=f"{name}-{number}")


if __name__ == "__main__":
    url, name, runs = sys.argv[1:]
    with FactLog.open(url, projections=[known_quarantines]) as log:
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        work(log, name, int(runs))
