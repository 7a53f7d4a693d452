"""Holds leases to their promise: one writer for each run at a time, whoever wakes up late writes nothing."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from weakref import ref

import pytest

from quiesce.facts import FactLog, Fenced, Leased, RunId, StoreError, TakenOver
from quiesce.facts import lease as leases
from quiesce.facts.event import CycleCommitted, RunStopped
from quiesce.facts.stores import Address, Batch, SqliteStore
from support.payloads import STOPPED, note_fact, started

RUN = RunId("r")
TESTS = Path(__file__).parents[1]


class Clocked(SqliteStore):
    """A store whose clock a test can set forward, and that tells when a lease was renewed."""

    ahead = 0.0
    fails = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.renewed = Event()

    def now(self) -> float:
        return super().now() + Clocked.ahead

    def commit(self, batch: Batch) -> None:
        if self.fails:
            raise StoreError("the disk is full")
        super().commit(batch)
        if batch.puts and not batch.records:
            self.renewed.set()


@pytest.fixture(autouse=True)
def _no_time_has_passed() -> Iterator[None]:
    yield
    Clocked.ahead = 0.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def open_log(file: Path, lease: float = 30.0) -> FactLog:
    return FactLog(Clocked(file), lease=lease)


def begun(file: Path) -> FactLog:
    """Returns a log that holds a run with one event."""
    log = open_log(file)
    log.claim(RUN)
    log.append(RUN, [started("facts-note")], seq=0)
    return log


def cycle(number: int = 0) -> CycleCommitted:
    return CycleCommitted(number, (), [note_fact(f"n{number}", cycle=number)])


def bytes_of(log: FactLog) -> list[object]:
    """Returns all that a store holds."""
    spaces = ("lease", "journal", "memo")
    return [log.to_bytes(run) for run in log.runs()] + [note for space in spaces for note in log.store.notes(space)]


def work(what: str, file: Path) -> str:
    """Returns what another process says."""
    done = subprocess.run(
        [sys.executable, "-m", "support.lease_worker", what, str(file)],
        cwd=TESTS, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout


def test_a_run_that_is_being_written_is_left_alone(file: Path) -> None:
    """Whoever asks is told which process holds it, and for how long."""
    with begun(file), open_log(file) as other:
        Clocked.ahead = 20.0
        before = bytes_of(other)
        with pytest.raises(Leased) as told:
            other.claim(RUN)

        assert f"is being written by process {os.getpid()} on " in str(told.value)
        assert "holds for another 10 s" in str(told.value)
        assert before == bytes_of(other)
        assert [RUN] == other.unfinished()


def test_a_task_of_the_same_log_is_left_alone_too(file: Path) -> None:
    with begun(file) as log:
        with pytest.raises(Leased, match="another task of this process"):
            log.claim(RUN)
        log.append(RUN, [cycle()], seq=1)

        assert 2 == log.length(RUN)


def test_who_wakes_up_after_its_time_writes_nothing(file: Path) -> None:
    """Neither events nor notes; and is told who has the run now."""
    with begun(file) as sleeper, open_log(file) as other:
        Clocked.ahead = 31.0
        other.claim(RUN)
        before = bytes_of(other)
        address = Address("journal", RUN, "a")

        with pytest.raises(TakenOver, match=f"taken over by process {os.getpid()} on .* held it in epoch 1, stood"):
            sleeper.append(RUN, [cycle()], seq=1)
        with pytest.raises(TakenOver, match="taken over by process"):
            sleeper.append(RUN, [cycle()])
        with pytest.raises(TakenOver, match="taken over by process"):
            sleeper.keep({address: b"{}"}, run=RUN)
        assert before == bytes_of(other)
        other.append(RUN, [cycle()], seq=1)
        before = bytes_of(other)
        with pytest.raises(TakenOver, match="taken over by process"):  # not only that the log has gone on
            sleeper.append(RUN, [cycle()], seq=1)
        with pytest.raises(TakenOver, match="taken over by process"):
            sleeper.append(RUN, [cycle()])
        other.append(RUN, [RunStopped(STOPPED, 1)], seq=2)
        with pytest.raises(TakenOver, match=f"it was taken over and ended by process {os.getpid()} on "):
            sleeper.append(RUN, [cycle()], seq=1)
        sleeper.release(RUN)

        assert 3 == other.length(RUN)
        assert before[1:] == [*bytes_of(other)[1:], *before[1:]]
        assert isinstance(told := TakenOver("r", 1, "x"), Fenced)
        assert (1, "x") == (told.epoch, told.holder)


def test_who_wakes_up_after_the_run_was_resumed_by_somebody_writes_nothing(file: Path) -> None:
    """A run that ended and began again is in epoch 1 again; what is compared is the stamp."""
    with begun(file) as sleeper, open_log(file) as other, open_log(file) as third:
        Clocked.ahead = 31.0
        other.claim(RUN)
        other.append(RUN, [cycle(), RunStopped(STOPPED, 1)])
        third.claim(RUN)
        before = bytes_of(third)
        holder = third.holder(RUN)

        assert holder is not None
        assert 1 == holder.epoch
        with pytest.raises(TakenOver):
            sleeper.append(RUN, [cycle()], seq=1)
        with pytest.raises(TakenOver):
            sleeper.keep({}, run=RUN)
        assert before == bytes_of(third)


def test_renewing_keeps_a_run(file: Path) -> None:
    """A renewal moves the time on and changes nothing else that is compared."""
    with begun(file) as log, open_log(file) as other:
        Clocked.ahead = 29.0
        log._held.by_run[RUN].renewed -= 29.0
        log.renew()
        Clocked.ahead = 58.0
        with pytest.raises(Leased):
            other.claim(RUN)
        log.append(RUN, [cycle()], seq=1)
        Clocked.ahead = 60.0
        other.claim(RUN)

        with pytest.raises(TakenOver):
            log.append(RUN, [cycle(1)], seq=2)


def test_a_lease_that_is_not_due_is_not_renewed(file: Path) -> None:
    with begun(file) as log:
        before = bytes_of(log)
        log.renew()

        assert before == bytes_of(log)


def test_who_renews_too_late_learns_it_when_it_writes(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The thread that renews has nobody to tell but the log of the program."""
    with begun(file) as sleeper, open_log(file) as other:
        Clocked.ahead = 31.0
        other.claim(RUN)
        before = bytes_of(other)
        sleeper._held.by_run[RUN].renewed -= 31.0
        sleeper.renew()

        assert "lease of run r not written: run r: it was taken over by process" in caplog.text
        assert before == bytes_of(other)
        with pytest.raises(TakenOver):
            sleeper.append(RUN, [cycle()], seq=1)


