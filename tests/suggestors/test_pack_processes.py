"""Starts, kills and compares whole processes: what they learn together is what one alone would have learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from support.nursery import Child, Nursery
from support.pack_worker import live, pack_of, recover, serve, values_of

pytestmark = pytest.mark.slow

REQUESTS = 12
WORKERS = 4


@pytest.fixture(scope="module")
def nurseries() -> Iterator[list[Nursery]]:
    warm = [Nursery("support.pack_worker") for _ in range(WORKERS)]
    yield warm
    for nursery in warm:
        nursery.close()


@pytest.fixture
def nursery(nurseries: list[Nursery]) -> Nursery:
    return nurseries[0]


def together(nurseries: list[Nursery], url: Path, sensitivity: str | None) -> None:
    """Lets processes work on one log at the same time."""
    said: dict[int, Child] = {}

    def one(place: int) -> None:
        said[place] = nurseries[place].call(serve, str(url), "abcd"[place], 0, REQUESTS, sensitivity)

    threads = [Thread(target=one, args=(place,)) for place in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [REQUESTS] * WORKERS == [len(said[place].unwrap()) for place in range(WORKERS)]


def test_four_processes_at_once_learn_what_one_process_learns(tmp_path: Path, nurseries: list[Nursery]) -> None:
    """The same requests and the same outcomes are the same posteriors, whoever was first and whoever waited."""
    together(nurseries, tmp_path / "four.db", None)
    for name in "abcd":
        nurseries[0].call(serve, str(tmp_path / "one.db"), name, 0, REQUESTS, None).unwrap()
    pack = pack_of(sensitivity=None)
    with pack.open(tmp_path / "four.db") as four, pack.open(tmp_path / "one.db") as one:
        assert WORKERS * REQUESTS == len(list(four.runs())) == len(list(one.runs()))
        assert values_of(one, pack) == values_of(four, pack)
        assert WORKERS * REQUESTS == sum(value.observations for value in four.values(pack.posteriors).values())


def test_what_four_processes_have_learned_is_what_their_facts_say(tmp_path: Path, nurseries: list[Nursery]) -> None:
    """With drift, too: who noticed it first is chance, but what is known is a fold of what was said, and no more."""
    together(nurseries, tmp_path / "four.db", "normal")
    pack = pack_of()
    with pack.open(tmp_path / "four.db") as four, pack.open(":memory:") as fresh:
        fresh.load("".join(four.export(run) for run in four.runs()))

        assert [] == [str(check) for check in four.check_projections() if not check.ok]
        assert values_of(fresh, pack)["posteriors"] == values_of(four, pack)["posteriors"]
        assert len(four.values(pack.quarantines)) > 0


def test_a_run_that_is_killed_anywhere_ends_as_one_that_never_was(tmp_path: Path, nursery: Nursery) -> None:
    """The log is equal byte for byte, what was learned too, and no call that had ended is paid for twice."""
    whole = tmp_path / "whole"
    whole.mkdir()
    notices = nursery.call(live, whole, None).unwrap()
    reference = nursery.call(recover, whole).unwrap()

    assert {"k0": 1, "k1": 1, "k2": 1} == reference[3]
    spared = 0
    for die_at in range(2, len(notices) + 1, 2):
        place = tmp_path / f"at-{die_at}"
        place.mkdir()
        child = nursery.call(live, place, die_at)
        ended = sum(notice == ("InvocationEnded", "pack-call") for notice in child.said)
        left = nursery.call(recover, place).unwrap()

        assert child.killed, die_at
        assert [] == left[1]
        if not left[0]:  # it had not begun as far as the log knows
            continue
        assert reference[:3] == left[:3], die_at
        assert left[3].total() <= 3 + (3 - ended), (die_at, left[3])
        spared += ended
    assert spared > 9


def test_a_process_that_starts_anew_for_each_request_learns_the_same(tmp_path: Path, nursery: Nursery) -> None:
    """Nothing is kept in a suggestor that a restart would miss: the logs are equal, byte for byte."""
    nursery.call(serve, str(tmp_path / "kept.db"), "a", 0, 6).unwrap()
    for number in range(6):
        nursery.call(serve, str(tmp_path / "anew.db"), "a", number, number + 1).unwrap()
    pack = pack_of()
    with pack.open(tmp_path / "kept.db") as kept, pack.open(tmp_path / "anew.db") as anew:
        assert [f"a-{number}" for number in range(6)] == list(kept.runs()) == list(anew.runs())
        assert [kept.to_bytes(run) for run in kept.runs()] == [anew.to_bytes(run) for run in anew.runs()]
        assert values_of(kept, pack) == values_of(anew, pack)
