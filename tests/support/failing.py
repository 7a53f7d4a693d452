"""Lets a store fail in the midst of a run, and checks that the caller hears of it and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import anyio

from quiesce.engine import NotJournaled, NotKept
from quiesce.facts import FactLog, Store, StoreError
from quiesce.facts.event import CycleCommitted, Event
from quiesce.facts.stores import Batch
from support import crashing
from support.crashing import RUN, WATCHES, Place, Site, calls_in, check_end, check_left, do_all, reference

When = Literal["before", "after"]
warm = crashing.warm


class Failing:
    """A store that fails at its nth commit, before or after it makes it."""

    def __init__(self, store: Store, nth: int, when: When, disturb: Callable[[], object]) -> None:
        self._store, self._nth, self._when, self._disturb = store, nth, when, disturb
        self.commits = 0
        self.lazy = False

    def commit(self, batch: Batch) -> None:
        self.commits += 1
        if self.commits != self._nth:
            return self._store.commit(batch)
        if self._when == "after":
            self._store.commit(batch)
        self._disturb()
        return self._store.commit(batch) if self._when == "before" else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@cache
def all_events() -> list[Event]:
    """Returns the events of the run where nothing fails."""
    with TemporaryDirectory() as folder, FactLog.open() as log:
        anyio.run(lambda: do_all(lambda _: None, log, Place(Path(folder))))
        return [logged.event for logged in log.events(RUN)]


def check_error(error: BaseException, place: Place) -> None:
    """Checks that what could not be kept is in the error, whole."""
    if isinstance(error, NotKept):
        expected = all_events()[error.seq : error.seq + len(error.events)]
        assert [one.kind for one in expected] == [one.kind for one in error.events]
        for one, other in zip(expected, error.events, strict=True):
            if isinstance(one, CycleCommitted) and isinstance(other, CycleCommitted):
                assert [fact.ref for fact in one.facts] == [fact.ref for fact in other.facts]
                assert [fact.payload for fact in one.facts] == [fact.payload for fact in other.facts]
    elif isinstance(error, NotJournaled):
        assert error.entries
        assert error.entries.keys() <= calls_in(place.side).keys()
        assert all(b'"outcome"' in entry for entry in error.entries.values())
    else:
        assert isinstance(error, StoreError), repr(error)


def check_fault(place: Place, opened: Callable[[], Store], nth: int, when: When, disturb: Callable[[], object]) -> bool:
    """Lets the nth commit of a run fail, finishes it, and returns whether there was such a commit."""
    whole, ends = reference(place)
    store, told = Failing(opened(), nth, when, disturb), list[Any]()
    with FactLog(store) as log:
        try:
            anyio.run(lambda: do_all(told.append, log, place))
        except (NotKept, NotJournaled, StoreError) as error:
            check_error(error, place)
        check_left(log, told, whole, ends)
        check_end(log, place, whole)
    return store.commits >= nth


def fail_at(say: Callable[[Any], None], place: Place, sites: list[Site]) -> None:
    """Lets each of some calls fail in a run of its own and finishes it; tells what is wrong."""
    whole, ends = reference(place)
    for number, site in enumerate(sites):
        here = replace(place, folder=place.folder / str(number))
        here.folder.mkdir()
        try:
            say((site[1].call, _fail(here, site, whole, ends)))
        except BaseException as error:
            raise AssertionError(f"{site}") from error


def _fail(place: Place, site: Site, whole: bytes, ends: set[int]) -> str:
    told, log = list[Any](), None
    watch, fault = site
    try:
        with WATCHES[watch](fault) as calls:
            try:
                opened = log = place.open()
                anyio.run(lambda: do_all(told.append, opened, place))
                log = None
                opened.close()
            finally:
                calls.fault = None  # the disk has room again
        said = "nothing" if calls.hit else "not made"  # SQLite opens /dev/urandom once in a process
    except (NotKept, NotJournaled, StoreError) as error:
        said = type(error).__name__
        if log is not None:
            check_error(error, place)
    if log is not None:
        try:
            check_left(log, told, whole, ends)
            check_end(log, place, whole)
        except StoreError as error:
            if "pen the log again" not in str(error):
                raise
            with suppress(StoreError):
                log.close()
            log = None
    if log is not None:
        log.close()
    with place.open() as log:
        check_left(log, told, whole, ends)
        check_end(log, place, whole)
    return said
