"""Shows that a process that wakes up after its run was taken over writes nothing, and is told who has it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from quiesce.engine import Approve, AwaitingApproval, Converged
from quiesce.facts import FactLog, RunId, StoreError, replay, verify
from support.faults import start_child
from support.postgres import Server, schema_of
from support.zombie_worker import FIXED, asked, engine_of, live

pytestmark = pytest.mark.slow

RUN = RunId("r")
LEASE = 0.3
SPACES = ("lease", "journal", "memo", "snapshot", "projection", "child", "epoch")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns where a log is that several processes may write to."""
    if request.param == "sqlite":
        return str(tmp_path / "log.db")
    server: Server = request.getfixturevalue("postgres")
    return server.url(schema_of(tmp_path))


class Zombie:
    """A process in the midst of a call of its run."""

    def __init__(self, url: str, which: str, gate: Path) -> None:
        os.mkfifo(gate)
        self.gate = gate
        self.child = start_child(live, url, which, LEASE, gate)
        self.pid: int = self.child.process.pid
        assert self.child.hear() == "calling"

    def stop(self) -> None:
        """Stops it, renewals and all."""
        os.kill(self.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def wake(self, *, thread_first: bool = False) -> str:
        """Lets it go on and returns how its run ended; its renewing thread may be made to come first."""
        os.kill(self.pid, signal.SIGCONT)
        if thread_first:
            assert self.child.hear().startswith("warned lease of run r not written: run r: it was taken over")
        self.gate.write_bytes(b"go on")
        while (line := str(self.child.hear())).startswith("warned"):
            pass
        return line

    def end(self) -> None:
        """Kills it, if it still lives."""
        with suppress(ValueError):  # somebody has waited for its end already
            self.child.process.kill()
            self.child.wait()


@contextmanager
def zombie_of(url: str, which: str) -> Iterator[Zombie]:
    with TemporaryDirectory() as folder:
        zombie = Zombie(url, which, Path(folder) / "gate")
        try:
            yield zombie
        finally:
            zombie.end()


def wait_until_over(log: FactLog) -> None:
    """Waits until the store says that the lease of the run is over; while it holds, the run is left alone."""
    while True:
        holder, now = log.holder(RUN), log.store.now()
        assert holder is not None
        if holder.is_over(now, RUN):
            return
        time.sleep(0.01)


def contents_of(log: FactLog) -> list[Any]:
    """Returns all that a store holds."""
    notes = [one for space in SPACES for one in log.store.notes(space)]
    return [log.store.runs(), log.store.position(), list(log.store.since(0)), notes]


def expected(which: str) -> bytes:
    """Returns the log of the run where nobody is stopped."""
    return engine_of(which).run_sync(asked(), **FIXED).log.to_bytes(RUN)


@pytest.mark.parametrize(
    ("which", "error", "thread_first"),
    [("pure", "NotKept", False), ("impure", "NotJournaled", False), ("pure", "NotKept", True)],
    ids=["event", "answer", "renewal first"],
)
def test_a_stopped_writer_whose_run_was_finished_writes_nothing(
    url: str, which: str, error: str, thread_first: bool
) -> None:
    """Neither events nor journal entries, whether its run or the renewing of its lease goes on first."""
    with zombie_of(url, which) as zombie, FactLog.open(url) as log:
        zombie.stop()
        wait_until_over(log)
        (result,) = engine_of(which).recover_sync(log).unwrap().results.values()
        before = contents_of(log)
        told = zombie.wake(thread_first=thread_first)

        assert isinstance(result.stop, Converged)
        assert before == contents_of(log)
        assert expected(which) == log.to_bytes(RUN)
        assert verify(log, RUN).ok
        assert told.startswith(f"ended {error} TakenOver run r")
        assert f"it was taken over and ended by process {os.getpid()} on " in told
        assert "Nothing was written" in told


def test_a_stopped_writer_whose_run_is_under_way_elsewhere_writes_nothing(url: str) -> None:
    """It is told by whom, and the other goes on undisturbed."""
    which = "impure"
    with zombie_of(url, which) as zombie, FactLog.open(url) as log:
        zombie.stop()
        wait_until_over(log)
        told: list[str] = []

        def meanwhile() -> None:
            before = contents_of(log)
            told.append(zombie.wake())
            assert before == contents_of(log)

        engine_of(which, meanwhile).recover_sync(log).unwrap()

        assert told[0].startswith("ended NotJournaled TakenOver run r")
        assert f"it was taken over by process {os.getpid()} on " in told[0]
        assert expected(which) == log.to_bytes(RUN)
        assert [] == log.unfinished()


def test_a_stopped_writer_whose_run_was_finished_and_resumed_writes_nothing(url: str) -> None:
    """The lease that it remembers is not the one that the run got when it went on."""
    with zombie_of(url, "gated") as zombie, FactLog.open(url) as log:
        zombie.stop()
        wait_until_over(log)
        engine = engine_of("gated")
        (paused,) = engine.recover_sync(log).unwrap().results.values()
        assert isinstance(paused.stop, AwaitingApproval)
        done = engine.resume_sync("r", [Approve(paused.stop.gates[0], by="ana")], log=log)
        before = contents_of(log)
        told = zombie.wake()

        assert isinstance(done.stop, Converged)
        assert before == contents_of(log)
        assert done.context == replay(log, RUN)
        assert told.startswith("ended NotKept TakenOver run r")


def test_a_stopped_writer_whose_run_is_being_resumed_elsewhere_writes_nothing(url: str) -> None:
    """Not even while somebody else holds the run, in an epoch of the same number."""
    with zombie_of(url, "gated") as zombie, FactLog.open(url) as log:
        zombie.stop()
        wait_until_over(log)
        engine_of("gated").recover_sync(log).unwrap()
        log.claim(RUN)
        before = contents_of(log)
        told = zombie.wake()

        assert before == contents_of(log)
        assert told.startswith("ended NotKept TakenOver run r")
        assert f"taken over by process {os.getpid()} on " in told


def test_a_stopped_writer_that_wakes_up_before_its_time_is_up_goes_on(url: str) -> None:
    """Nobody has taken its run."""
    with zombie_of(url, "impure") as zombie, FactLog.open(url) as log:
        zombie.stop()
        told = zombie.wake()

        assert "ended Converged" == told
        assert expected("impure") == log.to_bytes(RUN)


def test_a_run_is_left_alone_as_long_as_its_stopped_writer_has_time(tmp_path: Path) -> None:
    """Who asks is told by whom it is written; nothing is changed."""
    url = str(tmp_path / "log.db")
    with zombie_of(url, "pure") as zombie, FactLog.open(url) as log:
        holder = log.holder(RUN)
        skipped = engine_of("pure").recover_sync(log).skipped

        assert holder is not None
        assert holder.where.startswith(f"process {zombie.pid} on ")
        assert f"run r is being written by process {zombie.pid} on " in str(skipped[RUN])
        assert "ended Converged" == zombie.wake()


def test_nobody_takes_a_file_of_json_lines_over_while_its_writer_lives(tmp_path: Path) -> None:
    """However long it stands still: the file is locked; when it goes on, it ends as if nothing had been."""
    url = str(tmp_path / "log.jsonl")
    with zombie_of(url, "impure") as zombie:
        with FactLog.open(url) as log:
            zombie.stop()
            wait_until_over(log)
            before = Path(url).read_bytes()
            skipped = engine_of("impure").recover_sync(log).skipped

            assert isinstance(skipped[RUN], StoreError)
            assert "log.jsonl is being written by another process" in str(skipped[RUN])
            assert before == Path(url).read_bytes()
        assert "ended Converged" == zombie.wake()
        with FactLog.open(url) as log:
            assert expected("impure") == log.to_bytes(RUN)


def test_the_death_of_a_stopped_writer_frees_its_run(url: str) -> None:
    """At once, since it can be seen from here that it is dead."""
    with zombie_of(url, "impure") as zombie, FactLog.open(url) as log:
        zombie.stop()
        zombie.end()
        engine_of("impure").recover_sync(log).unwrap()

        assert expected("impure") == log.to_bytes(RUN)
