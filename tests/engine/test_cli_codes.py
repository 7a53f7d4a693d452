"""How commands end: the exit codes, and the one line of an error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quiesce.engine import Cancelled
from quiesce.engine.cli_codes import MEANING, Code, code_of, explain, one_line
from quiesce.facts import InternalError
from support.commands import ORDERS, Answer, quiesce, say

TICKET = ("cli-ticket", "t1", {"text": "refund please"})


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the current directory and add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    say(tmp_path / "facts.jsonl", TICKET)


def fails(answer: Answer, line: str, code: int = 2) -> None:
    """Checks that a command failed with one line and nothing else."""
    assert answer == Answer(code, "", f"quiesce: {line}\n")


@pytest.mark.parametrize(
    ("engine", "fact", "code"),
    [
        ("engine", TICKET, Code.OK),
        ("counting", ("cli-count", None, {"n": 0}), Code.FOUND),
        ("strict", TICKET, Code.FOUND),
        ("judging", TICKET, Code.FOUND),
        ("gated", TICKET, Code.AWAITING),
    ],
)
def test_a_run_ends_with_the_code_of_its_stop(engine: str, fact: tuple[str, str | None, object], code: Code) -> None:
    """Converged, a spent budget, a violated invariant, a conflict, open gates."""
    say(Path("facts.jsonl"), fact)

    assert quiesce("run", f"{ORDERS}:{engine}", "--input", "facts.jsonl").code == code


def test_a_cancelled_run_counts_as_interrupted() -> None:
    """Whoever called it off."""
    assert code_of(Cancelled("enough")) is Code.INTERRUPTED


def test_the_help_lists_every_exit_code() -> None:
    """The table in the code is the one that users read."""
    table = " ".join(quiesce("--help").out.partition("Exit codes:")[2].split())

    assert table == " ".join(f"{code.value} {meaning}" for code, meaning in MEANING.items())
    assert set(MEANING) == set(Code)


def test_no_command_shows_the_help() -> None:
    """That is no error."""
    assert quiesce() == quiesce("--help")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fly"], "No such command 'fly'. (quiesce --help)"),
        (["run"], "Missing argument 'MODULE:ENGINE'. (quiesce run --help)"),
        (["runs"], "Missing option '--log' (env var: 'QUIESCE_LOG'). (quiesce runs --help)"),
        (["--fast"], "No such option: --fast (quiesce --help)"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], line: str) -> None:
    """What is wrong, and where the help is."""
    answer = quiesce(*words)

    assert answer.err.replace('"', "'") == f"quiesce: {line}\n"
    assert answer.code == 2


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("orders", "'orders' names no engine. Write MODULE:ENGINE or FILE.py:ENGINE, e.g. orders:engine"),
        (
            "cli_nowhere:engine",
            "no module 'cli_nowhere', neither in {here} nor installed. Go to its directory, or give its file: path/to/",
        ),
        ("./cli_nowhere.py:engine", "no file {here}/cli_nowhere.py"),
        (f"{ORDERS}:plan", f"'{ORDERS}:plan' was called to make an engine, and raised TypeError: "),
        (f"{ORDERS}:ORDERS", f"module '{ORDERS}' has no 'ORDERS'. Its engines: engine, contested, "),
        (f"{ORDERS}:__name__", f"'{ORDERS}:__name__' is a str, not an Engine or a function that makes one"),
        (f"{ORDERS}:make_nothing", f"'{ORDERS}:make_nothing' was called to make an engine, and returned a NoneType"),
        (
            f"{ORDERS}:make_trouble",
            f"'{ORDERS}:make_trouble' was called to make an engine, and raised ValueError: no engine today ",
        ),
        (
            f"{ORDERS}:make_later",
            f"'{ORDERS}:make_later' is async; make it a plain function without arguments that returns an Engine",
        ),
    ],
)
def test_an_engine_that_cannot_be_had_is_one_line(target: str, line: str) -> None:
    """It says what was named, what was found there and what to write."""
    answer = quiesce("check", target)

    assert answer.err.startswith(f"quiesce: {line.format(here=Path.cwd().resolve())}")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1 / 0\n", "it raised ZeroDivisionError: division by zero ({file}, line 1)"),
        ("\nimport cli_no_such_thing\n", "ModuleNotFoundError: No module named 'cli_no_such_thing' ({file}, line 2)"),
        ("def f(:\n", "it raised SyntaxError: invalid syntax ({file}, line 1)"),
        ("raise SystemExit(3)\n", "it raised SystemExit: 3 ({file}, line 1)"),
    ],
)
def test_a_module_that_raises_is_one_line(text: str, line: str) -> None:
    """It says what was raised and where, and leaves nothing half-imported."""
    file = Path("cli_raises.py").resolve()
    file.write_text(text, encoding="utf-8")
    expected = f"module 'cli_raises' cannot be imported: {line.format(file=file)}"

    fails(quiesce("graph", "cli_raises:engine"), expected)
    fails(quiesce("graph", "./cli_raises.py:engine"), expected.replace("'cli_raises'", "'./cli_raises.py'"))
    assert "cli_raises" not in sys.modules


def test_an_engine_is_found_in_a_file_and_in_the_current_directory() -> None:
    """Both ways lead to the same module, which is imported once."""
    Path("cli_here.py").write_text("from support.cli_orders import engine, make\n", encoding="utf-8")

    assert quiesce("run", "cli_here:engine").code == 0
    assert quiesce("run", "./cli_here.py:make").code == 0
    assert [name for name in sys.modules if name.endswith("cli_here")] == ["cli_here"]
    del sys.modules["cli_here"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--input", "nowhere.jsonl"], "input nowhere.jsonl cannot be read: No such file or directory"),
        (["--input", "."], "input . cannot be read: Is a directory"),
        (["--log", "."], "log . is no file. Give the name of one that ends in .db or .jsonl"),
        (["--log", "no/where.jsonl"], "log no/where.jsonl has no place: there is no directory no"),
        (
            ["--log", "facts.jsonl", "--input", "./facts.jsonl"],
            "facts.jsonl is both the input and the log. Give the log a file of its own",
        ),
        (["--packs", "a,b"], "no pack 'a'. Known: none; register(…, pack=…) makes one"),
        (["--seed", "-1"], "seed=-1 is not a whole number from 0 to 2**63 - 1"),
        (["--run-id", ""], "run_id='' is not a printable text of 1 to 200 characters"),
        (["--started", "noon"], "--started 'noon' is no time. Write it like 2025-01-31T09:30:00+00:00"),
        (["--budget-cycles", "-1"], "Budget.cycles=-1 is not a number from 0, or None for no limit"),
        (["--budget-seconds", "nan"], "Budget.seconds=nan is not a number from 0, or None for no limit"),
    ],
)
def test_a_run_that_cannot_begin_is_one_line(words: list[str], line: str) -> None:
    """Before anything is written."""
    fails(quiesce("run", f"{ORDERS}:engine", *words), line)


def test_a_run_id_is_used_once() -> None:
    """The second run of a name changes nothing."""
    words = ["run", f"{ORDERS}:engine", "--log", "run.jsonl", "--run-id", "r1"]
    quiesce(*words)
    before = Path("run.jsonl").read_bytes()

    fails(quiesce(*words), "run 'r1' is in this log already. Give another run_id, or resume that run")
    assert Path("run.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["replay", "r9"], "run 'r9' is not in this log. It holds 1: r1"),
        (["verify", "r9"], "run 'r9' is not in this log. It holds 1: r1"),
        (["export", "r9"], "run 'r9' is not in this log. It holds 1: r1"),
        (["diff", "r1", "r9"], "run 'r9' is not in this log. It holds 1: r1"),
        (["replay", "r1", "--at", "9"], "run r1 has no cycle 9; its last is 1"),
        (["why", "r1", "cli-plan:t2"], "run r1 has no fact 'cli-plan:t2'. Did you mean cli-plan:t1?"),
        (
            ["why", "r1", "zzz"],
            "run r1 has no fact 'zzz'. A ref is family:id, as `quiesce replay` lists them",
        ),
        (["import", "nowhere"], "input nowhere cannot be read: No such file or directory"),
        (
            ["import", "facts.jsonl"],
            "the text is torn: its last batch (from line 1) has no commit line. Nothing was taken in",
        ),
    ],
)
def test_a_name_that_the_log_does_not_know_is_one_line(words: list[str], line: str) -> None:
    """With what it does know."""
    quiesce("run", f"{ORDERS}:engine", "--input", "facts.jsonl", "--log", "run.jsonl", "--run-id", "r1")

    fails(quiesce(*words, "--log", "run.jsonl"), line)


@pytest.mark.parametrize("words", [["runs"], ["verify"], ["replay", "r1"], ["why", "r1", "a:b"], ["export", "r1"]])
def test_a_log_that_is_not_there_is_not_made(words: list[str]) -> None:
    """Reading commands read."""
    fails(quiesce(*words, "--log", "no.jsonl"), "no log at no.jsonl. `quiesce run … --log no.jsonl` writes one")
    assert not Path("no.jsonl").exists()


def test_a_damaged_run_cannot_be_replayed_and_says_what_can() -> None:
    """Which event, and who knows more."""
    quiesce("run", f"{ORDERS}:engine", "--input", "facts.jsonl", "--log", "run.jsonl", "--run-id", "r1")
    data = bytearray(Path("run.jsonl").read_bytes())
    data[data.index(b'"cli-plan:t1"') + 1] ^= 1
    Path("run.jsonl").write_bytes(data)
    answer = quiesce("replay", "r1", "--log", "run.jsonl")

    assert answer.code == 2
    assert answer.err.startswith("quiesce: run r1: event 2 is damaged (run.jsonl: line ")
    assert answer.err.endswith("`quiesce verify` tells up to which cycle (replay --at)\n")
    assert quiesce("replay", "r1", "--log", "run.jsonl", "--at", "0").code == 0


def test_a_file_that_is_no_log_is_told_as_damaged() -> None:
    """It is listed, and verify finds it wrong."""
    runs, verify = quiesce("runs", "--log", "facts.jsonl"), quiesce("verify", "--log", "facts.jsonl")

    assert "damaged: run ?: event 0 is damaged" in runs.out
    assert verify.code == 1
    assert "it has not the form of a line of a fact log" in verify.out


def test_debug_shows_the_traceback_before_the_line() -> None:
    """Wherever the word stands."""
    answer = quiesce("check", f"{ORDERS}:make_trouble", "--debug")

    assert answer.err.startswith("Traceback (most recent call last):\n")
    assert "quiesce: 'support.cli_orders:make_trouble' was called" in answer.err.splitlines()[-1]


def test_an_exception_that_nobody_expected_is_one_line_too() -> None:
    """It says where it was raised; groups of one are opened."""
    try:
        raise RuntimeError("first\nsecond \x1b[31m")
    except RuntimeError as error:
        code, line = explain(ExceptionGroup("tasks", [error]))

    assert code is Code.FAILED
    assert line.startswith(f"RuntimeError: first second \\x1b[31m ({__file__}, line ")
    assert line.endswith("A bug in the engine's own code or in quiesce; --debug tells more")


def test_a_bug_of_ours_says_so() -> None:
    """It asks for a report and has the code of failures."""
    code, line = explain(InternalError("two and two is five"))

    assert (code, line.partition(".")[0]) == (Code.FAILED, "two and two is five")
    assert "please report it" in line


def test_an_error_stays_short() -> None:
    """However long its text is."""
    assert len(one_line("long " * 10_000)) == 1_000
