"""The commands that shrink, erase, fold, prove and check: what goes, what stays, and who is asked first."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quiesce.engine import cli_move, cli_progress
from quiesce.engine.cli_codes import Code
from quiesce.facts import FactLog
from support.commands import ORDERS, quiesce, say

KEEP = "support.cli_learned"
TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "quiesce.engine.cli"]


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the current directory and add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(params=["runs.db", "runs.jsonl"], scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with three runs over the same tickets, a day apart; for copies."""
    folder = tmp_path_factory.mktemp("made")
    log: Path = folder / request.param
    facts = say(
        folder / "facts.jsonl", ("cli-ticket", "t1", {"text": "refund please"}), ("cli-ticket", "t2", {"text": "hello"})
    )  # fmt: skip
    for day in (1, 2, 3):
        ran = quiesce(
            "run", f"{ORDERS}:engine", "--input", facts, "--log", log, "--run-id", f"r{day}", "--seed", "7",
            "--started", f"2026-01-0{day}T00:00:00+00:00",
        )  # fmt: skip
        assert ran.code == 0
    return log


@pytest.fixture
def log(made: Path) -> str:
    """A copy of that log, in the directory of the test."""
    shutil.copy(made, made.name)
    return made.name


def size_of(log: str) -> int:
    """Returns how many bytes the events of a log take."""
    with FactLog.open(log) as kept:
        return sum(kept.store.size(run) for run in kept.runs())


def text_of(log: str) -> str:
    """Returns all that a log replays to, run by run."""
    return quiesce("replay", "r1", "--log", log, "--json").out + quiesce("runs", "--log", log, "--json").out


@pytest.mark.parametrize("words", [["compact"], ["retain", "--age", "1d"], ["redact", "r1", "cli-ticket:t1"]])
def test_nothing_goes_without_a_terminal_or_a_yes(log: str, words: list[str]) -> None:
    """A script has to say that it means it."""
    before = text_of(log)
    more = ("--reason", "asked to", "--by", "ana") if words[0] == "redact" else ()
    answer = quiesce(*words, *more, "--log", log)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.endswith(
        " cannot be undone, and there is no terminal to ask on: nothing was changed. Say --yes; --dry-run only looks\n"
    )
    assert text_of(log) == before


@pytest.mark.parametrize("words", [["compact"], ["retain", "--count", "1"], ["redact", "r1", "cli-ticket:t1"]])
def test_a_dry_run_says_what_would_go_and_changes_nothing(log: str, words: list[str]) -> None:
    """With how many bytes; the real one then says the same."""
    before, size = text_of(log), size_of(log)
    more = ("--reason", "asked to", "--by", "ana") if words[0] == "redact" else ()
    dry = quiesce(*words, *more, "--log", log, "--dry-run", "--json")
    told = quiesce(*words, *more, "--log", log, "--dry-run")
    assert (text_of(log), size_of(log)) == (before, size)
    real = quiesce(*words, *more, "--log", log, "--yes", "--json")

    assert (dry.code, told.code, real.code) == (0, 0, 0)
    assert " bytes" in told.out
    assert "would be" in told.out
    assert [{**one, "dry_run": False} for one in dry.documents] == real.documents
    assert size_of(log) != size


def test_compacting_changes_nothing_that_can_be_read(log: str) -> None:
    """Facts, stops, roots; --before and --keep choose among the runs."""
    before = quiesce("replay", "r1", "--log", log, "--json").out
    by_time = quiesce("compact", "--log", log, "--before", "2026-01-02", "--yes", "--json")
    by_place = quiesce("compact", "--log", log, "--keep", "1", "--yes", "--json")

    assert [one["run"] for one in by_time.documents if not one["left"]] == ["r1"]
    assert [one["run"] for one in by_place.documents if not one["left"]] == ["r2"]
    assert quiesce("replay", "r1", "--log", log, "--json").out == before
    assert quiesce("verify", "--log", log).code == 0


def test_compact_says_what_it_cannot_do(log: str) -> None:
    answers = [
        quiesce("compact", "r9", "--log", log, "--yes"),
        quiesce("compact", "r1", "--keep", "1", "--log", log, "--yes"),
        quiesce("compact", "--before", "yesterday", "--log", log, "--yes"),
        quiesce("compact", "--keep", "-1", "--log", log, "--yes"),
        quiesce("retain", "--log", log, "--yes"),
        quiesce("retain", "--age", "soon", "--log", log, "--yes"),
        quiesce("retain", "--count", "-1", "--log", log, "--yes"),
        quiesce("redact", "r1", "cli-ticket:t9", "--reason", "r", "--by", "ana", "--log", log, "--yes"),
        quiesce("redact", "r1", "cli-ticket:t1", "--reason", " ", "--by", "ana", "--log", log, "--yes"),
        quiesce("redact", "r1", "cli-ticket:t1", "--by", "ana", "--log", log, "--yes"),
    ]

    assert {answer.code for answer in answers} == {2}
    assert {answer.err.count("\n") for answer in answers} == {1}
    assert [answer.out for answer in answers] == [""] * 10


