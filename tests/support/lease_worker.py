"""What other processes do in the tests of leases: `python -m support.lease_worker <what> <file>`."""

from __future__ import annotations

import gc
import os
import sys
import threading

from quiesce.facts import FactLog, RunId, StoreError
from quiesce.facts import lease as leases
from quiesce.facts.event import CycleCommitted
from support.payloads import note_fact, started

RUN = RunId("r")


def leave(file: str) -> None:
    """Begins a run and is gone, without closing anything."""
    log = FactLog.open(file)
    log.claim(RUN)
    log.append(RUN, [started("facts-note")])
    os._exit(0)


def fork(file: str) -> None:
    """Begins a run and forks; the child has neither the lease nor anybody who renews it."""
    log = FactLog.open(file)
    log.claim(RUN)
    log.append(RUN, [started("facts-note")])
    child = os.fork()
    if child == 0:
        try:
            log.append(RUN, [CycleCommitted(0, (), [note_fact("child")])])
        except StoreError as error:
            told = "Open the log again" in str(error)
            with FactLog.open(file) as mine:
                mine.claim(RunId("s"))
                watched = list(leases._held) == [mine._held]
                mine.append(RunId("s"), [started("facts-note")])
            os._exit(0 if told and watched else 2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    log.append(RUN, [CycleCommitted(0, (), [note_fact("parent")])])
    print(os.waitstatus_to_exitcode(status), log.runs(), log.length(RUN))  # noqa: T201


def collect(file: str) -> None:
    """Drops the only log that holds a lease, and lets the renewing thread find that there is none."""
    log = FactLog.open(file)
    log.claim(RUN)
    store = log.store
    del log
    gc.collect()
    thread = next(one for one in threading.enumerate() if one.name == "quiesce-leases")
    for _ in range(2):  # once it has heard the second, it has been through the first
        leases._wake.set()
        while leases._wake.is_set() and thread.is_alive():
            thread.join(0.001)
    print(len(leases._held), thread.is_alive())  # noqa: T201
    store.close()


if __name__ == "__main__":
    {"leave": leave, "fork": fork, "collect": collect}[sys.argv[1]](sys.argv[2])
