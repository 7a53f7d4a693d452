"""The command line as a process of its own: signals, pipes, terminals, encodings."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quiesce.engine.cli_codes import Code
from quiesce.facts import FactLog
from support.commands import ORDERS, quiesce, say

COMMAND = [sys.executable, "-m", "quiesce.engine.cli"]
TESTS = Path(__file__).parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "QUIESCE_LOG", "NO_COLOR")}

pytestmark = pytest.mark.slow


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """The input of every run here."""
    return say(tmp_path / "facts.jsonl", ("cli-ticket", "t1", {"text": "refund please"}))


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; where it runs, tests/support can be imported."""
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, cwd=TESTS, timeout=60,
        env={**ENVIRONMENT, **environment},
    )  # fmt: skip


def test_payloads_of_unknown_classes_are_shown_as_their_json(facts: Path, tmp_path: Path) -> None:
    """A log is read without the code that wrote it; --import brings the classes."""
    log = tmp_path / "run.jsonl"
    quiesce("run", f"{ORDERS}:engine", "--input", facts, "--log", log, "--run-id", "r1")
    opaque = run("why", "r1", "cli-plan:t1", "--log", log)
    known = run("why", "r1", "cli-plan:t1", "--log", log, "--import", ORDERS)

    assert opaque.stdout.splitlines()[0] == 'cli-plan:t1  by plan v2 in cycle 1, confidence 0.75  {"queue":"billing"}'
    assert known.stdout.splitlines()[0] == "cli-plan:t1  by plan v2 in cycle 1, confidence 0.75  queue='billing'"


def test_json_does_not_depend_on_what_is_imported(facts: Path, tmp_path: Path) -> None:
    """Machines read the same whether a payload's class is known or not."""
    log = tmp_path / "run.jsonl"
    quiesce("run", f"{ORDERS}:engine", "--input", facts, "--log", log, "--run-id", "r1")
    opaque = run("replay", "r1", "--log", log, "--json")

    assert opaque.stdout == quiesce("replay", "r1", "--log", log, "--json").out


def test_ctrl_c_leaves_a_log_that_says_so(facts: Path, tmp_path: Path) -> None:
    """The run is cancelled, the log is sound, and the line tells how to look at it."""
    log = tmp_path / "run.jsonl"
    words = ["run", f"{ORDERS}:waiting", "--input", str(facts), "--log", str(log), "--run-id", "r1"]
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=TESTS, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "called\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    seen = f"quiesce replay r1 --log {log} --import {ORDERS}"
    assert (process.returncode, out, err) == (
        Code.INTERRUPTED, "", f"quiesce: interrupted: run r1 was cancelled. What it has: {seen}\n"
    )  # fmt: skip
    with FactLog.open(log) as kept:
        stopped = kept.stopped("r1")
    assert stopped is not None
    assert stopped.stop["kind"] == "cancelled"
    assert quiesce("verify", "--log", log).code == 0


def test_a_reader_that_stops_reading_is_no_error(facts: Path, tmp_path: Path) -> None:
    """No traceback, no complaint of Python at its end, and a run goes on to its end."""
    log = tmp_path / "run.jsonl"
    words = ["run", f"{ORDERS}:engine", "--input", str(facts), "--log", str(log), "--run-id", "r1", "--live"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        closed = subprocess.run(
            [*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, check=False, cwd=TESTS, env=ENVIRONMENT
        )
    finally:
        os.close(writing)

    assert (closed.returncode, closed.stderr) == (Code.CLOSED, b"")
    with FactLog.open(log) as kept:
        stopped = kept.stopped("r1")
    assert stopped is not None
    assert stopped.stop["kind"] == "converged"


def test_a_log_that_cannot_be_kept_ends_the_run(facts: Path, tmp_path: Path) -> None:
    """A full disk, played by a limit on the size of files."""
    log = tmp_path / "run.jsonl"
    facts.write_text(facts.read_text(encoding="utf-8").replace("please", "please " * 5_000), encoding="utf-8")
    words = [*COMMAND, "run", f"{ORDERS}:engine", "--input", str(facts), "--log", str(log), "--run-id", "r1"]
    full = subprocess.run(
        ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *words], capture_output=True, text=True, check=False, cwd=TESTS,
        env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip

    assert full.stderr.startswith("quiesce: run r1: event 0 (run_started, cycle_committed) could not be kept: ")
    assert (full.returncode, full.stderr.count("\n")) == (Code.FAILED, 1)


def test_a_terminal_sees_who_is_running(facts: Path) -> None:
    """Cycles stay, the line about this moment is drawn over; nothing of it is left in a file."""
    ours, theirs = pty.openpty()
    words = ["run", f"{ORDERS}:sluggish", "--input", str(facts), "--live"]
    process = subprocess.Popen(
        [*COMMAND, *words], stdout=theirs, stderr=theirs, cwd=TESTS, env={**ENVIRONMENT, "TERM": "xterm-256color"}
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux tells that the other side was closed
        pass
    os.close(ours)

    assert process.wait(timeout=30) == Code.OK
    assert b"running  " in shown
    assert b"slow 0." in shown
    assert b"\x1b[1mcycle 1\x1b[0m" in shown


def test_an_output_that_knows_no_arrows_gets_escapes(facts: Path, tmp_path: Path) -> None:
    """No encoding of the terminal makes a command fail."""
    log = tmp_path / "run.jsonl"
    quiesce("run", f"{ORDERS}:engine", "--input", facts, "--log", log, "--run-id", "r1")
    answer = run("why", "r1", "cli-plan:t1", "--log", log, PYTHONIOENCODING="ascii")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[1].startswith(r"\u2514\u2500 cli-ticket:t1")
