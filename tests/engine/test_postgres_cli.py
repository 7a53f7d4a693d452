"""The commands over a log on PostgreSQL: the same as over a file, but for what a server can do to them."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import pytest

from quiesce.engine.cli_codes import Code
from support.commands import quiesce, say
from support.postgres import PASSWORD, Server, schema_of

DURABLE = "support.cli_durable"
GATED = f"{DURABLE}:gated"
numbers = count()

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the current directory and add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    say(Path("facts.jsonl"), ("cli-ticket", "t1", {"text": "refund please"}))


@pytest.fixture
def log(postgres: Server) -> str:
    """The url of a log that is not there yet, with the password in it."""
    return postgres.tcp(schema_of(("test_postgres_cli", next(numbers))))


def test_a_log_on_a_server_answers_as_one_in_a_file(log: str) -> None:
    """Run, decide, look, check, carry into a file, and back to the same bytes."""
    ran = quiesce("run", GATED, "--input", "facts.jsonl", "--log", log, "--run-id", "r1")
    gate = quiesce("gates", "--log", log, "--json").document["gate"]
    decided = quiesce("approve", "r1", gate, "--by", "ana", "--engine", GATED, "--log", log)
    exported = quiesce("export", "r1", "--log", log)
    taken = quiesce("import", "-", "--log", "copy.db", input=exported.out)

    assert (ran.code, decided.code, taken.code) == (Code.AWAITING, Code.OK, Code.OK)
    assert [one["run"] for one in quiesce("runs", "--log", log, "--json").documents] == ["r1"]
    assert quiesce("verify", "--log", log).code == quiesce("compact", "--log", log, "--dry-run").code == Code.OK
    assert quiesce("recover", "--list", "--log", log).lines == ["every run has stopped"]
    assert quiesce("export", "r1", "--log", "copy.db").out == exported.out


def test_the_password_of_a_log_is_in_nothing_that_is_printed(log: str) -> None:
    """Neither in the hints of a run nor in its JSON."""
    told = quiesce("run", GATED, "--input", "facts.jsonl", "--log", log, "--run-id", "r1")
    data = quiesce("run", GATED, "--input", "facts.jsonl", "--log", log, "--run-id", "r2", "--json")
    missing = quiesce("replay", "r9", "--log", log)

    assert PASSWORD in log
    assert PASSWORD not in told.out + told.err + data.out + data.err + missing.err
    assert "postgresql://postgres:***@127.0.0.1" in told.out


def test_reading_makes_no_schema_and_a_wrong_password_is_one_line(log: str, postgres: Server) -> None:
    """As with a file that is not there."""
    twice = [quiesce("runs", "--log", log) for _ in range(2)]
    refused = quiesce("runs", "--log", postgres.tcp("any", password="wrong"))

    assert [(one.code, one.out) for one in twice] == [(Code.MISUSE, "")] * 2
    assert twice[0].err.startswith("quiesce: no log at postgresql://postgres:***@127.0.0.1:")
    assert (refused.code, refused.err.count("\n")) == (Code.FAILED, 1)
    assert "wrong" not in refused.err