def test_retain_keeps_the_newest(log: str) -> None:
    assert quiesce("retain", "--count", "1", "--log", log, "--yes").code == 0
    assert [one["run"] for one in quiesce("runs", "--log", log, "--json").documents] == ["r3"]


def test_what_was_redacted_says_so_wherever_it_is_shown(log: str) -> None:
    """Who, when and why stands in the place of what was said; --everywhere takes the other runs too."""
    words = ("redact", "r1", "cli-ticket:t1", "--reason", "asked to", "--by", "ana", "--log", log, "--yes")
    one = quiesce(*words)
    rest = quiesce(*words, "--everywhere", "--json").document
    shown = quiesce("why", "r1", "cli-plan:t1", "--log", log).lines[1]
    fact = quiesce("replay", "r1", "--log", log, "--json").document["facts"][0]

    assert "the same content still stands in 2 other runs: r2, r3" in one.out
    assert (rest["payloads"], sorted(rest["runs"])) == (2, ["r2", "r3"])
    assert "(redacted by ana at " in shown
    assert shown.endswith(": asked to)")
    assert (fact["payload"], fact["redacted"]["by"], fact["redacted"]["reason"]) == (None, "ana", "asked to")
    assert b"refund" not in Path(log).read_bytes()
    assert quiesce("verify", "--log", log).code == 0


def test_a_fact_is_proved_to_somebody_without_the_log(log: str) -> None:
    """The file and the root are enough; whoever has no root is told what that means."""
    root = quiesce("verify", "r1", "--log", log, "--json").document["root"]
    quiesce("prove", "r1", "cli-plan:t1", "--log", log, "--out", "proof.json")
    Path(log).unlink()
    trusted = quiesce("verify-proof", "proof.json", "--root", root.upper(), "--json")
    alone = quiesce("verify-proof", "proof.json")
    other = quiesce("verify-proof", "proof.json", "--root", "0" * 64)

    assert (trusted.code, alone.code, other.code) == (0, 0, 1)
    assert (trusted.document["ok"], trusted.document["trusted"]) == (True, True)
    assert (trusted.document["fact"]["ref"], trusted.document["payload"]) == ("cli-plan:t1", '{"queue":"billing"}')
    assert "shows only that the proof agrees with itself" in alone.out
    assert other.lines[0].startswith("wrong  the proof does not hold: it is about a run whose root is ")


def test_a_proof_that_somebody_touched_does_not_hold(log: str) -> None:
    """Nor is anything else a proof."""
    text = quiesce("prove", "r1", "cli-plan:t1", "--log", log).out
    touched = quiesce("verify-proof", "-", input=text.replace("billing", "private"))
    cut = quiesce("verify-proof", "-", input=text[:-20])
    binary = quiesce("verify-proof", "-", input=b"\xff\xfe")
    nowhere = quiesce("verify-proof", "nowhere.json")

    assert (touched.code, cut.code, binary.code, nowhere.code) == (1, 2, 2, 2)
    assert "its payload is not the one that the fact names" in touched.out
    assert binary.err == "quiesce: - is no proof: it is not UTF-8 from byte 0 on\n"


def test_a_proof_may_keep_to_itself_what_the_fact_says(log: str) -> None:
    proof = json.loads(quiesce("prove", "r1", "cli-plan:t1", "--log", log, "--without-payload").out)

    assert "payload" not in proof
    assert "billing" not in json.dumps(proof)


def test_a_run_that_only_grew_is_proved_too(log: str) -> None:
    """--since is the size that somebody remembers; his root is the one to check with."""
    proof = quiesce("prove", "r1", "--since", "2", "--log", log).out
    checked = quiesce("verify-proof", "-", "--size", "2", "--json", input=proof)
    wrong = quiesce("verify-proof", "-", "--size", "3", input=proof)

    assert (checked.code, checked.document["proof"]) == (0, "growth")
    assert wrong.code == 1


@pytest.mark.parametrize(
    "words", [[], ["cli-plan:t1", "--since", "1"], ["cli-plan:t9"], ["--since", "99"], ["--since", "-1"]]
)
def test_what_cannot_be_proved_is_one_line(log: str, words: list[str]) -> None:
    answer = quiesce("prove", "r1", *words, "--log", log)

    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)


def test_why_not_says_who_could_have_said_it(log: str) -> None:
    """For people line by line, for machines as it is."""
    told = quiesce("why-not", "r1", "cli-plan:t9", "--log", log)
    data = quiesce("why-not", "r1", "cli-plan:t1", "--log", log, "--at", "0", "--json").document

    assert told.code == 0
    assert told.lines[:2] == [
        "cli-plan:t9 is not known in run r1", "- plan was called in cycle 1 and said cli-plan:t1, cli-plan:t2"
    ]  # fmt: skip
    assert (data["known"], data["at"]) == (False, 0)
    assert data["findings"][0]["kind"] == "later"


