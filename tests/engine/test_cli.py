"""The commands: what each shows to people and to machines."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from quiesce.engine.cli_show import shown
from quiesce.facts import FactLog, Opaque, Payload, replay
from support import cli_orders
from support.commands import ORDERS, quiesce, say

REFUND = ("cli-ticket", "t1", {"text": "refund please"})
OTHER = ("cli-ticket", "t2", {"text": "hello"})
SPENT = "stopped at 3 of 3 cycles; still proposing: count; round and round: count → count"
FIXED = ("--seed", "7", "--started", "2026-01-01T00:00:00+00:00")


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the current directory and add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log that holds run r1 of one refund."""
    path = tmp_path / "run.jsonl"
    facts = say(tmp_path / "facts.jsonl", REFUND)
    assert quiesce("run", f"{ORDERS}:engine", "--input", facts, "--log", path, "--run-id", "r1", *FIXED).code == 0
    return path


def test_run_shows_the_facts_the_stop_and_the_command_that_replays_it(tmp_path: Path) -> None:
    """The whole output of a run, as a file would get it."""
    facts = say(tmp_path / "facts.jsonl", REFUND)
    answer = quiesce("run", f"{ORDERS}:engine", "--input", facts, "--log", "run.jsonl", "--run-id", "r1")

    assert answer.lines == [
        "key         ref            payload               by     cycle  conf",
        "seeds       cli-ticket:t1  text='refund please'  input      0     1",
        "strategies  cli-plan:t1    queue='billing'       plan       1  0.75",
        "run r1  converged after 1 cycle",
        "replay it: quiesce replay r1 --log run.jsonl --import support.cli_orders",
    ]
    assert (answer.code, answer.err) == (0, "")


def test_run_prints_one_json_document_and_nothing_else() -> None:
    """What a user's code prints goes to stderr where stdout is for machines."""
    answer = quiesce("run", f"{ORDERS}:loud", "--json", "--run-id", "r1")

    assert answer.err == "noise from a suggestor\n"
    assert answer.document["stop"] == {"kind": "converged", "cycles": 1}
    assert [(fact["ref"][:10], fact["payload"]) for fact in answer.document["facts"]] == [
        ("cli-ticket", {"text": "noisy"})
    ]


def test_run_live_tells_each_cycle_in_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    """Who proposed what, cycle by cycle, those who lost among them; then the same table as ever."""
    facts = say(tmp_path / "facts.jsonl", REFUND)
    answer = quiesce("run", f"{ORDERS}:contested", "--input", facts, "--live")

    assert answer.lines[:7] == [
        "cycle 0  1 fact",
        "  input  cli-ticket:t1  text='refund please'",
        "cycle 1  2 facts, 1 rejected",
        "  plan    cli-plan:t1  queue='billing'  because cli-ticket:t1",
        answer.lines[4],
        "  rival   × cli-plan:t1  queue='rival'  contested",
        "key          ref                                 payload" + answer.lines[6].partition("payload")[2],
    ]
    assert answer.lines[4].startswith("  engine  contested:")


def test_run_live_does_not_disturb_the_json(tmp_path: Path) -> None:
    """With --json the cycles go to stderr."""
    facts = say(tmp_path / "facts.jsonl", REFUND)
    answer = quiesce("run", f"{ORDERS}:engine", "--input", facts, "--live", "--json")

    assert answer.err.splitlines()[0].rstrip() == "cycle 0  1 fact"
    assert answer.document["input"] == {"lines": 1, "malformed": []}


def test_run_reads_standard_input_and_counts_what_is_malformed() -> None:
    """Broken lines stay in the run as facts, with their bytes and their numbers; the summary names them."""
    text = b'{"family":"cli-ticket","id":"t1","payload":{"text":"hi"}}\n\n\xff{\n{"family":"cli-ticket","payload":{}}\n'
    answer = quiesce("run", f"{ORDERS}:engine", "--input", "-", input=text)

    assert answer.lines[-4:] == [
        "not kept: --log FILE.db keeps a run",
        "2 of 3 input lines malformed; kept as facts:",
        "  line 3  it is not UTF-8 from byte 0 on",
        "  line 4  text: Field required",
    ]
    assert answer.code == 0


def test_a_run_with_the_same_id_seed_and_time_leaves_the_same_bytes(log: Path, tmp_path: Path) -> None:
    """All that a run depends on can be said on the line."""
    facts = tmp_path / "facts.jsonl"
    again = quiesce("run", f"{ORDERS}:make", "--input", facts, "--log", "again.jsonl", "--run-id", "r1", *FIXED)

    assert again.code == 0
    with FactLog.open(log) as first, FactLog.open("again.jsonl") as second:
        assert first.to_bytes("r1") == second.to_bytes("r1")


