"""What nobody should type, and somebody will: each ends with one line and changes nothing."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import GateError, NotKept
from quiesce.engine.cli import COMMANDS, app
from quiesce.engine.cli_codes import Code, explain, one_line, without_password
from quiesce.engine.cli_hints import Hints
from quiesce.engine.cli_load import read_age, read_time
from quiesce.engine.recorder import NotJournaled
from quiesce.facts import FactLog, Fenced, Leased, QuiesceError, StoreError
from quiesce.facts.stores import Address, Stale
from quiesce.facts.stores.postgres_link import ServerError
from quiesce.facts.stores.sqlite_errors import Locked
from support import cli_orders
from support.commands import ORDERS, Answer, quiesce, say

TICKET = ("cli-ticket", "t1", {"text": "refund please"})
URL = "postgresql://ana:sword%20fish@db.example:5432/log?password=herring&sslmode=require"


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look at the current directory and add it to the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    say(Path("facts.jsonl"), TICKET)


@pytest.fixture(params=["runs.db", "runs.jsonl"], scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with run r1; for copies."""
    folder = tmp_path_factory.mktemp("made")
    log: Path = folder / request.param
    ran = quiesce(
        "run", f"{ORDERS}:gated", "--input", say(folder / "facts.jsonl", TICKET), "--log", log, "--run-id", "r1"
    )  # fmt: skip
    assert ran.code == Code.AWAITING
    return log


@pytest.fixture
def log(made: Path) -> str:
    """A copy of that log, in the directory of the test."""
    shutil.copy(made, made.name)
    return made.name


def is_one_line(answer: Answer, code: int = Code.MISUSE) -> str:
    """Checks that a command failed with one line and nothing else, and returns the line."""
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("quiesce: ")
    assert answer.err.count("\n") == 1
    return answer.err.removeprefix("quiesce: ").rstrip("\n")


READING = [
    ["runs"], ["verify"], ["gates"], ["replay", "r1"], ["why", "r1", "a:b"], ["export", "r1"], ["diff", "r1", "r2"],
    ["recover", "--list"], ["rerun", "r1", "--engine", f"{ORDERS}:engine"],
    ["fork", "r1", "--engine", f"{ORDERS}:engine"], ["recover", "--engine", f"{ORDERS}:engine"],
    ["approve", "r1", "g-1", "--by", "ana", "--engine", f"{ORDERS}:engine"],
]  # fmt: skip


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("name", ["no.db", "no.sqlite3", "no.jsonl"])
def test_a_log_that_is_not_there_is_not_made(words: list[str], name: str) -> None:
    """Whatever a command would do with it: only run and import make a log."""
    line = is_one_line(quiesce(*words, "--log", name))

    assert line == f"no log at {name}. `quiesce run … --log {name}` writes one"
    assert not Path(name).exists()


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_log_that_is_a_folder_or_has_another_name_is_one_line(words: list[str]) -> None:
    """A folder, a file of no known kind."""
    Path("folder.db").mkdir()
    Path("notes.txt").write_text("not a log", encoding="utf-8")

    assert is_one_line(quiesce(*words, "--log", "folder.db")).startswith("log folder.db is no file. ")
    assert is_one_line(quiesce(*words, "--log", "notes.txt")).startswith("no store for 'notes.txt'. Give ")
    assert is_one_line(quiesce(*words, "--log", "redis://localhost")).startswith("no log at redis://localhost. ")


def test_a_log_that_is_a_file_of_another_kind_says_so(log: str) -> None:
    """JSON lines under the name of a database, and the other way round; a picture."""
    Path("swapped.jsonl" if log.endswith(".db") else "swapped.db").write_bytes(Path(log).read_bytes())
    Path("picture.db").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5_000))
    swapped = is_one_line(quiesce("runs", "--log", "swapped.jsonl" if log.endswith(".db") else "swapped.db"))
    picture = is_one_line(quiesce("runs", "--log", "picture.db"))

    if log.endswith(".db"):
        assert swapped.startswith("log swapped.jsonl is a SQLite database, not JSON lines. ")
    else:
        assert "file is not a database" in swapped
    assert "file is not a database" in picture