def test_diff_compares_points_as_well_as_runs(log: str) -> None:
    """What a cycle brought is the difference between its end and the end of the one before."""
    brought = quiesce("diff", "r1", "r1", "--at", "0", "--other-at", "1", "--log", log)
    same = quiesce("diff", "r1", "r2", "--at", "0", "--other-at", "0", "--log", log)

    assert (brought.code, same.code) == (1, 0)
    assert brought.lines[:2] == [
        "--- r1 at the end of cycle 0", "+++ r1 at the end of cycle 1  first difference in cycle 1"
    ]  # fmt: skip
    assert same.lines == ["r1 at the end of cycle 0 and r2 at the end of cycle 0 know the same"]


def test_projections_are_rebuilt_and_checked(log: str) -> None:
    """Folded from scratch they are what is stored; where the code is missing nothing can be compared."""
    first = quiesce("rebuild", "--import", KEEP, "--log", log)
    one = quiesce("rebuild", "--import", KEEP, "--projection", "queued", "--log", log, "--json")
    sound = quiesce("verify", "--projections", "--import", KEEP, "--log", log, "--json")
    blind = quiesce("verify", "--projections", "--log", log)

    assert (first.code, first.lines) == (0, ["folded  queued  2 values"])
    assert (one.document["values"], sound.document["ok"], sound.code) == (2, True, 0)
    assert (blind.code, blind.lines[0].split()[0]) == (1, "?")
    assert "its code is not in this process" in blind.out
    assert "--import" in blind.err


def test_the_projections_of_a_pack_are_found_in_the_module_where_it_stands(log: str, tmp_path: Path) -> None:
    """As those of the providers pack; classes and modules are not asked."""
    module = tmp_path / "app_with_a_pack.py"
    module.write_text(
        "from types import SimpleNamespace\nimport quiesce.facts as facts\n"
        f"import {KEEP.removesuffix('.py')} as keep\npack = SimpleNamespace(projections=(keep.queued,))\n"
    )
    sound = quiesce("verify", "--projections", "--import", str(module), "--log", log, "--json")

    assert (sound.document["projection"], sound.document["ok"], sound.code) == ("queued", True, 0)


@pytest.mark.parametrize("words", [["--import", ORDERS], ["--import", KEEP, "--projection", "none"]])
def test_a_projection_that_is_nowhere_is_one_line(log: str, words: list[str]) -> None:
    answer = quiesce("rebuild", *words, "--log", log)

    assert (answer.code, answer.err.count("\n")) == (2, 1)


def test_verify_asks_the_store_as_well(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a whole log; what it finds is told like any other fault."""
    with FactLog.open(log) as kept:
        monkeypatch.setattr(type(kept.store), "check", lambda _: iter(["an index lacks a row"]))
    whole, one = quiesce("verify", "--log", log), quiesce("verify", "r1", "--log", log)
    data = quiesce("verify", "--log", log, "--json").documents[-1]

    assert (whole.code, whole.lines[-1]) == (1, "wrong  the log  an index lacks a row")
    assert data == {"run": None, "ok": False, "problem": "an index lacks a row"}
    assert one.code == 0


LONG = [
    ["verify", "r1"], ["compact", "--dry-run"], ["retain", "--age", "1d", "--dry-run"], ["rebuild", "--import", KEEP],
    ["verify", "--projections", "--import", KEEP], ["export", "--all"],
]  # fmt: skip


@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_long_work_shows_a_bar_on_a_terminal_unless_it_is_told_not_to(
    log: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, so that what is piped stays as it is; a file sees none."""
    monkeypatch.setattr(cli_progress, "LONG_RUN", 1)
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm"}
    seen = quiesce(*words, "--log", log, env=terminal)
    unseen = quiesce(*words, "--log", log, "--quiet", env=terminal)
    piped = quiesce(*words, "--log", log)

    assert "\x1b[" in seen.err
    assert (unseen.err, piped.err) == ("", "")
    assert seen.code == unseen.code == piped.code == 0


def test_an_import_that_takes_long_shows_that_something_moves(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_move, "LONG_TEXT", 1)
    text = quiesce("export", "--all", "--log", log).out
    taken = quiesce("import", "-", "--log", "copy.db", input=text, env={"FORCE_COLOR": "1", "TERM": "xterm"})

    assert (taken.code, taken.out) == (0, "r1\nr2\nr3\n")
    assert "importing" in taken.err


@pytest.mark.slow
@pytest.mark.parametrize(("said", "left"), [("y\n", ["r3"]), ("n\n", ["r1", "r2", "r3"])])
def test_on_a_terminal_somebody_is_asked(log: str, said: str, left: list[str]) -> None:
    """After having seen what would go."""
    ours, theirs = pty.openpty()
    words = [*COMMAND, "retain", "--count", "1", "--log", str(Path(log).resolve())]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=TESTS,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"Go on?" not in shown:
        shown += os.read(ours, 65536)
    os.write(ours, said.encode())
    out, _ = process.communicate(timeout=60)
    os.close(ours)

    assert process.returncode == Code.OK
    assert b"would be dropped  r1" in shown
    assert (b"2 runs dropped" in out) is (said == "y\n")
    assert [one["run"] for one in quiesce("runs", "--log", log, "--json").documents] == left