def test_only_the_packs_that_are_asked_for_take_part(tmp_path: Path) -> None:
    """--packs takes names in one word or in several."""
    facts = say(tmp_path / "facts.jsonl", REFUND)
    answer = quiesce("run", f"{ORDERS}:packed", "--input", facts, "--packs", "rivals", "--json")

    assert ["input", "rival"] == [fact["by"] for fact in answer.document["facts"]]


def test_a_budget_on_the_line_changes_only_the_limit_it_names(tmp_path: Path) -> None:
    """The engine's own limit of three cycles stands beside the new one on facts."""
    facts = say(tmp_path / "facts.jsonl", ("cli-count", None, {"n": 0}))
    by_facts = quiesce("run", f"{ORDERS}:counting", "--input", facts, "--budget-facts", "2", "--json")
    by_cycles = quiesce("run", f"{ORDERS}:counting", "--input", facts, "--budget-facts", "9", "--json")

    assert "stopped at 3 of 2 facts" in by_facts.document["why"]
    assert "stopped at 3 of 3 cycles; still proposing: count" in by_cycles.document["why"]


def test_a_run_that_waits_for_approval_names_its_gates(tmp_path: Path) -> None:
    """The open gates stand in a table of their own, with the line that decides one."""
    facts = say(tmp_path / "facts.jsonl", REFUND)
    answer = quiesce("run", f"{ORDERS}:gated", "--input", facts, "--run-id", "r1")
    gate = answer.lines[3].split()[0]

    assert answer.lines[2:5] == [
        "gate            ref          payload          by    conf  expires",
        f"{gate}  cli-plan:t1  queue='billing'  plan  0.75  never",
        f"run r1  waits for approval of {gate}",
    ]


def test_rows_bounds_the_table(tmp_path: Path) -> None:
    """What is left out is counted."""
    facts = say(tmp_path / "facts.jsonl", REFUND, OTHER)
    answer = quiesce("run", f"{ORDERS}:engine", "--input", facts, "--rows", "1")

    assert answer.lines[2] == "… and 3 more facts; --rows 0 shows all of them"


def test_replay_shows_a_run_as_it_was(log: Path) -> None:
    """At the end, and at the end of a cycle."""
    end = quiesce("replay", "r1", "--log", log, "--import", ORDERS)
    start = quiesce("replay", "r1", "--log", log, "--at", "0")

    assert end.lines[1:] == [
        "seeds       cli-ticket:t1  text='refund please'  input      0     1",
        "strategies  cli-plan:t1    queue='billing'       plan       1  0.75",
        "run r1  2 facts at the end of cycle 1; the run converged after 1 cycle",
    ]
    assert start.lines[-1] == "run r1  1 fact at the end of cycle 0; the run converged after 1 cycle"


def test_replay_for_machines_holds_every_fact(log: Path) -> None:
    """The document has what the context has."""
    document = quiesce("replay", "r1", "--log", log, "--json").document
    with FactLog.open(log) as kept:
        context = replay(kept, "r1")

    assert document["stop"] == {"kind": "converged", "cycles": 1}
    assert [(fact["ref"], fact["digest"], fact["because"]) for fact in document["facts"]] == [
        (fact.ref, fact.digest, list(fact.because)) for fact in context
    ]


def test_the_log_can_come_from_the_environment(log: Path) -> None:
    """QUIESCE_LOG stands in for --log."""
    assert quiesce("runs", env={"QUIESCE_LOG": str(log)}).code == 0


def test_verify_tells_of_every_run(log: Path) -> None:
    """One line for each, with its root."""
    quiesce("run", f"{ORDERS}:engine", "--log", log, "--run-id", "r2")
    answer = quiesce("verify", "--log", log)

    assert [line.rpartition("  ")[0] for line in answer.lines] == [
        "sound  r1  4 events, 2 facts",
        "sound  r2  3 events, 0 facts",
    ]
    assert answer.code == 0


def test_verify_for_machines_is_a_line_for_each_run(log: Path) -> None:
    """JSON lines, since it is a list."""
    [found] = quiesce("verify", "r1", "--log", log, "--json").documents

    assert (found["run"], found["ok"], found["events"], found["fault"]) == ("r1", True, 4, None)


