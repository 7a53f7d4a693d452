"""The commands over durable logs as processes: one waits and another decides, one is killed and another finishes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quiesce.engine.cli_codes import Code
from quiesce.facts import FactLog
from support.commands import quiesce, say

COMMAND = [sys.executable, "-m", "quiesce.engine.cli"]
TESTS = Path(__file__).parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "QUIESCE_LOG", "NO_COLOR")}
DURABLE = "support.cli_durable"
FIXED = ("--seed", "7", "--started", "2026-01-01T00:00:00+00:00")

pytestmark = pytest.mark.slow


@pytest.fixture(params=["runs.db", "runs.jsonl"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a log may be, in a folder of its own, beside the input of every run here."""
    say(tmp_path / "facts.jsonl", ("cli-ticket", "t1", {"text": "refund please"}))
    return tmp_path / str(request.param)


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; where it runs, tests/support can be imported."""
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, cwd=TESTS, timeout=60,
        env={**ENVIRONMENT, **environment},
    )  # fmt: skip


def run_words(engine: str, log: Path, name: str = "r1") -> list[str | Path]:
    """Returns the words that run an engine over the one ticket."""
    return [
        "run", f"{DURABLE}:{engine}", "--input", log.parent / "facts.jsonl", "--log", log, "--run-id", name, *FIXED
    ]  # fmt: skip


def test_what_one_process_waits_for_another_decides(log: Path) -> None:
    """The hint of the first is the command of the second, but for the name of who decides."""
    waiting = run(*run_words("gated", log))
    hint = next(line for line in waiting.stdout.splitlines() if line.startswith("approve it: quiesce "))
    gates = quiesce("gates", "--log", log, "--json")
    decided = run(*hint.removeprefix("approve it: quiesce ").replace("NAME", "ana").split(), "--json")

    assert (waiting.returncode, decided.returncode) == (Code.AWAITING, Code.OK)
    assert gates.document["payload"] == {"queue": "billing"}
    assert json.loads(decided.stdout)["stop"] == {"kind": "converged", "cycles": 1}


def test_a_run_that_was_killed_is_finished_by_another_process(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte as if nobody had been killed."""
    words = [*COMMAND, *map(str, run_words("killed", log))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=TESTS, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "called\n"
        alive = quiesce("recover", "--list", "--log", log, "--json")
        process.kill()
    left = quiesce("recover", "--list", "--log", log, "--json")
    found = run("recover", "--log", log, "--engine", f"{DURABLE}:killed", "--json", QUIESCE_TEST_GO="1")
    monkeypatch.setenv("QUIESCE_TEST_GO", "1")
    never = quiesce(*run_words("killed", log.with_name(f"never-{log.name}")))

    assert process.returncode == -signal.SIGKILL
    assert (alive.document["held"], left.document["held"]) == (True, False)
    assert (found.returncode, never.code) == (Code.OK, Code.OK)
    assert json.loads(found.stdout)["recovered"] is True
    with FactLog.open(log) as kept, FactLog.open(log.with_name(f"never-{log.name}")) as whole:
        assert kept.to_bytes("r1") == whole.to_bytes("r1")


def test_a_run_that_is_under_way_is_left_alone(tmp_path: Path) -> None:
    """Whoever would finish it is told who writes it, and nothing waits for the lease."""
    log = tmp_path / "runs.db"
    say(tmp_path / "facts.jsonl", ("cli-ticket", "t1", {"text": "refund please"}))
    words = [*COMMAND, *map(str, run_words("killed", log))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=TESTS, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        recovered = quiesce("recover", "--log", log, "--engine", f"{DURABLE}:killed")
        decided = quiesce("approve", "r1", "g-1", "--by", "ana", "--log", log, "--engine", f"{DURABLE}:killed")
        process.kill()

    assert recovered.code == Code.OK
    assert recovered.out.startswith(f"left      r1  run r1 is being written by process {process.pid} on ")
    assert decided.code in {Code.MISUSE, Code.BUSY}
    assert len(decided.err.splitlines()) == 1


def test_exported_bytes_do_not_depend_on_the_terminal(tmp_path: Path) -> None:
    """An encoding that knows no umlauts must not change what was hashed."""
    log = tmp_path / "runs.db"
    say(tmp_path / "facts.jsonl", ("cli-ticket", "t1", {"text": "grüße → ☃"}))
    quiesce(*run_words("free", log))
    with (tmp_path / "piped.jsonl").open("wb") as piped:
        words = [*COMMAND, "export", "r1", "--log", str(log)]
        subprocess.run(words, stdout=piped, check=True, cwd=TESTS, env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"})
    taken = quiesce("import", tmp_path / "piped.jsonl", "--log", tmp_path / "other.db")

    assert "grüße → ☃" in (tmp_path / "piped.jsonl").read_text(encoding="utf-8")
    assert (taken.code, taken.out) == (0, "r1\n")


def test_a_full_disk_under_an_export_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    """Played by a limit on the size of files."""
    log, out = tmp_path / "runs.db", tmp_path / "r1.jsonl"
    say(tmp_path / "facts.jsonl", ("cli-ticket", "t1", {"text": "long " * 40_000}))
    quiesce(*run_words("free", log))
    words = [*COMMAND, "export", "r1", "--log", str(log), "--out", str(out)]
    full = subprocess.run(
        ["sh", "-c", 'ulimit -f 128; exec "$@"', "sh", *words], capture_output=True, text=True, check=False, cwd=TESTS,
        env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip

    assert full.stderr == f"quiesce: {out} cannot be written: File too large\n"
    assert full.returncode == Code.FAILED
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("r1")] == []


def test_a_password_is_shown_nowhere() -> None:
    """Neither in the line of an error nor in its traceback; a server that is not there is nobody's typing mistake."""
    url = "postgresql://ana:swordfish@localhost:1/none?connect_timeout=1&patience=0"
    answer = run("recover", "--list", "--log", url, "--debug")

    assert "swordfish" not in answer.stdout + answer.stderr
    assert answer.stderr.startswith("Traceback ")
    assert answer.stderr.splitlines()[-1].startswith("quiesce: ")
    assert answer.returncode == Code.FAILED
