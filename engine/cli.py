"""The command line: each command finds what it works on, calls the library, and shows what came out."""

from __future__ import annotations

import secrets
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import replace
from typing import Any

import typer

from .. import facts
from . import cli_json, cli_show
from . import cli_options as given
from .cli_codes import Code, Commands, Interrupted, code_of, one_line
from .cli_input import Input, read_bytes, read_input
from .cli_live import LiveView
from .cli_load import (
    explain_fact,
    find_families,
    load_engine,
    load_modules,
    open_log,
    read_time,
    refuse_input_as_log,
    replay_command,
    split_names,
    tell_interrupted,
)
from .cli_options import GraphFormat
from .cli_show import Screen

app = typer.Typer(
    cls=Commands, help=given.HELP, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)  # fmt: skip


@app.callback()
def _begin(debug: given.Debug = False) -> None:  # Commands.main takes it off the line; here it is listed
    pass


@app.command()
def run(
    target: given.Target,
    input: given.InputFile = None,
    log: given.NewLog = None,
    live: given.Live = False,
    run_id: given.RunId = None,
    seed: given.Seed = None,
    started: given.Started = None,
    packs: given.Packs = None,
    budget_cycles: given.MostCycles = None,
    budget_facts: given.MostFacts = None,
    budget_seconds: given.MostSeconds = None,
    budget_tokens: given.MostTokens = None,
    budget_cost: given.MostCost = None,
    imports: given.Imports = None,
    rows: given.Rows = 100,
    json: given.Json = False,
) -> int:
    """Settle a context: run an engine until nothing new is proposed."""
    with _quiet(json):
        load_modules(imports)
        engine = load_engine(target)
        refuse_input_as_log(input, log)
        said = read_input(input) if input is not None else Input()
        limits: dict[str, Any] = {
            "cycles": budget_cycles, "facts": budget_facts, "seconds": budget_seconds, "tokens": budget_tokens,
            "cost": budget_cost,
        }  # fmt: skip
        budget = replace(engine.budget, **{name: limit for name, limit in limits.items() if limit is not None})
        name = run_id if run_id is not None else secrets.token_hex(6)
        again = replay_command(name, log, target, imports)
        view = LiveView(Screen("stderr" if json else "stdout")) if live else None
        with open_log(log or ":memory:", to_write=True) as kept, view or nullcontext():
            try:
                result = engine.run_sync(
                    said.context, log=kept, budget=budget, run_id=name, seed=seed, started=read_time(started),
                    packs=split_names(packs), observers=[view] if view else [],
                )  # fmt: skip
            except KeyboardInterrupt as error:
                raise Interrupted(tell_interrupted(kept, name, again)) from error
    if json:
        cli_json.write(cli_json.run_data(result, said.lines, list(said.malformed), log))
    else:
        cli_show.show_result(Screen(), result, rows, again)
        cli_show.show_malformed(Screen(), said.lines, said.malformed)
    return code_of(result.stop)


@app.command()
def replay(
    run: given.RunName, log: given.Log, at: given.At = None, imports: given.Imports = None, rows: given.Rows = 100,
    json: given.Json = False,
) -> int:  # fmt: skip
    """Show the facts of a run from its log alone; no suggestor runs."""
    with _quiet(json):
        load_modules(imports)
    with open_log(log) as kept:
        context = facts.replay(kept, run, at)
        stop = cli_json.stop_data(kept, run)
    if json:
        cli_json.write(cli_json.replay_data(run, context, stop))
    else:
        cli_show.show_replay(Screen(), run, context, stop, rows)
    return Code.OK


