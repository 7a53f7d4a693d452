"""Shows what the JSON lines store does when its file is damaged, torn, locked or cannot be written."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from quiesce.facts import Broken, Context, FactLog, LogError, RunId, StoreError, Verification, replay, verify
from quiesce.facts.event import CycleCommitted, GateDecided, RunStarted, RunStopped
from quiesce.facts.lines import peek_event
from quiesce.facts.stores import JsonLinesStore
from quiesce.facts.trail import Decision
from support.payloads import note_fact, started

RUN = RunId("r")


def log_at(place: Path) -> Path:
    """Writes two runs into one file: two cycles in batches of their own, and two that are one batch with a decision."""
    path = place / "log.jsonl"
    stopped = RunStopped({}, 2)
    with FactLog.open(path) as log:
        log.append(RUN, [RunStarted("", 1, (), {})])
        log.append(RUN, [CycleCommitted(0, (), [note_fact("a", "one")])])
        log.append(RUN, [CycleCommitted(1, (), [note_fact("c", "two", 1, ("facts-note:a",))])])
        log.append(RUN, [stopped])
        decided = GateDecided(Decision("g", note_fact("a").ref, True, "ana", "", ""))
        log.append(RunId("s"), [RunStarted("", 1, (), {})])
        log.append(
            RunId("s"),
            [CycleCommitted(0, (), [note_fact("x", "ex")]), decided, CycleCommitted(1, (), [note_fact("y", "y", 1)])],
        )
        log.append(RunId("s"), [stopped])
    return path


@dataclass
class Sound:
    """What the undamaged file says of a run."""

    records: list[tuple[bytes, dict[str, bytes]]]
    contexts: list[Context]

    @classmethod
    def of(cls, path: Path, run: str) -> Sound:
        with FactLog.open(path) as log:
            records = [(record.raw, dict(record.payloads)) for record in log.records(run)]
            cycles = replay(log, run).trail.cycle
            return cls(records, [replay(log, run, at=cycle) for cycle in range(cycles + 1)])


def check(path: Path, sound: dict[str, Sound]) -> list[Verification]:
    """Checks that a damaged file tells nothing wrong, and returns what verifying each of its runs found.

    What is read of a run is the beginning of what was written; what `verify` says is intact can be replayed.
    """
    with FactLog.open(path) as log:
        found = [verify(log, run) for run in log.runs()]
        for one in found:
            whole = sound.get(one.run)
            assert whole is not None or not one.ok
            records: list[tuple[bytes, dict[str, bytes]]] = []
            try:
                records.extend((record.raw, dict(record.payloads)) for record in log.records(one.run))
            except LogError:
                assert not one.ok
            if whole is not None:
                assert records[: one.events] == whole.records[: one.events] or one.gone
            if whole is not None and one.cycle is not None and not one.gone:
                assert whole.contexts[one.cycle] == replay(log, one.run, at=one.cycle)
        return found


def owner(lines: Sequence[bytes], number: int) -> tuple[str, int]:
    """Returns the run and the event to which a line belongs; a commit line belongs to the last event before it."""
    order = range(number, -1, -1) if lines[number].startswith(b'{"commit"') else range(number, len(lines))
    return next(found for at in order if (found := peek_event(lines[at])) is not None)


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_a_flipped_byte_anywhere_is_found_and_told_of_its_event(mask: int, tmp_path: Path) -> None:
    path = log_at(tmp_path)
    whole = path.read_bytes()
    sound = {run: Sound.of(path, run) for run in ("r", "s")}
    lines = whole.splitlines(keepends=True)
    at = 0
    for number, line in enumerate(lines):
        run, seq = owner(lines, number)
        for place in range(0, len(line), 1 if mask == 0x01 else 3):
            path.write_bytes(whole[: at + place] + bytes([line[place] ^ mask]) + whole[at + place + 1 :])
            faults = {one.run: one.fault for one in check(path, sound) if one.fault is not None}

            assert faults, f"byte {at + place}"
            told = faults.get(RunId(run))
            assert told is None or abs(told.event - seq) <= 1, f"byte {at + place}: {told}, not {seq}"
        at += len(line)


def changes(lines: list[bytes]) -> Iterator[tuple[str, int, list[bytes]]]:
    for number in range(len(lines)):
        yield "removed", number, lines[:number] + lines[number + 1 :]
        yield "doubled", number, lines[: number + 1] + lines[number:]
        for other in range(number + 1, len(lines)):
            swapped = list(lines)
            swapped[number], swapped[other] = lines[other], lines[number]
            yield f"swapped with {other}", number, swapped


@pytest.mark.slow
def test_a_line_that_is_removed_doubled_or_moved_is_found_or_does_no_harm(tmp_path: Path) -> None:
    path = log_at(tmp_path)
    sound = {run: Sound.of(path, run) for run in ("r", "s")}
    lines = path.read_bytes().splitlines(keepends=True)
    for what, number, changed in changes(lines):
        path.write_bytes(b"".join(changed))
        with FactLog.open(path) as log:
            torn = log.store.torn if isinstance(log.store, JsonLinesStore) else 0
            unharmed = set(log.runs()) == {"r", "s"} and all(
                [(record.raw, dict(record.payloads)) for record in _read(log, run)] == sound[run].records
                for run in ("r", "s")
            )
        found = check(path, sound)

        assert (
            unharmed or torn or any(not one.ok or one.gone for one in found) or {one.run for one in found} != {"r", "s"}
        ), (what, number)


def _read(log: FactLog, run: str) -> list[Any]:
    try:
        return list(log.records(run))
    except LogError:
        return []


@pytest.mark.parametrize(
    ("number", "problem", "intact"),
    [
        (0, "is damaged ({path}, line 1: its event does not match its digest)", "Nothing before it is intact"),
        (2, "is damaged ({path}, line 3: its payload does not match its digest)", "Nothing before it is intact"),
        (4, "is damaged ({path}, line 5: its commit does not match its digest)", "Nothing before it is intact"),
        (
            6,
            "is damaged ({path}, line 7: its event does not match its digest)",
            "Cycles up to 0 are intact: replay(log, 'r', at=0)",
        ),
    ],
)
def test_the_message_names_run_event_file_line_and_what_is_left(
    number: int, problem: str, intact: str, tmp_path: Path
) -> None:
    path = log_at(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number][:-5] + b"~" + lines[number][-4:]
    path.write_bytes(b"".join(lines))
    seq = owner(lines, number)[1]
    with FactLog.open(path) as log:
        found = verify(log, "r")

    assert found.fault is not None
    assert (seq, problem.format(path=path)) == (found.fault.event, found.fault.problem)
    assert f"run r: event {seq} {problem.format(path=path)}. {intact}" == str(found)


def test_damage_of_one_run_leaves_the_others_readable(tmp_path: Path) -> None:
    path = log_at(tmp_path)
    sound = Sound.of(path, "s")
    path.write_bytes(path.read_bytes().replace(b'"text":"one"', b'"text":"uno"'))
    with FactLog.open(path) as log:
        with pytest.raises(Broken) as caught:
            replay(log, "r")

        assert ("r", 1) == (caught.value.run, caught.value.seq)
        assert sound.contexts[-1] == replay(log, "s")
        assert (False, True) == (verify(log, "r").ok, verify(log, "s").ok)


def test_an_unknown_event_version_is_told_and_not_guessed_at(tmp_path: Path) -> None:
    """Its digests are right: a newer build wrote it."""
    path = log_at(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    body = lines[3][len(b'{"event":"","body":') + 64 : -2].replace(b'{"v":1,', b'{"v":2,')
    lines[3] = b'{"event":"%s","body":%s}\n' % (sha256(body).hexdigest().encode(), body)
    path.write_bytes(b"".join(lines))
    with FactLog.open(path) as log:
        with pytest.raises(LogError) as caught:
            replay(log, "r")
        found = verify(log, "r")

    expected = "run r: event 1 has format version 2; this build reads up to 1. Upgrade quiesce"
    assert expected == str(caught.value)
    assert found.fault is not None
    assert 1 == found.fault.event
    assert "format version 2" in found.fault.problem


# --- tearing ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_that_was_torn_anywhere_is_read_up_to_there_and_goes_on(tmp_path: Path) -> None:
    """What a crash left of the last batch is not read, and is cut off by the next append."""
    path = log_at(tmp_path)
    whole = path.read_bytes()
    sound = {run: Sound.of(path, run) for run in ("r", "s")}
    ends = [
        at
        for at in range(1, len(whole) + 1)
        if whole[:at].endswith(b"\n") and whole[:at].splitlines()[-1].startswith(b'{"commit"')
    ]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        end = max([at for at in ends if at <= size], default=0)
        with FactLog.open(path) as log:
            assert isinstance(log.store, JsonLinesStore)
            torn = log.store.torn
            found = [verify(log, run) for run in log.runs()]
            log.append(RunId("new"), [started("facts-note")])

        assert size - end == torn
        assert all(one.ok for one in found)
        assert path.read_bytes()[:end] == whole[:end]
        with FactLog.open(path) as again:
            assert verify(again, "new").ok
            assert [*(one.run for one in found), "new"] == again.runs()
            for one in found:
                assert [raw for raw, _ in sound[one.run].records[: one.events]] == [
                    record.raw for record in again.records(one.run)
                ]


def test_a_torn_run_goes_on_where_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with FactLog.open(path) as log:
        log.append(RUN, [started("facts-note")])
        log.append(RUN, [CycleCommitted(0, (), [note_fact("a")])])
    path.write_bytes(path.read_bytes()[:-1])
    with FactLog.open(path) as log:
        log.append(RUN, [CycleCommitted(0, (), [note_fact("b")])])
        log.append(RUN, [RunStopped({"kind": "converged", "cycles": 0}, 1)])

        assert verify(log, RUN).ok
        assert ["facts-note:b"] == [fact.ref for fact in replay(log, RUN)]


def test_a_changed_newline_at_the_end_is_damage_and_no_tear(tmp_path: Path) -> None:
    """No crash adds a byte to a whole line; nothing is appended to it either."""
    path = log_at(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = path.read_bytes()
    with FactLog.open(path) as log:
        found = verify(log, "s")
        with pytest.raises(StoreError) as caught:
            log.append(RunId("new"), [started()])

    assert found.fault is not None
    assert 4 == found.fault.event
    assert f"{path} takes no more events: its last line is damaged. Go on in a file of its own" == str(caught.value)
    assert before == path.read_bytes()


# --- writers ----------------------------------------------------------------------------------------------------------


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first, second = FactLog.open(path), FactLog.open(path)
    first.append(RUN, [started()])
    with pytest.raises(StoreError) as caught:
        second.append(RunId("s"), [started()])

    expected = f"{path} is being written by another process, or by another FactLog of this one. "
    expected += "Close it there, or log to a file of its own"
    assert expected == str(caught.value)
    assert [RUN] == second.runs()
    first.close()
    second.append(RunId("s"), [started()])
    assert [RUN, "s"] == second.runs()
    second.close()


HOLD = """
import sys
from pathlib import Path
from quiesce.facts.stores import Batch, JsonLinesStore
from quiesce.facts import Record, RunId
JsonLinesStore(sys.argv[1]).commit(Batch.of(RunId("other"), 0, []))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_another_process_that_writes_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert "held\n" == other.stdout.readline()
        log = FactLog.open(path)
        with pytest.raises(StoreError, match="is being written by another process"):
            log.append(RUN, [started()])
        other.communicate("")
    log.append(RUN, [started()])

    assert verify(log, RUN).ok
    log.close()


