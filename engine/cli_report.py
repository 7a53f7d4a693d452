"""Shows to people what a log has left to do: open gates, unfinished runs, what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ..facts import RunId
from ..facts.fact import printable
from ..facts.trail import Parked
from .cli_codes import problem_of
from .cli_hints import Hints
from .cli_show import Screen, cut, new_table, shown, stop_style
from .recover import Recovery
from .stop import AwaitingApproval, describe

if TYPE_CHECKING:
    from .rerun import Rerun


def show_open_gates(screen: Screen, found: Sequence[tuple[str, Parked]]) -> None:
    """Writes what waits for a person, run by run."""
    rows = new_table("run", "gate", "policy", "ref", "payload", "by", ">conf", "opened", "expires")
    for run, parked in found:
        rows.add_row(
            Text(printable(run), "bold"), Text(printable(parked.gate), "yellow"), printable(parked.policy),
            cut(printable(parked.ref), "bold"), cut(shown(parked.payload)), printable(parked.by),
            f"{parked.confidence:g}", moment(parked.opened), moment(parked.expires) or "never",
        )  # fmt: skip
    screen.print(rows)


def show_unfinished(screen: Screen, found: Sequence[Mapping[str, Any]]) -> None:
    """Writes the runs that have begun and not stopped, and who holds them."""
    if not found:
        screen.row("every run has stopped")
        return
    rows = new_table("run", ">events", "last", ">cycle", "held by", "until")
    for one in found:
        holder = Text(printable(one["holder"] or "nobody"), "yellow" if one["held"] else "dim")
        gone = "" if one["held"] or not one["holder"] else "  (is gone)"
        rows.add_row(
            Text(printable(one["run"]), "bold"), f"{one['events']:,}", printable(one["last"] or one["fault"]),
            "" if one["cycle"] is None else str(one["cycle"]), holder + gone, moment(one["until"]),
        )  # fmt: skip
    screen.print(rows)


def moment(text: str | None) -> str:
    """Returns a time as people read it, to the second and in UTC; what is none as it stands."""
    if not text:
        return ""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return printable(text)
    return f"{at.astimezone(UTC) if at.tzinfo else at:%Y-%m-%d %H:%M:%S}"


def show_recovery(screen: Screen, chosen: Sequence[str], found: Recovery, hints: Hints) -> None:
    """Writes what became of unfinished runs."""
    for run in map(RunId, chosen):
        if (result := found.results.get(run)) is not None:
            screen.whole(
                ("finished  ", "green"), (printable(run), "bold"), "  ",
                (printable(describe(result.stop)), stop_style(result.stop)),
            )  # fmt: skip
        else:
            screen.whole(("left      ", "yellow"), (printable(run), "bold"), f"  {problem_of(found.skipped[run])}")
    if not chosen:
        screen.row("every run has stopped")
    for result in found.results.values():
        if isinstance(result.stop, AwaitingApproval):
            approve = hints.decide("approve", result.run_id, result.stop.gates[0])
            screen.whole(("approve what waits: ", "dim"), approve)
            break


def show_rerun(screen: Screen, found: Rerun) -> None:
    """Writes whether a run came out as it was recorded, and both sides of the first place where it did not."""
    for change in found.changes:
        screen.whole(("changed since  ", "yellow"), printable(change))
    compared = f"{found.compared:,} event{'' if found.compared == 1 else 's'}"
    if found.parting is None:
        screen.whole(("same  ", "green"), (printable(found.run), "bold"), f"  {compared} came out as recorded")
        return
    parting = found.parting
    screen.whole(
        ("parts  ", "red"), (printable(found.run), "bold"),
        f"  {compared} came out as recorded; the next does not, in cycle {parting.cycle} ({printable(parting.what)})",
    )  # fmt: skip
    screen.whole(("- recorded  ", "red"), printable(parting.recorded or "(nothing)"))
    screen.whole(("+ now       ", "green"), printable(parting.now or "(nothing)"))