@app.command()
def verify(log: given.Log, run: given.AnyRun = None, json: given.Json = False) -> int:
    """Check a run, or all of a log, and name the first event that is wrong."""
    code = Code.OK
    with open_log(log) as kept:
        chosen = [run] if run is not None else kept.runs()
        if not (chosen or json):
            Screen().row("the log is empty")
        for one in chosen:
            with cli_show.progress(f"verifying {one}", kept.store.length(facts.RunId(one))) as advance:
                found = facts.verify(kept, one, advance)
            code = code if found.ok else Code.FOUND
            if json:
                cli_json.write(cli_json.verification_data(found))
            else:
                cli_show.show_verification(Screen(), found, log)
        torn = getattr(kept.store, "torn", 0)
    if torn:
        cli_show.note(f"{log} ends in {torn} bytes of an append that a crash tore; they do not count")
    return code


@app.command()
def why(
    run: given.RunName, ref: given.RefName, log: given.Log, mermaid: given.Mermaid = False,
    imports: given.Imports = None, json: given.Json = False,
) -> int:  # fmt: skip
    """Explain a fact: the tree of what it rests on."""
    with _quiet(json):
        load_modules(imports)
    with open_log(log) as kept:
        explained = explain_fact(facts.replay(kept, run), run, ref)
    if json:
        cli_json.write(cli_json.why_data(run, explained))
    elif mermaid:
        typer.echo(explained.mermaid())
    else:
        cli_show.show_why(Screen(), explained)
    return Code.OK


@app.command()
def diff(
    run_a: given.RunA, run_b: given.RunB, log: given.Log, other_log: given.OtherLog = None,
    imports: given.Imports = None, json: given.Json = False,
) -> int:  # fmt: skip
    """Tell two runs apart; exits with 1 if they differ, as diff does."""
    with _quiet(json):
        load_modules(imports)
    with open_log(log) as left, open_log(other_log or log) as right:
        found = facts.diff(left, run_a, run_b, right_log=right)
    if json:
        cli_json.write(cli_json.diff_data(found))
    else:
        cli_show.show_diff(Screen(), found)
    return Code.FOUND if found else Code.OK


@app.command()
def graph(target: given.Target, format: given.Format = GraphFormat.MERMAID, json: given.JsonGraph = False) -> int:
    """Draw who writes what and who reads it."""
    with _quiet(True):
        engine = load_engine(target)
    if json or format is GraphFormat.JSON:
        cli_json.write(cli_json.graph_data(engine.graph()))
    else:
        typer.echo(engine.mermaid() if format is GraphFormat.MERMAID else engine.dot())
    return Code.OK


@app.command()
def check(
    target: given.Target, families: given.Given = None, imports: given.Imports = None, json: given.Json = False
) -> int:
    """Look for mistakes in an engine; exits with 1 for warnings."""
    with _quiet(json):
        load_modules(imports)
        engine = load_engine(target)
    findings = engine.check(find_families(families))
    if json:
        cli_json.write(*cli_json.findings_data(findings))
    else:
        cli_show.show_findings(Screen(), findings, len(engine.suggestors))
    return Code.FOUND if any(one.level != "info" for one in findings) else Code.OK


@app.command()
def runs(log: given.Log, json: given.Json = False) -> int:
    """List the runs of a log."""
    with open_log(log) as kept:
        found = [cli_json.about_run(kept, run) for run in kept.runs()]
    if json:
        cli_json.write(*found)
    else:
        cli_show.show_runs(Screen(), found)
    return Code.OK


@app.command()
def export(run: given.RunName, log: given.Log) -> int:
    """Write a run to stdout as JSON lines, to be imported elsewhere."""
    with open_log(log) as kept:
        sys.stdout.write(kept.export(run))
    return Code.OK


@app.command("import")
def import_runs(file: given.Exported, log: given.Log) -> int:
    """Take exported runs into a log: all of them, or none."""
    text = read_bytes(file)
    with open_log(log, to_write=True) as kept:
        for run in kept.load(text):
            typer.echo(one_line(run))
    return Code.OK


def main() -> None:
    """Runs the command line and leaves the process."""
    app()


def _quiet(json: bool) -> AbstractContextManager[Any]:
    """Sends what a user's code prints to stderr where stdout belongs to JSON."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


if __name__ == "__main__":
    main()
