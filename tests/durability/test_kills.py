"""Kills processes in the midst of a run, at every call that its store makes to the system, and has others finish it.

SIGKILL takes a process and leaves the kernel, so what it leaves on the disk is what the files hold at that moment. The
exhaustive tests take an image of the files before each call, and in the midst of each write; every image is then
opened as what a killed process left. That this is what a kill leaves is shown by real kills: at some of the calls here,
at all of them when soaking, where random runs are killed at random calls too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.facts import FactLog
from support.crashing import (
    LOOKING,
    RUN,
    Place,
    Site,
    calls_in,
    check,
    check_forgotten,
    check_images,
    finish,
    forget,
    live,
    reference,
    state_of,
)
from support.faults import Fault
from support.nursery import Child, Nursery
from support.postgres import Server, schema_of
from support.strategies import World, worlds

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("SOAK_CASES") or 10_000)
STORES = [("log.db", "normal"), ("log.db", "full"), ("log.jsonl", "normal"), ("log.jsonl", "full")]
MUST_CALL = {
    ("log.db", "normal"): {"open", "fchmod", "pwrite", "sync", "ftruncate", "unlink"},
    ("log.db", "full"): {"open", "fchmod", "fsync", "pwrite", "sync", "ftruncate", "unlink", "openDirectory"},
    ("log.jsonl", "normal"): {"open", "write"},
    ("log.jsonl", "full"): {"open", "write", "fsync"},
}
"""What a run makes of calls, so that a test that sees none of them is red."""
REAL = 29
"""Of so many kills, one is a real one in the default suite."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    warm = Nursery("support.crashing")
    yield warm
    warm.close()


@pytest.fixture(params=STORES, ids=lambda store: f"{store[0]}-{store[1]}")
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    file, sync = request.param
    return Place(tmp_path, file, sync)