def test_a_reader_sees_what_a_writer_has_appended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writer, reader = FactLog.open(path), FactLog.open(path)
    seen = []
    for seq in range(3):
        writer.append(RUN, [started() if seq == 0 else CycleCommitted(seq - 1, (), [])])
        seen.append(len(list(reader.records(RUN))))
    writer.close()

    assert [1, 2, 3] == seen
    assert [RUN] == reader.runs()


def test_nothing_is_appended_after_close(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = FactLog.open(path)
    log.append(RUN, [started()])
    log.close()
    with pytest.raises(StoreError) as caught:
        log.append(RUN, [CycleCommitted(0, (), [])])

    assert f"{path} takes no more events: it was closed. Open the log again" == str(caught.value)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    before = os.umask(0)
    try:
        with FactLog.open(path) as log:
            log.append(RUN, [started()])
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "reason"), [("no/such/log.jsonl", "No such file or directory"), ("file/log.jsonl", "Not a directory")]
)
def test_a_path_that_cannot_be_written_says_why(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / name
    with pytest.raises(StoreError) as caught:
        FactLog.open(path).append(RUN, [started()])

    assert f"{path} cannot be written: {reason}" == str(caught.value)


def test_a_path_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.mkdir()
    with pytest.raises(StoreError) as caught:
        FactLog.open(path)

    assert f"{path} cannot be read: it is not a regular file" == str(caught.value)


# --- the disk ---------------------------------------------------------------------------------------------------------


def full_disk(after: int) -> Any:
    """Returns an `os.write` that takes so many bytes and then finds the disk full."""
    left = [after]
    write = os.write

    def limited(file: int, data: bytes) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(file, data[: left[0]])
        left[0] -= taken
        return taken

    return limited


@pytest.mark.parametrize("after", [0, 1, 100, 400])
def test_a_full_disk_keeps_nothing_of_the_append_and_all_before_it(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    log = FactLog.open(path)
    log.append(RUN, [started()])
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk(after))
        with pytest.raises(StoreError) as caught:
            log.append(RUN, [CycleCommitted(0, (), [note_fact("a"), note_fact("b")])])

    assert f"{path}: No space left on device; nothing of this append was kept" == str(caught.value)
    assert before == path.read_bytes()
    log.append(RUN, [CycleCommitted(0, (), [note_fact("c")])])
    assert verify(log, RUN).ok
    assert ["facts-note:c"] == [fact.ref for fact in replay(log, RUN)]
    log.close()


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    path = log_at(tmp_path)

    assert verify(FactLog.open(path), "r").ok
    assert verify(FactLog.open(path), "s").ok


def test_after_a_failed_fsync_the_log_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what the disk has; what was acknowledged before is still there."""
    path = tmp_path / "log.jsonl"
    log = FactLog.open(path, sync="full")
    log.append(RUN, [started()])
    before = path.read_bytes()

    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="Input/output error; nothing of this append was kept"):
            log.append(RUN, [CycleCommitted(0, (), [])])
    with pytest.raises(StoreError) as caught:
        log.append(RUN, [CycleCommitted(0, (), [])])

    assert (
        f"{path} takes no more events: waiting for the disk failed ([Errno 5] Input/output error). Open the log again"
        == str(caught.value)
    )
    assert before == path.read_bytes()


def test_what_cannot_be_undone_poisons_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is cut off as torn when the log is opened again."""
    path = tmp_path / "log.jsonl"
    log = FactLog.open(path)
    log.append(RUN, [started()])

    def fail(file: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk(100))
        patched.setattr(os, "ftruncate", fail)
        with pytest.raises(StoreError, match="No space left"):
            log.append(RUN, [CycleCommitted(0, (), [note_fact("a")])])
    with pytest.raises(StoreError, match=r"could not be undone\. Open the log again"):
        log.append(RUN, [CycleCommitted(0, (), [note_fact("a")])])
    log.close()
    with FactLog.open(path) as again:
        again.append(RUN, [CycleCommitted(0, (), [note_fact("b")])])

        assert ["facts-note:b"] == [fact.ref for fact in replay(again, RUN)]
        assert verify(again, RUN).ok


@pytest.mark.parametrize(("sync", "waits"), [("normal", 0), ("full", 1)])
def test_only_full_sync_waits_for_the_disk_at_every_append(
    sync: Any, waits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What making the file takes, at the first append, is no matter."""
    waited: list[int] = []
    with FactLog.open(tmp_path / "log.jsonl", sync=sync) as log:
        log.append(RUN, [started()])
        monkeypatch.setattr(os, "fsync", waited.append)
        log.append(RUN, [CycleCommitted(0, (), []), CycleCommitted(1, (), [])])
        log.append(RUN, [RunStopped({}, 0)])

    assert 2 * waits == len(waited)
