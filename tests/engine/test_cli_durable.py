"""The commands over durable logs: gates that others decide, runs that others finish, forks and reruns."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from quiesce.engine import CancelSwitch
from quiesce.facts import Context, FactLog, RunId, replay
from quiesce.facts.reader import Reader
from support import cli_durable
from support.cli_orders import Ticket
from support.commands import Answer, quiesce, say

DURABLE = "support.cli_durable"
GATED = f"{DURABLE}:gated"
REFUND = ("cli-ticket", "t1", {"text": "refund please"})
OTHER = ("cli-ticket", "t2", {"text": "hello"})
FIXED = ("--seed", "7", "--started", "2026-01-01T00:00:00+00:00")


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the current directory and add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    say(Path("facts.jsonl"), REFUND, OTHER)


@pytest.fixture(params=["runs.db", "runs.jsonl"], scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which run r1 waits at two gates, and r0 has converged; for copies."""
    folder = tmp_path_factory.mktemp("made")
    log: Path = folder / request.param
    facts = say(folder / "facts.jsonl", REFUND, OTHER)
    codes = [
        quiesce("run", f"{DURABLE}:{engine}", "--input", facts, "--log", log, "--run-id", name, *FIXED).code
        for engine, name in (("free", "r0"), ("gated", "r1"))
    ]
    assert codes == [0, 3]
    return log


@pytest.fixture
def log(made: Path) -> str:
    """A copy of that log, in the directory of the test."""
    shutil.copy(made, made.name)
    return made.name


def run(engine: str, log: str, name: str) -> Answer:
    """Runs an engine over two tickets."""
    return quiesce(
        "run", f"{DURABLE}:{engine}", "--input", "facts.jsonl", "--log", log, "--run-id", name, *FIXED
    )  # fmt: skip


def open_gates(log: str, *words: str) -> list[str]:
    """Returns the ids of the open gates."""
    return [one["gate"] for one in quiesce("gates", "--log", log, "--json", *words).documents]


def events(log: str, run: str) -> int:
    """Returns how many events a run has."""
    with FactLog.open(log) as kept:
        return kept.length(run)


def test_gates_tells_what_waits_in_all_runs(log: str) -> None:
    """One line for each gate, with all that a person needs to decide; runs that do not wait are left out."""
    answer = quiesce("gates", "--log", log)
    first, second = open_gates(log)

    assert answer.lines == [
        "run  gate            policy  ref          payload          by    conf  opened               expires",
        f"r1   {first}  plans   cli-plan:t1  queue='billing'  plan     1  2026-01-01 00:00:00  never",
        f"r1   {second}  plans   cli-plan:t2  queue='billing'  plan     1  2026-01-01 00:00:00  never",
    ]
    assert (answer.code, answer.err) == (0, "")
    assert quiesce("gates", "r0", "--log", log).lines == ["nothing waits for anybody"]


def test_gates_for_machines_is_an_object_for_each_gate(log: str) -> None:
    """With the names of the run and of the gate, and the payload as data."""
    one = quiesce("gates", "r1", "--log", log, "--json").documents[0]

    assert {name: one[name] for name in ("run", "policy", "ref", "payload", "by", "confidence", "expires")} == {
        "run": "r1", "policy": "plans", "ref": "cli-plan:t1", "payload": {"queue": "billing"}, "by": "plan",
        "confidence": 1.0, "expires": None,
    }  # fmt: skip


