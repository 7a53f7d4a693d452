"""Holds a ledger on a real PostgreSQL server to what it does everywhere: nothing is lost, whoever writes."""

from __future__ import annotations

import pytest

from quiesce.facts import FactLog, RunId
from quiesce.facts.ledger import rebase
from quiesce.facts.stores import Batch
from support.ledger_worker import BOTH, Sum, count_in_processes, sums, work
from support.postgres import Server, schema_of


@pytest.mark.slow
def test_no_count_is_lost_among_processes(postgres: Server, request: pytest.FixtureRequest) -> None:
    """Four know the projections, one does not; the order in which facts are folded is that of the ledger."""
    counts, checks = count_in_processes(postgres.url(schema_of(request.node.name)), 20)

    assert ({"all": 300, **dict.fromkeys("abcde", 60)}, [True, True]) == (counts, checks)


@pytest.mark.slow
def test_two_logs_and_one_that_does_not_know(postgres: Server, request: pytest.FixtureRequest) -> None:
    """Facts come, leave and are folded anew, each time over another connection."""
    url = postgres.url(schema_of(request.node.name))
    with FactLog.open(url, projections=BOTH) as one, FactLog.open(url) as plain:
        work(one, "a", 2)
        work(plain, "b", 2)
        with FactLog.open(url, projections=BOTH) as two:
            work(two, "c", 1)
            batch = Batch(ends={RunId("a-0"): 4}, dropped={RunId("a-0")})
            rebase(one, batch)
            one.store.commit(batch)
            work(plain, "b2", 1)
            two.rebuild()

            assert {"a": 6, "all": 18, "b": 6, "b2": 3, "c": 3} == {
                id: one.values(sums)[id].n for id in two.values(sums)
            }
            assert [True] * 4 == [check.ok for log in (one, two) for check in log.check_projections()]
            assert Sum(n=18) == two.context().of(Sum)["all"].payload
