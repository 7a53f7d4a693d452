"""Attacks the JSON lines store: every call to the system fails, or is the last one before SIGKILL."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

from quiesce.facts import JsonLinesStore, StoreError
from quiesce.facts.stores import Batch
from support.faults import Calls, Fault, How, failing_fsync, in_child, python_calls
from support.store_work import STATES, WORK, commit_all, state_of

Sync = Literal["normal", "full"]
CALLS = ("open", "write", "fsync", "ftruncate", "replace", "fchmod", "unlink")


def check_left(path: Path, kept: int) -> None:
    """Checks that a file holds what was acknowledged, or one batch more, whole, and takes the rest of the work."""
    store = JsonLinesStore(path)
    found = state_of(store)
    assert found in STATES[kept : kept + 2]
    assert [] == list(store.check())

    for batch in WORK[STATES.index(found) :]:
        store.commit(batch)

    assert STATES[-1] == state_of(store)
    assert [path.name] == [each.name for each in path.parent.iterdir()], "no file is left over"

    store.close()


def calls_of(sync: Sync) -> dict[str, int]:
    """Returns how often the work makes each call."""
    with TemporaryDirectory() as place, python_calls() as calls:
        commit_all(lambda number: None, JsonLinesStore, Path(place) / "log.jsonl", sync)
    return dict(calls.counts)


def test_the_work_makes_the_calls_that_are_attacked() -> None:
    """Else the tests below would attack nothing."""
    normal, full = calls_of("normal"), calls_of("full")

    assert {"open": 4, "fsync": 3, "replace": 3, "fchmod": 3} == {
        name: normal[name] for name in ("open", "fsync", "replace", "fchmod")
    }
    assert {"open": 8, "fsync": 13} == {name: full[name] for name in ("open", "fsync")}
    assert normal["write"] >= len(WORK) + 3


@pytest.mark.slow
@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.parametrize("how", ["kill-before", "kill-torn", "kill-after"])
def test_whichever_call_is_the_last_nothing_that_was_acknowledged_is_lost(how: How, sync: Sync) -> None:
    """Killed at each call in turn: every batch that was acknowledged is there, none half; no file is left over."""
    torn = how == "kill-torn"
    for call, count in calls_of(sync).items():
        for nth in range(1, count + 1) if call == "write" or not torn else ():
            with TemporaryDirectory() as place:
                path = Path(place) / "log.jsonl"
                ended = in_child(
                    commit_all, JsonLinesStore, path, sync, fault=Fault(call, nth, how), watch=python_calls
                )

                assert (True, "") == (ended.killed, ended.error), f"{call} {nth}"
                check_left(path, max(ended.said, default=0))


class Attacked:
    """A store whose calls fail, and what it must hold by now."""

    def __init__(self, path: Path, sync: Sync) -> None:
        self.path, self.sync = path, sync
        self.errors: list[str] = []
        self.store = JsonLinesStore(path, sync)

    def work(self) -> None:
        """Commits every batch, again if it failed; what was acknowledged is there at any time."""
        for number, batch in enumerate(WORK):
            while True:
                try:
                    self.store.commit(batch)
                    break
                except StoreError as error:
                    self.errors.append(str(error))
                    assert len(self.errors) < 4, self.errors
                    if self.goes_on_behind(number):
                        break
        self.store.close()

    def goes_on_behind(self, number: int) -> bool:
        """Tells whether a batch that failed is there nevertheless, as its error said that it may be."""
        try:
            self.store.commit(Batch())
        except StoreError as refused:
            if "takes no more events" in str(refused):
                self.store.close()
                self.store = JsonLinesStore(self.path, self.sync)
        found = state_of(self.store)
        if found == STATES[number + 1]:
            assert any(text in self.errors[-1] for text in ("power loss may bring the old file back", "as it was"))
            return True

        assert STATES[number] == found
        return False


def attack(fault: Fault, sync: Sync) -> tuple[Calls, list[str]]:
    with TemporaryDirectory() as place:
        path = Path(place) / "log.jsonl"
        with python_calls(fault) as calls:
            attacked = Attacked(path, sync)
            attacked.work()
        check_left(path, len(WORK))
    return calls, attacked.errors


@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.parametrize("how", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", CALLS)
def test_any_call_may_fail(call: str, how: How, sync: Sync) -> None:
    """For every N, the Nth call: an error in the caller's hands or none needed, nothing lost, and the log goes on."""
    for nth in itertools.count(1):
        calls, errors = attack(Fault(call, nth, how), sync)
        if not calls.hit:
            break

        assert errors or call == "unlink", f"{call} {nth}"


@pytest.mark.parametrize("call", ["write", "ftruncate"])
def test_a_disk_that_stays_full_loses_nothing(call: str) -> None:
    """Every later call fails too: what was acknowledged can be read, and the work goes on when there is room again."""
    for nth in range(1, 12):
        with TemporaryDirectory() as place:
            path, kept = Path(place) / "log.jsonl", 0
            with python_calls(Fault(call, nth, "ENOSPC", lasting=True)):
                store = JsonLinesStore(path)
                try:
                    for batch in WORK:
                        store.commit(batch)
                        kept += 1
                except StoreError as error:
                    told = str(error)
                else:
                    told = ""

                assert STATES[kept] == state_of(store)
                assert ("No space left on device" in told) == (kept < len(WORK))
                store.close()
            check_left(path, kept)


def test_where_the_kernel_refuses_to_sync_nothing_is_acknowledged(tmp_path: Path) -> None:
    """Also for a file that is to take another's place, which is always synced."""
    path = tmp_path / "log.jsonl"
    store = JsonLinesStore(path)
    for batch in WORK[:5]:
        store.commit(batch)
    before = path.read_bytes()

    def work() -> None:
        with pytest.raises(StoreError, match="could not be written anew: Input/output error; it is as it was"):
            store.commit(WORK[5])

    failing_fsync(work)

    assert before == path.read_bytes()
    assert STATES[5] == state_of(store)
    store.close()
    check_left(path, 5)


def test_a_file_that_was_moved_away_is_written_to_no_more(tmp_path: Path) -> None:
    """What would be appended to it would be lost to whoever opens the path."""
    path = tmp_path / "log.jsonl"
    store = JsonLinesStore(path)
    store.commit(WORK[0])
    path.rename(tmp_path / "moved.jsonl")
    with pytest.raises(StoreError) as caught:
        store.commit(WORK[1])

    expected = (
        f"{path} takes no more events: another file stands in its place, or none that can be seen. Open the log again"
    )
    assert expected == str(caught.value)
    assert STATES[1] == state_of(JsonLinesStore(tmp_path / "moved.jsonl"))