def test_gates_reads_no_more_than_the_last_event_of_runs_that_do_not_wait(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they are."""
    read: list[tuple[str, int]] = []
    events = Reader.events

    def watched(self: Reader, run: Any, start: int = 0) -> Any:
        read.append((str(run), start))
        return events(self, run, start)

    monkeypatch.setattr(Reader, "events", watched)
    quiesce("gates", "--log", log)

    assert [start for run, start in read if run == "r0"] == [3]


def test_the_hint_of_a_waiting_run_is_the_command_that_decides(log: str) -> None:
    """Typed as it stands, with a name for NAME."""
    hint = next(line for line in run("gated", log, "r2").lines if line.startswith("approve it: quiesce "))
    gate = open_gates(log, "r2")[0]
    words = hint.removeprefix("approve it: quiesce ").replace("NAME", "ana").split()
    answer = quiesce(*words)

    assert hint == f"approve it: quiesce approve r2 {gate} --log {log} --engine {GATED} --by NAME"
    assert answer.code == 3
    assert "strategies   cli-plan:t1" in answer.out


def test_approving_every_gate_ends_the_run_as_a_run_ends(log: str) -> None:
    """With its facts, its stop and the code of it; who decided and why is in the log."""
    answer = quiesce(
        "approve", "r1", *open_gates(log), "--by", "ana", "--reason", "seen", "--engine", GATED, "--log", log
    )

    assert answer.code == 0
    assert answer.lines[-2:] == [
        "run r1  converged after 1 cycle",
        f"replay it: quiesce replay r1 --log {log} --import {DURABLE}",
    ]
    with FactLog.open(log) as kept:
        decided = replay(kept, "r1").trail.decided.values()
    assert [(one.ref, one.approved, one.by, one.reason) for one in decided] == [
        ("cli-plan:t1", True, "ana", "seen"), ("cli-plan:t2", True, "ana", "seen")
    ]  # fmt: skip
    assert open_gates(log) == []


def test_deciding_one_of_two_gates_waits_for_the_other(log: str) -> None:
    """Exit code 3 again; the other gate is as it was."""
    first, second = open_gates(log)
    answer = quiesce("reject", "r1", first, "--by", "ben", "--engine", GATED, "--log", log, "--json")

    assert answer.code == 3
    assert answer.document["stop"] == {"kind": "awaiting_approval", "gates": [second], "expires": None}
    assert open_gates(log) == [second]
    assert "cli-plan:t1" not in [fact["ref"] for fact in answer.document["facts"]]


def test_the_same_gate_named_twice_is_decided_once(log: str) -> None:
    first = open_gates(log)[0]

    assert quiesce("approve", "r1", first, first, "--by", "ana", "--engine", GATED, "--log", log).code == 3


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_that_does_not_fit_changes_nothing(log: str, verb: str) -> None:
    """An unknown gate, nobody's decision, an unknown run: one line, code 2."""
    before = events(log, "r1")
    gate = open_gates(log)[0]
    rest = ("--engine", GATED, "--log", log)
    unknown = quiesce(verb, "r1", gate, "g-nowhere", "--by", "ana", *rest)
    nobody = quiesce(verb, "r1", gate, "--by", " ", *rest)
    unsaid = quiesce(verb, "r1", gate, *rest)
    stranger = quiesce(verb, "r9", gate, "--by", "ana", *rest)

    assert unknown.err.startswith("quiesce: gate g-nowhere is not open (open: g-")
    assert unknown.err.endswith("). Nothing was changed\n")
    assert nobody.err == (
        "quiesce: --by is empty. Give the name of the person who decides; it is kept in the log\n"
    )  # fmt: skip
    assert unsaid.err.replace('"', "'") == f"quiesce: Missing option '--by'. (quiesce {verb} --help)\n"
    assert stranger.err == "quiesce: run 'r9' is not in this log. It holds 2: r0, r1\n"
    assert {one.code for one in (unknown, nobody, unsaid, stranger)} == {2}
    assert events(log, "r1") == before


def test_a_gate_that_was_decided_is_not_decided_again(log: str) -> None:
    """It says by whom."""
    gate = open_gates(log)[0]
    words = ("r1", gate, "--engine", GATED, "--log", log)
    quiesce("approve", *words, "--by", "ana")
    answer = quiesce("reject", *words, "--by", "ben")

    assert (answer.code, answer.err) == (
        2, f"quiesce: gate {gate} was already approved by ana. Nothing was changed\n"
    )  # fmt: skip


def test_an_upgrade_of_the_code_is_listed_and_refused_unless_it_is_meant(log: str) -> None:
    """Days later the suggestors may be others."""
    before = events(log, "r1")
    words = ("approve", "r1", *open_gates(log), "--by", "ana", "--engine", f"{DURABLE}:upgraded", "--log", log)
    refused = quiesce(*words)

    assert (refused.code, refused.out) == (2, "")
    first, second = refused.err.splitlines()
    assert first.startswith("quiesce: run r1 was made with other suggestors or gates than these. Nothing was changed; ")
    assert second == "  suggestor 'plan' has changed: version '2' → '3'"
    assert events(log, "r1") == before
    assert quiesce(*words, "--accept-changes").code in {0, 3}
    assert events(log, "r1") > before


def test_a_run_with_goals_goes_on_with_those_that_stand_beside_its_engine() -> None:
    """The command line finds them in the module of the engine."""
    context = Context()
    context.add(Ticket(text="refund please"), id="t1")
    with FactLog.open("goals.db") as kept:
        cli_durable.gated.run_sync(context, log=kept, goals=[cli_durable.planned], run_id="r1")
    answer = quiesce(
        "approve", "r1", *open_gates("goals.db"), "--by", "ana", "--engine", GATED, "--log", "goals.db", "--json"
    )

    assert answer.code == 0
    assert answer.document["goals"] == {"planned": {"outcome": "met", "refs": []}}


def unfinished(log: str, *names: str) -> None:
    """Leaves runs in a log as a crash would: their inputs are there, their first cycle is not."""
    for name in names:
        whole = f"whole-{log}"
        quiesce("run", f"{DURABLE}:free", "--input", "facts.jsonl", "--log", whole, "--run-id", name, *FIXED)
        with FactLog.open(log) as kept, FactLog.open(whole) as source:
            kept.claim(RunId(name))
            kept.append(RunId(name), [logged.event for logged in source.events(name)][:2])


def test_recover_finishes_what_a_crash_left(log: str) -> None:
    """Each run as if it had never been interrupted."""
    unfinished(log, "c1", "c2")
    answer = quiesce("recover", "--log", log, "--engine", f"{DURABLE}:free")

    assert answer.code == 0
    assert answer.lines == ["finished  c1  converged after 1 cycle", "finished  c2  converged after 1 cycle"]
    with FactLog.open(log) as kept, FactLog.open(f"whole-{log}") as whole:
        assert [kept.to_bytes(name) for name in ("c1", "c2")] == [whole.to_bytes(name) for name in ("c1", "c2")]
    assert quiesce("recover", "--log", log, "--engine", f"{DURABLE}:free").lines == ["every run has stopped"]


def test_recover_ends_with_the_worst_of_its_runs(log: str) -> None:
    """One converges, one waits for approval; --json has an object for each."""
    unfinished(log, "c1", "c2")
    one = quiesce("recover", "c1", "--log", log, "--engine", f"{DURABLE}:free", "--json")
    other = quiesce("recover", "--log", log, "--engine", GATED, "--accept-changes", "--json")

    assert (one.code, other.code) == (0, 3)
    assert one.document == {
        "run": "c1", "recovered": True, "stop": {"kind": "converged", "cycles": 1}, "why": "converged after 1 cycle",
        "cycles": 1, "facts": 4, "problem": None,
    }  # fmt: skip
    assert [(found["run"], found["stop"]["kind"]) for found in other.documents] == [("c2", "awaiting_approval")]


def test_recover_leaves_a_run_alone_that_a_live_process_writes(log: str) -> None:
    """It says who, finishes the others, and ends with 1; --list shows it without an engine."""
    unfinished(log, "c1", "c2")
    with FactLog.open(f"other-{log}") as other:
        other.load(quiesce("export", "--all", "--log", log).out)
        other.claim(RunId("c1"))
        held = quiesce("recover", "--list", "--log", f"other-{log}", "--json")
        listed = quiesce("recover", "--list", "--log", f"other-{log}")
        if log.endswith(".db"):  # a JSON lines file takes one writer at a time anyway
            answer = quiesce("recover", "--log", f"other-{log}", "--engine", f"{DURABLE}:free")

            assert answer.code == 0
            assert answer.lines[0].startswith("left      c1  run c1 is being written by ")
            assert answer.lines[1:] == ["finished  c2  converged after 1 cycle"]

    assert [(one["run"], one["events"], one["last"], one["cycle"], one["held"]) for one in held.documents] == [
        ("c1", 2, "cycle_committed", 0, True), ("c2", 2, "cycle_committed", 0, False)
    ]  # fmt: skip
    assert held.documents[0]["holder"].startswith("process ")
    assert listed.lines[0].split() == ["run", "events", "last", "cycle", "held", "by", "until"]
    assert listed.lines[2].split() == ["c2", "2", "cycle_committed", "0", "nobody"]
    assert (held.code, listed.code) == (0, 0)


def test_a_damaged_run_keeps_no_other_from_being_finished() -> None:
    """It is told, and left as it is."""
    unfinished("damaged.jsonl", "c1", "c2")
    data = Path("damaged.jsonl").read_bytes()
    Path("damaged.jsonl").write_bytes(data.replace(b'"cli-ticket:t1"', b'"cli-ticket:t7"', 1))
    listed = quiesce("recover", "--list", "--log", "damaged.jsonl", "--json").documents
    answer = quiesce("recover", "--log", "damaged.jsonl", "--engine", f"{DURABLE}:free")

    assert [one["fault"] is None for one in listed] == [False, True]
    assert answer.code == 1
    assert answer.lines[0].startswith("left      c1  run c1: event 1 is damaged")
    assert answer.lines[1:] == ["finished  c2  converged after 1 cycle"]


def test_recover_says_what_it_needs(log: str) -> None:
    """An engine; and a run that is there, and unfinished."""
    no_engine = quiesce("recover", "--log", log)
    no_run = quiesce("recover", "r9", "--log", log, "--engine", GATED)
    stopped = quiesce("recover", "r0", "--log", log, "--engine", GATED)
    listed = quiesce("recover", "r0", "--list", "--log", log)
    unknown = [quiesce("recover", "r9", "--list", "--log", log), quiesce("gates", "r9", "--log", log)]

    assert no_engine.err == (
        "quiesce: recover calls suggestors: it needs --engine MODULE:ENGINE. --list only shows what is unfinished\n"
    )
    assert no_run.err == "quiesce: run 'r9' is not in this log. It holds 2: r0, r1\n"
    assert "run r0 is not unfinished: it has stopped" in stopped.out
    assert (no_engine.code, no_run.code, stopped.code) == (2, 2, 1)
    assert (listed.code, listed.lines) == (0, ["every run has stopped"])
    assert [(one.code, one.err) for one in unknown] == [(2, no_run.err)] * 2


def test_a_fork_asks_what_if(log: str) -> None:
    """With more inputs, or without a suggestor, from a point of the run; the run it leaves is untouched."""
    before = events(log, "r0")
    say(Path("more.jsonl"), ("cli-ticket", "t3", {"text": "more"}))
    words = ("--log", log, "--engine", f"{DURABLE}:free")
    more = quiesce("fork", "r0", *words, "--input", "more.jsonl", "--run-id", "f1", "--json")
    fewer = quiesce("fork", "r0", *words, "--at", "0", "--without", "plan", "--run-id", "f2", "--json")

    assert (more.code, fewer.code) == (0, 0)
    assert [fact["ref"] for fact in more.document["facts"] if fact["cycle"] > 1] == ["cli-ticket:t3", "cli-plan:t3"]
    assert {fact["family"] for fact in fewer.document["facts"]} == {"cli-ticket"}
    assert events(log, "r0") == before
    assert [one["parent"] for one in quiesce("runs", "--log", log, "--json").documents] == [None, None, "r0", "r0"]


def test_a_fork_that_cannot_be_is_one_line(log: str) -> None:
    """An unknown cycle, suggestor or run."""
    words = ("--log", log, "--engine", f"{DURABLE}:free")
    answers = [
        quiesce("fork", "r0", *words, "--at", "9"),
        quiesce("fork", "r0", *words, "--without", "nobody"),
        quiesce("fork", "r9", *words),
        quiesce("fork", "r0", *words, "--at", "-2"),
    ]

    assert [answer.err.partition(". ")[0] for answer in answers[:3]] == [
        "quiesce: run r0 cannot be forked at cycle 9: this log holds its cycles 0 to 1\n",
        "quiesce: no suggestor 'nobody' to replace",
        "quiesce: run 'r9' is not in this log",
    ]
    assert {answer.code for answer in answers} == {2}


def test_rerun_tells_whether_a_run_comes_out_as_it_did(log: str) -> None:
    """It writes nothing; where it differs both sides are shown, and what has changed since."""
    before = Path(log).read_bytes() if log.endswith(".jsonl") else b""
    same = quiesce("rerun", "r0", "--log", log, "--engine", f"{DURABLE}:free")
    parts = quiesce("rerun", "r0", "--log", log, "--engine", f"{DURABLE}:upgraded")
    told = quiesce("rerun", "r0", "--log", log, "--engine", f"{DURABLE}:upgraded", "--json")

    assert (same.code, same.lines) == (0, ["same  r0  4 events came out as recorded"])
    assert parts.code == told.code == 1
    assert parts.lines[0] == "changed since  suggestor 'plan' has changed: version '2' → '3'"
    assert [line.split()[:2] for line in parts.lines[-2:]] == [["-", "recorded"], ["+", "now"]]
    assert (told.document["same"], told.document["parting"]["cycle"]) == (False, 1)
    if before:
        assert Path(log).read_bytes() == before


def test_several_runs_are_exported_and_imported_at_once(log: str) -> None:
    """All of them or none; --all is every run, and a name that is not there ends it before a line is written."""
    both = quiesce("export", "r0", "r1", "--log", log)
    written = quiesce("export", "--all", "--log", log, "--out", "all.jsonl")
    unknown = quiesce("export", "r0", "r9", "--log", log, "--out", "none.jsonl")
    taken = quiesce("import", "all.jsonl", "--log", "other.db")
    again = quiesce("import", "all.jsonl", "--log", "other.db")

    assert Path("all.jsonl").read_text(encoding="utf-8") == both.out
    assert (written.code, written.out, unknown.code) == (0, "", 2)
    assert not Path("none.jsonl").exists()
    assert (taken.code, taken.lines) == (0, ["r0", "r1"])
    assert again.err == "quiesce: run r0 is already in this log. Nothing was taken in\n"
    assert quiesce("export", "--all", "--log", "other.db").out == both.out


def test_export_has_to_be_told_what(log: str) -> None:
    answers = [
        quiesce("export", "--log", log),
        quiesce("export", "r0", "--all", "--log", log),
        quiesce("export", "r0", "--log", log, "--out", log),
        quiesce("export", "r0", "--log", log, "--out", "no/where"),
        quiesce("export", "r0", "--log", log, "--out", "."),
    ]

    assert [answer.err for answer in answers] == [
        "quiesce: name the runs to export, or say --all\n",
        "quiesce: name runs or say --all, not both\n",
        f"quiesce: {log} is the log itself. Give the export a file of its own\n",
        "quiesce: no/where cannot be written: No such file or directory\n",
        "quiesce: . cannot be written: Is a directory\n",
    ]
    assert {answer.code for answer in answers} == {2}


def test_an_export_that_meets_damage_says_so_and_writes_nothing() -> None:
    unfinished("damaged.jsonl", "c1", "c2")
    data = Path("damaged.jsonl").read_bytes()
    Path("damaged.jsonl").write_bytes(data.replace(b'"cli-ticket:t1"', b'"cli-ticket:t7"', 1))
    answer = quiesce("export", "--all", "--log", "damaged.jsonl", "--out", "all.jsonl")

    assert answer.code == 2
    assert answer.err.startswith("quiesce: run c1: event 1 is damaged")
    assert answer.err.endswith(
        "Nothing was written. `quiesce verify` tells which runs are sound: name those in place of --all\n"
    )
    assert not Path("all.jsonl").exists()


def test_a_database_that_is_imported_is_told_from_an_export(log: str) -> None:
    """The line that it takes is there to be typed, and no log is made."""
    quiesce("import", "-", "--log", "my runs.db", input=quiesce("export", "--all", "--log", log).out)
    answer = quiesce("import", "my runs.db", "--log", "new.db")

    assert answer.code == 2
    assert answer.err == (
        "quiesce: my runs.db is a SQLite log, not an export. "
        "Write: quiesce export --all --log 'my runs.db' | quiesce import - --log new.db\n"
    )
    assert not Path("new.db").exists()


def test_why_not_says_which_command_brings_the_run_on(log: str) -> None:
    """Approving where something waits, recovering where the run was cut short; nothing in the past or for machines."""
    unfinished("cut.jsonl", "c1")
    first = open_gates(log)[0]
    waits = quiesce("why-not", "r1", "cli-plan:t1", "--log", log)
    past = quiesce("why-not", "r1", "cli-plan:t1", "--at", "0", "--log", log)
    cut = quiesce("why-not", "c1", "cli-plan:t1", "--log", "cut.jsonl")

    assert waits.lines[-1] == f"approve it: quiesce approve r1 {first} --log {log} --engine MODULE:ENGINE --by NAME"
    assert cut.lines[-1] == "finish it: quiesce recover c1 --log cut.jsonl --engine MODULE:ENGINE"
    assert not any(line.startswith(("approve it", "finish it")) for line in past.lines)


def test_replaying_an_unfinished_run_says_that_it_is() -> None:
    unfinished("cut.jsonl", "c1")
    answer = quiesce("replay", "c1", "--log", "cut.jsonl")

    assert answer.lines[-1] == "run c1  2 facts at the end of cycle 0; the run is unfinished"


def test_rerun_says_what_was_redacted_since(log: str) -> None:
    """Where a run parts from its record because of it, that is no change of the code."""
    erased = quiesce("redact", "r0", "cli-ticket:t1", "--reason", "asked", "--by", "ana", "--yes", "--log", log)
    answer = quiesce("rerun", "r0", "--log", log, "--engine", f"{DURABLE}:upgraded")
    told = quiesce("rerun", "r0", "--log", log, "--engine", f"{DURABLE}:upgraded", "--json").document

    assert erased.lines[-1] == "--everywhere erases it there too; --json names all of these runs"
    assert "redacted since  cli-ticket:t1: what rests on it cannot come out as it was recorded" in answer.lines
    assert told["redacted"] == ["cli-ticket:t1"]


def test_recover_tells_of_many_runs_that_one_process_writes_on_one_line() -> None:
    unfinished("whole.jsonl", "c1", "c2", "c3")
    with FactLog.open("other.db") as other:
        other.load(quiesce("export", "--all", "--log", "whole.jsonl").out)
        for name in ("c1", "c2", "c3"):
            other.claim(RunId(name))
        answer = quiesce("recover", "--log", "other.db", "--engine", f"{DURABLE}:free")

    assert answer.code == 0
    assert [line.partition(" process ")[0] for line in answer.lines] == ["left      3 runs  they are being written by"]
    assert answer.lines[0].endswith(": c1, c2, c3")


def test_runs_tells_every_time_in_utc(log: str) -> None:
    quiesce(
        "run", f"{DURABLE}:free", "--log", log, "--run-id", "east", "--started", "2026-01-05T03:00:00+05:00"
    )  # fmt: skip
    answer = quiesce("runs", "--log", log)

    assert answer.lines[-1].split()[:3] == ["east", "2026-01-04", "22:00:00"]


def test_a_cancelled_run_is_gone_on_with_by_resume(log: str) -> None:
    """A server that was shut down leaves such runs; nobody has anything to decide."""
    with FactLog.open(log) as kept:
        switch = CancelSwitch()
        switch.cancel("the server was shut down")
        context = Context()
        context.add(Ticket(text="refund please"), id="t1")
        cli_durable.free.run_sync(context, log=kept, run_id="off", cancel=switch)
    answer = quiesce("resume", "off", "--log", log, "--engine", f"{DURABLE}:free")

    assert answer.code == 0
    assert "run off  converged after 1 cycle" in answer.out
