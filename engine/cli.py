"""The command line: lists the commands, each with an example, and ends them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from . import cli_again, cli_check, cli_engine, cli_keep, cli_move, cli_people, cli_proof, cli_read, cli_run
from . import cli_options as given
from .cli_codes import Commands

COMMANDS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("run", cli_run.run, "quiesce run orders:engine --input orders.jsonl --log runs.db"),
    ("runs", cli_read.runs, "quiesce runs --log runs.db"),
    ("replay", cli_read.replay, "quiesce replay monday --log runs.db --at 2"),
    ("why", cli_read.why, "quiesce why monday parcel:o1 --log runs.db"),
    ("why-not", cli_read.why_not, "quiesce why-not monday receipt:o1 --log runs.db"),
    ("diff", cli_read.diff, "quiesce diff monday tuesday --log runs.db"),
    ("verify", cli_check.verify, "quiesce verify --log runs.db"),
    ("gates", cli_people.gates, "quiesce gates --log runs.db"),
    (
        "approve",
        cli_people.approve,
        "quiesce approve monday g-8d3c003273fb --by ana --reason 'saw the photo' --engine orders:engine --log runs.db",
    ),
    (
        "reject",
        cli_people.reject,
        "quiesce reject monday g-8d3c003273fb --by ana --reason 'no receipt' --engine orders:engine --log runs.db",
    ),
    ("resume", cli_people.resume, "quiesce resume monday --engine orders:engine --log runs.db"),
    ("recover", cli_again.recover, "quiesce recover --log runs.db --engine orders:engine"),
    ("fork", cli_again.fork, "quiesce fork monday --at 1 --without label --engine orders:engine --log runs.db"),
    ("rerun", cli_again.rerun, "quiesce rerun monday --engine orders:engine --log runs.db"),
    ("prove", cli_proof.prove, "quiesce prove monday order:o1 --log runs.db --out proof.json"),
    ("verify-proof", cli_proof.verify_proof, "quiesce verify-proof proof.json --root ba9fb17f…"),
    ("compact", cli_keep.compact, "quiesce compact --before 2026-01-31 --log runs.db --dry-run"),
    ("retain", cli_keep.retain, "quiesce retain --age 90d --log runs.db --dry-run"),
    ("redact", cli_keep.redact, "quiesce redact monday order:o1 --reason 'asked to' --by ana --log runs.db --dry-run"),
    ("rebuild", cli_keep.rebuild, "quiesce rebuild --import orders --log runs.db"),
    ("export", cli_move.export, "quiesce export monday --log runs.db --out monday.jsonl"),
    ("import", cli_move.import_runs, "quiesce import monday.jsonl --log other.db"),
    ("graph", cli_engine.graph, "quiesce graph orders:engine"),
    ("check", cli_engine.check, "quiesce check orders:engine --given order"),
)

app = typer.Typer(
    cls=Commands, help=given.HELP, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)  # fmt: skip


@app.callback()
def _begin(debug: given.Debug = False, version: given.Version = False) -> None:
    pass  # Commands.main takes --debug off the line; here it is listed


for name, command, example in COMMANDS:
    app.command(name, epilog=f"\b\nExample:\n  {example}")(command)


def main() -> None:
    """Runs the command line and leaves the process."""
    app()


if __name__ == "__main__":
    main()