def test_verify_names_the_event_that_is_wrong_and_what_is_left(log: Path) -> None:
    """A flipped byte is found, and the line that shows the sound part is given."""
    data = bytearray(log.read_bytes())
    data[data.index(b'"cli-plan:t1"') + 1] ^= 1
    log.write_bytes(data)
    answer = quiesce("verify", "--log", log.name)

    assert answer.code == 1
    assert answer.lines[0].startswith("wrong  r1  event 2 is damaged (run.jsonl, line ")
    assert answer.lines[0].endswith("cycles up to 0 are intact: quiesce replay r1 --log run.jsonl --at 0")


def test_verify_notes_what_a_crash_tore(log: Path) -> None:
    """A torn last line is no damage; it is told on stderr."""
    with log.open("ab") as file:
        file.write(b'{"event":"')
    answer = quiesce("verify", "--log", log.name)

    assert answer.code == 0
    assert answer.err == "quiesce: run.jsonl ends in 10 bytes of an append that a crash tore; they do not count\n"


def test_why_draws_the_tree_of_reasons(log: Path) -> None:
    """A payload whose class is not imported stands there as the JSON of the log; see the subprocess tests."""
    assert quiesce("why", "r1", "cli-plan:t1", "--log", log).lines == [
        "cli-plan:t1  by plan v2 in cycle 1, confidence 0.75  queue='billing'",
        "└─ cli-ticket:t1  by input in cycle 0  text='refund please'",
    ]


def test_why_knows_what_was_known_then_and_no_later(log: Path) -> None:
    later = quiesce("why", "r1", "cli-plan:t1", "--at", "0", "--log", log)

    assert quiesce("why", "r1", "cli-plan:t1", "--log", log).lines == (
        quiesce("why", "r1", "cli-plan:t1", "--at", "1", "--log", log).lines
    )
    assert (later.code, later.err.startswith("quiesce: run r1 has no fact 'cli-plan:t1'")) == (2, True)


def test_why_shows_who_lost(tmp_path: Path) -> None:
    """The loser's payload, its suggestor and the reason."""
    facts = say(tmp_path / "facts.jsonl", REFUND)
    quiesce("run", f"{ORDERS}:contested", "--input", facts, "--log", "run.jsonl", "--run-id", "r1")

    assert quiesce("why", "r1", "cli-plan:t1", "--log", "run.jsonl").lines[1] == (
        "×  lost queue='rival' by rival (contested)"
    )


def test_why_draws_mermaid_and_json(log: Path) -> None:
    """The same graph in two notations."""
    mermaid = quiesce("why", "r1", "cli-plan:t1", "--log", log, "--mermaid").lines
    document = quiesce("why", "r1", "cli-plan:t1", "--log", log, "--json").document

    assert (mermaid[0], mermaid[-1].strip()) == ("flowchart LR", "f1 --> f0")
    assert [(fact["ref"], fact["because"], fact["losers"]) for fact in document["facts"]] == [
        ("cli-plan:t1", ["cli-ticket:t1"], []),
        ("cli-ticket:t1", [], []),
    ]


def test_diff_shows_what_only_one_run_knows(log: Path, tmp_path: Path) -> None:
    """In the manner of diff, over two logs."""
    facts = say(tmp_path / "more.jsonl", ("cli-ticket", "t1", {"text": "hello"}))
    quiesce("run", f"{ORDERS}:gated", "--input", facts, "--log", "other.jsonl", "--run-id", "r2")
    answer = quiesce("diff", "r1", "r2", "--log", log, "--other-log", "other.jsonl")

    assert answer.code == 1
    assert answer.lines[:4] == [
        "--- r1",
        "+++ r2  first difference in cycle 0",
        "- cli-plan:t1  by plan in cycle 1, confidence 0.75  queue='billing'",
        "~ cli-ticket:t1  payload  text='refund please' → text='hello'",
    ]
    assert answer.lines[4].startswith("~ stop  converged after 1 cycle → waits for approval of g-")


def test_diff_of_a_run_with_itself_is_nothing(log: Path) -> None:
    """For people and for machines."""
    assert quiesce("diff", "r1", "r1", "--log", log).lines == ["r1 and r1 know the same and stopped alike"]
    assert quiesce("diff", "r1", "r1", "--log", log, "--json").document["same"] is True


