"""Restarts a PostgreSQL server under four processes that settle runs into it: each run ends as it does alone."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Literal

import pytest

from quiesce.facts import FactLog, verify
from support.postgres import Server, schema_of
from support.postgres_worker import ENGINE, name_of, settle

RUNS = min(1000, int(os.environ.get("SOAK_CASES") or 1000))
WORKERS = 4
SECONDS = 2.0
"""How long the server runs before it is stopped once more."""


@pytest.mark.parametrize("lost", range(1, 10))
def test_a_run_whose_server_lost_its_last_events_is_finished_by_the_same_process(postgres: Server, lost: int) -> None:
    """The log does not go on from what it remembers; the run ends as it would have."""
    number, schema = 795, schema_of(f"lost {lost}")
    run, alone = name_of(number), FactLog.open()
    settle(alone, number)
    with FactLog.open(postgres.url(schema)) as log, postgres.connect() as sql:
        settle(log, number)
        left = log.length(run) - lost
        sql.execute(f"DELETE FROM {schema}.events WHERE seq >= {left}".encode())
        sql.execute(f"UPDATE {schema}.runs SET next = {left}".encode())
        ENGINE.recover_sync(log, [run])

        assert alone.to_bytes(run) == log.to_bytes(run)


@pytest.mark.soak
@pytest.mark.parametrize("sync", ["full", "normal"])
def test_runs_end_as_they_do_alone_while_their_server_is_restarted(
    durable_postgres: Server, sync: Literal["full", "normal"]
) -> None:
    """With `full` nothing acknowledged is ever missing; with `normal` what a crash took is told, and done again."""
    server, schema = durable_postgres, schema_of(f"chaos {sync}")
    FactLog.open(server.url(schema)).close()
    share = -(-RUNS // WORKERS)
    ranges = [(first, min(RUNS, first + share)) for first in range(0, RUNS, share)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "support.postgres_worker", server.url(schema), sync, str(first), str(end)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        for first, end in ranges
    ]
    try:
        restarts = restart_until_all_end(server, workers)
        met = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    alone = FactLog.open()
    for number in range(RUNS):
        settle(alone, number)

    assert [0] * len(workers) == [worker.returncode for worker in workers]
    assert restarts >= 1
    with FactLog.open(server.url(schema)) as log:
        assert sorted(alone.runs()) == sorted(log.runs())
        for run in map(name_of, range(RUNS)):
            assert alone.to_bytes(run) == log.to_bytes(run)
        assert verify(log, name_of(0)).ok
        assert ([], []) == (list(log.store.check()), list(log.notes("lease")))
    if sync == "full":
        assert [{}] * len(workers) == met


def restart_until_all_end(server: Server, workers: list[subprocess.Popen[str]]) -> int:
    """Restarts a server every few seconds, by turns in an orderly way and as if it crashed; returns how often."""
    modes: tuple[Literal["immediate", "fast"], ...] = ("immediate", "fast")
    for restarts, mode in enumerate(itertools.cycle(modes)):
        until = time.monotonic() + SECONDS
        for worker in workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, until - time.monotonic()))
        if all(worker.poll() is not None for worker in workers):
            return restarts
        server.restart(mode)
    raise AssertionError
