"""Shows facts, runs and explanations to people: aligned, short, in colour only where a terminal asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..facts import Context, Diff, Fact, Malformed, Opaque, Verification, Why
from ..facts.fact import printable
from ..facts.show import show_value
from ..facts.trail import Parked
from .cli_codes import without_password
from .cli_hints import Hints
from .cli_json import in_order, redacted_data
from .goal import Met, Outcome
from .result import Result
from .stop import AwaitingApproval, Converged, GoalsMet, Stop, describe, stop_from_json

if TYPE_CHECKING:
    from .check import Finding

PIPED_WIDTH = 10_000
"""Columns of output that goes into a file or a pipe: nothing is cut off there."""
LONGEST_PAYLOAD = 200
"""Characters of a payload that are shown."""

_ENGINE = ("diagnostics",)


class Screen(Console):
    """Where a command writes for people; a reader that has gone away ends the command."""

    def __init__(self, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        piped = not getattr(sys, stream).isatty() and "COLUMNS" not in os.environ
        super().__init__(
            stderr=stream == "stderr", highlight=False, markup=False, emoji=False, soft_wrap=False,
            width=PIPED_WIDTH if piped else None,
        )  # fmt: skip

    def on_broken_pipe(self) -> None:
        """Leaves it to the end of the program, which has a code for it."""
        raise BrokenPipeError

    def row(self, *parts: str | tuple[str, str]) -> None:
        """Writes one line of parts, each a text or a text with its style; what does not fit is cut off."""
        self.print(Text.assemble(*parts), no_wrap=True, overflow="ellipsis", crop=True)

    def whole(self, *parts: str | Text | tuple[str, str]) -> None:
        """Writes parts that somebody may want to copy: wrapped by the terminal, never cut off."""
        self.print(Text.assemble(*parts), soft_wrap=True)


def shown(payload: object) -> str:
    """Returns a payload on one line: its fields, or the JSON text where its class is not known here."""
    if payload is None:
        return "(nothing that could be written)"
    if isinstance(payload, Opaque):
        text = payload.raw.decode(errors="backslashreplace") if payload.raw else f"({_gone(payload)})"
    else:
        fields: Iterable[tuple[str | None, Any]] = getattr(payload, "__repr_args__", lambda: [(None, payload)])()
        text = ", ".join(f"{name}={_value(value)}" if name else _value(value) for name, value in fields)
    text = printable(text[: LONGEST_PAYLOAD + 1])
    return text if len(text) <= LONGEST_PAYLOAD else f"{text[: LONGEST_PAYLOAD - 1]}…"


def show_facts(screen: Screen, facts: Sequence[Fact[Any]], rows: int) -> None:
    """Writes facts as a table; of more than `rows` only the first, and how many are left (0: all)."""
    table = new_table("key", "ref", "payload", "by", ">cycle", ">conf")
    for fact in facts[: rows or None]:
        style = "red" if fact.key in _ENGINE else "dim" if fact.by == "input" else ""
        table.add_row(
            Text(printable(fact.key), "dim"), cut(printable(fact.ref), "bold"), cut(shown(fact.payload)),
            Text(printable(fact.by), style), str(fact.cycle), f"{fact.confidence:g}",
        )  # fmt: skip
    if facts:
        screen.print(table)
    if rows and len(facts) > rows:
        screen.row((f"… and {_count(len(facts) - rows, 'more fact')}; --rows 0 shows all of them", "dim"))


def show_result(screen: Screen, result: Result, rows: int, hints: Hints) -> None:
    """Writes the end of a run: what is known, what is open, why it ended, and how to see it again."""
    show_facts(screen, in_order(result.context), rows)
    if result.gates:
        show_gates(screen, result.gates)
    show_goals(screen, result.goals)
    screen.whole(
        "run ", (printable(result.run_id), "bold"), "  ", (printable(describe(result.stop)), stop_style(result.stop))
    )
    again = hints.replay(result.run_id)
    if isinstance(result.stop, AwaitingApproval) and again:
        gate = result.stop.gates[0]
        screen.whole(("approve it: ", "dim"), hints.decide("approve", result.run_id, gate))
        screen.whole(("reject it: ", "dim"), hints.decide("reject", result.run_id, gate))
    if again:
        screen.whole(("replay it: ", "dim"), again)
    else:
        lost = ", and nobody can decide in another process" if isinstance(result.stop, AwaitingApproval) else ""
        screen.whole((f"not kept{lost}: --log FILE.db keeps a run", "dim"))


def show_replay(screen: Screen, run: str, context: Context, stop: Mapping[str, Any] | None, rows: int) -> None:
    """Writes what a run knew at the end of a cycle."""
    show_facts(screen, in_order(context), rows)
    link = "is " if stop is None else ""
    known = f"  {_count(len(context), 'fact')} at the end of cycle {context.trail.cycle}; the run {link}"
    screen.whole("run ", (printable(run), "bold"), known, stop_text(stop))


def show_malformed(screen: Screen, lines: int, malformed: Mapping[int, Fact[Malformed]]) -> None:
    """Writes which lines of the input are no facts."""
    if malformed:
        screen.whole((f"{len(malformed):,} of {_count(lines, 'input line')} malformed; kept as facts:", "red"))
    for number, fact in islice(malformed.items(), 5):
        reason = fact.payload.reason.removeprefix(f"line {number}: ")
        screen.whole((f"  line {number}  ", "dim"), printable(reason))
    if len(malformed) > 5:
        screen.row((f"  … and {len(malformed) - 5:,} more", "dim"))


def show_findings(screen: Screen, findings: Sequence[Finding], suggestors: int) -> None:
    """Writes what checking an engine found."""
    if not findings:
        screen.row(("nothing found", "green"), f" in {_count(suggestors, 'suggestor')}")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for one in findings:
        style = {"error": "red", "warning": "yellow", "info": "dim"}[one.level]
        table.add_row(Text(one.level, style), Text(printable(one.where), "bold"), Text(printable(one.message)))
    screen.print(table)


def note(text: str) -> None:
    """Writes a line that is no error to stderr."""
    Screen("stderr").whole(f"quiesce: {printable(without_password(text))}")


def show_gates(screen: Screen, gates: Mapping[str, Parked]) -> None:
    """Writes what waits for a person."""
    table = new_table("gate", "ref", "payload", "by", ">conf", "expires")
    for parked in gates.values():
        table.add_row(
            Text(printable(parked.gate), "yellow"), cut(printable(parked.ref), "bold"), cut(shown(parked.payload)),
            printable(parked.by), f"{parked.confidence:g}", printable(parked.expires or "never"),
        )  # fmt: skip
    screen.print(table)


def show_goals(screen: Screen, goals: Mapping[str, Outcome]) -> None:
    """Writes what became of the goals."""
    for name, outcome in goals.items():
        about = ", ".join(outcome.refs) if isinstance(outcome, Met) else outcome.reason
        style = "green" if isinstance(outcome, Met) else "yellow"
        kind = type(outcome).__name__.lower()
        screen.row(f"goal {printable(name)} ", (f"{kind:8}", style), (printable(about), "dim"))


def stop_text(data: Mapping[str, Any] | None) -> Text:
    """Returns why a run ended, as its log says, with the colour of how it went."""
    if data is None:
        return Text("unfinished", "yellow")
    try:
        stop = stop_from_json(data)
    except ValueError:
        return Text(printable(f"stopped: {dict(data)}"), "red")
    return Text(printable(describe(stop)), stop_style(stop))


def stop_style(stop: Stop) -> str:
    """Returns the colour of how a run went."""
    return "green" if isinstance(stop, (Converged, GoalsMet)) else "yellow"


def moment(text: str | None) -> str:
    """Returns a time as people read it, to the second and in UTC; what is none as it stands."""
    if not text:
        return ""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return printable(text)
    return f"{at.astimezone(UTC) if at.tzinfo else at:%Y-%m-%d %H:%M:%S}"


def show_runs(screen: Screen, runs: Sequence[Mapping[str, Any]]) -> None:
    """Writes the runs of a log: when each began, what it came to, why it ended."""
    table = new_table("run", "started", ">events", ">facts", "stop")
    for one in runs:
        stop = Text(f"damaged: {printable(one['fault'])}", "red") if one["fault"] else stop_text(one["stop"])
        table.add_row(
            Text(printable(one["run"]), "bold"), Text(moment(one["started"]), "dim"), f"{one['events']:,}",
            "" if one["facts"] is None else f"{one['facts']:,}", stop,
        )  # fmt: skip
    screen.print(table) if runs else screen.row("the log is empty")


def show_verification(screen: Screen, found: Verification, log: str) -> None:
    """Writes what checking a run found."""
    if found.fault is None:
        gone = f", {_count(len(found.gone), 'payload')} redacted" if found.gone else ""
        state = "" if found.finished else ", unfinished"
        about = f"  {_count(found.events, 'event')}, {_count(found.facts, 'fact')}{gone}{state}  "
        screen.whole(("sound  ", "green"), (printable(found.run), "bold"), about, (f"root {found.root}", "dim"))
        return
    intact = "nothing before it can be used"
    if found.cycle is not None:
        intact = f"cycles up to {found.cycle} are intact: {Hints(log).replay(found.run, found.cycle)}"
    screen.whole(
        ("wrong  ", "red"), (printable(found.run), "bold"),
        printable(f"  event {found.fault.event} {found.fault.problem}; {intact}"),
    )  # fmt: skip


def show_why(screen: Screen, why: Why) -> None:
    """Draws the tree of what a fact rests on; each fact is told once."""
    pending: list[tuple[Why, str, str]] = [(why, "", "")]  # what to show, its lead, the lead of what is below
    while pending:  # a lineage can be longer than Python's stack
        one, lead, below = pending.pop()
        screen.row((lead, "dim"), (printable(one.ref), "bold"), *_told(one))
        for loser in one.losers:
            lost = f" by {printable(loser.by)} ({printable(loser.reason)})"
            screen.row((below, "dim"), ("×  lost ", "red"), shown(loser.payload), (lost, "dim"))
        last = len(one.because) - 1
        for place in range(last, -1, -1):
            branch, bar = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            pending.append((one.because[place], below + branch, below + bar))


def show_diff(screen: Screen, found: Diff) -> None:
    """Writes the difference between two runs, in the manner of diff."""
    left, right = _point(found.left, found.left_at), _point(found.right, found.right_at)
    if not found:
        alike = " and stopped alike" if found.left_at is None and found.right_at is None else ""
        screen.row(f"{left} and {right} know the same{alike}")
        return
    where = "" if found.cycle is None else f"  first difference in cycle {found.cycle}"
    screen.row((f"--- {left}", "red"))
    screen.row((f"+++ {right}", "green"), (where, "dim"))
    for mark, style, facts in (("-", "red", found.only_left), ("+", "green", found.only_right)):
        for fact in facts:
            screen.row((f"{mark} {printable(fact.ref)}", style), *_said(fact))
    for change in found.changed:
        for name in change.fields:
            old, new = _field(change.left, name), _field(change.right, name)
            screen.row((f"~ {printable(change.ref)}", "yellow"), (f"  {name}  ", "dim"), old, (" → ", "dim"), new)
    if found.stops[0] != found.stops[1]:
        screen.row(
            ("~ stop  ", "yellow"), stop_text(found.stops[0]).plain, (" → ", "dim"), stop_text(found.stops[1]).plain
        )


def _gone(payload: Opaque) -> str:
    """Returns what stands in the place of a payload that was redacted."""
    known = redacted_data(payload)
    return "redacted" if known is None else f"redacted by {known['by']} at {known['at']}: {known['reason']}"


def _point(run: str, at: int | None) -> str:
    return printable(run) if at is None else f"{printable(run)} at the end of cycle {at}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _said(fact: Fact[Any]) -> Iterator[str | tuple[str, str]]:
    confidence = "" if fact.confidence == 1 else f", confidence {fact.confidence:g}"
    yield (f"  by {printable(fact.by)} in cycle {fact.cycle}{confidence}  ", "dim")
    yield shown(fact.payload)


def _told(why: Why) -> Iterator[str | tuple[str, str]]:
    if why.fact is None:
        yield ("  (not in this run)", "yellow")
    elif why.told:
        yield ("  (see above)", "dim")
    else:
        version = f" v{printable(why.version)}" if why.version else ""
        confidence = "" if why.fact.confidence == 1 else f", confidence {why.fact.confidence:g}"
        yield (f"  by {printable(why.fact.by)}{version} in cycle {why.fact.cycle}{confidence}  ", "dim")
        yield shown(why.fact.payload)


def _field(fact: Fact[Any], name: str) -> str:
    if name == "payload":
        return shown(fact.payload)
    value = getattr(fact, name)
    return printable(", ".join(value) or "nothing" if name == "because" else value)


def new_table(*columns: str) -> Table:
    """Returns an empty table; ">" before a name aligns its column to the right, payloads and refs give way first."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        gives_way = name in ("payload", "stop", "ref", "expires")
        justify: Literal["right", "left"] = "right" if name.startswith(">") else "left"
        table.add_column(name.removeprefix(">"), justify=justify, no_wrap=not gives_way, overflow="ellipsis")
    return table


def cut(text: str, style: str = "") -> Text:
    """Returns a cell that is cut off where its column ends: the column may shrink, its text does not wrap."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _value(value: Any) -> str:
    return repr(value[:LONGEST_PAYLOAD]) if isinstance(value, (str, bytes)) else show_value(value)