def test_runs_lists_a_log(log: Path, tmp_path: Path) -> None:
    """When each began, what it came to, why it ended."""
    facts = say(tmp_path / "facts.jsonl", ("cli-count", None, {"n": 0}))
    quiesce("run", f"{ORDERS}:counting", "--input", facts, "--log", log, "--run-id", "r2", *FIXED)
    answer = quiesce("runs", "--log", log)

    assert answer.lines[1:] == [
        "r1   2026-01-01 00:00:00       4      2  converged after 1 cycle",
        f"r2   2026-01-01 00:00:00       6      4  {SPENT}",
    ]
    assert [about["run"] for about in quiesce("runs", "--log", log, "--json").documents] == ["r1", "r2"]


def test_an_exported_run_can_be_imported_elsewhere(log: Path) -> None:
    """Byte for byte."""
    text = quiesce("export", "r1", "--log", log).out
    answer = quiesce("import", "-", "--log", "other.jsonl", input=text)

    assert (answer.code, answer.out) == (0, "r1\n")
    assert quiesce("export", "r1", "--log", "other.jsonl").out == text


def test_colours_are_for_those_who_ask(log: Path) -> None:
    """A file gets none; FORCE_COLOR asks for them, NO_COLOR is stronger."""
    plain = quiesce("verify", "--log", log).out
    forced = quiesce("verify", "--log", log, env={"FORCE_COLOR": "1"}).out
    refused = quiesce("verify", "--log", log, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).out

    assert "\x1b" not in plain
    assert "\x1b[32m" in forced
    assert "\x1b[3" not in refused


def test_what_a_payload_holds_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Escape sequences are shown, not sent."""
    facts = say(tmp_path / "facts.jsonl", ("cli-ticket", "t1", {"text": "\x1b[31m\x9b2J\u202e"}))
    answer = quiesce("run", f"{ORDERS}:engine", "--input", facts)

    assert r"text='\x1b[31m\x9b2J\u202e'" in answer.out


def test_what_an_unknown_payload_holds_cannot_either() -> None:
    """JSON may hold such characters unescaped; what is not UTF-8 and what was redacted is shown too."""
    texts = ['{"text":"\x9b2J\u202e"}'.encode(), b"\xff", b""]
    payloads = [Opaque(family="cli-unheard-of", key="seeds", version=1, raw=text) for text in texts]

    assert [shown(payload) for payload in payloads] == [r'{"text":"\x9b2J\u202e"}', r"\xff", "(redacted)"]


class Basket(Payload, key="signals", family="cli-basket"):
    items: set[str]
    shelves: tuple[frozenset[int], ...]
    places: dict[str, set[str]]


def test_sets_are_shown_in_order() -> None:
    """However deep they stand, and in every process: Python's own order of texts differs from one to the next."""
    items = set("zyxwvutsrqponmlkjihgfedcba")
    basket = Basket(items=items, shelves=(frozenset({2, 1}),), places={"n": {"q", "p"}})
    letters = ", ".join(repr(letter) for letter in sorted(items))

    assert shown(basket).startswith(f"items={{{letters[:100]}")
    assert shown(Basket(items=set(), shelves=basket.shelves, places=basket.places)) == (
        "items={}, shelves=({1, 2},), places={'n': {'p', 'q'}}"
    )


def test_graph_is_drawn_in_three_notations() -> None:
    """The engine's own mermaid and dot; JSON names every node and edge."""
    engine = cli_orders.engine
    assert quiesce("graph", f"{ORDERS}:engine").out == f"{engine.mermaid()}\n"
    assert quiesce("graph", f"{ORDERS}:engine", "--format", "dot").out == f"{engine.dot()}\n"
    document = quiesce("graph", f"{ORDERS}:engine", "--json").document

    assert [node["id"] for node in document["nodes"]] == list(engine.graph().nodes)
    assert [(edge["source"], edge["target"]) for edge in document["edges"]] == [
        (source, target) for source, target, _ in engine.graph().edges
    ]


@pytest.mark.parametrize(("name", "code"), [("engine", 0), ("counting", 1)])
def test_check_tells_what_the_engine_finds(name: str, code: int) -> None:
    """A line and an object for each finding; only errors and warnings make the exit code 1."""
    findings = getattr(cli_orders, name).check()
    answer = quiesce("check", f"{ORDERS}:{name}", "--json")

    assert findings
    assert answer.documents == [asdict(one) for one in findings]
    assert answer.code == code
    assert [line.split()[:2] for line in quiesce("check", f"{ORDERS}:{name}").lines] == [
        [one.level, one.where] for one in findings
    ]


def test_check_is_told_what_comes_from_outside() -> None:
    """--given names families; then nothing has to be presumed."""
    answer = quiesce("check", f"{ORDERS}:engine", "--given", "cli-ticket", "--json")

    assert [found["code"] for found in answer.documents] == ["result"]