def images_of(said: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yields each image that was taken, with what had been told by then."""
    told: list[Any] = []
    for one in said:
        if one[0] == "image":
            yield one[1][0], list(told)
        else:
            told.append(one)


def sites_of(said: Sequence[Any], every: int = 1) -> Iterator[Site]:
    """Yields the kills at each call that was counted, or one of so many of them."""
    hows: tuple[Literal["kill-before", "kill-torn", "kill-after"], ...] = ("kill-before", "kill-torn", "kill-after")
    (counts,) = [value for kind, value in said if kind == "calls"]
    sites: list[Site] = [
        (watch, Fault(call, nth, how))
        for (watch, call), count in sorted(counts.items())
        if call not in LOOKING
        for nth in range(1, count + 1)
        for how in hows
        if how != "kill-torn" or call in {"write", "pwrite"}
    ]
    yield from sites[::every]


def check_kills(nursery: Nursery, place: Place, every: int) -> None:
    """Kills a run at each call, or at one of so many of them; and its recovery at another one, for every third."""
    whole, ends = reference(place)
    said = nursery.call(live, Place(place.folder / "dry", place.file, place.sync)).unwrap()
    missed = 0
    sites = list(sites_of(said, every))
    for number, site in enumerate(sites):
        here = Place(place.folder / str(number), place.file, place.sync)
        here.folder.mkdir()
        killed = nursery.call(live, here, site)
        missed += not killed.killed
        told = [one for one in killed.said if one[0] != "calls"]
        if number % 3 == 0:
            told += nursery.call(finish, here, _any_site(number, place.file)).said
        nursery.call(check, here, told, whole, ends).unwrap()
    assert missed <= 1 + len(sites) // 20  # two answers may be kept in one step or in two, so the last calls may not be


def _any_site(number: int, file: str) -> Site:
    if file.endswith(".jsonl"):
        return "python", Fault("write", 1 + number % 5, "kill-torn" if number % 2 else "kill-after")
    return "sqlite", Fault("pwrite", 1 + number % 60, "kill-torn" if number % 2 else "kill-after")


def test_whenever_a_process_is_killed_nothing_is_lost(nursery: Nursery, place: Place) -> None:
    """At every call: all that was acknowledged is there, nothing by half, and another process ends the same run."""
    whole, ends = reference(place)
    images = place.folder / "images"
    images.mkdir()
    said = nursery.call(live, place, None, images).unwrap()
    calls = {value[1].removesuffix(" torn") for kind, value in said if kind == "image"}
    wrong = nursery.call(check_images, place, list(images_of(said)), whole, ends, 20).unwrap()

    assert MUST_CALL[place.file, place.sync] <= calls
    assert [] == list(wrong)


def test_whenever_the_one_that_recovers_is_killed_too_nothing_is_lost(nursery: Nursery, place: Place) -> None:
    """At every call of a recovery: the next one goes on from there."""
    whole, ends = reference(place)
    site: Site = (
        ("python", Fault("write", 7, "kill-torn"))
        if place.file == "log.jsonl"
        else ("sqlite", Fault("pwrite", 70, "kill-torn"))
    )
    first = nursery.call(live, place, site)
    images = place.folder / "images"
    images.mkdir()
    said = nursery.call(finish, place, None, images).unwrap()
    taken = [(name, [*first.said, *told]) for name, told in images_of(said)]
    wrong = nursery.call(check_images, place, taken, whole, ends, 20).unwrap()

    assert first.killed
    assert len(taken) > 10
    assert [] == list(wrong)


def test_a_real_kill_leaves_what_the_images_say(nursery: Nursery, place: Place) -> None:
    """At some of the calls: SIGKILL, then SIGKILL for some of those who recover."""
    (place.folder / "dry").mkdir()
    check_kills(nursery, place, REAL if place.file == "log.db" else 11)


@pytest.mark.soak
def test_a_real_kill_at_every_call_loses_nothing(nursery: Nursery, place: Place) -> None:
    """The same, at all of them."""
    (place.folder / "dry").mkdir()
    check_kills(nursery, place, 1)


def check_world(nursery: Nursery, place: Place, first: Site, second: Site | None) -> None:
    """Kills a random run at a call, and its recovery at another, and finishes it."""
    whole, ends = reference(place)
    children = [nursery.call(live, place, first)]
    if second is not None:
        children.append(nursery.call(finish, place, second))
    for child in children:
        assert not child.error, child.error
    told = [one for child in children for one in child.said if one[0] != "calls"]
    nursery.call(check, place, told, whole, ends).unwrap()


_HOWS = st.sampled_from(["kill-before", "kill-torn", "kill-after"])
_KILLS = st.tuples(st.integers(1, 400), _HOWS)


@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(world=worlds(), store=st.sampled_from(STORES), first=_KILLS, second=st.none() | _KILLS)
@pytest.mark.soak
def test_random_runs_that_are_killed_at_random_calls_lose_nothing(
    nursery: Nursery, world: World, store: tuple[str, Any], first: Any, second: Any
) -> None:
    """Any graph, every suggestor impure, any store: the same log as without the kills, and no journaled call again."""
    file, sync = store

    def site_of(kill: Any) -> Site | None:
        if kill is None:
            return None
        nth, how = kill
        if file == "log.jsonl":
            return "python", Fault("write", 1 + nth % 25, how)
        return "sqlite", Fault("pwrite", nth, how)

    with TemporaryDirectory() as folder:
        site = site_of(first)
        assert site is not None
        check_world(nursery, Place(Path(folder), file, sync, world), site, site_of(second))


# --- what takes events out of a log -------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["compact", "redact", "retain"])
@pytest.mark.parametrize("store", STORES[1:3], ids="-".join)
def test_whoever_is_killed_while_events_go_leaves_all_or_none_of_them(
    nursery: Nursery, tmp_path: Path, what: str, store: tuple[str, Any]
) -> None:
    """A file of JSON lines is written anew and renamed; the next one to write removes what was left over."""
    check_going(nursery, Place(tmp_path, *store), what, 29 if store[0] == "log.db" else 3)


def check_going(nursery: Nursery, place: Place, what: str, step: int) -> None:
    """Kills who takes events out of a log, at one of so many calls, and has it done again."""
    base = _copy(place, "base", None)
    nursery.call(live, base).unwrap()
    done = _copy(place, "done", base)
    said = nursery.call(forget, done, what).unwrap()
    states = []
    for one in (base, done):
        with one.open() as log:
            states.append(state_of(log))
    found: list[int] = []
    for number, site in enumerate(sites_of(said, step)):
        here = _copy(place, str(number), base)
        killed = nursery.call(forget, here, what, site)
        found += nursery.call(check_forgotten, here, what, states).unwrap()
        assert killed.killed, site

    assert states[0] != states[1]
    assert {0, 1} == set(found)


@pytest.mark.soak
@pytest.mark.parametrize("what", ["compact", "redact", "retain"])
@pytest.mark.parametrize("store", STORES, ids="-".join)
def test_whoever_is_killed_while_events_go_at_any_call(
    nursery: Nursery, tmp_path: Path, what: str, store: tuple[str, Any]
) -> None:
    check_going(nursery, Place(tmp_path, *store), what, 1)


def _copy(place: Place, name: str, base: Place | None) -> Place:
    folder = place.folder / name
    if base is None:
        folder.mkdir()
    else:
        shutil.copytree(base.folder, folder)
    return Place(folder, place.file, place.sync)


# --- PostgreSQL: the server lives ---------------------------------------------------------------------------------


def check_client(nursery: Nursery, server: Server, folder: Path, seed: int) -> Child:
    """Kills a client of a server at a random moment and finishes its run."""
    draw = Random(seed)
    place = Place(folder / str(seed), server.url(schema_of(folder / str(seed))))
    place.folder.mkdir()
    whole, ends = reference(place)
    FactLog.open(place.file).close()  # lays out the schema, so that the kill meets the run
    killed = nursery.call(live, place, kill_at=(draw.randint(0, 24), draw.uniform(0.0, 0.01)))
    nursery.call(check, place, [one for one in killed.said if one[0] != "calls"], whole, ends).unwrap()
    return killed


def test_clients_of_postgres_that_are_killed_lose_nothing(
    nursery: Nursery, postgres: Server, tmp_path: Path
) -> None:  # fmt: skip
    """At random moments; the server ends what they had begun."""
    ended = [check_client(nursery, postgres, tmp_path, seed) for seed in range(6)]

    assert all(one.killed or one.said[-1][0] == "calls" for one in ended)
    assert any(one.killed and one.said for one in ended)


@pytest.mark.soak
def test_many_clients_of_postgres_that_are_killed_lose_nothing(
    nursery: Nursery, postgres: Server, tmp_path: Path
) -> None:  # fmt: skip
    for seed in range(100, 100 + min(CASES, 1_000)):
        check_client(nursery, postgres, tmp_path, seed)


def test_the_reference_has_some_of_everything(nursery: Nursery, tmp_path: Path) -> None:
    """A journal of every call, failures, revisions, contests, a decided gate, and inputs in two parts."""
    place = Place(tmp_path)
    whole, ends = reference(place)
    said = nursery.call(live, place).unwrap()

    assert set(calls_in(place.side)) == {key for kind, keys in said if kind == "kept" for key in keys}
    assert len(ends) >= 6
    for part in (
        b'"crash-order:c"', b"nobody answers", b'"contested', b"gate_opened", b"gate_decided", b"run_resumed",
        b"crash-receipt", b'"converged"', b'"b","c"',
    ):  # fmt: skip
        assert part in whole, part
    assert RUN.encode() in whole