@pytest.mark.parametrize("name", ["r2", "-r", "--log", "a b", "ü☃", "x/../y", "r'1", 'r"1', "$HOME", "*", "%s", "q;rm"])
def test_a_run_may_have_a_strange_name(log: str, name: str) -> None:
    """What it prints as the next command can be typed as it stands."""
    made = quiesce("run", f"{ORDERS}:engine", "--input", "facts.jsonl", "--log", log, f"--run-id={name}")
    again = made.lines[-1].removeprefix("replay it: quiesce ")
    replayed = quiesce(*shlex.split(again))

    assert (made.code, replayed.code) == (0, 0)
    assert replayed.lines[-1].startswith(f"run {name}  2 facts at the end of cycle 1")
    assert quiesce("why", "--log", log, "--", name, "cli-plan:t1").code == 0


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "x" * 201, "\x00"])
def test_a_run_may_not_have_a_name_that_cannot_be_shown(log: str, name: str) -> None:
    """It is refused before anything is written."""
    before = Path(log).read_bytes()
    line = is_one_line(quiesce("run", f"{ORDERS}:engine", "--log", log, "--run-id", name))

    assert "is not a printable text of 1 to 200 characters" in line
    assert "\x1b" not in line
    assert Path(log).read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["replay", "r1", "--at", "-1"],
        ["replay", "r1", "--at", "one"],
        ["replay", "r1", "--at", "99999999999999999999"],
        ["replay", "r1", "--rows", "-1"],
        ["replay", "../r1"],
        ["replay", "\x1b[31m"],
        ["why", "r1", "cli-plan"],
        ["why", "r1", ":"],
        ["why", "r1", ""],
        ["why", "r1", "\x00"],
        ["diff", "r1", "r1", "--at", "-1"],
        ["fork", "r1", "--engine", f"{ORDERS}:engine", "--seed", "-1"],
        ["fork", "r1", "--engine", f"{ORDERS}:engine", "--run-id", "r1"],
        ["approve", "r1", "", "--by", "ana", "--engine", f"{ORDERS}:gated"],
        ["approve", "r1", "\x1b[31m", "--by", "ana", "--engine", f"{ORDERS}:gated"],
        ["import", "."],
        ["import", "nowhere.jsonl"],
        ["import", "facts.jsonl", "facts.jsonl"],
    ],
    ids=ascii,
)
def test_a_word_that_fits_nothing_is_one_line(log: str, words: list[str]) -> None:
    """Usage, names, numbers, files: it says what is wrong with it, in characters that a terminal can show."""
    before = quiesce("export", "--all", "--log", log).out
    line = is_one_line(quiesce(*words, "--log", log))

    assert line == one_line(line)
    assert quiesce("export", "--all", "--log", log).out == before


@pytest.mark.parametrize("name", ["linked.db", "linked.jsonl"])
def test_a_log_that_cannot_be_opened_is_one_line(name: str) -> None:
    """A path through a file, a link to itself, a name that is too long or holds what no name can."""
    Path(name).symlink_to(name)
    names = [name, f"facts.jsonl/{name}", f"{'x' * 300}{name}", f"a\x00{name}"]

    for one in names:
        assert is_one_line(quiesce("runs", "--log", one))
        written = quiesce("run", f"{ORDERS}:engine", "--log", one)
        assert written.code in {Code.MISUSE, Code.FAILED}  # a JSON lines file is opened by the first append
        assert (written.out, written.err.count("\n")) == ("", 1)


@given(text=st.text(max_size=40))
def test_any_text_is_a_time_and_an_age_or_is_refused(text: str) -> None:
    """No text raises anything else."""
    for read in (read_time, read_age):
        problem = ""
        try:
            read(text)
        except QuiesceError as error:
            problem = str(error)

        assert not problem or "Write it like" in problem


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("1.5h", 5_400), ("30 m", 1_800), ("2w", 1_209_600)]
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    age = read_age(text)

    assert age is not None
    assert age.total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1e9d", "9" * 400 + "d", "1d1h", "forever"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(QuiesceError, match="is no length of time"):
        read_age(text)


