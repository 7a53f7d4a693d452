"""Holds log lines to it that they say what happened where somebody listens, and cost nothing where nobody does."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import structlog
from structlog.testing import LogCapture

from quiesce.engine import Budget, Engine, InvocationEnded, Notice, Observer, Proposal, RunEnded, propose, suggestor
from quiesce.engine.observe import LOGGER, Speaker
from quiesce.facts import Context, Fact, Payload
from quiesce.facts.event import CycleCommitted
from quiesce.facts.fact import Ref, RunId


class Ticket(Payload, key="seeds", family="observe-ticket"):
    text: str = ""

    def __repr__(self) -> NoReturn:
        raise AssertionError("nobody asked to see it")

    __str__ = __repr__


class Plan(Payload, key="strategies", family="observe-plan"):
    queue: str = ""

    def __repr__(self) -> NoReturn:
        raise AssertionError("nobody asked to see it")

    __str__ = __repr__


@suggestor
def plan(ticket: Fact[Ticket]) -> Iterator[Proposal[Plan]]:
    yield propose(Plan(queue="billing"), id=ticket.id, confidence=0.5)
    yield propose(Plan(queue="sales"), id=ticket.id)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Leaves both ways of logging as they were."""
    logger = logging.getLogger(LOGGER)
    level, handlers, spreads = logger.level, logger.handlers[:], logger.propagate
    yield
    structlog.reset_defaults()
    logger.setLevel(level)
    logger.handlers, logger.propagate = handlers, spreads


def run(*observers: Observer, **options: Any) -> None:
    """Runs two cycles: the input, and a proposal that contests another."""
    context = Context()
    context.add(Ticket(text="refund please"), id="t1")
    Engine([plan], observers=observers).run_sync(context, run_id="r", **options)


def configured(level: int, **options: Any) -> list[Any]:
    """Configures structlog to write into a list from a level on."""
    capture = LogCapture()
    structlog.configure(
        processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False, **options,
    )  # fmt: skip
    return capture.entries


CYCLES: list[dict[str, Any]] = [
    {"event": "cycle_committed", "log_level": "info", "run": "r", "cycle": 0, "facts": 1, "rejections": 0, "ran": 0},
    {"event": "cycle_committed", "log_level": "info", "run": "r", "cycle": 1, "facts": 2, "rejections": 1, "ran": 1},
]
STOPPED: dict[str, Any] = {
    "event": "run_stopped", "log_level": "info", "run": "r", "stop": "Converged", "why": "converged after 1 cycle",
}  # fmt: skip
PROMOTED: list[dict[str, Any]] = [
    {"cycle": 0, "ref": "observe-ticket:t1", "by": "input", "confidence": 1.0},
    {"cycle": 1, "ref": "observe-plan:t1", "by": "plan", "confidence": 0.5},
]
REJECTED: dict[str, Any] = {
    "event": "rejected", "log_level": "debug", "run": "r", "cycle": 1, "ref": "observe-plan:t1", "by": "plan",
    "reason": "contested",
}  # fmt: skip


def without_time(lines: list[Any]) -> list[dict[str, Any]]:
    """Returns lines without how long the cycles took, which differs."""
    assert all(0 <= line["seconds"] < 60 for line in lines if line["event"] == "cycle_committed")
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


# --- structlog --------------------------------------------------------------------------------------------------------


def test_at_info_there_is_a_line_for_each_cycle_and_one_for_the_stop() -> None:
    """Lines are events with fields, and no payload is shown in any."""
    lines = configured(logging.INFO)
    run()

    assert [*CYCLES, STOPPED] == without_time(lines)


def test_at_debug_there_is_a_line_for_each_fact_and_rejection() -> None:
    lines = configured(logging.DEBUG)
    run()
    found = without_time(lines)
    facts = [line for line in found if line["event"] == "promoted" and not line["ref"].startswith("contested:")]

    assert [{"event": "promoted", "log_level": "debug", "run": "r", **fact} for fact in PROMOTED] == facts
    assert [REJECTED] == [line for line in found if line["event"] == "rejected"]
    assert [*CYCLES, STOPPED] == [line for line in found if line["log_level"] == "info"]
    assert ["cycle_committed", "promoted"] == [line["event"] for line in found][:2]


def test_at_info_the_facts_are_not_even_gone_through() -> None:
    """However many there are."""

    class Counted(list[Any]):
        def __iter__(self) -> NoReturn:
            unwanted()

    lines = configured(logging.INFO)
    Speaker(RunId("r")).committed(CycleCommitted(1, (), Counted([1, 2]), Counted([3])), 0.5)

    assert [{**CYCLES[1], "ran": 0, "seconds": 0.5}] == lines


def test_a_run_that_stops_early_says_why() -> None:
    lines = configured(logging.INFO)
    run(budget=Budget(cycles=0))

    assert ("BudgetExhausted", "stopped at 0 of 0 cycles") == (lines[-1]["stop"], lines[-1]["why"].split(";")[0])


