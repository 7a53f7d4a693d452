"""Shows that ids do not collide: within a process, over restarts, in threads, and whatever the clock does."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.suggestors.trajectories.identity import Uuids, display_id, new_uuid, uuid_of

AT = datetime(2026, 1, 1, tzinfo=UTC)


@given(clock=st.lists(st.integers(-5, 2**48 - 2), min_size=2, max_size=40))
def test_uuids_only_go_up_whatever_the_clock_does(clock: list[int]) -> None:
    ticks = iter(clock)
    uuids = Uuids(lambda: next(ticks))
    given_out = [uuids.next() for _ in clock]

    assert sorted(set(given_out)) == given_out
    assert sorted(map(display_id, given_out)) == [display_id(one) for one in given_out]
    assert {7} == {one.version for one in given_out}


def test_more_than_a_millisecond_holds_are_still_in_order() -> None:
    uuids = Uuids(lambda: 1_000)
    given_out = [uuids.next() for _ in range(10_000)]

    assert sorted(set(given_out)) == given_out
    assert len(given_out) == len({display_id(one) for one in given_out})


def test_threads_share_one_order_and_no_id() -> None:
    with ThreadPoolExecutor(8) as threads:
        lists = list(threads.map(lambda _: [new_uuid() for _ in range(500)], range(8)))

    assert all(sorted(one) == one for one in lists)
    assert 4_000 == len({uuid for one in lists for uuid in one})


def test_two_processes_at_the_same_millisecond_do_not_meet() -> None:
    """D.1, J 45: a counter begins anew in each process. Here even the clock is the same."""
    one, other = Uuids(lambda: 5), Uuids(lambda: 5)

    assert not {one.next() for _ in range(2_000)} & {other.next() for _ in range(2_000)}


@pytest.mark.slow
def test_ids_survive_a_restart_without_colliding() -> None:
    program = "from quiesce.suggestors.trajectories.identity import new_uuid; print(*(new_uuid() for _ in range(50)))"
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]

    assert 100 == len({*runs[0], *runs[1]})
    assert runs[0][-1] < runs[1][0]  # the later process has the later ids


@given(name=st.text(), other=st.text(), seconds=st.integers(0, 10**9))
def test_an_id_in_a_run_is_the_same_in_every_replay_and_that_of_nobody_else(
    name: str, other: str, seconds: int
) -> None:
    moment = AT + timedelta(seconds=seconds)

    assert uuid_of(moment, name) == uuid_of(moment, name)
    assert (name == other) == (uuid_of(moment, name) == uuid_of(moment, other))
    assert uuid_of(moment, name) < uuid_of(moment + timedelta(seconds=1), other)
