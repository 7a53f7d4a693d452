"""Shows to people what a log has left to do: open gates, unfinished runs, what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ..facts import RunId
from ..facts.fact import printable
from ..facts.trail import Parked
from .cli_codes import problem_of
from .cli_hints import Hints
from .cli_show import Screen, cut, moment, new_table, shown, stop_style
from .recover import Recovery, held
from .stop import AwaitingApproval, describe

if TYPE_CHECKING:
    from .rerun import Rerun

MANY = 5
"""Names that are shown where there may be very many."""


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


def show_recovery(screen: Screen, chosen: Sequence[str], found: Recovery, hints: Hints) -> None:
    """Writes what became of unfinished runs."""
    left = {runs[0]: (runs, error) for runs, error in found.left()}
    for run in map(RunId, chosen):
        if (result := found.results.get(run)) is not None:
            screen.whole(
                ("finished  ", "green"), (printable(run), "bold"), "  ",
                (printable(describe(result.stop)), stop_style(result.stop)),
            )  # fmt: skip
        elif run in left:
            runs, error = left[run]
            many = len(runs) > 1
            name, why = (f"{len(runs):,} runs", held(runs, error)) if many else (run, problem_of(error))
            screen.whole(("left      ", "yellow"), (printable(name), "bold"), f"  {printable(why)}")
    if not chosen:
        screen.row("every run has stopped")
    for result in found.results.values():
        if isinstance(result.stop, AwaitingApproval):
            approve = hints.decide("approve", result.run_id, result.stop.gates[0])
            screen.whole(("approve what waits: ", "dim"), approve)
            break


def show_rerun(screen: Screen, found: Rerun, gone: Sequence[str]) -> None:
    """Writes whether a run came out as it was recorded, and both sides of the first place where it did not.

    `gone` are the facts that were redacted: whoever reads one of them cannot say today what was said then.
    """
    for change in found.changes:
        screen.whole(("changed since  ", "yellow"), printable(change))
    if gone:
        named = ", ".join(gone[:MANY]) + (", …" if len(gone) > MANY else "")
        screen.whole(
            ("redacted since  ", "yellow"), f"{printable(named)}: what rests on it cannot come out as it was recorded"
        )
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