@pytest.mark.parametrize("level", [logging.WARNING, logging.CRITICAL])
def test_above_info_nothing_is_formatted(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is even begun: not bound, not passed to a processor."""
    lines = configured(level)
    monkeypatch.setattr(Speaker, "committed", unwanted)
    monkeypatch.setattr(Speaker, "stopped", unwanted)
    run()

    assert [] == lines


def unwanted(*_: Any) -> NoReturn:
    raise AssertionError("a line was made that nobody wanted")


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO, logging.DEBUG])
@pytest.mark.parametrize(
    "wrapper", [structlog.BoundLogger, structlog.stdlib.BoundLogger, structlog.make_filtering_bound_logger(0)]
)
def test_the_level_of_the_standard_logger_below_structlog_counts(level: int, wrapper: Any) -> None:
    """Whatever wrapper stands before it, also one that knows no levels."""
    structlog.configure(wrapper_class=wrapper, logger_factory=structlog.stdlib.LoggerFactory())
    logging.getLogger(LOGGER).setLevel(level)
    speaker = Speaker(RunId("r"))

    assert (level <= logging.INFO, level <= logging.DEBUG) == (speaker.info, speaker.debug)


def test_a_wrapper_that_knows_no_levels_is_written_to() -> None:
    structlog.configure(wrapper_class=structlog.BoundLogger)
    speaker = Speaker(RunId("r"))

    assert (True, True) == (speaker.info, speaker.debug)


# --- the standard library ---------------------------------------------------------------------------------------------


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name} {record.getMessage()}")


def listening(level: int) -> list[str]:
    """Lets a handler keep what the standard logger gets."""
    kept, logger = Kept(), logging.getLogger(LOGGER)
    logger.addHandler(kept)
    logger.setLevel(level)
    logger.propagate = False
    return kept.lines


def test_the_standard_logger_gets_lines_with_fields() -> None:
    """Where the program has not configured structlog."""
    lines = listening(logging.INFO)
    run()
    stopped = "INFO quiesce event='run_stopped' run='r' stop='Converged' why='converged after 1 cycle'"

    assert ["event='cycle_committed'"] * 2 == [line.split()[2] for line in lines[:2]]
    assert {"run='r'", "cycle=1", "facts=2", "rejections=1", "ran=1"} < set(lines[1].split())
    assert [stopped] == lines[2:]


def test_the_standard_logger_gets_facts_at_debug() -> None:
    lines = listening(logging.DEBUG)
    run()

    assert ("DEBUG quiesce event='promoted' run='r' cycle=1 ref='observe-plan:t1' by='plan' confidence=0.5") in lines
    assert 1 == sum(line.startswith("DEBUG quiesce event='rejected'") for line in lines)


def test_the_standard_logger_gets_nothing_above_info(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listening(logging.WARNING)
    monkeypatch.setattr(Speaker, "committed", unwanted)
    monkeypatch.setattr(Speaker, "stopped", unwanted)
    run()

    assert [] == lines


PROGRAM = """
import sys, logging
from quiesce.engine import Engine, suggestor
from quiesce.facts import Context, Fact, Payload
from quiesce.facts.event import CycleCommitted
class Ticket(Payload, key="seeds"):
    text: str
class Plan(Payload, key="strategies"):
    queue: str
@suggestor
def plan(ticket: Fact[Ticket]) -> Plan:
    return Plan(queue=ticket.payload.text)
context = Context()
context.add(Ticket(text="a"))
if sys.argv[1:]:
    logging.basicConfig(level=sys.argv[1])
Engine([plan]).run_sync(context).unwrap()
print("structlog" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("level", "loaded"), [((), "False"), (("WARNING",), "False"), (("INFO",), "True")])
def test_a_run_to_which_nobody_listens_does_not_load_structlog(level: tuple[str, ...], loaded: str) -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM, *level], capture_output=True, text=True, check=True)

    assert (loaded, loaded == "True") == (told.stdout.strip(), "cycle_committed" in told.stderr)


# --- observers --------------------------------------------------------------------------------------------------------


def test_the_last_notice_of_a_run_is_its_end() -> None:
    told: list[Notice] = []
    run(told.append)
    kinds = [type(notice).__name__ for notice in told]

    assert [
        "Committed",
        "Committed",
        "InvocationStarted",
        "InvocationEnded",
        "Committed",
        "Committed",
        "RunEnded",
    ] == kinds
    assert RunEnded(RunId("r"), None) == told[-1]


def test_an_invocation_tells_what_came_of_it() -> None:
    told: list[Notice] = []
    run(told.append)
    [ended] = [notice for notice in told if isinstance(notice, InvocationEnded)]

    assert InvocationEnded(RunId("r"), "plan", 1, Ref("observe-ticket:t1"), 2, False, 1, ended.seconds) == ended


class Refuses:
    """An observer that raises at one kind of notice, and keeps what comes after."""

    def __init__(self, kind: type) -> None:
        self.kind, self.error = kind, LookupError("I cannot see this")
        self.told: list[Notice] = []
        self.raised = False

    def __call__(self, notice: Notice) -> None:
        if self.raised:
            self.told.append(notice)
        elif isinstance(notice, self.kind):
            self.raised = True
            raise self.error


def test_what_an_observer_raises_ends_the_run_and_the_end_names_it() -> None:
    refuses = Refuses(InvocationEnded)
    with pytest.raises(LookupError, match="I cannot see this"):
        run(refuses)

    assert [RunEnded(RunId("r"), refuses.error)] == refuses.told


def test_what_an_observer_raises_at_the_end_comes_out() -> None:
    """Unless the run has raised something already: then that does."""
    first, last = Refuses(InvocationEnded), Refuses(RunEnded)
    last.error = LookupError("too late")

    with pytest.raises(LookupError, match="too late"):
        run(last)
    last.raised = False
    with pytest.raises(LookupError, match="I cannot see this"):
        run(first, last)
    assert last.raised