def test_a_lease_is_renewed_while_nobody_looks(file: Path) -> None:
    with begun(file), FactLog(store := Clocked(file), lease=0.3) as log:
        log.claim(RunId("s"))
        log.append(RunId("s"), [started("facts-note")])
        first = log.holder("s")
        store.renewed.clear()

        assert store.renewed.wait(30)
        later = log.holder("s")
        assert first is not None
        assert later is not None
        assert first.until < later.until


def test_renewing_goes_on_after_a_store_that_failed(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the same log nor another loses its leases by it."""
    with FactLog(Clocked(file), lease=0.3) as log, FactLog(Clocked(tmp_path / "other.db"), lease=0.3) as other:
        for each in (log, other):
            each.claim(RUN)
            each.append(RUN, [started("facts-note")])
        store, healthy = log.store, other.store
        assert isinstance(store, Clocked)
        assert isinstance(healthy, Clocked)
        store.fails = True
        for _ in range(2):
            healthy.renewed.clear()
            assert healthy.renewed.wait(30)
        store.fails = False
        store.renewed.clear()

        assert store.renewed.wait(30)
        assert "lease of run r not written: the disk is full" in caplog.text


def test_a_run_that_is_given_back_can_be_had_at_once(file: Path) -> None:
    with begun(file) as log, open_log(file) as other:
        log.release(RUN)
        log.release(RUN)
        other.claim(RUN)
        holder = other.holder(RUN)

        assert holder is not None
        assert 2 == holder.epoch
        assert [RUN] == other.unfinished()
        log.append(RUN, [cycle()])  # who holds no lease has only the fence of the events
        with pytest.raises(Fenced, match="another writer has appended"):
            other.append(RUN, [cycle()], seq=1)


def test_giving_back_does_not_hide_why_a_run_ended(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails in that moment is told of in the log of the program."""
    log = begun(file)
    store = log.store
    assert isinstance(store, Clocked)
    store.fails = True
    log.release(RUN)
    store.fails = False

    assert "lease of run r not written: the disk is full" in caplog.text
    log.claim(RUN)
    log._held.by_run[RUN].written = True
    log.store.commit(Batch(dropped={RUN}))
    log.release(RUN)
    assert "is not in this log" in caplog.text
    log.close()


def test_a_closed_log_holds_nothing(file: Path) -> None:
    """Nobody of this process can write to the run any more, so it is not waited for."""
    with open_log(file) as other:
        begun(file).close()
        other.claim(RUN)

        assert RUN in other._held.by_run


def test_a_log_that_is_no_more_holds_nothing(file: Path) -> None:
    """Not even the thread that renews leases keeps it alive."""
    log = begun(file)
    store, gone = log.store, ref(log)
    del log
    gc.collect()

    assert gone() is None
    with open_log(file) as other:
        other.claim(RUN)
    store.close()


@pytest.mark.slow
def test_the_thread_that_renews_lives_on_when_the_last_log_is_gone(file: Path) -> None:
    assert "0 True\n" == work("collect", file)


@pytest.mark.slow
def test_the_death_of_a_process_is_seen_at_once(file: Path) -> None:
    """No time has to pass, unless it ran elsewhere; of another start of this machine nothing is known either."""
    work("leave", file)
    with open_log(file) as log:
        (_, note), *_ = log.store.notes(leases.SPACE)
        holder = leases.Holder.read(RUN, note.value[16:])
        elsewhere = leases.Holder(
            holder.epoch, holder.until, holder.where, holder.log, ("other", *holder.process[1:])
        )  # fmt: skip

        assert [RUN] == log.unfinished()
        assert holder.until > log.store.now()
        assert not elsewhere.is_over(log.store.now(), RUN)
        assert elsewhere.is_over(holder.until, RUN)
        log.claim(RUN)
        log.append(RUN, [cycle(), RunStopped(STOPPED, 1)], seq=1)
        assert [] == log.unfinished()


def test_another_process_that_got_the_same_number_is_not_the_one_that_died(file: Path) -> None:
    """A number alone says nothing: the time at which the process began is compared too."""
    with begun(file) as log:
        value = json.loads(log.notes(leases.SPACE).__next__()[1])
        value["begun"], value["pid"] = "1", os.getppid()

        assert leases.Holder.read(RUN, json.dumps(value).encode()).is_over(log.store.now(), RUN)


@pytest.mark.slow
def test_a_forked_process_has_none_of_the_leases(file: Path) -> None:
    """It is told to open the log by itself, renews nothing, and the one that forked it goes on."""
    assert "0 ['r', 's'] 2\n" == work("fork", file)


def test_an_unfinished_run_that_was_loaded_belongs_to_nobody(file: Path) -> None:
    with FactLog.open() as source, open_log(file) as log:
        source.append(RUN, [started("facts-note"), cycle()])
        log.load(source.export(RUN))
        holder = log.holder(RUN)

        assert holder is not None
        assert ("nobody", 0) == (holder.where, holder.epoch)
        assert [RUN] == log.unfinished()
        log.claim(RUN)
        log.append(RUN, [RunStopped(STOPPED, 1)], seq=2)
        assert log.holder(RUN) is None


def test_a_run_that_was_only_about_to_be_resumed_is_not_unfinished(file: Path) -> None:
    """Its process died between taking the run and writing to it: the run stands as it stood."""
    with begun(file) as log:
        log.append(RUN, [cycle(), RunStopped(STOPPED, 1)])
        log.claim(RUN)

        assert log.holder(RUN) is not None
        assert [] == log.unfinished()


def test_of_two_who_claim_at_once_one_is_told_of_the_other(file: Path) -> None:
    """Both have read that nobody holds the run; the transaction decides."""

    class Late(Clocked):
        hurry: FactLog | None = None

        def commit(self, batch: Batch) -> None:
            if self.hurry is not None:
                faster, self.hurry = self.hurry, None
                faster.claim(RUN)
            super().commit(batch)

    begun(file).close()
    with open_log(file) as other, FactLog(late := Late(file)) as log:
        late.hurry = other
        with pytest.raises(Leased):
            log.claim(RUN)

        assert RUN in other._held.by_run
        assert RUN not in log._held.by_run


def test_of_two_who_begin_a_run_at_once_one_is_fenced(file: Path) -> None:
    """The first lease of a run is written with its first events."""
    with open_log(file) as log, open_log(file) as other:
        log.claim(RUN)
        other.claim(RUN)
        log.append(RUN, [started("facts-note")], seq=0)

        with pytest.raises(Fenced) as told:
            other.append(RUN, [started("facts-note")], seq=0)
        assert type(told.value) is Fenced
        log.append(RUN, [cycle()], seq=1)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"epoch":1}', b"[" * 100_000])
def test_a_lease_that_cannot_be_read_is_told_of(raw: bytes) -> None:
    with pytest.raises(StoreError, match="run r: its lease cannot be read"):
        leases.Holder.read("r", raw)
