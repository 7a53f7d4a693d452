"""Runs the examples as their readers do: as programs, on a terminal and without one, with every warning an error."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from quiesce.facts import FactLog, replay, verify
from quiesce.suggestors.routing.payloads import RouteDecision

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = ["closure.py", "pipeline.py", "providers.py", "settle_orders.py", "triage.py"]
PYTHON = [sys.executable, "-W", "error"]
QUIESCE = [*PYTHON, "-m", "quiesce.engine.cli"]
HIDDEN = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "QUIESCE_LOG")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in HIDDEN}
GATES = 4
"""How many questions the triage asks where everything but the vague and the dear is approved."""

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a copy of the examples: what they write goes beside them."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def start(
    home: Path, *words: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Starts a program."""
    return subprocess.Popen(
        words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, encoding="utf-8", cwd=home,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def call(home: Path, *words: str, typed: str | None = None) -> tuple[int, list[str], str]:
    """Returns how a program ends, what it says and what it complains of; what is typed comes from a terminal."""
    ours, theirs = pty.openpty()
    try:
        if typed is not None:
            os.write(ours, typed.encode())
        with start(home, *words, stdin=subprocess.DEVNULL if typed is None else theirs) as process:
            try:
                said, complaints = process.communicate(timeout=90)
            finally:
                process.kill()  # one that asks for more than was typed would wait for ever
    finally:
        os.close(theirs)
        os.close(ours)
    return process.returncode, said.splitlines(), complaints


def run(home: Path, *words: str, typed: str | None = None) -> list[str]:
    """Returns what a program says that ends well and complains of nothing."""
    code, said, complaints = call(home, *words, typed=typed)

    assert (0, "") == (code, complaints)
    return said


def example(home: Path, name: str, *words: str, typed: str | None = None) -> list[str]:
    """Returns what an example says."""
    return run(home, *PYTHON, f"examples/{name}", *words, typed=typed)


def line(said: list[str], start: str) -> str:
    """Returns the one line that starts like this."""
    [found] = [text for text in said if text.startswith(start)]
    return found


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: str(path.name))
def test_every_example_tells_how_to_run_it(path: Path) -> None:
    """At its top, where a reader looks first."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    assert f"examples/{path.name}" in told
    assert (path.name in PROGRAMS) == (f"python examples/{path.name}" in told)


# --- settle_orders ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where the example ran, and what it said."""
    home = tmp_path_factory.mktemp("settled")
    shutil.copytree(EXAMPLES, home / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return home, example(home, "settle_orders.py")


def test_settling_shows_the_cycles_the_facts_the_stop_and_the_reasons(settled: tuple[Path, list[str]]) -> None:
    """Each cycle with who proposed what, then the table, why it stopped, and one tree."""
    _, said = settled

    assert [f"cycle {cycle}  " for cycle in range(7)] == [text[:9] for text in said if text.startswith("cycle ")]
    assert "  haggle  quotes:o2  cents={'air': 7900, 'road': 3900}  because plan:o2" in said
    assert "strategies   plan:o3" == line(said, "strategies   plan:o3")[:20]
    assert "run orders  converged after 6 cycles" in said
    assert "   └─ failure:" == line(said, "   └─ failure:")[:14]


def test_a_replay_asks_no_service_and_comes_to_the_same(settled: tuple[Path, list[str]]) -> None:
    """The context is equal, the log is sound, and at every cycle the past is as it was."""
    _, said = settled

    assert "equal  the context replayed and the context settled" in said
    assert "asked  services 24 times to settle, 0 times to replay" in said
    assert "at=3  20 facts  plan:o2  carrier='road', cents=57700, start='Lyon'" in said
    assert "at=6  24 facts  plan:o2  carrier='road', cents=57300, start='Lyon'" in said
    assert "sound  orders  9 events, 29 facts  root" == line(said, "sound")[:39]


def test_the_command_that_is_shown_replays_the_run(settled: tuple[Path, list[str]]) -> None:
    """It can be pasted into the shell in which the example ran."""
    home, said = settled
    tool, *words = shlex.split(line(said, "$ ").removeprefix("$ "))

    assert ["quiesce", "replay", "orders", "--log", "build/orders.jsonl"] == [Path(tool).name, *words]
    replayed = run(home, *QUIESCE, *words)
    assert "run orders  24 facts at the end of cycle 6; the run converged after 6 cycles" == replayed[-1]


def test_settling_again_leaves_the_same_log(settled: tuple[Path, list[str]], home: Path) -> None:
    """Byte for byte, whoever answered first."""
    example(home, "settle_orders.py")
    logs = []
    for place in (settled[0], home):
        with FactLog.open(place / "build" / "orders.jsonl") as log:
            logs.append(log.to_bytes("orders"))

    assert logs[0] == logs[1]


def test_the_command_line_settles_the_same_orders(settled: tuple[Path, list[str]]) -> None:
    """Engine and input are there for `quiesce run` too."""
    home, _ = settled
    given = ["--input", "examples/orders.jsonl", "--log", "typed.jsonl", "--run-id", "typed"]
    run(home, *QUIESCE, "run", "examples/orders.py:engine", *given)
    words = ["orders", "typed", "--log", "build/orders.jsonl", "--other-log", "typed.jsonl"]

    assert ["orders and typed know the same and stopped alike"] == run(home, *QUIESCE, "diff", *words)


def test_on_a_terminal_it_shows_who_is_running(home: Path) -> None:
    """A line that is drawn anew while suggestors are called; it wraps nothing."""
    ours, theirs = pty.openpty()
    with start(home, *PYTHON, "examples/settle_orders.py", stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(ours):
            shown += chunk

    os.close(ours)
    assert 0 == process.returncode
    assert [True, True] == [text in shown for text in (b"running", b"converged after 6 cycles")]


def test_ctrl_c_while_it_settles_tells_what_is_left(home: Path) -> None:
    """One line, no traceback; the log can be read."""
    with start(home, *PYTHON, "examples/settle_orders.py") as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("cycle 0"):
            pass
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=60)

    assert (130, "") == (process.returncode, complaints)
    assert said.splitlines()[-1].startswith("interrupted: run orders was cancelled. What it has: ")
    with FactLog.open(home / "build" / "orders.jsonl") as log:
        assert verify(log, "orders").ok


def test_it_falls_silent_when_nobody_reads_on(home: Path) -> None:
    """As under `make run | head`."""
    with start(home, *PYTHON, "examples/settle_orders.py") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()

        assert "" == process.stderr.read()
    assert 0 == process.returncode


def read_terminal(terminal: int) -> bytes:
    """Returns what is there to be read; nothing once the other side is closed, which Linux calls an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


# --- triage: a person in the loop -------------------------------------------------------------------------------------


def test_gates_are_decided_both_ways_without_a_terminal(home: Path) -> None:
    """The script approves and rejects; a rejection leads to another letter."""
    said = example(home, "triage.py", "triage.jsonl")

    assert ["approved", "rejected", "approved", "rejected"] == [text[2:10] for text in said[1 : 1 + GATES]]
    assert "run triage-1 converged" == line(said, "run triage-1 converged")[:22]
    assert "  to c1: 49 € are on their way" in said
    assert "  to c2: we cannot refund this: over 100 €, a technician will come instead" in said
    assert "  to c3: a colleague will answer you: this is no complaint" in said


def test_a_person_leaves_at_a_question_and_goes_on_later(home: Path) -> None:
    """The second process finds the open gates in the log, and asks for those only."""
    end_of_input = "\x04"
    left = call(home, *PYTHON, "examples/triage.py", "triage.jsonl", typed=f"y\n{end_of_input}")
    said = example(home, "triage.py", "triage.jsonl", typed="no complaint\ny\ntoo dear\n")

    assert (1, "\nleft; start again to go on\n") == (left[0], left[2])
    assert "going on with triage-1" == said[0]
    assert GATES - 1 == sum("approve? " in text for text in said)
    assert "  to c2: we cannot refund this: too dear" in said
    assert "  to c3: a colleague will answer you: no complaint" in said


# --- closure: rules with joins ----------------------------------------------------------------------------------------


def test_rights_go_down_the_memberships_and_round_the_circle(home: Path) -> None:
    """Everybody has what follows, and no more; a context that is quiescent calls nobody."""
    said = example(home, "closure.py")
    begin = said.index("run closure converged after 4 cycles; 11 facts")

    assert [
        "  ana       deploy, read, write",
        "  ben       deploy, merge, read, write",
        "  dev       deploy, read, write",
        "  everyone  read",
        "  guests    read",
        "  ops       deploy, read, write",
        "  staff     read, write",
    ] == said[begin + 1 : begin + 8]
    assert "run again converged after 0 cycles; 11 facts: it is quiescent, so nobody was called" in said
    assert "  zoe       deploy, read, write" in said


def test_check_tells_a_loop_that_ends_from_one_that_may_not(home: Path) -> None:
    """With a join it is good to know; without one it is a warning."""
    said = example(home, "closure.py")

    assert line(said, "  info: ").startswith("  info: inherit → inherit is a loop, and ends once rights joins")
    assert line(said, "  warning: ").startswith("  warning: collect → collect can run on without a join")


# --- pipeline: a stream of contexts -----------------------------------------------------------------------------------


def test_what_is_wrong_with_one_basket_stops_no_other(home: Path) -> None:
    """Broken input, a failing suggestor and a spent budget stay with their basket, whatever came first."""
    said = example(home, "pipeline.py")
    streamed = said[1 : said.index("A batch, with the results in its order:")]

    assert [
        "      left out l2: Invalid JSON: EOF while parsing an object at line 1 column 24",
        "      left out line:l2: KeyError: 'sofa'",
        "  b1   21.00 €, lines: 2",
        "  b2    4.50 €, lines: 1",
        "  b3   39.00 €, lines: 1",
        "  b4  put aside: stopped at 40 of 30 facts",
        "  b5  138.00 €, lines: 3",
    ] == sorted(streamed)


def test_one_more_line_wakes_only_what_it_touches(home: Path) -> None:
    """The batch keeps its order; the basket goes on from where it was; one log holds it all."""
    said = example(home, "pipeline.py")

    assert [
        "  batch-0   39.00 €, lines: 1",
        "  batch-1   72.00 €, lines: 1",
        "  batch-2   27.00 €, lines: 1",
        "One more line for b1:",
        "  b1   60.00 €, lines: 3",
        "      called: price ×1, add_up ×1",
        "9 runs in one log, 9 of them sound",
    ] == said[-7:]


# --- providers: what `make run` runs ----------------------------------------------------------------------------------


GOVERNED = pytest.mark.xdist_group("governed")  # in one process, so that the example runs for them once


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where the example ran, and what it said."""
    home = tmp_path_factory.mktemp("governed")
    shutil.copytree(EXAMPLES, home / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return home, example(home, "providers.py")


def decisions(home: Path) -> dict[str, RouteDecision | None]:
    """Returns what was decided in each run, from the log alone."""
    with FactLog.open(home / "build" / "providers.db") as log:
        contexts = {run: replay(log, run) for run in log.runs()}
    found = {run: context.of(RouteDecision).get(run) for run, context in contexts.items()}
    return {run: None if fact is None else fact.payload for run, fact in found.items()}


@GOVERNED
def test_who_decays_and_who_fails_is_noticed_and_put_out(governed: tuple[Path, list[str]]) -> None:
    """Not before it happens: "waning" decays at request 100; "steady" is never put out."""
    _, said = governed
    out = {
        name: [int(text[1:5]) for text in said if f"{name:8}put out" in text] for name in ("steady", "waning", "shaky")
    }

    assert [] == out["steady"]
    assert 100 < out["waning"][0] < 125
    assert 150 < out["shaky"][0] < 225
    assert f"{'waning':8}{'none':8}nothing odd any more" in "\n".join(said)


@GOVERNED
def test_the_traffic_follows_what_is_learned(governed: tuple[Path, list[str]]) -> None:
    """The best gets most of it, until it decays: then it gets what probes and trials take, and the others the rest."""
    decided = [one.provider if one is not None else "" for one in decisions(governed[0]).values()]

    assert 300 == len(decided)
    assert decided[60:100].count("waning") > 20
    assert decided[110:200].count("waning") < 30
    assert min(decided[110:].count(name) for name in ("steady", "shaky")) > 20


@GOVERNED
def test_the_same_is_decided_once_more_and_nobody_is_asked(governed: tuple[Path, list[str]]) -> None:
    """By the servers' own count of their requests."""
    _, said = governed
    asked = sum(one is not None for one in decisions(governed[0]).values())

    assert "yes  300 of 300 requests were decided once more, and come out the same" in said
    assert f"yes  the providers had {asked} requests to settle, 0 to decide again" in said
    assert "yes  300 of 300 runs are sound: no byte of the log was changed" in said
    assert "yes  after a restart the posteriors are the same, and a fold from scratch gives them, too" in said
    assert [] == [text for text in said if text.startswith("NO ")]


@GOVERNED
def test_a_probe_is_explained_by_the_quarantine(governed: tuple[Path, list[str]]) -> None:
    """The tree shows what was known when it was decided: who was out and why, the request, the posteriors."""
    _, said = governed
    tree = said[
        said.index("Why one of them was decided as it was") + 1 : said.index("Once more, from the log alone") - 1
    ]

    assert tree[0].startswith("route-decision:r")
    assert "provider='waning'" in tree[0]
    assert ["known-quarantine:drift/waning"] == [
        text.split("  ")[0][3:] for text in tree if "known-quarantine:" in text
    ]
    assert 3 == sum("posterior:" in text for text in tree)


@GOVERNED
def test_the_picture_is_drawn_twice(governed: tuple[Path, list[str]]) -> None:
    """As PNG and as SVG; the latter is small, and text that can be read."""
    home, said = governed

    assert ["build/providers.png", "build/providers.svg"] == said[-2:]
    assert b"\x89PNG" == (home / "build" / "providers.png").read_bytes()[:4]
    drawn = (home / "build" / "providers.svg").read_text()
    assert len(drawn) < 60_000
    assert all(f">{name}<" in drawn for name in ("steady", "waning", "shaky"))


@GOVERNED
def test_it_decides_the_same_whenever_it_is_run(governed: tuple[Path, list[str]], home: Path) -> None:
    """Chance is the seed's, and how fast anybody answered decides nothing."""
    example(home, "providers.py", "60")

    assert dict(list(decisions(governed[0]).items())[:60]) == decisions(home)


def test_without_matplotlib_it_says_so_and_goes_on(home: Path) -> None:
    """It is an extra."""
    program = (
        "import runpy, sys; sys.modules['matplotlib'] = None; sys.argv = ['providers.py', '5']; "
        "sys.path.insert(0, 'examples'); runpy.run_path('examples/providers.py', run_name='__main__')"
    )
    said = run(home, *PYTHON, "-c", program)

    assert said[-1].startswith("no picture: ")
    assert said[-1].endswith('It takes the extra "plot": pip install "quiesce[plot]"')
    assert "yes  5 of 5 requests were decided once more, and come out the same" in said


def test_on_a_terminal_it_draws_a_table_and_a_bar(home: Path) -> None:
    """They are drawn anew with each request."""
    ours, theirs = pty.openpty()
    with start(home, *PYTHON, "examples/providers.py", "20", stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(ours):
            shown += chunk
    os.close(ours)

    assert 0 == process.returncode
    assert b"2/20" in shown
    assert b"20/20" in shown
    assert shown.count(b"provider") >= 10


def test_ctrl_c_while_it_asks_tells_what_is_left(home: Path) -> None:
    """One line, no traceback; the log can be read."""
    with start(home, *PYTHON, "examples/providers.py") as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("after 60 requests"):
            pass
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=60)

    assert (130, "") == (process.returncode, complaints)
    assert said.splitlines()[-1].startswith("interrupted: ")
    with FactLog.open(home / "build" / "providers.db") as log:
        assert [] == [run for run in log.runs() if not verify(log, run).ok]
        assert len(list(log.runs())) >= 60


def test_it_stops_when_nobody_reads_on(home: Path) -> None:
    """As under `make run | head`: no traceback."""
    with start(home, *PYTHON, "examples/providers.py", "70") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith("after 60 requests"):
            pass
        process.stdout.close()

        assert "" == process.stderr.read()
    assert 0 == process.returncode


# --- the simulated providers ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated() -> Any:
    """The module, which lies beside the examples and in no package."""
    spec = importlib.util.spec_from_file_location("simulated_example", EXAMPLES / "simulated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def post(url: str, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, dict[str, Any], str]:
    """Returns status, body and Retry-After of an answer."""
    place = urlsplit(url)
    with closing(HTTPConnection(place.hostname or "", place.port, timeout=10)) as connection:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers.get("Retry-After", "")


def chat(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def test_a_server_speaks_the_chat_protocol(simulated: Any) -> None:
    """An answer, and a call of a tool, in the form that clients of OpenAI read."""
    tool = {"type": "function", "function": {"name": "tell", "parameters": {"type": "object"}}}
    with simulated.running(1) as town:
        status, plain, _ = post(town.urls["waning"], chat("What is 17 plus 25 ?"))
        _, called, _ = post(town.urls["waning"], chat("What is 17 plus 25 ?", tools=[tool]))

    assert (200, "chat.completion", "m") == (status, plain["object"], plain["model"])
    [choice] = plain["choices"]
    assert ("assistant", "stop") == (choice["message"]["role"], choice["finish_reason"])
    assert "42" in choice["message"]["content"]
    usage = plain["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert usage["completion_tokens"] > 20
    [choice] = called["choices"]
    [call_] = choice["message"]["tool_calls"]
    assert ("tool_calls", None, "tell") == (
        choice["finish_reason"],
        choice["message"]["content"],
        call_["function"]["name"],
    )
    assert "42" in json.loads(call_["function"]["arguments"])["text"]


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (b"{", "/v1/chat/completions", 400),
        (b"[]", "/v1/chat/completions", 400),
        (b"\xff\xfe", "/v1/chat/completions", 400),
        (b'{"model": "m"}', "/v1/chat/completions", 400),
        (b'{"model": "m", "messages": []}', "/v1/chat/completions", 400),
        (b'{"model": "m", "messages": [3]}', "/v1/chat/completions", 400),
        (chat("hello"), "/v1/completions", 404),
    ],
)
def test_a_server_refuses_what_is_no_request(simulated: Any, body: bytes, path: str, status: int) -> None:
    """With an error as OpenAI words it, and goes on."""
    with simulated.running(1) as town:
        found, error, _ = post(town.urls["steady"], body, path)

        assert (status, "invalid_request_error") == (found, error["error"]["type"])
        assert 0 == town.requests
        assert 200 == post(town.urls["waning"], chat("What is 1 plus 1 ?"))[0]


def test_a_server_reads_no_body_that_is_too_long(simulated: Any) -> None:
    """It answers before the body has come."""
    with simulated.running(1) as town:
        place = urlsplit(town.urls["steady"])
        with closing(HTTPConnection(place.hostname or "", place.port, timeout=10)) as connection:
            connection.putrequest("POST", "/v1/chat/completions")
            connection.putheader("Content-Length", "1000001")
            connection.endheaders()

            assert 413 == connection.getresponse().status


def test_servers_decay_fail_and_limit_as_planned_and_the_same_each_time(simulated: Any) -> None:
    """The seed decides; the counts that the example shows are the servers' own."""
    told = []
    for _ in range(2):
        with simulated.running(3) as town:
            answers = [post(town.urls[name], chat("What is 3 plus 4 ?")) for _ in range(90) for name in town.urls]
            said = [(status, body.get("choices"), after) for status, body, after in answers]
            told.append((said, dict(town.answered)))

    assert told[0] == told[1]
    said, counts = told[0]
    assert {90} == {
        sum(count for (name, _), count in counts.items() if name == one) for one in ("steady", "waning", "shaky")
    }
    assert {"shaky"} == {name for name, status in counts if status == 429}
    assert counts["shaky", 500] > 15
    assert {"1"} == {after for status, _, after in said if status == 429}
    decayed = [choices[0]["message"]["content"] for _, choices, _ in said[100:200] if choices is not None]
    assert decayed.count("") > 5