@given(
    user=st.text("abcXYZ09._~-", max_size=8), password=st.from_regex(r"[\w.~%!$()*+,;=:&'\"^-]{3,20}", fullmatch=True)
)
def test_no_password_of_a_url_is_shown(user: str, password: str) -> None:
    """Whatever stands around it: the rest of the url is left as it is."""
    text = f"connection to postgresql://{user}:{password}@db.example/log failed"

    assert without_password(text) == f"connection to postgresql://{user}:***@db.example/log failed"
    assert one_line(text) == without_password(text)


def test_passwords_of_settings_are_not_shown_either() -> None:
    """In the query of a url, and in libpq's own notation."""
    assert without_password(URL) == "postgresql://ana:***@db.example:5432/log?password=***&sslmode=require"
    assert without_password("host=db password='sword fish' user=ana") == "host=db password=*** user=ana"
    assert Hints(URL).replay("r1") == (
        "quiesce replay r1 --log 'postgresql://ana:***@db.example:5432/log?password=***&sslmode=require'"
    )


def test_a_file_that_another_process_writes_is_busy() -> None:
    """A JSON lines file has one writer; whoever comes second may try again."""
    with FactLog.open("runs.jsonl") as kept:
        cli_orders.engine.run_sync(log=kept)
        answer = quiesce("run", f"{ORDERS}:engine", "--log", "runs.jsonl")

    assert "is being written by another process" in is_one_line(answer, Code.BUSY)


def test_a_disk_that_is_full_is_not_the_fault_of_who_typed() -> None:
    """An error of a store is told apart by what is below it."""
    code = {}
    for number in (28, 13):
        error = StoreError("could not be kept")
        error.__cause__ = OSError(number, "it says why")
        code[number] = explain(error)[0]

    assert code == {28: Code.FAILED, 13: Code.MISUSE}


NOT_KEPT = NotKept("r1", 3, [], "the disk is full")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Leased("r1", "process 7", 12.0), Code.BUSY),
        (Fenced("r1", 3, 4), Code.BUSY),
        (Stale(Address("lease", "r1", "")), Code.BUSY),
        (Locked("runs.db", 10.0), Code.BUSY),
        (NOT_KEPT, Code.FAILED),
        (NotJournaled("r1", {"call": b"{}"}, "the disk is full"), Code.FAILED),
        (ServerError("db", "it is going down", "Wait"), Code.FAILED),
        (GateError("g-1", "is not open"), Code.MISUSE),
        (ExceptionGroup("tasks", [NOT_KEPT]), Code.FAILED),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_code_says_whose_turn_it_is(error: Exception, code: Code) -> None:
    """That of who typed, of who writes there now, or of whoever minds the disk."""
    assert explain(error)[0] is code


@pytest.mark.parametrize(("name", "example"), [(name, example) for name, _, example in COMMANDS])
def test_every_command_explains_itself_with_an_example_that_can_be_parsed(name: str, example: str) -> None:
    """What the example says is what the command takes."""
    told = quiesce(name, "--help")
    words = shlex.split(example)
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, name)

    assert told.code == 0
    assert example in told.out
    assert words[:2] == ["quiesce", name]
    command.make_context(name, words[2:], resilient_parsing=False)


def test_every_command_that_shows_something_can_show_it_to_machines() -> None:
    """Those without --json write what they have in a form of its own."""
    without = {name for name, _, _ in COMMANDS if "--json" not in quiesce(name, "--help").out}

    assert without <= {"export", "import", "prove"}


def test_the_version_is_told() -> None:
    answer = quiesce("--version")

    assert answer.code == 0
    assert answer.out.startswith("quiesce 0.")


def test_strict_runs_nothing_if_a_line_of_the_input_is_malformed() -> None:
    """Without it the line becomes a fact."""
    Path("facts.jsonl").write_text(f"{Path('facts.jsonl').read_text()}{{broken\n", encoding="utf-8")
    words = ("run", f"{ORDERS}:engine", "--input", "facts.jsonl", "--log", "runs.db")
    line = is_one_line(quiesce(*words, "--strict"))

    assert line.startswith(
        "1 of 2 input lines malformed, and --strict was said: nothing was run. The first is line 2: "
    )
    assert not Path("runs.db").exists()
    assert quiesce(*words).code == 0
